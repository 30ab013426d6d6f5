#include "tests/unit/edge/fixture.h"

#include "edge/collector.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>

#define LANES       2
#define EVENT_BYTES 64 /* a number, then noise */
#define ANOTHER     2  /* send_another at most so often */

/* One lane's producer: submits requests on its loop until it has sent all, and counts what comes
 * back. The loop thread's own, but for what is read after the drain. */
struct request {
    struct collector_ticket ticket;
    unsigned first, events;
    unsigned returns;
};

struct world;
struct producer {
    struct http_task task;
    struct world *world;
    unsigned lane;
    struct http_loop *loop;
    struct request *requests;
    unsigned count, sent, back, good, busy, refused;
    unsigned per_request, event_bytes;
    bool stop_at_refusal;
    uint64_t good_events;
    atomic_bool finished;
};

struct world {
    struct fixture *f;
    struct spool *spool;
    struct collector *collector;
    struct http_server *server;
    struct producer producers[LANES];
    atomic_uint_fast64_t acked_events;
    atomic_bool acked_early;
    atomic_uint durable_calls;
    /* The sealer's monotonic clock, and how often it was read after it had jumped. */
    struct pl_clock clock;
    atomic_int_fast64_t jump_ms;
    atomic_uint reads_after_jump;
};

static struct world *the_world(struct http_loop *loop)
{
    return http_loop_user(loop);
}

/* Durable before acked: what the spool has counted is never less than what was said. */
static void on_done(struct http_loop *loop, struct collector_ticket *tickets)
{
    struct world *w = the_world(loop);
    struct producer *p = &w->producers[http_loop_index(loop)];
    struct spool_status status;
    for (struct collector_ticket *t = tickets, *next; t != NULL; t = next) {
        next = t->next;
        struct request *r = (struct request *)((char *)t - offsetof(struct request, ticket));
        r->returns++;
        p->back++;
        if (t->err == PL_OK) {
            p->good++;
            p->good_events += r->events;
            atomic_fetch_add(&w->acked_events, r->events);
        }
    }
    const uint64_t said = atomic_load(&w->acked_events);
    spool_status(w->spool, &status);
    if (status.accepted_events < said)
        atomic_store(&w->acked_early, true);
    if (p->back == p->count)
        atomic_store(&p->finished, true);
}

static void on_durable(void *ctx)
{
    struct world *w = ctx;
    atomic_fetch_add(&w->durable_calls, 1);
}

static enum pl_err submit_one(struct producer *p)
{
    struct request *r = &p->requests[p->sent];
    uint8_t *bytes = malloc((size_t)p->per_request * p->event_bytes);
    uint32_t *ends = calloc(p->per_request, sizeof(*ends));
    assert_int_equal(pl_random_fill(pl_random_system(), bytes, p->per_request * p->event_bytes),
                     PL_OK);
    r->first = (p->lane << 24) + p->sent * p->per_request;
    r->events = p->per_request;
    for (unsigned i = 0; i < p->per_request; i++) {
        pl_store_u32(bytes + (size_t)i * p->event_bytes, r->first + i);
        ends[i] = (i + 1) * p->event_bytes;
    }
    const struct collector_events events = {
        .bytes = pl_span(bytes, (size_t)p->per_request * p->event_bytes),
        .ends = ends,
        .count = p->per_request,
    };
    enum pl_err err = collector_submit(p->world->collector, p->lane, &events, &r->ticket);
    free(bytes);
    free(ends);
    return err;
}

/* A few requests, then the loop's turn. */
static void produce(struct http_task *task)
{
    struct producer *p = (struct producer *)task;
    for (int i = 0; i < 8 && p->sent < p->count; i++) {
        enum pl_err err = submit_one(p);
        if (err == PL_OK) {
            p->sent++;
        } else if (err == PL_EAGAIN) {
            p->busy++;
        } else {
            p->refused++;
            if (p->stop_at_refusal) {
                p->count = p->sent;
                if (p->back == p->count)
                    atomic_store(&p->finished, true);
            }
            break;
        }
    }
    if (p->sent < p->count)
        http_loop_post(p->loop, &p->task);
}

static void loop_start(struct http_loop *loop, unsigned index, void *arg)
{
    struct world *w = arg;
    struct producer *p = &w->producers[index];
    http_loop_set_user(loop, w);
    collector_lane_open(w->collector, index, loop);
    p->loop = loop;
    p->task.run = produce;
    http_loop_post(loop, &p->task);
}

