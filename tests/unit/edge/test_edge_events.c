/* What an edge answers to those who send it events. */
#include "tests/unit/edge/node.h"

#include "edge/loop.h"

#include <signal.h>

static void test_events_are_durable_when_answered(void **state)
{
    struct node *n = *state;
    open_account(n);
    until_collecting(n);
    const uint64_t before = accepted(n);
    for (int i = 0; i < 50; i++) {
        struct reply r = track(n, "Origin: " PAGE "\r\n");
        assert_int_equal(r.status, 200);
        assert_says(r, "{\"success\":true}");
        assert_says(r, "access-control-allow-origin: " PAGE "\r\n");
        assert_says(r, "vary: origin");
        assert_int_equal(accepted(n), before + (uint64_t)i + 1);
    }
    struct reply r = send_to(n, "POST /v1/batch", "",
                             "{\"writeKey\":\"" KEY_TEXT "\",\"batch\":[{\"type\":\"track\","
                             "\"event\":\"a\",\"anonymousId\":\"v\"},{\"type\":\"page\","
                             "\"anonymousId\":\"v\"}]}");
    assert_int_equal(r.status, 200);
    assert_int_equal(accepted(n), before + 52);
    r = get(n, "/metrics", "");
    assert_says(r, "# TYPE polder_collected_events_total counter\n");
    assert_says(r, "polder_spool_pending_events ");
    assert_says(r, "polder_refused_requests_total{reason=\"consent\"} 0\n");
}

static void test_refusals_leave_nothing(void **state)
{
    struct node *n = *state;
    struct catalog_item item = account_item();
    item.origin_count = 1;
    item.origins[0] = S(PAGE);
    item.honour_dnt = true;
    tell(n, &item);
    until(n, "/v1/config/" KEY_TEXT, 200);
    until_collecting(n);
    const uint64_t before = accepted(n);
    struct reply r = track(n, "Origin: https://evil.example\r\n");
    assert_int_equal(r.status, 403);
    assert_says(r, "access-control-allow-origin: https://evil.example\r\n");
    assert_says(r, "\"field\":\"origin\"");
    assert_int_equal(track(n, "Sec-GPC: 1\r\n").status, 403);
    assert_int_equal(track(n, "DNT: 1\r\n").status, 403);
    assert_int_equal(track(n, "Cookie: a=b; polder_optout=1; c=d\r\n").status, 403);
    r = send_to(n, "POST /v1/track", "", "{\"writeKey\":\"" KEY_TEXT "\",\"event\":");
    assert_int_equal(r.status, 400);
    r = send_to(n, "POST /v1/track", "",
                "{\"writeKey\":\"ffffffffffffffffffffffffffffffff\",\"event\":\"x\","
                "\"anonymousId\":\"v\"}");
    assert_int_equal(r.status, 401);
    assert_says(r, "\"field\":\"writeKey\"");
    r = send_to(n, "POST /v1/track", "", "{\"event\":\"x\",\"anonymousId\":\"v\"}");
    assert_int_equal(r.status, 401);
    r = send_to(n, "POST /v1/batch", "",
                "{\"writeKey\":\"" KEY_TEXT
                "\",\"batch\":[{\"type\":\"track\",\"anonymousId\":\"v\"},"
                "{\"type\":\"track\",\"event\":7,\"anonymousId\":\"v\"}]}");
    assert_int_equal(r.status, 400);
    assert_says(r, "\"field\":\"batch[0].event\"");
    r = send_to(n, "PUT /v1/track", "Origin: " PAGE "\r\n", "");
    assert_int_equal(r.status, 405);
    assert_says(r, "allow: POST");
    assert_says(r, "access-control-allow-origin: " PAGE "\r\n");
    r = get(n, "/nowhere", "Origin: " PAGE "\r\n");
    assert_int_equal(r.status, 404);
    assert_says(r, "access-control-allow-origin: " PAGE "\r\n");
    assert_int_equal(accepted(n), before);
    /* One bad message does not spoil its batch; what it is called becomes no header of ours. */
    r = send_to(n, "POST /com.snowplowanalytics.snowplow/tp2", "",
                "{\"schema\":\"iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4\","
                "\"data\":[{\"e\":\"pv\",\"aid\":\"" KEY_TEXT "\",\"duid\":\"v\"},"
                "{\"e\":\"pv\",\"a\\r\\nx-evil: 1\":{}},7]}");
    assert_int_equal(r.status, 200);
    assert_says(r, "x-polder-outcome: PARTIAL\r\n");
    assert_says(r, "x-polder-refused: 2; data[1].a??x-evil: 1 must be text\r\n");
    assert_int_equal(accepted(n), before + 1);
    /* The others may. */
    assert_int_equal(track(n, "Origin: " PAGE "\r\n").status, 200);
    assert_int_equal(track(n, "Sec-GPC: 0\r\nDNT: 0\r\nCookie: polder_optout=10\r\n").status, 200);
    item.region_count = 1;
    snprintf(item.regions[0], sizeof(item.regions[0]), "us");
    tell(n, &item);
    const int64_t end_ms = pl_mono_ms(pl_clock_system()) + 5000;
    do
        r = track(n, "");
    while (r.status == 200 && pl_mono_ms(pl_clock_system()) < end_ms);
    assert_int_equal(r.status, 403);
    assert_says(r, "region");
}

