/* The receiver and peers that are many, or never listen. */
#include "tests/unit/replication/peer.h"
#include "tests/unit/replication/relay.h"

#include <errno.h>
#include <sys/resource.h>

static const struct frame_settled settled = {.epoch = {{3}}, .position = 4};

/* No faster than they are accepted: where the kernel's queue overflows, the client believes in a
 * connection that the receiver never gets to see. */
static void strangers(struct world *w, const char *from, int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        fds[i] = stranger(w, from);
        if (i % 50 == 49)
            pass_ms(25);
    }
}

static bool is_closed(int fd)
{
    char byte;
    ssize_t n = recv(fd, &byte, 1, MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN);
}

/* Neither strangers that say nothing nor holders of a certificate that do not go on. */
static void strangers_lock_nobody_out(void **state)
{
    (void)state;
    enum { SILENT = 2100, GREETED = 20 };
    static int silent[SILENT];
    struct peer greeted[GREETED];
    struct rlimit files = {.rlim_cur = 6000, .rlim_max = 6000};
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    files.rlim_max = before.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
    struct world *w = listening();
    for (size_t i = 0; i < GREETED; i++)
        assert_int_equal(peer_open(w, &greeted[i]), 0);
    strangers(w, "127.0.0.1", silent, SILENT);
    int64_t began_ms = now_ms();
    start_uplink(w);
    UNTIL(5000, status_of(w).connected);
    print_message("linked after %d ms\n", (int)(now_ms() - began_ms));
    for (size_t i = 0; i < SILENT; i++)
        close(silent[i]);
    for (size_t i = 0; i < GREETED; i++)
        peer_close(&greeted[i]);
    assert_int_equal(status_of(w).connects, 1);
    world_free(w);
    setrlimit(RLIMIT_NOFILE, &before);
}

/* So many that a connection from their address lives too short to prove anything: their address
 * pays, an edge elsewhere does not notice. */
static void a_crowd_displaces_itself(void **state)
{
    (void)state;
    enum { ROOM = 16, FEW = 4, CROWD = 300 };
    struct world *w = world_new(1, 100);
    struct peer few[FEW];
    int crowd[CROWD];
    pki_issue(&w->pki, "other", NULL);
    w->receiver_config.strangers_max = ROOM;
    start_receiver(w);
    for (size_t i = 0; i < FEW; i++)
        assert_int_equal(peer_open(w, &few[i]), 0);
    strangers(w, "127.0.0.2", crowd, CROWD);
    UNTIL(5000, is_closed(crowd[CROWD - 1 - (ROOM - FEW)]));
    for (size_t i = 0; i < CROWD; i++) {
        assert_int_equal(is_closed(crowd[i]), i < CROWD - (ROOM - FEW)); /* the oldest */
        close(crowd[i]);
    }
    for (size_t i = 0; i < FEW; i++)
        assert_int_equal(ask_block(&few[i]), FRAME_HELLO_FIRST);
    for (size_t i = 0; i < FEW; i++)
        peer_close(&few[i]);
    world_free(w);
}

/* Asks and asks and never listens: neither memory nor other edges suffer. */
static void a_peer_that_never_listens_is_held_back(void **state)
{
    (void)state;
    struct world *w = listening();
    struct peer p;
    uint8_t nonce[FRAME_NONCE_BYTES];
    enum frame_refusal refusal;
    assert_int_equal(peer_open(w, &p), 0);
    get_nonce(&p, nonce);
    assert_int_equal(prove(w, &p, nonce, &w->vault.edge, "edge", &refusal), FRAME_WELCOME);
    struct chain_claim claims[FRAME_CHAINS_MAX] = {{.next = 0}};
    struct pl_buf out;
    pl_buf_init(&out, LIMIT_FRAME_BYTES);
    assert_int_equal(frame_put_ping(&out, 1, &settled, claims, FRAME_CHAINS_MAX), PL_OK);
    struct pipe_message *m = pipe_message_new(0x80000001, pl_buf_span(&out));
    nng_aio_set_timeout(p.aio, 300);
    int rv = 0;
    size_t sent = 0;
    while (rv == 0 && sent < 100000) { /* over a gigabyte, were it taken */
        rv = say_raw(&p, m->bytes, PIPE_HEAD_BYTES + m->len);
        sent++;
    }
    assert_int_equal(rv, NNG_ETIMEDOUT);
    assert_true(sent < 20000);
    free(m);
    pl_buf_release(&out);
    start_uplink(w);
    UNTIL(5000, status_of(w).connected);
    peer_close(&p);
    world_free(w);
}

/* The same by one that has a certificate and proves nothing: it need not be suffered at all. */
static void a_stranger_that_never_listens_is_hung_up_on(void **state)
{
    (void)state;
    enum { AT_ONCE = 100 };
    struct world *w = listening();
    struct relay *r = relay_new(w, 0, 0);
    struct peer p;
    uint8_t many[AT_ONCE * 32];
    struct pipe_message *m = pipe_message_new(0x80000001, PL_SPAN_LIT("no frame"));
    const size_t bytes = PIPE_HEAD_BYTES + m->len;
    for (size_t i = 0; i < AT_ONCE; i++)
        memcpy(many + i * bytes, m->bytes, bytes);
    free(m);
    assert_int_equal(peer_open(w, &p), 0);
    relay_set(r, &r->deaf, true);
    size_t sent = 0;
    const int64_t until_ms = now_ms() + 8000; /* after ten seconds every stranger goes */
    for (int rv = 0; rv == 0 && !READ(r, hung_up) && now_ms() < until_ms; sent += AT_ONCE)
        rv = say_raw(&p, many, AT_ONCE * bytes);
    print_message("hung up on within %zu messages\n", sent);
    assert_true(READ(r, hung_up));
    peer_close(&p);
    world_free(w);
    relay_free(r);
}

