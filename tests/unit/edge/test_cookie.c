#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "edge/cookie.h"
#include "proto/base/random.h"

static const struct cookie_policy policy = {
    .enabled = true,
    .same_site = SAME_SITE_NONE,
    .name = PL_SPAN_INIT("polder_id"),
    .domain = PL_SPAN_INIT("shop.example"),
};
#define UUID "0b6c1c2e-9f0a-4d52-8a51-6a1f5f6f7a10"

static void test_reading(void **state)
{
    struct pl_span rest = PL_SPAN_LIT("; a=1;b= 2 ;flag; c=x=y;"), name, value;
    static const char *const pairs[] = {"a", "1", "b", " 2 ", "flag", "", "c", "x=y"};
    (void)state;
    for (size_t i = 0; i < 8; i += 2) {
        assert_true(cookie_next(&rest, &name, &value));
        assert_true(pl_span_eq_str(name, pairs[i]));
        assert_true(pl_span_eq_str(value, pairs[i + 1]));
    }
    assert_false(cookie_next(&rest, &name, &value));
}

static void test_visitor(void **state)
{
    struct pl_span id;
    char fresh[PL_UUID_TEXT], again[PL_UUID_TEXT];
    (void)state;
    assert_true(cookie_find_visitor(PL_SPAN_LIT("x=1; polder_id=" UUID), &policy, &id));
    assert_true(pl_span_eq_str(id, UUID));
    /* Only what an edge sets is believed: nobody smuggles an address in as an id. */
    assert_false(cookie_find_visitor(PL_SPAN_LIT("polder_id=ann@shop.example"), &policy, &id));
    assert_false(cookie_find_visitor(PL_SPAN_LIT("polder_id=" UUID "0"), &policy, &id));
    assert_false(cookie_find_visitor(PL_SPAN_LIT("polder_id2=" UUID), &policy, &id));
    assert_int_equal(pl_uuid4(pl_random_system(), fresh), PL_OK);
    assert_int_equal(pl_uuid4(pl_random_system(), again), PL_OK);
    assert_string_not_equal(fresh, again);
    assert_int_equal(strlen(fresh), 36);
    assert_int_equal(fresh[14], '4');
    assert_non_null(strchr("89ab", fresh[19]));
}

static void test_writing(void **state)
{
    char line[COOKIE_LINE_BYTES];
    struct cookie_policy strict = policy;
    (void)state;
    strict.same_site = SAME_SITE_STRICT;
    cookie_write_visitor(
        &policy, &(struct cookie_site){PL_SPAN_LIT("metrics.SHOP.example:8443"), true}, UUID, line);
    assert_string_equal(line, "polder_id=" UUID "; Path=/; Domain=shop.example; Max-Age=15552000; "
                              "HttpOnly; Secure; SameSite=None");
    /* Another host: the cookie is that host's. */
    cookie_write_visitor(&policy, &(struct cookie_site){PL_SPAN_LIT("notshop.example"), true}, UUID,
                         line);
    assert_null(strstr(line, "Domain"));
    cookie_write_visitor(&policy, &(struct cookie_site){PL_SPAN_LIT("127.0.0.1:80"), false}, UUID,
                         line);
    assert_string_equal(line,
                        "polder_id=" UUID "; Path=/; Max-Age=15552000; HttpOnly; SameSite=Lax");
    cookie_write_visitor(&strict, &(struct cookie_site){PL_SPAN_LIT("shop.example"), true}, NULL,
                         line);
    assert_string_equal(line, "polder_id=; Path=/; Domain=shop.example; Max-Age=0; HttpOnly; "
                              "Secure; SameSite=Strict");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reading),
        cmocka_unit_test(test_visitor),
        cmocka_unit_test(test_writing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
