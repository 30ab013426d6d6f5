/* The server as a whole: configuration, listening, limits, draining. */
#include "harness.h"

#include <dirent.h>

static atomic_int entered;
static struct http_suspended *held;
static struct http_loop *held_on;

static void on_ok(struct http_request *request, void *arg)
{
    (void)arg;
    http_reply(request, 200, NULL, 0, PL_SPAN_LIT("ok"));
}

static void on_hold(struct http_request *request, void *arg)
{
    (void)arg;
    held_on = http_request_loop(request);
    held = http_suspend(request);
    atomic_fetch_add(&entered, 1);
}

static void on_length(struct http_request *request, void *arg)
{
    char text[32];
    (void)arg;
    int n = snprintf(text, sizeof(text), "%zu", http_request_body(request).len);
    http_reply(request, 200, NULL, 0, pl_span(text, (size_t)n));
}

static void on_wall(struct http_request *request, void *arg)
{
    char text[64];
    (void)arg;
    int n = snprintf(text, sizeof(text), "%lld %lld",
                     (long long)http_loop_wall_ms(http_request_loop(request)),
                     (long long)http_loop_mono_ms(http_request_loop(request)));
    http_reply(request, 200, NULL, 0, pl_span(text, (size_t)n));
}

static const struct http_route ROUTES[] = {
    {HTTP_GET, "/", on_ok, NULL},
    {HTTP_GET, "/hold", on_hold, NULL},
    {HTTP_GET, "/wall", on_wall, NULL},
    {HTTP_POST, "/length", on_length, NULL},
};
#define ROUTE_COUNT 4

static void let_go(struct http_task *task)
{
    (void)task;
    struct http_request *request = http_resume(held);
    held = NULL;
    if (request != NULL)
        http_reply(request, 200, NULL, 0, PL_SPAN_LIT("held"));
}
static struct http_task let_go_task = {.run = let_go};

static void *drain_in_thread(void *arg)
{
    http_server_drain(arg, 15000);
    return NULL;
}

/* ---- configuration --------------------------------------------------------------------- */

static void assert_refused(struct fixture *f, enum pl_err err, const char *word)
{
    struct http_server *server = NULL;
    struct pl_why why = {0};
    assert_int_equal(http_server_new(&server, &f->config, &why), err);
    assert_null(server);
    if (strstr(why.text, word) == NULL)
        fail_msg("\"%s\" does not mention %s", why.text, word);
}

static void explains_what_is_wrong(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, ROUTES, ROUTE_COUNT);
    f.config.loops = 0;
    assert_refused(&f, PL_EINVAL, "loops");
    fixture_init(&f, ROUTES, ROUTE_COUNT);
    f.config.listener_count = 0;
    assert_refused(&f, PL_EINVAL, "listeners");
    fixture_init(&f, ROUTES, ROUTE_COUNT);
    f.config.max_body_bytes = f.config.max_drain_bytes + 1;
    assert_refused(&f, PL_EINVAL, "drain");
    fixture_init(&f, ROUTES, ROUTE_COUNT);
    f.config.idle_timeout_ms = 0;
    assert_refused(&f, PL_EINVAL, "timeouts");
    fixture_init(&f, ROUTES, ROUTE_COUNT);
    f.listener.address = "localhost";
    assert_refused(&f, PL_EINVAL, "localhost");
    fixture_init(&f, ROUTES, ROUTE_COUNT);
    f.listener.address = "192.0.2.1";
    assert_refused(&f, PL_EINVAL, "192.0.2.1");
    fixture_init(&f, ROUTES, ROUTE_COUNT);
    f.listener.tls = true;
    assert_refused(&f, PL_EINVAL, "certificate");
    const struct http_route bad = {HTTP_GET, "no-slash", on_ok, NULL};
    fixture_init(&f, &bad, 1);
    assert_refused(&f, PL_EINVAL, "no-slash");
}

static void a_taken_port_is_told(void **state)
{
    (void)state;
    struct fixture f, g;
    fixture_init(&f, ROUTES, ROUTE_COUNT);
    fixture_start(&f);
    fixture_init(&g, ROUTES, ROUTE_COUNT);
    g.listener.port = f.port;
    assert_refused(&g, PL_EEXISTS, "another process");
    fixture_stop(&f);
    /* And free again at once. */
    fixture_start(&g);
    int fd = dial(g.port);
    assert_int_equal(ask(fd, GET("/"))->status, 200);
    fixture_stop(&g);
    close(fd);
}

