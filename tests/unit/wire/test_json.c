#include "proto/wire/json.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define BYTES_MAX 4096
#define DEPTH_MAX 24

struct fixture {
    struct json_parser *parser;
    struct json_writer *writer;
    struct pl_buf out;
    struct pl_buf pack;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_int_equal(json_parser_new(&f->parser, BYTES_MAX, DEPTH_MAX), PL_OK);
    assert_int_equal(json_writer_new(&f->writer, false), PL_OK);
    pl_buf_init(&f->out, 1 << 20);
    pl_buf_init(&f->pack, 1 << 20);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    json_parser_free(f->parser);
    json_writer_free(f->writer);
    pl_buf_release(&f->out);
    pl_buf_release(&f->pack);
    free(f);
    return 0;
}

static struct json parse(struct fixture *f, const char *text)
{
    struct json root;
    struct pl_why why = {0};
    if (json_parse(f->parser, pl_span_str(text), &root, &why) != PL_OK)
        fail_msg("%s: %s", text, why.text);
    return root;
}

static struct json get(struct json object, const char *name)
{
    struct json value;
    if (!json_get(object, name, &value))
        fail_msg("no member %s", name);
    return value;
}

static void expect_out(struct fixture *f, const char *text)
{
    assert_int_equal(pl_buf_terminate(&f->out), PL_OK);
    assert_string_equal((char *)f->out.data, text);
    pl_buf_reset(&f->out);
}

static void test_values(void **state)
{
    struct fixture *f = *state;
    struct json root = parse(f, "{\"s\":\"a\\u0000\\u00e9\\n\",\"i\":-5,\"u\":18446744073709551615,"
                                "\"d\":1.5,\"t\":true,\"n\":null,\"a\":[1,[2,3],{}],\"e\":\"\"}");
    struct pl_span text = {0};
    int64_t i64;
    uint64_t u64;
    double f64;
    bool truth;

    assert_int_equal(json_type(root), JSON_OBJECT);
    assert_int_equal(json_count(root), 8);
    assert_true(json_string(get(root, "s"), &text));
    assert_true(pl_span_eq(text, PL_SPAN_LIT("a\0\xc3\xa9\n")));
    assert_true(json_string(get(root, "e"), &text));
    assert_int_equal(text.len, 0);

    assert_true(json_i64(get(root, "i"), &i64));
    assert_int_equal(i64, -5);
    assert_false(json_u64(get(root, "i"), &u64));
    assert_true(json_f64(get(root, "i"), &f64));
    assert_true(f64 == -5.0);

    assert_int_equal(json_type(get(root, "u")), JSON_U64);
    assert_true(json_u64(get(root, "u"), &u64));
    assert_true(u64 == UINT64_MAX);
    assert_false(json_i64(get(root, "u"), &i64));

    assert_true(json_f64(get(root, "d"), &f64));
    assert_true(f64 == 1.5);
    assert_false(json_i64(get(root, "d"), &i64));
    assert_true(json_bool(get(root, "t"), &truth) && truth);
    assert_int_equal(json_type(get(root, "n")), JSON_NULL);
    assert_false(json_bool(get(root, "n"), &truth));
    assert_false(json_string(get(root, "n"), &text));

    struct json nothing;
    assert_false(json_get(root, "absent", &nothing));
    assert_false(json_get(get(root, "a"), "s", &nothing));
}

static void test_iterators(void **state)
{
    struct fixture *f = *state;
    struct json root = parse(f, "{\"a\":[10,2.5,[\"x\",{\"y\":1}],{}],\"b\":{\"c\":{}},\"d\":7}");
    struct json_iter members = json_members(root);
    struct pl_span name;
    struct json value;
    char names[8] = "";
    while (json_next_member(&members, &name, &value))
        strncat(names, (const char *)name.data, 1);
    assert_string_equal(names, "abd");

    struct json_iter elements = json_elements(get(root, "a"));
    static const enum json_type types[] = {JSON_I64, JSON_F64, JSON_ARRAY, JSON_OBJECT};
    for (size_t i = 0; i < 4; i++) {
        assert_true(json_next_element(&elements, &value));
        assert_int_equal(json_type(value), types[i]);
    }
    assert_false(json_next_element(&elements, &value));

    struct json_iter none = json_elements(root);
    assert_false(json_next_element(&none, &value));
    none = json_members(get(root, "d"));
    assert_false(json_next_member(&none, &name, &value));
}

static void nest(char *out, size_t levels)
{
    memset(out, '[', levels);
    memset(out + levels, ']', levels);
    out[2 * levels] = '\0';
}

