/* Requests and replies over HTTP/1: what a handler is told, and what the client gets. */
#include "harness.h"

static void on_hello(struct http_request *request, void *arg)
{
    const struct http_header headers[] = {
        {PL_SPAN_LIT("content-type"), PL_SPAN_LIT("text/plain")},
        {PL_SPAN_LIT("x-polder-test"), PL_SPAN_LIT("yes")},
    };
    http_reply(request, 200, headers, 2, pl_span_str(arg));
}

static void on_echo(struct http_request *request, void *arg)
{
    (void)arg;
    http_reply(request, 200, NULL, 0, http_request_body(request));
}

/* path|tail|query|authority|user-agent|x-odd|method|peer bytes */
static void on_tell(struct http_request *request, void *arg)
{
    struct pl_span path = http_request_path(request), tail = http_request_tail(request);
    struct pl_span query = http_request_query(request), authority = http_request_authority(request);
    struct pl_span agent = PL_SPAN_LIT("-"), odd = PL_SPAN_LIT("-"), peer = {0};
    char text[1024];
    (void)arg;
    http_request_header(request, "user-agent", &agent);
    http_request_header(request, "x-odd", &odd);
    assert_true(http_request_peer(request, &peer));
    int n = snprintf(text, sizeof(text), "%.*s|%.*s|%.*s|%.*s|%.*s|%.*s|%d|%zu|%d",
                     PL_SPAN_FMT(path), PL_SPAN_FMT(tail), PL_SPAN_FMT(query),
                     PL_SPAN_FMT(authority), PL_SPAN_FMT(agent), PL_SPAN_FMT(odd),
                     (int)http_request_method(request), peer.len, http_request_is_tls(request));
    http_reply(request, 200, NULL, 0, pl_span(text, (size_t)n));
}

static void on_status(struct http_request *request, void *arg)
{
    (void)arg;
    uint64_t status = 0;
    pl_span_to_u64(http_request_tail(request), &status);
    http_reply(request, (int)status, NULL, 0, PL_SPAN_LIT("text"));
}

static struct http_body *shared_body;

static void on_shared(struct http_request *request, void *arg)
{
    static const struct http_header headers[] = {
        {PL_SPAN_INIT("content-type"), PL_SPAN_INIT("application/json")},
        {PL_SPAN_INIT("etag"), PL_SPAN_INIT("\"1\"")},
        {PL_SPAN_INIT("x-odd-name"), PL_SPAN_INIT("odd")},
    };
    (void)arg;
    http_reply_shared(request, 200, headers, 3, shared_body);
}

static void on_not_modified(struct http_request *request, void *arg)
{
    static const struct http_header headers[] = {{PL_SPAN_INIT("etag"), PL_SPAN_INIT("\"1\"")}};
    (void)arg;
    http_reply_shared(request, 304, headers, 1, NULL);
}

static void on_forget(struct http_request *request, void *arg)
{
    (void)request;
    (void)arg;
}

static void on_last(struct http_request *request, void *arg)
{
    (void)arg;
    http_request_close_after(request);
    http_reply(request, 200, NULL, 0, PL_SPAN_LIT("bye"));
}

static char short_greeting[] = "hello";
static char post_greeting[] = "posted";
static char wide_greeting[] = "wide";

static const struct http_route ROUTES[] = {
    {HTTP_GET, "/hello", on_hello, short_greeting},
    {HTTP_POST, "/hello", on_hello, post_greeting},
    {HTTP_POST | HTTP_PUT, "/echo", on_echo, NULL},
    {HTTP_GET, "/tell/*", on_tell, NULL},
    {HTTP_GET, "/tell/wide*", on_hello, wide_greeting},
    {HTTP_GET | HTTP_POST, "/status/*", on_status, NULL},
    {HTTP_GET, "/shared", on_shared, NULL},
    {HTTP_GET, "/same", on_not_modified, NULL},
    {HTTP_GET, "/forget", on_forget, NULL},
    {HTTP_GET, "/last", on_last, NULL},
};

static struct fixture f;

static int start(void **state)
{
    (void)state;
    assert_int_equal(http_body_new(&shared_body, PL_SPAN_LIT("{\"shared\":true}")), PL_OK);
    fixture_init(&f, ROUTES, sizeof(ROUTES) / sizeof(ROUTES[0]));
    f.config.max_body_bytes = 64 * 1024;
    fixture_start(&f);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    fixture_stop(&f);
    http_body_unref(shared_body);
    return 0;
}

