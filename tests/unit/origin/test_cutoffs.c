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

static void open_all(void)
{
    must(changelog_open(&changelog, r.store, pl_random_system(), &r.why), &r.why);
    must(first_start_finish(r.store, r.keyring, changelog, &r.f.silent, &r.why), &r.why);
    must(edges_open(&edges, r.store, &r.clock, &r.why), &r.why);
    const struct cutoffs_config config = {.store = r.store,
                                          .changelog = changelog,
                                          .edges = edges,
                                          .keyring = r.keyring,
                                          .seal_key_days = 30,
                                          .clock = &r.clock,
                                          .log = &r.f.silent};
    must(cutoffs_open(&cutoffs, &config, &r.why), &r.why);
    changelog_epoch(changelog, &epoch);
}

static void close_all(void)
{
    cutoffs_close(cutoffs);
    edges_close(edges);
    changelog_close(changelog);
    records_close(&r);
}

static void reopen(void)
{
    close_all();
    records_open(&r);
    open_all();
}

static struct pl_id128 enroll(const char *id, const char *name)
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

static int setup(void **state)
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

static int teardown(void **state)
{
    (void)state;
    cutoffs_close(cutoffs);
    edges_close(edges);
    changelog_close(changelog);
    records_release(&r);
    return 0;
}

static uint64_t announce(void)
{
    uint64_t position;
    must(cutoffs_announce(cutoffs, &position, &r.why), &r.why);
    return position;
}

static void settle(const struct pl_id128 *edge, uint64_t position)
{
    cutoffs_settled(cutoffs, edge, &epoch, position);
}

static void pass(int64_t ms)
{
    r.now_ms += ms;
    cutoffs_tick(cutoffs);
}

static struct cutoff_edge list[8];

/* How many edges matter; they are in `list`. */
static size_t look(uint64_t position, bool *done)
{
    struct cutoff_edge *out;
    size_t count;
    assert_int_equal(cutoffs_of(cutoffs, position, &out, &count, done), PL_OK);
    assert_in_range(count, 0, 8);
    memcpy(list, out, count * sizeof(*out));
    free(out);
    return count;
}

static bool is_done(uint64_t position)
{
    bool done;
    (void)look(position, &done);
    return done;
}

static size_t old_keys(void)
{
    struct cutoffs_status status;
    cutoffs_status(cutoffs, &status);
    assert_string_equal(status.trouble, "");
    return status.old_seal_keys;
}

static void current_key(uint8_t id[BLOCK_KEY_ID_BYTES])
{
    struct cutoffs_status status;
    cutoffs_status(cutoffs, &status);
    memcpy(id, status.seal_key_id, BLOCK_KEY_ID_BYTES);
}

static enum pl_err key_state(const uint8_t id[BLOCK_KEY_ID_BYTES])
{
    uint8_t secret[PL_X25519_BYTES];
    return keyring_seal_secret(r.keyring, id, secret);
}

static void test_waits_for_those_that_may_hold_something(void **state)
{
    bool done;
    (void)state;
    uint64_t first = announce();
    assert_int_equal(look(first, &done), 0); /* nobody has had a session: nobody has the key */
    assert_true(done);

    cutoffs_seen(cutoffs, &a);
    assert_int_equal(look(first, &done), 0); /* it came later: it holds nothing from before */
    uint64_t second = announce();
    assert_true(second > first);
    cutoffs_seen(cutoffs, &b);
    assert_int_equal(look(second, &done), 1);
    assert_false(done);
    assert_true(pl_id128_eq(&list[0].id, &a));
    assert_string_equal(list[0].name, "first");
    assert_string_equal(list[0].region, "eu");
    assert_int_equal(list[0].state, CUTOFF_WAITING);
    assert_true(list[0].reason[0] != '\0' && list[0].at_ms == 0);

    r.now_ms += 5000;
    settle(&a, second);
    assert_int_equal(look(second, &done), 1);
    assert_true(done);
    assert_int_equal(list[0].state, CUTOFF_CONFIRMED);
    assert_int_equal(list[0].at_ms, r.now_ms);
    assert_string_equal(list[0].reason, "");

    reopen();
    assert_true(is_done(second));
    uint64_t third = announce();
    assert_int_equal(look(third, &done), 2);
    assert_false(done);
    settle(&a, third);
    assert_false(is_done(third));
    settle(&b, third);
    assert_true(is_done(third));
}

