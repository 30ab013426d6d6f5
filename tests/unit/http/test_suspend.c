/* Replies given later, tasks and timers. */
#include "harness.h"

/* ---- suspended: a worker thread resumes by posting to the loop --------------------------- */

struct job {
    struct http_task task;
    struct job *next;
    struct http_loop *loop;
    struct http_suspended *suspended;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct job *parked;
static atomic_int parked_count, found_client, found_none;

static void run_job(struct http_task *task)
{
    struct job *job = (struct job *)((char *)task - offsetof(struct job, task));
    struct http_request *request = http_resume(job->suspended);
    if (request == NULL) {
        atomic_fetch_add(&found_none, 1);
    } else {
        atomic_fetch_add(&found_client, 1);
        http_reply(request, 202, NULL, 0, http_request_body(request));
    }
    free(job);
}

static void on_park(struct http_request *request, void *arg)
{
    struct job *job = calloc(1, sizeof(*job));
    (void)arg;
    job->task.run = run_job;
    job->loop = http_request_loop(request);
    job->suspended = http_suspend(request);
    assert_non_null(job->suspended);
    pthread_mutex_lock(&lock);
    job->next = parked;
    parked = job;
    pthread_mutex_unlock(&lock);
    atomic_fetch_add(&parked_count, 1);
}

static void release_parked(void)
{
    pthread_mutex_lock(&lock);
    struct job *job = parked;
    parked = NULL;
    pthread_mutex_unlock(&lock);
    while (job != NULL) {
        struct job *next = job->next;
        http_loop_post(job->loop, &job->task);
        job = next;
    }
}

static void on_suspend_and_resume(struct http_request *request, void *arg)
{
    (void)arg;
    http_reply(http_resume(http_suspend(request)), 200, NULL, 0, PL_SPAN_LIT("at once"));
}

/* ---- server ---------------------------------------------------------------------------- */

static atomic_int ticks, stopped;
static struct http_loop *the_loop;
static atomic_int loops_up;

static void on_tick(struct http_loop *loop, void *arg)
{
    (void)arg;
    assert_ptr_equal(http_loop_user(loop), &ticks);
    atomic_fetch_add(&ticks, 1);
}

static void loop_start(struct http_loop *loop, unsigned index, void *arg)
{
    assert_int_equal(http_loop_index(loop), index);
    assert_ptr_equal(arg, &stopped);
    http_loop_set_user(loop, &ticks);
    assert_int_equal(http_loop_every(loop, 10, on_tick, NULL), PL_OK);
    assert_int_equal(http_loop_every(loop, 0, on_tick, NULL), PL_EINVAL);
    the_loop = loop;
    atomic_fetch_add(&loops_up, 1);
}

static void loop_stop(struct http_loop *loop, void *arg)
{
    (void)loop;
    (void)arg;
    atomic_fetch_add(&stopped, 1);
}

static const struct http_route ROUTES[] = {
    {HTTP_GET | HTTP_POST, "/park", on_park, NULL},
    {HTTP_GET | HTTP_POST, "/at-once", on_suspend_and_resume, NULL},
};
static struct fixture f;

static int start(void **state)
{
    (void)state;
    fixture_init(&f, ROUTES, sizeof(ROUTES) / sizeof(ROUTES[0]));
    f.config.loop_start = loop_start;
    f.config.loop_stop = loop_stop;
    f.config.loop_arg = &stopped;
    f.config.header_timeout_ms = f.config.idle_timeout_ms = 800;
    fixture_start(&f);
    EVENTUALLY(atomic_load(&loops_up) == 1);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    fixture_stop(&f);
    assert_int_equal(atomic_load(&stopped), 1);
    return 0;
}

static void replies_later(void **state)
{
    (void)state;
    int fd = dial(f.port), before = atomic_load(&parked_count);
    say(fd, "POST /park HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nbody" GET("/at-once"));
    EVENTUALLY(atomic_load(&parked_count) == before + 1);
    struct pollfd quiet = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&quiet, 1, 50), 0);
    release_parked();
    struct reply *reply = read_reply(fd);
    assert_int_equal(reply->status, 202);
    assert_string_equal(reply->body, "body");
    assert_string_equal(read_reply(fd)->body, "at once");
    close(fd);
}

static int64_t cpu_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* What comes while a request is suspended waits, without touching its body and without keeping
 * the loop busy; longer than any deadline, for it is not the client who is late. */