static void loop_stop(struct http_loop *loop, void *arg)
{
    struct world *w = arg;
    struct producer *p = &w->producers[http_loop_index(loop)];
    p->count = p->sent; /* as a drained loop has no requests any more */
    collector_lane_close(w->collector, p->lane);
}

static int64_t wall_ms(void *ctx)
{
    (void)ctx;
    return pl_wall_ms(pl_clock_system());
}

static int64_t jumping_mono_ms(void *ctx)
{
    struct world *w = ctx;
    const int64_t jump_ms = atomic_load(&w->jump_ms);
    if (jump_ms != 0)
        atomic_fetch_add(&w->reads_after_jump, 1);
    return pl_mono_ms(pl_clock_system()) + jump_ms;
}

static void world_open(struct world *w, struct fixture *f, size_t lane_bytes, uint64_t spool_bytes,
                       const uint8_t *origin_public)
{
    struct pl_why why = {0};
    w->f = f;
    w->clock = (struct pl_clock){.wall_ms = wall_ms, .mono_ms = jumping_mono_ms, .ctx = w};
    fixture_store_open(f);
    w->spool = fixture_spool_open(f, (struct spool_config){.max_bytes = spool_bytes});
    const struct collector_config config = {
        .spool = w->spool,
        .sealer = {.edge_secret = f->edge_secret,
                   .origin_public = origin_public,
                   .random = pl_random_system(),
                   .clock = &w->clock},
        .lanes = LANES,
        .lane_bytes = lane_bytes,
        .done = on_done,
        .durable = on_durable,
        .durable_ctx = w,
        .clock = pl_clock_system(),
        .log = &fixture_silent,
    };
    assert_int_equal(collector_new(&w->collector, &config, &why), PL_OK);
    assert_int_equal(collector_start(w->collector, &why), PL_OK);
}

static void world_plan(struct world *w, unsigned count, unsigned per_request, unsigned event_bytes)
{
    for (unsigned i = 0; i < LANES; i++) {
        struct producer *p = &w->producers[i];
        p->world = w;
        p->lane = i;
        p->count = count;
        p->per_request = per_request;
        p->event_bytes = event_bytes;
        p->requests = calloc(count + ANOTHER, sizeof(*p->requests));
    }
}

static void world_serve(struct world *w)
{
    w->server = fixture_serve(LANES, loop_start, loop_stop, w);
}

static bool wait_finished(struct world *w, int64_t timeout_ms)
{
    const int64_t end_ms = pl_mono_ms(pl_clock_system()) + timeout_ms;
    for (unsigned i = 0; i < LANES; i++)
        while (!atomic_load(&w->producers[i].finished)) {
            if (pl_mono_ms(pl_clock_system()) > end_ms)
                return false;
            usleep(1000);
        }
    return true;
}

static void world_stop(struct world *w)
{
    http_server_drain(w->server, 1000);
    http_server_free(w->server);
    collector_stop(w->collector);
    collector_free(w->collector);
}

static void world_close(struct world *w)
{
    spool_free(w->spool);
    fixture_store_close(w->f);
    for (unsigned i = 0; i < LANES; i++)
        free(w->producers[i].requests);
}

/* ---- what arrived */

static enum pl_err seal_secret(void *ctx, const uint8_t id[BLOCK_KEY_ID_BYTES],
                               uint8_t secret[PL_X25519_BYTES])
{
    const struct fixture *f = ctx;
    (void)id;
    memcpy(secret, f->origin_secret, PL_X25519_BYTES);
    return PL_OK;
}

static enum pl_err edge_public(void *ctx, const struct pl_id128 *edge,
                               uint8_t public_key[PL_X25519_BYTES])
{
    const struct fixture *f = ctx;
    (void)edge;
    memcpy(public_key, f->edge_public, PL_X25519_BYTES);
    return PL_OK;
}