static void put_feed(struct peer *p, const struct pl_id128 *epoch, uint64_t position,
                     uint32_t wait_ms, uint32_t id)
{
    struct pl_buf out;
    struct frame_feed feed = {.epoch = *epoch, .position = position, .wait_ms = wait_ms};
    pl_buf_init(&out, 64);
    assert_int_equal(frame_put_feed(&out, &feed), PL_OK);
    assert_int_equal(put(p, pl_buf_span(&out), id), 0);
    pl_buf_release(&out);
}

/* As edges do each second: a pipe without a byte for ten is swept. */
static void ping_all(struct peer *peers, size_t count)
{
    struct pl_buf out, in;
    struct frame f;
    pl_buf_init(&out, 64);
    pl_buf_init(&in, LIMIT_FRAME_BYTES);
    assert_int_equal(frame_put_ping(&out, pl_wall_ms(pl_clock_system()), &settled, NULL, 0), PL_OK);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(ask(&peers[i], pl_buf_span(&out), &f, &in), 0);
        assert_int_equal(f.type, FRAME_PONG);
    }
    pl_buf_release(&out);
    pl_buf_release(&in);
}

/* Polls of many edges are parked at once, and all hear the news at once. */
static void many_parked_polls_wake_together(void **state)
{
    (void)state;
    enum { EDGES = 40 };
    struct world *w = listening();
    struct peer p[EDGES];
    struct pl_buf in;
    struct frame f;
    uint8_t nonce[FRAME_NONCE_BYTES];
    enum frame_refusal refusal;
    uint32_t id;
    pl_buf_init(&in, LIMIT_FRAME_BYTES);
    w->vault.feed_items = 5;
    w->vault.any_edge = true;
    int64_t pinged_ms = now_ms();
    for (size_t i = 0; i < EDGES; i++) {
        struct pl_id128 edge = {{(uint8_t)i, 1}};
        if (now_ms() - pinged_ms >= 1000) {
            pinged_ms = now_ms();
            ping_all(p, i);
        }
        assert_int_equal(peer_open(w, &p[i]), 0);
        get_nonce(&p[i], nonce);
        assert_int_equal(prove(w, &p[i], nonce, &edge, "edge", &refusal), FRAME_WELCOME);
        put_feed(&p[i], &w->vault.epoch, 5, 30000, 0x80000000u + (uint32_t)i);
    }
    assert_int_equal(ask_block(&p[0]), FRAME_ACKS); /* which a parked poll does not hold up */
    ping_all(p, EDGES); /* which are read behind the polls: all are parked */
    SET(&w->vault, feed_items, 7);
    uint64_t looks = READ(&w->vault, feed_calls);
    int64_t began_ms = now_ms();
    receiver_feed_changed(w->receiver);
    for (size_t i = 0; i < EDGES; i++) {
        assert_int_equal(get(&p[i], &f, &id, &in), 0);
        assert_int_equal(f.type, FRAME_PAGE);
        assert_int_equal(id, 0x80000000u + (uint32_t)i);
        assert_int_equal(f.page.position, 7);
        assert_true(f.page.caught_up && !f.page.restart);
    }
    print_message("%d polls answered within %d ms\n", EDGES, (int)(now_ms() - began_ms));
    assert_true(now_ms() - began_ms < 1000); /* as edges are promised news */
    assert_in_range(READ(&w->vault, feed_calls), looks + 1, looks + 2); /* not once for each */

    put_feed(&p[0], &w->vault.epoch, 7, 30000, 0x80000001); /* the second takes its place */
    put_feed(&p[0], &w->vault.epoch, 7, 300, 0x80000002);
    began_ms = now_ms();
    assert_int_equal(get(&p[0], &f, &id, &in), 0);
    assert_int_equal(id, 0x80000002);
    assert_int_equal(f.page.items.len, 0);
    assert_true(f.page.caught_up);
    assert_true(now_ms() - began_ms >= 250);
    for (size_t i = 0; i < EDGES; i++)
        peer_close(&p[i]);
    pl_buf_release(&in);
    world_free(w);
}

/* Fifty times in full flight: what hung nng's own sockets for good. */
static void sessions_may_be_ended_under_load_any_number_of_times(void **state)
{
    (void)state;
    struct world *w = world_new(1, 20000);
    vault_mode(&w->vault, VAULT_REVERSED);
    start_receiver(w);
    start_uplink(w);
    for (int i = 1; i <= 50; i++) {
        uint64_t goal = spool_settled(&w->spool) + 40;
        spool_add(&w->spool, 0, 100);
        uplink_wake(w->uplink);
        UNTIL(20000, spool_settled(&w->spool) >= goal);
        receiver_edge_changed(w->receiver, &w->vault.edge);
    }
    UNTIL(30000, spool_settled(&w->spool) == 5000);
    assert_int_equal(w->spool.twice, 0);
    assert_int_equal(READ(&w->vault, stored), 5000);
    stop_uplink(w);
    struct receiver_session sessions[2];
    UNTIL(5000, receiver_sessions(w->receiver, sessions, 2) == 0);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strangers_lock_nobody_out),
        cmocka_unit_test(a_crowd_displaces_itself),
        cmocka_unit_test(a_peer_that_never_listens_is_held_back),
        cmocka_unit_test(a_stranger_that_never_listens_is_hung_up_on),
        cmocka_unit_test(many_parked_polls_wake_together),
        cmocka_unit_test(sessions_may_be_ended_under_load_any_number_of_times),
    };
    cmocka_set_test_filter(getenv("LINK_TEST")); /* one by name; NULL: all */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
