#include "proto/base/random.h"

#include <errno.h>
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
