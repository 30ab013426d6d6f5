/* The server as a whole: configuration, listening. */
#include "harness.h"

#include <dirent.h>

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
    {HTTP_GET, "/", answer_ok, NULL},
    {HTTP_GET, "/wall", on_wall, NULL},
};
#define ROUTE_COUNT 2

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
    const struct http_route bad = {HTTP_GET, "no-slash", answer_ok, NULL};
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