/* How often each event is in the spool: seen[lane][number]. Gives the number of blocks. */
static unsigned open_all(struct world *w, uint8_t *seen[LANES])
{
    struct block_opener *opener;
    const struct block_opener_keys keys = {
        .seal_secret = seal_secret, .edge_public = edge_public, .ctx = w->f};
    struct uplink_source source = spool_source(w->spool);
    struct chain_claim claims[8];
    struct pl_buf block, plain;
    size_t count = 0;
    unsigned blocks = 0;
    assert_int_equal(block_opener_new(&opener, &keys), PL_OK);
    assert_int_equal(source.chains(source.ctx, claims, 8, &count), PL_OK);
    pl_buf_init(&block, LIMIT_BLOCK_BYTES);
    pl_buf_init(&plain, LIMIT_BLOCK_PLAIN_BYTES);
    for (size_t c = 0; c < count; c++) {
        struct block_loss loss;
        uint64_t number = 0;
        for (;; number++) {
            struct block_header header;
            struct pl_span body;
            pl_buf_reset(&block);
            pl_buf_reset(&plain);
            enum pl_err err =
                source.read(source.ctx, &claims[c].incarnation, &number, &block, &loss);
            if (err == PL_ENOTFOUND)
                break;
            assert_int_equal(err, PL_OK);
            assert_int_equal(block_parse(pl_buf_span(&block), &header, &body, NULL), PL_OK);
            assert_int_equal(block_open(opener, &header, pl_buf_span(&block), &plain, NULL), PL_OK);
            const unsigned bytes = w->producers[0].event_bytes;
            assert_int_equal(plain.len, (size_t)header.events * bytes);
            for (size_t at = 0; at < plain.len; at += bytes) {
                const uint32_t id = pl_load_u32(plain.data + at);
                seen[id >> 24][id & 0xffffff]++;
            }
            blocks++;
        }
    }
    pl_buf_release(&block);
    pl_buf_release(&plain);
    block_opener_free(opener);
    return blocks;
}

/* Every request came back once; those that were told PL_OK are in the spool, each event once. */
static unsigned check_all(struct world *w, bool exactly)
{
    uint8_t *seen[LANES];
    for (unsigned i = 0; i < LANES; i++)
        seen[i] = calloc((size_t)w->producers[i].count * w->producers[i].per_request + 1, 1);
    const unsigned blocks = open_all(w, seen);
    for (unsigned i = 0; i < LANES; i++) {
        const struct producer *p = &w->producers[i];
        assert_int_equal(p->back, p->sent);
        for (unsigned n = 0; n < p->sent; n++) {
            const struct request *r = &p->requests[n];
            assert_int_equal(r->returns, 1);
            for (unsigned e = 0; e < r->events; e++) {
                const uint8_t times = seen[i][(r->first & 0xffffff) + e];
                if (r->ticket.err == PL_OK || exactly)
                    assert_int_equal(times, 1);
                else
                    assert_true(times <= 1);
            }
        }
        free(seen[i]);
    }
    assert_false(atomic_load(&w->acked_early));
    return blocks;
}

/* ---- tests */

static void test_everything_arrives_once(void **state)
{
    struct fixture *f = *state;
    struct world w = {0};
    struct collector_stats stats;
    world_open(&w, f, 1 << 20, UINT64_MAX / 2, f->origin_public);
    world_plan(&w, 4000, 3, EVENT_BYTES);
    world_serve(&w);
    assert_true(wait_finished(&w, 60000));
    collector_stats(w.collector, &stats);
    world_stop(&w);
    check_all(&w, true);
    assert_int_equal(stats.requests, LANES * 4000);
    assert_int_equal(stats.events, LANES * 4000 * 3);
    assert_int_equal(stats.failed_rounds, 0);
    assert_true(stats.rounds < LANES * 4000 / 4); /* commits are shared */
    assert_true(atomic_load(&w.durable_calls) >= stats.rounds);
    world_close(&w);
}

static void test_large_rounds_make_several_blocks(void **state)
{
    struct fixture *f = *state;
    struct world w = {0};
    world_open(&w, f, 8 << 20, UINT64_MAX / 2, f->origin_public);
    /* 60 requests of 20 events of 20 KB that do not compress, in each lane. */
    world_plan(&w, 60, 20, 20000);
    world_serve(&w);
    assert_true(wait_finished(&w, 60000));
    world_stop(&w);
    const unsigned blocks = check_all(&w, true);
    assert_true(blocks >= LANES * 60 * 20 * 20000 / LIMIT_BLOCK_BYTES);
    world_close(&w);
}

static void test_a_full_lane_says_so(void **state)
{
    struct fixture *f = *state;
    struct world w = {0};
    world_open(&w, f, 64 * 1024, UINT64_MAX / 2, f->origin_public);
    world_plan(&w, 3000, 10, 1000); /* six requests fill a lane */
    world_serve(&w);
    assert_true(wait_finished(&w, 60000));
    world_stop(&w);
    check_all(&w, true);
    assert_true(w.producers[0].busy + w.producers[1].busy > 0);
    world_close(&w);
}

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

