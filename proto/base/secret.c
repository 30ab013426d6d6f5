#include "proto/base/secret.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

enum pl_err pl_secret_new(void **out, size_t size)
{
    if (size == 0)
        return PL_EINVAL;
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return PL_ENOMEM;
    /* Both are hardening: a container's small RLIMIT_MEMLOCK must not keep a node from starting. */
    (void)mlock(p, size);
    (void)madvise(p, size, MADV_DONTDUMP);
    *out = p;
    return PL_OK;
}

void pl_secret_free(void *secret, size_t size)
{
    if (secret == NULL)
        return;
    pl_wipe(secret, size);
    munmap(secret, size);
}

void pl_wipe(void *p, size_t len)
{
    if (len > 0)
        explicit_bzero(p, len);
}

bool pl_equal_ct(const void *a, const void *b, size_t len)
{
    const volatile uint8_t *x = a, *y = b;
    uint8_t differ = 0;
    for (size_t i = 0; i < len; i++)
        differ |= (uint8_t)(x[i] ^ y[i]);
    return differ == 0;
}
