/* An edge as a whole: before it knows anything, with a catalog, and at its end. */
#include "tests/unit/edge/node.h"

#include "edge/loop.h"

static void test_before_the_first_catalog(void **state)
{
    struct node *n = *state;
    assert_int_equal(get(n, "/health", "").status, 200);
    struct reply r = get(n, "/ready", "");
    assert_int_equal(r.status, 503);
    assert_says(r, "no catalog yet");
    /* Not "unknown key": it may be a good one. */
    r = track(n, "");
    assert_int_equal(r.status, 503);
    assert_says(r, "retry-after:");
    r = get(n, "/replication", "");
    assert_int_equal(r.status, 503);
    assert_says(r, "\"status\":\"down\"");
    assert_says(r, "not connected to the origin");
    open_account(n);
    until(n, "/ready", 200);
    until_collecting(n);
    r = get(n, "/replication", "");
    assert_int_equal(r.status, 200);
    assert_says(r, "\"status\":\"degraded\"");
}

static void test_configs_are_served(void **state)
{
    struct node *n = *state;
    char etag[64], headers[128];
    open_account(n);
    struct reply r = get(n, "/v1/config/" KEY_TEXT, "");
    assert_says(r, "{\"version\":1,\"campaigns\":[],\"settings\":{}}");
    assert_says(r, "cache-control: public, max-age=60");
    assert_says(r, "stale-while-revalidate");
    assert_says(r, "stale-if-error");
    assert_says(r, "vary: accept-encoding");
    assert_says(r, "access-control-allow-origin: *");
    const char *tag = strstr(r.text, "etag: ") + 6;
    snprintf(etag, sizeof(etag), "%.*s", (int)strcspn(tag, "\r"), tag);
    assert_true(etag[0] == '"');
    snprintf(headers, sizeof(headers), "If-None-Match: \"other\", %s\r\n", etag);
    r = get(n, "/v1/config/" KEY_TEXT, headers);
    assert_int_equal(r.status, 304);
    assert_says(r, etag);
    assert_silent(r, "campaigns");
    assert_int_equal(get(n, "/v1/config/" KEY_TEXT, "If-None-Match: \"other\"\r\n").status, 200);

    r = get(n, "/s/" KEY_TEXT ".js", "");
    assert_int_equal(r.status, 200);
    assert_says(r, "text/javascript");
    assert_says(r, "self.polderBoot={\"key\":\"" KEY_TEXT "\"");
    r = get(n, "/s/" KEY_TEXT ".js", "Accept-Encoding: gzip, deflate\r\n");
    assert_says(r, "content-encoding: gzip");
    r = get(n, "/s/" KEY_TEXT ".js", "Accept-Encoding: gzip, deflate, br\r\n");
    assert_says(r, "content-encoding: br");
    r = get(n, "/s/" KEY_TEXT ".js", "Accept-Encoding: br;q=0, gzip; q=0.0, x-gzip\r\n");
    assert_silent(r, "content-encoding");
    assert_int_equal(get(n, "/s/" KEY_TEXT, "").status, 404);
    assert_int_equal(get(n, "/sdk.js", "").status, 200);
    r = get(n, "/v1/config/ffffffffffffffffffffffffffffffff", "");
    assert_int_equal(r.status, 404);
    assert_int_equal(get(n, "/v1/config/nonsense", "").status, 404);
    r = send_to(n, "HEAD /v1/config/" KEY_TEXT, "", "");
    assert_int_equal(r.status, 200);
    assert_silent(r, "campaigns");
}

static void test_expiry_needs_no_news(void **state)
{
    struct node *n = *state;
    struct catalog_item item = account_item();
    item.expires_at_ms = pl_wall_ms(pl_clock_system()) + 1500;
    tell(n, &item);
    until(n, "/v1/config/" KEY_TEXT, 200);
    until(n, "/v1/config/" KEY_TEXT, 410);
    assert_int_equal(get(n, "/s/" KEY_TEXT ".js", "").status, 410);
    const int64_t end_ms = pl_mono_ms(pl_clock_system()) + 3000;
    struct reply r = track(n, "");
    while (r.status == 503 && pl_mono_ms(pl_clock_system()) < end_ms)
        r = track(n, "");
    assert_int_equal(r.status, 403);
    assert_says(r, "expired");
    /* Reinstated. */
    item.expires_at_ms = 0;
    tell(n, &item);
    until(n, "/v1/config/" KEY_TEXT, 200);
    until_collecting(n);
    /* Deleted. */
    struct catalog_item gone = {.kind = CATALOG_TOMBSTONE, .account = ACCOUNT};
    tell(n, &gone);
    until(n, "/v1/config/" KEY_TEXT, 404);
    assert_int_equal(track(n, "").status, 401);
}

/* As send_to, to a host of the account's own. */
static struct reply send_home(const struct node *n, const char *host, const char *line,
                              const char *body)
{
    static struct reply reply;
    static char request[1024];
    int len =
        snprintf(request, sizeof(request),
                 "%s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s",
                 line, host, strlen(body), body);
    ask(n, request, (size_t)len, &reply);
    return reply;
}

