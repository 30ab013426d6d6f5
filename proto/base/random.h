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

/* A small pool in front of a source, for callers that need many short draws (nonces): one system
 * call per 4 KiB, bytes wiped as they are handed out. Single owner. */
struct pl_random_pool {
    const struct pl_random *source;
    size_t used;
    uint8_t bytes[4096];
};
void pl_random_pool_init(struct pl_random_pool *pool, const struct pl_random *source);
enum pl_err pl_random_pool_fill(struct pl_random_pool *pool, void *out, size_t len);
void pl_random_pool_wipe(struct pl_random_pool *pool);

#endif
