/* What the tests of the cut-off share: an edge with two loops, and what is asked of it. */
#ifndef POLDER_TESTS_EDGE_CUTOFF_FIXTURE_H
#define POLDER_TESTS_EDGE_CUTOFF_FIXTURE_H

#include "tests/unit/edge/fixture.h"

#include "edge/cutoff.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/stat.h>

#define LANES      2
#define PATIENCE   10000
#define EVENT      "an event, as long as it takes to be told from everything else in a file"
#define NAME_BYTES 40 /* of a block that is looked for in files */

/* What a loop is asked to do, on its own thread. */
struct errand {
    struct http_task task;
    struct world *world;
    unsigned lane;
    uint64_t pass; /* 0: submit an event */
    struct collector_ticket ticket;
    atomic_bool done; /* submitted and back, or passed */
};

struct world {
    struct fixture *f;
    struct spool *spool;
    struct collector *collector;
    struct cutoff *cutoff;
    struct http_server *server;
    struct http_loop *_Atomic loops[LANES];
};

static const struct pl_id128 epoch = {{7, [15] = 8}};

/* ---- waiting */

#define UNTIL(condition)                                                                           \
    do {                                                                                           \
        const int64_t until_ms = pl_mono_ms(pl_clock_system()) + PATIENCE;                         \
        while (!(condition)) {                                                                     \
            if (pl_mono_ms(pl_clock_system()) > until_ms)                                          \
                fail_msg("not within %d ms: %s", PATIENCE, #condition);                            \
            usleep(1000);                                                                          \
        }                                                                                          \
    } while (0)

/* ---- the edge */

static inline void on_fenced(void *ctx)
{
    const struct world *w = ctx;
    cutoff_fenced(w->cutoff);
}

static inline void on_past_cut(void *ctx)
{
    const struct world *w = ctx;
    cutoff_past(w->cutoff);
}

static inline void on_durable(void *ctx)
{
    (void)ctx;
}

static inline void on_done(struct http_loop *loop, struct collector_ticket *tickets)
{
    (void)loop;
    for (struct collector_ticket *t = tickets, *next; t != NULL; t = next) {
        struct errand *e = (struct errand *)((char *)t - offsetof(struct errand, ticket));
        next = t->next;
        atomic_store(&e->done, true);
    }
}

static inline void run_errand(struct http_task *task)
{
    struct errand *e = (struct errand *)task;
    const uint32_t end = sizeof(EVENT) - 1;
    const struct collector_events events = {.bytes = S(EVENT), .ends = &end, .count = 1};
    if (e->pass == 0) {
        assert_int_equal(collector_submit(e->world->collector, e->lane, &events, &e->ticket),
                         PL_OK);
    } else {
        collector_pass(e->world->collector, e->lane, e->pass);
        atomic_store(&e->done, true);
    }
}

static inline void loop_start(struct http_loop *loop, unsigned index, void *arg)
{
    struct world *w = arg;
    http_loop_set_user(loop, w);
    collector_lane_open(w->collector, index, loop);
    atomic_store(&w->loops[index], loop);
}

static inline void loop_stop(struct http_loop *loop, void *arg)
{
    const struct world *w = arg;
    collector_lane_close(w->collector, http_loop_index(loop));
}

static inline void serve(struct world *w)
{
    w->server = fixture_serve(LANES, loop_start, loop_stop, w);
    for (unsigned i = 0; i < LANES; i++)
        UNTIL(atomic_load(&w->loops[i]) != NULL);
}

static inline void world_open(struct world *w, struct fixture *f, uint64_t here)
{
    struct pl_why why = {0};
    *w = (struct world){.f = f};
    fixture_store_open(f);
    w->spool = fixture_spool_open(f, (struct spool_config){.past_cut = on_past_cut, .ctx = w});
    const struct collector_config collector = {
        .spool = w->spool,
        .sealer = {.edge_secret = f->edge_secret,
                   .origin_public = f->origin_public,
                   .random = pl_random_system(),
                   .clock = pl_clock_system()},
        .lanes = LANES,
        .lane_bytes = 1 << 20,
        .done = on_done,
        .durable = on_durable,
        .fenced = on_fenced,
        .durable_ctx = w,
        .clock = pl_clock_system(),
        .log = &fixture_silent,
    };
    assert_int_equal(collector_new(&w->collector, &collector, &why), PL_OK);
    const struct cutoff_config cutoff = {
        .store = f->store,
        .spool = w->spool,
        .collector = w->collector,
        .here = {.epoch = epoch, .position = here},
        .clock = pl_clock_system(),
        .log = &fixture_silent,
    };
    assert_int_equal(cutoff_new(&w->cutoff, &cutoff, &why), PL_OK);
    assert_int_equal(collector_start(w->collector, &why), PL_OK);
    assert_int_equal(cutoff_start(w->cutoff, &why), PL_OK);
    serve(w);
}

static inline void world_close(struct world *w)
{
    http_server_drain(w->server, 1000);
    http_server_free(w->server);
    collector_stop(w->collector);
    cutoff_free(w->cutoff);
    collector_free(w->collector);
    spool_free(w->spool);
    fixture_store_close(w->f);
}

/* ---- what the test does to it */

static inline void run(struct world *w, unsigned lane, uint64_t pass)
{
    struct errand *e = calloc(1, sizeof(*e));
    *e = (struct errand){.task = {.run = run_errand}, .world = w, .lane = lane, .pass = pass};
    http_loop_post(atomic_load(&w->loops[lane]), &e->task);
    UNTIL(atomic_load(&e->done));
    free(e);
}

static inline void collect(struct world *w, unsigned lane)
{
    run(w, lane, 0);
}

static inline void want(struct world *w, uint64_t position, uint64_t serial, bool forgets)
{
    const struct catalog_cut cut = {
        .at = {.epoch = epoch, .position = position}, .serial = serial, .forgets = forgets};
    cutoff_want(w->cutoff, &cut);
}

static inline uint64_t settled(struct world *w)
{
    struct cutoff_status status;
    cutoff_status(w->cutoff, &status);
    if (status.settled.position > 0)
        assert_memory_equal(&status.settled.epoch, &epoch, sizeof(epoch));
    assert_string_equal(status.trouble, "");
    return status.settled.position;
}

static inline bool is_pending(struct world *w)
{
    struct cutoff_status status;
    cutoff_status(w->cutoff, &status);
    return status.pending_ms > 0;
}

/* As the sender does each second. */
static inline size_t claims(struct world *w, struct chain_claim out[8])
{
    struct uplink_source source = spool_source(w->spool);
    size_t count = 0;
    assert_int_equal(source.chains(source.ctx, out, 8, &count), PL_OK);
    return count;
}

/* The first block at or after the number; false: there is none. */
static inline bool read_block(struct world *w, const struct pl_id128 *chain, uint64_t number,
                              struct pl_buf *block, struct block_header *header)
{
    struct uplink_source source = spool_source(w->spool);
    struct block_loss loss;
    struct pl_span body;
    pl_buf_reset(block);
    if (source.read(source.ctx, chain, &number, block, &loss) != PL_OK)
        return false;
    assert_int_equal(block_parse(pl_buf_span(block), header, &body, NULL), PL_OK);
    return true;
}

/* Every block of every chain gets the verdict. */
static inline void give_verdicts(struct world *w, enum block_verdict verdict)
{
    struct uplink_source source = spool_source(w->spool);
    struct chain_claim chains[8];
    struct block_header header;
    struct pl_buf block;
    pl_buf_init(&block, LIMIT_BLOCK_BYTES);
    const size_t count = claims(w, chains);
    for (size_t i = 0; i < count; i++)
        for (uint64_t n = 0; read_block(w, &chains[i].incarnation, n, &block, &header);
             n = header.number + 1)
            assert_int_equal(
                source.verdict(source.ctx, &chains[i].incarnation, header.number, verdict), PL_OK);
    pl_buf_release(&block);
    (void)claims(w, chains);
}

/* Bytes that only this block has: of its sealed body. */
static inline void name_block(struct world *w, uint64_t number, uint8_t name[NAME_BYTES])
{
    struct chain_claim chains[8];
    struct block_header header;
    struct pl_buf block;
    pl_buf_init(&block, LIMIT_BLOCK_BYTES);
    const size_t count = claims(w, chains);
    assert_true(read_block(w, &chains[count - 1].incarnation, number, &block, &header));
    assert_int_equal(header.number, number);
    memcpy(name, block.data + BLOCK_HEADER_BYTES, NAME_BYTES);
    pl_buf_release(&block);
}

static inline bool in_file(const char *path, const void *needle, size_t len)
{
    struct stat st;
    const int fd = open(path, O_RDONLY);
    if (fd < 0)
        return false; /* gone between listing and opening */
    assert_int_equal(fstat(fd, &st), 0);
    uint8_t *bytes = malloc((size_t)st.st_size + 1);
    const ssize_t got = read(fd, bytes, (size_t)st.st_size);
    const bool found = got > 0 && memmem(bytes, (size_t)got, needle, len) != NULL;
    free(bytes);
    close(fd);
    return found;
}

static inline bool in_files(const struct fixture *f, const void *needle, size_t len)
{
    char dir[128], path[512];
    snprintf(dir, sizeof(dir), "%s/store", f->dir);
    DIR *d = opendir(dir);
    bool found = false;
    for (const struct dirent *e; !found && (e = readdir(d)) != NULL;) {
        snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
        found = e->d_name[0] != '.' && in_file(path, needle, len);
    }
    closedir(d);
    return found;
}

static inline unsigned quarantined(struct world *w)
{
    struct spool_status status;
    spool_status(w->spool, &status);
    return (unsigned)status.quarantined_blocks;
}

#endif
