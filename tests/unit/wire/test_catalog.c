#include "proto/wire/catalog.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct catalog_item sample(void)
{
    struct catalog_item item = {
        .kind = CATALOG_ACCOUNT,
        .account = 0xfedcba9876543210,
        .state = ACCOUNT_EXPIRED,
        .write_key = {.bytes = {1, 2, 3}},
        .expires_at_ms = 1795352613123,
        .config_version = 7,
        .config_json = PL_SPAN_INIT("{\"version\":7}"),
        .region_count = 2,
        .regions = {"eu", "fifteen-bytes-x"},
        .origin_count = 2,
        .origins = {PL_SPAN_INIT("https://shop.example"), PL_SPAN_INIT("https://\xc3\xa9.example")},
        .honour_dnt = true,
        .alias_count = 2,
        .aliases = {PL_SPAN_INIT("com.shop"), PL_SPAN_INIT("\xc3\xa9")},
        .host_count = 1,
        .hosts = {PL_SPAN_INIT("metrics.shop.example")},
        .snowplow_path = PL_SPAN_INIT("/com.shop/t"),
        .cookie = {.enabled = true,
                   .same_site = SAME_SITE_STRICT,
                   .name = PL_SPAN_INIT("sid"),
                   .domain = PL_SPAN_INIT("shop.example")},
        .pii = PII_EMAIL | PII_PHONE,
        .id_key = {7, [15] = 9},
    };
    return item;
}

static void expect_same_rules(const struct catalog_item *a, const struct catalog_item *b)
{
    assert_int_equal(a->alias_count, b->alias_count);
    for (unsigned i = 0; i < a->alias_count; i++)
        assert_true(pl_span_eq(a->aliases[i], b->aliases[i]));
    assert_int_equal(a->host_count, b->host_count);
    for (unsigned i = 0; i < a->host_count; i++)
        assert_true(pl_span_eq(a->hosts[i], b->hosts[i]));
    assert_true(pl_span_eq(a->snowplow_path, b->snowplow_path));
    assert_int_equal(a->cookie.enabled, b->cookie.enabled);
    assert_int_equal(a->cookie.same_site, b->cookie.same_site);
    assert_true(pl_span_eq(a->cookie.name, b->cookie.name));
    assert_true(pl_span_eq(a->cookie.domain, b->cookie.domain));
    assert_int_equal(a->pii, b->pii);
    assert_memory_equal(a->id_key, b->id_key, sizeof(a->id_key));
}

static void expect_same(const struct catalog_item *a, const struct catalog_item *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_true(a->account == b->account);
    assert_int_equal(a->state, b->state);
    assert_true(pl_id128_eq(&a->write_key, &b->write_key));
    assert_true(a->expires_at_ms == b->expires_at_ms);
    assert_true(a->config_version == b->config_version);
    assert_true(pl_span_eq(a->config_json, b->config_json));
    assert_int_equal(a->region_count, b->region_count);
    for (unsigned i = 0; i < a->region_count; i++)
        assert_string_equal(a->regions[i], b->regions[i]);
    assert_int_equal(a->origin_count, b->origin_count);
    for (unsigned i = 0; i < a->origin_count; i++)
        assert_true(pl_span_eq(a->origins[i], b->origins[i]));
    assert_int_equal(a->honour_dnt, b->honour_dnt);
    assert_memory_equal(a->seal_public, b->seal_public, 32);
    if (a->kind == CATALOG_ACCOUNT)
        expect_same_rules(a, b);
    assert_true(pl_id128_eq(&a->consent_id, &b->consent_id));
    assert_memory_equal(a->suppressed_hash, b->suppressed_hash, sizeof(a->suppressed_hash));
    assert_int_equal(a->suppressed, b->suppressed);
}

static void round_trip(const struct catalog_item *item)
{
    struct pl_buf buf, again;
    struct catalog_item back;
    struct pl_why why = {0};
    pl_buf_init(&buf, 1 << 20);
    pl_buf_init(&again, 1 << 20);
    assert_int_equal(catalog_encode(item, &buf), PL_OK);
    if (catalog_decode(pl_buf_span(&buf), &back, &why) != PL_OK)
        fail_msg("%s", why.text);
    expect_same(item, &back);
    assert_int_equal(catalog_encode(&back, &again), PL_OK);
    assert_true(pl_span_eq(pl_buf_span(&buf), pl_buf_span(&again)));
    pl_buf_release(&buf);
    pl_buf_release(&again);
}

