/* Links between ids, and the erasure of persons, through a whole intake. */
#ifndef POLDER_TESTS_ORIGIN_ERASURES_FIXTURE_H
#define POLDER_TESTS_ORIGIN_ERASURES_FIXTURE_H

#include "intake_fixture.h"
#include "origin/accounts/holds.h"
#include "origin/intake/dedupe.h"
#include "origin/subjects/erasures_state.h"
#include "origin/subjects/visitors.h"
#include "proto/base/text.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct test {
    struct rig rig;
    struct links *links;
    struct day_counts *day_counts;
    struct erasures *erasures;
    struct clock_belief belief; /* asked when it has a clock */
    bool with_edges;            /* that have to settle */
    int64_t ahead_ms;           /* that their clocks are, as they tell */
    struct changelog *changelog;
    struct edges *edges;
    struct cutoffs *cutoffs;
    struct holds *holds;
    struct visitors *visitors;
    struct json_writer *writer;
    struct pl_buf plain, block, out, noted_row;
    uint8_t noted_key[ERASURE_KEY_BYTES];
    size_t notes;
    bool log_is_full;
    void (*meanwhile)(struct test *t); /* while a disk is waited for; NULL: nothing */
    uint32_t count;
};

static inline enum pl_err note(void *ctx, struct pl_span key, struct pl_span row,
                               enum pl_err (*write)(void *write_ctx, struct pl_why *why),
                               void *write_ctx, struct pl_why *why)
{
    struct test *t = ctx;
    if (t->log_is_full)
        return pl_fail(why, PL_ENOSPC, "the log is full");
    if (t->meanwhile != NULL)
        t->meanwhile(t);
    t->notes++;
    memcpy(t->noted_key, key.data, sizeof(t->noted_key));
    pl_buf_reset(&t->noted_row);
    rig_must(pl_buf_append_span(&t->noted_row, row), why);
    return write(write_ctx, why);
}

static inline int64_t edge_ahead_ms(void *ctx, const struct pl_id128 *edge)
{
    (void)edge;
    return ((struct test *)ctx)->ahead_ms;
}

static inline void open_cutoffs(struct test *t)
{
    struct pl_why why = {.err = PL_OK};
    rig_must(changelog_open(&t->changelog, t->rig.store, pl_random_system(), &why), &why);
    rig_must(edges_open(&t->edges, t->rig.store, &t->rig.clock, &why), &why);
    const struct cutoffs_config config = {.store = t->rig.store,
                                          .changelog = t->changelog,
                                          .edges = t->edges,
                                          .keyring = t->rig.keyring,
                                          .seal_key_days = 30,
                                          .clock = &t->rig.clock,
                                          .log = &t->rig.f.silent};
    rig_must(cutoffs_open(&t->cutoffs, &config, &why), &why);
    for (int i = 0; i < RIG_EDGES; i++)
        cutoffs_seen(t->cutoffs, &t->rig.edges[i].id);
}

static inline void close_cutoffs(struct test *t)
{
    cutoffs_close(t->cutoffs);
    edges_close(t->edges);
    changelog_close(t->changelog);
    t->cutoffs = NULL;
}

static inline void open_all(struct test *t)
{
    struct pl_why why = {.err = PL_OK};
    /* The store is opened by the rig, which needs what stands on it: first alone, then with it. */
    t->rig.config.erasures = NULL;
    t->rig.config.links = NULL;
    rig_open(&t->rig);
    intake_stop(t->rig.intake);
    intake_free(t->rig.intake);
    rig_must(links_new(&t->links, t->rig.store), &why);
    rig_must(holds_open(&t->holds, t->rig.store, NULL, &t->rig.clock, pl_random_system(), &why),
             &why);
    if (t->with_edges)
        open_cutoffs(t);
    t->day_counts = t->rig.day_counts;
    const struct erasures_config config = {.store = t->rig.store,
                                           .keyring = t->rig.keyring,
                                           .note = note,
                                           .note_ctx = t,
                                           .holds = t->holds,
                                           .cutoffs = t->cutoffs,
                                           .edge_ahead_ms = edge_ahead_ms,
                                           .edge_ctx = t,
                                           .day_counts = t->day_counts,
                                           .clock = &t->rig.clock,
                                           .belief = t->belief.clock == NULL ? NULL : &t->belief,
                                           .random = pl_random_system(),
                                           .log = &t->rig.f.silent};
    rig_must(erasures_open(&t->erasures, &config, &why), &why);
    t->rig.config.erasures = t->erasures;
    t->rig.config.links = t->links;
    t->rig.config.belief = t->belief.clock == NULL ? NULL : &t->belief;
    rig_must(intake_new(&t->rig.intake, &t->rig.config, &why), &why);
    rig_must(intake_start(t->rig.intake, &why), &why);
    t->erasures->around = (struct erasures_around){.links = t->links, .intake = t->rig.intake};
    rig_must(visitors_new(&t->visitors, t->rig.store, t->rig.keyring), &why);
}

