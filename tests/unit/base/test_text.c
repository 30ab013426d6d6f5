#include "proto/base/text.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void hex_both_ways(void **state)
{
    (void)state;
    char text[9];
    uint8_t bytes[4] = {0};
    pl_hex_encode(PL_SPAN_LIT("\x00\x7f\x80\xff"), text);
    assert_string_equal(text, "007f80ff");
    pl_hex_encode(pl_span(NULL, 0), text);
    assert_string_equal(text, "");
    assert_true(pl_hex_decode(PL_SPAN_LIT("007F80fF"), bytes, 4));
    assert_memory_equal(bytes, "\x00\x7f\x80\xff", 4);
    assert_true(pl_hex_decode_lower(PL_SPAN_LIT("007f80ff"), bytes, 4));
    assert_false(pl_hex_decode_lower(PL_SPAN_LIT("112233Ab"), bytes, 4));
    assert_memory_equal(bytes, "\x00\x7f\x80\xff", 4); /* as it was */
    assert_false(pl_hex_decode(PL_SPAN_LIT("11223344"), bytes, 3));
    assert_false(pl_hex_decode(PL_SPAN_LIT("1122334"), bytes, 4));
    assert_false(pl_hex_decode(PL_SPAN_LIT("1122334g"), bytes, 4));
    assert_false(pl_hex_decode(PL_SPAN_LIT("112233 4"), bytes, 4));
    assert_false(pl_hex_decode(PL_SPAN_LIT("112233\x91\x91"), bytes, 4));
    assert_memory_equal(bytes, "\x00\x7f\x80\xff", 4);
}

/* RFC 4648 section 10 */
static const struct {
    const char *plain, *encoded;
} rfc4648[] = {
    {"", ""},
    {"f", "Zg=="},
    {"fo", "Zm8="},
    {"foo", "Zm9v"},
    {"foob", "Zm9vYg=="},
    {"fooba", "Zm9vYmE="},
    {"foobar", "Zm9vYmFy"},
};

static void base64_as_in_rfc_4648(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rfc4648) / sizeof(rfc4648[0]); i++) {
        struct pl_buf buf;
        pl_buf_init(&buf, 64);
        assert_int_equal(pl_base64_encode(pl_span_str(rfc4648[i].plain), &buf), PL_OK);
        assert_true(pl_span_eq_str(pl_buf_span(&buf), rfc4648[i].encoded));
        pl_buf_reset(&buf);
        assert_int_equal(pl_base64_decode(pl_span_str(rfc4648[i].encoded), &buf), PL_OK);
        assert_true(pl_span_eq_str(pl_buf_span(&buf), rfc4648[i].plain));
        struct pl_span bare = pl_span_str(rfc4648[i].encoded);
        while (bare.len > 0 && bare.data[bare.len - 1] == '=')
            bare.len--;
        pl_buf_reset(&buf);
        assert_int_equal(pl_base64_decode(bare, &buf), PL_OK);
        assert_true(pl_span_eq_str(pl_buf_span(&buf), rfc4648[i].plain));
        pl_buf_release(&buf);
    }
}

static void every_byte_survives_either_alphabet(void **state)
{
    (void)state;
    uint8_t all[256];
    for (size_t i = 0; i < sizeof(all); i++)
        all[i] = (uint8_t)(i * 167); /* 167 is odd: a permutation that reaches all digits */
    struct pl_buf text, back;
    pl_buf_init(&text, 1024);
    pl_buf_init(&back, 1024);
    assert_int_equal(pl_base64_encode(pl_span(all, sizeof(all)), &text), PL_OK);
    assert_int_equal(pl_base64_decode(pl_buf_span(&text), &back), PL_OK);
    assert_memory_equal(back.data, all, sizeof(all));
    for (size_t i = 0; i < text.len; i++)
        text.data[i] = text.data[i] == '+' ? '-' : text.data[i] == '/' ? '_' : text.data[i];
    pl_buf_reset(&back);
    assert_int_equal(pl_base64_decode(pl_buf_span(&text), &back), PL_OK);
    assert_memory_equal(back.data, all, sizeof(all));
    pl_buf_release(&text);
    pl_buf_release(&back);
}

