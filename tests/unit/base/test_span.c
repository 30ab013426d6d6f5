#include "proto/base/span.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void compares_like_sorted_keys(void **state)
{
    (void)state;
    assert_true(pl_span_cmp(PL_SPAN_LIT("a"), PL_SPAN_LIT("b")) < 0);
    assert_true(pl_span_cmp(PL_SPAN_LIT("b"), PL_SPAN_LIT("aa")) > 0);
    assert_true(pl_span_cmp(PL_SPAN_LIT("a"), PL_SPAN_LIT("aa")) < 0);
    assert_true(pl_span_cmp(PL_SPAN_LIT("\xff"), PL_SPAN_LIT("a")) > 0);
    assert_int_equal(pl_span_cmp(pl_span(NULL, 0), PL_SPAN_LIT("")), 0);
    assert_true(pl_span_eq(pl_span(NULL, 0), PL_SPAN_LIT("")));
    assert_true(pl_span_starts(PL_SPAN_LIT("abc"), pl_span(NULL, 0)));
    assert_int_equal(pl_span_from(PL_SPAN_LIT("abc"), 4).len, 0);
    assert_true(pl_span_eq_str(pl_span_from(PL_SPAN_LIT("abc"), 1), "bc"));
}

static void header_names_ignore_ascii_case_only(void **state)
{
    (void)state;
    assert_true(pl_span_eq_nocase(PL_SPAN_LIT("Content-Type"), PL_SPAN_LIT("content-tYPE")));
    assert_false(pl_span_eq_nocase(PL_SPAN_LIT("ab"), PL_SPAN_LIT("abc")));
    assert_false(pl_span_eq_nocase(PL_SPAN_LIT("@"), PL_SPAN_LIT("`")));
    assert_false(pl_span_eq_nocase(PL_SPAN_LIT("["), PL_SPAN_LIT("{")));
    assert_false(pl_span_eq_nocase(PL_SPAN_LIT("\xc4"), PL_SPAN_LIT("\xe4")));
}

static void utf8_is_rfc_3629_exactly(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool good;
    } cases[] = {
        {"", true},
        {"plain ascii, longer than eight bytes", true},
        {"na\xc3\xafve", true},
        {"\xe2\x82\xac", true},
        {"\xf0\x9f\x98\x80 and \xf4\x8f\xbf\xbf", true},
        {"\xed\x9f\xbf\xee\x80\x80", true}, /* either side of the surrogates */
        {"\xc0\xaf", false},                /* overlong */
        {"\xc1\xbf", false},
        {"\xe0\x9f\xbf", false},
        {"\xf0\x8f\xbf\xbf", false},
        {"\xed\xa0\x80", false},     /* surrogate */
        {"\xf4\x90\x80\x80", false}, /* U+110000 */
        {"\xf5\x80\x80\x80", false},
        {"\x80", false},
        {"12345678\x80", false}, /* behind a whole word of ASCII */
        {"\xe2\x82", false},
        {"\xf0\x9f\x98", false},
        {"\xc3", false},
        {"\xc3(", false},
        {"\xf0\x9f(\x80", false},
        {"\xff", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (pl_span_is_utf8(pl_span_str(cases[i].text)) != cases[i].good)
            fail_msg("case %zu", i);
    assert_true(pl_span_is_utf8(pl_span("a\0b", 3)));
}

static void numbers_are_whole_and_never_wrap(void **state)
{
    (void)state;
    uint64_t u = 7;
    int64_t i = 7;
    assert_true(pl_span_to_u64(PL_SPAN_LIT("18446744073709551615"), &u));
    assert_true(u == UINT64_MAX);
    u = 7;
    assert_false(pl_span_to_u64(PL_SPAN_LIT("18446744073709551616"), &u));
    assert_false(pl_span_to_u64(PL_SPAN_LIT("99999999999999999999"), &u));
    assert_false(pl_span_to_u64(PL_SPAN_LIT(""), &u));
    assert_false(pl_span_to_u64(PL_SPAN_LIT("-1"), &u));
    assert_false(pl_span_to_u64(PL_SPAN_LIT("+1"), &u));
    assert_false(pl_span_to_u64(PL_SPAN_LIT("1 "), &u));
    assert_false(pl_span_to_u64(PL_SPAN_LIT("0x1"), &u));
    assert_int_equal(u, 7); /* untouched by failures */
    assert_true(pl_span_to_i64(PL_SPAN_LIT("-9223372036854775808"), &i));
    assert_true(i == INT64_MIN);
    assert_true(pl_span_to_i64(PL_SPAN_LIT("9223372036854775807"), &i));
    assert_true(i == INT64_MAX);
    assert_false(pl_span_to_i64(PL_SPAN_LIT("9223372036854775808"), &i));
    assert_false(pl_span_to_i64(PL_SPAN_LIT("-9223372036854775809"), &i));
    assert_false(pl_span_to_i64(PL_SPAN_LIT("-"), &i));
    assert_false(pl_span_to_i64(PL_SPAN_LIT("--1"), &i));
    assert_true(pl_span_to_i64(PL_SPAN_LIT("-0"), &i));
    assert_int_equal(i, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compares_like_sorted_keys),
        cmocka_unit_test(header_names_ignore_ascii_case_only),
        cmocka_unit_test(utf8_is_rfc_3629_exactly),
        cmocka_unit_test(numbers_are_whole_and_never_wrap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
