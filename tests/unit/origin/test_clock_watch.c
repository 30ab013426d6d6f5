/* Whether the wall clock is believed: jumps, restarts, edges that vouch for it, operators. */
#include "origin/lifecycle/clock_watch.h"
#include "records_fixture.h"

struct watched {
    struct records r;
    int64_t wall_ms, mono_ms;
    struct pl_clock clock;
    struct clock_belief belief;
    struct clock_watch watch;
    struct clock_witness edges[8];
    size_t edge_count;
};

static int64_t wall(void *ctx)
{
    return ((struct watched *)ctx)->wall_ms;
}

static int64_t mono(void *ctx)
{
    return ((struct watched *)ctx)->mono_ms;
}

static size_t ask(void *ctx, struct clock_witness *out, size_t max)
{
    const struct watched *w = ctx;
    assert_true(w->edge_count <= max);
    memcpy(out, w->edges, w->edge_count * sizeof(*out));
    return w->edge_count;
}

static void begin(struct watched *w)
{
    w->belief = (struct clock_belief){.clock = &w->clock};
    clock_watch_init(&w->watch, w->r.store, &w->clock, &w->r.f.silent);
    clock_watch_ask(&w->watch, ask, w, 0);
    clock_watch_tell(&w->watch, &w->belief);
}

static int setup(void **state)
{
    struct watched *w = calloc(1, sizeof(*w));
    records_init(&w->r);
    w->wall_ms = DAY_ONE_MS;
    w->mono_ms = 5000;
    w->clock = (struct pl_clock){.wall_ms = wall, .mono_ms = mono, .ctx = w};
    begin(w);
    assert_true(clock_watch_look(&w->watch));
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct watched *w = *state;
    records_release(&w->r);
    free(w);
    return 0;
}

/* Both clocks go on by that. */
static bool look_after(struct watched *w, int64_t ms)
{
    w->wall_ms += ms;
    w->mono_ms += ms;
    return clock_watch_look(&w->watch);
}

static void restart(struct watched *w, int64_t wall_ms)
{
    w->wall_ms = wall_ms;
    w->mono_ms = 77;
    begin(w);
}

static void edge(struct watched *w, uint8_t id, int64_t skew_ms)
{
    w->edges[w->edge_count++] = (struct clock_witness){.edge = {.bytes = {id}}, .skew_ms = skew_ms};
}

static size_t freezes(struct watched *w, struct clock_freeze out[4])
{
    size_t count;
    assert_int_equal(clock_freezes_between(w->r.store, 0, INT64_MAX, out, 4, &count), PL_OK);
    return count;
}

static void a_jump_is_not_believed_until_it_is_undone(void **state)
{
    struct watched *w = *state;
    struct clock_freeze out[4];
    static const int64_t jumps[] = {365 * PL_DAY_MS, -365 * PL_DAY_MS, 2 * PL_HOUR_MS,
                                    -2 * PL_HOUR_MS};
    for (size_t i = 0; i < sizeof(jumps) / sizeof(jumps[0]); i++) {
        w->wall_ms += jumps[i];
        assert_false(look_after(w, 1000));
        assert_int_equal(w->watch.now_ms, w->wall_ms - jumps[i]);
        assert_non_null(strstr(w->watch.reason, "confirm-clock"));
        assert_false(look_after(w, PL_DAY_MS));
        w->wall_ms -= jumps[i];
        assert_true(look_after(w, 1000));
        assert_int_equal(w->watch.now_ms, w->wall_ms);
        assert_string_equal(w->watch.reason, "");
        assert_true(look_after(w, PL_DAY_MS));
    }
    assert_int_equal(freezes(w, out), 4);
    assert_int_equal(out[0].from_ms, DAY_ONE_MS + 1000);
    assert_int_equal(out[0].until_ms, DAY_ONE_MS + 1000 + PL_DAY_MS + 1000);
    assert_string_equal(out[0].reason, "the clock showed 2027-01-01T00:00:01Z where "
                                       "2026-01-01T00:00:01Z was expected; it agreed again");
}

static void a_slow_drift_is_believed(void **state)
{
    struct watched *w = *state;
    struct clock_freeze out[4];
    for (int i = 0; i < 100; i++) {
        w->wall_ms += 2 * PL_MINUTE_MS;
        assert_true(look_after(w, PL_HOUR_MS));
    }
    for (int i = 0; i < 100; i++) {
        w->wall_ms -= 2 * PL_MINUTE_MS;
        assert_true(look_after(w, PL_HOUR_MS));
    }
    assert_int_equal(freezes(w, out), 0);
}

