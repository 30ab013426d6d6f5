/* The erasure of persons, through a whole intake. */
#include "erasures_fixture.h"

#include <unistd.h>

static void test_what_is_stored_goes(void **state)
{
    struct test *t = *state;
    struct pl_id128 id;
    struct day_counts_row sum;
    put(t, (struct told){.visitor = "phone", .user = "ann", .message = "a1"});
    put(t, (struct told){.visitor = "phone", .message = "a2", .accepted_ms = PL_DAY_MS});
    put(t, (struct told){.user = "ann"});
    put(t, (struct told){.visitor = "other", .message = "b1"});
    store_all(t);
    id = erase(t, "ann");
    assert_int_equal(held_of(t, "phone"), 0);
    assert_int_equal(held_of(t, "ann"), 0);
    assert_int_equal(held_of(t, "other"), 1);
    assert_int_equal(rig_count(&t->rig, FAMILY_VAULT), 1);
    assert_int_equal(rig_count(&t->rig, FAMILY_LINKS), 0);
    const char *text = receipt(t, &id);
    assert_non_null(strstr(text, "\"state\":\"gone\""));
    assert_non_null(strstr(text, "\"events\":3"));
    assert_non_null(strstr(text, "\"message_ids\":2,\"links\":1"));
    assert_null(strstr(text, "ann"));
    assert_int_equal(day_counts_total(t->day_counts, 1, 0, VAULT_DAY_MAX, &sum), PL_OK);
    assert_int_equal(sum.stored.events, 4);
    assert_int_equal(sum.erased.events, 3);
    /* Once more finds nothing, and says so. */
    id = erase(t, "ann");
    assert_non_null(strstr(receipt(t, &id), "\"events\":0"));
    restart(t);
    assert_non_null(strstr(receipt(t, &id), "\"state\":\"gone\""));
    assert_int_equal(erasures_write(t->erasures, 2, &id, t->writer, NULL), PL_ENOTFOUND);
}

static void test_what_arrives_later_is_dropped(void **state)
{
    struct test *t = *state;
    const int64_t minute = PL_MINUTE_MS;
    store_one(t, (struct told){.visitor = "phone", .user = "ann"});
    t->rig.now_ms += 10 * minute;
    struct pl_id128 id = erase(t, "ann");
    for (int round = 0; round < 2; round++) {
        struct ledger_counts before = totals(t);
        /* accepted before; accepted after, but of before; both ids */
        put(t, (struct told){.visitor = "phone", .accepted_ms = 9 * minute});
        put(t, (struct told){.user = "ann", .accepted_ms = 10 * minute});
        put(t, (struct told){
                   .visitor = "phone", .accepted_ms = 20 * minute, .client_ms = 10 * minute});
        put(t, (struct told){.visitor = "new", .user = "ann", .accepted_ms = minute});
        /* new ones, and others' */
        put(t, (struct told){.visitor = "phone", .accepted_ms = 10 * minute + 1});
        put(t, (struct told){.user = "ann", .accepted_ms = 20 * minute, .client_ms = 15 * minute});
        put(t, (struct told){.visitor = "other", .accepted_ms = minute});
        put(t, (struct told){.visitor = "phone", .user = "bob", .accepted_ms = minute});
        put(t, (struct told){.account = 2, .visitor = "phone", .accepted_ms = minute});
        store_from(t, round);
        struct ledger_counts after = totals(t);
        assert_int_equal(after.dropped[DROP_ERASED] - before.dropped[DROP_ERASED], 4);
        assert_int_equal(after.stored - before.stored, 5);
        restart(t);
        assert_non_null(strstr(receipt(t, &id), "\"account\":\"0000000000000001\""));
    }
}

/* Of before the erasure as its edge accepted it, although it came so late that it is dated anew. */
static void test_very_late_is_still_before(void **state)
{
    struct test *t = *state;
    erase(t, "ann");
    t->rig.now_ms += 60 * PL_DAY_MS;
    restart(t);
    store_one(t, (struct told){.user = "ann", .accepted_ms = -PL_MINUTE_MS});
    /* 37 days are over and there are no edges to wait for: but nobody has looked yet. */
    assert_int_equal(totals(t).dropped[DROP_ERASED], 1);
}

