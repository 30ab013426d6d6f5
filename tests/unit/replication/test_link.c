#include "tests/unit/replication/world.h"

static struct world *connected(size_t chains, size_t block_bytes)
{
    struct world *w = world_new(chains, block_bytes);
    start_receiver(w);
    start_uplink(w);
    UNTIL(5000, status_of(w).connected);
    return w;
}

static void two_ends_meet(void **state)
{
    (void)state;
    struct world *w = connected(1, 100);
    struct uplink_status s = status_of(w);
    assert_string_equal(s.reason, "");
    assert_int_equal(s.connects, 1);
    struct receiver_session sessions[4];
    assert_int_equal(receiver_sessions(w->receiver, sessions, 4), 1);
    assert_true(pl_id128_eq(&sessions[0].edge, &w->vault.edge));
    assert_string_equal(sessions[0].region, "eu");
    assert_in_range(sessions[0].clock_skew_ms + 1000, 0, 1000);
    UNTIL(3000, status_of(w).round_trip_us > 0);
    assert_int_equal(READ(&w->vault, sessions_up), 1);
    stop_uplink(w);
    UNTIL(3000, receiver_sessions(w->receiver, sessions, 4) == 0);
    stop_receiver(w);
    assert_int_equal(READ(&w->vault, sessions_down), 1);
    world_free(w);
}

static int64_t ahead_wall_ms(void *ctx)
{
    (void)ctx;
    return pl_wall_ms(pl_clock_system()) + 10 * PL_MINUTE_MS;
}

static int64_t system_mono_ms(void *ctx)
{
    (void)ctx;
    return now_ms();
}

static void both_ends_know_how_their_clocks_differ(void **state)
{
    (void)state;
    struct world *w = world_new(1, 100);
    const struct pl_clock ahead = {.wall_ms = ahead_wall_ms, .mono_ms = system_mono_ms};
    struct receiver_session session;
    w->uplink_config.clock = &ahead;
    start_receiver(w);
    start_uplink(w);
    UNTIL(5000, status_of(w).connected);
    assert_in_range(status_of(w).clock_skew_ms, 10 * PL_MINUTE_MS, 10 * PL_MINUTE_MS + 2000);
    assert_int_equal(receiver_sessions(w->receiver, &session, 1), 1);
    assert_in_range(session.clock_skew_ms, 10 * PL_MINUTE_MS - 2000, 10 * PL_MINUTE_MS);
    world_free(w);
}

static void ten_thousand_blocks_get_one_verdict_each(void **state)
{
    (void)state;
    struct world *w = world_new(2, 300);
    spool_add(&w->spool, 0, 4000); /* an earlier process's chain */
    spool_add(&w->spool, 1, 1000);
    vault_mode(&w->vault, VAULT_REVERSED);
    start_receiver(w);
    start_uplink(w);
    for (size_t i = 0; i < 50; i++) { /* the live chain grows meanwhile */
        spool_add(&w->spool, 1, 100);
        uplink_wake(w->uplink);
        pass_ms(1);
    }
    UNTIL(20000, spool_settled(&w->spool) == 10000);
    assert_int_equal(READ(&w->spool, twice), 0);
    assert_int_equal(READ(&w->vault, stored), 10000);
    assert_int_equal(READ(&w->vault, repeats), 0);
    assert_int_equal(READ(&w->vault, bad_bytes), 0);
    UNTIL(5000, status_of(w).blocks_acked == 10000);
    assert_int_equal(status_of(w).in_flight_bytes, 0);
    assert_int_equal(status_of(w).blocks_sent, 10000);
    world_free(w);
}

/* A single small block must not wait for company. */
static void an_idle_link_sends_at_once(void **state)
{
    (void)state;
    struct world *w = connected(1, 100);
    unsigned late = 0;
    for (uint64_t i = 1; i <= 20; i++) {
        const int64_t began = now_ms();
        spool_add(&w->spool, 0, 1);
        uplink_wake(w->uplink);
        UNTIL(5000, spool_settled(&w->spool) == i);
        late += now_ms() - began > 500;
        pass_ms(10);
    }
    assert_true(late <= 2); /* the machine does other things as well */
    world_free(w);
}