static void test_round_trip(void **state)
{
    (void)state;
    struct catalog_item item = sample();
    round_trip(&item);

    item = (struct catalog_item){
        .kind = CATALOG_ACCOUNT, .account = 1, .state = ACCOUNT_ACTIVE, .write_key = {{9}}};
    catalog_rule_defaults(&item);
    round_trip(&item);

    item = sample(); /* as full as it gets */
    char origin[CATALOG_ORIGIN_BYTES];
    memset(origin, 'o', sizeof(origin));
    char *config = malloc(LIMIT_CONFIG_PUBLIC_BYTES);
    memset(config, ' ', LIMIT_CONFIG_PUBLIC_BYTES);
    item.config_json = pl_span(config, LIMIT_CONFIG_PUBLIC_BYTES);
    item.origin_count = LIMIT_ORIGINS;
    for (unsigned i = 0; i < LIMIT_ORIGINS; i++)
        item.origins[i] = pl_span(origin, sizeof(origin));
    item.region_count = CATALOG_REGIONS_MAX;
    for (unsigned i = 0; i < CATALOG_REGIONS_MAX; i++)
        memcpy(item.regions[i], "us", 3);
    char host[CATALOG_HOST_BYTES];
    memset(host, 'h', sizeof(host));
    host[63] = host[127] = host[191] = '.';
    item.alias_count = CATALOG_ALIASES_MAX;
    item.host_count = CATALOG_HOSTS_MAX;
    for (unsigned i = 0; i < CATALOG_ALIASES_MAX; i++)
        item.aliases[i] = pl_span(origin, CATALOG_ALIAS_BYTES);
    for (unsigned i = 0; i < CATALOG_HOSTS_MAX; i++)
        item.hosts[i] = pl_span(host, sizeof(host));
    item.cookie.name = pl_span(origin, CATALOG_COOKIE_BYTES);
    item.cookie.domain = item.hosts[0];
    round_trip(&item);
    free(config);

    item = (struct catalog_item){.kind = CATALOG_TOMBSTONE, .account = UINT64_MAX};
    round_trip(&item);
    item = (struct catalog_item){.kind = CATALOG_SEAL_KEY, .seal_public = {1, [31] = 2}};
    round_trip(&item);
    item = (struct catalog_item){.kind = CATALOG_SUPPRESSION,
                                 .account = 5,
                                 .consent_id = {{1, [15] = 2}},
                                 .suppressed_hash = {3, [15] = 4},
                                 .suppressed = true};
    round_trip(&item);
    item.suppressed = false;
    round_trip(&item);
    item = (struct catalog_item){.kind = CATALOG_CUTOFF};
    round_trip(&item);
}

static void test_hosts(void **state)
{
    static const char *const good[] = {"metrics.shop.example", "a.b", "xn--bcher-kva.example",
                                       "1.2.3.4.example", "a-b.c-d.e0"};
    static const char *const bad[] = {"",
                                      "localhost",
                                      "Shop.example",
                                      "shop..example",
                                      ".shop.example",
                                      "shop.example.",
                                      "-a.example",
                                      "a-.example",
                                      "a_b.example",
                                      "192.0.2.1",
                                      "[::1]",
                                      "shop.example:443",
                                      "*.shop.example",
                                      "b\xc3\xbc.example"};
    char label[66] = {0};
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        if (!catalog_is_host(pl_span_str(good[i])))
            fail_msg("%s is a host", good[i]);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (catalog_is_host(pl_span_str(bad[i])))
            fail_msg("%s is no host", bad[i]);
    memset(label, 'x', 63);
    memcpy(label + 63, ".e", 2);
    assert_true(catalog_is_host(pl_span(label, 65)));
    memset(label, 'x', 64);
    assert_false(catalog_is_host(pl_span(label, 66)));
}

