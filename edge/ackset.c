#include "edge/ackset.h"

#include <stdlib.h>
#include <string.h>

#define WORD_BITS 64

void ackset_init(struct ackset *set, uint64_t base)
{
    *set = (struct ackset){.base = base};
}

void ackset_release(struct ackset *set)
{
    free(set->bits);
    *set = (struct ackset){0};
}

/* Words begin at multiples of 64, so that advancing moves words and shifts no bits. */
static uint64_t word_base(const struct ackset *set)
{
    return set->base - set->base % WORD_BITS;
}

static enum pl_err make_room(struct ackset *set, size_t words)
{
    if (words <= set->words)
        return PL_OK;
    size_t wanted = set->words == 0 ? 16 : set->words;
    while (wanted < words)
        wanted *= 2;
    uint64_t *bits = realloc(set->bits, wanted * sizeof(*bits));
    if (bits == NULL)
        return PL_ENOMEM;
    memset(bits + set->words, 0, (wanted - set->words) * sizeof(*bits));
    set->bits = bits;
    set->words = wanted;
    return PL_OK;
}

enum pl_err ackset_add(struct ackset *set, uint64_t number)
{
    if (number < set->base)
        return PL_OK;
    uint64_t offset = number - word_base(set);
    if (offset >= ACKSET_SPAN)
        return PL_ELIMIT;
    enum pl_err err = make_room(set, (size_t)(offset / WORD_BITS) + 1);
    if (err == PL_OK)
        set->bits[offset / WORD_BITS] |= UINT64_C(1) << (offset % WORD_BITS);
    return err;
}

bool ackset_has(const struct ackset *set, uint64_t number)
{
    if (number < set->base)
        return true;
    uint64_t offset = number - word_base(set);
    if (offset / WORD_BITS >= set->words)
        return false;
    return (set->bits[offset / WORD_BITS] >> (offset % WORD_BITS)) & 1;
}

uint64_t ackset_gap(const struct ackset *set, uint64_t from)
{
    if (from < set->base)
        from = set->base;
    const uint64_t base = word_base(set);
    uint64_t offset = from - base;
    while (offset / WORD_BITS < set->words) {
        uint64_t missing = ~set->bits[offset / WORD_BITS] >> (offset % WORD_BITS);
        if (missing != 0)
            return base + offset + (uint64_t)__builtin_ctzll(missing);
        offset += WORD_BITS - offset % WORD_BITS;
    }
    return base + offset;
}

void ackset_advance(struct ackset *set, uint64_t base)
{
    if (base <= set->base)
        return;
    size_t drop = (size_t)((base - word_base(set)) / WORD_BITS);
    set->base = base;
    if (drop >= set->words) {
        free(set->bits);
        set->bits = NULL;
        set->words = 0;
        return;
    }
    memmove(set->bits, set->bits + drop, (set->words - drop) * sizeof(*set->bits));
    memset(set->bits + (set->words - drop), 0, drop * sizeof(*set->bits));
}
