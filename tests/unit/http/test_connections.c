/* How many connections there may be, and how much may be under way on them. */
#include "harness.h"

static const struct http_route ROUTES[] = {
    {HTTP_GET, "/", answer_ok, NULL},
    {HTTP_POST, "/length", answer_length, NULL},
};
#define ROUTE_COUNT 2

static void further_connections_wait(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, ROUTES, ROUTE_COUNT);
    f.config.max_connections = 4;
    f.config.loops = 2;
    fixture_start(&f);
    int fds[4];
    for (int i = 0; i < 4; ++i) {
        fds[i] = dial(f.port);
        assert_int_equal(ask(fds[i], GET("/"))->status, 200);
    }
    int fifth = dial(f.port);
    say(fifth, GET("/"));
    struct pollfd quiet = {.fd = fifth, .events = POLLIN};
    assert_int_equal(poll(&quiet, 1, 300), 0);
    close(fds[2]);
    assert_int_equal(read_reply(fifth)->status, 200);
    assert_int_equal(fixture_stats(&f).connections_accepted, 5);
    fixture_stop(&f);
    close(fifth);
    for (int i = 0; i < 4; ++i)
        if (i != 2)
            close(fds[i]);
}

static int idle_http1(uint16_t port)
{
    int fd = dial(port);
    assert_int_equal(ask(fd, GET("/"))->status, 200);
    return fd;
}

static int idle_http2(uint16_t port)
{
    struct frame frame;
    int fd = h2_dial(port);
    h2_ask(fd, 1, "GET", "/", true);
    assert_true(h2_await(fd, H2_HEADERS, &frame));
    return fd;
}

/* The first of them that the server has something to say to. */
static int first_of(const int *fds, size_t count)
{
    struct pollfd all[8];
    for (size_t i = 0; i < count; ++i)
        all[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
    assert_true(poll(all, count, 5000) > 0);
    size_t i = 0;
    while (all[i].revents == 0)
        ++i;
    return fds[i];
}

/* Who keeps connections and asks nothing of them holds nobody up for long. */
static void nobody_keeps_all_connections(void **state)
{
    (void)state;
    enum { MOST = 8 };
    int (*const keep[])(uint16_t port) = {idle_http1, idle_http2, dial};
    for (size_t kind = 0; kind < 3; ++kind) {
        struct fixture f;
        struct frame frame;
        int fds[MOST];
        char byte;
        fixture_init(&f, ROUTES, ROUTE_COUNT);
        f.config.max_connections = MOST;
        f.config.header_timeout_ms = 8000; /* looked at every second */
        f.config.idle_timeout_ms = 60000;
        fixture_start(&f);
        for (int i = 0; i < MOST; ++i)
            fds[i] = keep[kind](f.port);
        int one_more = dial(f.port);
        assert_int_equal(ask(one_more, GET("/"))->status, 200);
        const int gone = first_of(fds, MOST);
        if (keep[kind] == idle_http2)
            assert_true(h2_await(gone, H2_GOAWAY, &frame));
        else
            assert_int_equal(hear(gone, &byte, 1), 0);
        for (int i = 0; i < MOST; ++i)
            close(fds[i]);
        close(one_more);
        fixture_stop(&f);
    }
}

/* Where there is room, the same quiet is nobody's trouble. */
static void a_quiet_connection_is_kept(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, ROUTES, ROUTE_COUNT);
    f.config.max_connections = 8;
    fixture_start(&f);
    int fd = idle_http1(f.port);
    struct pollfd quiet = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&quiet, 1, 2500), 0);
    assert_int_equal(ask(fd, GET("/"))->status, 200);
    fixture_stop(&f);
    close(fd);
}

/* Where all are more than there is room for, the large ones are given up and the small go through.
 */
