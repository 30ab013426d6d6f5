#include "proto/base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>

#include <cmocka.h>

struct counted {
    unsigned calls;
    bool fails;
    uint32_t next;
};

/* A different four bytes each time, so that a byte handed out twice shows. */
static enum pl_err counted_fill(void *ctx, void *out, size_t len)
{
    struct counted *c = ctx;
    c->calls++;
    if (c->fails)
        return PL_EIO;
    assert_int_equal(len % 4, 0);
    for (size_t i = 0; i < len; i += 4, c->next++)
        memcpy((uint8_t *)out + i, &c->next, 4);
    return PL_OK;
}

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

static void the_pool_draws_seldom_and_never_twice(void **state)
{
    (void)state;
    struct counted c = {0};
    struct pl_random source = {.fill = counted_fill, .ctx = &c};
    struct pl_random_pool pool;
    pl_random_pool_init(&pool, &source);
    uint32_t expected = 0;
    for (int i = 0; i < 3000; i++) {
        uint32_t draw[3];
        size_t fresh = pool.used;
        assert_int_equal(pl_random_pool_fill(&pool, draw, sizeof(draw)), PL_OK);
        if (fresh + sizeof(draw) > sizeof(pool.bytes)) {
            assert_true(draw[0] >= expected); /* a new draw may skip a few, never go back */
            expected = draw[0];
        }
        for (int j = 0; j < 3; j++, expected++)
            assert_int_equal(draw[j], expected);
    }
    assert_in_range(c.calls, 8, 10);
    static const uint8_t zero[sizeof(pool.bytes)];
    assert_memory_equal(pool.bytes, zero, pool.used); /* wiped as handed out */
    pl_random_pool_wipe(&pool);
    assert_memory_equal(pool.bytes, zero, sizeof(zero));
}

static void large_draws_pass_by_and_failures_come_through(void **state)
{
    (void)state;
    struct counted c = {0};
    struct pl_random source = {.fill = counted_fill, .ctx = &c};
    struct pl_random_pool pool;
    pl_random_pool_init(&pool, &source);
    static uint8_t large[8192];
    assert_int_equal(pl_random_pool_fill(&pool, large, sizeof(large)), PL_OK);
    assert_int_equal(c.calls, 1);
    c.fails = true;
    assert_int_equal(pl_random_pool_fill(&pool, large, 12), PL_EIO);
    c.fails = false;
    uint32_t draw = 0;
    assert_int_equal(pl_random_pool_fill(&pool, &draw, sizeof(draw)), PL_OK);
    assert_int_equal(draw, 2048);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_system_source_fills_everything),
        cmocka_unit_test(the_pool_draws_seldom_and_never_twice),
        cmocka_unit_test(large_draws_pass_by_and_failures_come_through),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
