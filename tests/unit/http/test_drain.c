/* A server that ends: what is under way is finished, and nothing begins. */
#include "harness.h"

static atomic_int entered;
static struct http_suspended *held;
static struct http_loop *held_on;

static void on_hold(struct http_request *request, void *arg)
{
    (void)arg;
    held_on = http_request_loop(request);
    held = http_suspend(request);
    atomic_fetch_add(&entered, 1);
}

static const struct http_route ROUTES[] = {
    {HTTP_GET, "/", answer_ok, NULL},
    {HTTP_GET, "/hold", on_hold, NULL},
    {HTTP_POST, "/length", answer_length, NULL},
};
#define ROUTE_COUNT 3
#define DRAIN_MS    15000 /* where all goes well, sooner */

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
    http_server_drain(arg, DRAIN_MS);
    return NULL;
}

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

    const int64_t from = now_ms();
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
    pthread_join(drainer, NULL);
    assert_true(now_ms() - from < DRAIN_MS);
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
    assert_true(now_ms() - from >= 300);
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
        cmocka_unit_test(drain_finishes_what_is_under_way), cmocka_unit_test(drain_sends_goaway),
        cmocka_unit_test(drain_waits_for_http2_bodies),     cmocka_unit_test(drain_is_bounded),
        cmocka_unit_test(drain_under_load_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
