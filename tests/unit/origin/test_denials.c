/* Who was refused: told one by one as far as that is bounded, and counted beyond. */
#include "origin/journal/denials.h"

#include "proto/base/id.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct denials *denials;

static int setup(void **state)
{
    (void)state;
    return denials_new(&denials);
}

static int teardown(void **state)
{
    (void)state;
    denials_free(denials);
    return 0;
}

static bool stranger(uint32_t address, int64_t mono_ms)
{
    struct denial denial = {
        .action = "api.authenticate", .detail = "unknown token", .from_bytes = 4};
    pl_store_u32(denial.from, address);
    return denials_take(denials, &denial, mono_ms);
}

static bool holder(uint64_t token, int64_t mono_ms)
{
    struct denial denial = {.known = true, .action = "account.expire", .account = 7};
    pl_store_u64(denial.token.id.bytes, token);
    return denials_take(denials, &denial, mono_ms);
}

/* Writes all that waits: how many lines, and how many denials they stand for. */
static size_t write_all(int64_t mono_ms, uint64_t *stand_for)
{
    const struct denial *next;
    size_t lines = 0;
    while ((next = denials_next(denials, mono_ms)) != NULL) {
        *stand_for += next->count == 0 ? 1 : next->count;
        lines++;
        denials_written(denials);
    }
    return lines;
}

static void test_a_few_are_told_one_by_one(void **state)
{
    uint64_t all = 0;
    (void)state;
    for (uint32_t i = 0; i < DENIALS_STRANGER_LINES; i++)
        assert_true(stranger(1, 1000));
    assert_false(stranger(1, 1000));
    assert_true(stranger(2, 1000));
    assert_int_equal(write_all(1000, &all), DENIALS_STRANGER_LINES + 1);
    /* What was only counted comes when the minute is over, under its source. */
    assert_null(denials_next(denials, 1000 + DENIALS_MINUTE_MS - 1001));
    const struct denial *more = denials_next(denials, 1000 + DENIALS_MINUTE_MS);
    assert_non_null(more);
    assert_int_equal(more->count, 1);
    assert_int_equal(more->from[3], 1);
    assert_int_equal(write_all(1000 + DENIALS_MINUTE_MS, &all), 1);
    assert_int_equal(all, DENIALS_STRANGER_LINES + 2);
}

static void test_order_is_kept(void **state)
{
    (void)state;
    stranger(9, 0);
    holder(5, 0);
    stranger(8, 0);
    assert_int_equal(denials_next(denials, 0)->from[3], 9);
    denials_written(denials);
    assert_true(denials_next(denials, 0)->known);
    assert_int_equal(denials_next(denials, 0)->account, 7);
    denials_written(denials);
    assert_int_equal(denials_next(denials, 0)->from[3], 8);
    denials_written(denials);
    assert_null(denials_next(denials, 0));
}

/* A day of a million denials by a thousand addresses: few lines, none lost. */
static void test_a_flood_is_bounded_and_counted(void **state)
{
    uint64_t stand_for = 0;
    size_t lines = 0;
    int64_t now_ms = 0;
    (void)state;
    for (uint32_t i = 0; i < 1000000; i++) {
        now_ms = (int64_t)i * PL_DAY_MS / 1000000;
        stranger(i % 1000, now_ms);
        lines += write_all(now_ms, &stand_for);
    }
    lines += write_all(now_ms + DENIALS_HOUR_MS, &stand_for);
    assert_int_equal(stand_for, 1000000);
    assert_in_range(lines, 24, 26 * (DENIALS_STRANGERS_LINES + DENIALS_SOURCES + 1));
}

static void test_a_flood_of_strangers_hides_nobody_with_a_token(void **state)
{
    uint64_t all = 0;
    (void)state;
    for (uint32_t i = 0; i < 100000; i++)
        stranger(i, 10);
    for (int i = 0; i < DENIALS_TOKEN_LINES; i++)
        assert_true(holder(1, 10));
    assert_false(holder(1, 10));
    assert_true(holder(2, 10));
    write_all(10, &all);
    write_all(10 + DENIALS_MINUTE_MS, &all);
    assert_int_equal(all, 100000 + DENIALS_TOKEN_LINES + 2);
}

/* The disk takes nothing for days: what cannot wait any more is counted. */
static void test_without_a_disk_nothing_is_lost(void **state)
{
    uint64_t all = 0;
    uint32_t made = 0;
    (void)state;
    for (int64_t day = 0; day < 3; day++)
        for (int64_t minute = 0; minute < 24 * 60; minute++)
            for (uint32_t i = 0; i < 120; i++, made++)
                stranger(i, day * PL_DAY_MS + minute * DENIALS_MINUTE_MS);
    write_all(4 * PL_DAY_MS, &all);
    write_all(5 * PL_DAY_MS, &all);
    write_all(6 * PL_DAY_MS, &all);
    assert_int_equal(all, made);
}

static void test_counts_are_told_at_the_end(void **state)
{
    uint64_t all = 0;
    (void)state;
    for (int i = 0; i < 1000; i++)
        stranger(3, 50);
    write_all(50, &all);
    denials_close_windows(denials);
    assert_int_equal(write_all(50, &all), 1);
    assert_int_equal(all, 1000);
}

static bool edge_at_link(const char *id, uint32_t address, int64_t mono_ms)
{
    struct denial denial = {
        .link = true, .action = "edge.link", .detail = "revoked", .from_bytes = 4};
    pl_store_u32(denial.from, address);
    snprintf(denial.object, sizeof(denial.object), "%s", id);
    return denials_take(denials, &denial, mono_ms);
}

/* A revoked edge that runs on asks every five seconds, whoever looks or does not. */
static void test_an_edge_that_comes_again_and_again_makes_few_lines(void **state)
{
    size_t lines = 0;
    uint64_t all = 0, asked = 0;
    (void)state;
    for (int64_t ms = 0; ms < 24 * DENIALS_HOUR_MS; ms += 5000, asked++) {
        edge_at_link("00000000000000000000000000000001", 1, ms);
        lines += write_all(ms, &all);
    }
    denials_close_windows(denials);
    lines += write_all(24 * DENIALS_HOUR_MS, &all);
    assert_in_range(lines, 24, 24 * 4);
    assert_int_equal(all, asked);
    /* Others have their own. */
    assert_true(stranger(1, 24 * DENIALS_HOUR_MS));
    assert_true(edge_at_link("00000000000000000000000000000002", 1, 24 * DENIALS_HOUR_MS));
    assert_true(edge_at_link("", 1, 24 * DENIALS_HOUR_MS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_few_are_told_one_by_one, setup, teardown),
        cmocka_unit_test_setup_teardown(test_order_is_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_flood_is_bounded_and_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_flood_of_strangers_hides_nobody_with_a_token, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_an_edge_that_comes_again_and_again_makes_few_lines,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_without_a_disk_nothing_is_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(test_counts_are_told_at_the_end, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