static void test_believes_only_what_can_be(void **state)
{
    struct pl_id128 other = {{1}};
    (void)state;
    cutoffs_seen(cutoffs, &a);
    uint64_t position = announce();
    cutoffs_settled(cutoffs, &a, &other, position);
    assert_false(is_done(position));
    settle(&a, position + 1); /* nothing stands there */
    assert_false(is_done(position));
    settle(&a, position - 1);
    assert_false(is_done(position));
    settle(&b, position); /* never seen */
    assert_false(is_done(position));
    settle(&a, position);
    assert_true(is_done(position));
    settle(&a, position - 1); /* a disk that was restored holds again what it had let go of */
    assert_false(is_done(position));
}

static void test_a_restore_forgets_no_edge(void **state)
{
    bool done;
    (void)state;
    cutoffs_seen(cutoffs, &a);
    uint64_t position = announce();
    settle(&a, position);
    assert_int_equal(look(position, &done), 1);
    /* The other one may have come after the copy was made. */
    must(changelog_renew(changelog, &r.why), &r.why);
    reopen();
    assert_int_equal(look(position, &done), 2);
    assert_false(done);
    assert_int_equal(list[0].state, CUTOFF_CONFIRMED); /* what the copy knew is still so */
    assert_int_equal(list[1].state, CUTOFF_WAITING);
    cutoffs_seen(cutoffs, &b);
    reopen();
    assert_false(is_done(position));
    settle(&b, position);
    assert_true(is_done(position));
}

static uint64_t heard_too_much(void)
{
    struct cutoffs_status status;
    cutoffs_status(cutoffs, &status);
    return status.heard_too_much;
}

/* The whole machine was put back, the redo log with the database: only edges can tell. */
static void test_an_edge_that_has_heard_more_ends_the_epoch(void **state)
{
    struct pl_id128 before, after;
    bool done;
    for (int by_settling = 0; by_settling < 2; by_settling++) {
        cutoffs_seen(cutoffs, &a);
        uint64_t position = announce();
        settle(&a, position);
        settle(&b, position);
        assert_true(is_done(position));
        reopen();
        before = epoch;
        if (by_settling)
            settle(&a, position + 5);
        else
            cutoffs_heard(cutoffs, &epoch, position + 5);
        assert_int_equal(heard_too_much(), 5);
        changelog_epoch(changelog, &epoch);
        assert_false(pl_id128_eq(&before, &epoch));
        /* What edges said may have been of other changes, and any of them may hold something. */
        assert_int_equal(look(position, &done), 2);
        assert_false(done);
        cutoffs_settled(cutoffs, &a, &before, position);
        cutoffs_settled(cutoffs, &b, &before, position);
        assert_false(is_done(position));
        /* Nobody can have heard more of the new one. */
        settle(&a, position + 5);
        cutoffs_heard(cutoffs, &epoch, position + 5);
        changelog_epoch(changelog, &after);
        assert_true(pl_id128_eq(&after, &epoch));
        reopen();
        assert_true(pl_id128_eq(&after, &epoch));
        assert_int_equal(look(position, &done), 2);
        assert_false(done);
        settle(&a, position);
        settle(&b, position);
        assert_true(is_done(position));
        assert_int_equal(heard_too_much(), 0);
    }
    (void)state;
}

static void test_a_tombstone_is_a_cut_off(void **state)
{
    struct store_batch *batch;
    const struct catalog_item item = {.kind = CATALOG_TOMBSTONE, .account = 9};
    (void)state;
    uint64_t before = cutoffs_position(cutoffs);
    must(store_batch_new(&batch), &r.why);
    must(changelog_write(changelog, batch, &item, &r.why), &r.why);
    store_batch_free(batch);
    assert_int_equal(cutoffs_position(cutoffs), before + 1);
    reopen();
    assert_int_equal(cutoffs_position(cutoffs), before + 1);
    /* Of cut-offs only the newest is kept. */
    announce();
    size_t rows = count_rows(&r, FAMILY_CHANGES);
    announce();
    assert_int_equal(count_rows(&r, FAMILY_CHANGES), rows);
    assert_int_equal(cutoffs_position(cutoffs), before + 3);
}

