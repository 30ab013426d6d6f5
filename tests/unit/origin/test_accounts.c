#include "accounts_fixture.h"

#include "origin/accounts/account_item.h"
#include "origin/accounts/account_states.h"
#include "origin/lifecycle/lifecycle.h"

#include <pthread.h>

#define CONFIG_REST                                                                                \
    "\"campaigns\":[{\"id\":\"c\",\"name\":\"C\",\"traffic\":1,\"url\":[\"*\"],\"variants\":["     \
    "{\"id\":\"a\",\"weight\":1,\"control\":true}]}]}"
#define CONFIG "{" CONFIG_REST

static int64_t expired_ms; /* out, of accounts_fate */

/* What an edge that follows from nothing knows of an account. */
static void fed_item(uint64_t account, struct catalog_item *item, struct pl_buf *page)
{
    struct pl_id128 epoch;
    uint64_t position = 0;
    bool caught_up = false;
    pl_buf_init(page, 1u << 20);
    must(changelog_feed(changelog, &epoch, &position, 1u << 20, page, &caught_up), &r.why);
    assert_true(caught_up);
    struct pl_reader reader = pl_reader(pl_buf_span(page));
    while (reader.rest.len > 0) {
        uint32_t len = pl_get_u32(&reader);
        must(catalog_decode(pl_get_span(&reader, len), item, &r.why), &r.why);
        if (item->account == account)
            return;
    }
    fail_msg("the changelog has no item of the account");
}

static void test_an_account_is_made_whole(void **state)
{
    (void)state;
    struct account made = create("{\"name\":\"Shop\",\"regions\":[\"eu\",\"us\"],"
                                 "\"origins\":[\"https://shop.example\"],\"honour_dnt\":true,"
                                 "\"expires_at\":\"2026-06-01\"}");
    uint8_t key[KEYRING_DATA_KEY_BYTES];
    must(keyring_key(r.keyring, made.id, key), &r.why);
    reopen();

    struct account found;
    must(accounts_get(accounts, made.id, &found), &r.why);
    assert_string_equal(found.name, "Shop");
    assert_string_equal(found.regions, "eu us");
    assert_string_equal(found.origins, "https://shop.example");
    assert_true(found.honour_dnt);
    assert_int_equal(found.expires_at_ms, made.expires_at_ms);
    assert_true(pl_id128_eq(&found.write_key, &made.write_key));

    static struct catalog_item item;
    struct pl_buf page;
    fed_item(made.id, &item, &page);
    assert_int_equal(item.kind, CATALOG_ACCOUNT);
    assert_true(pl_id128_eq(&item.write_key, &made.write_key));
    assert_int_equal(item.region_count, 2);
    assert_string_equal(item.regions[1], "us");
    assert_int_equal(item.origin_count, 1);
    assert_int_equal(item.expires_at_ms, made.expires_at_ms);
    pl_buf_release(&page);
}

