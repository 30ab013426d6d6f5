/* Events as dialects make them, masked: what is left of them, and that the quick look lets only
 * clean ones through. */
#include "proto/wire/catalog.h"
#include "proto/wire/event_mask.h"
#include "proto/wire/event_scan.h"
#include "proto/wire/id_hash.h"
#include "proto/wire/limits.h"

#include "proto/base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define BYTES_MAX (1 << 20)

struct fixture {
    struct json_parser *parser;
    struct json_writer *writer;
    struct pl_buf packs, scratch, wire, text;
    struct event event;
    unsigned masked;
    uint8_t id_key[CATALOG_ID_KEY_BYTES];
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    assert_int_equal(json_parser_new(&f->parser, BYTES_MAX, LIMIT_JSON_DEPTH), PL_OK);
    assert_int_equal(json_writer_new(&f->writer, false), PL_OK);
    pl_buf_init(&f->packs, BYTES_MAX);
    pl_buf_init(&f->scratch, EVENT_MASK_SCRATCH_BYTES);
    pl_buf_init(&f->wire, BYTES_MAX);
    pl_buf_init(&f->text, BYTES_MAX);
    assert_int_equal(pl_buf_reserve(&f->packs, BYTES_MAX), PL_OK);
    assert_int_equal(pl_buf_reserve(&f->scratch, EVENT_MASK_SCRATCH_BYTES), PL_OK);
    memset(f->id_key, 7, sizeof(f->id_key));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    json_parser_free(f->parser);
    json_writer_free(f->writer);
    pl_buf_release(&f->packs);
    pl_buf_release(&f->scratch);
    pl_buf_release(&f->wire);
    pl_buf_release(&f->text);
    free(f);
    return 0;
}

static void start(struct fixture *f)
{
    event_clear(&f->event);
    pl_buf_reset(&f->packs);
    event_set_u64(&f->event, EVENT_ACCOUNT, 1);
    event_set_u64(&f->event, EVENT_TYPE, EVENT_CUSTOM);
    event_set_str(&f->event, EVENT_REGION, PL_SPAN_LIT("eu"));
}

static void set_pack(struct fixture *f, enum event_field field, const char *text)
{
    struct json value;
    const size_t from = f->packs.len;
    assert_int_equal(json_parse(f->parser, pl_span_str(text), &value, NULL), PL_OK);
    assert_int_equal(json_to_msgpack(value, &f->packs), PL_OK);
    event_set_pack(&f->event, field, pl_span(f->packs.data + from, f->packs.len - from));
}

static bool scan(struct fixture *f, unsigned kinds)
{
    pl_buf_reset(&f->wire);
    assert_int_equal(event_encode(&f->event, &f->wire), PL_OK);
    /* Exactly as long as it may be, so that a sanitizer sees what reads behind it. */
    uint8_t *exact = malloc(f->wire.len + EVENT_SCAN_SLACK);
    assert_non_null(exact);
    memcpy(exact, f->wire.data, f->wire.len);
    memset(exact + f->wire.len, '4', EVENT_SCAN_SLACK); /* no more than to be read */
    const bool found = event_scan(pl_span(exact, f->wire.len), kinds);
    free(exact);
    return found;
}

/* The event as JSON after masking, as an edge does it. */
static const char *masked(struct fixture *f, unsigned kinds)
{
    const struct event_mask_policy policy = {kinds, f->id_key};
    const bool found = scan(f, kinds);
    assert_int_equal(event_mask(&f->event, &policy, &f->scratch, &f->masked), PL_OK);
    struct pl_buf before;
    pl_buf_init(&before, BYTES_MAX);
    assert_int_equal(pl_buf_append_span(&before, pl_buf_span(&f->wire)), PL_OK);
    pl_buf_reset(&f->wire);
    assert_int_equal(event_encode(&f->event, &f->wire), PL_OK);
    if (!found && !pl_span_eq(pl_buf_span(&before), pl_buf_span(&f->wire)))
        fail_msg("the quick look let something through");
    pl_buf_release(&before);
    event_unset(&f->event, EVENT_ACCOUNT);
    event_unset(&f->event, EVENT_TYPE);
    event_unset(&f->event, EVENT_REGION);
    pl_buf_reset(&f->text);
    assert_int_equal(event_write_json(&f->event, f->writer, &f->text), PL_OK);
    assert_int_equal(pl_buf_terminate(&f->text), PL_OK);
    return (const char *)f->text.data;
}

