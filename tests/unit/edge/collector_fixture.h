/* A collector with two lanes, producers that fill them, and what of it arrives in the spool. */
#ifndef POLDER_TESTS_EDGE_COLLECTOR_FIXTURE_H
#define POLDER_TESTS_EDGE_COLLECTOR_FIXTURE_H

#include "tests/unit/edge/fixture.h"

#include "edge/collector.h"

#include <stdatomic.h>

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
    unsigned count, back, good, busy;
    atomic_uint sent, refused; /* read by the test meanwhile */
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
    atomic_uint_fast64_t told_events; /* that were durable when the uplink was last woken */
    /* The sealer's monotonic clock, and how often it was read after it had jumped. */
    struct pl_clock clock;
    atomic_int_fast64_t jump_ms;
    atomic_uint reads_after_jump;
};

static inline struct world *the_world(struct http_loop *loop)
{
    return http_loop_user(loop);
}

/* Durable before acked: what the spool has counted is never less than what was said. */
static inline void on_done(struct http_loop *loop, struct collector_ticket *tickets)
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

static inline void on_durable(void *ctx)
{
    struct world *w = ctx;
    struct spool_status status;
    spool_status(w->spool, &status);
    atomic_store(&w->told_events, status.accepted_events);
}

static inline enum pl_err submit_one(struct producer *p)
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
static inline void produce(struct http_task *task)
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

static inline void loop_start(struct http_loop *loop, unsigned index, void *arg)
{
    struct world *w = arg;
    struct producer *p = &w->producers[index];
    http_loop_set_user(loop, w);
    collector_lane_open(w->collector, index, loop);
    p->loop = loop;
    p->task.run = produce;
    http_loop_post(loop, &p->task);
}

static inline void loop_stop(struct http_loop *loop, void *arg)
{
    struct world *w = arg;
    struct producer *p = &w->producers[http_loop_index(loop)];
    p->count = p->sent; /* as a drained loop has no requests any more */
    collector_lane_close(w->collector, p->lane);
}

static inline int64_t wall_ms(void *ctx)
{
    (void)ctx;
    return pl_wall_ms(pl_clock_system());
}

static inline int64_t jumping_mono_ms(void *ctx)
{
    struct world *w = ctx;
    const int64_t jump_ms = atomic_load(&w->jump_ms);
    if (jump_ms != 0)
        atomic_fetch_add(&w->reads_after_jump, 1);
    return pl_mono_ms(pl_clock_system()) + jump_ms;
}

static inline void world_open(struct world *w, struct fixture *f, size_t lane_bytes,
                              uint64_t spool_bytes, const uint8_t *origin_public)
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

static inline void world_plan(struct world *w, unsigned count, unsigned per_request,
                              unsigned event_bytes)
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

static inline void world_serve(struct world *w)
{
    w->server = fixture_serve(LANES, loop_start, loop_stop, w);
}

static inline bool wait_finished(struct world *w, int64_t timeout_ms)
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

static inline void world_stop(struct world *w)
{
    http_server_drain(w->server, 1000);
    http_server_free(w->server);
    collector_stop(w->collector);
    collector_free(w->collector);
}

static inline void world_close(struct world *w)
{
    spool_free(w->spool);
    fixture_store_close(w->f);
    for (unsigned i = 0; i < LANES; i++)
        free(w->producers[i].requests);
}

/* ---- what arrived */

static inline enum pl_err seal_secret(void *ctx, const uint8_t id[BLOCK_KEY_ID_BYTES],
                                      uint8_t secret[PL_X25519_BYTES])
{
    const struct fixture *f = ctx;
    (void)id;
    memcpy(secret, f->origin_secret, PL_X25519_BYTES);
    return PL_OK;
}

static inline enum pl_err edge_public(void *ctx, const struct pl_id128 *edge,
                                      uint8_t public_key[PL_X25519_BYTES])
{
    const struct fixture *f = ctx;
    (void)edge;
    memcpy(public_key, f->edge_public, PL_X25519_BYTES);
    return PL_OK;
}

/* How often each event is in the spool: seen[lane][number]. Gives the number of blocks. */
static inline unsigned open_all(struct world *w, uint8_t *seen[LANES])
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
static inline unsigned check_all(struct world *w, bool exactly)
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

#endif
