#include "proto/base/histogram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void test_a_value_counts_in_every_bucket_at_or_above_it(void **state)
{
    static struct pl_histogram one, other;
    struct pl_histogram_sums sums = {.sum = 0};
    struct pl_buf out;
    (void)state;
    pl_histogram_note(&one, &pl_histogram_times, 100);
    pl_histogram_note(&one, &pl_histogram_times, 101);
    pl_histogram_note(&one, &pl_histogram_times, -5); /* a clock that was set meanwhile */
    pl_histogram_note(&other, &pl_histogram_times, 3000000);
    pl_histogram_note(&other, &pl_histogram_times, INT64_C(3600) * 1000000);
    pl_histogram_sum(&one, &sums);
    pl_histogram_sum(&other, &sums);
    pl_buf_init(&out, 65536);
    assert_int_equal(
        pl_histogram_write(&out, "polder_x_seconds", "Of x.", &pl_histogram_times, &sums), PL_OK);
    assert_int_equal(pl_buf_terminate(&out), PL_OK);
    const char *text = (const char *)out.data;
    static const char *const lines[] = {
        "# HELP polder_x_seconds Of x.\n# TYPE polder_x_seconds histogram\n",
        "polder_x_seconds_bucket{le=\"0.0001\"} 2\n",
        "polder_x_seconds_bucket{le=\"0.00025\"} 3\n",
        "polder_x_seconds_bucket{le=\"2.5\"} 3\n",
        "polder_x_seconds_bucket{le=\"10\"} 4\n",
        "polder_x_seconds_bucket{le=\"+Inf\"} 5\n",
        "polder_x_seconds_sum 3603.000201\n",
        "polder_x_seconds_count 5\n",
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        assert_non_null(strstr(text, lines[i]));
    pl_buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_value_counts_in_every_bucket_at_or_above_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
