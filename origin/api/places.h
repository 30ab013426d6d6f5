/*
 * places: how many of something there may be at once, and how many of them anybody's, so that
 * nobody keeps out all others.
 *
 * Promise: never more than max are taken, never more than own_max under one key. Any thread; never
 * blocks for long.
 */
#ifndef POLDER_ORIGIN_API_PLACES_H
#define POLDER_ORIGIN_API_PLACES_H

#include "proto/base/err.h"

#include <stddef.h>
#include <stdint.h>

enum places_answer {
    PLACES_TAKEN,
    PLACES_FULL,
    PLACES_OWN_FULL, /* of this key */
};

struct places;
/* Both at least 1. */
enum pl_err places_new(struct places **out, size_t max, size_t own_max);
void places_free(struct places *places); /* NULL is fine */
/* key: whose. */
enum places_answer places_take(struct places *places, uint64_t key);
/* Gives one of key's back. */
void places_leave(struct places *places, uint64_t key);
size_t places_count(struct places *places);

#endif