static void new_without_start_can_be_freed(void **state)
{
    (void)state;
    struct fixture f;
    struct pl_why why;
    fixture_init(&f, ROUTES, ROUTE_COUNT);
    assert_int_equal(http_server_new(&f.server, &f.config, &why), PL_OK);
    http_server_free(f.server);
    assert_int_equal(http_server_new(&f.server, &f.config, &why), PL_OK);
    http_server_drain(f.server, 100);
    http_server_free(f.server);
    http_server_free(NULL);
}

static int open_descriptors(void)
{
    int count = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir) != NULL)
        ++count;
    closedir(dir);
    return count;
}

static void gives_every_descriptor_back(void **state)
{
    (void)state;
    struct fixture f;
    const int before = open_descriptors();
    fixture_init(&f, ROUTES, ROUTE_COUNT);
    f.config.loops = 3;
    fixture_start(&f);
    for (int i = 0; i < 30; ++i) { /* so that each loop has been at work */
        int fd = dial(f.port);
        assert_int_equal(ask(fd, GET("/"))->status, 200);
        close(fd);
    }
    fixture_stop(&f);
    assert_int_equal(open_descriptors(), before);
}

static void serves_on_many_loops_and_listeners(void **state)
{
    (void)state;
    struct fixture f;
    const struct http_listener two[] = {{.address = "127.0.0.1"}, {.address = "::1"}};
    fixture_init(&f, ROUTES, ROUTE_COUNT);
    f.config.listeners = two;
    f.config.listener_count = 2;
    f.config.loops = 3;
    fixture_start(&f);
    int fds[60];
    for (int i = 0; i < 60; ++i) {
        fds[i] = dial(f.port);
        assert_int_equal(ask(fds[i], GET("/"))->status, 200);
    }
    assert_int_equal(fixture_stats(&f).connections_open, 60);
    assert_int_equal(fixture_stats(&f).requests, 60);
    struct sockaddr_in6 to = {.sin6_family = AF_INET6,
                              .sin6_port = htons(http_server_port(f.server, 1)),
                              .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int six = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(six, (struct sockaddr *)&to, sizeof(to)) == 0)
        assert_int_equal(ask(six, GET("/"))->status, 200);
    close(six);
    fixture_stop(&f);
    for (int i = 0; i < 60; ++i)
        close(fds[i]);
}

static int64_t fixed_wall(void *ctx)
{
    (void)ctx;
    return 4102444800123;
}
static int64_t fixed_mono(void *ctx)
{
    (void)ctx;
    return 77;
}

static void takes_time_from_the_clock_it_is_given(void **state)
{
    (void)state;
    const struct pl_clock clock = {fixed_wall, fixed_mono, NULL};
    struct fixture f;
    fixture_init(&f, ROUTES, ROUTE_COUNT);
    f.config.clock = &clock;
    fixture_start(&f);
    int fd = dial(f.port);
    assert_string_equal(ask(fd, GET("/wall"))->body, "4102444800123 77");
    fixture_stop(&f);
    close(fd);
}

static void refuse_word(struct http_request *request, int status, const char *allow, void *arg)
{
    const struct http_header header = {PL_SPAN_LIT("x-allow"),
                                       pl_span_str(allow == NULL ? "none" : allow)};
    http_reply(request, status, &header, 1, pl_span_str(arg));
}