static void test_a_key_lives_until_nobody_needs_it(void **state)
{
    uint8_t first[BLOCK_KEY_ID_BYTES], second[BLOCK_KEY_ID_BYTES];
    struct cutoffs_status status;
    (void)state;
    cutoffs_seen(cutoffs, &a);
    cutoffs_seen(cutoffs, &b);
    current_key(first);
    pass(30 * PL_DAY_MS - 1);
    current_key(second);
    assert_memory_equal(first, second, sizeof(first));
    pass(1);
    current_key(second);
    assert_memory_not_equal(first, second, sizeof(first));
    cutoffs_status(cutoffs, &status);
    assert_int_equal(status.seal_key_position, cutoffs_position(cutoffs));
    assert_int_equal(status.waiting, 2);
    assert_int_equal(status.old_seal_keys, 1);

    pass(1000);
    assert_int_equal(old_keys(), 1);
    settle(&a, status.seal_key_position);
    pass(1000);
    assert_int_equal(key_state(first), PL_OK); /* the other one may still deliver */
    reopen();
    pass(1000);
    assert_int_equal(key_state(first), PL_OK);
    settle(&b, status.seal_key_position);
    pass(1000);
    assert_int_equal(key_state(first), PL_EEXPIRED);
    assert_int_equal(key_state(second), PL_OK);
    assert_int_equal(old_keys(), 0);
    pass(1000); /* and that was all */
    current_key(first);
    assert_memory_equal(first, second, sizeof(first));
}

static void test_a_revoked_edge_is_closed_with_its_keys(void **state)
{
    uint8_t first[BLOCK_KEY_ID_BYTES], second[BLOCK_KEY_ID_BYTES];
    struct edge_record revoked;
    bool done;
    (void)state;
    cutoffs_seen(cutoffs, &a);
    cutoffs_seen(cutoffs, &b);
    current_key(first);
    must(edges_revoke(edges, &b, &revoked, &r.why), &r.why);
    uint64_t position = announce();
    settle(&a, position);
    pass(1000);
    assert_int_equal(look(position, &done), 2);
    assert_false(done);
    assert_int_equal(list[1].state, CUTOFF_WAITING);
    assert_non_null(strstr(list[1].reason, "revoked 2026-01-01"));

    pass(PL_MINUTE_MS); /* a key that it never knew */
    current_key(second);
    assert_memory_not_equal(first, second, sizeof(first));
    assert_false(is_done(position));
    settle(&a, cutoffs_position(cutoffs));
    pass(1000);
    assert_int_equal(key_state(first), PL_EEXPIRED);
    assert_int_equal(look(position, &done), 2);
    assert_true(done);
    assert_int_equal(list[0].state, CUTOFF_CONFIRMED);
    assert_int_equal(list[1].state, CUTOFF_WRITTEN_OFF);
    assert_int_equal(list[1].at_ms, r.now_ms);
    assert_non_null(strstr(list[1].reason, "destroyed"));

    pass(PL_MINUTE_MS);
    reopen();
    pass(PL_MINUTE_MS);
    current_key(first);
    assert_memory_equal(first, second, sizeof(first)); /* one is enough */
    assert_int_equal(look(position, &done), 2);        /* what it was, it stays */
    uint64_t later = announce();
    assert_int_equal(look(later, &done), 1); /* what it holds no longer matters */
    assert_true(pl_id128_eq(&list[0].id, &a));
}

static bool is_known(const struct pl_id128 *edge)
{
    struct edge_record *all;
    size_t count;
    bool known = false;
    must(edges_list(edges, &all, &count), &r.why);
    for (size_t i = 0; i < count; i++)
        known |= pl_id128_eq(&all[i].id, edge);
    free(all);
    return known;
}

/* A day at a time: keys have their ages. The edge that lives confirms what it can. */
static void pass_days(unsigned days, bool settles)
{
    for (unsigned i = 0; i < days; i++) {
        r.now_ms += PL_DAY_MS;
        for (int tick = 0; tick < 4; tick++) {
            cutoffs_tick(cutoffs);
            if (settles)
                settle(&a, changelog_position(changelog));
        }
    }
}

static void test_a_revoked_edge_is_forgotten_after_its_keys(void **state)
{
    (void)state;
    struct edge_record revoked;
    struct pl_id128 stranger = enroll("00000000000000000000000000000001", "never there");
    bool done;
    cutoffs_seen(cutoffs, &a);
    cutoffs_seen(cutoffs, &b);
    must(edges_revoke(edges, &b, &revoked, &r.why), &r.why);
    must(edges_revoke(edges, &stranger, &revoked, &r.why), &r.why);
    pass_days(99, true);
    assert_true(is_known(&b) && is_known(&stranger));
    pass_days(1, true);
    for (int i = 0; i < 2; i++) {
        assert_true(is_known(&a));
        assert_false(is_known(&b));
        assert_false(is_known(&stranger));
        assert_int_equal(count_rows(&r, FAMILY_EDGES), 1);
        assert_int_equal(count_rows(&r, FAMILY_CUTOFFS), 1);
        reopen();
    }
    /* Enrolled anew it is an edge like any other, and waited for. */
    b = enroll(EDGE_B, "second");
    cutoffs_seen(cutoffs, &b);
    pass(PL_SECOND_MS);
    const uint64_t position = announce();
    settle(&a, position);
    assert_int_equal(look(position, &done), 2);
    assert_false(done);
    settle(&b, position);
    assert_true(is_done(position));
}