static void props_become(struct fixture *f, const char *props, const char *expected)
{
    start(f);
    set_pack(f, EVENT_PROPS, props);
    const char *came = masked(f, PII_ALL);
    if (strcmp(came, expected) != 0)
        fail_msg("\n  of       %s\n  expected %s\n  came     %s", props, expected, came);
}

static void packs_are_masked_wherever_it_stands(void **state)
{
    struct fixture *f = *state;
    props_become(f, "{\"a\":{\"b\":[1,\"to jan@shop.nl\",{\"jan@shop.nl\":true}]}}",
                 "{\"props\":{\"a\":{\"b\":[1,\"to [email]\",{\"[email]\":true}]}},\"masked\":2}");
    props_become(f, "{\"card\":\"4111 1111 1111 1111\",\"n\":4111111111111111,\"x\":1.5}",
                 "{\"props\":{\"card\":\"[card]\",\"n\":\"[card]\",\"x\":1.5},\"masked\":2}");
    props_become(f, "{\"phone\":\"0612345678\",\"mobile\":31612345678,\"tel\":612345678}",
                 "{\"props\":{\"phone\":\"[phone]\",\"mobile\":\"[phone]\",\"tel\":\"[phone]\"},"
                 "\"masked\":3}");
    props_become(f,
                 "{\"url\":\"https://s.nl/?e=a%40b.nl&phone=%2B31612345678&c=4111111111111111\"}",
                 "{\"props\":{\"url\":\"https://s.nl/?e=[email]&phone=[phone]&c=[card]\"},"
                 "\"masked\":3}");
    props_become(f, "{\"href\":\"tel:0612345678\",\"s\":\"a@b.nl_4111111111111111\"}",
                 "{\"props\":{\"href\":\"tel:[phone]\",\"s\":\"[email]_[card]\"},\"masked\":3}");
    /* A longer text than its head's first form takes, and a key whose head shrinks. */
    props_become(f,
                 "{\"t\":\"aaaaaaaaaaaaaaaaaaaaaa a@b.co a@b.co\","
                 "\"a.very.long.address.of.somebody@shop.example\":1}",
                 "{\"props\":{\"t\":\"aaaaaaaaaaaaaaaaaaaaaa [email] [email]\",\"[email]\":1},"
                 "\"masked\":3}");
}

static void machines_addresses_are_left_out_under_any_policy(void **state)
{
    struct fixture *f = *state;
    start(f);
    set_pack(f, EVENT_CONTEXT,
             "{\"ip\":\"192.0.2.7\",\"net\":{\"ip_address\":\"2001:db8::1\",\"ipAddress\":[1,{}],"
             "\"ipso\":\"kept\",\"zip\":\"1012\"},\"last\":1}");
    assert_string_equal(masked(f, 0),
                        "{\"context\":{\"net\":{\"ipso\":\"kept\",\"zip\":\"1012\"},\"last\":1}}");
}

