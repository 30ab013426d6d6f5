/* What a hold keeps of a person who is erased, and until when. */
#include "erasures_fixture.h"
#include "origin/subjects/eraser_slice.h"

static struct hold hold_days(struct test *t, int64_t first, int64_t last)
{
    const int64_t day = pl_day_of(NOON_MS);
    struct pl_why why = {0};
    struct hold hold = {.account = 1,
                        .first_day = day + first,
                        .last_day = day + last,
                        .placed_ms = t->rig.now_ms,
                        .reason = "a lawsuit",
                        .placed_by = "somebody"};
    assert_int_equal(pl_id128_random(pl_random_system(), &hold.id), PL_OK);
    rig_must(holds_put(t->holds, &hold, &why), &why);
    return hold;
}

static void release(struct test *t, struct hold *hold)
{
    struct pl_why why = {0};
    hold->released_ms = t->rig.now_ms;
    rig_must(holds_put(t->holds, hold, &why), &why);
}

static void look(struct test *t)
{
    t->erasures->settle_at_mono_ms = t->erasures->closed_mono_ms = 0;
    erasures_tick(t->erasures);
}

static void test_what_is_held_goes_when_the_hold_ends(void **state)
{
    struct test *t = *state;
    put(t, (struct told){.visitor = "phone", .user = "ann", .message = "a1"});
    put(t, (struct told){.user = "ann", .message = "a2", .accepted_ms = PL_DAY_MS});
    put(t, (struct told){.user = "ann", .message = "a3", .accepted_ms = 2 * PL_DAY_MS});
    t->rig.now_ms += 2 * PL_DAY_MS;
    store_all(t);
    struct hold first = hold_days(t, 0, 0), second = hold_days(t, 1, 1);
    const struct pl_id128 id = erase(t, "ann");
    assert_int_equal(rig_count(&t->rig, FAMILY_VAULT), 2);
    assert_int_equal(rig_count(&t->rig, FAMILY_LINKS), 0); /* of a day that nobody holds */
    assert_non_null(strstr(receipt(t, &id), "\"state\":\"held\""));
    assert_non_null(strstr(receipt(t, &id), "\"held\":{\"events\":2,\"links\":0}"));
    assert_non_null(strstr(receipt(t, &id), "\"events\":1,"));
    assert_non_null(strstr(receipt(t, &id), "erased when it ends"));
    /* The guard stands, however long it takes, and over a restart. */
    t->rig.now_ms += DEDUPE_SWEEP_DAYS * PL_DAY_MS;
    restart(t);
    look(t);
    assert_true(erasures_any(t->erasures, 1));
    assert_int_equal(rig_count(&t->rig, FAMILY_VAULT), 2);
    release(t, &first);
    look(t);
    assert_int_equal(rig_count(&t->rig, FAMILY_VAULT), 1);
    assert_non_null(strstr(receipt(t, &id), "\"held\":{\"events\":1,\"links\":0}"));
    release(t, &second);
    look(t);
    assert_int_equal(rig_count(&t->rig, FAMILY_VAULT), 0);
    look(t);
    assert_non_null(strstr(receipt(t, &id), "\"state\":\"closed\""));
    assert_non_null(strstr(receipt(t, &id), "\"held\":{\"events\":0,\"links\":0}"));
    assert_false(erasures_any(t->erasures, 1));
}

/* As a hold of the whole account does. */
static void test_links_are_held_by_their_day(void **state)
{
    struct test *t = *state;
    store_one(t, (struct told){.visitor = "phone", .user = "ann"});
    struct hold hold = hold_days(t, 0, 0);
    const struct pl_id128 id = erase(t, "ann");
    assert_int_equal(rig_count(&t->rig, FAMILY_LINKS), 2);
    assert_non_null(strstr(receipt(t, &id), "\"held\":{\"events\":1,\"links\":1}"));
    release(t, &hold);
    look(t);
    assert_int_equal(rig_count(&t->rig, FAMILY_LINKS), 0);
    assert_int_equal(rig_count(&t->rig, FAMILY_VAULT), 0);
}