/* As long as an edge is away, so are the blocks that the revoked one's keys may open. */
static void test_a_revoked_edge_stays_with_its_keys(void **state)
{
    (void)state;
    struct edge_record revoked;
    cutoffs_seen(cutoffs, &a);
    cutoffs_seen(cutoffs, &b);
    (void)announce();
    must(edges_revoke(edges, &b, &revoked, &r.why), &r.why);
    pass_days(110, false);
    assert_true(is_known(&b));
    pass_days(2, true);
    assert_false(is_known(&b));
}

static void test_a_lost_edge_is_written_off_at_the_deadline(void **state)
{
    uint8_t first[BLOCK_KEY_ID_BYTES], second[BLOCK_KEY_ID_BYTES];
    bool done;
    (void)state;
    cutoffs_seen(cutoffs, &a);
    cutoffs_seen(cutoffs, &b);
    current_key(first);
    pass(10 * PL_DAY_MS);
    uint64_t position = announce();
    settle(&a, position);
    const int64_t deadline_ms = r.now_ms + 15 * PL_DAY_MS;
    int64_t rotated_ms = 0, destroyed_ms = 0;
    for (; destroyed_ms == 0 && r.now_ms < deadline_ms + PL_DAY_MS; r.now_ms += PL_HOUR_MS) {
        must(cutoffs_force(cutoffs, position, deadline_ms, &r.why), &r.why);
        cutoffs_tick(cutoffs);
        settle(&a, cutoffs_position(cutoffs));
        current_key(second);
        if (rotated_ms == 0 && memcmp(first, second, sizeof(first)) != 0)
            rotated_ms = r.now_ms;
        if (key_state(first) == PL_EEXPIRED)
            destroyed_ms = r.now_ms;
        assert_int_equal(is_done(position), destroyed_ms != 0);
    }
    assert_int_equal(rotated_ms, deadline_ms - CUTOFFS_LEAD_DAYS * PL_DAY_MS);
    assert_int_equal(destroyed_ms, deadline_ms);
    assert_int_equal(look(position, &done), 2);
    assert_int_equal(list[1].state, CUTOFF_WRITTEN_OFF);
    assert_int_equal(list[1].at_ms, deadline_ms);
    assert_non_null(strstr(list[1].reason, "not confirmed in time"));
    reopen();
    assert_true(is_done(position));
    /* It is back: what it seals from now on waits for it as before. */
    settle(&b, cutoffs_position(cutoffs));
    assert_int_equal(look(position, &done), 2);
    assert_int_equal(list[1].state, CUTOFF_CONFIRMED);
    assert_false(is_done(announce()));
}

/* What was destroyed stays destroyed, whatever key is made next. */
static void test_a_lost_edge_stays_written_off(void **state)
{
    (void)state;
    cutoffs_seen(cutoffs, &a);
    cutoffs_seen(cutoffs, &b);
    const uint64_t position = announce();
    settle(&a, position);
    r.now_ms += PL_DAY_MS;
    const int64_t deadline_ms = r.now_ms + CUTOFFS_LEAD_DAYS * PL_DAY_MS;
    must(cutoffs_force(cutoffs, position, deadline_ms, &r.why), &r.why);
    settle(&a, cutoffs_position(cutoffs));
    r.now_ms = deadline_ms;
    must(cutoffs_force(cutoffs, position, deadline_ms, &r.why), &r.why);
    assert_true(is_done(position));
    const uint64_t later = announce();
    for (int rotation = 0; rotation < 2; rotation++) {
        must(cutoffs_rotate(cutoffs, &r.why), &r.why);
        assert_int_equal(old_keys(), rotation + 1);
        assert_true(is_done(position));
        assert_false(is_done(later));
        reopen();
        assert_true(is_done(position));
        assert_false(is_done(later));
    }
}

