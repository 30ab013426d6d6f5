#include "proto/base/secret.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* The flags the kernel has for the mapping that starts at p: "lo" locked, "dd" not dumped. */
static bool mapping_has(const void *p, const char *flag)
{
    char line[512], start[32];
    bool inside = false, found = false;
    snprintf(start, sizeof(start), "%lx-", (unsigned long)(uintptr_t)p);
    FILE *maps = fopen("/proc/self/smaps", "re");
    assert_non_null(maps);
    while (fgets(line, sizeof(line), maps) != NULL) {
        if (strncmp(line, start, strlen(start)) == 0)
            inside = true;
        if (inside && strncmp(line, "VmFlags:", 8) == 0) {
            found = strstr(line, flag) != NULL;
            break;
        }
    }
    fclose(maps);
    assert_true(inside);
    return found;
}

static void secrets_live_in_pages_of_their_own(void **state)
{
    (void)state;
    static const uint8_t zero[6000];
    void *secret = NULL;
    assert_int_equal(pl_secret_new(&secret, sizeof(zero)), PL_OK);
    assert_memory_equal(secret, zero, sizeof(zero));
    assert_int_equal((uintptr_t)secret % 4096, 0);
    assert_true(mapping_has(secret, " dd"));
    memset(secret, 0x5a, sizeof(zero));
    pl_secret_free(secret, sizeof(zero));
    pl_secret_free(NULL, 32);
    assert_int_equal(pl_secret_new(&secret, 0), PL_EINVAL);
    assert_int_equal(pl_secret_new(&secret, SIZE_MAX), PL_ENOMEM);
}

static void wiping_leaves_nothing(void **state)
{
    (void)state;
    uint8_t key[64];
    memset(key, 0x5a, sizeof(key));
    pl_wipe(key + 1, 62);
    assert_int_equal(key[0], 0x5a);
    assert_int_equal(key[63], 0x5a);
    for (size_t i = 1; i < 63; i++)
        assert_int_equal(key[i], 0);
    pl_wipe(NULL, 0);
}

static void comparison_sees_every_bit(void **state)
{
    (void)state;
    uint8_t a[40], b[40];
    memset(a, 7, sizeof(a));
    memcpy(b, a, sizeof(b));
    assert_true(pl_equal_ct(a, b, sizeof(a)));
    assert_true(pl_equal_ct(a, b, 0));
    for (size_t bit = 0; bit < sizeof(a) * 8; bit++) {
        b[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(pl_equal_ct(a, b, sizeof(a)));
        b[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(secrets_live_in_pages_of_their_own),
        cmocka_unit_test(wiping_leaves_nothing),
        cmocka_unit_test(comparison_sees_every_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