static void test_limits(void **state)
{
    struct fixture *f = *state;
    struct json root;
    struct pl_why why = {0};
    char text[BYTES_MAX + 2];

    nest(text, DEPTH_MAX);
    assert_int_equal(json_parse(f->parser, pl_span_str(text), &root, &why), PL_OK);
    nest(text, DEPTH_MAX + 1);
    assert_int_equal(json_parse(f->parser, pl_span_str(text), &root, &why), PL_ELIMIT);
    assert_non_null(strstr(why.text, "24 levels"));

    memset(text, ' ', sizeof(text));
    text[0] = '1';
    assert_int_equal(json_parse(f->parser, pl_span(text, BYTES_MAX), &root, &why), PL_OK);
    assert_int_equal(json_parse(f->parser, pl_span(text, BYTES_MAX + 1), &root, &why), PL_ELIMIT);
    assert_non_null(strstr(why.text, "4096"));

    struct json_parser *parser;
    assert_int_equal(json_parser_new(&parser, 0, 1), PL_EINVAL);
    assert_int_equal(json_parser_new(&parser, SIZE_MAX, 1), PL_EINVAL);
    assert_int_equal(json_parser_new(&parser, 1, 0), PL_EINVAL);
}

static void test_errors_say_where(void **state)
{
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"", "empty"},
        {"  ", "empty"},
        {"[1,,2]", "line 1, column 4 (byte 3)"},
        {"{\"a\":1\n \"b\":2}", "line 2, column 2 (byte 8)"},
        {"{\"\xc3\xa9\":tru}", "line 1, column 6 (byte 6)"},
        {"[1,2", "premature EOF"},
        {"{\"a\":\"x", "line 1, column 8"},
        {"[1] x", "trailing garbage"},
        {"{\"a\":\"\\q\"}", "column 6"},
        {"[\"\\ud800\"]", "escape"},
        {"[123456789012345678901234567890]", "2^64-1"},
        {"[1e999]", "range of a double"},
        {"[\"\xff\"]", "UTF"},
        {"[\"\xed\xa0\x80\"]", "UTF-8"}, /* a surrogate: yajl lets it pass, simdjson does not */
        {"nul", "line 1"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct json root;
        struct pl_why why = {0};
        assert_int_equal(json_parse(f->parser, pl_span_str(cases[i].text), &root, &why), PL_EINVAL);
        if (strstr(why.text, cases[i].words) == NULL)
            fail_msg("%s: %s", cases[i].text, why.text);
    }
    parse(f, "[]"); /* and the parser still works */
}

static void test_parser_grows(void **state)
{
    (void)state;
    struct json_parser *parser;
    size_t len = 300000;
    char *text = malloc(len);
    struct json root, value;
    assert_int_equal(json_parser_new(&parser, len, DEPTH_MAX), PL_OK);
    for (size_t size = 3; size <= len; size = size * 7 < len || size == len ? size * 7 : len) {
        memset(text, 'x', size);
        text[0] = text[size - 1] = '"';
        assert_int_equal(json_parse(parser, pl_span(text, size), &root, NULL), PL_OK);
        struct pl_span string;
        assert_true(json_string(root, &string));
        assert_int_equal(string.len, size - 2);
    }
    for (size_t i = 0; i + 1 < len; i += 2)
        memcpy(text + i, i == 0 ? "[1" : ",1", 2);
    text[len - 1] = ']';
    text[len - 2] = ' ';
    assert_int_equal(json_parse(parser, pl_span(text, len), &root, NULL), PL_OK);
    assert_int_equal(json_count(root), len / 2 - 1);
    size_t count = 0;
    for (struct json_iter i = json_elements(root); json_next_element(&i, &value);)
        count++;
    assert_int_equal(count, json_count(root));
    free(text);
    json_parser_free(parser);
}

static void test_write(void **state)
{
    struct fixture *f = *state;
    struct json_writer *w = f->writer;
    json_writer_begin(w, &f->out);
    json_write_object(w);
    json_write_pair_text(w, "text", "a\"\\\n\x01\xc3\xa9/");
    json_write_pair_i64(w, "i", INT64_MIN);
    json_write_pair_u64(w, "u", UINT64_MAX);
    json_write_pair_bool(w, "b", true);
    json_write_key(w, "list");
    json_write_array(w);
    json_write_null(w);
    json_write_raw(w, PL_SPAN_LIT("{\"raw\":1}"));
    json_write_string(w, pl_span(NULL, 0));
    json_write_array_end(w);
    json_write_object_end(w);
    assert_int_equal(json_writer_end(w), PL_OK);
    expect_out(f, "{\"text\":\"a\\\"\\\\\\n\\u0001\xc3\xa9/\",\"i\":-9223372036854775808,"
                  "\"u\":18446744073709551615,\"b\":true,\"list\":[null,{\"raw\":1},\"\"]}");
}

