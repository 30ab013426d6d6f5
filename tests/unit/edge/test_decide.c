/* The tables that the snippet's own functions have written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "edge/decide.h"
#include "proto/base/clock.h"
#include "proto/base/file.h"

static struct json_parser *parser;
static struct pl_buf text;

static int setup(void **state)
{
    (void)state;
    pl_buf_init(&text, 4 << 20);
    return json_parser_new(&parser, 4 << 20, 24);
}

static int teardown(void **state)
{
    (void)state;
    json_parser_free(parser);
    pl_buf_release(&text);
    return 0;
}

static struct json_iter rows(const char *path)
{
    struct json root;
    struct pl_why why = {0};
    if (pl_file_read(path, "table", false, &text, &why) != PL_OK ||
        json_parse(parser, pl_buf_span(&text), &root, &why) != PL_OK)
        fail_msg("%s", why.text);
    assert_true(json_count(root) >= 50);
    return json_elements(root);
}

static struct json get(struct json object, const char *key)
{
    struct json value;
    if (!json_get(object, key, &value))
        fail_msg("a row lacks %s", key);
    return value;
}

static struct pl_span string(struct json object, const char *key)
{
    struct pl_span value;
    assert_true(json_string(get(object, key), &value));
    return value;
}

static void test_bucketing(void **state)
{
    struct json row, variant;
    struct json_iter each = rows(TEST_DATA "/unit/edge/bucketing.json");
    (void)state;
    while (json_next_element(&each, &row)) {
        const bool takes_part =
            decide_variant(get(row, "campaign"), string(row, "visitor"), &variant);
        assert_int_equal(takes_part, json_type(get(row, "variant")) != JSON_NULL);
        if (takes_part)
            assert_true(pl_span_eq(string(variant, "id"), string(row, "variant")));
    }
}

static void test_targeting(void **state)
{
    struct json row;
    size_t at = 0;
    struct json_iter each = rows(TEST_DATA "/unit/edge/targeting.json");
    (void)state;
    for (; json_next_element(&each, &row); at++) {
        const struct json page = get(row, "page");
        struct decide_page here = {.locale = string(page, "locale")};
        bool returning, fits, has_fingers = false;
        struct json fingers;
        double count = 0;
        assert_true(decide_split_url(string(page, "url"), &here));
        assert_true(json_bool(get(page, "returning"), &returning));
        assert_true(json_bool(get(row, "fits"), &fits));
        assert_true(pl_time_parse(string(page, "now"), &here.now_ms));
        here.audience = returning ? DECIDE_RETURNING : DECIDE_NEW;
        here.device = decide_device_of(string(page, "user_agent"));
        /* Only a page can count fingers. */
        has_fingers = json_get(page, "fingers", &fingers) && json_f64(fingers, &count) && count > 1;
        if (!has_fingers && decide_fits(get(row, "campaign"), &here) != fits)
            fail_msg("row %zu of targeting.json", at + 1);
    }
}

static void test_what_is_not_known_does_not_fit(void **state)
{
    struct json campaign;
    struct decide_page page = {.device = DECIDE_DESKTOP};
    static const char *const rules[] = {"{\"audience\":\"new\"}", "{\"locale\":[\"en\"]}",
                                        "{\"url\":[\"/a\"]}"};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(json_parse(parser, pl_span_str(rules[i]), &campaign, NULL), PL_OK);
        assert_false(decide_fits(campaign, &page));
    }
    assert_int_equal(json_parse(parser, PL_SPAN_LIT("{\"url\":[]}"), &campaign, NULL), PL_OK);
    assert_true(decide_fits(campaign, &page));
    assert_false(decide_split_url(PL_SPAN_LIT("javascript:alert(1)"), &page));
    assert_false(decide_split_url(PL_SPAN_LIT("https:///x"), &page));
    assert_true(decide_split_url(PL_SPAN_LIT("https://a.example?x=1#/y"), &page));
    assert_true(pl_span_eq_str(page.pathname, "/"));
    assert_true(pl_span_eq_str(page.search, "?x=1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_bucketing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_targeting, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_not_known_does_not_fit, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
