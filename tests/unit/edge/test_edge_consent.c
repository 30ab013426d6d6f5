/* Visitors who say no, and pages that may take it back. */
#include "tests/unit/edge/node.h"

#include "edge/loop.h"

#include <signal.h>

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

/* An edge that does not know its accounts yet hears a no as far as it can, and says that it has to
 * be said again. */
static void test_no_before_the_accounts_are_known(void **state)
{
    struct node *n = *state;
    static const char *const asks[] = {
        "GET /v1/optout?write_key=" KEY_TEXT "&visitor_id=ann&redirect=" PAGE "/bye",
        "GET /v1/optout?write_key=" KEY_TEXT,
        "POST /v1/optout",
    };
    for (size_t i = 0; i < sizeof(asks) / sizeof(asks[0]); i++) {
        const struct reply r = send_to(
            n, asks[i], "", i == 2 ? "{\"writeKey\":\"" KEY_TEXT "\",\"userId\":\"ann\"}" : "");
        assert_int_equal(r.status, 503);
        assert_says(r, "retry-after: ");
        assert_says(r, "set-cookie: polder_optout=");
        assert_says(r, "the choice holds in this browser");
        assert_silent(r, "location: ");
    }
    const struct reply yes =
        send_to(n, "POST /v1/optin?write_key=" KEY_TEXT, "Origin: " PAGE "\r\n", "");
    assert_int_equal(yes.status, 503);
    assert_says(yes, "retry-after: ");
    assert_silent(yes, "set-cookie");
    assert_int_equal(get(n, "/v1/consent?write_key=" KEY_TEXT, "").status, 503);

    struct catalog_item item = account_item();
    item.origin_count = 1;
    item.origins[0] = S(PAGE);
    tell(n, &item);
    until(n, "/v1/config/" KEY_TEXT, 200);
    assert_int_equal(send_to(n, asks[0], "", "").status, 303);
    assert_int_equal(get(n, "/v1/optout?write_key=x&visitor_id=ann", "").status, 401);
}

static struct pl_id128 opt_out(const struct node *n, const char *body)
{
    static const char before[] = "\"consent_id\":\"";
    struct pl_id128 id;
    const struct reply r = send_to(n, "POST /v1/optout?write_key=" KEY_TEXT, "", body);
    const char *found = strstr(r.text, before);
    assert_int_equal(r.status, 200);
    assert_non_null(found);
    assert_true(pl_id128_parse(pl_span(found + sizeof(before) - 1, PL_ID128_TEXT - 1), &id));
    return id;
}

static int status_for(const struct node *n, const char *visitor)
{
    char body[256];
    snprintf(body, sizeof(body),
             "{\"writeKey\":\"" KEY_TEXT "\",\"event\":\"Looked\",\"anonymousId\":\"%s\"}",
             visitor);
    return send_to(n, "POST /v1/track", "", body).status;
}

/* Of two people in one place one would be forgotten. */
static void test_two_people_in_one_place(void **state)
{
    struct node *n = *state;
    static const char *const bodies[] = {
        "{\"visitorId\":\"ann\",\"anonymousId\":\"bob\"}",
        "{\"visitorId\":\"ann\",\"visitor_id\":\"bob\"}",
        "{\"visitorId\":\"ann\",\"visitorId\":\"bob\"}",
        "{\"userId\":\"cleo\",\"anonymousId\":\"bob\"}",
    };
    open_account(n);
    until_collecting(n);
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        const struct reply r =
            send_to(n, "POST /v1/optout?write_key=" KEY_TEXT "&user_id=dan", "", bodies[i]);
        assert_int_equal(r.status, 400);
        assert_says(r, i == 3 ? "\"field\":\"userId\"" : "visitorId and anonymousId are one");
        assert_silent(r, "set-cookie");
    }
    assert_int_equal(
        get(n, "/v1/optout?write_key=" KEY_TEXT "&visitor_id=ann&visitor_id=bob", "").status, 400);
    assert_int_equal(status_for(n, "ann"), 200);
    (void)opt_out(n, "{\"visitorId\":\"ann\",\"anonymousId\":\"ann\",\"userId\":\"bob\"}");
    assert_int_equal(status_for(n, "ann"), 403);
    assert_int_equal(status_for(n, "bob"), 403);
}