static void the_origin_restarts_under_load(void **state)
{
    (void)state;
    struct world *w = world_new(1, 2000);
    vault_mode(&w->vault, VAULT_REVERSED);
    spool_add(&w->spool, 0, 20000);
    start_receiver(w);
    start_uplink(w);
    for (uint64_t round = 1; round <= 4; round++) {
        uint64_t goal = round * 3000;
        UNTIL(20000, spool_settled(&w->spool) >= goal);
        stop_receiver(w);
        start_receiver(w);
    }
    UNTIL(30000, spool_settled(&w->spool) == 20000);
    assert_int_equal(READ(&w->spool, twice), 0);
    assert_int_equal(READ(&w->vault, stored), 20000);
    assert_true(status_of(w).connects >= 2);
    assert_int_equal(READ(&w->vault, repeats), status_of(w).repeats);
    world_free(w);
}

/* Stored, but the answer never arrives: sent again, recognised, settled once. */
static void an_answer_that_is_lost_makes_a_repeat(void **state)
{
    (void)state;
    struct world *w = connected(1, 2000);
    vault_mode(&w->vault, VAULT_HELD);
    spool_add(&w->spool, 0, 100);
    uplink_wake(w->uplink);
    struct vault *v = &w->vault;
    UNTIL(5000, READ(v, held_count) > 0);
    /* The session ends; what was held is answered to a pipe that is gone. */
    receiver_edge_changed(w->receiver, &v->edge);
    UNTIL(5000, status_of(w).connects >= 2 || !status_of(w).connected);
    vault_mode(v, VAULT_REVERSED);
    UNTIL(10000, spool_settled(&w->spool) == 100);
    assert_int_equal(READ(&w->spool, twice), 0);
    assert_int_equal(READ(v, stored), 100);
    assert_true(READ(v, repeats) > 0);
    world_free(w);
}

static void forks_and_losses_are_told(void **state)
{
    (void)state;
    struct world *w = world_new(1, 100);
    w->vault.fork_number = 7;
    w->spool.rotten = 11;
    spool_add(&w->spool, 0, 50);
    start_receiver(w);
    start_uplink(w);
    UNTIL(5000, spool_settled(&w->spool) == 50);
    assert_int_equal(w->spool.verdict[0][7], BLOCK_FORK);
    assert_int_equal(w->spool.verdict[0][11], BLOCK_STORED);
    UNTIL(5000, status_of(w).forks == 1 && status_of(w).losses == 1);
    assert_int_equal(status_of(w).blocks_acked, 48);
    assert_int_equal(READ(&w->vault, losses), 1);
    assert_int_equal(READ(&w->vault, stored), 48);
    world_free(w);
}

static void what_cannot_be_taken_now_comes_again(void **state)
{
    (void)state;
    struct world *w = world_new(1, 100);
    w->vault.retry_every = 5;
    spool_add(&w->spool, 0, 5000);
    start_receiver(w);
    start_uplink(w);
    UNTIL(20000, spool_settled(&w->spool) == 5000);
    assert_int_equal(READ(&w->vault, retried), 1000);
    assert_int_equal(READ(&w->spool, twice), 0);
    assert_int_equal(READ(&w->vault, repeats), 0);
    UNTIL(5000, status_of(w).in_flight_bytes == 0);
    world_free(w);
}

/* The window is full and stays full; PING, FEED and the books go on. */
static void a_full_window_leaves_the_rest_alone(void **state)
{
    (void)state;
    struct world *w = world_new(1, 60000);
    w->uplink_config.window_bytes = 2 * 1024 * 1024;
    vault_mode(&w->vault, VAULT_HELD);
    spool_add(&w->spool, 0, 200);
    start_receiver(w);
    start_uplink(w);
    UNTIL(5000, status_of(w).in_flight_bytes > 1900 * 1024);
    int64_t began = now_ms();
    uint64_t heard = READ(&w->catalog, heard);
    while (now_ms() - began < 2500) {
        struct uplink_status s = status_of(w);
        assert_true(s.connected);
        assert_true(s.in_flight_bytes <= 2 * 1024 * 1024);
        pass_ms(5);
    }
    assert_true(READ(&w->catalog, heard) >= heard + 2);
    SET(&w->vault, feed_items, 10);
    receiver_feed_changed(w->receiver);
    UNTIL(1000, catalog_items(&w->catalog) == 10);
    assert_int_equal(status_of(w).connects, 1);
    assert_true(READ(&w->vault, held_bytes_peak) <= 2 * 1024 * 1024);
    vault_mode(&w->vault, VAULT_REVERSED);
    UNTIL(10000, spool_settled(&w->spool) == 200);
    world_free(w);
}

