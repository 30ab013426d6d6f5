/*
 * day_counts: how many events of each account and day were stored, and what became of them since:
 * the figures that an export is checked against, and that add up to the ledger's.
 *
 * Promise: stored events are counted in the batch that stores them, removed ones in the batch that
 * removes them, each once, whoever removes: what is held = stored - erased - retired. A deleted
 * account's figures go into one sum of all of those, so that the sum over everything stays what
 * the ledger has stored. Counts name no visitor.
 *
 * Who says so at a call owns it; the others are any thread's. Blocks on the disk.
 */
#ifndef POLDER_ORIGIN_ACCOUNTS_DAY_COUNTS_H
#define POLDER_ORIGIN_ACCOUNTS_DAY_COUNTS_H

#include "origin/families.h"
#include "origin/vault/vault.h"

struct day_counts;
enum pl_err day_counts_new(struct day_counts **out, struct store *store);
void day_counts_free(struct day_counts *counts); /* NULL is fine */

/* ---- the writer's */

/* Puts into the batch what it stores of an account's day; bytes are those of keys and values. Once
 * per account and day in a batch. From now on the batch counts as written. */
enum pl_err day_counts_stored(struct day_counts *counts, struct store_batch *batch,
                              uint64_t account, int64_t day, uint64_t events, uint64_t bytes);
/* It was not, or nobody knows: everything is read again. */
void day_counts_reload(struct day_counts *counts);

/* ---- those who remove */

enum day_counts_reason {
    DAY_COUNTS_ERASED, /* a visitor asked for it */
    DAY_COUNTS_RETIRED /* older than the account keeps events */
};
#define DAY_COUNTS_REMOVE_MAX 4096
/* Deletes these events of the vault, in order of their keys, at most DAY_COUNTS_REMOVE_MAX: adds
 * that to the batch, which may hold what has to go with them, writes it and clears it. Those that
 * are not there any more are passed over; removed (may be NULL) says how many were. */
enum pl_err day_counts_remove(struct day_counts *counts, struct store_batch *batch,
                              const struct vault_key *keys, size_t count,
                              enum day_counts_reason reason, bool sync, size_t *removed,
                              struct pl_why *why);
/* Moves an account's figures into the sum of deleted accounts, durably; again: does nothing. Once
 * none of its events can be stored any more. Its rows are then deleted, not physically gone. */
enum pl_err day_counts_forget(struct day_counts *counts, uint64_t account, struct pl_why *why);

/* ---- reading */

struct day_counts_sum {
    uint64_t events, bytes;
};
struct day_counts_row {
    struct day_counts_sum stored, erased, retired;
};
static inline uint64_t day_counts_held(const struct day_counts_row *row)
{
    return row->stored.events - row->erased.events - row->retired.events;
}

void day_counts_add(struct day_counts_row *sum, const struct day_counts_row *more);

/* Calls visit for each account and day in [first_day, last_day] that has figures, by account and
 * day. account 0: all of them; deleted ones' sum then comes first, as account 0. visit's error ends
 * it and is given back. A read as of one moment: have it short. */
enum pl_err day_counts_each(struct day_counts *counts, uint64_t account, int64_t first_day,
                            int64_t last_day,
                            enum pl_err (*visit)(void *ctx, uint64_t account, int64_t day,
                                                 const struct day_counts_row *row),
                            void *ctx);
/* The sum of those. */
enum pl_err day_counts_total(struct day_counts *counts, uint64_t account, int64_t first_day,
                             int64_t last_day, struct day_counts_row *sum);

#endif
