#include "accounts_fixture.h"

#include "origin/accounts/account_item.h"
#include "origin/accounts/account_states.h"

static enum pl_err update(uint64_t id, const char *request, struct account *out)
{
    return accounts_update(accounts, id, parse(&r, request), out, &r.why);
}

/* What edges know of an account, or the empty item. */
static struct catalog_item told(uint64_t account, struct pl_buf *page)
{
    struct catalog_item item = {0};
    struct pl_id128 epoch;
    uint64_t position = 0;
    bool caught_up = false;
    pl_buf_init(page, 1u << 20);
    must(changelog_feed(changelog, &epoch, &position, 1u << 20, page, &caught_up), &r.why);
    struct pl_reader reader = pl_reader(pl_buf_span(page));
    while (reader.rest.len > 0 && item.account != account) {
        uint32_t len = pl_get_u32(&reader);
        must(catalog_decode(pl_get_span(&reader, len), &item, &r.why), &r.why);
    }
    return item;
}

/* As the API gives it. */
static void shown(const struct account *account, struct pl_buf *out)
{
    struct json_writer *w;
    pl_buf_init(out, 1u << 16);
    must(json_writer_new(&w, false), &r.why);
    json_writer_begin(w, out);
    account_write_json(account, r.now_ms, &(struct account_standing){.held = false}, w);
    must(json_writer_end(w), &r.why);
    json_writer_free(w);
}

static void expect_shown(const struct account *account, const char *text)
{
    struct pl_buf out;
    shown(account, &out);
    if (memmem(out.data, out.len, text, strlen(text)) == NULL)
        fail_msg("no %s in %.*s", text, PL_SPAN_FMT(pl_buf_span(&out)));
    pl_buf_release(&out);
}

#define ALL_RULES                                                                                  \
    "{\"name\":\"a\",\"aliases\":[\"com.shop\",\"b\xc3\xbc\"],"                                    \
    "\"hosts\":[\"metrics.shop.example\",\"m.other.example\"],\"snowplow_path\":\"/com.shop/t\","  \
    "\"cookie\":{\"enabled\":false,\"name\":\"sid\",\"domain\":\"shop.example\","                  \
    "\"same_site\":\"Lax\"},\"pii\":{\"mask\":[\"phone\",\"email\"]}}"

static void test_rules_reach_edges_and_the_api(void **state)
{
    (void)state;
    struct pl_buf page;
    const uint64_t id = create(ALL_RULES).id;
    reopen();
    struct account account;
    must(accounts_get(accounts, id, &account), &r.why);
    expect_shown(&account, "\"aliases\":[\"com.shop\",\"b\xc3\xbc\"],"
                           "\"hosts\":[\"metrics.shop.example\",\"m.other.example\"],"
                           "\"snowplow_path\":\"/com.shop/t\",\"cookie\":{\"enabled\":false,"
                           "\"name\":\"sid\",\"domain\":\"shop.example\",\"same_site\":\"Lax\"},"
                           "\"pii\":{\"mask\":[\"email\",\"phone\"]}");
    struct catalog_item item = told(id, &page);
    assert_int_equal(item.alias_count, 2);
    assert_true(pl_span_eq_str(item.aliases[1], "b\xc3\xbc"));
    assert_int_equal(item.host_count, 2);
    assert_true(pl_span_eq_str(item.hosts[0], "metrics.shop.example"));
    assert_true(pl_span_eq_str(item.snowplow_path, "/com.shop/t"));
    assert_false(item.cookie.enabled);
    assert_int_equal(item.cookie.same_site, SAME_SITE_LAX);
    assert_true(pl_span_eq_str(item.cookie.name, "sid"));
    assert_true(pl_span_eq_str(item.cookie.domain, "shop.example"));
    assert_int_equal(item.pii, PII_EMAIL | PII_PHONE);
    pl_buf_release(&page);
}

