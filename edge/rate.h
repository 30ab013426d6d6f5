/*
 * rate: how fast one account may send through one loop.
 *
 * Promise: a token bucket per account in a table of fixed size; two accounts that meet in a slot
 * replace each other, which errs on the generous side. Single-owner: one table a loop, each with
 * its share of the limit.
 */
#ifndef POLDER_EDGE_RATE_H
#define POLDER_EDGE_RATE_H

#include <stdbool.h>
#include <stdint.h>

#define RATE_SLOTS 512

struct rate_bucket {
    uint64_t account; /* 0: empty */
    int64_t tokens;   /* below 0: in debt, a batch is taken whole */
    int64_t filled_ms;
};

struct rate_table {
    int64_t per_second; /* 0: no limit */
    int64_t burst;
    struct rate_bucket buckets[RATE_SLOTS];
};

void rate_init(struct rate_table *table, int64_t per_second, int64_t burst);
/* May the account send now? Otherwise *retry_after_s is when it may. */
bool rate_admits(struct rate_table *table, uint64_t account, int64_t mono_ms,
                 int64_t *retry_after_s);
/* It has sent this many. */
void rate_charge(struct rate_table *table, uint64_t account, unsigned events);

#endif
