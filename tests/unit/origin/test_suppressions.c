#include "records_fixture.h"

#include "origin/accounts/account_item.h"
#include "origin/accounts/suppressions.h"

static struct records r;
static struct changelog *changelog;
static struct suppressions *suppressions;
static struct id_hashers *hashers;

static void open_all(void)
{
    must(changelog_open(&changelog, r.store, pl_random_system(), &r.why), &r.why);
    const struct suppressions_config config = {.store = r.store, .changelog = changelog};
    must(suppressions_open(&suppressions, &config, &r.why), &r.why);
    must(id_hashers_new(&hashers, r.keyring, 2), &r.why);
}

static void close_all(void)
{
    id_hashers_free(hashers);
    suppressions_close(suppressions);
    changelog_close(changelog);
}

static void restart(void)
{
    close_all();
    records_close(&r);
    records_open(&r);
    open_all();
}

static int setup(void **state)
{
    (void)state;
    records_init(&r);
    for (uint64_t account = 1; account <= 2; account++)
        must(keyring_new_key(r.keyring, account, &r.why), &r.why);
    open_all();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    close_all();
    records_release(&r);
    return 0;
}

static struct suppression of(uint64_t account, uint8_t consent, const char *id, bool active)
{
    uint8_t key[CATALOG_ID_KEY_BYTES];
    struct suppression s = {
        .account = account, .consent_id = {{consent}}, .since_ms = 1000, .active = active};
    must(account_id_key(r.keyring, account, key), &r.why);
    if (active)
        must(suppression_hash(key, pl_span_str(id), s.id_hash), &r.why);
    return s;
}

static void record(struct suppression s)
{
    must(suppressions_record(suppressions, &s, &r.why), &r.why);
}

static bool concerns(uint64_t account, const char *visitor, const char *user, int64_t accepted_ms)
{
    struct event event;
    event_clear(&event);
    event_set_u64(&event, EVENT_ACCOUNT, account);
    event_set_i64(&event, EVENT_ACCEPTED_MS, accepted_ms);
    if (visitor != NULL)
        event_set_str(&event, EVENT_VISITOR_ID, pl_span_str(visitor));
    if (user != NULL)
        event_set_str(&event, EVENT_USER_ID, pl_span_str(user));
    struct event_ids ids;
    must(id_hashers_event(hashers, &event, &ids), &r.why);
    return suppressions_any(suppressions, account) &&
           suppressions_concern(suppressions, &ids, accepted_ms);
}

static void test_events_of_who_said_no(void **state)
{
    (void)state;
    record(of(1, 1, "ann", true));
    for (int round = 0; round < 2; round++) {
        assert_true(concerns(1, "ann", NULL, 1000));
        assert_true(concerns(1, "x", "ann", 2000));
        assert_false(concerns(1, "ann", NULL, 999));
        assert_false(concerns(1, "bob", NULL, 2000));
        assert_false(concerns(1, NULL, NULL, 2000));
        assert_false(concerns(2, "ann", NULL, 2000));
        restart();
    }
    record(of(1, 1, NULL, false));
    assert_false(concerns(1, "ann", NULL, 2000));
    restart();
    assert_false(concerns(1, "ann", NULL, 2000));
    /* A copy of the opt-out that was on its way does not bring it back. */
    record(of(1, 1, "ann", true));
    restart();
    assert_false(concerns(1, "ann", NULL, 2000));
}

static void test_edges_are_told_once(void **state)
{
    (void)state;
    record(of(1, 1, "ann", true));
    const uint64_t position = changelog_position(changelog);
    assert_int_equal(position, 1);
    record(of(1, 1, "ann", true));
    restart();
    record(of(1, 1, "ann", true));
    assert_int_equal(changelog_position(changelog), position);
    record(of(1, 1, NULL, false));
    assert_int_equal(changelog_position(changelog), position + 1);
    record(of(1, 2, "bob", true));
    /* One item for each opt-out, the newest of it. */
    assert_int_equal(count_rows(&r, FAMILY_CHANGES), 2);
}

static void test_what_goes_with_its_account(void **state)
{
    struct store_batch *batch;
    const struct catalog_item gone = {.kind = CATALOG_TOMBSTONE, .account = 1};
    (void)state;
    record(of(1, 1, "ann", true));
    record(of(1, 2, "bob", true));
    record(of(2, 3, "ann", true));
    must(store_batch_new(&batch), &r.why);
    must(changelog_write(changelog, batch, &gone, &r.why), &r.why);
    store_batch_free(batch);
    suppressions_forget(suppressions, 1);
    assert_int_equal(count_rows(&r, FAMILY_CHANGES), 2);
    assert_false(concerns(1, "ann", NULL, 2000));
    assert_true(concerns(2, "ann", NULL, 2000));
}

/* Clients name the opt-outs that they take back: none may stand for the account itself. */
static void test_no_id_hides_the_account(void **state)
{
    struct store_batch *batch;
    struct catalog_item account = {
        .kind = CATALOG_ACCOUNT, .account = 1, .state = ACCOUNT_ACTIVE, .write_key = {{1}}};
    (void)state;
    catalog_rule_defaults(&account);
    must(store_batch_new(&batch), &r.why);
    must(changelog_write(changelog, batch, &account, &r.why), &r.why);
    store_batch_free(batch);
    record(of(1, 0, NULL, false));
    assert_int_equal(count_rows(&r, FAMILY_CHANGES), 2);
    restart();
    record(of(1, 0, "ann", true));
    assert_int_equal(count_rows(&r, FAMILY_CHANGES), 2);
}

static void test_parsing(void **state)
{
    struct event event;
    struct suppression s;
    (void)state;
    event_clear(&event);
    event_set_u64(&event, EVENT_TYPE, EVENT_CUSTOM);
    assert_int_equal(suppressions_parse(&event, &s), PL_ENOTFOUND);
    event_set_u64(&event, EVENT_TYPE, EVENT_OPT_OUT);
    event_set_u64(&event, EVENT_ACCOUNT, 1);
    event_set_i64(&event, EVENT_ACCEPTED_MS, 77);
    event_set_str(&event, EVENT_CONSENT_ID, PL_SPAN_LIT("000102030405060708090a0b0c0d0e0f"));
    assert_int_equal(suppressions_parse(&event, &s), PL_EINVAL);
    event_set_str(&event, EVENT_CONSENT_ID_HASH, PL_SPAN_LIT("ff0102030405060708090a0b0c0d0e0f"));
    assert_int_equal(suppressions_parse(&event, &s), PL_OK);
    assert_true(s.active && s.since_ms == 77 && s.consent_id.bytes[1] == 1 && s.id_hash[0] == 0xff);
    event_set_u64(&event, EVENT_TYPE, EVENT_OPT_IN);
    event_unset(&event, EVENT_CONSENT_ID_HASH);
    assert_int_equal(suppressions_parse(&event, &s), PL_OK);
    assert_false(s.active);
    event_set_str(&event, EVENT_CONSENT_ID, PL_SPAN_LIT("00"));
    assert_int_equal(suppressions_parse(&event, &s), PL_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_events_of_who_said_no, setup, teardown),
        cmocka_unit_test_setup_teardown(test_edges_are_told_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_goes_with_its_account, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_id_hides_the_account, setup, teardown),
        cmocka_unit_test(test_parsing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
