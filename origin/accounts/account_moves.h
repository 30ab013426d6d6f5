/*
 * account_moves: from which state an account may come to which, and who moves it.
 *
 * Promise: an account's state changes along the rows of account_moves and in no other way:
 * accounts_change looks every change up here before it is made. ARCHITECTURE.md has the same table;
 * a test compares them, and another one tries every pair. Plain data.
 */
#ifndef POLDER_ORIGIN_ACCOUNTS_ACCOUNT_MOVES_H
#define POLDER_ORIGIN_ACCOUNTS_ACCOUNT_MOVES_H

#include "proto/wire/catalog.h"

#include <stddef.h>

enum account_mover {
    MOVED_BY_TIME,    /* the lifecycle's tick */
    MOVED_BY_SOMEONE, /* a call of the API */
    MOVED_BY_RESTORE, /* what the redo log or the keyring knows and the database does not */
};
const char *account_mover_name(enum account_mover mover); /* "somebody" */

struct account_move {
    enum account_state from, to; /* the same: what of its data is kept changes */
    enum account_mover by;
    const char *when; /* in words */
};
extern const struct account_move account_moves[];
extern const size_t account_move_count;

/* Whether there is such a row. */
bool account_may_move(enum account_state from, enum account_state to, enum account_mover by);

#endif
