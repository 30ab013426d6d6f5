/* No room, in the spool or on its disk: refused, and nothing that was acked is lost. */
#include "tests/unit/edge/collector_fixture.h"

#include <signal.h>

static void test_a_full_spool_refuses(void **state)
{
    struct fixture *f = *state;
    struct world w = {0};
    struct pl_why why;
    world_open(&w, f, 1 << 20, 2 << 20, f->origin_public);
    world_plan(&w, 4000, 10, 1000);
    for (unsigned i = 0; i < LANES; i++)
        w.producers[i].stop_at_refusal = true;
    world_serve(&w);
    assert_true(wait_finished(&w, 60000));
    assert_int_equal(collector_health(w.collector, &why), PL_ENOSPC);
    assert_non_null(strstr(why.text, "spool_max_bytes"));
    world_stop(&w);
    check_all(&w, false);
    const struct producer *p = w.producers;
    assert_true(p[0].good > 0 && p[0].good < 4000);
    assert_true(p[0].refused + p[1].refused > 0);
    world_close(&w);
}

/* The disk fails in the middle and comes back: what was told PL_OK is there, what was not told
 * so may be; the rest goes on. */
static void test_a_failing_disk_loses_nothing_it_acked(void **state)
{
    struct fixture *f = *state;
    struct world w = {0};
    struct pl_why why;
    struct collector_stats stats;
    signal(SIGXFSZ, SIG_IGN);
    world_open(&w, f, 1 << 20, UINT64_MAX / 2, f->origin_public);
    world_plan(&w, 20000, 2, 500);
    fixture_file_limit(600 * 1024);
    world_serve(&w);
    const int64_t end_ms = pl_mono_ms(pl_clock_system()) + 30000;
    while (collector_health(w.collector, &why) == PL_OK && pl_mono_ms(pl_clock_system()) < end_ms)
        usleep(1000);
    assert_int_equal(collector_health(w.collector, &why), PL_ENOSPC);
    fixture_file_limit(RLIM_INFINITY);
    assert_true(wait_finished(&w, 60000));
    collector_stats(w.collector, &stats);
    assert_int_equal(collector_health(w.collector, &why), PL_OK);
    world_stop(&w);
    check_all(&w, false);
    assert_true(stats.failed_rounds >= 1);
    assert_true(stats.recoveries >= 1);
    assert_true(w.producers[0].refused + w.producers[1].refused > 0);
    assert_true(w.producers[0].good + w.producers[1].good > 20000);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_full_spool_refuses),
        TEST(test_a_failing_disk_loses_nothing_it_acked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