static void test_a_refused_account_leaves_nothing(void **state)
{
    static const struct {
        const char *field, *text;
    } cases[] = {
        {"name", "{}"},
        {"name", "{\"name\":\"\"}"},
        {"name", "{\"name\":7}"},
        {"regions", "{\"name\":\"a\",\"regions\":\"eu\"}"},
        {"regions", "{\"name\":\"a\",\"regions\":[\"e u\"]}"},
        {"origins", "{\"name\":\"a\",\"origins\":[\"https://a.example/\"]}"},
        {"origins", "{\"name\":\"a\",\"origins\":[\"https://b.example\",\"a.example\"]}"},
        {"origins", "{\"name\":\"a\",\"origins\":[\"https://A.example\"]}"},
        {"origins", "{\"name\":\"a\",\"origins\":[\"https://a.example:443\"]}"},
        {"origins", "{\"name\":\"a\",\"origins\":[\"https://a.example:\"]}"},
        {"origins", "{\"name\":\"a\",\"origins\":[\"https://a.example:99999\"]}"},
        {"origins", "{\"name\":\"a\",\"origins\":[\"https://www.*.example\"]}"},
        {"origins", "{\"name\":\"a\",\"origins\":[\"https://\"]}"},
        {"origins", "{\"name\":\"a\",\"origins\":[\"https://[::1\"]}"},
        {"origins", "{\"name\":\"a\",\"origins\":[\"*\"]}"},
        {"regions", "{\"name\":\"a\",\"regions\":[\"eu\",\"EU\"]}"},
        {"regions", "{\"name\":\"a\",\"regions\":[\"sixteen-letters-\"]}"},
        {"regions", "{\"name\":\"a\",\"regions\":[\"eu\",\"us\",\"eu\"]}"},
        {"honour_dnt", "{\"name\":\"a\",\"honour_dnt\":\"yes\"}"},
        {"expires_at", "{\"name\":\"a\",\"expires_at\":\"2025-01-01\"}"},
        {"id", "{\"name\":\"a\",\"id\":\"00000000000000aa\"}"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct account account;
        assert_int_equal(accounts_create(accounts, parse(&r, cases[i].text), &account, &r.why),
                         PL_EINVAL);
        assert_string_equal(r.why.field, cases[i].field);
    }
    assert_int_equal(count_rows(&r, FAMILY_ACCOUNTS), 0);
    assert_int_equal(changelog_position(changelog), 0);
}

static void test_expiry_by_date_needs_nobody(void **state)
{
    (void)state;
    struct account account = create("{\"name\":\"a\",\"expires_at\":\"2026-01-02\"}");
    r.now_ms = account.expires_at_ms - 1;
    assert_int_equal(accounts_fate(accounts, account.id, r.now_ms, &expired_ms), INTAKE_ALIVE);
    r.now_ms++;
    assert_int_equal(accounts_fate(accounts, account.id, r.now_ms, &expired_ms), INTAKE_EXPIRED);
    assert_int_equal(expired_ms, account.expires_at_ms);
    assert_int_equal(account_state_at(&account, r.now_ms), ACCOUNT_EXPIRED);
    assert_int_equal(accounts_fate(accounts, account.id ^ 1, r.now_ms, &expired_ms),
                     INTAKE_UNKNOWN);
    must(accounts_expire(accounts, account.id, 0, &account, &r.why), &r.why);
    assert_true(account.was_so);
}

static void test_expire_and_reinstate(void **state)
{
    (void)state;
    static struct catalog_item item;
    struct pl_buf page;
    struct account account = create("{\"name\":\"a\"}");
    must(accounts_expire(accounts, account.id, 0, &account, &r.why), &r.why);
    assert_int_equal(account.state, ACCOUNT_EXPIRED);
    assert_int_equal(account.expires_at_ms, r.now_ms);
    fed_item(account.id, &item, &page);
    assert_int_equal(item.state, ACCOUNT_EXPIRED);
    pl_buf_release(&page);
    reopen();
    r.now_ms += 40 * PL_DAY_MS;
    assert_int_equal(accounts_reinstate(accounts, account.id, DAY_ONE_MS, &account, &r.why),
                     PL_EINVAL);
    must(accounts_reinstate(accounts, account.id, 0, &account, &r.why), &r.why);
    assert_int_equal(account.expires_at_ms, 0);
    assert_int_equal(accounts_fate(accounts, account.id, r.now_ms, &expired_ms), INTAKE_ALIVE);

    /* A date ahead only sets it; one behind is a mistake. */
    int64_t later_ms = r.now_ms + PL_DAY_MS;
    must(accounts_expire(accounts, account.id, later_ms, &account, &r.why), &r.why);
    assert_int_equal(account.state, ACCOUNT_ACTIVE);
    assert_int_equal(accounts_expire(accounts, account.id, r.now_ms - 1, &account, &r.why),
                     PL_EINVAL);
    assert_string_equal(r.why.field, "at");
    assert_int_equal(accounts_expire(accounts, 12345, 0, &account, &r.why), PL_ENOTFOUND);
}

static void test_rules_can_be_changed(void **state)
{
    (void)state;
    static struct catalog_item item;
    struct pl_buf page;
    struct account account =
        create("{\"name\":\"a\",\"origins\":[\"https://a.example\",\"http://localhost:8080\","
               "\"https://*.a.example\",\"http://[::1]:81\"],\"regions\":[\"eu\"]}");
    struct account changed;
    must(accounts_update(accounts, account.id,
                         parse(&r, "{\"origins\":[\"https://b.example\"],\"honour_dnt\":true}"),
                         &changed, &r.why),
         &r.why);
    reopen();
    must(accounts_get(accounts, account.id, &changed), &r.why);
    assert_string_equal(changed.origins, "https://b.example");
    assert_string_equal(changed.name, "a");
    assert_string_equal(changed.regions, "eu");
    assert_true(changed.honour_dnt);
    fed_item(account.id, &item, &page);
    assert_int_equal(item.origin_count, 1);
    assert_true(item.honour_dnt);
    pl_buf_release(&page);
    /* A refused change changes nothing; ends have calls of their own. */
    assert_int_equal(accounts_update(accounts, account.id,
                                     parse(&r, "{\"name\":\"z\",\"origins\":[\"https://b/\"]}"),
                                     &changed, &r.why),
                     PL_EINVAL);
    assert_string_equal(r.why.field, "origins");
    assert_int_equal(accounts_update(accounts, account.id,
                                     parse(&r, "{\"expires_at\":\"2030-01-01\"}"), &changed,
                                     &r.why),
                     PL_EINVAL);
    assert_int_equal(
        accounts_update(accounts, account.id, parse(&r, "{\"name\":\"\"}"), &changed, &r.why),
        PL_EINVAL);
    assert_int_equal(accounts_update(accounts, 1, parse(&r, "{}"), &changed, &r.why), PL_ENOTFOUND);
    must(accounts_get(accounts, account.id, &changed), &r.why);
    assert_string_equal(changed.name, "a");
}

static void assert_browsers_honour_dnt(uint64_t account, bool honour)
{
    static struct catalog_item item;
    struct pl_buf page;
    fed_item(account, &item, &page);
    const char *want = honour ? "\"honour_dnt\":true" : "\"honour_dnt\":false";
    const char *not = honour ? "\"honour_dnt\":false" : "\"honour_dnt\":true";
    struct pl_span config = item.config_json;
    assert_non_null(memmem(config.data, config.len, want, strlen(want)));
    assert_null(memmem(config.data, config.len, not, strlen(not )));
    struct json root;
    must(json_parse(r.parser, config, &root, &r.why), &r.why);
    pl_buf_release(&page);
}

static void test_browsers_follow_the_account_s_rule_on_dnt(void **state)
{
    (void)state;
    static const char says_no[] = "{\"settings\":{\"honour_dnt\":false}," CONFIG_REST;
    static const char says_yes[] = "{\"settings\":{\"honour_dnt\":true}," CONFIG_REST;
    uint64_t version;
    struct account honours = create("{\"name\":\"a\",\"honour_dnt\":true}");
    struct account does_not = create("{\"name\":\"b\"}");
    must(accounts_publish(accounts, honours.id, pl_span_str(says_no), &version, &r.why), &r.why);
    assert_browsers_honour_dnt(honours.id, true);
    must(accounts_publish(accounts, honours.id, PL_SPAN_LIT(CONFIG), &version, &r.why), &r.why);
    assert_browsers_honour_dnt(honours.id, true);
    must(accounts_publish(accounts, does_not.id, pl_span_str(says_yes), &version, &r.why), &r.why);
    assert_browsers_honour_dnt(does_not.id, false);
}

/* The disk fails a change, and after the recovery it is there all the same. */
static void test_a_failed_change_that_turns_up_counts(void **state)
{
    (void)state;
    static struct catalog_item item;
    struct pl_buf page, record, change;
    uint64_t version;
    uint8_t id[8], at[8], next[8];
    struct account other = create("{\"name\":\"b\"}");
    struct account account = create("{\"name\":\"a\"}");
    pl_store_u64(id, account.id);
    must(accounts_expire(accounts, account.id, 0, &account, &r.why), &r.why);
    pl_store_u64(at, changelog_position(changelog));
    records_take(&r, FAMILY_ACCOUNTS, pl_span(id, 8), &record);
    records_take(&r, FAMILY_CHANGES, pl_span(at, 8), &change);
    must(accounts_reinstate(accounts, account.id, 0, &account, &r.why), &r.why);

    records_disk(false);
    assert_int_not_equal(accounts_expire(accounts, account.id, 0, &account, &r.why), PL_OK);
    /* As long as the store fails, nothing can be known. */
    assert_int_not_equal(accounts_refresh(accounts, &r.why), PL_OK);
    records_recover(&r);
    pl_store_u64(at, changelog_position(changelog));
    pl_store_u64(next, changelog_position(changelog) + 1);
    struct pl_buf gone;
    records_take(&r, FAMILY_CHANGES, pl_span(at, 8), &gone);
    pl_buf_release(&gone);
    records_put(&r, FAMILY_ACCOUNTS, pl_span(id, 8), &record);
    records_put(&r, FAMILY_CHANGES, pl_span(next, 8), &change);

    must(accounts_publish(accounts, other.id, PL_SPAN_LIT(CONFIG), &version, &r.why), &r.why);
    must(accounts_get(accounts, account.id, &account), &r.why);
    assert_int_equal(account.state, ACCOUNT_EXPIRED);
    fed_item(account.id, &item, &page);
    assert_int_equal(item.state, ACCOUNT_EXPIRED);
    pl_buf_release(&page);
    assert_int_equal(count_rows(&r, FAMILY_CHANGES), 2);
    must(accounts_reinstate(accounts, account.id, 0, &account, &r.why), &r.why);
    fed_item(account.id, &item, &page);
    assert_int_equal(item.state, ACCOUNT_ACTIVE);
    pl_buf_release(&page);
}

static bool always(void *ctx, const struct account *account, int64_t now_ms)
{
    (void)ctx;
    (void)account;
    (void)now_ms;
    return true;
}

static bool has_passed(void *ctx, const struct account *account, int64_t now_ms)
{
    (void)ctx;
    return account->expires_at_ms <= now_ms;
}

/* Who decides that an account is due looks at a copy; a renewal may come between. */
static void test_a_renewal_is_not_undone(void **state)
{
    (void)state;
    struct account account = create("{\"name\":\"a\",\"expires_at\":\"2026-01-02\"}"), moved;
    r.now_ms = account.expires_at_ms;
    assert_true(has_passed(NULL, &account, r.now_ms));
    int64_t later_ms = r.now_ms + PL_DAY_MS;
    must(accounts_reinstate(accounts, account.id, later_ms, &account, &r.why), &r.why);
    assert_int_equal(accounts_move(accounts, account.id, ACCOUNT_ACTIVE, ACCOUNT_EXPIRED,
                                   has_passed, NULL, r.now_ms, &moved, &r.why),
                     PL_EAGAIN);
    must(accounts_get(accounts, account.id, &account), &r.why);
    assert_int_equal(account.state, ACCOUNT_ACTIVE);
    must(accounts_move(accounts, account.id, ACCOUNT_ACTIVE, ACCOUNT_EXPIRED, has_passed, NULL,
                       later_ms, &moved, &r.why),
         &r.why);
}

static void test_deletion_cannot_be_undone(void **state)
{
    (void)state;
    static struct catalog_item item;
    struct pl_buf page;
    uint64_t version;
    struct account account = create("{\"name\":\"a\"}");
    must(accounts_expire(accounts, account.id, 0, &account, &r.why), &r.why);
    assert_int_equal(accounts_move(accounts, account.id, ACCOUNT_DELETABLE, ACCOUNT_DELETING,
                                   always, NULL, r.now_ms, &account, &r.why),
                     PL_EAGAIN);
    must(accounts_move(accounts, account.id, ACCOUNT_EXPIRED, ACCOUNT_DELETABLE, always, NULL,
                       r.now_ms, &account, &r.why),
         &r.why);
    must(accounts_move(accounts, account.id, ACCOUNT_DELETABLE, ACCOUNT_DELETING, always, NULL,
                       r.now_ms, &account, &r.why),
         &r.why);
    assert_int_equal(accounts_reinstate(accounts, account.id, 0, &account, &r.why), PL_EEXPIRED);
    assert_int_equal(accounts_publish(accounts, account.id, PL_SPAN_LIT(CONFIG), &version, &r.why),
                     PL_EEXPIRED);
    assert_int_equal(accounts_fate(accounts, account.id, r.now_ms, &expired_ms), INTAKE_DELETED);
    fed_item(account.id, &item, &page);
    assert_int_equal(item.kind, CATALOG_TOMBSTONE);
    pl_buf_release(&page);
}

static void rot_config(const struct account *account)
{
    uint8_t key[16];
    account_config_key(account->id, 1, key);
    must(store_put(r.store, FAMILY_CONFIGS, pl_span(key, sizeof(key)), PL_SPAN_LIT("\x01{"), true,
                   &r.why),
         &r.why);
}

/* What its browsers were to get does not keep an account alive. */
static void test_a_damaged_config_hinders_no_end(void **state)
{
    (void)state;
    static struct catalog_item item;
    struct pl_buf page;
    uint64_t version;
    struct account account = create("{\"name\":\"a\",\"expires_at\":\"2026-01-02\"}"), out;
    must(accounts_publish(accounts, account.id, PL_SPAN_LIT(CONFIG), &version, &r.why), &r.why);
    rot_config(&account);
    /* While it lives edges must not lose what they have. */
    assert_int_equal(
        accounts_update(accounts, account.id, parse(&r, "{\"name\":\"b\"}"), &out, &r.why),
        PL_EINVAL);
    fed_item(account.id, &item, &page);
    assert_int_equal(item.config_version, 1);
    pl_buf_release(&page);

    r.now_ms = account.expires_at_ms;
    must(accounts_move(accounts, account.id, ACCOUNT_ACTIVE, ACCOUNT_EXPIRED, has_passed, NULL,
                       r.now_ms, &out, &r.why),
         &r.why);
    fed_item(account.id, &item, &page);
    assert_int_equal(item.state, ACCOUNT_EXPIRED);
    assert_int_equal(item.config_version, 0);
    assert_int_equal(item.config_json.len, 0);
    pl_buf_release(&page);
    /* One that is published is looked at as ever, and mends it. */
    assert_int_equal(
        accounts_publish(accounts, account.id, PL_SPAN_LIT("{\"campaigns\":7}"), &version, &r.why),
        PL_EINVAL);
    must(accounts_publish(accounts, account.id, PL_SPAN_LIT(CONFIG), &version, &r.why), &r.why);
    must(accounts_reinstate(accounts, account.id, 0, &out, &r.why), &r.why);
    fed_item(account.id, &item, &page);
    assert_int_equal(item.config_version, 2);
    pl_buf_release(&page);
}

static void test_configs_have_versions(void **state)
{
    (void)state;
    static struct catalog_item item;
    struct pl_buf out, page;
    uint64_t version = 0;
    struct account account = create("{\"name\":\"a\"}");
    pl_buf_init(&out, 1u << 16);
    assert_int_equal(accounts_config(accounts, account.id, 0, &out, &r.why), PL_ENOTFOUND);
    must(accounts_publish(accounts, account.id, PL_SPAN_LIT(CONFIG), &version, &r.why), &r.why);
    assert_int_equal(version, 1);
    must(accounts_publish(accounts, account.id, PL_SPAN_LIT(" " CONFIG), &version, &r.why), &r.why);
    assert_int_equal(version, 2);
    assert_int_equal(
        accounts_publish(accounts, account.id, PL_SPAN_LIT("{\"campaigns\":7}"), &version, &r.why),
        PL_EINVAL);
    assert_string_equal(r.why.field, "campaigns");
    reopen();

    must(accounts_config(accounts, account.id, 1, &out, &r.why), &r.why);
    assert_true(pl_span_eq(pl_buf_span(&out), PL_SPAN_LIT(CONFIG)));
    pl_buf_reset(&out);
    must(accounts_config(accounts, account.id, 0, &out, &r.why), &r.why);
    assert_true(pl_span_eq(pl_buf_span(&out), PL_SPAN_LIT(" " CONFIG)));
    assert_int_equal(accounts_config(accounts, account.id, 3, &out, &r.why), PL_ENOTFOUND);
    pl_buf_release(&out);

    fed_item(account.id, &item, &page);
    assert_int_equal(item.config_version, 2);
    assert_true(item.config_json.len > 0);
    pl_buf_release(&page);
}

#define PUBLISHERS 4
#define ROUNDS     8

struct publisher {
    uint64_t account, versions[ROUNDS];
};

static void *publish_many(void *arg)
{
    struct publisher *p = arg;
    for (int i = 0; i < ROUNDS; i++) {
        struct pl_why why;
        if (accounts_publish(accounts, p->account, PL_SPAN_LIT(CONFIG), &p->versions[i], &why) !=
            PL_OK)
            return NULL;
    }
    return p;
}

static void test_concurrent_configs_get_versions_of_their_own(void **state)
{
    (void)state;
    struct account account = create("{\"name\":\"a\"}");
    struct publisher publishers[PUBLISHERS];
    pthread_t threads[PUBLISHERS];
    bool seen[PUBLISHERS * ROUNDS + 1] = {false};
    for (int i = 0; i < PUBLISHERS; i++) {
        publishers[i].account = account.id;
        assert_int_equal(pthread_create(&threads[i], NULL, publish_many, &publishers[i]), 0);
    }
    for (int i = 0; i < PUBLISHERS; i++) {
        void *done;
        pthread_join(threads[i], &done);
        assert_non_null(done);
        for (int n = 0; n < ROUNDS; n++) {
            uint64_t version = publishers[i].versions[n];
            assert_in_range(version, 1, PUBLISHERS * ROUNDS);
            assert_false(seen[version]);
            seen[version] = true;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_an_account_is_made_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_refused_account_leaves_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_expiry_by_date_needs_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(test_expire_and_reinstate, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_failed_change_that_turns_up_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_browsers_follow_the_account_s_rule_on_dnt, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_rules_can_be_changed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_renewal_is_not_undone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_deletion_cannot_be_undone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_damaged_config_hinders_no_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_configs_have_versions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_concurrent_configs_get_versions_of_their_own, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