static void test_defaults(void **state)
{
    (void)state;
    struct pl_buf page;
    struct account account = create("{\"name\":\"a\"}");
    expect_shown(&account, "\"aliases\":[],\"hosts\":[],\"snowplow_path\":\"\","
                           "\"cookie\":{\"enabled\":true,\"name\":\"polder_id\",\"domain\":\"\","
                           "\"same_site\":\"None\"},\"pii\":{\"mask\":[\"email\",\"card\","
                           "\"phone\"]}");
    struct catalog_item item = told(account.id, &page);
    assert_true(item.cookie.enabled);
    assert_int_equal(item.pii, PII_ALL);
    pl_buf_release(&page);
}

static void test_what_is_absent_stays(void **state)
{
    (void)state;
    struct account account = create(ALL_RULES);
    must(update(account.id, "{\"cookie\":{\"enabled\":true}}", &account), &r.why);
    assert_true(account.rules.cookie_enabled);
    assert_string_equal(account.rules.cookie_name, "sid");
    assert_string_equal(account.rules.hosts, "metrics.shop.example m.other.example");
    assert_int_equal(account.rules.pii, PII_EMAIL | PII_PHONE);
    must(update(account.id,
                "{\"aliases\":[],\"snowplow_path\":\"\",\"pii\":{\"mask\":[]},"
                "\"cookie\":{\"domain\":\"\"}}",
                &account),
         &r.why);
    assert_string_equal(account.rules.aliases, "");
    assert_string_equal(account.rules.snowplow_path, "");
    assert_string_equal(account.rules.cookie_domain, "");
    assert_int_equal(account.rules.pii, 0);
    /* A domain needs its host for as long as it stands. */
    must(update(account.id, "{\"cookie\":{\"domain\":\"shop.example\"}}", &account), &r.why);
    assert_int_equal(update(account.id, "{\"hosts\":[\"m.other.example\"]}", &account), PL_EINVAL);
    assert_string_equal(r.why.field, "cookie.domain");
}