/* What comes late leads to days that nobody had asked about. */
static void test_a_lead_to_what_is_held(void **state)
{
    struct test *t = *state;
    store_one(t, (struct told){.user = "ann"});
    t->rig.now_ms += PL_MINUTE_MS;
    const struct pl_id128 id = erase(t, "phone");
    struct hold hold = hold_days(t, 0, 0);
    store_one(t, (struct told){.visitor = "phone", .user = "ann"});
    look(t);
    assert_int_equal(rig_count(&t->rig, FAMILY_VAULT), 1);
    assert_non_null(strstr(receipt(t, &id), "\"held\":{\"events\":1,"));
    release(t, &hold);
    look(t);
    assert_int_equal(rig_count(&t->rig, FAMILY_VAULT), 0);
}

static void put_back(struct test *t, const struct hold *hold)
{
    struct pl_why why = {0};
    rig_must(holds_put(t->holds, hold, &why), &why);
}

/* The log's last lines are replayed after a crash, too. */
static void test_a_crash_ends_no_hold(void **state)
{
    struct test *t = *state;
    store_one(t, (struct told){.user = "ann"});
    t->rig.now_ms += PL_MINUTE_MS;
    const struct pl_id128 id = erase(t, "phone");
    const struct noted begun = last_note(t);
    t->rig.now_ms += PL_MINUTE_MS;
    struct hold hold = hold_days(t, 0, 0);
    store_one(t, (struct told){.visitor = "phone", .user = "ann"});
    const struct noted led = last_note(t);
    look(t);
    for (int round = 0; round < 2; round++) {
        assert_non_null(strstr(receipt(t, &id), "\"held\":{\"events\":1,"));
        assert_int_equal(rig_count(&t->rig, FAMILY_VAULT), 1);
        restart(t);
        replay(t, &begun);
        replay(t, &led);
        look(t);
    }
    release(t, &hold);
    look(t);
    assert_int_equal(rig_count(&t->rig, FAMILY_VAULT), 0);
}

/* What a late event led to after the hold was placed. */
static void test_a_restore_ends_no_hold_on_a_lead(void **state)
{
    struct test *t = *state;
    store_one(t, (struct told){.user = "ann"});
    copy_database(t);
    t->rig.now_ms += PL_MINUTE_MS;
    erase(t, "phone");
    const struct noted begun = last_note(t);
    t->rig.now_ms += PL_MINUTE_MS;
    struct hold hold = hold_days(t, 0, 0);
    store_one(t, (struct told){.visitor = "phone", .user = "ann"});
    const struct noted led = last_note(t);
    restore_copy(t);
    replay(t, &begun);
    put_back(t, &hold);
    replay(t, &led);
    look(t);
    assert_int_equal(rig_count(&t->rig, FAMILY_VAULT), 1);
    release(t, &hold);
    look(t);
    assert_int_equal(rig_count(&t->rig, FAMILY_VAULT), 0);
}

/* Placed while the eraser was at it, and prolonged by another one. */
static void test_a_restore_ends_no_hold_that_kept_some(void **state)
{
    struct test *t = *state;
    store_one(t, (struct told){.visitor = "phone", .user = "ann"});
    copy_database(t);
    t->rig.now_ms += PL_MINUTE_MS;
    erase_only(t, "ann", true);
    const struct noted begun = last_note(t);
    t->rig.now_ms += 1;
    struct hold first = hold_days(t, 0, 0);
    look(t);
    const struct noted held = last_note(t);
    const size_t notes = t->notes;
    t->rig.now_ms += PL_MINUTE_MS;
    struct hold second = hold_days(t, 0, 0);
    look(t);
    release(t, &first);
    look(t);
    assert_int_equal(t->notes, notes); /* it is told once */
    assert_int_equal(rig_count(&t->rig, FAMILY_VAULT), 1);
    restore_copy(t);
    replay(t, &begun);
    put_back(t, &first);
    replay(t, &held);
    put_back(t, &second);
    look(t);
    assert_int_equal(rig_count(&t->rig, FAMILY_VAULT), 1);
    assert_int_equal(rig_count(&t->rig, FAMILY_LINKS), 2);
    release(t, &second);
    look(t);
    assert_int_equal(rig_count(&t->rig, FAMILY_VAULT), 0);
    assert_int_equal(rig_count(&t->rig, FAMILY_LINKS), 0);
}

