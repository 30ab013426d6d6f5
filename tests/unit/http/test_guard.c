/* What libh2o would let through: requests with two readings, oversized heads, HTTP/2 floods. */
#include "harness.h"

static atomic_int handled;

static void on_ok(struct http_request *request, void *arg)
{
    (void)arg;
    atomic_fetch_add(&handled, 1);
    http_reply(request, 200, NULL, 0, PL_SPAN_LIT("ok"));
}

static const struct http_route ROUTES[] = {{HTTP_GET | HTTP_POST, "/*", on_ok, NULL}};
static struct fixture f;

#define CONTROL_FRAMES 200

static int start(void **state)
{
    (void)state;
    fixture_init(&f, ROUTES, 1);
    f.config.h2_control_frames_per_10s = CONTROL_FRAMES;
    fixture_start(&f);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    fixture_stop(&f);
    return 0;
}

/* ---- HTTP/1 ---------------------------------------------------------------------------- */

/* What is smuggled behind each shape; it must never reach the handler. */
#define SMUGGLED "GET /smuggled HTTP/1.1\r\nHost: t\r\n\r\n"

static const struct {
    const char *what, *request;
    bool ours; /* refused by the guard, not already by libh2o */
} SHAPES[] = {
    {"two lengths", "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\n",
     true},
    {"the same length twice",
     "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n", true},
    {"length and coding",
     "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
     "0\r\n\r\n",
     true},
    {"coding and length",
     "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n"
     "0\r\n\r\n",
     true},
    {"two codings",
     "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: identity\r\n"
     "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     true},
    {"coding other than chunked",
     "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", false},
    {"coding with a list",
     "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", false},
    {"coding in HTTP/1.0",
     "POST / HTTP/1.0\r\nHost: t\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n"
     "0\r\n\r\n",
     true},
    {"length list", "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 0, 0\r\n\r\n", false},
    {"signed length", "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: +0\r\n\r\n", false},
    {"hexadecimal length", "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 0x0\r\n\r\n", false},
    {"empty length", "POST / HTTP/1.1\r\nHost: t\r\nContent-Length:\r\n\r\n", false},
    {"space before the colon", "POST / HTTP/1.1\r\nHost: t\r\nContent-Length : 0\r\n\r\n", false},
    {"folded header", "GET / HTTP/1.1\r\nHost: t\r\nX-A: 1\r\n Content-Length: 5\r\n\r\n", true},
    {"header folded with a tab", "GET / HTTP/1.1\r\nHost: t\r\nX-A: 1\r\n\tb\r\n\r\n", true},
    {"first header indented", "GET / HTTP/1.1\r\n Host: t\r\n\r\n", false},
    {"bare LF after a header", "GET / HTTP/1.1\r\nHost: t\r\nX-A: 1\nX-B: 2\r\n\r\n", true},
    {"bare LF after the request line", "GET / HTTP/1.1\nHost: t\r\n\r\n", true},
    {"bare LF at the end", "GET / HTTP/1.1\r\nHost: t\r\n\n", true},
    {"bare CR in a value", "GET / HTTP/1.1\r\nHost: t\r\nX-A: 1\rX-B: 2\r\n\r\n", false},
    {"no name", "GET / HTTP/1.1\r\nHost: t\r\n: 1\r\n\r\n", false},
    {"no colon", "GET / HTTP/1.1\r\nHost: t\r\nX-A\r\n\r\n", false},
    {"no host", "GET / HTTP/1.1\r\nX-A: 1\r\n\r\n", true},
    {"two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", true},
    {"version 2 in words", "GET / HTTP/2.0\r\nHost: t\r\n\r\n", false},
    {"h2 preface cut short", "PRI * HTTP/2.0\r\n\r\nGET / HTTP/1.1\r\nHost: t\r\n\r\n", false},
    {"no HTTP at all", "\x16\x03\x01\x02\x01\x01garbage\r\n\r\n", false},
};

static void refuses_requests_with_two_readings(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(SHAPES) / sizeof(SHAPES[0]); ++i) {
        uint64_t refused = fixture_stats(&f).refused_smuggling;
        int before = atomic_load(&handled);
        int fd = dial(f.port);
        say(fd, SHAPES[i].request);
        say(fd, SMUGGLED);
        struct reply *reply = read_reply(fd);
        if (reply->status != 400)
            fail_msg("%s: answered with %d", SHAPES[i].what, reply->status);
        if (strcmp(reply_header(reply, "connection"), "close") != 0)
            fail_msg("%s: the connection was kept", SHAPES[i].what);
        char byte;
        if (hear(fd, &byte, 1) > 0)
            fail_msg("%s: something followed the 400", SHAPES[i].what);
        close(fd);
        assert_int_equal(atomic_load(&handled), before);
        assert_int_equal(fixture_stats(&f).refused_smuggling, refused + (SHAPES[i].ours ? 1 : 0));
    }
}

