/*
 * random: where unpredictable bytes come from. Injectable, so that a test can replay.
 *
 * Promise: the system source draws from the kernel (getrandom) and never returns fewer bytes
 * than asked for. Any thread may call; it does not block once the kernel is seeded.
 */
#ifndef POLDER_PROTO_BASE_RANDOM_H
#define POLDER_PROTO_BASE_RANDOM_H

#include "proto/base/err.h"

#include <stddef.h>
#include <stdint.h>

struct pl_random {
    enum pl_err (*fill)(void *ctx, void *out, size_t len);
    void *ctx;
};

/* Static storage; never NULL. */
const struct pl_random *pl_random_system(void);

static inline enum pl_err pl_random_fill(const struct pl_random *random, void *out, size_t len)
{
    return random->fill(random->ctx, out, len);
}

#endif
