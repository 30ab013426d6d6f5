/* Replies given later, replies given in pieces, tasks and timers. */
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

/* ---- streams --------------------------------------------------------------------------- */

#define PIECE (16 * 1024)

struct feed {
    struct http_stream *stream;
    unsigned left;
    bool abort_at_end;
};

static atomic_int streams_gone, pieces_written;

static void feed_ready(void *arg)
{
    static const uint8_t piece[PIECE];
    struct feed *feed = arg;
    atomic_fetch_add(&pieces_written, 1);
    if (feed->left == 0 && feed->abort_at_end)
        http_stream_abort(feed->stream);
    else if (feed->left == 0)
        http_stream_write(feed->stream, PL_SPAN_LIT("end"), true);
    else if (feed->left-- % 2 == 0)
        http_stream_write(feed->stream, pl_span(piece, PIECE), false);
    else
        http_stream_write(feed->stream, pl_span(NULL, 0), false); /* allowed: nothing yet */
}

static void feed_gone(void *arg)
{
    atomic_fetch_add(&streams_gone, 1);
    free(arg);
}

static const struct http_stream_ops FEED = {.ready = feed_ready, .gone = feed_gone};

static void on_stream(struct http_request *request, void *arg)
{
    static const struct http_header type = {PL_SPAN_INIT("content-type"),
                                            PL_SPAN_INIT("application/x-ndjson")};
    struct feed *feed = calloc(1, sizeof(*feed));
    uint64_t pieces = 0;
    pl_span_to_u64(http_request_tail(request), &pieces);
    feed->left = (unsigned)pieces;
    feed->abort_at_end = arg != NULL;
    assert_int_equal(http_stream_start(request, 200, &type, 1, &FEED, feed, &feed->stream), PL_OK);
}

/* The last chunk is far more than a client takes that does not read; then the stream is cut. */
#define LAST_BYTES ((size_t)16 << 20)

struct last {
    struct http_task task;
    struct http_stream *stream;
};

static struct last *last; /* the loop's until it is written */
static atomic_int lasts_written;

static void last_ready(void *arg)
{
    struct last *self = arg;
    uint8_t *chunk = calloc(1, LAST_BYTES);
    http_stream_write(self->stream, pl_span(chunk, LAST_BYTES), true);
    free(chunk);
    last = self;
    atomic_fetch_add(&lasts_written, 1);
}

static const struct http_stream_ops LAST = {.ready = last_ready, .gone = feed_gone};

static void cut_last(struct http_task *task)
{
    http_stream_cut(((struct last *)task)->stream);
}

