/* The link over paths that are far, slow, or cut. */
#include "tests/unit/replication/relay.h"

#if defined(__SANITIZE_THREAD__) /* a tenth of the speed */
#define BACKLOG_BLOCKS 600
#elif defined(__SANITIZE_ADDRESS__)
#define BACKLOG_BLOCKS 2400
#else
#define BACKLOG_BLOCKS 4800
#endif

/* Seconds to drain a backlog of 64 KiB blocks, from the moment it is there. */
static double drain(int64_t delay_ms)
{
    struct world *w = world_new(1, 64 * 1024);
    struct relay *r = relay_new(w, delay_ms, 0);
    start_receiver(w);
    start_uplink(w);
    UNTIL(10000, status_of(w).connected);
    UNTIL(10000, status_of(w).round_trip_us > 0);
    assert_true(status_of(w).round_trip_us >= 2 * delay_ms * 1000);
    spool_add(&w->spool, 0, BACKLOG_BLOCKS);
    int64_t began_ms = now_ms();
    uplink_wake(w->uplink);
    UNTIL(110000, spool_settled(&w->spool) == BACKLOG_BLOCKS);
    double seconds = (double)(now_ms() - began_ms) / 1000;
    assert_int_equal(status_of(w).connects, 1);
    assert_int_equal(READ(&w->vault, bad_bytes), 0);
    assert_int_equal(READ(&w->vault, repeats), 0);
    world_free(w);
    relay_free(r);
    return seconds;
}

static void distance_costs_less_than_half(void **state)
{
    (void)state;
    double near = drain(0), far = drain(100);
    double mib = BACKLOG_BLOCKS * 64.0 / 1024;
    print_message(
        "drained %.0f MiB at %.0f MiB/s near, at %.0f MiB/s over a round trip of 200 ms\n", mib,
        mib / near, mib / far);
    assert_true(far <= 2 * near);
}

static void a_cut_is_noticed_and_healed(bool busy)
{
    struct world *w = world_new(1, 20000);
    struct relay *r = relay_new(w, 0, 0);
    start_receiver(w);
    start_uplink(w);
    UNTIL(5000, status_of(w).connected);
    UNTIL(5000, READ(&w->catalog, heard) > 0);
    if (busy) {
        spool_add(&w->spool, 0, 2500);
        uplink_wake(w->uplink);
        UNTIL(20000, spool_settled(&w->spool) > 500);
    }
    relay_set(r, &r->cut, true);
    int64_t cut_ms = now_ms();
    UNTIL(3000, !status_of(w).connected);
    int64_t noticed_ms = now_ms() - cut_ms;
    assert_non_null(strstr(status_of(w).reason, "cut"));
    pass_ms(1000); /* it lasts a while */
    spool_add(&w->spool, 0, 10);
    uplink_wake(w->uplink);
    relay_set(r, &r->cut, false);
    int64_t restored_ms = now_ms();
    UNTIL(20000, status_of(w).connected);
    print_message("noticed after %d ms, back %d ms after the path was\n", (int)noticed_ms,
                  (int)(now_ms() - restored_ms));
    UNTIL(60000, spool_settled(&w->spool) == (busy ? 2510 : 10));
    assert_int_equal(w->spool.twice, 0);
    world_free(w);
    relay_free(r);
}

static void a_cut_of_an_idle_path(void **state)
{
    (void)state;
    a_cut_is_noticed_and_healed(false);
}

static void a_cut_under_load(void **state)
{
    (void)state;
    a_cut_is_noticed_and_healed(true);
}

/* A block takes longer than the silence a session bears at first. */
static void a_slow_path_is_not_a_cut_one(void **state)
{
    (void)state;
    struct world *w = world_new(1, 600 * 1000);
    struct relay *r = relay_new(w, 0, 200 * 1000);
    start_receiver(w);
    start_uplink(w);
    UNTIL(20000, status_of(w).connected);
    spool_add(&w->spool, 0, 4);
    uplink_wake(w->uplink);
    UNTIL(80000, spool_settled(&w->spool) == 4);
    assert_int_equal(w->spool.twice, 0);
    assert_in_range(status_of(w).connects, 1, 4);
    world_free(w);
    relay_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distance_costs_less_than_half),
        cmocka_unit_test(a_cut_of_an_idle_path),
        cmocka_unit_test(a_cut_under_load),
        cmocka_unit_test(a_slow_path_is_not_a_cut_one),
    };
    cmocka_set_test_filter(getenv("LINK_TEST")); /* one by name; NULL: all */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