/* A retry that does not say when it happened is told by its message id. */
static void test_retries(void **state)
{
    struct test *t = *state;
    store_one(t, (struct told){.visitor = "ann", .message = "m1"});
    t->rig.now_ms += PL_MINUTE_MS;
    erase(t, "ann");
    store_one(t, (struct told){.visitor = "ann", .message = "m1", .accepted_ms = PL_HOUR_MS});
    assert_int_equal(totals(t).duplicate, 1);
    assert_int_equal(held_of(t, "ann"), 0);
    /* Neither whom it was of nor when it came is left. */
    struct store_scan *scan;
    struct pl_span key, value;
    assert_int_equal(
        store_scan_new(&scan, t->rig.store, FAMILY_DEDUPE, pl_span(NULL, 0), pl_span(NULL, 0)),
        PL_OK);
    assert_int_equal(store_scan_next(scan, &key, &value), PL_OK);
    assert_true(dedupe_value_is_blank(value, t->rig.now_ms));
    assert_int_equal(store_scan_next(scan, &key, &value), PL_ENOTFOUND);
    store_scan_free(scan);
}

/* Nor are the person's ids linked again, for which no retry is needed any more. */
static void test_a_retry_links_nothing(void **state)
{
    struct test *t = *state;
    const struct told told = {.visitor = "phone", .user = "ann", .message = "m1"};
    struct told again = told, other = {.visitor = "tv", .user = "bob", .message = "m2"};
    store_one(t, told);
    assert_int_equal(rig_count(&t->rig, FAMILY_LINKS), 2);
    t->rig.now_ms += PL_MINUTE_MS;
    erase(t, "ann");
    assert_int_equal(rig_count(&t->rig, FAMILY_LINKS), 0);
    again.accepted_ms = other.accepted_ms = PL_HOUR_MS;
    put(t, again);
    put(t, other);
    put(t, again);
    store_all(t);
    assert_int_equal(totals(t).duplicate, 2);
    assert_int_equal(rig_count(&t->rig, FAMILY_LINKS), 2);
    assert_int_equal(held_of(t, "tv"), 1);
    assert_int_equal(held_of(t, "bob"), 1);
}

/* An event that is dropped tells another id of the person's: what is stored under it goes, too. */
static void test_leads_are_followed(void **state)
{
    struct test *t = *state;
    put(t, (struct told){.visitor = "phone", .message = "p"});
    put(t, (struct told){.user = "ann", .message = "u"});
    put(t, (struct told){.visitor = "laptop", .message = "l"});
    put(t, (struct told){.visitor = "tablet", .message = "x"});
    store_all(t);
    t->rig.now_ms += PL_MINUTE_MS;
    struct pl_id128 id = erase(t, "phone");
    assert_int_equal(rig_count(&t->rig, FAMILY_VAULT), 3);
    assert_int_equal(t->notes, 1);
    /* Edge 1 was away: these are of before. */
    put(t, (struct told){.visitor = "phone", .user = "ann"});
    put(t, (struct told){.visitor = "laptop", .accepted_ms = PL_HOUR_MS}); /* after it */
    store_from(t, 1);
    assert_true(t->notes > 1);
    restart(t);
    t->erasures->settle_at_mono_ms = 0;
    erasures_tick(t->erasures);
    assert_int_equal(held_of(t, "ann"), 0);
    assert_int_equal(rig_count(&t->rig, FAMILY_VAULT), 3);
    put(t, (struct told){.visitor = "laptop", .user = "ann"});
    store_from(t, 1);
    erasures_tick(t->erasures);
    /* Of the laptop what came later stays. */
    assert_int_equal(held_of(t, "laptop"), 1);
    assert_int_equal(rig_count(&t->rig, FAMILY_VAULT), 2);
    assert_non_null(strstr(receipt(t, &id), "\"visitor\":2,\"user\":2"));
}

/* Of a person who was erased with all ids, and then of one id alone. */
static void test_an_id_that_is_erased_alone_hides_no_lead(void **state)
{
    struct test *t = *state;
    store_one(t, (struct told){.user = "ann"});
    t->rig.now_ms += PL_MINUTE_MS;
    const struct pl_id128 id = erase(t, "phone");
    t->rig.now_ms += PL_MINUTE_MS;
    erase_only(t, "phone", false);
    erase_only(t, "ann", false);
    put(t, (struct told){.visitor = "phone", .user = "ann"});
    store_from(t, 1);
    assert_non_null(strstr(receipt(t, &id), "\"visitor\":1,\"user\":2"));
    /* Of ids that were told after the first: no person's. */
    store_one(t, (struct told){.user = "bob", .message = "b"});
    put(t, (struct told){.visitor = "phone", .user = "bob", .accepted_ms = 2 * PL_MINUTE_MS});
    store_from(t, 1);
    assert_int_equal(totals(t).dropped[DROP_ERASED], 2);
    erasures_tick(t->erasures);
    assert_int_equal(held_of(t, "ann"), 0);
    assert_int_equal(held_of(t, "bob"), 1);
}

