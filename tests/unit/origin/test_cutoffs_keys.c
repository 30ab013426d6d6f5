/* Successors of the sealing key, and the end of those that nobody needs any more. */
#include "cutoffs_test.h"

static void pass(int64_t ms)
{
    r.now_ms += ms;
    cutoffs_tick(cutoffs);
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
    open_cutoffs();
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
        CASE(test_a_key_lives_until_nobody_needs_it),
        CASE(test_a_revoked_edge_is_forgotten_after_its_keys),
        CASE(test_a_revoked_edge_stays_with_its_keys),
        CASE(test_a_revoked_edge_is_closed_with_its_keys),
        CASE(test_a_lost_edge_is_written_off_at_the_deadline),
        CASE(test_a_lost_edge_stays_written_off),
        CASE(test_keys_that_others_make_put_nothing_off),
        CASE(test_edges_that_live_get_a_day),
        CASE(test_a_key_that_nobody_heard_of_replaces_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