/* It never kept what had gone before it. */
static void test_a_hold_of_later_brings_nobody_back(void **state)
{
    struct test *t = *state;
    store_one(t, (struct told){.visitor = "phone", .user = "ann"});
    store_one(t, (struct told){.visitor = "other"});
    copy_database(t);
    t->rig.now_ms += PL_MINUTE_MS;
    erase(t, "ann");
    const struct noted begun = last_note(t);
    t->rig.now_ms += PL_MINUTE_MS;
    const struct hold hold = hold_days(t, 0, 0);
    restore_copy(t);
    replay(t, &begun);
    put_back(t, &hold);
    assert_int_equal(rig_count(&t->rig, FAMILY_VAULT), 2);
    look(t);
    assert_int_equal(rig_count(&t->rig, FAMILY_VAULT), 1);
    assert_int_equal(rig_count(&t->rig, FAMILY_LINKS), 0);
}

/* Between what the eraser has read and what it writes. */
static void test_a_hold_that_comes_in_between(void **state)
{
    struct test *t = *state;
    struct identities ids;
    struct slice *slice;
    struct pl_why why = {0};
    store_one(t, (struct told){.visitor = "phone", .user = "ann"});
    t->rig.now_ms += PL_MINUTE_MS;
    erase_only(t, "ann", true);
    rig_must(visitors_find(t->visitors, 1, PL_SPAN_LIT("ann"), true, &ids, &why), &why);
    rig_must(slice_new(&slice, t->erasures, t->erasures->open, INT64_MAX), &why);
    slice_ask_holds(slice);
    struct hold hold = hold_days(t, 0, 0);
    assert_int_equal(slice_erase_links(slice, &ids, &why), PL_EAGAIN);
    assert_int_equal(slice_erase_events(slice, &ids, &why), PL_EAGAIN);
    slice_free(slice);
    identities_release(&ids);
    erasures_tick(t->erasures);
    assert_int_equal(rig_count(&t->rig, FAMILY_VAULT), 1);
    assert_int_equal(rig_count(&t->rig, FAMILY_LINKS), 2);
    release(t, &hold);
    erasures_tick(t->erasures);
    assert_int_equal(rig_count(&t->rig, FAMILY_VAULT), 0);
}

/* Between who asked what holds cover, and the beginning. */
static void test_a_hold_that_comes_before_the_beginning(void **state)
{
    struct test *t = *state;
    struct identities ids = {.list = NULL};
    struct pl_id128 id;
    struct pl_why why = {0};
    struct erasures_request request = {.account = 1, .identities = &ids};
    hold_days(t, 0, 0);
    assert_int_equal(erasures_erase(t->erasures, &request, &id, &why), PL_EAGAIN);
    assert_int_equal(rig_count(&t->rig, FAMILY_ERASURES), 0);
    assert_int_equal(t->notes, 0);
    request.holds = 1;
    assert_int_equal(erasures_erase(t->erasures, &request, &id, &why), PL_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_what_is_held_goes_when_the_hold_ends),
        TEST(test_links_are_held_by_their_day),
        TEST(test_a_lead_to_what_is_held),
        TEST(test_a_crash_ends_no_hold),
        TEST(test_a_restore_ends_no_hold_on_a_lead),
        TEST(test_a_restore_ends_no_hold_that_kept_some),
        TEST(test_a_hold_of_later_brings_nobody_back),
        TEST(test_a_hold_that_comes_in_between),
        TEST(test_a_hold_that_comes_before_the_beginning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