/* The origin's own bound. Its takers stall: memory stays bounded, the link stays up, the feed
 * works, and nothing is lost once they go on. */
static void an_origin_that_stalls_bounds_its_memory(void **state)
{
    (void)state;
    struct world *w = world_new(1, 100000);
    w->receiver_config.max_pending_bytes = 4 * 1024 * 1024;
    w->uplink_config.window_bytes = 8 * 1024 * 1024; /* more than it takes */
    vault_mode(&w->vault, VAULT_HELD);
    spool_add(&w->spool, 0, 400);
    start_receiver(w);
    start_uplink(w);
    UNTIL(10000, READ(&w->vault, held_bytes) > 1024 * 1024);
    int64_t began = now_ms();
    while (now_ms() - began < 4000)
        pass_ms(20);
    assert_true(READ(&w->vault, held_bytes_peak) <= 5 * 1024 * 1024);
    assert_true(status_of(w).connected);
    assert_int_equal(status_of(w).connects, 1);
    SET(&w->vault, feed_items, 1);
    receiver_feed_changed(w->receiver);
    UNTIL(2000, catalog_items(&w->catalog) == 1);
    vault_mode(&w->vault, VAULT_REVERSED);
    UNTIL(20000, spool_settled(&w->spool) == 400);
    assert_int_equal(READ(&w->spool, twice), 0);
    assert_int_equal(READ(&w->vault, stored), 400);
    world_free(w);
}

static void the_feed_is_followed(void **state)
{
    (void)state;
    struct world *w = world_new(1, 100);
    struct catalog *c = &w->catalog;
    w->vault.feed_items = 200000; /* several pages */
    start_receiver(w);
    start_uplink(w);
    UNTIL(10000, catalog_items(c) == 200000);
    assert_true(READ(c, pages) >= 4);
    assert_int_equal(READ(c, restarts), 1);
    assert_true(READ(c, caught_up));
    assert_true(pl_id128_eq(&c->epoch, &w->vault.epoch));
    UNTIL(3000, READ(c, heard_caught_up));

    int64_t best = INT64_MAX; /* news reaches a parked poll at once */
    for (uint64_t i = 1; i <= 5; i++) {
        pass_ms(20);
        SET(&w->vault, feed_items, w->vault.feed_items + 1);
        int64_t began = now_ms();
        receiver_feed_changed(w->receiver);
        UNTIL(1000, catalog_items(c) == 200000 + i);
        best = now_ms() - began < best ? now_ms() - began : best;
    }
    assert_true(best < 100);

    SET(c, fails, PL_EIO); /* once: asked for again */
    SET(&w->vault, feed_items, w->vault.feed_items + 1);
    receiver_feed_changed(w->receiver);
    UNTIL(5000, catalog_items(c) == 200006);

    uint64_t pages = READ(c, pages);
    pthread_mutex_lock(&w->vault.lock);
    assert_int_equal(pl_id128_random(pl_random_system(), &w->vault.epoch), PL_OK);
    w->vault.feed_items = 3;
    pthread_mutex_unlock(&w->vault.lock);
    receiver_feed_changed(w->receiver);
    UNTIL(3000, catalog_items(c) == 3);
    /* In one page: an empty one first would have taken every config out of service. */
    assert_int_equal(READ(c, pages), pages + 1);
    assert_int_equal(READ(c, restarts), 2);

    pthread_mutex_lock(&w->vault.lock); /* an empty changelog in a new epoch */
    assert_int_equal(pl_id128_random(pl_random_system(), &w->vault.epoch), PL_OK);
    w->vault.feed_items = 0;
    pthread_mutex_unlock(&w->vault.lock);
    receiver_feed_changed(w->receiver);
    UNTIL(3000, catalog_items(c) == 0);
    assert_int_equal(READ(c, restarts), 3);
    assert_int_equal(READ(c, position), 0);
    assert_true(READ(c, caught_up));
    world_free(w);
}