/* An alias that comes late names who was erased, and leads to the new name. */
static void test_aliases_that_come_late(void **state)
{
    struct test *t = *state;
    put(t, (struct told){.visitor = "phone", .user = "old"});
    put(t, (struct told){.visitor = "laptop", .user = "new"});
    put(t, (struct told){.user = "newer"});
    store_all(t);
    t->rig.now_ms += PL_MINUTE_MS;
    erase(t, "phone");
    assert_int_equal(rig_count(&t->rig, FAMILY_VAULT), 2);
    put(t, (struct told){.user = "new", .previous = "old"});
    put(t, (struct told){.user = "newer", .previous = "new", .accepted_ms = 1});
    store_from(t, 1);
    assert_int_equal(totals(t).dropped[DROP_ERASED], 1);
    erasures_tick(t->erasures);
    assert_int_equal(held_of(t, "new"), 0);
    assert_int_equal(rig_count(&t->rig, FAMILY_VAULT), 0);
}

/* What is damaged cannot be told whose it is: it stays, and the receipt says so. */
static void test_damage_is_told(void **state)
{
    struct test *t = *state;
    struct store_scan *scan;
    struct pl_span key, value;
    uint8_t at[VAULT_KEY_BYTES], broken[512];
    put(t, (struct told){.visitor = "ann", .message = "m1"});
    put(t, (struct told){.visitor = "ann", .message = "m2"});
    store_all(t);
    assert_int_equal(
        store_scan_new(&scan, t->rig.store, FAMILY_VAULT, pl_span(NULL, 0), pl_span(NULL, 0)),
        PL_OK);
    assert_int_equal(store_scan_next(scan, &key, &value), PL_OK);
    assert_true(key.len == sizeof(at) && value.len <= sizeof(broken));
    memcpy(at, key.data, sizeof(at));
    memcpy(broken, value.data, value.len);
    broken[value.len - 1] ^= 1;
    assert_int_equal(store_put(t->rig.store, FAMILY_VAULT, pl_span(at, sizeof(at)),
                               pl_span(broken, value.len), true, NULL),
                     PL_OK);
    store_scan_free(scan);
    const struct pl_id128 id = erase(t, "ann");
    const char *text = receipt(t, &id);
    assert_non_null(strstr(text, "\"events\":1,"));
    assert_non_null(strstr(text, "\"unreadable\":1"));
    assert_non_null(strstr(text, "1 stored value that is damaged"));
    assert_int_equal(rig_count(&t->rig, FAMILY_VAULT), 1);
    restart(t);
    assert_non_null(strstr(receipt(t, &id), "\"unreadable\":1"));
}

static struct erasure_learned learned_of(struct test *t, const struct pl_id128 *erasure,
                                         const char *user)
{
    struct erasure_learned learned = {.account = 1, .erasure = *erasure};
    struct identities ids;
    struct pl_why why = {0};
    if (visitors_find(t->visitors, 1, pl_span_str(user), false, &ids, &why) != PL_OK)
        fail_msg("%s", why.text);
    for (size_t i = 0; i < ids.count; i++)
        if (ids.list[i].kind == IDENTITY_USER)
            learned.identity = ids.list[i];
    assert_int_equal(learned.identity.kind, IDENTITY_USER);
    identities_release(&ids);
    return learned;
}

/* What could not be noted is not known either: the block comes again, and finds it new. */
static void test_a_lead_that_a_full_disk_refuses_is_followed_later(void **state)
{
    struct test *t = *state;
    struct pl_why why = {0};
    store_one(t, (struct told){.visitor = "phone"});
    store_one(t, (struct told){.user = "ann"});
    t->rig.now_ms += PL_MINUTE_MS;
    const struct pl_id128 id = erase(t, "phone");
    const struct erasure_learned learned = learned_of(t, &id, "ann");
    const size_t notes = t->notes;
    t->log_is_full = true;
    assert_int_equal(erasures_learn(t->erasures, &learned, &why), PL_ENOSPC);
    assert_int_equal(held_of(t, "ann"), 1);
    t->log_is_full = false;
    assert_int_equal(erasures_learn(t->erasures, &learned, &why), PL_OK);
    assert_int_equal(t->notes, notes + 1);
    erasures_tick(t->erasures);
    assert_int_equal(held_of(t, "ann"), 0);
    put(t, (struct told){.user = "ann", .message = "late"});
    store_from(t, 1);
    assert_int_equal(held_of(t, "ann"), 0);
}