static void test_refused_rules_are_named(void **state)
{
#define SEVENTEEN(x)                                                                               \
    "[\"a" x "\",\"b" x "\",\"c" x "\",\"d" x "\",\"e" x "\",\"f" x "\",\"g" x "\",\"h" x          \
    "\",\"i" x "\",\"j" x "\",\"k" x "\",\"l" x "\",\"m" x "\",\"n" x "\",\"o" x "\",\"p" x        \
    "\",\"q" x "\"]"
    static const struct {
        const char *field, *rules;
        enum pl_err err;
    } cases[] = {
        {"aliases", "\"aliases\":\"x\"", PL_EINVAL},
        {"aliases", "\"aliases\":[\"a b\"]", PL_EINVAL},
        {"aliases", "\"aliases\":[\"a\\u0001\"]", PL_EINVAL},
        {"aliases", "\"aliases\":[\"a\",\"a\"]", PL_EINVAL},
        {"aliases", "\"aliases\":" SEVENTEEN(""), PL_ELIMIT},
        {"hosts", "\"hosts\":[\"Shop.example\"]", PL_EINVAL},
        {"hosts", "\"hosts\":[\"https://shop.example\"]", PL_EINVAL},
        {"hosts", "\"hosts\":[\"shop.example:443\"]", PL_EINVAL},
        {"hosts", "\"hosts\":[\"localhost\"]", PL_EINVAL},
        {"hosts", "\"hosts\":[\"192.0.2.1\"]", PL_EINVAL},
        {"hosts", "\"hosts\":[\"a.b\",\"c.d\",\"a.b\"]", PL_EINVAL},
        {"hosts", "\"hosts\":" SEVENTEEN(".example"), PL_ELIMIT},
        {"snowplow_path", "\"snowplow_path\":\"com.shop/t\"", PL_EINVAL},
        {"snowplow_path", "\"snowplow_path\":\"/\"", PL_EINVAL},
        {"snowplow_path", "\"snowplow_path\":\"/a//b\"", PL_EINVAL},
        {"snowplow_path", "\"snowplow_path\":\"/a/../b\"", PL_EINVAL},
        {"snowplow_path", "\"snowplow_path\":\"/a?b\"", PL_EINVAL},
        {"snowplow_path", "\"snowplow_path\":\"/a/*\"", PL_EINVAL},
        {"snowplow_path", "\"snowplow_path\":\"/v1/track\"", PL_EINVAL},
        {"snowplow_path", "\"snowplow_path\":\"/s.js\"", PL_EINVAL},
        {"snowplow_path", "\"snowplow_path\":\"/metrics\"", PL_EINVAL},
        {"cookie", "\"cookie\":true", PL_EINVAL},
        {"cookie.lifetime", "\"cookie\":{\"lifetime\":1}", PL_EINVAL},
        {"cookie.enabled", "\"cookie\":{\"enabled\":\"yes\"}", PL_EINVAL},
        {"cookie.name", "\"cookie\":{\"name\":\"\"}", PL_EINVAL},
        {"cookie.name", "\"cookie\":{\"name\":\"a=b\"}", PL_EINVAL},
        {"cookie.name", "\"cookie\":{\"name\":\"a; Path=/x\"}", PL_EINVAL},
        {"cookie.name", "\"cookie\":{\"name\":\"Polder_Optout\"}", PL_EINVAL},
        {"cookie.name",
         "\"hosts\":[\"a.b\"],\"cookie\":{\"name\":\"__Host-id\",\"domain\":\"a.b\"}", PL_EINVAL},
        {"cookie.domain", "\"cookie\":{\"domain\":\"shop.example\"}", PL_EINVAL},
        {"cookie.domain", "\"hosts\":[\"m.shop.example\"],\"cookie\":{\"domain\":\"op.example\"}",
         PL_EINVAL},
        {"cookie.domain", "\"hosts\":[\"shop.example\"],\"cookie\":{\"domain\":\"m.shop.example\"}",
         PL_EINVAL},
        {"cookie.domain", "\"hosts\":[\"shop.example\"],\"cookie\":{\"domain\":\"example\"}",
         PL_EINVAL},
        {"cookie.same_site", "\"cookie\":{\"same_site\":\"none\"}", PL_EINVAL},
        {"pii", "\"pii\":[\"email\"]", PL_EINVAL},
        {"pii.hash", "\"pii\":{\"hash\":true}", PL_EINVAL},
        {"pii.mask", "\"pii\":{\"mask\":\"email\"}", PL_EINVAL},
        {"pii.mask", "\"pii\":{\"mask\":[\"name\"]}", PL_EINVAL},
        {"pii.mask", "\"pii\":{\"mask\":[\"card\",\"card\"]}", PL_EINVAL},
        {"id_key", "\"id_key\":\"00112233445566778899aabbccddeeff\"", PL_EINVAL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct account account;
        char request[1024];
        snprintf(request, sizeof(request), "{\"name\":\"a\",%s}", cases[i].rules);
        enum pl_err err = accounts_create(accounts, parse(&r, request), &account, &r.why);
        if (err != cases[i].err || strcmp(r.why.field, cases[i].field) != 0)
            fail_msg("%s: %s at %s: %s", request, pl_err_word(err), r.why.field, r.why.text);
    }
    char longest[300];
    struct account account;
    snprintf(longest, sizeof(longest), "{\"name\":\"a\",\"aliases\":[\"%0129d\"]}", 7);
    assert_int_equal(accounts_create(accounts, parse(&r, longest), &account, &r.why), PL_EINVAL);
    assert_string_equal(r.why.field, "aliases");
    assert_int_equal(count_rows(&r, FAMILY_ACCOUNTS), 0);
    snprintf(longest, sizeof(longest), "{\"name\":\"a\",\"aliases\":[\"%0128d\"]}", 7);
    (void)create(longest);
}

/* Sixteen of the longest of everything: edges must be able to learn it. */
static void test_full_lists_fit(void **state)
{
    (void)state;
    static char request[16384];
    struct pl_buf page;
    int len = snprintf(request, sizeof(request), "{\"name\":\"a\",\"aliases\":[");
    for (int i = 0; i < 16; i++)
        len += snprintf(request + len, sizeof(request) - (size_t)len, "%s\"%0128d\"",
                        i == 0 ? "" : ",", i);
    len += snprintf(request + len, sizeof(request) - (size_t)len, "],\"hosts\":[");
    for (int i = 0; i < 16; i++)
        len += snprintf(request + len, sizeof(request) - (size_t)len,
                        "%s\"%063d.%063d.%063d.h%060d\"", i == 0 ? "" : ",", i, i, i, i);
    snprintf(request + len, sizeof(request) - (size_t)len, "]}");
    struct account account = create(request);
    struct catalog_item item = told(account.id, &page);
    assert_int_equal(item.alias_count, 16);
    assert_int_equal(item.host_count, 16);
    assert_int_equal(item.hosts[15].len, CATALOG_HOST_BYTES);
    pl_buf_release(&page);
    reopen();
    must(accounts_get(accounts, account.id, &account), &r.why);
}

static enum pl_err create_err(const char *request)
{
    struct account account;
    return accounts_create(accounts, parse(&r, request), &account, &r.why);
}

static bool always(void *ctx, const struct account *account, int64_t now_ms)
{
    (void)ctx;
    (void)account;
    (void)now_ms;
    return true;
}

static void test_names_are_of_one_account(void **state)
{
    (void)state;
    char request[128], key[PL_ID128_TEXT];
    struct account first = create(ALL_RULES), second = create("{\"name\":\"b\"}"), moved;
    assert_int_equal(create_err("{\"name\":\"c\",\"aliases\":[\"x\",\"com.shop\"]}"), PL_EEXISTS);
    assert_string_equal(r.why.field, "aliases");
    assert_non_null(strstr(r.why.text, "\"com.shop\" is account a's already"));
    assert_int_equal(create_err("{\"name\":\"c\",\"hosts\":[\"m.other.example\"]}"), PL_EEXISTS);
    assert_string_equal(r.why.field, "hosts");
    assert_int_equal(update(second.id, "{\"snowplow_path\":\"/com.shop/t\"}", &second), PL_EEXISTS);
    assert_string_equal(r.why.field, "snowplow_path");
    pl_id128_format(&second.write_key, key);
    snprintf(request, sizeof(request), "{\"aliases\":[\"%s\"]}", key);
    assert_int_equal(update(first.id, request, &first), PL_EEXISTS);
    assert_string_equal(r.why.field, "aliases");
    /* Its own are no clash, others' kinds neither. */
    must(update(first.id, "{\"aliases\":[\"com.shop\",\"new\"]}", &first), &r.why);
    must(update(second.id, "{\"aliases\":[\"m.other.example\"]}", &second), &r.why);

    /* An expired account may come back, with its names; one that is deleted does not. */
    must(accounts_expire(accounts, first.id, 0, &first, &r.why), &r.why);
    assert_int_equal(create_err("{\"name\":\"c\",\"aliases\":[\"com.shop\"]}"), PL_EEXISTS);
    must(accounts_move(accounts, first.id, ACCOUNT_EXPIRED, ACCOUNT_DELETABLE, always, NULL,
                       r.now_ms, &moved, &r.why),
         &r.why);
    must(accounts_move(accounts, first.id, ACCOUNT_DELETABLE, ACCOUNT_DELETING, always, NULL,
                       r.now_ms, &moved, &r.why),
         &r.why);
    (void)create("{\"name\":\"c\",\"aliases\":[\"com.shop\"],\"hosts\":[\"m.other.example\"]}");
}

static void test_each_account_has_an_id_key(void **state)
{
    (void)state;
    static const uint8_t zeros[CATALOG_ID_KEY_BYTES];
    struct account a = create("{\"name\":\"a\"}"), b = create("{\"name\":\"b\"}");
    struct pl_buf page, text;
    uint8_t key[CATALOG_ID_KEY_BYTES], data_key[KEYRING_DATA_KEY_BYTES],
        other[CATALOG_ID_KEY_BYTES];
    must(account_id_key(r.keyring, a.id, key), &r.why);
    must(account_id_key(r.keyring, b.id, other), &r.why);
    assert_memory_not_equal(key, zeros, sizeof(key));
    assert_memory_not_equal(key, other, sizeof(key));
    must(keyring_key(r.keyring, a.id, data_key), &r.why);
    assert_memory_not_equal(key, data_key, sizeof(key));
    struct catalog_item item = told(a.id, &page);
    assert_memory_equal(item.id_key, key, sizeof(key));
    pl_buf_release(&page);
    /* Neither does the API show it nor does the record keep it. */
    char hex[2 * sizeof(key) + 1];
    for (size_t i = 0; i < sizeof(key); i++)
        snprintf(hex + 2 * i, 3, "%02x", key[i]);
    shown(&a, &text);
    assert_null(memmem(text.data, text.len, hex, strlen(hex)));
    pl_buf_release(&text);
    /* It stays the same: what was hashed with it must be found again. */
    reopen();
    must(account_id_key(r.keyring, a.id, other), &r.why);
    assert_memory_equal(key, other, sizeof(key));
    /* An account whose key is lost can still be ended. */
    must(keyring_destroy(r.keyring, b.id, "test", NULL, &r.why), &r.why);
    assert_int_equal(account_id_key(r.keyring, b.id, other), PL_EEXPIRED);
    must(accounts_expire(accounts, b.id, 0, &b, &r.why), &r.why);
    item = told(b.id, &page);
    assert_int_equal(item.state, ACCOUNT_EXPIRED);
    assert_memory_equal(item.id_key, zeros, sizeof(zeros));
    pl_buf_release(&page);
}

/* As an earlier version wrote it, and told edges. */
static void test_older_records_have_the_defaults(void **state)
{
    (void)state;
    struct account account = create("{\"name\":\"a\",\"aliases\":[\"x\"]}");
    struct pl_buf page, row;
    uint8_t id[8];
    pl_store_u64(id, account.id);
    records_take(&r, FAMILY_ACCOUNTS, pl_span(id, 8), &row);
    uint8_t *cut = memmem(row.data, row.len, ",\"aliases\"", 10);
    assert_non_null(cut);
    row.len = (size_t)(cut - row.data);
    must(pl_buf_append_str(&row, "}"), &r.why);
    records_put(&r, FAMILY_ACCOUNTS, pl_span(id, 8), &row);
    const uint64_t before = changelog_position(changelog);
    reopen();
    must(accounts_get(accounts, account.id, &account), &r.why);
    assert_string_equal(account.rules.aliases, "");
    assert_string_equal(account.rules.cookie_name, "polder_id");
    assert_int_equal(account.rules.pii, PII_ALL);
    /* Edges are told, once. */
    assert_int_equal(changelog_position(changelog), before + 1);
    struct catalog_item item = told(account.id, &page);
    assert_int_equal(item.alias_count, 0);
    pl_buf_release(&page);
    reopen();
    assert_int_equal(changelog_position(changelog), before + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_rules_reach_edges_and_the_api, setup, teardown),
        cmocka_unit_test_setup_teardown(test_defaults, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_absent_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_rules_are_named, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_lists_fit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_names_are_of_one_account, setup, teardown),
        cmocka_unit_test_setup_teardown(test_each_account_has_an_id_key, setup, teardown),
        cmocka_unit_test_setup_teardown(test_older_records_have_the_defaults, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