static void every_name_of_a_machines_address_counts(void **state)
{
    struct fixture *f = *state;
    static const char *const names[] = {
        "IP",
        "Ip",
        "clientIp",
        "CLIENT_IP",
        "user-ip",
        "userip",
        "remoteIP",
        "X-Real-IP",
        "xrealip",
        "ipaddr",
        "IPv4",
        "ip_v6",
        "cp.ip",
        "ip[2]",
        "context.ip",
        "ipAddress",
        "IP_ADDRESS",
        "ips",
        "visitorIPv6",
        "True-Client-IP",
        "CF-Connecting-IP",
        "client_ip_address[13]",
    };
    static const char *const others[] = {
        "zip",    "tip",      "membership", "ip2",       "description", "shipping",
        "vip",    "shipIp2x", "i-p2",       "equipment", "ip_rate",     "voip",
        "ip[x]",  "i_p",      "iPhone",     "ipad",      "clip",        "ipsum",
        "recipe", "script",   "tipIp",      "hip_size",
    };
    char text[300], expected[400];
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        start(f);
        snprintf(text, sizeof(text),
                 "{\"a\":[{\"%s\":\"192.0.2.7\",\"n\":1},{\"%s\":3221225991,\"%s\":[]}],\"b\":2}",
                 names[i], names[i], names[i]);
        set_pack(f, EVENT_PROPS, text);
        assert_string_equal(masked(f, 0), "{\"props\":{\"a\":[{\"n\":1},{}],\"b\":2}}");
    }
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        start(f);
        snprintf(text, sizeof(text), "{\"%s\":\"x\",\"ip\":66}", others[i]);
        set_pack(f, EVENT_PROPS, text);
        assert_false(scan(f, 0));
        snprintf(expected, sizeof(expected), "{\"props\":%s}", text);
        assert_string_equal(masked(f, 0), expected);
    }
}

static void a_shops_own_numbers_survive(void **state)
{
    struct fixture *f = *state;
    static const char *const clean[] = {
        "{\"order_id\":\"4000-1234-5678\",\"total\":527.22,\"n\":1792254400035}",
        "{\"sku\":\"BOO-31042-46\",\"ean\":\"4006381333931\",\"gtin\":4006381333931}",
        "{\"id\":\"0782070c-0f1d-4c5a-bd3b-17addc8a72a3\",\"at\":\"2026-11-22T13:03:33.123Z\"}",
        "{\"price\":\"1.234.567,89\",\"amount\":\"+1234567.89\",\"big\":12345678901234567890}",
        "{\"ga\":\"GA1.2.1234567890.1792254400\",\"fbp\":\"fb.1.1792254400035.1234567890\"}",
        "{\"v\":\"npm:@segment/analytics-next@1.80.2\",\"img\":\"/i/logo@2x.png\"}",
        "{\"order\":\"0031612345678\",\"phone\":\"unknown\",\"hotel\":12345678,\"iphone\":15}",
        "{\"library\":{\"name\":\"@segment/analytics-node\"},\"handle\":\"@jan.devries\"}",
        "{\"prices\":[2.5,64.25,0.1,-3,1e300],\"\xce\xb1\xce\xb2@\":\"\xcf\x80\"}",
        "{}",
        "[]",
    };
    for (size_t i = 0; i < sizeof(clean) / sizeof(clean[0]); i++) {
        char expected[300];
        const struct event_mask_policy policy = {PII_ALL, f->id_key};
        start(f);
        set_pack(f, EVENT_PROPS, clean[i]);
        const struct pl_span before = event_str(&f->event, EVENT_PROPS);
        assert_int_equal(event_mask(&f->event, &policy, &f->scratch, &f->masked), PL_OK);
        snprintf(expected, sizeof(expected), "%s was masked", clean[i]);
        if (f->masked != 0 || event_str(&f->event, EVENT_PROPS).data != before.data)
            fail_msg("%s", expected);
    }
}

static void what_is_everywhere_costs_no_proper_look(void **state)
{
    struct fixture *f = *state;
    static const char *const clean[] = {
        "{\"sku\":\"BOO-31042-46\",\"price\":233.33,\"at\":1792254400035}",
        "{\"library\":{\"name\":\"@segment/analytics-node\",\"version\":\"2.1.0\"}}",
        "{\"url\":\"https://s.nl/c/kettle?page=6&sort=rating&q=mint+ottoman+42\"}",
        "{\"id\":\"0782070c-0174-4366-9344-17addc8a72a3\",\"shipping\":5.25}",
    };
    for (size_t i = 0; i < sizeof(clean) / sizeof(clean[0]); i++) {
        start(f);
        event_set_str(&f->event, EVENT_MESSAGE_ID,
                      PL_SPAN_LIT("ajs-next-1792254400035-2e921c1b-0174-4366-9b3f-654e79605ad0"));
        event_set_i64(&f->event, EVENT_CLIENT_MS, INT64_C(1792254400035));
        event_set_str(&f->event, EVENT_USER_AGENT,
                      PL_SPAN_LIT("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 "
                                  "(KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"));
        set_pack(f, EVENT_PROPS, clean[i]);
        if (scan(f, PII_ALL))
            fail_msg("%s", clean[i]);
    }
}