static void test_too_large(void **state)
{
    struct node *n = *state;
    open_account(n);
    until_collecting(n);
    const uint64_t before = accepted(n);
    static char body[600000];
    memset(body, ' ', sizeof(body) - 1);
    body[40000] = '\0';
    struct reply r = send_to(n, "POST /v1/track", "Origin: " PAGE "\r\n", body);
    assert_int_equal(r.status, 413);
    body[40000] = ' ';
    r = send_to(n, "POST /v1/batch", "Origin: " PAGE "\r\n", body);
    assert_int_equal(r.status, 413);
    assert_says(r, "access-control-allow-origin: " PAGE "\r\n");
    assert_int_equal(accepted(n), before);
}

/* Alone or among others: one limit. */
static void test_one_event_has_one_limit(void **state)
{
    struct node *n = *state;
    static const char *const forms[][3] = {
        {"POST /v1/track",
         "{\"writeKey\":\"" KEY_TEXT "\",\"event\":\"x\",\"anonymousId\":\"v\","
         "\"properties\":{\"text\":\"",
         "\"}}"},
        {"POST /v1/batch",
         "{\"writeKey\":\"" KEY_TEXT "\",\"batch\":[{\"type\":\"track\","
         "\"event\":\"x\",\"anonymousId\":\"v\",\"properties\":{\"text\":\"",
         "\"}}]}"},
    };
    static char text[40001], body[41000];
    open_account(n);
    until_collecting(n);
    for (size_t i = 0; i < 2; i++) {
        const uint64_t before = accepted(n);
        memset(text, 'x', sizeof(text) - 1);
        snprintf(body, sizeof(body), "%s%s%s", forms[i][1], text, forms[i][2]);
        assert_int_equal(send_to(n, forms[i][0], "", body).status, 413);
        assert_int_equal(accepted(n), before);
        text[32000] = '\0';
        snprintf(body, sizeof(body), "%s%s%s", forms[i][1], text, forms[i][2]);
        assert_int_equal(send_to(n, forms[i][0], "", body).status, 200);
        assert_int_equal(accepted(n), before + 1);
    }
}

/* ---- pixels */