static void sees_the_shape_in_a_pipeline(void **state)
{
    (void)state;
    int before = atomic_load(&handled);
    int fd = dial(f.port);
    say(fd, GET("/") "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\nContent-Length: "
                     "5\r\n\r\n" SMUGGLED);
    assert_int_equal(read_reply(fd)->status, 200);
    assert_int_equal(read_reply(fd)->status, 400);
    char byte;
    assert_true(hear(fd, &byte, 1) <= 0);
    close(fd);
    assert_int_equal(atomic_load(&handled), before + 1);
}

static void lets_ordinary_requests_pass(void **state)
{
    (void)state;
    int fd = dial(f.port);
    assert_int_equal(ask(fd, "\r\n" GET("/"))->status, 200); /* RFC 9112 section 2.2 */
    assert_int_equal(ask(fd, "POST / HTTP/1.1\r\nhost:t\r\nCONTENT-LENGTH:\t2\r\n\r\nok")->status,
                     200);
    assert_int_equal(
        ask(fd, "GET / HTTP/1.1\r\nHost:\r\nX-Empty:\r\nX-Utf: \xc3\xa9\r\n\r\n")->status, 200);
    assert_int_equal(ask(fd, "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding:  CHUNKED\r\n\r\n"
                             "0\r\n\r\n")
                         ->status,
                     200);
    close(fd);
}

static char *long_request(size_t value_len)
{
    char *request = malloc(value_len + 128);
    int n = sprintf(request, "GET / HTTP/1.1\r\nHost: t\r\n");
    for (int i = 0; i < 4; ++i) { /* one header of 60 KiB would do as well */
        n += sprintf(request + n, "X-%d: ", i);
        memset(request + n, 'a', value_len / 4);
        n += (int)(value_len / 4);
        n += sprintf(request + n, "\r\n");
    }
    sprintf(request + n, "\r\n");
    return request;
}

static void limits_the_head(void **state)
{
    (void)state;
    int fd = dial(f.port);
    char *request = long_request(39 * 1024);
    assert_int_equal(ask(fd, request)->status, 200);
    free(request);
    request = long_request(41 * 1024);
    struct reply *reply = ask(fd, request);
    assert_int_equal(reply->status, 431);
    assert_string_equal(reply_header(reply, "connection"), "close");
    free(request);
    assert_closed(fd);

    /* More headers than libh2o takes. */
    fd = dial(f.port);
    say(fd, "GET / HTTP/1.1\r\nHost: t\r\n");
    for (int i = 0; i < 101; ++i)
        say(fd, "A: b\r\n");
    say(fd, "\r\n");
    assert_int_equal(read_reply(fd)->status, 400);
    close(fd);
}

/* ---- HTTP/2 ---------------------------------------------------------------------------- */