static inline void close_all(struct test *t)
{
    visitors_free(t->visitors);
    intake_stop(t->rig.intake);
    intake_free(t->rig.intake);
    erasures_close(t->erasures);
    holds_close(t->holds);
    if (t->with_edges)
        close_cutoffs(t);
    day_counts_free(t->day_counts);
    links_free(t->links);
    ledger_free(t->rig.ledger);
    store_close(t->rig.store);
}

static inline int setup(void **state)
{
    struct test *t = calloc(1, sizeof(*t));
    rig_init(&t->rig);
    assert_int_equal(json_writer_new(&t->writer, false), PL_OK);
    pl_buf_init(&t->plain, LIMIT_BLOCK_PLAIN_BYTES);
    pl_buf_init(&t->block, 2 * LIMIT_BLOCK_BYTES);
    pl_buf_init(&t->out, 1 << 20);
    pl_buf_init(&t->noted_row, 1 << 20);
    open_all(t);
    *state = t;
    return 0;
}

static inline int teardown(void **state)
{
    struct test *t = *state;
    close_all(t);
    json_writer_free(t->writer);
    rig_release(&t->rig);
    pl_buf_release(&t->plain);
    pl_buf_release(&t->block);
    pl_buf_release(&t->out);
    pl_buf_release(&t->noted_row);
    free(t);
    return 0;
}

static inline void restart(struct test *t)
{
    close_all(t);
    open_all(t);
}

/* ---- a copy of the database, and the log of what was noted */

static inline void copy_database(struct test *t)
{
    char copy[128];
    snprintf(copy, sizeof(copy), "%s/copy", t->rig.store_dir);
    assert_int_equal(store_checkpoint(t->rig.store, copy, NULL), PL_OK);
}

static inline void restore_copy(struct test *t)
{
    char command[512];
    close_all(t);
    snprintf(command, sizeof(command), "rm -rf '%s' && mv '%s/copy' '%s'", t->rig.store_path,
             t->rig.store_dir, t->rig.store_path);
    assert_int_equal(system(command), 0);
    open_all(t);
}

struct noted {
    uint8_t key[ERASURE_KEY_BYTES], row[1024];
    size_t len;
};

/* What was noted last. */
static inline struct noted last_note(struct test *t)
{
    struct noted noted = {.len = t->noted_row.len};
    assert_true(noted.len > 0 && noted.len <= sizeof(noted.row));
    memcpy(noted.key, t->noted_key, sizeof(noted.key));
    memcpy(noted.row, t->noted_row.data, noted.len);
    return noted;
}

static inline void replay(struct test *t, const struct noted *noted)
{
    struct pl_why why = {0};
    rig_must(erasures_replay(t->erasures, pl_span(noted->key, sizeof(noted->key)),
                             pl_span(noted->row, noted->len), &why),
             &why);
}

/* ---- events */

struct told {
    uint64_t account;
    const char *visitor, *user, *previous, *message;
    int64_t accepted_ms; /* from NOON_MS on */
    int64_t client_ms;   /* likewise; 0: it does not say */
};

