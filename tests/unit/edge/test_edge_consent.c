/* Visitors who say no, and pages that may take it back. */
#include "tests/unit/edge/node.h"

static void test_preflight(void **state)
{
    struct node *n = *state;
    static const char *const paths[] = {"/v1/batch", "/v1/track", "/v1/optin", "/v1/config/x"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        char line[64];
        snprintf(line, sizeof(line), "OPTIONS %s", paths[i]);
        struct reply r = send_to(n, line,
                                 "Origin: " PAGE "\r\nAccess-Control-Request-Method: POST\r\n"
                                 "Access-Control-Request-Headers: content-type,x-mine\r\n",
                                 "");
        assert_int_equal(r.status, 204);
        assert_says(r, "access-control-allow-origin: " PAGE "\r\n");
        assert_says(r, "access-control-allow-headers: content-type,x-mine\r\n");
        assert_says(r, "access-control-max-age: ");
        assert_says(r, "vary: origin");
    }
}

static void test_consent(void **state)
{
    struct node *n = *state;
    struct catalog_item item = account_item();
    item.origin_count = 1;
    item.origins[0] = S(PAGE);
    tell(n, &item);
    until(n, "/v1/config/" KEY_TEXT, 200);
    struct reply r = get(n, "/v1/optout", "");
    assert_int_equal(r.status, 200);
    assert_says(r, "set-cookie: polder_optout=");
    assert_says(r, "; Path=/; Max-Age=157680000; HttpOnly");
    /* A plain connection: other sites' pages will not send that cookie, and the reply says so. */
    assert_says(r, "\"cross_site\":false");
    r = send_to(n, "POST /v1/optout", "Origin: " PAGE "\r\n", "");
    assert_says(r, "access-control-allow-credentials: true");
    /* An image cannot opt in, nor a page of somebody else's. */
    assert_int_equal(get(n, "/v1/optin?write_key=" KEY_TEXT, "").status, 405);
    r = send_to(n, "POST /v1/optin?write_key=" KEY_TEXT, "", "");
    assert_int_equal(r.status, 403);
    r = send_to(n, "POST /v1/optin?write_key=" KEY_TEXT, "Origin: https://evil.example\r\n", "");
    assert_int_equal(r.status, 403);
    assert_silent(r, "set-cookie");
    assert_int_equal(send_to(n, "POST /v1/optin", "Origin: " PAGE "\r\n", "").status, 401);
    r = send_to(n, "POST /v1/optin?write_key=" KEY_TEXT, "Origin: " PAGE "\r\n", "");
    assert_int_equal(r.status, 200);
    assert_says(r, "set-cookie: polder_optout_" KEY_TEXT "=; Path=/; Max-Age=0");
    r = send_to(n, "POST /v1/optin", "Origin: " PAGE "\r\n", "{\"writeKey\":\"" KEY_TEXT "\"}");
    assert_int_equal(r.status, 200);
}

/* An account that takes events from everywhere: its visitors' no is not everybody's to take back,
 * nor is one account's page free to undo what was said to another, or to all. */
static void test_no_is_not_undone_by_others(void **state)
{
    struct node *n = *state;
    const char *const optin = "POST /v1/optin?write_key=" KEY_TEXT;
    open_account(n);
    until_collecting(n);
    struct reply r = send_to(n, optin, "Origin: https://evil.example\r\n", "");
    assert_int_equal(r.status, 403);
    assert_silent(r, "set-cookie");
    r = send_to(n, optin, "Origin: https://evil.example\r\nSec-Fetch-Site: cross-site\r\n", "");
    assert_int_equal(r.status, 403);
    r = send_to(n, optin, "Origin: " PAGE "\r\nSec-Fetch-Site: same-site\r\n", "");
    assert_int_equal(r.status, 200);
    assert_says(r, "set-cookie: polder_optout_" KEY_TEXT "=; Path=/; Max-Age=0");
    r = send_to(n, optin, "Sec-Fetch-Site: same-origin\r\nCookie: polder_optout=1\r\n", "");
    assert_says(r, "set-cookie: polder_optout_" KEY_TEXT "=0; Path=/; Max-Age=1");

    r = get(n, "/v1/optout?write_key=" KEY_TEXT, "");
    assert_says(r, "set-cookie: polder_optout_" KEY_TEXT "=");
    assert_says(r, "set-cookie: polder_id=; Path=/; Max-Age=0;");
    assert_int_equal(track(n, "Cookie: polder_optout_" KEY_TEXT "=1\r\n").status, 403);
    assert_int_equal(
        track(n, "Cookie: polder_optout_ffeeddccbbaa99887766554433221100=1\r\n").status, 200);
    assert_int_equal(
        track(n, "Cookie: polder_optout=1; polder_optout_ffeeddccbbaa99887766554433221100=0\r\n")
            .status,
        403);
    assert_int_equal(track(n, "Cookie: polder_optout=1; polder_optout_" KEY_TEXT "=0\r\n").status,
                     200);
    /* A key that is none: no to all. */
    assert_says(get(n, "/v1/optout?write_key=x", ""), "set-cookie: polder_optout=");
}

#define TEST(name)         cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_LIMITED(name) cmocka_unit_test_setup_teardown(name, setup_limited, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_preflight),
        TEST(test_consent),
        TEST(test_no_is_not_undone_by_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