/* Sends frame until the server has had enough; how many it took, or -1 when it never did. */
static int flood_with(int fd, const uint8_t *bytes, size_t len, int at_most)
{
    struct frame frame;
    for (int i = 0; i < at_most; ++i)
        say_bytes(fd, bytes, len);
    while (h2_hear(fd, &frame)) {
        if (frame.type != H2_GOAWAY)
            continue;
        int reason = (int)pl_load_u32(frame.payload + 4);
        char byte;
        assert_true(hear(fd, &byte, 1) <= 0);
        return reason;
    }
    return -1;
}

#define ENHANCE_YOUR_CALM 11

static void closes_on_control_frame_floods(void **state)
{
    (void)state;
    static const uint8_t opaque[8], priority[5] = {0, 0, 0, 0, 15}, zero[4];
    static const struct {
        const char *what;
        unsigned type;
        uint32_t stream;
        const uint8_t *payload;
        size_t len;
    } floods[] = {
        {"PING", H2_PING, 0, opaque, 8},
        {"SETTINGS", H2_SETTINGS, 0, NULL, 0},
        {"PRIORITY", H2_PRIORITY, 1, priority, 5},
        {"unknown", 0x42, 0, opaque, 8},
        {"GOAWAY", H2_GOAWAY, 0, opaque, 8},
        {"WINDOW_UPDATE that makes errors", H2_WINDOW, 1, zero, 4},
    };
    int bystander = h2_dial(f.port);
    struct frame answer;
    h2_ask(bystander, 1, "GET", "/", true);
    assert_true(h2_await(bystander, H2_HEADERS, &answer));

    for (size_t i = 0; i < sizeof(floods) / sizeof(floods[0]); ++i) {
        uint8_t bytes[64];
        uint64_t before = fixture_stats(&f).refused_flood;
        int fd = h2_dial(f.port);
        h2_ask(fd, 1, "GET", "/", true);
        size_t len =
            put_frame(bytes, floods[i].type, 0, floods[i].stream, floods[i].payload, floods[i].len);
        int reason = flood_with(fd, bytes, len, 3 * CONTROL_FRAMES);
        if (reason != ENHANCE_YOUR_CALM)
            fail_msg("%s: %d", floods[i].what, reason);
        assert_int_equal(fixture_stats(&f).refused_flood, before + 1);
        close(fd);
    }
    /* Unearned by anything sent, window updates add up as well. */
    static const uint8_t one[4] = {0, 0, 0, 1};
    uint8_t update[16];
    int idler = h2_dial(f.port);
    size_t update_len = put_frame(update, H2_WINDOW, 0, 0, one, 4);
    assert_int_equal(flood_with(idler, update, update_len, 20 * CONTROL_FRAMES), ENHANCE_YOUR_CALM);
    close(idler);

    h2_ask(bystander, 3, "GET", "/", true);
    assert_true(h2_await(bystander, H2_HEADERS, &answer));
    assert_int_equal(h2_status(&answer), 200);
    close(bystander);
}

/* CVE-2023-44487: all in one burst, so that much of it arrives with the very first read. */
static void closes_on_rapid_reset(void **state)
{
    (void)state;
    enum { STREAMS = 20000 };
    uint8_t block[512], *burst = malloc(STREAMS * 128), cancel[4] = {0, 0, 0, 8};
    size_t block_len = put_request(block, "GET", "/"), len = 0;
    const char *preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    int before = atomic_load(&handled);

    memcpy(burst, preface, strlen(preface));
    len = strlen(preface);
    len += put_frame(burst + len, H2_SETTINGS, 0, 0, NULL, 0);
    for (uint32_t i = 0; i < STREAMS; ++i) {
        len += put_frame(burst + len, H2_HEADERS, H2_END_HEADERS | H2_END_STREAM, 2 * i + 1, block,
                         block_len);
        len += put_frame(burst + len, H2_RST, 0, 2 * i + 1, cancel, 4);
    }
    int bystander = dial(f.port), fd = dial(f.port);
    assert_int_equal(ask(bystander, GET("/"))->status, 200);
    say_bytes(fd, burst, len);
    char byte[4096];
    while (hear(fd, byte, sizeof(byte)) > 0)
        ;
    assert_true(atomic_load(&handled) - before <= CONTROL_FRAMES + 10);
    assert_int_equal(ask(bystander, GET("/"))->status, 200);
    free(burst);
    close(fd);
    close(bystander);
}

