/* Two edges, and what is known of how far they have let go of what they sealed; it may be closed
 * and opened again. */
#ifndef POLDER_TESTS_ORIGIN_CUTOFFS_TEST_H
#define POLDER_TESTS_ORIGIN_CUTOFFS_TEST_H

#include "records_fixture.h"

#include "origin/first_start.h"
#include "origin/lifecycle/cutoffs.h"
#include "proto/base/text.h"

#define EDGE_A "0123456789abcdef0123456789abcdef"
#define EDGE_B "fedcba9876543210fedcba9876543210"
#define SEAL   "1111111111111111111111111111111111111111111111111111111111111111"

static struct records r;
static struct edges *edges;
static struct changelog *changelog;
static struct cutoffs *cutoffs;
static struct pl_id128 epoch, a, b;

static inline void open_cutoffs(void)
{
    must(edges_open(&edges, r.store, &r.clock, &r.why), &r.why);
    const struct cutoffs_config config = {.store = r.store,
                                          .changelog = changelog,
                                          .edges = edges,
                                          .keyring = r.keyring,
                                          .seal_key_days = 30,
                                          .clock = &r.clock,
                                          .log = &r.f.silent};
    must(cutoffs_open(&cutoffs, &config, &r.why), &r.why);
}

static inline void open_all(void)
{
    must(changelog_open(&changelog, r.store, pl_random_system(), &r.why), &r.why);
    must(first_start_finish(r.store, r.keyring, changelog, &r.f.silent, &r.why), &r.why);
    open_cutoffs();
    changelog_epoch(changelog, &epoch);
}

static inline void close_all(void)
{
    cutoffs_close(cutoffs);
    edges_close(edges);
    changelog_close(changelog);
    records_close(&r);
}

static inline void reopen(void)
{
    close_all();
    records_open(&r);
    open_all();
}

static inline struct pl_id128 enroll(const char *id, const char *name)
{
    struct pl_signer *signer;
    struct pl_buf spki, text;
    struct edge_record edge;
    char request[1024];
    pl_buf_init(&spki, 256);
    pl_buf_init(&text, 256);
    must(pl_signer_from_pem(&signer, pl_buf_span(&r.f.signer), &r.why), &r.why);
    must(pl_signer_public(signer, &spki), &r.why);
    must(pl_base64_encode(pl_buf_span(&spki), &text), &r.why);
    snprintf(request, sizeof(request),
             "{\"id\":\"%s\",\"name\":\"%s\",\"region\":\"eu\",\"link_public\":\"%.*s\","
             "\"seal_public\":\"" SEAL "\"}",
             id, name, PL_SPAN_FMT(pl_buf_span(&text)));
    must(edges_enroll(edges, parse(&r, request), &edge, &r.why), &r.why);
    pl_signer_free(signer);
    pl_buf_release(&spki);
    pl_buf_release(&text);
    return edge.id;
}

static inline int setup(void **state)
{
    (void)state;
    records_init(&r);
    /* The keys' ages are by the clock that the test sets. */
    records_close(&r);
    r.f.config.clock = &r.clock;
    records_open(&r);
    open_all();
    a = enroll(EDGE_A, "first");
    b = enroll(EDGE_B, "second");
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    cutoffs_close(cutoffs);
    edges_close(edges);
    changelog_close(changelog);
    records_release(&r);
    return 0;
}

static inline uint64_t announce(void)
{
    uint64_t position;
    must(cutoffs_announce(cutoffs, &position, &r.why), &r.why);
    return position;
}

static inline void settle(const struct pl_id128 *edge, uint64_t position)
{
    cutoffs_settled(cutoffs, edge, &epoch, position);
}

static struct cutoff_edge list[8];

/* How many edges matter; they are in `list`. */
static inline size_t look(uint64_t position, bool *done)
{
    struct cutoff_edge *out;
    size_t count;
    assert_int_equal(cutoffs_of(cutoffs, position, &out, &count, done), PL_OK);
    assert_in_range(count, 0, 8);
    memcpy(list, out, count * sizeof(*out));
    free(out);
    return count;
}

static inline bool is_done(uint64_t position)
{
    bool done;
    (void)look(position, &done);
    return done;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