/* It is the late event's block alone that waits. */
static void test_a_lead_that_is_refused_stops_nobody_else(void **state)
{
    struct test *t = *state;
    struct intake_status status;
    erase(t, "phone");
    put(t, (struct told){.visitor = "phone", .user = "ann"});
    pl_buf_reset(&t->block);
    rig_seal(&t->rig, 1, pl_buf_span(&t->plain), t->count, &t->block);
    pl_buf_reset(&t->plain);
    t->count = 0;
    struct pl_buf late = t->block;
    pl_buf_init(&t->block, 2 * LIMIT_BLOCK_BYTES);
    t->log_is_full = true;
    assert_int_equal(rig_send(&t->rig, 1, pl_buf_span(&late)), BLOCK_RETRY);
    store_one(t, (struct told){.account = 2, .visitor = "another"});
    intake_status(t->rig.intake, &status);
    assert_true(status.ready);
    t->log_is_full = false;
    assert_int_equal(rig_send(&t->rig, 1, pl_buf_span(&late)), BLOCK_STORED);
    assert_int_equal(totals(t).dropped[DROP_ERASED], 1);
    pl_buf_release(&late);
}

/* As an opener and a probe do. */
static void look_meanwhile(struct test *t)
{
    struct erasures_status status;
    struct erasure_hit hit;
    struct event *e = calloc(1, sizeof(*e));
    const struct event_ids ids = {.account = 1};
    const struct erasure_edge edge = {.settled = UINT64_MAX};
    erasures_status(t->erasures, &status);
    assert_int_equal(status.open, 1);
    assert_true(erasures_any(t->erasures, 1));
    assert_false(erasures_concern(t->erasures, e, &ids, NOON_MS, &edge, &hit));
    free(e);
    t->meanwhile = NULL;
}

/* While an id is written that was learnt, with the locks that this takes. */
static void test_neither_intake_nor_probes_wait_for_a_disk(void **state)
{
    struct test *t = *state;
    struct pl_why why = {0};
    const struct pl_id128 id = erase(t, "phone");
    const struct erasure_learned learned = learned_of(t, &id, "ann");
    t->meanwhile = look_meanwhile;
    alarm(60); /* it would wait for itself */
    assert_int_equal(erasures_learn(t->erasures, &learned, &why), PL_OK);
    alarm(0);
    assert_null(t->meanwhile);
}

/* Of what waits to be compacted nothing is forgotten when more comes to it, or after a crash. */
static void test_all_that_was_deleted_is_compacted(void **state)
{
    struct test *t = *state;
    struct pl_why why = {0};
    store_one(t, (struct told){.visitor = "phone"});
    t->rig.now_ms += 3 * PL_DAY_MS;
    store_one(t, (struct told){.user = "ann", .accepted_ms = 2 * PL_DAY_MS});
    const struct pl_id128 id = erase_only(t, "phone", true);
    t->erasures->settle_at_mono_ms = INT64_MAX; /* it rests */
    erasures_tick(t->erasures);
    assert_non_null(strstr(receipt(t, &id), "\"state\":\"erased\""));
    const struct erasure_learned learned = learned_of(t, &id, "ann");
    assert_int_equal(erasures_learn(t->erasures, &learned, &why), PL_OK);
    erasures_tick(t->erasures);
    const struct open_erasure *open = t->erasures->open;
    assert_int_equal(vault_key_day(&open->first), pl_day_of(NOON_MS));
    assert_int_equal(vault_key_day(&open->last), pl_day_of(NOON_MS) + 2);
    restart(t);
    assert_true(t->erasures->open->whole);
    t->erasures->settle_at_mono_ms = 0;
    erasures_tick(t->erasures);
    assert_non_null(strstr(receipt(t, &id), "\"state\":\"gone\""));
    assert_false(t->erasures->open->whole);
}

/* Who comes back after an erasure is linked anew: a pair that was written before counts no more. */
static void test_coming_back(void **state)
{
    struct test *t = *state;
    store_one(t, (struct told){.visitor = "phone", .user = "ann"});
    t->rig.now_ms += PL_MINUTE_MS;
    erase(t, "ann");
    assert_int_equal(rig_count(&t->rig, FAMILY_LINKS), 0);
    store_one(t, (struct told){.visitor = "phone", .user = "ann", .accepted_ms = PL_HOUR_MS});
    assert_int_equal(rig_count(&t->rig, FAMILY_LINKS), 2);
    assert_int_equal(held_of(t, "phone"), 1);
}