/* Each of them would pass. */
static void steps_add_up(void **state)
{
    struct watched *w = *state;
    struct clock_freeze out[4];
    static const int64_t ways[] = {20 * PL_MINUTE_MS, -20 * PL_MINUTE_MS};
    for (size_t way = 0; way < 2; way++) {
        for (int i = 0; i < 3; i++) {
            w->wall_ms += ways[way];
            assert_true(look_after(w, PL_HOUR_MS));
        }
        const int64_t expected_ms = w->wall_ms + PL_HOUR_MS;
        w->wall_ms += ways[way];
        assert_false(look_after(w, PL_HOUR_MS));
        assert_int_equal(w->watch.now_ms, expected_ms);
        assert_non_null(strstr(w->watch.reason, way == 0 ? "(80 minutes off within a day)"
                                                         : "(-80 minutes off within a day)"));
        assert_non_null(strstr(w->watch.reason, "confirm-clock"));
        w->wall_ms -= ways[way]; /* set right */
        assert_true(look_after(w, 1000));
        w->wall_ms += ways[way];
        assert_false(look_after(w, 1000));
        clock_watch_confirm(&w->watch);
        assert_true(look_after(w, 1000));
        for (int i = 0; i < 24; i++)
            assert_true(look_after(w, PL_HOUR_MS));
    }
    assert_int_equal(freezes(w, out), 2);
}

/* An hour a day is what is let pass, whenever it is looked at. */
static void a_fast_clock_is_found_out(void **state)
{
    struct watched *w = *state;
    int64_t won_ms = 0;
    for (int i = 0; i < 10 * 24 * 60; i++) {
        w->wall_ms += 6 * PL_SECOND_MS; /* a tenth too fast */
        won_ms = w->wall_ms + PL_MINUTE_MS - DAY_ONE_MS;
        if (!look_after(w, PL_MINUTE_MS))
            break;
    }
    assert_in_range(won_ms - (w->mono_ms - 5000), PL_HOUR_MS, PL_HOUR_MS + PL_MINUTE_MS);
    for (int i = 0; i < 30 * 24; i++) {
        w->wall_ms += 6 * PL_MINUTE_MS;
        (void)look_after(w, PL_HOUR_MS);
        assert_in_range(w->watch.now_ms - DAY_ONE_MS - (w->mono_ms - 5000), 0, 2 * PL_HOUR_MS);
    }
}

/* Steps that restarts hide have a budget: three days, and a tenth of the time between. */
static void restarts_add_up(void **state)
{
    struct watched *w = *state;
    int64_t now_ms = DAY_ONE_MS;
    for (int i = 0; i < 3; i++) {
        now_ms += 23 * PL_HOUR_MS;
        restart(w, now_ms);
        assert_true(clock_watch_look(&w->watch));
    }
    restart(w, now_ms + 4 * PL_HOUR_MS); /* of the three days three hours are left */
    assert_false(clock_watch_look(&w->watch));
    assert_non_null(strstr(w->watch.reason, "or 180 minutes more was expected"));
    restart(w, now_ms + 2 * PL_HOUR_MS);
    assert_true(clock_watch_look(&w->watch));
    for (int i = 0; i < 100; i++)
        assert_true(look_after(w, PL_HOUR_MS)); /* ten are regained */
    now_ms = w->wall_ms;
    restart(w, now_ms + 12 * PL_HOUR_MS);
    assert_false(clock_watch_look(&w->watch));
    restart(w, now_ms + 10 * PL_HOUR_MS);
    assert_true(clock_watch_look(&w->watch));
    restart(w, now_ms + 13 * PL_HOUR_MS);
    assert_false(clock_watch_look(&w->watch));
    clock_watch_confirm(&w->watch); /* all is well, and was */
    assert_true(look_after(w, 1000));
    now_ms = w->wall_ms + PL_HOUR_MS;
    assert_true(look_after(w, PL_HOUR_MS));
    restart(w, now_ms + PL_DAY_MS);
    assert_true(clock_watch_look(&w->watch));
}

static void a_restart_may_take_a_day_and_not_go_back(void **state)
{
    struct watched *w = *state;
    restart(w, DAY_ONE_MS + 23 * PL_HOUR_MS);
    assert_true(clock_watch_look(&w->watch));
    restart(w, DAY_ONE_MS + 49 * PL_HOUR_MS);
    assert_false(clock_watch_look(&w->watch));
    restart(w, DAY_ONE_MS + 20 * PL_HOUR_MS);
    assert_false(clock_watch_look(&w->watch));
    restart(w, DAY_ONE_MS + 24 * PL_HOUR_MS);
    assert_true(clock_watch_look(&w->watch));
}