/* Refused as BUSY: asked again in the same session, and not in a hurry. */
static void a_feed_that_is_refused_is_asked_for_again(void **state)
{
    (void)state;
    struct world *w = world_new(1, 100);
    w->vault.feed_items = 5;
    w->vault.feed_broken = true;
    start_receiver(w);
    start_uplink(w);
    UNTIL(10000, READ(&w->vault, feed_calls) >= 3);
    assert_true(READ(&w->vault, feed_calls) < 10);
    assert_int_equal(catalog_items(&w->catalog), 0);
    SET(&w->vault, feed_broken, false);
    UNTIL(10000, catalog_items(&w->catalog) == 5);
    assert_int_equal(status_of(w).connects, 1);
    world_free(w);
}

/* An edge that is up to date must not be told to start over because the origin restarted. */
static void a_restart_of_the_origin_is_no_restart_of_the_feed(void **state)
{
    (void)state;
    struct world *w = world_new(1, 100);
    w->vault.feed_items = 5;
    start_receiver(w);
    start_uplink(w);
    UNTIL(5000, catalog_items(&w->catalog) == 5);
    stop_receiver(w);
    start_receiver(w);
    UNTIL(10000, status_of(w).connects >= 2);
    UNTIL(3000, READ(&w->catalog, heard_caught_up));
    assert_int_equal(READ(&w->catalog, restarts), 1);
    SET(&w->vault, feed_items, 6);
    receiver_feed_changed(w->receiver);
    UNTIL(3000, catalog_items(&w->catalog) == 6);
    assert_int_equal(READ(&w->catalog, restarts), 1);
    world_free(w);
}

static void the_books_are_compared_each_second(void **state)
{
    (void)state;
    struct world *w = world_new(3, 100);
    spool_add(&w->spool, 0, 10);
    spool_add(&w->spool, 1, 20);
    spool_add(&w->spool, 2, 30);
    start_receiver(w);
    start_uplink(w);
    UNTIL(5000, spool_settled(&w->spool) == 60);
    UNTIL(5000, READ(&w->spool, books_calls) >= 3);
    UNTIL(3000, READ(&w->spool, books[2].contiguous) == 30);
    assert_int_equal(READ(&w->spool, books_count), 3);
    for (size_t i = 0; i < 3; i++)
        assert_true(pl_id128_eq(&w->spool.books[i].incarnation, &w->spool.id[i]));
    assert_int_equal(READ(&w->spool, books[1].events), 60);
    world_free(w);
}

/* Books that take longer than the silence a session bears: the link must not flap. */
static void the_origin_hears_what_is_settled(void **state)
{
    (void)state;
    struct world *w = connected(1, 100);
    const struct frame_settled first = {.epoch = {{1, [15] = 2}}, .position = 7},
                               later = {.epoch = {{3}}, .position = UINT64_MAX};
    assert_int_equal(READ(&w->vault, cutoff).position, 0);
    SET(&w->spool, cutoff, first);
    UNTIL(3000, READ(&w->vault, cutoff).position == 7);
    assert_true(pl_id128_eq(&w->vault.cutoff.epoch, &first.epoch));
    SET(&w->spool, cutoff, later);
    UNTIL(3000, READ(&w->vault, cutoff).position == UINT64_MAX);
    world_free(w);
}

static void slow_books_are_not_a_cut_path(void **state)
{
    (void)state;
    struct world *w = world_new(1, 100);
    start_receiver(w);
    start_uplink(w);
    UNTIL(5000, status_of(w).connected);
    SET(&w->vault, books_take_ms, 4000);
    int64_t began = now_ms();
    while (now_ms() - began < 5000) {
        assert_true(status_of(w).connected);
        pass_ms(20);
    }
    assert_int_equal(status_of(w).connects, 1);
    SET(&w->vault, books_take_ms, 0);
    world_free(w);
}