/* Begun, and then the process dies at once. */
static void test_a_crash_is_taken_up(void **state)
{
    struct test *t = *state;
    put(t, (struct told){.visitor = "phone", .user = "ann"});
    put(t, (struct told){.user = "ann"});
    store_all(t);
    t->rig.now_ms += PL_MINUTE_MS;
    struct pl_id128 id = erase_only(t, "ann", true);
    assert_int_equal(held_of(t, "ann"), 2);
    restart(t);
    erasures_tick(t->erasures);
    assert_int_equal(held_of(t, "ann"), 0);
    assert_non_null(strstr(receipt(t, &id), "\"events\":2"));
}

/* A database from before knows nothing of it; what was noted does. */
static void test_a_restore_undoes_nothing(void **state)
{
    struct test *t = *state;
    put(t, (struct told){.visitor = "phone", .user = "ann"});
    put(t, (struct told){.visitor = "other"});
    store_all(t);
    copy_database(t);
    t->rig.now_ms += PL_MINUTE_MS;
    struct pl_id128 id = erase(t, "phone");
    const struct noted noted = last_note(t);
    restore_copy(t);
    assert_int_equal(held_of(t, "ann"), 1);
    for (int round = 0; round < 2; round++) {
        replay(t, &noted);
        erasures_tick(t->erasures);
        assert_int_equal(held_of(t, "ann"), 0);
        assert_int_equal(rig_count(&t->rig, FAMILY_VAULT), 1);
        assert_non_null(strstr(receipt(t, &id), "\"events\":1"));
    }
    store_one(t, (struct told){.user = "ann"});
    assert_int_equal(held_of(t, "ann"), 0);
}

/* The guard ends when no retry can come any more, and with it the last trace. */
static void test_the_guard_ends(void **state)
{
    struct test *t = *state;
    store_one(t, (struct told){.visitor = "ann", .message = "m1"});
    struct pl_id128 id = erase(t, "ann");
    t->rig.now_ms += (DEDUPE_SWEEP_DAYS - 1) * PL_DAY_MS;
    t->erasures->closed_mono_ms = 0;
    erasures_tick(t->erasures);
    assert_true(erasures_any(t->erasures, 1));
    assert_int_equal(rig_count(&t->rig, FAMILY_DEDUPE), 1);
    t->rig.now_ms += PL_DAY_MS;
    t->erasures->closed_mono_ms = 0;
    erasures_tick(t->erasures);
    assert_false(erasures_any(t->erasures, 1));
    assert_int_equal(rig_count(&t->rig, FAMILY_DEDUPE), 0);
    assert_non_null(strstr(receipt(t, &id), "\"state\":\"closed\""));
    restart(t);
    assert_false(erasures_any(t->erasures, 1));
    assert_non_null(strstr(receipt(t, &id), "\"state\":\"closed\""));
}

static void test_the_account_goes(void **state)
{
    struct test *t = *state;
    store_one(t, (struct told){.visitor = "ann"});
    erase_only(t, "ann", true);
    assert_true(erasures_any(t->erasures, 1));
    erasures_forget(t->erasures, 1);
    assert_false(erasures_any(t->erasures, 1));
    erasures_tick(t->erasures);
    assert_int_equal(rig_count(&t->rig, FAMILY_VAULT), 1); /* the deletion's */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_what_is_stored_goes),
        TEST(test_what_arrives_later_is_dropped),
        TEST(test_very_late_is_still_before),
        TEST(test_retries),
        TEST(test_a_retry_links_nothing),
        TEST(test_leads_are_followed),
        TEST(test_an_id_that_is_erased_alone_hides_no_lead),
        TEST(test_aliases_that_come_late),
        TEST(test_damage_is_told),
        TEST(test_a_lead_that_a_full_disk_refuses_is_followed_later),
        TEST(test_a_lead_that_is_refused_stops_nobody_else),
        TEST(test_neither_intake_nor_probes_wait_for_a_disk),
        TEST(test_all_that_was_deleted_is_compacted),
        TEST(test_coming_back),
        TEST(test_a_crash_is_taken_up),
        TEST(test_a_restore_undoes_nothing),
        TEST(test_the_guard_ends),
        TEST(test_the_account_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
