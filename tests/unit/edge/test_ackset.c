#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "edge/ackset.h"

#include <stdlib.h>

static void test_gap_is_the_first_missing(void **state)
{
    (void)state;
    struct ackset set;
    ackset_init(&set, 100);
    assert_true(ackset_has(&set, 99));
    assert_false(ackset_has(&set, 100));
    assert_int_equal(ackset_gap(&set, 0), 100);
    for (uint64_t n = 300; n > 100; n--)
        assert_int_equal(ackset_add(&set, n), PL_OK);
    assert_int_equal(ackset_gap(&set, 0), 100);
    assert_int_equal(ackset_gap(&set, 101), 301);
    assert_int_equal(ackset_gap(&set, 5000), 5000);
    assert_int_equal(ackset_add(&set, 100), PL_OK);
    assert_int_equal(ackset_gap(&set, 0), 301);
    ackset_release(&set);
}

static void test_reach_is_bounded(void **state)
{
    (void)state;
    struct ackset set;
    ackset_init(&set, 0);
    assert_int_equal(ackset_add(&set, ACKSET_SPAN), PL_ELIMIT);
    assert_int_equal(ackset_add(&set, ACKSET_SPAN - 1), PL_OK);
    assert_int_equal(ackset_add(&set, UINT64_MAX), PL_ELIMIT);
    ackset_advance(&set, 64);
    assert_int_equal(ackset_add(&set, ACKSET_SPAN), PL_OK);
    assert_int_equal(ackset_add(&set, 3), PL_OK); /* below: nothing to do */
    ackset_release(&set);
}

/* Against an array that cannot be wrong. */
static void test_random_walk(void **state)
{
    (void)state;
    enum { COUNT = 5000 };
    static bool model[COUNT];
    struct ackset set;
    uint64_t base = 0;
    srandom(4711);
    ackset_init(&set, 0);
    for (int step = 0; step < 200000; step++) {
        uint64_t n = base + (uint64_t)random() % 150;
        if (n < COUNT) {
            assert_int_equal(ackset_add(&set, n), PL_OK);
            model[n] = true;
        }
        uint64_t gap = base;
        while (gap < COUNT && model[gap])
            gap++;
        if (gap == COUNT)
            break;
        assert_int_equal(ackset_gap(&set, 0), gap);
        if (random() % 10 == 0) {
            ackset_advance(&set, gap);
            base = gap;
        }
        uint64_t probe = base + (uint64_t)random() % 500;
        if (probe < COUNT)
            assert_int_equal(ackset_has(&set, probe), model[probe]);
    }
    assert_true(base > 4000);
    ackset_release(&set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gap_is_the_first_missing),
        cmocka_unit_test(test_reach_is_bounded),
        cmocka_unit_test(test_random_walk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