static void only_canonical_base64_decodes(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "Z",        "Zg=",   "Zg===",    "Zm9v=", "Zm9v====",
        "=",        "==",    "====",     "Zh==", /* bits that belong to no byte */
        "ZI==",     "Zm9=",  "Zm9vY===", "Zm 9v", "Zm9v\n",
        "Zg==Zg==", "Zm9v*", "+_Ab", /* two alphabets */
    };
    struct pl_buf buf;
    pl_buf_init(&buf, 64);
    assert_int_equal(pl_buf_append_str(&buf, "kept"), PL_OK);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (pl_base64_decode(pl_span_str(bad[i]), &buf) != PL_EINVAL)
            fail_msg("accepted %s", bad[i]);
    assert_true(pl_span_eq_str(pl_buf_span(&buf), "kept"));
    pl_buf_release(&buf);
    pl_buf_init(&buf, 5);
    assert_int_equal(pl_base64_decode(PL_SPAN_LIT("Zm9vYmFy"), &buf), PL_ELIMIT);
    assert_int_equal(pl_base64_encode(PL_SPAN_LIT("foob"), &buf), PL_ELIMIT);
    assert_int_equal(buf.len, 0);
    pl_buf_release(&buf);
}

static void forms_decode(void **state)
{
    (void)state;
    struct pl_buf buf;
    pl_buf_init(&buf, 16);
    assert_int_equal(pl_form_decode(PL_SPAN_LIT("a+b%20c%2B%e2%82%AC"), &buf), PL_ELIMIT);
    pl_buf_release(&buf);
    pl_buf_init(&buf, 64);
    assert_int_equal(pl_form_decode(PL_SPAN_LIT("a+b%20c%2B%e2%82%AC"), &buf), PL_OK);
    assert_true(pl_span_eq_str(pl_buf_span(&buf), "a b c+\xe2\x82\xac"));
    assert_int_equal(pl_form_decode(PL_SPAN_LIT("%"), &buf), PL_EINVAL);
    assert_int_equal(pl_form_decode(PL_SPAN_LIT("x%4"), &buf), PL_EINVAL);
    assert_int_equal(pl_form_decode(PL_SPAN_LIT("x%zz"), &buf), PL_EINVAL);
    assert_true(pl_span_eq_str(pl_buf_span(&buf), "a b c+\xe2\x82\xac"));
    assert_int_equal(pl_form_decode(pl_span(NULL, 0), &buf), PL_OK);
    pl_buf_release(&buf);
}

static void parameters_are_walked_and_found(void **state)
{
    (void)state;
    struct pl_span rest = PL_SPAN_LIT("a=1&&flag&b=x%26y=z&=nameless&c="), name, value;
    static const char *const expected[][2] = {
        {"a", "1"}, {"flag", ""}, {"b", "x%26y=z"}, {"", "nameless"}, {"c", ""},
    };
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        assert_true(pl_form_next(&rest, &name, &value));
        assert_true(pl_span_eq_str(name, expected[i][0]));
        assert_true(pl_span_eq_str(value, expected[i][1]));
    }
    assert_false(pl_form_next(&rest, &name, &value));
    assert_false(pl_form_next(&rest, &name, &value));

    struct pl_span query = PL_SPAN_LIT("aa=0&a=1&a=2&b");
    assert_true(pl_form_find(query, "a", &value));
    assert_true(pl_span_eq_str(value, "1"));
    assert_true(pl_form_find(query, "b", &value));
    assert_int_equal(value.len, 0);
    assert_false(pl_form_find(query, "c", &value));
    assert_false(pl_form_find(pl_span(NULL, 0), "a", &value));
}

/* U+5317 U+4EAC, three bytes each. */
#define BEIJING "\xe5\x8c\x97\xe4\xba\xac"

static void sentences_are_cut_between_characters(void **state)
{
    (void)state;
    static const struct {
        size_t room;
        const char *text, *expected;
    } cases[] = {
        {16, "edge " BEIJING, "edge " BEIJING},
        {12, "edge " BEIJING, "edge " BEIJING},
        {11, "edge " BEIJING, "edge \xe5\x8c\x97"},
        {10, "edge " BEIJING, "edge \xe5\x8c\x97"},
        {9, "edge " BEIJING, "edge \xe5\x8c\x97"},
        {8, "edge " BEIJING, "edge "},
        {6, "edge " BEIJING, "edge "},
        {5, "edge " BEIJING, "edge"},
        {1, BEIJING, ""},
        {16, "\xf0\x9f\x98", ""},         /* somebody else has cut it */
        {16, "caf\xe9 \xff!", "caf? ?!"}, /* a path need not be UTF-8 */
        {16, "\xed\xa0\x80.", "???."},    /* a surrogate */
        {16, "\x80\x80", "??"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char out[16];
        memset(out, 'x', sizeof(out));
        pl_text_print(out, cases[i].room, "%s", cases[i].text);
        assert_string_equal(out, cases[i].expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hex_both_ways),
        cmocka_unit_test(base64_as_in_rfc_4648),
        cmocka_unit_test(every_byte_survives_either_alphabet),
        cmocka_unit_test(only_canonical_base64_decodes),
        cmocka_unit_test(forms_decode),
        cmocka_unit_test(parameters_are_walked_and_found),
        cmocka_unit_test(sentences_are_cut_between_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