/* A client whose answer got lost asks again, and has no cookie to show. */
static void test_a_request_that_is_tried_again(void **state)
{
    struct node *n = *state;
    static const char tried[] = "{\"userId\":\"ann\",\"requestId\":\"request-1\"}";
    char line[160], text[PL_ID128_TEXT];
    open_account(n);
    until_collecting(n);
    const struct pl_id128 first = opt_out(n, tried), again = opt_out(n, tried);
    assert_memory_equal(&first, &again, sizeof(first));
    const struct pl_id128 other = opt_out(n, "{\"userId\":\"bob\",\"requestId\":\"request-1\"}");
    assert_memory_not_equal(&first, &other, sizeof(first));
    assert_int_equal(status_for(n, "bob"), 403);

    pl_id128_format(&first, text);
    snprintf(line, sizeof(line), "POST /v1/optin?write_key=" KEY_TEXT "&consent_id=%s", text);
    assert_int_equal(send_to(n, line, "Sec-Fetch-Site: same-origin\r\n", "").status, 200);
    assert_int_equal(status_for(n, "ann"), 200);
    /* Who says it after that, with the same words even, says no. */
    const struct pl_id128 later = opt_out(n, tried);
    assert_memory_not_equal(&first, &later, sizeof(first));
    assert_int_equal(status_for(n, "ann"), 403);
}

/* Pages of other origins see none but the simplest headers unless they are told of (Fetch, CORS).
 */
static void test_pages_may_read_our_headers(void **state)
{
    struct node *n = *state;
    static const char exposed[] =
        "access-control-expose-headers: retry-after, x-polder-outcome, x-polder-refused\r\n";
    assert_says(track(n, "Origin: " PAGE "\r\n"), exposed); /* 503 yet */
    open_account(n);
    until_collecting(n);
    const struct reply r =
        get(n, "/pixel.gif?goal=seen&write_key=" KEY_TEXT, "Origin: " PAGE "\r\n");
    assert_says(r, "x-polder-outcome: OK\r\n");
    assert_says(r, exposed);
}

static uint64_t suppressed(const struct node *n)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < n->edge->loop_count; i++) {
        uint64_t sums[METRIC_COUNT] = {0};
        metrics_sum(&n->edge->loops[i].metrics, sums);
        sum += sums[METRIC_EVENTS_SUPPRESSED];
    }
    return sum;
}

/* What is refused is sent again: who said no would be counted each time. */
static void test_who_said_no_is_counted_with_what_is_taken(void **state)
{
    struct node *n = *state;
    static const char batch[] = "{\"writeKey\":\"" KEY_TEXT "\",\"batch\":["
                                "{\"type\":\"track\",\"event\":\"e\",\"userId\":\"ann\"},"
                                "{\"type\":\"track\",\"event\":\"e\",\"userId\":\"bob\"}]}";
    signal(SIGXFSZ, SIG_IGN);
    open_account(n);
    until_collecting(n);
    (void)opt_out(n, "{\"userId\":\"ann\"}");
    fixture_file_limit(1);
    const struct reply refused = send_to(n, "POST /v1/batch", "", batch);
    fixture_file_limit(RLIM_INFINITY);
    assert_int_equal(refused.status, 503);
    assert_int_equal(suppressed(n), 0);
    until_collecting(n);
    assert_int_equal(send_to(n, "POST /v1/batch", "", batch).status, 200);
    assert_int_equal(suppressed(n), 1);
    assert_int_equal(status_for(n, "ann"), 403);
    assert_int_equal(suppressed(n), 2);
}

#define TEST(name)         cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_LIMITED(name) cmocka_unit_test_setup_teardown(name, setup_limited, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_preflight),
        TEST(test_consent),
        TEST(test_no_is_not_undone_by_others),
        TEST(test_no_before_the_accounts_are_known),
        TEST(test_two_people_in_one_place),
        TEST(test_a_request_that_is_tried_again),
        TEST(test_pages_may_read_our_headers),
        TEST(test_who_said_no_is_counted_with_what_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
