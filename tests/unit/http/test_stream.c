/* Replies given in pieces. */
#include "harness.h"

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

static struct http_loop *_Atomic the_loop;

static void loop_start(struct http_loop *loop, unsigned index, void *arg)
{
    (void)index;
    (void)arg;
    atomic_store(&the_loop, loop);
}

static char abort_flag[] = "abort";
static const struct http_route ROUTES[] = {
    {HTTP_GET, "/", answer_ok, NULL},
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
    f.config.write_timeout_ms = 800;
    f.config.header_timeout_ms = f.config.idle_timeout_ms = 800;
    fixture_start(&f);
    EVENTUALLY(atomic_load(&the_loop) != NULL);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    fixture_stop(&f);
    return 0;
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
    assert_string_equal(ask(fd, GET("/"))->body, "ok");
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
    http_loop_post(atomic_load(&the_loop), &last->task);
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
    http_loop_post(atomic_load(&the_loop), &last->task);
    assert_true(h2_await(fd, H2_RST, &frame));
    assert_int_equal(frame.stream, 1);
    EVENTUALLY(atomic_load(&streams_gone) == gone + 2);
    h2_ask(fd, 3, "HEAD", "/", true);
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
    h2_ask(fd, 3, "HEAD", "/", true);
    assert_true(h2_await(fd, H2_HEADERS, &frame));
    assert_int_equal(frame.stream, 3);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams_in_pieces),
        cmocka_unit_test(streams_over_http2),
        cmocka_unit_test(an_aborted_stream_is_seen_as_broken),
        cmocka_unit_test(a_slow_reader_holds_the_stream_back),
        cmocka_unit_test(a_reader_that_stops_is_cut),
        cmocka_unit_test(the_last_chunk_can_be_cut_off_too),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