static void file_limit(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
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
    file_limit(600 * 1024);
    world_serve(&w);
    const int64_t end_ms = pl_mono_ms(pl_clock_system()) + 30000;
    while (collector_health(w.collector, &why) == PL_OK && pl_mono_ms(pl_clock_system()) < end_ms)
        usleep(1000);
    assert_int_equal(collector_health(w.collector, &why), PL_ENOSPC);
    file_limit(RLIM_INFINITY);
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

static void test_nothing_is_taken_before_the_key_is_known(void **state)
{
    struct fixture *f = *state;
    struct world w = {0};
    struct pl_why why;
    world_open(&w, f, 1 << 20, UINT64_MAX / 2, NULL);
    world_plan(&w, 100, 1, EVENT_BYTES);
    assert_int_equal(collector_health(w.collector, &why), PL_ECLOSED);
    world_serve(&w);
    usleep(20000);
    collector_set_origin(w.collector, f->origin_public);
    assert_true(wait_finished(&w, 30000));
    assert_true(w.producers[0].refused > 0);
    world_stop(&w);
    check_all(&w, true);
    world_close(&w);
}

/* One more request of lane 0; its events are durable on return. */
static void send_another(struct world *w)
{
    struct producer *p = &w->producers[0];
    atomic_store(&p->finished, false);
    p->count++;
    http_loop_post(p->loop, &p->task);
    assert_true(wait_finished(w, 30000));
}

/* The epochs of the live chain's blocks: how many follow one another. */
static unsigned count_epochs(struct world *w)
{
    struct uplink_source source = spool_source(w->spool);
    struct chain_claim claim;
    struct block_header header = {0};
    struct block_loss loss;
    struct pl_buf block;
    struct pl_span body;
    uint8_t enc[HPKE_ENC_BYTES] = {0};
    unsigned epochs = 0;
    size_t count;
    pl_buf_init(&block, LIMIT_BLOCK_BYTES);
    assert_int_equal(source.chains(source.ctx, &claim, 1, &count), PL_OK);
    for (uint64_t number = 0;
         source.read(source.ctx, &claim.incarnation, &number, &block, &loss) == PL_OK; number++) {
        assert_int_equal(block_parse(pl_buf_span(&block), &header, &body, NULL), PL_OK);
        epochs += memcmp(header.enc, enc, sizeof(enc)) != 0;
        memcpy(enc, header.enc, sizeof(enc));
        pl_buf_reset(&block);
    }
    pl_buf_release(&block);
    return epochs;
}

/* The committer's tick wipes the key of an epoch whose time is up, though nothing is sealed. */
static void test_an_idle_edge_lets_its_epoch_go(void **state)
{
    struct fixture *f = *state;
    struct world w = {0};
    world_open(&w, f, 1 << 20, UINT64_MAX / 2, f->origin_public);
    world_plan(&w, 1, 1, EVENT_BYTES);
    world_serve(&w);
    assert_true(wait_finished(&w, 30000));
    send_another(&w);
    assert_int_equal(count_epochs(&w), 1);

    atomic_store(&w.jump_ms, 10 * PL_MINUTE_MS);
    const int64_t end_ms = pl_mono_ms(pl_clock_system()) + 10000;
    while (atomic_load(&w.reads_after_jump) == 0 && pl_mono_ms(pl_clock_system()) < end_ms)
        usleep(1000);
    assert_true(atomic_load(&w.reads_after_jump) > 0);
    atomic_store(&w.jump_ms, 0); /* so that only the tick can have ended it */
    send_another(&w);
    assert_int_equal(count_epochs(&w), 2);
    world_stop(&w);
    check_all(&w, true);
    world_close(&w);
}

static void test_stopping_hands_everything_back(void **state)
{
    struct fixture *f = *state;
    struct world w = {0};
    world_open(&w, f, 1 << 20, UINT64_MAX / 2, f->origin_public);
    world_plan(&w, 0xffff, 1, EVENT_BYTES);
    world_serve(&w);
    usleep(50000);
    world_stop(&w); /* in full flow: what is out must come back, durable */
    for (unsigned i = 0; i < LANES; i++)
        assert_true(w.producers[i].sent > 0);
    check_all(&w, true);
    world_close(&w);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_everything_arrives_once),
        TEST(test_large_rounds_make_several_blocks),
        TEST(test_a_full_lane_says_so),
        TEST(test_a_full_spool_refuses),
        TEST(test_a_failing_disk_loses_nothing_it_acked),
        TEST(test_nothing_is_taken_before_the_key_is_known),
        TEST(test_an_idle_edge_lets_its_epoch_go),
        TEST(test_stopping_hands_everything_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
