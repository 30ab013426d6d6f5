#include "proto/wire/event.h"

#include "proto/wire/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct fixture {
    struct event_reader *reader;
    struct json_writer *writer;
    struct pl_buf bytes;
    struct pl_buf json;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_int_equal(event_reader_new(&f->reader), PL_OK);
    assert_int_equal(json_writer_new(&f->writer, false), PL_OK);
    pl_buf_init(&f->bytes, 1 << 20);
    pl_buf_init(&f->json, 1 << 20);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    event_reader_free(f->reader);
    json_writer_free(f->writer);
    pl_buf_release(&f->bytes);
    pl_buf_release(&f->json);
    free(f);
    return 0;
}

/* {"a":[1,true]} */
static const struct pl_span props = PL_SPAN_INIT("\x81\xa1"
                                                 "a\x92\x01\xc3");

static void sample(struct event *event)
{
    event_clear(event);
    event_set_u64(event, EVENT_ACCOUNT, 0x0123456789abcdef);
    event_set_u64(event, EVENT_TYPE, EVENT_CART_ADD);
    event_set_u64(event, EVENT_DIALECT, EVENT_DIALECT_SEGMENT);
    event_set_i64(event, EVENT_ACCEPTED_MS, 1795352613123);
    event_set_str(event, EVENT_REGION, PL_SPAN_LIT("eu"));
    event_set_str(event, EVENT_MESSAGE_ID, PL_SPAN_LIT("m-1"));
    event_set_i64(event, EVENT_CLIENT_MS, 0);
    event_set_str(event, EVENT_PAGE_URL, PL_SPAN_LIT("https://shop.example/\xc3\xa9"));
    event_set_str(event, EVENT_PAGE_TITLE, PL_SPAN_LIT(""));
    event_set_u64(event, EVENT_SCREEN_WIDTH, 1280);
    event_set_f64(event, EVENT_TOTAL, 12.5);
    event_set_pack(event, EVENT_PROPS, props);
}

static enum pl_err read_one(struct fixture *f, struct pl_span bytes, struct event *event,
                            struct pl_why *why)
{
    struct pl_span rest = bytes;
    return event_read(f->reader, &rest, event, NULL, why);
}

static void test_table(void **state)
{
    (void)state;
    size_t fields = 0;
    for (unsigned i = 0; i < EVENT_FIELD_LIMIT; i++) {
        if (event_fields[i].kind == EVENT_KIND_NONE)
            continue;
        fields++;
        assert_non_null(event_fields[i].name);
        for (unsigned j = 0; j < i; j++)
            if (event_fields[j].name != NULL)
                assert_string_not_equal(event_fields[i].name, event_fields[j].name);
    }
    assert_int_equal(fields, 77);
    for (unsigned i = 1; i < EVENT_TYPE_COUNT; i++) {
        enum event_type type;
        assert_true(event_type_parse(pl_span_str(event_type_name((enum event_type)i)), &type));
        assert_int_equal(type, i);
    }
    enum event_type type;
    assert_false(event_type_parse(PL_SPAN_LIT("page"), &type));
    assert_null(event_type_name((enum event_type)0));
    assert_null(event_type_name(EVENT_TYPE_COUNT));
    assert_string_equal(event_dialect_name(EVENT_DIALECT_PIXEL), "pixel");
    assert_null(event_dialect_name((enum event_dialect)99));
}

static void test_bytes(void **state)
{
    static const uint8_t expected[] = {0x83, 0x02, 0x05, 0x09, 0xa1, 'v', 0x40, 0xc4, 0x01, 0x80};
    struct fixture *f = *state;
    struct event event;
    event_clear(&event);
    /* Set in any order, written by id. */
    event_set_pack(&event, EVENT_PROPS, PL_SPAN_LIT("\x80"));
    event_set_str(&event, EVENT_VISITOR_ID, PL_SPAN_LIT("v"));
    event_set_u64(&event, EVENT_TYPE, EVENT_CART_ADD);
    assert_int_equal(event_encode(&event, &f->bytes), PL_OK);
    assert_int_equal(f->bytes.len, sizeof(expected));
    assert_memory_equal(f->bytes.data, expected, sizeof(expected));
}