static void test_pixels_always_load(void **state)
{
    struct node *n = *state;
    struct pl_buf path;
    open_account(n);
    until_collecting(n);
    pl_buf_init(&path, 4096);
    pl_buf_append_str(&path, "/v1/pixel/track?data=");
    pl_base64_encode(S("{\"writeKey\":\"" KEY_TEXT "\",\"event\":\"x\",\"anonymousId\":\"v\"}"),
                     &path);
    pl_buf_terminate(&path);
    const uint64_t before = accepted(n);
    struct reply r = get(n, (const char *)path.data, "");
    assert_int_equal(r.status, 200);
    assert_says(r, "x-polder-outcome: OK\r\n");
    assert_says(r, "GIF89a");
    assert_int_equal(accepted(n), before + 1);
    r = get(n, (const char *)path.data, "Sec-GPC: 1\r\n");
    assert_int_equal(r.status, 200);
    assert_says(r, "x-polder-outcome: OPTED_OUT\r\n");
    assert_says(r, "GIF89a");
    /* Link checkers ask with HEAD; that is no visit. */
    char line[1024];
    snprintf(line, sizeof(line), "HEAD %s", (const char *)path.data);
    r = send_to(n, line, "", "");
    assert_int_equal(r.status, 200);
    assert_says(r, "content-type: image/gif\r\n");
    assert_int_equal(accepted(n), before + 1);
    r = get(n, "/v1/pixel/track?data=%%%", "");
    assert_says(r, "x-polder-outcome: MALFORMED\r\n");
    assert_says(r, "GIF89a");
    assert_int_equal(accepted(n), before + 1);
    pl_buf_release(&path);
}

/* ---- a disk without room */

struct look {
    struct http_task task;
    struct edge_loop *loop;
    const char *outcome;
    uint64_t count;
    atomic_bool done;
};

static void look(struct http_task *task)
{
    struct look *look = (struct look *)task;
    const struct tally *tally = &look->loop->tally;
    for (size_t i = 0; i < TALLY_SLOTS; i++)
        if (tally->slots[i].who.account != 0 && strcmp(tally->slots[i].outcome, look->outcome) == 0)
            look->count += tally->slots[i].count;
    atomic_store(&look->done, true);
}

static uint64_t tallied(const struct node *n, const char *outcome)
{
    struct look one = {
        .task.run = look, .loop = &n->edge->loops[0], .outcome = outcome, .count = 0};
    http_loop_post(one.loop->http, &one.task);
    while (!atomic_load(&one.done))
        usleep(1000);
    return one.count;
}

static struct reply convert(const struct node *n, const char *txn)
{
    char path[256];
    snprintf(path, sizeof(path),
             "/pixel.gif?write_key=" KEY_TEXT "&goal=sale&visitor_id=v&note=jane%%40shop.example"
             "&txn_id=%s",
             txn);
    return get(n, path, "");
}

/* Of an event that could not be stored nothing is remembered, and nothing counted but that. */
static void test_what_is_not_stored_has_not_happened(void **state)
{
    struct node *n = *state;
    signal(SIGXFSZ, SIG_IGN);
    open_account(n);
    until_collecting(n);
    assert_says(convert(n, "T-1"), "x-polder-outcome: OK\r\n");
    assert_says(convert(n, "T-1"), "x-polder-outcome: DUPLICATE\r\n");
    assert_int_equal(tallied(n, "DUPLICATE"), 1);
    assert_int_equal(tallied(n, "MASKED"), 2);
    fixture_file_limit(1);
    assert_int_equal(convert(n, "T-2").status, 503);
    fixture_file_limit(RLIM_INFINITY);
    assert_int_equal(tallied(n, "UNAVAILABLE"), 1);
    until_collecting(n);
    assert_int_equal(tallied(n, "MASKED"), 2);
    assert_says(convert(n, "T-2"), "x-polder-outcome: OK\r\n");
    fixture_file_limit(1);
    assert_int_equal(convert(n, "T-1").status, 503);
    fixture_file_limit(RLIM_INFINITY);
    until_collecting(n);
    assert_int_equal(tallied(n, "DUPLICATE"), 1);
    assert_int_equal(tallied(n, "MASKED"), 3);
}

static int setup_one(void **state)
{
    return setup_with(state, "loops: 1\ntally_interval_s: 3600\n");
}

#define TEST(name)     cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_ONE(name) cmocka_unit_test_setup_teardown(name, setup_one, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_events_are_durable_when_answered),
        TEST(test_refusals_leave_nothing),
        TEST(test_too_large),
        TEST(test_one_event_has_one_limit),
        TEST(test_pixels_always_load),
        TEST_ONE(test_what_is_not_stored_has_not_happened),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