static void an_id_stays_one(void **state)
{
    struct fixture *f = *state;
    uint8_t hash[ID_HASH_BYTES];
    char hex[2 * ID_HASH_BYTES + 1], expected[600];
    assert_int_equal(id_hash(f->id_key, ID_HASH_EMAIL, PL_SPAN_LIT("jan@shop.nl"), hash), PL_OK);
    pl_hex_encode(pl_span(hash, sizeof(hash)), hex);
    start(f);
    event_set_str(&f->event, EVENT_MESSAGE_ID, PL_SPAN_LIT("1-4111111111111111 jan@shop.nl"));
    event_set_str(&f->event, EVENT_VISITOR_ID, PL_SPAN_LIT("a-1"));
    event_set_str(&f->event, EVENT_USER_ID, PL_SPAN_LIT(" Jan@Shop.NL "));
    event_set_str(&f->event, EVENT_PREVIOUS_ID, PL_SPAN_LIT("jan%40shop.nl"));
    event_set_str(&f->event, EVENT_NAME, PL_SPAN_LIT("hello jan@shop.nl"));
    snprintf(expected, sizeof(expected),
             "{\"message_id\":\"1-4111111111111111 email:%s\",\"visitor_id\":\"a-1\","
             "\"user_id\":\"email:%s\",\"name\":\"hello [email]\",\"previous_id\":\"email:%s\","
             "\"email_hash\":\"%s\",\"masked\":4}",
             hex, hex, hex, hex);
    assert_string_equal(masked(f, PII_ALL), expected);
    assert_int_equal(f->masked, 4);

    char id[EVENT_MASK_ID_BYTES];
    const struct event_mask_policy policy = {PII_ALL, f->id_key};
    assert_true(event_mask_id(&policy, PL_SPAN_LIT("JAN@shop.nl"), id));
    assert_true(pl_span_eq(event_str(&f->event, EVENT_USER_ID), pl_span_str(id)));
    assert_false(event_mask_id(&policy, PL_SPAN_LIT("u-17"), id));
    assert_true(event_mask_id(&policy, PL_SPAN_LIT("+31612345678"), id));
    assert_memory_equal(id, "phone:", 6);
}

static void two_people_are_never_made_one(void **state)
{
    struct fixture *f = *state;
    const struct event_mask_policy policy = {PII_ALL, f->id_key};
    static const char *const ids[] = {"a@b.nl",       "c@b.nl",           "+31612345678",
                                      "+31612345679", "4111111111111111", "5555555555554444"};
    char forms[sizeof(ids) / sizeof(ids[0])][EVENT_MASK_ID_BYTES];
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        assert_true(event_mask_id(&policy, pl_span_str(ids[i]), forms[i]));
        assert_null(strstr(forms[i], ids[i]));
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(forms[i], forms[j]);
    }
}

static void traits_say_whose_address_it_is(void **state)
{
    struct fixture *f = *state;
    uint8_t hash[ID_HASH_BYTES];
    char hex[2 * ID_HASH_BYTES + 1], expected[300];
    start(f);
    event_set_str(&f->event, EVENT_USER_ID, PL_SPAN_LIT("u-1"));
    set_pack(f, EVENT_TRAITS, "{\"friend\":{\"email\":\"x@y.nl\"},\"email\":\"Jan@Shop.nl\"}");
    assert_int_equal(id_hash(f->id_key, ID_HASH_EMAIL, PL_SPAN_LIT("jan@shop.nl"), hash), PL_OK);
    pl_hex_encode(pl_span(hash, sizeof(hash)), hex);
    snprintf(expected, sizeof(expected),
             "{\"user_id\":\"u-1\",\"traits\":{\"friend\":{\"email\":\"[email]\"},\"email\":"
             "\"[email]\"},\"email_hash\":\"%s\",\"masked\":2}",
             hex);
    assert_string_equal(masked(f, PII_ALL), expected);
}