static void refusals_can_be_worded(void **state)
{
    (void)state;
    struct fixture f;
    char words[] = "our words";
    fixture_init(&f, ROUTES, ROUTE_COUNT);
    f.config.refuse = refuse_word;
    f.config.refuse_arg = words;
    f.config.max_body_bytes = 10;
    fixture_start(&f);
    int fd = dial(f.port);
    struct reply *reply = ask(fd, GET("/nowhere"));
    assert_int_equal(reply->status, 404);
    assert_string_equal(reply->body, "our words");
    reply = ask(fd, "PUT / HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_int_equal(reply->status, 405);
    assert_string_equal(reply_header(reply, "x-allow"), "GET, HEAD");
    reply = ask(fd, "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 11\r\n\r\nhello world");
    assert_int_equal(reply->status, 413);
    assert_string_equal(reply->body, "our words");
    fixture_stop(&f);
    close(fd);
}

/* ---- the connection limit -------------------------------------------------------------- */

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

/* Who keeps connections and asks nothing of them holds nobody up for long. */
static void nobody_keeps_all_connections(void **state)
{
    (void)state;
    struct fixture f;
    struct frame frame;
    fixture_init(&f, ROUTES, ROUTE_COUNT);
    f.config.max_connections = 8;
    f.config.header_timeout_ms = 8000; /* looked at every second */
    f.config.idle_timeout_ms = 60000;
    fixture_start(&f);
    int fds[6], h2 = h2_dial(f.port), silent = dial(f.port);
    for (int i = 0; i < 6; ++i) {
        fds[i] = dial(f.port);
        assert_int_equal(ask(fds[i], GET("/"))->status, 200);
    }
    h2_ask(h2, 1, "GET", "/", true);
    assert_true(h2_await(h2, H2_HEADERS, &frame));
    EVENTUALLY(fixture_stats(&f).connections_open == 8);
    int64_t from = now_ms();
    int ninth = dial(f.port);
    assert_int_equal(ask(ninth, GET("/"))->status, 200);
    assert_true(now_ms() - from < 4000);
    assert_true(h2_await(h2, H2_GOAWAY, &frame));
    for (int i = 0; i < 6; ++i)
        assert_closed(fds[i]);
    EVENTUALLY(fixture_stats(&f).connections_open <= 1);
    assert_true(now_ms() - from < 6000);
    /* With room again, the same quiet is nobody's trouble. */
    int patient = dial(f.port);
    assert_int_equal(ask(patient, GET("/"))->status, 200);
    struct pollfd quiet = {.fd = patient, .events = POLLIN};
    assert_int_equal(poll(&quiet, 1, 2500), 0);
    assert_int_equal(ask(patient, GET("/"))->status, 200);
    fixture_stop(&f);
    close(patient);
    close(ninth);
    close(silent);
    close(h2);
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

/* ---- the drain ------------------------------------------------------------------------- */

static void drain_finishes_what_is_under_way(void **state)
{
    (void)state;
    struct fixture f;
    pthread_t drainer;
    fixture_init(&f, ROUTES, ROUTE_COUNT);
    fixture_start(&f);
    int idle = dial(f.port), silent = dial(f.port), busy = dial(f.port), before = entered;
    assert_int_equal(ask(idle, GET("/"))->status, 200);
    say(busy, GET("/hold"));
    EVENTUALLY(atomic_load(&entered) == before + 1);

    pthread_create(&drainer, NULL, drain_in_thread, f.server);
    assert_closed(idle);
    assert_closed(silent);
    /* Nobody listens any more. */
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(f.port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int late = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(late, (struct sockaddr *)&to, sizeof(to)), -1);
    assert_int_equal(errno, ECONNREFUSED);
    close(late);

    http_loop_post(held_on, &let_go_task);
    struct reply *reply = read_reply(busy);
    assert_int_equal(reply->status, 200);
    assert_string_equal(reply->body, "held");
    assert_string_equal(reply_header(reply, "connection"), "close");
    assert_closed(busy);
    int64_t from = now_ms();
    pthread_join(drainer, NULL);
    assert_true(now_ms() - from < 2500);
    http_server_free(f.server);
}

static void drain_sends_goaway(void **state)
{
    (void)state;
    struct fixture f;
    struct frame frame;
    pthread_t drainer;
    int before = entered;
    fixture_init(&f, ROUTES, ROUTE_COUNT);
    fixture_start(&f);
    int idle = h2_dial(f.port), busy = h2_dial(f.port);
    h2_ask(idle, 1, "GET", "/", true);
    assert_true(h2_await(idle, H2_HEADERS, &frame));
    h2_ask(busy, 1, "GET", "/hold", true);
    EVENTUALLY(atomic_load(&entered) == before + 1);
    pthread_create(&drainer, NULL, drain_in_thread, f.server);
    assert_true(h2_await(idle, H2_GOAWAY, &frame));
    assert_int_equal(pl_load_u32(frame.payload + 4), 0);
    assert_true(h2_await(busy, H2_GOAWAY, &frame));
    http_loop_post(held_on, &let_go_task);
    assert_true(h2_await(busy, H2_HEADERS, &frame));
    assert_int_equal(h2_status(&frame), 200);
    while (h2_hear(idle, &frame))
        ;
    while (h2_hear(busy, &frame))
        ;
    pthread_join(drainer, NULL);
    http_server_free(f.server);
    close(idle);
    close(busy);
}

/* A body on its way when the drain begins arrives whole, however long it takes, and so does one
 * whose request crossed the first GOAWAY. */
static void drain_waits_for_http2_bodies(void **state)
{
    (void)state;
    struct fixture f;
    struct frame frame;
    pthread_t drainer;
    fixture_init(&f, ROUTES, ROUTE_COUNT);
    fixture_start(&f);
    int fd = h2_dial(f.port);
    h2_ask(fd, 1, "POST", "/length", false);
    say_frame(fd, H2_DATA, 0, 1, "12345", 5);
    assert_true(h2_await(fd, H2_SETTINGS, &frame));
    pthread_create(&drainer, NULL, drain_in_thread, f.server);
    assert_true(h2_await(fd, H2_GOAWAY, &frame));
    assert_int_equal(pl_load_u32(frame.payload), INT32_MAX);
    h2_ask(fd, 3, "POST", "/length", false);
    say_frame(fd, H2_DATA, 0, 1, "6", 1);

    struct pollfd heard = {.fd = fd, .events = POLLIN};
    while (poll(&heard, 1, 1500) == 1) { /* longer than libh2o would have waited */
        assert_true(h2_hear(fd, &frame));
        assert_int_not_equal(frame.type, H2_GOAWAY);
    }
    say_frame(fd, H2_DATA, H2_END_STREAM, 1, "7", 1);
    assert_true(h2_await(fd, H2_DATA, &frame));
    assert_int_equal(frame.stream, 1);
    assert_memory_equal(frame.payload, "7", 1);
    say_frame(fd, H2_DATA, H2_END_STREAM, 3, "12", 2);
    assert_true(h2_await(fd, H2_DATA, &frame));
    assert_int_equal(frame.stream, 3);
    assert_memory_equal(frame.payload, "2", 1);
    assert_true(h2_await(fd, H2_GOAWAY, &frame));
    assert_int_equal(pl_load_u32(frame.payload), 3);
    assert_false(h2_hear(fd, &frame));
    pthread_join(drainer, NULL);
    http_server_free(f.server);
    close(fd);
}

static void resume_held(struct http_loop *loop, void *arg)
{
    (void)loop;
    *(bool *)arg = http_resume(held) == NULL;
}

static void drain_is_bounded(void **state)
{
    (void)state;
    struct fixture f;
    bool found_none = false;
    int before = entered;
    fixture_init(&f, ROUTES, ROUTE_COUNT);
    f.config.loop_stop = resume_held;
    f.config.loop_arg = &found_none;
    fixture_start(&f);
    int held_fd = dial(f.port), half = dial(f.port);
    say(held_fd, GET("/hold"));
    EVENTUALLY(atomic_load(&entered) == before + 1);
    say(half, "GET / HTTP/1.1\r\nHos");
    int64_t from = now_ms();
    http_server_drain(f.server, 300);
    assert_in_range(now_ms() - from, 300, 4000);
    /* Whoever was still waiting is told; the owner of the request finds its client gone. */
    struct reply *reply = read_reply(held_fd);
    assert_int_equal(reply->status, 503);
    assert_true(found_none);
    char byte;
    assert_true(hear(half, &byte, 1) <= 0);
    http_server_free(f.server);
    close(held_fd);
    close(half);
}

static void drain_under_load_loses_nothing(void **state)
{
    (void)state;
    for (int round = 0; round < 20; ++round) {
        struct fixture f;
        pthread_t drainer;
        fixture_init(&f, ROUTES, ROUTE_COUNT);
        f.config.loops = 2;
        fixture_start(&f);
        int fds[20];
        for (int i = 0; i < 20; ++i) {
            fds[i] = dial(f.port);
            say(fds[i], GET("/"));
        }
        pthread_create(&drainer, NULL, drain_in_thread, f.server);
        for (int i = 0; i < 20; ++i) {
            assert_int_equal(read_reply(fds[i])->status, 200);
            close(fds[i]);
        }
        pthread_join(drainer, NULL);
        http_server_free(f.server);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(explains_what_is_wrong),
        cmocka_unit_test(a_taken_port_is_told),
        cmocka_unit_test(new_without_start_can_be_freed),
        cmocka_unit_test(gives_every_descriptor_back),
        cmocka_unit_test(serves_on_many_loops_and_listeners),
        cmocka_unit_test(takes_time_from_the_clock_it_is_given),
        cmocka_unit_test(refusals_can_be_worded),
        cmocka_unit_test(further_connections_wait),
        cmocka_unit_test(nobody_keeps_all_connections),
        cmocka_unit_test(bodies_under_way_have_a_limit),
        cmocka_unit_test(operators_have_connections_of_their_own),
        cmocka_unit_test(drain_finishes_what_is_under_way),
        cmocka_unit_test(drain_sends_goaway),
        cmocka_unit_test(drain_waits_for_http2_bodies),
        cmocka_unit_test(drain_is_bounded),
        cmocka_unit_test(drain_under_load_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