static void test_hosts_and_aliases_name_accounts(void **state)
{
    struct node *n = *state;
    struct catalog_item item = account_item(), other = account_item();
    item.host_count = 1;
    item.hosts[0] = S("metrics.shop.example");
    item.alias_count = 1;
    item.aliases[0] = S("com.shop");
    other.account = ACCOUNT + 1;
    other.write_key.bytes[0] ^= 1;
    other.config_json = S("{\"version\":1,\"campaigns\":[],\"settings\":{\"other\":1}}");
    other.host_count = 1;
    other.hosts[0] = S("other.example");
    tell(n, &item);
    tell(n, &other);
    until(n, "/v1/config/com.shop", 200);
    until_collecting(n);

    struct reply r = send_home(n, "Metrics.Shop.example:8443", "GET /s.js", "");
    assert_int_equal(r.status, 200);
    assert_says(r, "self.polderBoot={\"key\":\"" KEY_TEXT "\"");
    r = send_home(n, "other.example", "GET /v1/config", "");
    assert_int_equal(r.status, 200);
    assert_says(r, "\"other\":1");
    assert_int_equal(send_home(n, "other.example", "OPTIONS /v1/config", "").status, 204);
    r = send_home(n, "nobody.example", "GET /s.js", "");
    assert_int_equal(r.status, 404);
    assert_says(r, "no account has the host \\\"nobody.example\\\"");

    static const char body[] = "{\"event\":\"Looked\",\"anonymousId\":\"v\"}";
    const uint64_t before = accepted(n);
    assert_int_equal(send_home(n, "metrics.shop.example", "POST /v1/track", body).status, 200);
    assert_int_equal(accepted(n), before + 1);
    r = send_home(n, "nobody.example", "POST /v1/track", body);
    assert_int_equal(r.status, 401);
    assert_says(r, "names no write key, and no account has the host \\\"nobody.example\\\"");
    /* A key that is wrong stays wrong on a host that would do. */
    r = send_home(n, "metrics.shop.example", "POST /v1/track?writeKey=wrong",
                  "{\"writeKey\":\"wrong\",\"event\":\"Looked\",\"anonymousId\":\"v\"}");
    assert_int_equal(r.status, 401);
    assert_says(r, "no account has the write key or alias \\\"wrong\\\"");
    r = send_home(n, "edge", "POST /v1/track",
                  "{\"writeKey\":\"com.shop\",\"event\":\"Looked\",\"anonymousId\":\"v\"}");
    assert_int_equal(r.status, 200);
    assert_int_equal(accepted(n), before + 2);
}

static void test_reload_without_certificates_says_so(void **state)
{
    struct node *n = *state;
    struct pl_why why = {0};
    assert_int_equal(edge_reload(n->edge, &why), PL_EUNSUPPORTED);
    assert_non_null(strstr(why.text, "https_listen is not set"));
}

static void test_restart_with_no_origin_in_sight(void **state)
{
    struct node *n = *state;
    open_account(n);
    until_collecting(n);
    const uint64_t before = accepted(n);
    stop(n);
    start(n);
    struct reply r = get(n, "/v1/config/" KEY_TEXT, "");
    assert_int_equal(r.status, 200);
    assert_says(r, "campaigns");
    assert_int_equal(get(n, "/ready", "").status, 200);
    assert_int_equal(accepted(n), before);
    until_collecting(n);
}

/* One request may bring 2 MiB: a buffer that cannot hold it would refuse it for ever. */
static void test_the_buffer_holds_the_largest_request(void **state)
{
    struct node *n = *state;
    char path[128];
    struct pl_why why = {0};
    stop(n);
    write_options(n, "loops: 1\ncollect_buffer_bytes: 1048576\n");
    snprintf(path, sizeof(path), "%s/edge.yaml", n->dir);
    assert_int_equal(edge_options_load(&n->options, path, &why), PL_EINVAL);
    assert_non_null(strstr(why.text, "collect_buffer_bytes"));
    write_options(n, "loops: 1\ncollect_buffer_bytes: 2097152\n");
    start(n);
}

/* News that comes when a loop's last turn is near: the loop lets go of it as it stops, then its
 * task's turn comes. */
static void stop_with_news(struct http_loop *http, void *arg)
{
    struct edge *edge = arg;
    pthread_mutex_lock(&edge->publish_lock);
    struct catalog_snapshot *news = catalog_snapshot_ref(edge->snapshot);
    pthread_mutex_unlock(&edge->publish_lock);
    edge_publish(edge, news);
    edge_loop_stop(http, edge);
    catalog_snapshot_unref(news);
}

static void test_news_comes_too_late_for_a_loop(void **state)
{
    struct node *n = *state;
    struct pl_why why = {0};
    open_account(n);
    stop(n);
    make(n);
    assert_non_null(n->edge->snapshot);
    assert_int_equal(collector_start(n->edge->collector, &why), PL_OK);
    struct http_server *server =
        fixture_serve(n->edge->loop_count, edge_loop_start, stop_with_news, n->edge);
    http_server_drain(server, 1000);
    http_server_free(server);
}

#define TEST(name)         cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_LIMITED(name) cmocka_unit_test_setup_teardown(name, setup_limited, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_before_the_first_catalog),
        TEST(test_configs_are_served),
        TEST(test_expiry_needs_no_news),
        TEST(test_hosts_and_aliases_name_accounts),
        TEST(test_reload_without_certificates_says_so),
        TEST(test_restart_with_no_origin_in_sight),
        TEST(test_the_buffer_holds_the_largest_request),
        TEST(test_news_comes_too_late_for_a_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