static void a_policy_masks_its_kinds_only(void **state)
{
    struct fixture *f = *state;
    static const char props[] =
        "{\"e\":\"a@b.nl\",\"c\":\"4111111111111111\",\"p\":\"+31612345678\"}";
    static const struct {
        unsigned kinds;
        const char *expected;
    } cases[] = {
        {0, "{\"props\":{\"e\":\"a@b.nl\",\"c\":\"4111111111111111\",\"p\":\"+31612345678\"}}"},
        {PII_EMAIL, "{\"props\":{\"e\":\"[email]\",\"c\":\"4111111111111111\",\"p\":"
                    "\"+31612345678\"},\"masked\":1}"},
        {PII_CARD, "{\"props\":{\"e\":\"a@b.nl\",\"c\":\"[card]\",\"p\":\"+31612345678\"},"
                   "\"masked\":1}"},
        {PII_PHONE, "{\"props\":{\"e\":\"a@b.nl\",\"c\":\"4111111111111111\",\"p\":\"[phone]\"},"
                    "\"masked\":1}"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        start(f);
        set_pack(f, EVENT_PROPS, props);
        assert_string_equal(masked(f, cases[i].kinds), cases[i].expected);
    }
}

/* One piece at every place of an event of every length: the quick look works in blocks. */
static void no_place_is_out_of_sight(void **state)
{
    struct fixture *f = *state;
    static const char *const pieces[] = {" a@b.co ", " 4111111111111111 ", " +31612345678 ",
                                         " a%40b.co ", " 4111 1111 1111 1111 "};
    char text[300];
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        for (size_t at = 0; at + strlen(pieces[i]) < 260; at++) {
            for (size_t more = 0; more < 3; more++) {
                memset(text, 'x', sizeof(text));
                memcpy(text + at, pieces[i], strlen(pieces[i]));
                start(f);
                event_set_str(&f->event, EVENT_PAGE_URL,
                              pl_span(text, at + strlen(pieces[i]) + more * 17));
                event_set_str(&f->event, EVENT_AFFILIATION, PL_SPAN_LIT("0"));
                if (!scan(f, PII_ALL))
                    fail_msg("%s at %zu", pieces[i], at);
                masked(f, PII_ALL);
                assert_int_equal(f->masked, 1);
            }
        }
    }
}

static void a_pack_that_is_none_is_refused(void **state)
{
    struct fixture *f = *state;
    static const char *const bad[] = {"",
                                      "\x81",
                                      "\x81\xa1",
                                      "\xa5x",
                                      "\x81\x01\x02",
                                      "\xc0\xc0",
                                      "\xdf\xff\xff\xff\xff",
                                      "\xdb\xff\xff\xff\xff"};
    const struct event_mask_policy policy = {PII_ALL, f->id_key};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        start(f);
        event_set_pack(&f->event, EVENT_PROPS, pl_span_str(bad[i]));
        assert_int_equal(event_mask(&f->event, &policy, &f->scratch, NULL), PL_ECORRUPT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(packs_are_masked_wherever_it_stands, setup, teardown),
        cmocka_unit_test_setup_teardown(every_name_of_a_machines_address_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(machines_addresses_are_left_out_under_any_policy, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_shops_own_numbers_survive, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_everywhere_costs_no_proper_look, setup, teardown),
        cmocka_unit_test_setup_teardown(an_id_stays_one, setup, teardown),
        cmocka_unit_test_setup_teardown(two_people_are_never_made_one, setup, teardown),
        cmocka_unit_test_setup_teardown(traits_say_whose_address_it_is, setup, teardown),
        cmocka_unit_test_setup_teardown(a_policy_masks_its_kinds_only, setup, teardown),
        cmocka_unit_test_setup_teardown(no_place_is_out_of_sight, setup, teardown),
        cmocka_unit_test_setup_teardown(a_pack_that_is_none_is_refused, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