static void write_f64(struct fixture *f, double v, const char *text)
{
    json_writer_begin(f->writer, &f->out);
    json_write_f64(f->writer, v);
    assert_int_equal(json_writer_end(f->writer), PL_OK);
    expect_out(f, text);
}

static void test_doubles_are_short_and_exact(void **state)
{
    struct fixture *f = *state;
    write_f64(f, 0.1, "0.1");
    write_f64(f, 129, "129");
    write_f64(f, -0.0, "-0");
    write_f64(f, 0.1 + 0.2, "0.30000000000000004");
    write_f64(f, 1.7976931348623157e308, "1.7976931348623157e+308");
    write_f64(f, 5e-324, "4.94065645841247e-324");
    write_f64(f, (double)NAN, "null");
    write_f64(f, (double)-INFINITY, "null");
}

static void test_writer_errors_stick(void **state)
{
    struct fixture *f = *state;
    struct json_writer *w = f->writer;

    json_writer_begin(w, &f->out); /* bytes that are not UTF-8 */
    json_write_array(w);
    json_write_string(w, PL_SPAN_LIT("\xed\xa0\x80"));
    json_write_array_end(w);
    assert_int_equal(json_writer_end(w), PL_EINVAL);

    json_writer_begin(w, &f->out); /* not complete */
    json_write_array(w);
    assert_int_equal(json_writer_end(w), PL_EINVAL);

    json_writer_begin(w, &f->out); /* nothing at all */
    assert_int_equal(json_writer_end(w), PL_EINVAL);

    json_writer_begin(w, &f->out); /* two values */
    json_write_bool(w, true);
    json_write_bool(w, true);
    assert_int_equal(json_writer_end(w), PL_EINVAL);

    json_writer_begin(w, &f->out); /* one end too many */
    json_write_object_end(w);
    assert_int_equal(json_writer_end(w), PL_EINVAL);

    json_writer_begin(w, &f->out); /* a key that is no string */
    json_write_object(w);
    json_write_i64(w, 1);
    json_write_i64(w, 1);
    json_write_object_end(w);
    assert_int_equal(json_writer_end(w), PL_EINVAL);

    json_writer_begin(w, &f->out); /* deeper than any reader would follow */
    for (int i = 0; i < 200; i++)
        json_write_array(w);
    assert_int_equal(json_writer_end(w), PL_ELIMIT);

    struct pl_buf small;
    pl_buf_init(&small, 8);
    json_writer_begin(w, &small);
    json_write_text(w, "longer than eight");
    assert_int_equal(json_writer_end(w), PL_ELIMIT);
    pl_buf_release(&small);

    pl_buf_reset(&f->out); /* and the writer still works */
    json_writer_begin(w, &f->out);
    json_write_bool(w, false);
    assert_int_equal(json_writer_end(w), PL_OK);
    expect_out(f, "false");
}

static void round_trip(struct fixture *f, const char *text)
{
    struct json root = parse(f, text);
    pl_buf_reset(&f->pack);
    assert_int_equal(json_to_msgpack(root, &f->pack), PL_OK);
    json_writer_begin(f->writer, &f->out);
    assert_int_equal(json_write_msgpack(f->writer, pl_buf_span(&f->pack)), PL_OK);
    assert_int_equal(json_writer_end(f->writer), PL_OK);
    expect_out(f, text);

    json_writer_begin(f->writer, &f->out);
    json_write_value(f->writer, root);
    assert_int_equal(json_writer_end(f->writer), PL_OK);
    expect_out(f, text);
}

static void test_msgpack_round_trip(void **state)
{
    struct fixture *f = *state;
    char deep[2 * DEPTH_MAX + 1];
    nest(deep, DEPTH_MAX);
    round_trip(f, deep);
    round_trip(f, "null");
    round_trip(f, "\"\"");
    round_trip(f, "{\"a\":{},\"b\":[],\"c\":[[],{}],\"\":{\"d\":[{\"e\":null}]}}");
    round_trip(f, "[0,1,127,128,255,256,65535,65536,4294967295,4294967296,9223372036854775807,"
                  "9223372036854775808,18446744073709551615,-1,-32,-33,-128,-129,-32768,-32769,"
                  "-2147483648,-2147483649,-9223372036854775808,1.5,true,false]");
    round_trip(f, "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]"); /* an array16 */
    round_trip(f, "\"a string of more than thirty-one bytes, so that it takes a str8 header\"");
    round_trip(f, "{\"a\\u0000b\":\"\\u0000\"}");
}

