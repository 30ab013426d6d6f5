/*
 * suppressions: whose events an account must not have, because they said no.
 *
 * Promise: an opt-out or its taking back is durable, and on its way to every edge in the same
 * write, before the block that brought it is acknowledged. Intake asks here for every event of an
 * account that anybody said no to. What is kept is the keyed hash of an id (proto/wire/id_hash.h),
 * which goes with the account.
 */
#ifndef POLDER_ORIGIN_ACCOUNTS_SUPPRESSIONS_H
#define POLDER_ORIGIN_ACCOUNTS_SUPPRESSIONS_H

#include "origin/accounts/changelog.h"
#include "origin/subjects/event_ids.h"
#include "proto/wire/event.h"
#include "proto/wire/suppression.h"

struct suppressions;
struct suppressions_config {
    struct store *store;
    struct changelog *changelog;
    struct redo *redo; /* NULL: nothing survives a restore */
};
/* Reads what is on disk; blocks. PL_ECORRUPT: a row is damaged. */
enum pl_err suppressions_open(struct suppressions **out, const struct suppressions_config *config,
                              struct pl_why *why);
void suppressions_close(struct suppressions *suppressions); /* NULL is fine */

/* What an opt_out or opt_in event says. PL_ENOTFOUND: the event is of another type; PL_EINVAL: it
 * lacks what it must have. */
enum pl_err suppressions_parse(const struct event *event, struct suppression *out);
/* Records it, durably, and tells the edges; what is known already costs a look-up. Any thread;
 * blocks. */
enum pl_err suppressions_record(struct suppressions *suppressions, const struct suppression *said,
                                struct pl_why *why);

/* False: nobody has said no to this account; worth asking before hashing ids. Any thread. */
bool suppressions_any(const struct suppressions *suppressions, uint64_t account);
/* Whether one of the ids is of somebody who had said no by then. Any thread, memory only. */
bool suppressions_concern(struct suppressions *suppressions, const struct event_ids *ids,
                          int64_t accepted_ms);

/* The same for an id whose hash (proto/wire/suppression.h) is known. */
bool suppressions_hold(struct suppressions *suppressions, uint64_t account,
                       const uint8_t hash[ID_HASH_BYTES], int64_t accepted_ms);

/* The opt-outs of such an id that stand, at most max; gives how many there are. */
size_t suppressions_standing(struct suppressions *suppressions, uint64_t account,
                             const uint8_t hash[ID_HASH_BYTES], struct suppression *out,
                             size_t max);

/* Forgets an account; its rows are the deletion's. Any thread. */
void suppressions_forget(struct suppressions *suppressions, uint64_t account);

#endif