static void keeps_the_connection(void **state)
{
    (void)state;
    int fd = dial(f.port);
    for (int i = 0; i < 3; ++i) {
        struct reply *reply = ask(fd, GET("/hello"));
        assert_int_equal(reply->status, 200);
        assert_string_equal(reply->body, "hello");
        assert_string_equal(reply_header(reply, "content-type"), "text/plain");
        assert_string_equal(reply_header(reply, "x-polder-test"), "yes");
        assert_string_equal(reply_header(reply, "content-length"), "5");
        assert_non_null(reply_header(reply, "date"));
        assert_null(reply_header(reply, "server"));
    }
    close(fd);
}

static void answers_a_pipeline_in_order(void **state)
{
    (void)state;
    int fd = dial(f.port);
    say(fd, GET("/hello") "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabc" GET(
                "/shared") GET("/nothing") GET("/hello"));
    assert_string_equal(read_reply(fd)->body, "hello");
    assert_string_equal(read_reply(fd)->body, "abc");
    assert_string_equal(read_reply(fd)->body, "{\"shared\":true}");
    assert_int_equal(read_reply(fd)->status, 404);
    assert_string_equal(read_reply(fd)->body, "hello");
    close(fd);
}

static void shares_a_body(void **state)
{
    (void)state;
    int fd = dial(f.port);
    for (int i = 0; i < 3; ++i) {
        struct reply *reply = ask(fd, GET("/shared"));
        assert_string_equal(reply->body, "{\"shared\":true}");
        assert_string_equal(reply_header(reply, "etag"), "\"1\"");
        assert_string_equal(reply_header(reply, "x-odd-name"), "odd");
    }
    struct reply *reply = ask(fd, GET("/same"));
    assert_int_equal(reply->status, 304);
    assert_string_equal(reply_header(reply, "etag"), "\"1\"");
    assert_null(reply_header(reply, "content-length"));
    assert_int_equal(ask(fd, GET("/hello"))->status, 200);
    close(fd);
}

