/*
 * outcomes: what became of an account's requests beside plain success, as its edges have counted
 * it: sums by day, dialect and outcome.
 *
 * Promise: tallies are events like others, stored once; they lie together in each day, so that
 * reading them costs nothing for all the rest. One that does not open is counted as damaged, not
 * passed over in silence.
 *
 * Single-owner: one per API worker. Blocks on the disk.
 */
#ifndef POLDER_ORIGIN_ACCOUNTS_OUTCOMES_H
#define POLDER_ORIGIN_ACCOUNTS_OUTCOMES_H

#include "origin/families.h"
#include "origin/vault/vault.h"
#include "proto/wire/json.h"

#define OUTCOMES_ROWS_MAX 20000 /* days, dialects and outcomes in one answer */

struct outcomes;
enum pl_err outcomes_new(struct outcomes **out, struct store *store, struct keyring *keyring);
void outcomes_free(struct outcomes *outcomes); /* NULL is fine */
/* Forgets what was derived from keys that were destroyed since. Call it when idle, too. */
void outcomes_tidy(struct outcomes *outcomes);
/* Writes {"outcomes":[{"day","dialect","outcome","count"}…],"damaged":n}, days since 1970,
 * inclusive. PL_EINVAL: first after last; PL_ELIMIT: over OUTCOMES_ROWS_MAX; PL_ENOTFOUND,
 * PL_EEXPIRED: the account's key is not there. */
enum pl_err outcomes_write(struct outcomes *outcomes, uint64_t account, int64_t first_day,
                           int64_t last_day, struct json_writer *writer, struct pl_why *why);

#endif