/* For dates that are written down while the clock is in doubt. */
static void what_time_it_is_is_known_but_after_a_restart_in_doubt(void **state)
{
    struct watched *w = *state;
    int64_t now_ms;
    w->wall_ms += 365 * PL_DAY_MS;
    assert_false(look_after(w, 1000));
    assert_true(clock_belief_now(&w->belief, &now_ms));
    assert_int_equal(now_ms, DAY_ONE_MS + 1000);
    restart(w, DAY_ONE_MS + 49 * PL_HOUR_MS);
    assert_true(clock_belief_now(&w->belief, &now_ms)); /* nobody has looked yet */
    assert_false(clock_watch_look(&w->watch));
    assert_false(clock_belief_now(&w->belief, &now_ms));
    assert_int_equal(now_ms, DAY_ONE_MS);
    clock_watch_confirm(&w->watch);
    assert_true(look_after(w, 1000));
    assert_true(clock_belief_now(&w->belief, &now_ms));
    assert_int_equal(now_ms, w->wall_ms);
}

static void doubt_and_its_freeze_outlive_restarts(void **state)
{
    struct watched *w = *state;
    struct clock_freeze out[4];
    restart(w, DAY_ONE_MS + 365 * PL_DAY_MS);
    assert_false(clock_watch_look(&w->watch));
    restart(w, DAY_ONE_MS + 366 * PL_DAY_MS);
    assert_false(clock_watch_look(&w->watch));
    assert_int_equal(freezes(w, out), 1);
    assert_int_equal(out[0].from_ms, DAY_ONE_MS);
    assert_int_equal(out[0].until_ms, 0);
    clock_watch_confirm(&w->watch);
    assert_true(look_after(w, 1000));
    assert_int_equal(freezes(w, out), 1);
    assert_int_equal(out[0].until_ms, DAY_ONE_MS + 366 * PL_DAY_MS + 1000);
    assert_non_null(strstr(out[0].reason, "; an operator confirmed it"));
    /* The confirmation was for that once. */
    w->wall_ms += 365 * PL_DAY_MS;
    assert_false(look_after(w, 1000));
}

/* An operator sets the clock right while the origin is off. */
static void a_freeze_ends_at_a_restart_that_agrees(void **state)
{
    struct watched *w = *state;
    struct clock_freeze out[4];
    w->wall_ms -= 365 * PL_DAY_MS;
    assert_false(look_after(w, 1000));
    restart(w, DAY_ONE_MS + PL_HOUR_MS);
    assert_true(clock_watch_look(&w->watch));
    assert_int_equal(freezes(w, out), 1);
    assert_int_equal(out[0].until_ms, DAY_ONE_MS + PL_HOUR_MS);
}

static void two_edges_that_agree_for_a_minute_are_believed(void **state)
{
    struct watched *w = *state;
    struct clock_freeze out[4];
    edge(w, 1, -PL_MINUTE_MS);
    edge(w, 2, PL_MINUTE_MS);
    restart(w, DAY_ONE_MS + 10 * PL_DAY_MS);
    assert_false(clock_watch_look(&w->watch));
    assert_non_null(strstr(w->watch.reason, "2 of 2 edges' clocks agree"));
    assert_non_null(strstr(w->watch.reason, "confirm-clock"));
    assert_false(look_after(w, 59 * PL_SECOND_MS));
    assert_true(look_after(w, PL_SECOND_MS));
    assert_int_equal(freezes(w, out), 1);
    assert_non_null(strstr(out[0].reason, "; 2 of 2 edges' clocks agreed with it"));
    assert_true(look_after(w, PL_DAY_MS));
}

static bool believed_after_a_minute(struct watched *w)
{
    assert_false(clock_watch_look(&w->watch));
    assert_false(look_after(w, 59 * PL_SECOND_MS));
    return look_after(w, 2 * PL_SECOND_MS);
}

static void one_edge_is_not_enough(void **state)
{
    struct watched *w = *state;
    edge(w, 1, 0);
    edge(w, 1, 0); /* its old session beside the new one */
    restart(w, DAY_ONE_MS + 10 * PL_DAY_MS);
    assert_false(believed_after_a_minute(w));
}