static void what_comes_early_waits(void **state)
{
    (void)state;
    static const char park[] = "POST /park HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nbody";
    static char early[66000] = "POST /park HTTP/1.1\r\nHost: t\r\nContent-Length: 65000\r\n\r\n";
    const size_t early_len = strlen(early) + 65000;
    int eager = dial(f.port), silent = dial(f.port), gone = dial(f.port), other = dial(f.port);
    int before = atomic_load(&parked_count);
    memset(early + strlen(early), 'e', 65000);
    say(eager, park);
    say(silent, park);
    say(gone, park);
    EVENTUALLY(atomic_load(&parked_count) == before + 3);
    say_bytes(eager, early, early_len);
    close(gone);
    /* Whoever comes now would get the buffers that were given up. */
    ask(other,
        "POST /at-once HTTP/1.1\r\nHost: t\r\nContent-Length: 20\r\n\r\n01234567890123456789");
    struct pollfd quiet[] = {{.fd = eager, .events = POLLIN}, {.fd = silent, .events = POLLIN}};
    const int64_t cpu_before = cpu_ms();
    assert_int_equal(poll(quiet, 2, 1100), 0);
    assert_true(cpu_ms() - cpu_before < 550);
    release_parked();
    assert_string_equal(read_reply(silent)->body, "body");
    assert_string_equal(read_reply(eager)->body, "body");
    EVENTUALLY(atomic_load(&parked_count) == before + 4);
    release_parked();
    assert_int_equal(read_reply(eager)->body_len, 65000);
    assert_string_equal(ask(eager, GET("/at-once"))->body, "at once");
    assert_string_equal(ask(silent, GET("/at-once"))->body, "at once");
    close(eager);
    close(silent);
    close(other);
}

static void finds_the_client_gone(void **state)
{
    (void)state;
    int before = atomic_load(&parked_count), gone = atomic_load(&found_none);
    uint8_t cancel[4] = {0, 0, 0, 8};
    struct frame frame;

    /* HTTP/2: the stream is reset, its neighbour is answered. */
    int fd = h2_dial(f.port);
    h2_ask(fd, 1, "GET", "/park", true);
    h2_ask(fd, 3, "GET", "/park", true);
    EVENTUALLY(atomic_load(&parked_count) == before + 2);
    say_frame(fd, H2_RST, 0, 1, cancel, 4);
    h2_ask(fd, 5, "GET", "/at-once", true); /* answered after the reset was read */
    assert_true(h2_await(fd, H2_HEADERS, &frame));
    release_parked();
    assert_true(h2_await(fd, H2_HEADERS, &frame));
    assert_int_equal(frame.stream, 3);
    EVENTUALLY(atomic_load(&found_none) == gone + 1); /* it may be the later one to be resumed */

    /* HTTP/2: the whole connection goes. */
    h2_ask(fd, 7, "GET", "/park", true);
    EVENTUALLY(atomic_load(&parked_count) == before + 3);
    close(fd);
    EVENTUALLY(fixture_stats(&f).connections_open == 0);
    release_parked();
    EVENTUALLY(atomic_load(&found_none) == gone + 2);

    /* HTTP/1: seen only when the reply is written; nothing else may come of it. */
    fd = dial(f.port);
    say(fd, GET("/park"));
    EVENTUALLY(atomic_load(&parked_count) == before + 4);
    close(fd);
    release_parked();
    EVENTUALLY(fixture_stats(&f).connections_open == 0);
}

static void many_at_once(void **state)
{
    (void)state;
    enum { CLIENTS = 100 };
    int fds[CLIENTS], before = atomic_load(&parked_count);
    for (int i = 0; i < CLIENTS; ++i) {
        fds[i] = dial(f.port);
        say(fds[i], GET("/park"));
    }
    EVENTUALLY(atomic_load(&parked_count) == before + CLIENTS);
    release_parked();
    for (int i = 0; i < CLIENTS; ++i) {
        assert_int_equal(read_reply(fds[i])->status, 202);
        close(fds[i]);
    }
}

struct order {
    struct http_task task;
    int number;
};
static int ran[1000];
static atomic_int ran_count;

static void run_order(struct http_task *task)
{
    ran[atomic_load(&ran_count)] = ((struct order *)task)->number;
    atomic_fetch_add(&ran_count, 1);
}

static void runs_tasks_in_order(void **state)
{
    (void)state;
    static struct order orders[1000];
    for (int i = 0; i < 1000; ++i) {
        orders[i] = (struct order){.task.run = run_order, .number = i};
        http_loop_post(the_loop, &orders[i].task);
    }
    EVENTUALLY(atomic_load(&ran_count) == 1000);
    for (int i = 0; i < 1000; ++i)
        assert_int_equal(ran[i], i);
}

static void ticks_while_idle(void **state)
{
    (void)state;
    int before = atomic_load(&ticks);
    EVENTUALLY(atomic_load(&ticks) >= before + 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_later),         cmocka_unit_test(what_comes_early_waits),
        cmocka_unit_test(finds_the_client_gone), cmocka_unit_test(many_at_once),
        cmocka_unit_test(runs_tasks_in_order),   cmocka_unit_test(ticks_while_idle),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