static void on_last(struct http_request *request, void *arg)
{
    struct last *self = calloc(1, sizeof(*self));
    (void)arg;
    self->task.run = cut_last;
    assert_int_equal(http_stream_start(request, 200, NULL, 0, &LAST, self, &self->stream), PL_OK);
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

static char abort_flag[] = "abort";
static const struct http_route ROUTES[] = {
    {HTTP_GET | HTTP_POST, "/park", on_park, NULL},
    {HTTP_GET | HTTP_POST, "/at-once", on_suspend_and_resume, NULL},
    {HTTP_GET, "/stream/*", on_stream, NULL},
    {HTTP_GET, "/abort/*", on_stream, abort_flag},
    {HTTP_GET, "/last", on_last, NULL},
};
static struct fixture f;

static int start(void **state)
{
    (void)state;
    fixture_init(&f, ROUTES, sizeof(ROUTES) / sizeof(ROUTES[0]));
    f.config.loop_start = loop_start;
    f.config.loop_stop = loop_stop;
    f.config.loop_arg = &stopped;
    f.config.write_timeout_ms = 800;
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

static void streams_in_pieces(void **state)
{
    (void)state;
    int fd = dial(f.port), gone = atomic_load(&streams_gone);
    struct reply *reply = ask(fd, GET("/stream/7"));
    assert_true(reply->complete);
    assert_string_equal(reply_header(reply, "transfer-encoding"), "chunked");
    assert_string_equal(reply_header(reply, "content-type"), "application/x-ndjson");
    assert_int_equal(reply->body_len, 3 * PIECE + 3);
    EVENTUALLY(atomic_load(&streams_gone) == gone + 1);
    /* The connection goes on. */
    assert_int_equal(ask(fd, GET("/stream/0"))->body_len, 3);
    say(fd, "HEAD /stream/5 HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_int_equal(read_reply_to(fd, true)->status, 200);
    assert_string_equal(ask(fd, GET("/at-once"))->body, "at once");
    EVENTUALLY(atomic_load(&streams_gone) == gone + 3);
    close(fd);

    fd = dial(f.port); /* HTTP/1.0: the close marks the end */
    say(fd, "GET /stream/3 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    reply = read_reply(fd);
    assert_true(reply->complete);
    assert_int_equal(reply->body_len, PIECE + 3);
    close(fd);
}

static void streams_over_http2(void **state)
{
    (void)state;
    struct frame frame;
    size_t total = 0;
    int fd = h2_dial(f.port), gone = atomic_load(&streams_gone);
    h2_ask(fd, 1, "GET", "/stream/5", true);
    do {
        assert_true(h2_await(fd, H2_DATA, &frame));
        total += frame.len;
    } while ((frame.flags & H2_END_STREAM) == 0);
    assert_int_equal(total, 2 * PIECE + 3);
    h2_ask(fd, 3, "GET", "/abort/3", true);
    assert_true(h2_await(fd, H2_RST, &frame));
    assert_int_equal(frame.stream, 3);
    close(fd);
    EVENTUALLY(atomic_load(&streams_gone) == gone + 2);
}

static void an_aborted_stream_is_seen_as_broken(void **state)
{
    (void)state;
    int gone = atomic_load(&streams_gone);
    int fd = dial(f.port);
    struct reply *reply = ask(fd, GET("/abort/3"));
    assert_int_equal(reply->status, 200);
    assert_false(reply->complete);
    close(fd);
    fd = dial(f.port);
    say(fd, "GET /abort/3 HTTP/1.0\r\n\r\n");
    assert_false(read_reply(fd)->complete);
    close(fd);
    EVENTUALLY(atomic_load(&streams_gone) == gone + 2);
}

static void a_slow_reader_holds_the_stream_back(void **state)
{
    (void)state;
    int gone = atomic_load(&streams_gone), pieces = atomic_load(&pieces_written);
    int fd = dial_with(f.port, 8192);
    say(fd, GET("/stream/4000"));
    static char sink[PIECE];
    int64_t until = now_ms() + 1300; /* longer than the write timeout, but it does read */
    while (now_ms() < until) {
        assert_true(hear(fd, sink, sizeof(sink)) > 0);
        poll(NULL, 0, 20);
    }
    assert_int_equal(atomic_load(&streams_gone), gone);
    assert_true(atomic_load(&pieces_written) - pieces < 3000);
    close(fd);
    EVENTUALLY(atomic_load(&streams_gone) == gone + 1);
}

/* Sooner than the timeout for readers that have stopped. */
static void the_last_chunk_can_be_cut_off_too(void **state)
{
    (void)state;
    static char sink[PIECE];
    const uint64_t timed_out = fixture_stats(&f).timed_out;
    int gone = atomic_load(&streams_gone), written = atomic_load(&lasts_written);
    int fd = dial_with(f.port, 8192);
    say(fd, GET("/last"));
    EVENTUALLY(atomic_load(&lasts_written) == written + 1);
    assert_int_equal(atomic_load(&streams_gone), gone);
    http_loop_post(the_loop, &last->task);
    EVENTUALLY(atomic_load(&streams_gone) == gone + 1);
    size_t heard = 0;
    for (ssize_t n; (n = hear(fd, sink, sizeof(sink))) > 0; heard += (size_t)n)
        ;
    assert_true(heard < LAST_BYTES);
    close(fd);

    /* HTTP/2, a window that lets nothing through: the stream alone. */
    static const uint8_t no_window[6] = {0, 4, 0, 0, 0, 0};
    struct frame frame;
    fd = h2_dial_with(f.port, no_window, 6);
    h2_ask(fd, 1, "GET", "/last", true);
    EVENTUALLY(atomic_load(&lasts_written) == written + 2);
    http_loop_post(the_loop, &last->task);
    assert_true(h2_await(fd, H2_RST, &frame));
    assert_int_equal(frame.stream, 1);
    EVENTUALLY(atomic_load(&streams_gone) == gone + 2);
    h2_ask(fd, 3, "HEAD", "/at-once", true);
    assert_true(h2_await(fd, H2_HEADERS, &frame));
    close(fd);
    assert_int_equal(fixture_stats(&f).timed_out, timed_out);
}

static void a_reader_that_stops_is_cut(void **state)
{
    (void)state;
    int gone = atomic_load(&streams_gone);
    uint64_t timed_out = fixture_stats(&f).timed_out;
    int fd = dial_with(f.port, 8192);
    say(fd, GET("/stream/4000"));
    EVENTUALLY(atomic_load(&streams_gone) == gone + 1);
    assert_int_equal(fixture_stats(&f).timed_out, timed_out + 1);
    close(fd);

    /* HTTP/2, nothing in flight: the client's window is shut. */
    static const uint8_t no_window[6] = {0, 4, 0, 0, 0, 0};
    fd = h2_dial_with(f.port, no_window, 6);
    h2_ask(fd, 1, "GET", "/stream/4000", true);
    struct frame frame;
    assert_true(h2_await(fd, H2_RST, &frame));
    assert_int_equal(fixture_stats(&f).timed_out, timed_out + 2);
    assert_int_equal(atomic_load(&streams_gone), gone + 2);
    /* Only the stream was the culprit. */
    h2_ask(fd, 3, "HEAD", "/at-once", true);
    assert_true(h2_await(fd, H2_HEADERS, &frame));
    assert_int_equal(frame.stream, 3);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_later),
        cmocka_unit_test(what_comes_early_waits),
        cmocka_unit_test(finds_the_client_gone),
        cmocka_unit_test(many_at_once),
        cmocka_unit_test(runs_tasks_in_order),
        cmocka_unit_test(ticks_while_idle),
        cmocka_unit_test(streams_in_pieces),
        cmocka_unit_test(streams_over_http2),
        cmocka_unit_test(an_aborted_stream_is_seen_as_broken),
        cmocka_unit_test(a_slow_reader_holds_the_stream_back),
        cmocka_unit_test(a_reader_that_stops_is_cut),
        cmocka_unit_test(the_last_chunk_can_be_cut_off_too),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
