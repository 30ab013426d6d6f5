#include "proto/base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include <cmocka.h>

static void the_system_source_fills_everything(void **state)
{
    (void)state;
    static uint8_t a[100000], b[100000]; /* getrandom gives large requests in pieces */
    assert_int_equal(pl_random_fill(pl_random_system(), a, sizeof(a)), PL_OK);
    assert_int_equal(pl_random_fill(pl_random_system(), b, sizeof(b)), PL_OK);
    assert_memory_not_equal(a, b, sizeof(a));
    assert_memory_not_equal(a + sizeof(a) - 16, b + sizeof(b) - 16, 16);
    unsigned seen = 0, distinct[256] = {0};
    for (size_t i = 0; i < sizeof(a); i++)
        distinct[a[i]] = 1;
    for (size_t i = 0; i < 256; i++)
        seen += distinct[i];
    assert_int_equal(seen, 256);
    assert_int_equal(pl_random_fill(pl_random_system(), a, 0), PL_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_system_source_fills_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