static void edges_that_disagree_outvote(void **state)
{
    struct watched *w = *state;
    edge(w, 1, 0);
    edge(w, 2, 0);
    edge(w, 3, -10 * PL_DAY_MS);
    edge(w, 4, -10 * PL_DAY_MS);
    restart(w, DAY_ONE_MS + 10 * PL_DAY_MS);
    assert_false(believed_after_a_minute(w));
    edge(w, 5, PL_MINUTE_MS);
    assert_true(believed_after_a_minute(w));
}

static void agreement_that_breaks_off_begins_anew(void **state)
{
    struct watched *w = *state;
    edge(w, 1, 0);
    edge(w, 2, 0);
    restart(w, DAY_ONE_MS + 10 * PL_DAY_MS);
    assert_false(clock_watch_look(&w->watch));
    assert_false(look_after(w, 50 * PL_SECOND_MS));
    w->edges[1].skew_ms = 2 * PL_MINUTE_MS;
    assert_false(look_after(w, PL_SECOND_MS));
    w->edges[1].skew_ms = 0;
    assert_false(look_after(w, 50 * PL_SECOND_MS));
    assert_false(look_after(w, 50 * PL_SECOND_MS));
    assert_true(look_after(w, 10 * PL_SECOND_MS));
}

/* What edges agreed with is not what the clock shows now: their skews are a second old. */
static void a_clock_that_jumps_meanwhile_begins_anew(void **state)
{
    struct watched *w = *state;
    edge(w, 1, 0);
    edge(w, 2, 0);
    restart(w, DAY_ONE_MS + 10 * PL_DAY_MS);
    assert_false(clock_watch_look(&w->watch));
    assert_false(look_after(w, 50 * PL_SECOND_MS));
    w->wall_ms += 2 * PL_MINUTE_MS;
    assert_false(look_after(w, 20 * PL_SECOND_MS));
    assert_false(look_after(w, 59 * PL_SECOND_MS));
    assert_true(look_after(w, PL_SECOND_MS));
}

static void range(struct watched *w, int64_t earliest_ms, int64_t latest_ms)
{
    int64_t earliest, latest;
    struct pl_clock cautious = clock_belief_cautious(&w->belief);
    struct pl_clock strict = clock_belief_strict(&w->belief);
    clock_belief_range(&w->belief, &earliest, &latest);
    assert_int_equal(earliest, earliest_ms);
    assert_int_equal(latest, latest_ms);
    assert_int_equal(pl_wall_ms(&cautious), earliest_ms);
    assert_int_equal(pl_mono_ms(&cautious), w->mono_ms);
    assert_int_equal(pl_wall_ms(&strict), latest_ms);
    assert_int_equal(pl_mono_ms(&strict), w->mono_ms);
}

static void what_time_it_may_be_is_known_at_once(void **state)
{
    struct watched *w = *state;
    const int64_t jump_ms = 365 * PL_DAY_MS;
    range(w, DAY_ONE_MS, DAY_ONE_MS);
    w->wall_ms += jump_ms; /* nobody has looked yet */
    range(w, DAY_ONE_MS, DAY_ONE_MS + jump_ms);
    assert_false(look_after(w, 1000));
    range(w, DAY_ONE_MS + 1000, DAY_ONE_MS + jump_ms + 1000);
    clock_watch_confirm(&w->watch);
    assert_true(look_after(w, 1000));
    range(w, w->wall_ms, w->wall_ms);
    w->wall_ms -= jump_ms;
    range(w, w->wall_ms, w->wall_ms + jump_ms);
    restart(w, DAY_ONE_MS);
    range(w, DAY_ONE_MS, DAY_ONE_MS); /* not known before the first look */
    assert_false(clock_watch_look(&w->watch));
    range(w, DAY_ONE_MS, DAY_ONE_MS + jump_ms + 2000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_jump_is_not_believed_until_it_is_undone),
        TEST(a_slow_drift_is_believed),
        TEST(steps_add_up),
        TEST(a_fast_clock_is_found_out),
        TEST(restarts_add_up),
        TEST(a_restart_may_take_a_day_and_not_go_back),
        TEST(what_time_it_is_is_known_but_after_a_restart_in_doubt),
        TEST(doubt_and_its_freeze_outlive_restarts),
        TEST(a_freeze_ends_at_a_restart_that_agrees),
        TEST(two_edges_that_agree_for_a_minute_are_believed),
        TEST(one_edge_is_not_enough),
        TEST(edges_that_disagree_outvote),
        TEST(agreement_that_breaks_off_begins_anew),
        TEST(a_clock_that_jumps_meanwhile_begins_anew),
        TEST(what_time_it_may_be_is_known_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