static void head_has_the_length_but_no_body(void **state)
{
    (void)state;
    int fd = dial(f.port);
    say(fd, "HEAD /hello HTTP/1.1\r\nHost: t\r\n\r\nHEAD /shared HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_string_equal(reply_header(read_reply_to(fd, true), "content-length"), "5");
    assert_string_equal(reply_header(read_reply_to(fd, true), "content-length"), "15");
    assert_string_equal(ask(fd, GET("/hello"))->body, "hello");
    close(fd);
}

static void statuses_without_body_keep_the_connection(void **state)
{
    (void)state;
    int fd = dial(f.port);
    struct reply *reply = ask(fd, GET("/status/204"));
    assert_int_equal(reply->status, 204);
    assert_null(reply_header(reply, "content-length"));
    assert_int_equal(ask(fd, GET("/status/304"))->status, 304);
    reply = ask(fd, GET("/status/503"));
    assert_int_equal(reply->status, 503);
    assert_string_equal(reply->body, "text");
    assert_int_equal(
        ask(fd, "POST /status/201 HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n")->status, 201);
    assert_int_equal(ask(fd, GET("/status/777"))->status, 777);
    assert_int_equal(ask(fd, GET("/hello"))->status, 200);
    close(fd);
}

static void routes_by_path_and_method(void **state)
{
    (void)state;
    int fd = dial(f.port);
    assert_int_equal(ask(fd, GET("/hell"))->status, 404);
    assert_int_equal(ask(fd, GET("/hello/"))->status, 404);
    assert_int_equal(ask(fd, GET("/"))->status, 404);
    assert_int_equal(ask(fd, "OPTIONS * HTTP/1.1\r\nHost: t\r\n\r\n")->status, 404);
    struct reply *reply = ask(fd, "POST /hello HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n");
    assert_string_equal(reply->body, "posted");
    reply = ask(fd, "DELETE /hello HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_int_equal(reply->status, 405);
    assert_string_equal(reply_header(reply, "allow"), "GET, HEAD, POST");
    reply = ask(fd, "BREW /echo HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_int_equal(reply->status, 405);
    assert_string_equal(reply_header(reply, "allow"), "POST, PUT");
    /* The longest prefix wins. */
    assert_string_equal(ask(fd, GET("/tell/wider"))->body, "wide");
    close(fd);
}

static void tells_the_handler_what_was_sent(void **state)
{
    (void)state;
    int fd = dial(f.port);
    struct reply *reply =
        ask(fd, "GET /tell/a%2Fb/../c?x=1&y=%20 HTTP/1.1\r\nHost: shop.example:81\r\n"
                "User-Agent: tester\r\nX-Odd: 1\r\nX-ODD: 2\r\n\r\n");
    assert_string_equal(reply->body,
                        "/tell/a%2Fb/../c|a%2Fb/../c|x=1&y=%20|shop.example:81|tester|1|1|4|0");
    reply = ask(fd, "GET /tell/? HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_string_equal(reply->body, "/tell/|||h|-|-|1|4|0");
    reply = ask(fd, "GET /tell/x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_string_equal(reply->body, "/tell/x|x|||-|-|1|4|0");
    /* Absolute form; its authority wins. */
    reply = ask(fd, "GET http://other.example/tell/z?q HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_string_equal(reply->body, "/tell/z|z|q|other.example|-|-|1|4|0");
    reply = ask(fd, "GET http://other.example HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(reply->status, 404);
    close(fd);
}

static void an_unanswered_request_gets_500(void **state)
{
    (void)state;
    int fd = dial(f.port);
    assert_int_equal(ask(fd, GET("/forget"))->status, 500);
    close(fd);
}

static void closes_when_asked(void **state)
{
    (void)state;
    int fd = dial(f.port);
    struct reply *reply = ask(fd, GET("/last"));
    assert_string_equal(reply->body, "bye");
    assert_string_equal(reply_header(reply, "connection"), "close");
    assert_closed(fd);

    fd = dial(f.port);
    ask(fd, "GET /hello HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    assert_closed(fd);

    fd = dial(f.port);
    assert_int_equal(ask(fd, "GET /hello HTTP/1.0\r\n\r\n")->status, 200);
    assert_closed(fd);
}

static void too_large_is_told_and_the_connection_stays(void **state)
{
    (void)state;
    int fd = dial(f.port);
    size_t len = 200 * 1024;
    char *body = calloc(1, len), head[128];
    snprintf(head, sizeof(head), "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: %zu\r\n\r\n",
             len);
    uint64_t before = fixture_stats(&f).refused_too_large;
    say(fd, head);
    say_bytes(fd, body, len);
    assert_int_equal(read_reply(fd)->status, 413);
    assert_int_equal(ask(fd, GET("/hello"))->status, 200);
    assert_int_equal(fixture_stats(&f).refused_too_large, before + 1);

    /* At the limit it passes. */
    len = 60 * 1024;
    snprintf(head, sizeof(head), "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: %zu\r\n\r\n",
             len);
    say(fd, head);
    say_bytes(fd, body, len);
    struct reply *reply = read_reply(fd);
    assert_int_equal(reply->status, 200);
    assert_int_equal(reply->body_len, len);
    free(body);
    close(fd);
}

static void far_too_large_is_told_and_closed(void **state)
{
    (void)state;
    size_t len = 3 * 1024 * 1024;
    char *body = calloc(1, len), head[128];
    snprintf(head, sizeof(head), "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: %zu\r\n\r\n",
             len);
    uint64_t before = fixture_stats(&f).refused_too_large;
    for (int i = 0; i < 10; ++i) { /* a reset that eats the answer would be a race */
        int fd = dial(f.port);
        say(fd, head);
        say_bytes(fd, body, len);
        struct reply *reply = read_reply(fd);
        assert_int_equal(reply->status, 413);
        assert_string_equal(reply_header(reply, "connection"), "close");
        assert_closed(fd);
    }
    assert_int_equal(fixture_stats(&f).refused_too_large, before + 10);
    free(body);
}

static void waits_for_100_continue(void **state)
{
    (void)state;
    char line[64];
    int fd = dial(f.port);
    say(fd, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    assert_true(read_until(fd, line, sizeof(line), "\r\n\r\n"));
    assert_string_equal(line, "HTTP/1.1 100 Continue\r\n\r\n");
    say(fd, "abc");
    assert_string_equal(read_reply(fd)->body, "abc");
    /* Far too much: refused before a byte of it is sent. */
    struct reply *reply = ask(fd, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 9999999\r\n"
                                  "Expect: 100-continue\r\n\r\n");
    assert_int_equal(reply->status, 413);
    close(fd);
}

static void a_chunked_body_is_read_and_ends_the_connection(void **state)
{
    (void)state;
    int fd = dial(f.port);
    struct reply *reply =
        ask(fd, "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
                "3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\n\r\n" GET("/hello"));
    assert_string_equal(reply->body, "abcdefg");
    assert_string_equal(reply_header(reply, "connection"), "close");
    char byte; /* what followed is not taken for a request */
    assert_true(hear(fd, &byte, 1) <= 0);
    close(fd);
}

static void reads_slowly_sent_requests(void **state)
{
    (void)state;
    int fd = dial(f.port);
    const char *request = "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\nok";
    for (const char *p = request; *p != '\0'; ++p) {
        say_bytes(fd, p, 1);
        poll(NULL, 0, 1);
    }
    assert_string_equal(read_reply(fd)->body, "ok");
    close(fd);
}

static void counts(void **state)
{
    (void)state;
    struct http_stats before = fixture_stats(&f);
    int fd = dial(f.port);
    ask(fd, GET("/hello"));
    ask(fd, GET("/nothing"));
    struct http_stats after = fixture_stats(&f);
    assert_int_equal(after.connections_accepted, before.connections_accepted + 1);
    assert_int_equal(after.requests, before.requests + 2);
    assert_int_equal(after.replies_by_class[2], before.replies_by_class[2] + 1);
    assert_int_equal(after.replies_by_class[4], before.replies_by_class[4] + 1);
    close(fd);
}

static void serves_http2(void **state)
{
    (void)state;
    struct frame frame;
    int fd = h2_dial(f.port);
    h2_ask(fd, 1, "GET", "/hello", true);
    assert_true(h2_await(fd, H2_HEADERS, &frame));
    assert_int_equal(h2_status(&frame), 200);
    assert_true(h2_await(fd, H2_DATA, &frame));
    assert_int_equal(frame.len, 5);
    assert_memory_equal(frame.payload, "hello", 5);
    h2_ask(fd, 3, "HEAD", "/shared", true);
    assert_true(h2_await(fd, H2_HEADERS, &frame));
    assert_int_equal(h2_status(&frame), 200);
    h2_ask(fd, 5, "POST", "/echo", false);
    say_frame(fd, H2_DATA, 0, 5, "ab", 2);
    say_frame(fd, H2_DATA, H2_END_STREAM, 5, "cd", 2);
    assert_true(h2_await(fd, H2_HEADERS, &frame));
    assert_int_equal(frame.stream, 5);
    assert_true(h2_await(fd, H2_DATA, &frame));
    assert_memory_equal(frame.payload, "abcd", 4);
    /* Over the limit: 413. Over what is drained: only that stream suffers. */
    static uint8_t part[16384];
    h2_ask(fd, 9, "POST", "/echo", false);
    for (int i = 0; i < 5; ++i)
        say_frame(fd, H2_DATA, i == 4 ? H2_END_STREAM : 0, 9, part, sizeof(part));
    assert_true(h2_await(fd, H2_HEADERS, &frame));
    assert_int_equal(h2_status(&frame), 413);
    uint64_t before = fixture_stats(&f).refused_too_large;
    h2_ask(fd, 11, "POST", "/echo", false);
    for (int i = 0; i < 65; ++i)
        say_frame(fd, H2_DATA, 0, 11, part, sizeof(part));
    assert_true(h2_await(fd, H2_HEADERS, &frame));
    assert_int_equal(frame.stream, 11);
    assert_int_equal(h2_status(&frame), 413);
    assert_int_equal(frame.flags, H2_END_STREAM | H2_END_HEADERS);
    assert_true(h2_await(fd, H2_RST, &frame));
    assert_int_equal(frame.stream, 11);
    assert_int_equal(pl_load_u32(frame.payload), 0); /* not "try again" */
    assert_int_equal(fixture_stats(&f).refused_too_large, before + 1);
    h2_ask(fd, 13, "PUT", "/hello", true);
    assert_true(h2_await(fd, H2_HEADERS, &frame));
    assert_int_equal(h2_status(&frame), 405);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_the_connection),
        cmocka_unit_test(answers_a_pipeline_in_order),
        cmocka_unit_test(shares_a_body),
        cmocka_unit_test(head_has_the_length_but_no_body),
        cmocka_unit_test(statuses_without_body_keep_the_connection),
        cmocka_unit_test(routes_by_path_and_method),
        cmocka_unit_test(tells_the_handler_what_was_sent),
        cmocka_unit_test(an_unanswered_request_gets_500),
        cmocka_unit_test(closes_when_asked),
        cmocka_unit_test(too_large_is_told_and_the_connection_stays),
        cmocka_unit_test(far_too_large_is_told_and_closed),
        cmocka_unit_test(waits_for_100_continue),
        cmocka_unit_test(a_chunked_body_is_read_and_ends_the_connection),
        cmocka_unit_test(reads_slowly_sent_requests),
        cmocka_unit_test(counts),
        cmocka_unit_test(serves_http2),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
