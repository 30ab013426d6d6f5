#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "edge/rate.h"

static struct rate_table table;

static void test_no_limit(void **state)
{
    (void)state;
    int64_t wait_s = 0;
    rate_init(&table, 0, 0);
    for (int i = 0; i < 1000; i++) {
        assert_true(rate_admits(&table, 7, 0, &wait_s));
        rate_charge(&table, 7, 1000000);
    }
}

static void test_burst_then_rate(void **state)
{
    (void)state;
    int64_t wait_s = 0;
    rate_init(&table, 10, 20);
    for (int i = 0; i < 20; i++) {
        assert_true(rate_admits(&table, 7, 1000, &wait_s));
        rate_charge(&table, 7, 1);
    }
    assert_false(rate_admits(&table, 7, 1000, &wait_s));
    assert_int_equal(wait_s, 1);
    assert_false(rate_admits(&table, 7, 1099, &wait_s));
    assert_true(rate_admits(&table, 7, 1100, &wait_s));
    rate_charge(&table, 7, 1);
    assert_false(rate_admits(&table, 7, 1150, &wait_s));
    /* Asking often does not lose what trickles in. */
    int admitted = 0;
    for (int64_t ms = 1151; ms <= 11150; ms += 3)
        if (rate_admits(&table, 7, ms, &wait_s)) {
            rate_charge(&table, 7, 1);
            admitted++;
        }
    assert_in_range(admitted, 98, 101);
}

static void test_a_batch_is_taken_whole_and_paid_for(void **state)
{
    (void)state;
    int64_t wait_s = 0;
    rate_init(&table, 100, 100);
    assert_true(rate_admits(&table, 7, 0, &wait_s));
    rate_charge(&table, 7, 500);
    assert_false(rate_admits(&table, 7, 0, &wait_s));
    assert_int_equal(wait_s, 5);
    assert_false(rate_admits(&table, 7, 4000, &wait_s));
    assert_true(rate_admits(&table, 7, 4010, &wait_s));
}

static void test_accounts_do_not_share(void **state)
{
    (void)state;
    int64_t wait_s = 0;
    rate_init(&table, 1, 1);
    assert_true(rate_admits(&table, 7, 0, &wait_s));
    rate_charge(&table, 7, 1);
    assert_false(rate_admits(&table, 7, 0, &wait_s));
    assert_true(rate_admits(&table, 8, 0, &wait_s));
}

static void test_a_long_pause_fills_the_bucket_and_no_more(void **state)
{
    (void)state;
    int64_t wait_s = 0;
    rate_init(&table, 1000000, 5);
    assert_true(rate_admits(&table, 7, 0, &wait_s));
    rate_charge(&table, 7, 5);
    int admitted = 0;
    while (rate_admits(&table, 7, INT64_C(1) << 50, &wait_s)) {
        rate_charge(&table, 7, 1);
        admitted++;
    }
    assert_int_equal(admitted, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_limit),
        cmocka_unit_test(test_burst_then_rate),
        cmocka_unit_test(test_a_batch_is_taken_whole_and_paid_for),
        cmocka_unit_test(test_accounts_do_not_share),
        cmocka_unit_test(test_a_long_pause_fills_the_bucket_and_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
