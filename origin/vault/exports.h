/*
 * exports: which long readings of accounts' data are under way, so that a deletion can end those
 * of its account.
 *
 * Promise: after exports_cancel no reading of the account that had begun before goes on: what was
 * within a slice has left it, and the next one is refused. Whoever begins a reading later has to
 * see by the account's state, looked at after exports_open, that there is nothing to be had.
 *
 * Any thread may call. A ticket is plain memory of its owner's, one thread's at a time.
 */
#ifndef POLDER_ORIGIN_VAULT_EXPORTS_H
#define POLDER_ORIGIN_VAULT_EXPORTS_H

#include "proto/base/clock.h"
#include "proto/base/err.h"

#include <stdatomic.h>

struct exports;
enum pl_err exports_new(struct exports **out);
void exports_free(struct exports *exports); /* none is open; NULL is fine */

struct exports_ticket {
    uint64_t account;
    _Atomic bool stop; /* it was cancelled */
    /* exports' own */
    bool reading;
    struct exports_ticket *next, **link;
};
/* From here on the reading can be cancelled. */
void exports_open(struct exports *exports, struct exports_ticket *ticket);
/* Zeroed tickets are fine. */
void exports_close(struct exports *exports, struct exports_ticket *ticket);
/* Around each slice, which looks at stop now and then and ends when it is set. PL_EEXPIRED: the
 * reading was cancelled, and no slice has begun. */
enum pl_err exports_enter(struct exports *exports, struct exports_ticket *ticket,
                          struct pl_why *why);
void exports_leave(struct exports *exports, struct exports_ticket *ticket);

/* Waits for slices that are under way, which takes milliseconds. PL_ETIMEDOUT: one is still
 * there after timeout_ms. */
enum pl_err exports_cancel(struct exports *exports, uint64_t account, int64_t timeout_ms);

#endif
