/*
 * ackset: which numbers at or above a moving base have been acknowledged, in any order.
 *
 * Promise: a bit a number, no more than ACKSET_SPAN numbers past the base. Single-owner.
 */
#ifndef POLDER_EDGE_ACKSET_H
#define POLDER_EDGE_ACKSET_H

#include "proto/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Far more blocks than a window in flight can hold: 32 MiB of the smallest ones are 150,000. */
#define ACKSET_SPAN (UINT64_C(1) << 20)

struct ackset {
    uint64_t base;  /* every number below counts as acknowledged */
    uint64_t *bits; /* from base rounded down to a word */
    size_t words;
};

void ackset_init(struct ackset *set, uint64_t base);
void ackset_release(struct ackset *set);
/* PL_ELIMIT: ACKSET_SPAN or more past the base; PL_ENOMEM. Below the base: nothing to do. */
enum pl_err ackset_add(struct ackset *set, uint64_t number);
bool ackset_has(const struct ackset *set, uint64_t number);
/* The first number at or after `from` that is not in the set. */
uint64_t ackset_gap(const struct ackset *set, uint64_t from);
/* Forget what lies below base; memory follows. */
void ackset_advance(struct ackset *set, uint64_t base);

#endif