static void test_cookie_names(void **state)
{
    (void)state;
    assert_true(catalog_is_cookie_name(PL_SPAN_LIT("polder_id")));
    assert_true(catalog_is_cookie_name(PL_SPAN_LIT("!#$%&'*+-.^_`|~09azAZ")));
    const char *const bad[] = {"",    "a b",  "a=b", "a;b",      "a\"b",
                               "a,b", "\x7f", "a\r", "\xc3\xa9", "a/b"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (catalog_is_cookie_name(pl_span_str(bad[i])))
            fail_msg("\"%s\" is no cookie name", bad[i]);
    assert_false(catalog_is_cookie_name(pl_span("\0", 1)));
}

/* What an origin sends that knows no rules beyond the first ten fields. */
static void test_defaults(void **state)
{
    static const struct pl_span old =
        PL_SPAN_INIT("\x8a\x01\x01\x02\x05\x03\x01\x04\xc4\x10"
                     "0123456789abcdef\x05\x00\x06\x00\x07\xa0\x08\x90\x09\x90\x0a\xc2");
    static const uint8_t zeros[CATALOG_ID_KEY_BYTES];
    struct catalog_item item;
    struct pl_why why = {0};
    (void)state;
    if (catalog_decode(old, &item, &why) != PL_OK)
        fail_msg("%s", why.text);
    assert_int_equal(item.alias_count + item.host_count, 0);
    assert_int_equal(item.snowplow_path.len, 0);
    assert_true(item.cookie.enabled);
    assert_true(pl_span_eq_str(item.cookie.name, "polder_id"));
    assert_int_equal(item.cookie.domain.len, 0);
    assert_int_equal(item.cookie.same_site, SAME_SITE_NONE);
    assert_int_equal(item.pii, PII_EMAIL | PII_CARD | PII_PHONE);
    assert_memory_equal(item.id_key, zeros, sizeof(zeros));
}

static void expect_not_encoded(const struct catalog_item *item, const char *what)
{
    struct pl_buf buf;
    pl_buf_init(&buf, 1 << 20);
    if (catalog_encode(item, &buf) != PL_EINVAL || buf.len != 0)
        fail_msg("encoded although %s", what);
    pl_buf_release(&buf);
}

static void test_encode_refuses(void **state)
{
    (void)state;
    struct catalog_item item = sample();
    item.kind = (enum catalog_kind)6;
    expect_not_encoded(&item, "the kind is unknown");
    item = sample();
    item.account = 0;
    expect_not_encoded(&item, "the account is 0");
    item = sample();
    item.state = (enum account_state)0;
    expect_not_encoded(&item, "the state is unknown");
    item = sample();
    item.config_version = 0;
    expect_not_encoded(&item, "there is a config without a version");
    item = sample();
    item.config_json = PL_SPAN_LIT("\xff");
    expect_not_encoded(&item, "the config is not UTF-8");
    item = sample();
    item.origin_count = LIMIT_ORIGINS + 1;
    expect_not_encoded(&item, "there are too many origins");
    item = sample();
    item.origins[1] = PL_SPAN_LIT("\xc3");
    expect_not_encoded(&item, "an origin is not UTF-8");
    item = sample();
    item.region_count = CATALOG_REGIONS_MAX + 1;
    expect_not_encoded(&item, "there are too many regions");
    item = sample();
    memset(item.regions[0], 'x', CATALOG_REGION_BYTES);
    expect_not_encoded(&item, "a region does not end");

    item = sample();
    item.alias_count = CATALOG_ALIASES_MAX + 1;
    expect_not_encoded(&item, "there are too many aliases");
    item = sample();
    item.aliases[0] = PL_SPAN_LIT("");
    expect_not_encoded(&item, "an alias is empty");
    item = sample();
    item.host_count = CATALOG_HOSTS_MAX + 1;
    expect_not_encoded(&item, "there are too many hosts");
    item = sample();
    item.hosts[0] = PL_SPAN_LIT("Shop.example");
    expect_not_encoded(&item, "a host has a capital");
    item = sample();
    item.snowplow_path = PL_SPAN_LIT("com.shop");
    expect_not_encoded(&item, "the path does not begin with a slash");
    item = sample();
    item.cookie.name = PL_SPAN_LIT("a; Path=/");
    expect_not_encoded(&item, "the cookie's name is no token");
    item = sample();
    item.cookie.domain = PL_SPAN_LIT("a;b");
    expect_not_encoded(&item, "the cookie's domain is no host");
    item = sample();
    item.cookie.same_site = (enum same_site)0;
    expect_not_encoded(&item, "there is no such SameSite");
    item = sample();
    item.pii = PII_ALL + 1;
    expect_not_encoded(&item, "there is no such kind of PII");
    item = (struct catalog_item){.kind = CATALOG_SUPPRESSION};
    expect_not_encoded(&item, "the suppression is of no account");

    struct pl_buf small;
    pl_buf_init(&small, 30);
    item = sample();
    assert_int_equal(catalog_encode(&item, &small), PL_ELIMIT);
    assert_int_equal(small.len, 0);
    pl_buf_release(&small);
}

/* The shortest account, with the given bytes in place of fields 8 (regions) and 9 (origins). */
static enum pl_err decode_lists(struct pl_span lists, struct pl_why *why)
{
    static const struct pl_span head = PL_SPAN_INIT("\x8a\x01\x01\x02\x05\x03\x01\x04\xc4\x10"
                                                    "0123456789abcdef\x05\x00\x06\x00\x07\xa0");
    struct catalog_item item;
    struct pl_buf buf;
    pl_buf_init(&buf, 1 << 20);
    assert_int_equal(pl_buf_append_span(&buf, head), PL_OK);
    assert_int_equal(pl_buf_append_span(&buf, lists), PL_OK);
    assert_int_equal(pl_buf_append(&buf, "\x0a\xc2", 2), PL_OK);
    enum pl_err err = catalog_decode(pl_buf_span(&buf), &item, why);
    pl_buf_release(&buf);
    return err;
}

static void test_decode_refuses_lists(void **state)
{
    static const struct {
        struct pl_span lists;
        const char *field;
    } cases[] = {
        {PL_SPAN_INIT("\x08\x90\x09\x90"), NULL},
        {PL_SPAN_INIT("\x08\x91\xa2"
                      "eu\x09\x91\xa1x"),
         NULL},
        {PL_SPAN_INIT("\x08\x91\xa0\x09\x90"), "regions"},
        {PL_SPAN_INIT("\x08\x91\xb0sixteen-bytes-xx\x09\x90"), "regions"},
        {PL_SPAN_INIT("\x08\x91\xa2x\0\x09\x90"), "regions"},
        {PL_SPAN_INIT("\x08\x91\xa1\xff\x09\x90"), "regions"},
        {PL_SPAN_INIT("\x08\x91\x01\x09\x90"), "regions"},
        {PL_SPAN_INIT("\x08\x91\x91\xa1x\x09\x90"), "regions"},
        {PL_SPAN_INIT("\x08\x92\x90\xa1x\x09\x90"), "regions"},
        {PL_SPAN_INIT("\x08\x99\xa1x\xa1x\xa1x\xa1x\xa1x\xa1x\xa1x\xa1x\xa1x\x09\x90"), "regions"},
        {PL_SPAN_INIT("\x08\xa1x\x09\x90"), "regions"},
        {PL_SPAN_INIT("\x08\x90\x09\x91\xa0"), "origins"},
        {PL_SPAN_INIT("\x08\x90\x09\x91\xa1\xff"), "origins"},
        {PL_SPAN_INIT("\x08\x90\x09\x80"), "origins"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct pl_why why = {0};
        enum pl_err err = decode_lists(cases[i].lists, &why);
        if (cases[i].field == NULL)
            assert_int_equal(err, PL_OK);
        else if (err != PL_ECORRUPT || strcmp(why.field, cases[i].field) != 0)
            fail_msg("case %zu: %s: %s", i, why.field, why.text);
    }

    struct pl_buf lists; /* one origin too many */
    pl_buf_init(&lists, 1000);
    assert_int_equal(pl_buf_append(&lists, "\x08\x90\x09\xdc\x00\x41", 6), PL_OK);
    for (int i = 0; i < LIMIT_ORIGINS + 1; i++)
        assert_int_equal(pl_buf_append(&lists, "\xa1x", 2), PL_OK);
    struct pl_why why = {0};
    assert_int_equal(decode_lists(pl_buf_span(&lists), &why), PL_ECORRUPT);
    assert_string_equal(why.field, "origins");
    pl_buf_release(&lists);
}

static void test_decode_refuses(void **state)
{
    static const struct {
        struct pl_span bytes;
        enum pl_err err;
        const char *field;
    } cases[] = {
        {PL_SPAN_INIT(""), PL_ECORRUPT, ""},
        {PL_SPAN_INIT("\x80"), PL_ECORRUPT, "kind"},
        {PL_SPAN_INIT("\x90"), PL_ECORRUPT, "kind"},
        {PL_SPAN_INIT("\x81\x01\x02"), PL_ECORRUPT, "account"},
        {PL_SPAN_INIT("\x82\x01\x02\x02\x05"), PL_OK, ""},
        {PL_SPAN_INIT("\x82\x01\x02\x02\x05\xc0"), PL_ECORRUPT, ""}, /* something behind */
        {PL_SPAN_INIT("\x83\x01\x02\x02\x05\x7f\x92\x81\x01\x02\x90"), PL_OK, ""}, /* unknown */
        {PL_SPAN_INIT("\x82\x02\x05\x01\x02"), PL_ECORRUPT, ""},
        {PL_SPAN_INIT("\x82\x01\x02\x01\x02"), PL_ECORRUPT, ""},
        {PL_SPAN_INIT("\x82\x01\x02\xa1x\x05"), PL_ECORRUPT, ""},
        {PL_SPAN_INIT("\x82\x01\x02\x02\x00"), PL_ECORRUPT, "account"},
        {PL_SPAN_INIT("\x82\x01\x02\x02\xa1x"), PL_ECORRUPT, "account"},
        {PL_SPAN_INIT("\x81\x01\x00"), PL_ECORRUPT, "kind"},
        {PL_SPAN_INIT("\x81\x01\xff"), PL_ECORRUPT, "kind"},
        {PL_SPAN_INIT("\x81\x01\x06"), PL_EUNSUPPORTED, "kind"},
        {PL_SPAN_INIT("\x82\x01\x04\x02\x05"), PL_ECORRUPT, "consent_id"},
        {PL_SPAN_INIT("\x81\x01\x01"), PL_ECORRUPT, "account"},
        {PL_SPAN_INIT("\x81\x01\x03"), PL_ECORRUPT, "seal_public"},
        {PL_SPAN_INIT("\x82\x01\x03\x0b\xc4\x01x"), PL_ECORRUPT, "seal_public"},
        {PL_SPAN_INIT("\x82\x01\x03\x03\x06"), PL_ECORRUPT, "state"},
        {PL_SPAN_INIT("\x82\x01\x01\x05\xff"), PL_ECORRUPT, "expires_at_ms"},
        {PL_SPAN_INIT("\x82\x01\x01\x07\xa1\xff"), PL_ECORRUPT, "config_json"},
        {PL_SPAN_INIT("\x82\x01\x01\x0a\x01"), PL_ECORRUPT, "honour_dnt"},
        {PL_SPAN_INIT("\x82\x01\x01\x04\xa1x"), PL_ECORRUPT, "write_key"},
        {PL_SPAN_INIT("\x82\x01\x01\x0c\x91\xa0"), PL_ECORRUPT, "aliases"},
        {PL_SPAN_INIT("\x82\x01\x01\x0c\x91\x01"), PL_ECORRUPT, "aliases"},
        {PL_SPAN_INIT("\x82\x01\x01\x0c\xdc\x00\x11\xa1x\xa1x\xa1x\xa1x\xa1x\xa1x\xa1x\xa1x"
                      "\xa1x\xa1x\xa1x\xa1x\xa1x\xa1x\xa1x\xa1x\xa1x"),
         PL_ECORRUPT, "aliases"},
        {PL_SPAN_INIT("\x82\x01\x01\x0d\x91\xa3"
                      "A.b"),
         PL_ECORRUPT, "hosts"},
        {PL_SPAN_INIT("\x82\x01\x01\x0e\xa1x"), PL_ECORRUPT, "snowplow_path"},
        {PL_SPAN_INIT("\x82\x01\x01\x0f\x01"), PL_ECORRUPT, "cookie_enabled"},
        {PL_SPAN_INIT("\x82\x01\x01\x10\xa0"), PL_ECORRUPT, "cookie_name"},
        {PL_SPAN_INIT("\x82\x01\x01\x10\xa3"
                      "a;b"),
         PL_ECORRUPT, "cookie_name"},
        {PL_SPAN_INIT("\x82\x01\x01\x11\xa1x"), PL_ECORRUPT, "cookie_domain"},
        {PL_SPAN_INIT("\x82\x01\x01\x12\x00"), PL_ECORRUPT, "cookie_same_site"},
        {PL_SPAN_INIT("\x82\x01\x01\x12\x04"), PL_ECORRUPT, "cookie_same_site"},
        {PL_SPAN_INIT("\x82\x01\x01\x13\x08"), PL_ECORRUPT, "pii"},
        {PL_SPAN_INIT("\x82\x01\x01\x14\xc4\x01x"), PL_ECORRUPT, "id_key"},
        {PL_SPAN_INIT("\x82\x01\x04\x15\xc4\x01x"), PL_ECORRUPT, "consent_id"},
        {PL_SPAN_INIT("\x82\x01\x04\x16\xc4\x01x"), PL_ECORRUPT, "suppressed_hash"},
        {PL_SPAN_INIT("\x82\x01\x04\x17\x01"), PL_ECORRUPT, "suppressed"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct catalog_item item = {.account = 77};
        struct pl_why why = {0};
        enum pl_err err = catalog_decode(cases[i].bytes, &item, &why);
        if (err != cases[i].err || strcmp(why.field, cases[i].field) != 0)
            fail_msg("case %zu: %d, %s: %s", i, err, why.field, why.text);
        assert_int_equal(item.account, err == PL_OK ? 5 : 77);
    }
}

/* Every flipped byte and every cut end: refused, or an item that encodes again. */
static void test_mutations(void **state)
{
    (void)state;
    struct catalog_item item = sample(), back;
    struct pl_buf buf, again;
    pl_buf_init(&buf, 1 << 20);
    pl_buf_init(&again, 1 << 20);
    assert_int_equal(catalog_encode(&item, &buf), PL_OK);
    uint8_t *copy = malloc(buf.len);
    for (size_t cut = 0; cut < buf.len; cut++) {
        memcpy(copy, buf.data, cut);
        uint8_t *exact = realloc(copy, cut > 0 ? cut : 1); /* so that ASan sees a byte too far */
        assert_int_equal(catalog_decode(pl_span(exact, cut), &back, NULL), PL_ECORRUPT);
        copy = realloc(exact, buf.len);
    }
    for (size_t at = 0; at < buf.len; at++) {
        for (unsigned bits = 1; bits < 256; bits++) {
            memcpy(copy, buf.data, buf.len);
            copy[at] = (uint8_t)(copy[at] ^ bits);
            if (catalog_decode(pl_span(copy, buf.len), &back, NULL) != PL_OK)
                continue;
            pl_buf_reset(&again);
            assert_int_equal(catalog_encode(&back, &again), PL_OK);
        }
    }
    free(copy);
    pl_buf_release(&buf);
    pl_buf_release(&again);
}

static void test_state_names(void **state)
{
    (void)state;
    assert_string_equal(account_state_name(ACCOUNT_DELETABLE), "deletable");
    assert_null(account_state_name((enum account_state)6));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),     cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_cookie_names),   cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_encode_refuses), cmocka_unit_test(test_decode_refuses_lists),
        cmocka_unit_test(test_decode_refuses), cmocka_unit_test(test_mutations),
        cmocka_unit_test(test_state_names),
    };
    return cmocka_run_group_tests_name("catalog", tests, NULL, NULL);
}