static void test_round_trip(void **state)
{
    struct fixture *f = *state;
    struct event event, back;
    struct pl_span encoded;
    sample(&event);
    assert_int_equal(event_encode(&event, &f->bytes), PL_OK);
    size_t first = f->bytes.len;
    event_unset(&event, EVENT_PROPS);
    event_set_i64(&event, EVENT_SENT_MS, INT64_MIN);
    event_set_u64(&event, EVENT_SEARCH_RESULTS, UINT64_MAX);
    assert_int_equal(event_encode(&event, &f->bytes), PL_OK);

    struct pl_span rest = pl_buf_span(&f->bytes);
    assert_int_equal(event_read(f->reader, &rest, &back, &encoded, NULL), PL_OK);
    assert_true(encoded.data == f->bytes.data && encoded.len == first);
    assert_true(event_u64(&back, EVENT_ACCOUNT) == 0x0123456789abcdef);
    assert_true(event_i64(&back, EVENT_ACCEPTED_MS) == 1795352613123);
    assert_true(pl_span_eq_str(event_str(&back, EVENT_PAGE_URL), "https://shop.example/\xc3\xa9"));
    assert_true(event_has(&back, EVENT_PAGE_TITLE));
    assert_int_equal(event_str(&back, EVENT_PAGE_TITLE).len, 0);
    assert_true(back.value[EVENT_TOTAL].f64 == 12.5);
    assert_true(pl_span_eq(event_str(&back, EVENT_PROPS), props));
    assert_false(event_has(&back, EVENT_USER_ID));
    assert_int_equal(event_str(&back, EVENT_USER_ID).len, 0);
    assert_int_equal(event_u64(&back, EVENT_SCREEN_HEIGHT), 0);

    assert_int_equal(event_read(f->reader, &rest, &back, &encoded, NULL), PL_OK);
    assert_true(event_i64(&back, EVENT_SENT_MS) == INT64_MIN);
    assert_true(event_u64(&back, EVENT_SEARCH_RESULTS) == UINT64_MAX);
    assert_false(event_has(&back, EVENT_PROPS));
    assert_int_equal(event_read(f->reader, &rest, &back, &encoded, NULL), PL_ENOTFOUND);
}

static void test_encode_refuses(void **state)
{
    struct fixture *f = *state;
    struct event event;
    struct pl_buf small;
    sample(&event);
    pl_buf_init(&small, 20);
    assert_int_equal(event_encode(&event, &small), PL_ELIMIT);
    assert_int_equal(small.len, 0);
    pl_buf_release(&small);

    event_set_str(&event, EVENT_NAME, PL_SPAN_LIT("\xff"));
    assert_int_equal(event_encode(&event, &f->bytes), PL_EINVAL);
    assert_int_equal(f->bytes.len, 0);
    event_unset(&event, EVENT_NAME);

    char *long_text = calloc(1, LIMIT_EVENT_WIRE_BYTES);
    event_set_str(&event, EVENT_NAME, pl_span(long_text, LIMIT_EVENT_WIRE_BYTES));
    assert_int_equal(event_encode(&event, &f->bytes), PL_ELIMIT);
    assert_int_equal(f->bytes.len, 0);

    /* What encode lets pass, read takes: the largest event. */
    event_clear(&event);
    event_set_str(&event, EVENT_NAME, pl_span(long_text, LIMIT_EVENT_WIRE_BYTES - 5));
    assert_int_equal(event_encode(&event, &f->bytes), PL_OK);
    assert_int_equal(f->bytes.len, LIMIT_EVENT_WIRE_BYTES);
    assert_int_equal(pl_buf_put_u8(&f->bytes, 0x80), PL_OK); /* and another behind it */
    struct pl_span rest = pl_buf_span(&f->bytes);
    assert_int_equal(event_read(f->reader, &rest, &event, NULL, NULL), PL_OK);
    assert_int_equal(rest.len, 1);
    free(long_text);
}

static void test_unknown_fields_are_skipped(void **state)
{
    struct fixture *f = *state;
    struct event event;
    /* {2: 1, 6: {1: [2]}, 7: ext-free nesting, 9: "v", 200: nil} */
    struct pl_span bytes = PL_SPAN_LIT("\x85\x02\x01\x06\x81\x01\x91\x02\x07\x92\x80\x90\x09\xa1v"
                                       "\xcc\xc8\xc0");
    assert_int_equal(read_one(f, bytes, &event, NULL), PL_OK);
    assert_int_equal(event_u64(&event, EVENT_TYPE), 1);
    assert_true(pl_span_eq_str(event_str(&event, EVENT_VISITOR_ID), "v"));
    assert_int_equal(__builtin_popcountll(event.present[0]), 2);
}