/* A deletion's deadline is of the keys from before it. */
static void test_keys_that_others_make_put_nothing_off(void **state)
{
    uint8_t first[BLOCK_KEY_ID_BYTES], second[BLOCK_KEY_ID_BYTES], third[BLOCK_KEY_ID_BYTES];
    (void)state;
    cutoffs_seen(cutoffs, &a);
    cutoffs_seen(cutoffs, &b);
    current_key(first);
    const uint64_t position = announce();
    r.now_ms += PL_DAY_MS;
    const int64_t deadline_ms = r.now_ms + CUTOFFS_LEAD_DAYS * PL_DAY_MS;
    must(cutoffs_force(cutoffs, position, deadline_ms, &r.why), &r.why);
    current_key(second);
    const uint64_t later = announce();
    r.now_ms = deadline_ms - PL_HOUR_MS;
    must(cutoffs_rotate(cutoffs, &r.why), &r.why);
    current_key(third);
    assert_memory_not_equal(second, third, sizeof(second));
    reopen();
    must(cutoffs_force(cutoffs, position, deadline_ms, &r.why), &r.why);
    assert_int_equal(key_state(first), PL_OK);
    r.now_ms = deadline_ms;
    must(cutoffs_force(cutoffs, position, deadline_ms, &r.why), &r.why);
    assert_int_equal(key_state(first), PL_EEXPIRED);
    assert_int_equal(key_state(second), PL_OK); /* edges that live may hold blocks for it */
    assert_true(is_done(position));
    assert_false(is_done(later));
    must(cutoffs_force(cutoffs, later, deadline_ms, &r.why), &r.why);
    assert_int_equal(key_state(second), PL_OK); /* its successor is an hour old */
    r.now_ms += PL_DAY_MS;
    must(cutoffs_force(cutoffs, later, deadline_ms, &r.why), &r.why);
    assert_int_equal(key_state(second), PL_EEXPIRED);
    assert_int_equal(key_state(third), PL_OK);
    assert_true(is_done(later));
}

static void test_edges_that_live_get_a_day(void **state)
{
    uint8_t first[BLOCK_KEY_ID_BYTES];
    (void)state;
    cutoffs_seen(cutoffs, &a);
    current_key(first);
    uint64_t position = announce();
    r.now_ms += 29 * PL_DAY_MS; /* the origin was off */
    const int64_t deadline_ms = r.now_ms - 3 * PL_DAY_MS;
    for (int64_t began_ms = r.now_ms; r.now_ms < began_ms + CUTOFFS_GRACE_DAYS * PL_DAY_MS;
         r.now_ms += PL_HOUR_MS) {
        must(cutoffs_force(cutoffs, position, deadline_ms, &r.why), &r.why);
        cutoffs_tick(cutoffs);
        assert_int_equal(key_state(first), PL_OK);
    }
    must(cutoffs_force(cutoffs, position, deadline_ms, &r.why), &r.why);
    assert_int_equal(key_state(first), PL_EEXPIRED);
    assert_true(is_done(position));
}

static void test_a_key_that_nobody_heard_of_replaces_none(void **state)
{
    uint8_t made[PL_X25519_BYTES], first[BLOCK_KEY_ID_BYTES], second[BLOCK_KEY_ID_BYTES];
    (void)state;
    cutoffs_seen(cutoffs, &a);
    current_key(first);
    uint64_t position = announce();
    settle(&a, position);
    assert_true(is_done(position));
    /* A crash between the two. */
    must(keyring_new_seal_key(r.keyring, made, &r.why), &r.why);
    block_key_id(made, second);
    cutoffs_close(cutoffs);
    edges_close(edges);
    must(edges_open(&edges, r.store, &r.clock, &r.why), &r.why);
    const struct cutoffs_config config = {.store = r.store,
                                          .changelog = changelog,
                                          .edges = edges,
                                          .keyring = r.keyring,
                                          .seal_key_days = 30,
                                          .clock = &r.clock,
                                          .log = &r.f.silent};
    must(cutoffs_open(&cutoffs, &config, &r.why), &r.why);
    assert_int_equal(cutoffs_position(cutoffs), position);
    pass(1000);
    assert_true(cutoffs_position(cutoffs) > position);
    assert_int_equal(key_state(first), PL_OK);
    settle(&a, cutoffs_position(cutoffs));
    pass(1000);
    assert_int_equal(key_state(first), PL_EEXPIRED);
    assert_int_equal(key_state(second), PL_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_waits_for_those_that_may_hold_something, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_believes_only_what_can_be, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_restore_forgets_no_edge, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_edge_that_has_heard_more_ends_the_epoch, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_tombstone_is_a_cut_off, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_key_lives_until_nobody_needs_it, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_revoked_edge_is_forgotten_after_its_keys, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_revoked_edge_stays_with_its_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_revoked_edge_is_closed_with_its_keys, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_lost_edge_is_written_off_at_the_deadline, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_lost_edge_stays_written_off, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keys_that_others_make_put_nothing_off, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_edges_that_live_get_a_day, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_key_that_nobody_heard_of_replaces_none, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