static void test_msgpack_bytes(void **state)
{
    static const uint8_t expected[] = {0x82, 0xa1, 'a', 0x92, 0x01, 0xff, 0xa1, 'b', 0xcb,
                                       0x3f, 0xe0, 0,   0,    0,    0,    0,    0};
    struct fixture *f = *state;
    struct json root = parse(f, "{ \"a\" : [ 1, -1 ], \"b\" : 0.5 }");
    assert_int_equal(json_to_msgpack(root, &f->pack), PL_OK);
    assert_int_equal(f->pack.len, sizeof(expected));
    assert_memory_equal(f->pack.data, expected, sizeof(expected));

    pl_buf_reset(&f->pack); /* a value in the middle takes only itself */
    assert_int_equal(json_to_msgpack(get(root, "a"), &f->pack), PL_OK);
    assert_int_equal(f->pack.len, 3);
    assert_memory_equal(f->pack.data, expected + 3, 3);

    struct pl_buf small;
    pl_buf_init(&small, sizeof(expected) - 1);
    assert_int_equal(json_to_msgpack(root, &small), PL_ELIMIT);
    assert_int_equal(small.len, 0);
    pl_buf_release(&small);
}

static void test_bad_msgpack(void **state)
{
    static const struct {
        const char *what;
        struct pl_span bytes;
    } cases[] = {
        {"nothing", PL_SPAN_INIT("")},
        {"two values", PL_SPAN_INIT("\x01\x02")},
        {"a cut string", PL_SPAN_INIT("\xa5"
                                      "abc")},
        {"an array of 2^32-1", PL_SPAN_INIT("\xdd\xff\xff\xff\xff\x01")},
        {"a map of 2^32-1", PL_SPAN_INIT("\xdf\xff\xff\xff\xff\xa1x\x01")},
        {"a string of 2^32-1", PL_SPAN_INIT("\xdb\xff\xff\xff\xff")},
        {"a number for a key", PL_SPAN_INIT("\x81\x01\x01")},
        {"a map for a key", PL_SPAN_INIT("\x81\x80\x01")},
        {"not UTF-8", PL_SPAN_INIT("\xa1\xff")},
        {"bytes", PL_SPAN_INIT("\xc4\x01x")},
        {"an extension", PL_SPAN_INIT("\xd4\x01x")},
        {"an extension of 2^32-1", PL_SPAN_INIT("\xc9\xff\xff\xff\xff\x01")},
        {"a float of 32 bits", PL_SPAN_INIT("\xca\x3f\x00\x00\x00")},
        {"the unused code", PL_SPAN_INIT("\xc1")},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_writer_begin(f->writer, &f->out);
        if (json_write_msgpack(f->writer, cases[i].bytes) != PL_ECORRUPT)
            fail_msg("%s was taken", cases[i].what);
    }
    uint8_t deep[100];
    memset(deep, 0x91, sizeof(deep));
    json_writer_begin(f->writer, &f->out);
    assert_int_equal(json_write_msgpack(f->writer, pl_span(deep, sizeof(deep))), PL_ECORRUPT);
}

static void test_pretty(void **state)
{
    struct fixture *f = *state;
    struct json_writer *w;
    assert_int_equal(json_writer_new(&w, true), PL_OK);
    json_writer_begin(w, &f->out);
    json_write_object(w);
    json_write_pair_i64(w, "a", 1);
    json_write_object_end(w);
    assert_int_equal(json_writer_end(w), PL_OK);
    expect_out(f, "{\n  \"a\": 1\n}\n");
    json_writer_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_values, setup, teardown),
        cmocka_unit_test_setup_teardown(test_iterators, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_errors_say_where, setup, teardown),
        cmocka_unit_test(test_parser_grows),
        cmocka_unit_test_setup_teardown(test_write, setup, teardown),
        cmocka_unit_test_setup_teardown(test_doubles_are_short_and_exact, setup, teardown),
        cmocka_unit_test_setup_teardown(test_writer_errors_stick, setup, teardown),
        cmocka_unit_test_setup_teardown(test_msgpack_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_msgpack_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_msgpack, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pretty, setup, teardown),
    };
    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
