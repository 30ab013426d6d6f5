#include "proto/base/random.h"

#include "proto/base/secret.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

static enum pl_err system_fill(void *ctx, void *out, size_t len)
{
    (void)ctx;
    uint8_t *p = out;
    while (len > 0) {
        ssize_t got = getrandom(p, len, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return PL_EIO;
        p += got;
        len -= (size_t)got;
    }
    return PL_OK;
}

const struct pl_random *pl_random_system(void)
{
    static const struct pl_random source = {.fill = system_fill};
    return &source;
}

void pl_random_pool_init(struct pl_random_pool *pool, const struct pl_random *source)
{
    pool->source = source;
    pool->used = sizeof(pool->bytes);
}

enum pl_err pl_random_pool_fill(struct pl_random_pool *pool, void *out, size_t len)
{
    if (len > sizeof(pool->bytes))
        return pl_random_fill(pool->source, out, len);
    if (len > sizeof(pool->bytes) - pool->used) {
        enum pl_err err = pl_random_fill(pool->source, pool->bytes, sizeof(pool->bytes));
        if (err != PL_OK) {
            pool->used = sizeof(pool->bytes);
            return err;
        }
        pool->used = 0;
    }
    memcpy(out, pool->bytes + pool->used, len);
    pl_wipe(pool->bytes + pool->used, len);
    pool->used += len;
    return PL_OK;
}

void pl_random_pool_wipe(struct pl_random_pool *pool)
{
    pl_wipe(pool->bytes, sizeof(pool->bytes));
    pool->used = sizeof(pool->bytes);
}