static void closes_on_continuation_flood(void **state)
{
    (void)state;
    uint8_t block[512], frame[64], filler[32];
    size_t len = put_request(block, "GET", "/");
    int fd = h2_dial(f.port);
    say_frame(fd, H2_HEADERS, H2_END_STREAM, 1, block, len);
    len = put_frame(frame, H2_CONTINUATION, 0, 1, filler, put_header(filler, "a", "b"));
    assert_int_equal(flood_with(fd, frame, len, 3 * CONTROL_FRAMES), ENHANCE_YOUR_CALM);
    close(fd);

    /* Few frames, but more than a head may hold. */
    uint8_t big[16000];
    memset(big, 0, sizeof(big));
    fd = h2_dial(f.port);
    len = put_request(block, "GET", "/");
    say_frame(fd, H2_HEADERS, H2_END_STREAM, 1, block, len);
    for (int i = 0; i < 4; ++i)
        say_frame(fd, H2_CONTINUATION, 0, 1, big, sizeof(big));
    struct frame answer;
    assert_true(h2_await(fd, H2_GOAWAY, &answer));
    assert_int_equal(pl_load_u32(answer.payload + 4), ENHANCE_YOUR_CALM);
    close(fd);
}

static void limits_the_head_behind_hpack(void **state)
{
    (void)state;
    uint8_t block[8192];
    char value[101];
    struct frame answer;
    memset(value, 'v', 100);
    value[100] = '\0';
    /* One literal put into the dynamic table (0x40), then referred to again and again. */
    size_t len = put_request(block, "GET", "/"), at = len;
    len += put_header(block + len, "x-bomb", value);
    block[at] = 0x40;
    for (int i = 0; i < 500; ++i)
        block[len++] = 0x80 | 62;
    int fd = h2_dial(f.port);
    say_frame(fd, H2_HEADERS, H2_END_HEADERS | H2_END_STREAM, 1, block, len);
    assert_true(h2_await(fd, H2_HEADERS, &answer));
    assert_int_equal(h2_status(&answer), 431);
    close(fd);
}

static void lets_a_busy_http2_connection_live(void **state)
{
    (void)state;
    uint8_t opaque[8] = {0}, window[4] = {0, 0, 0, 1};
    struct frame answer;
    int fd = h2_dial(f.port);
    for (uint32_t i = 0; i < 300; ++i) {
        uint32_t stream = 2 * i + 1;
        h2_ask(fd, stream, "GET", "/", true);
        say_frame(fd, H2_WINDOW, 0, 0, window, 4);
        if (i % 10 == 0)
            say_frame(fd, H2_PING, 0, 0, opaque, 8);
        if (i % 50 == 0)
            say_frame(fd, 0x10, 0, 0, opaque, 8); /* PRIORITY_UPDATE, as browsers send it */
        assert_true(h2_await(fd, H2_HEADERS, &answer));
        assert_int_equal(h2_status(&answer), 200);
    }
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_requests_with_two_readings),
        cmocka_unit_test(sees_the_shape_in_a_pipeline),
        cmocka_unit_test(lets_ordinary_requests_pass),
        cmocka_unit_test(limits_the_head),
        cmocka_unit_test(closes_on_control_frame_floods),
        cmocka_unit_test(closes_on_rapid_reset),
        cmocka_unit_test(closes_on_continuation_flood),
        cmocka_unit_test(limits_the_head_behind_hpack),
        cmocka_unit_test(lets_a_busy_http2_connection_live),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