static void a_stop_with_patience_drains(void **state)
{
    (void)state;
    struct world *w = connected(1, 5000);
    vault_mode(&w->vault, VAULT_REVERSED);
    spool_add(&w->spool, 0, 2000);
    uplink_stop(w->uplink, 20000);
    assert_int_equal(spool_settled(&w->spool), 2000);
    assert_false(status_of(w).connected);
    world_free(w);

    w = connected(1, 5000); /* and one that cannot does not take longer than it may */
    vault_mode(&w->vault, VAULT_HELD);
    spool_add(&w->spool, 0, 10);
    int64_t began = now_ms();
    uplink_stop(w->uplink, 300);
    assert_in_range(now_ms() - began, 290, 3000);
    assert_int_equal(spool_settled(&w->spool), 0);
    world_free(w);
}

static void an_origin_that_is_not_there_is_waited_for(void **state)
{
    (void)state;
    struct world *w = world_new(1, 100);
    spool_add(&w->spool, 0, 10);
    start_uplink(w);
    UNTIL(5000, strstr(status_of(w).reason, "is the origin running") != NULL);
    assert_false(status_of(w).connected);
    start_receiver(w);
    UNTIL(5000, spool_settled(&w->spool) == 10);
    stop_receiver(w);
    UNTIL(3000, !status_of(w).connected);
    assert_string_not_equal(status_of(w).reason, "");
    world_free(w);
}

static void a_port_of_the_systems_choice_is_told(void **state)
{
    (void)state;
    struct world *w = world_new(1, 100);
    strcpy(w->listen_url, "tls+tcp://127.0.0.1:0");
    start_receiver(w);
    const unsigned port = receiver_port(w->receiver);
    assert_in_range(port, 1024, 65535);
    snprintf(w->origin_url, sizeof(w->origin_url), "tls+tcp://127.0.0.1:%u", port);
    start_uplink(w);
    UNTIL(5000, status_of(w).connected);
    world_free(w);
}

static void two_receivers_do_not_share_a_port(void **state)
{
    (void)state;
    struct world *w = world_new(1, 100);
    start_receiver(w);
    struct receiver *second;
    struct pl_why why = {0};
    assert_int_equal(receiver_new(&second, &w->receiver_config, &why), PL_OK);
    assert_int_equal(receiver_start(second, &why), PL_EEXISTS);
    assert_non_null(strstr(why.text, w->listen_url));
    receiver_free(second);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_ends_meet),
        cmocka_unit_test(both_ends_know_how_their_clocks_differ),
        cmocka_unit_test(ten_thousand_blocks_get_one_verdict_each),
        cmocka_unit_test(an_idle_link_sends_at_once),
        cmocka_unit_test(the_origin_restarts_under_load),
        cmocka_unit_test(an_answer_that_is_lost_makes_a_repeat),
        cmocka_unit_test(forks_and_losses_are_told),
        cmocka_unit_test(what_cannot_be_taken_now_comes_again),
        cmocka_unit_test(a_full_window_leaves_the_rest_alone),
        cmocka_unit_test(an_origin_that_stalls_bounds_its_memory),
        cmocka_unit_test(the_feed_is_followed),
        cmocka_unit_test(a_feed_that_is_refused_is_asked_for_again),
        cmocka_unit_test(a_restart_of_the_origin_is_no_restart_of_the_feed),
        cmocka_unit_test(the_books_are_compared_each_second),
        cmocka_unit_test(the_origin_hears_what_is_settled),
        cmocka_unit_test(slow_books_are_not_a_cut_path),
        cmocka_unit_test(a_stop_with_patience_drains),
        cmocka_unit_test(an_origin_that_is_not_there_is_waited_for),
        cmocka_unit_test(a_port_of_the_systems_choice_is_told),
        cmocka_unit_test(two_receivers_do_not_share_a_port),
    };
    cmocka_set_test_filter(getenv("LINK_TEST")); /* one by name; NULL: all */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
