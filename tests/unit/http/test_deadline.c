/* Clients that are slow on purpose: each wait has its end. */
#include "harness.h"

/* Long enough that a client is late only where it means to be, on a busy machine, too. */
#define HEADER_MS 1000
#define IDLE_MS   2000
#define WRITE_MS  1000

#define BIG ((size_t)8 * 1024 * 1024)
static struct http_body *big;

static void on_big(struct http_request *request, void *arg)
{
    (void)arg;
    http_reply_shared(request, 200, NULL, 0, big);
}

static const struct http_route ROUTES[] = {
    {HTTP_GET | HTTP_POST, "/", answer_ok, NULL},
    {HTTP_GET, "/big", on_big, NULL},
};
static struct fixture f;

static int start(void **state)
{
    (void)state;
    uint8_t *bytes = calloc(1, BIG);
    assert_int_equal(http_body_new(&big, pl_span(bytes, BIG)), PL_OK);
    free(bytes);
    fixture_init(&f, ROUTES, 2);
    f.config.header_timeout_ms = HEADER_MS;
    f.config.idle_timeout_ms = IDLE_MS;
    f.config.write_timeout_ms = WRITE_MS;
    fixture_start(&f);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    fixture_stop(&f);
    http_body_unref(big);
    return 0;
}

/* Sends a byte at a time until the server has had enough. */
static void trickle(int fd, const char *text)
{
    struct pollfd event = {.fd = fd, .events = POLLIN};
    int64_t from = now_ms();
    while (poll(&event, 1, 20) == 0 && now_ms() < from + 9 * HEADER_MS) {
        say_bytes(fd, text, 1);
        if (text[1] != '\0')
            ++text;
    }
    assert_true(now_ms() - from >= HEADER_MS - 50);
    assert_int_equal(poll(&event, 1, 0), 1);
}

static void a_slow_head_gets_408(void **state)
{
    (void)state;
    uint64_t before = fixture_stats(&f).timed_out;
    int fd = dial(f.port);
    trickle(fd, "GET / HTTP/1.1\r\nHost: t\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    struct reply *reply = read_reply(fd);
    assert_int_equal(reply->status, 408);
    assert_string_equal(reply_header(reply, "connection"), "close");
    assert_closed(fd);
    /* On a connection that has served before as well. */
    fd = dial(f.port);
    assert_int_equal(ask(fd, GET("/"))->status, 200);
    say(fd, "GET / HT");
    assert_int_equal(read_reply(fd)->status, 408);
    close(fd);
    assert_int_equal(fixture_stats(&f).timed_out, before + 2);
}

static void a_slow_body_gets_408(void **state)
{
    (void)state;
    int fd = dial(f.port);
    say(fd, "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1000\r\n\r\n");
    trickle(fd, "a");
    assert_int_equal(read_reply(fd)->status, 408);
    close(fd);
    fd = dial(f.port);
    say(fd, "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
    assert_int_equal(read_reply(fd)->status, 408);
    close(fd);
}

static void a_silent_client_is_hung_up_on(void **state)
{
    (void)state;
    int64_t from = now_ms();
    int fd = dial(f.port);
    assert_hung_up(fd);
    assert_true(now_ms() - from >= HEADER_MS - 50);
    fd = dial(f.port); /* half a preface */
    say(fd, "PRI * HT");
    assert_hung_up(fd);
}

static void an_idle_connection_is_closed_quietly(void **state)
{
    (void)state;
    uint64_t before = fixture_stats(&f).timed_out;
    int fd = dial(f.port);
    int64_t from = now_ms();
    for (int i = 0; i < 4; ++i) { /* in use it lives on */
        assert_int_equal(ask(fd, GET("/"))->status, 200);
        poll(NULL, 0, IDLE_MS / 3);
    }
    assert_true(now_ms() - from > IDLE_MS);
    assert_closed(fd);
    assert_int_equal(fixture_stats(&f).timed_out, before);
}

static void an_idle_http2_connection_gets_goaway(void **state)
{
    (void)state;
    struct frame frame;
    int fd = h2_dial(f.port);
    h2_ask(fd, 1, "GET", "/", true);
    assert_true(h2_await(fd, H2_GOAWAY, &frame));
    assert_int_equal(pl_load_u32(frame.payload + 4), 0);
    close(fd);
}

static void a_stalled_http2_body_is_reset(void **state)
{
    (void)state;
    struct frame frame;
    int fd = h2_dial(f.port);
    h2_ask(fd, 1, "POST", "/", false);
    say_frame(fd, H2_DATA, 0, 1, "a", 1);
    assert_true(h2_await(fd, H2_RST, &frame));
    assert_int_equal(frame.stream, 1);
    h2_ask(fd, 3, "GET", "/", true);
    assert_true(h2_await(fd, H2_HEADERS, &frame));
    assert_int_equal(frame.stream, 3);
    close(fd);
}

static void a_stalled_http2_head_ends_the_connection(void **state)
{
    (void)state;
    uint8_t block[512];
    struct frame frame;
    int fd = h2_dial(f.port);
    say_frame(fd, H2_HEADERS, H2_END_STREAM, 1, block, put_request(block, "GET", "/"));
    while (h2_hear(fd, &frame))
        assert_int_not_equal(frame.type, H2_HEADERS);
    close(fd);
}

static void a_reader_that_stops_is_cut(void **state)
{
    (void)state;
    uint64_t before = fixture_stats(&f).timed_out;
    int fd = dial_with(f.port, 8192);
    say(fd, GET("/big"));
    EVENTUALLY(fixture_stats(&f).timed_out == before + 1);
    EVENTUALLY(fixture_stats(&f).connections_open == 0);
    close(fd);

    fd = h2_dial(f.port);
    h2_ask(fd, 1, "GET", "/big", true); /* 64 KiB of window, never enlarged */
    struct frame frame;
    assert_true(h2_await(fd, H2_RST, &frame));
    assert_int_equal(frame.stream, 1);
    close(fd);
}

static void a_reader_that_is_merely_slow_gets_everything(void **state)
{
    (void)state;
    static char sink[256 * 1024];
    int fd = dial(f.port);
    int64_t from = now_ms();
    size_t total = 0;
    say(fd, GET("/big"));
    while (total < BIG) {
        ssize_t n = hear(fd, sink, sizeof(sink));
        assert_true(n > 0);
        total += (size_t)n;
        poll(NULL, 0, 50);
    }
    assert_true(now_ms() - from > WRITE_MS);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slow_head_gets_408),
        cmocka_unit_test(a_slow_body_gets_408),
        cmocka_unit_test(a_silent_client_is_hung_up_on),
        cmocka_unit_test(an_idle_connection_is_closed_quietly),
        cmocka_unit_test(an_idle_http2_connection_gets_goaway),
        cmocka_unit_test(a_stalled_http2_body_is_reset),
        cmocka_unit_test(a_stalled_http2_head_ends_the_connection),
        cmocka_unit_test(a_reader_that_stops_is_cut),
        cmocka_unit_test(a_reader_that_is_merely_slow_gets_everything),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