static inline void put(struct test *t, struct told told)
{
    struct event *e = calloc(1, sizeof(*e));
    event_set_u64(e, EVENT_ACCOUNT, told.account == 0 ? 1 : told.account);
    event_set_u64(e, EVENT_TYPE, EVENT_PAGE_VIEW);
    event_set_u64(e, EVENT_DIALECT, EVENT_DIALECT_SEGMENT);
    event_set_i64(e, EVENT_ACCEPTED_MS, NOON_MS + told.accepted_ms);
    event_set_str(e, EVENT_REGION, PL_SPAN_LIT("eu"));
    if (told.message != NULL)
        event_set_str(e, EVENT_MESSAGE_ID, pl_span_str(told.message));
    if (told.visitor != NULL)
        event_set_str(e, EVENT_VISITOR_ID, pl_span_str(told.visitor));
    if (told.user != NULL)
        event_set_str(e, EVENT_USER_ID, pl_span_str(told.user));
    if (told.previous != NULL)
        event_set_str(e, EVENT_PREVIOUS_ID, pl_span_str(told.previous));
    if (told.client_ms != 0)
        event_set_i64(e, EVENT_CLIENT_MS, NOON_MS + told.client_ms);
    assert_int_equal(event_encode(e, &t->plain), PL_OK);
    free(e);
    t->count++;
}

static inline void store_from(struct test *t, int edge)
{
    pl_buf_reset(&t->block);
    rig_seal(&t->rig, edge, pl_buf_span(&t->plain), t->count, &t->block);
    assert_int_equal(rig_send(&t->rig, edge, pl_buf_span(&t->block)), BLOCK_STORED);
    pl_buf_reset(&t->plain);
    t->count = 0;
}

static inline void store_all(struct test *t)
{
    store_from(t, 0);
}

static inline void store_one(struct test *t, struct told told)
{
    put(t, told);
    store_all(t);
}

/* ---- asking */

static inline enum pl_err count_event(void *ctx, const struct visitor_event *event)
{
    (void)event;
    ++*(size_t *)ctx;
    return PL_OK;
}

static inline size_t held_of(struct test *t, const char *id)
{
    struct identities ids;
    struct visitor_cursor cursor = {.day = 0};
    struct pl_why why = {0};
    size_t found = 0;
    enum pl_err err;
    if (visitors_find(t->visitors, 1, pl_span_str(id), true, &ids, &why) != PL_OK)
        fail_msg("%s", why.text);
    while ((err = visitors_walk(t->visitors, 1, &ids, &cursor, 2, count_event, &found)) ==
           PL_EAGAIN)
        ;
    assert_int_equal(err, PL_OK);
    identities_release(&ids);
    return found;
}

static inline struct pl_id128 erase_only(struct test *t, const char *id, bool follow)
{
    struct identities ids;
    struct pl_id128 made;
    struct pl_why why = {0};
    if (visitors_find(t->visitors, 1, pl_span_str(id), follow, &ids, &why) != PL_OK)
        fail_msg("%s", why.text);
    const struct erasures_request request = {
        .account = 1, .identities = &ids, .alone = !follow, .holds = holds_of(t->holds, 1, NULL)};
    if (erasures_erase(t->erasures, &request, &made, &why) != PL_OK)
        fail_msg("%s", why.text);
    identities_release(&ids);
    return made;
}

static inline struct pl_id128 erase(struct test *t, const char *id)
{
    struct pl_id128 made = erase_only(t, id, true);
    t->erasures->settle_at_mono_ms = 0; /* tests have no time to rest */
    erasures_tick(t->erasures);
    return made;
}

static inline const char *receipt(struct test *t, const struct pl_id128 *id)
{
    struct pl_why why = {0};
    pl_buf_reset(&t->out);
    json_writer_begin(t->writer, &t->out);
    if (erasures_write(t->erasures, 1, id, t->writer, &why) != PL_OK)
        fail_msg("%s", why.text);
    assert_int_equal(json_writer_end(t->writer), PL_OK);
    assert_int_equal(pl_buf_put_u8(&t->out, 0), PL_OK);
    return (const char *)t->out.data;
}

static inline struct ledger_counts totals(struct test *t)
{
    struct intake_status s;
    struct ledger_counts c = {.blocks = 0};
    intake_status(t->rig.intake, &s);
    c.stored = s.stored;
    c.duplicate = s.duplicate;
    memcpy(c.dropped, s.dropped, sizeof(c.dropped));
    return c;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