static void bodies_under_way_have_a_limit(void **state)
{
    (void)state;
    struct fixture f;
    struct frame frame;
    static uint8_t filler[420000];
    static const char large[] =
        "POST /length HTTP/1.1\r\nHost: t\r\nContent-Length: 430000\r\n\r\n";
    memset(filler, 'x', sizeof(filler));
    fixture_init(&f, ROUTES, ROUTE_COUNT);
    f.config.max_upload_bytes = 400000;
    f.config.header_timeout_ms = 60000;
    fixture_start(&f);
    int small = dial(f.port), one = dial(f.port), h2 = h2_dial(f.port);
    say(small, "POST /length HTTP/1.1\r\nHost: t\r\nContent-Length: 5000\r\n\r\n");
    say_bytes(small, filler, 4000);
    /* Slow but within the room. */
    say(one, large);
    say_bytes(one, filler, 380000);
    struct pollfd quiet = {.fd = one, .events = POLLIN};
    assert_int_equal(poll(&quiet, 1, 2500), 0);
    say_bytes(one, filler, 50000);
    struct reply *reply = read_reply(one);
    assert_int_equal(reply->status, 200);
    assert_string_equal(reply->body, "430000");
    /* Beyond it. */
    say(one, large);
    say_bytes(one, filler, 420000);
    reply = read_reply(one);
    assert_int_equal(reply->status, 503);
    assert_string_equal(reply_header(reply, "retry-after"), "1");
    assert_closed(one);
    h2_ask(h2, 1, "POST", "/length", false);
    for (int i = 0; i < 28; ++i)
        say_frame(h2, H2_DATA, 0, 1, filler, 15000);
    assert_true(h2_await(h2, H2_RST, &frame));
    assert_int_equal(pl_load_u32(frame.payload), 11); /* ENHANCE_YOUR_CALM */
    /* What else is under way goes on. */
    h2_ask(h2, 3, "GET", "/", true);
    assert_true(h2_await(h2, H2_HEADERS, &frame));
    assert_int_equal(h2_status(&frame), 200);
    say_bytes(small, filler, 1000);
    reply = read_reply(small);
    assert_int_equal(reply->status, 200);
    assert_string_equal(reply->body, "5000");
    fixture_stop(&f);
    close(small);
    close(h2);
}

/* What operators ask is answered however many the others are, and the other way round. */
static void operators_have_connections_of_their_own(void **state)
{
    (void)state;
    struct fixture f;
    const struct http_listener two[] = {{.address = "127.0.0.1"},
                                        {.address = "127.0.0.1", .reserved = true}};
    fixture_init(&f, ROUTES, ROUTE_COUNT);
    f.config.listeners = two;
    f.config.listener_count = 2;
    f.config.max_connections = 2;
    fixture_start(&f);
    const uint16_t reserved = http_server_port(f.server, 1);
    int fds[2], own[HTTP_RESERVED_CONNECTIONS];
    for (int i = 0; i < 2; ++i) {
        fds[i] = dial(f.port);
        assert_int_equal(ask(fds[i], GET("/"))->status, 200);
    }
    int third = dial(f.port);
    say(third, GET("/"));
    for (int i = 0; i < HTTP_RESERVED_CONNECTIONS; ++i) {
        own[i] = dial(reserved);
        assert_int_equal(ask(own[i], GET("/"))->status, 200);
    }
    assert_int_equal(fixture_stats(&f).connections_open, 2 + HTTP_RESERVED_CONNECTIONS);
    int one_more = dial(reserved);
    say(one_more, GET("/"));
    struct pollfd quiet[] = {{.fd = one_more, .events = POLLIN}, {.fd = third, .events = POLLIN}};
    assert_int_equal(poll(quiet, 2, 200), 0);
    close(fds[0]);
    assert_int_equal(read_reply(third)->status, 200);
    assert_int_equal(poll(quiet, 1, 0), 0);
    close(own[0]);
    assert_int_equal(read_reply(one_more)->status, 200);
    fixture_stop(&f);
    close(third);
    close(one_more);
    close(fds[1]);
    for (int i = 1; i < HTTP_RESERVED_CONNECTIONS; ++i)
        close(own[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(further_connections_wait),
        cmocka_unit_test(nobody_keeps_all_connections),
        cmocka_unit_test(a_quiet_connection_is_kept),
        cmocka_unit_test(bodies_under_way_have_a_limit),
        cmocka_unit_test(operators_have_connections_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