static void test_read_refuses(void **state)
{
    static const struct {
        struct pl_span bytes;
        const char *field, *words;
    } cases[] = {
        {PL_SPAN_INIT("\x90"), "", "not a map"},
        {PL_SPAN_INIT("\x01"), "", "not a map"},
        {PL_SPAN_INIT("\xc1"), "", "not msgpack"},
        {PL_SPAN_INIT("\x81"), "", "too early"},
        {PL_SPAN_INIT("\x81\x09\xa5xx"), "", "too early"},
        {PL_SPAN_INIT("\xdf\xff\xff\xff\xff"), "", "too early"},
        {PL_SPAN_INIT("\x81\xa1x\x01"), "", "not a number"},
        {PL_SPAN_INIT("\x82\x02\x01\x02\x01"), "", "out of order"},
        {PL_SPAN_INIT("\x82\x02\x01\x01\x01"), "", "out of order"},
        {PL_SPAN_INIT("\x81\x09\x01"), "visitor_id", "not text"},
        {PL_SPAN_INIT("\x81\x09\xa1\xff"), "visitor_id", "not UTF-8"},
        {PL_SPAN_INIT("\x81\x02\xff"), "type", "unsigned"},
        {PL_SPAN_INIT("\x81\x04\xcf\xff\xff\xff\xff\xff\xff\xff\xff"), "accepted_ms", "64 bits"},
        {PL_SPAN_INIT("\x81\x2a\x01"), "total", "double"},
        {PL_SPAN_INIT("\x81\x40\x80"), "props", "packed"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct event event;
        struct pl_why why = {0};
        assert_int_equal(read_one(f, cases[i].bytes, &event, &why), PL_ECORRUPT);
        if (strstr(why.text, cases[i].words) == NULL || strcmp(why.field, cases[i].field) != 0)
            fail_msg("case %zu: %s: %s", i, why.field, why.text);
        assert_true(event.present[0] == 0 && event.present[1] == 0);
    }

    struct event event;
    struct pl_why why = {0};
    size_t len = LIMIT_EVENT_WIRE_BYTES + 10;
    uint8_t *large = calloc(1, len);
    memcpy(large, "\x81\x0f\xdb\x00\x00\xc0\x00", 7);
    assert_int_equal(read_one(f, pl_span(large, len), &event, &why), PL_ECORRUPT);
    assert_non_null(strstr(why.text, "more than"));
    free(large);
}

/* No flipped bit or cut end may crash, or leave an event that cannot be written and read again. */
static void test_mutations(void **state)
{
    struct fixture *f = *state;
    struct event event;
    sample(&event);
    assert_int_equal(event_encode(&event, &f->bytes), PL_OK);
    size_t len = f->bytes.len;
    uint8_t *copy = malloc(len);
    for (size_t cut = 0; cut < len; cut++) {
        memcpy(copy, f->bytes.data, cut);
        enum pl_err err = read_one(f, pl_span(copy, cut), &event, NULL);
        assert_int_equal(err, cut == 0 ? PL_ENOTFOUND : PL_ECORRUPT);
    }
    for (size_t at = 0; at < len; at++) {
        for (unsigned bits = 1; bits < 256; bits++) {
            memcpy(copy, f->bytes.data, len);
            copy[at] = (uint8_t)(copy[at] ^ bits);
            if (read_one(f, pl_span(copy, len), &event, NULL) != PL_OK)
                continue;
            pl_buf_reset(&f->json);
            enum pl_err err = event_write_json(&event, f->writer, &f->json);
            assert_true(err == PL_OK || err == PL_ECORRUPT);
            assert_true(err == PL_OK || f->json.len == 0);
        }
    }
    free(copy);
}

static void expect_json(struct fixture *f, const struct event *event, const char *text)
{
    pl_buf_reset(&f->json);
    assert_int_equal(event_write_json(event, f->writer, &f->json), PL_OK);
    assert_int_equal(pl_buf_terminate(&f->json), PL_OK);
    assert_string_equal((char *)f->json.data, text);
}

static void test_json(void **state)
{
    struct fixture *f = *state;
    struct event event;
    sample(&event);
    expect_json(
        f, &event,
        "{\"account\":\"0123456789abcdef\",\"type\":\"cart_add\",\"dialect\":\"segment\","
        "\"accepted\":\"2026-11-22T13:03:33.123Z\",\"region\":\"eu\",\"message_id\":\"m-1\","
        "\"client_time\":\"1970-01-01T00:00:00.000Z\","
        "\"page\":{\"url\":\"https://shop.example/\xc3\xa9\",\"title\":\"\"},"
        "\"device\":{\"screen_width\":1280},\"total\":12.5,\"props\":{\"a\":[1,true]}}");
    event_clear(&event);
    expect_json(f, &event, "{}");
    /* What a newer edge may send, an older origin still exports. */
    event_set_u64(&event, EVENT_TYPE, 4000000000);
    event_set_u64(&event, EVENT_DIALECT, 0);
    expect_json(f, &event, "{\"type\":\"4000000000\",\"dialect\":\"0\"}");
}

static void test_json_refuses_garbage(void **state)
{
    static const struct pl_span garbage[] = {
        PL_SPAN_INIT(""),         PL_SPAN_INIT("\x81\x01\x02"), PL_SPAN_INIT("\x80\x80"),
        PL_SPAN_INIT("\x91\xc1"), PL_SPAN_INIT("\xa1\xff"),
    };
    struct fixture *f = *state;
    struct event event;
    assert_int_equal(pl_buf_append_str(&f->json, "before"), PL_OK);
    for (size_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++) {
        sample(&event);
        event_set_pack(&event, EVENT_PROPS, garbage[i]);
        assert_int_equal(event_write_json(&event, f->writer, &f->json), PL_ECORRUPT);
        assert_true(pl_span_eq_str(pl_buf_span(&f->json), "before"));
    }
    struct pl_buf small;
    pl_buf_init(&small, 64);
    sample(&event);
    assert_int_equal(event_write_json(&event, f->writer, &small), PL_ELIMIT);
    assert_int_equal(small.len, 0);
    pl_buf_release(&small);
}

static void test_packer(void **state)
{
    struct fixture *f = *state;
    struct json_parser *parser;
    struct json value;
    struct pl_buf pack;
    struct event event;
    assert_int_equal(json_parser_new(&parser, 100, 8), PL_OK);
    assert_int_equal(json_parse(parser, PL_SPAN_LIT("{\"x\":[null]}"), &value, NULL), PL_OK);
    pl_buf_init(&pack, 200);
    struct event_packer p = {.out = &pack};
    event_pack_array(&p, 2);
    event_pack_map(&p, 3);
    event_pack_str(&p, PL_SPAN_LIT("sku"));
    event_pack_str(&p, PL_SPAN_LIT("A-1"));
    event_pack_str(&p, PL_SPAN_LIT("price"));
    event_pack_f64(&p, 9.95);
    event_pack_str(&p, PL_SPAN_LIT("quantity"));
    event_pack_i64(&p, -2);
    event_pack_array(&p, 2);
    event_pack_str(&p, PL_SPAN_LIT(""));
    event_pack_json(&p, value);
    assert_int_equal(p.err, PL_OK);
    event_clear(&event);
    event_set_pack(&event, EVENT_ITEMS, pl_buf_span(&pack));
    expect_json(f, &event,
                "{\"items\":[{\"sku\":\"A-1\",\"price\":9.95,\"quantity\":-2},"
                "[\"\",{\"x\":[null]}]]}");

    event_pack_str(&p, PL_SPAN_LIT("\x80"));
    event_pack_i64(&p, 1);
    assert_int_equal(p.err, PL_EINVAL);
    pl_buf_release(&pack);

    pl_buf_init(&pack, 4);
    p = (struct event_packer){.out = &pack};
    event_pack_f64(&p, 1);
    event_pack_i64(&p, 1);
    assert_int_equal(p.err, PL_ELIMIT);
    pl_buf_release(&pack);
    json_parser_free(parser);
}

static void what_cannot_be_read_can_be_skipped(void **state)
{
    (void)state;
    struct event_reader *reader;
    struct event *event = calloc(1, sizeof(*event));
    assert_int_equal(event_reader_new(&reader), PL_OK);
    static const struct {
        struct pl_span bytes;
        size_t len; /* of the value; 0: none */
    } cases[] = {
        {PL_SPAN_INIT("\x82\x01\x01\x0f\xa1\xff rest"), 6},
        {PL_SPAN_INIT("\x93\x01\x02\x81\x03\x04 rest"), 6},
        {PL_SPAN_INIT("\xc0 rest"), 1},
        {PL_SPAN_INIT("\xc1 never used"), 0},
        {PL_SPAN_INIT("\x82\x01"), 0},
        {PL_SPAN_INIT("\xdf\xff\xff\xff\xff\x01"), 0},
        {PL_SPAN_INIT(""), 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct pl_span rest = cases[i].bytes;
        assert_int_not_equal(event_read(reader, &rest, event, NULL, NULL), PL_OK);
        assert_int_equal(rest.len, cases[i].bytes.len);
        assert_int_equal(event_skip(reader, &rest), cases[i].len > 0 ? PL_OK : PL_ECORRUPT);
        assert_int_equal(rest.len, cases[i].bytes.len - cases[i].len);
    }
    event_reader_free(reader);
    free(event);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test_setup_teardown(test_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_encode_refuses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unknown_fields_are_skipped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_read_refuses, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mutations, setup, teardown),
        cmocka_unit_test_setup_teardown(test_json, setup, teardown),
        cmocka_unit_test_setup_teardown(test_json_refuses_garbage, setup, teardown),
        cmocka_unit_test_setup_teardown(test_packer, setup, teardown),
        cmocka_unit_test(what_cannot_be_read_can_be_skipped),
    };
    return cmocka_run_group_tests_name("event", tests, NULL, NULL);
}
