#include "proto/http/internal.h"

#include <linux/tcp.h>
#include <netinet/in.h>

#define TICK_MIN_MS 25
#define TICK_MAX_MS 1000
/* By so much less time has who is yet to begin a request, where connections are short. */
#define CROWDED_HURRY 4

uint64_t http_deadline_tick_ms(const struct http_server_config *config)
{
    int64_t shortest = config->header_timeout_ms;
    if (config->idle_timeout_ms < shortest)
        shortest = config->idle_timeout_ms;
    if (config->write_timeout_ms < shortest)
        shortest = config->write_timeout_ms;
    shortest /= 4;
    return (uint64_t)(shortest < TICK_MIN_MS   ? TICK_MIN_MS
                      : shortest > TICK_MAX_MS ? TICK_MAX_MS
                                               : shortest);
}

/* Signed, because h2o_now() follows the wall clock and may step back. */
static bool over(uint64_t now_ms, uint64_t since_ms, int64_t limit_ms)
{
    return (int64_t)(now_ms - since_ms) >= limit_ms;
}

static uint64_t to_ms(struct timeval tv)
{
    return (uint64_t)tv.tv_sec * 1000 + (uint64_t)tv.tv_usec / 1000;
}

/* Where connections are short, those that nobody uses at the moment are the first to go: clients
 * make new ones without a word, and one client alone could hold them all. */
static bool is_crowded(const struct http_conn *conn)
{
    const struct http_server *server = conn->loop->server;
    const enum http_pool pool = conn->listener->pool;
    const unsigned max = http_server_max(server, pool);
    return atomic_load_explicit(&server->open[pool], memory_order_relaxed) >= max - max / 8;
}

static int64_t idle_limit_ms(const struct http_conn *conn)
{
    const int64_t limit_ms = conn->loop->server->config.idle_timeout_ms;
    return limit_ms > HTTP_CROWDED_IDLE_MS && is_crowded(conn) ? HTTP_CROWDED_IDLE_MS : limit_ms;
}

/* ---- writes ---------------------------------------------------------------------------- */

/* What the peer has acknowledged is the only progress libh2o's queue does not hide. */
static uint64_t acked_bytes(int fd)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof(info);
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
        return 0;
    return info.tcpi_bytes_acked;
}

static void check_write(struct http_conn *conn, uint64_t now_ms)
{
    if (!h2o_socket_is_writing(conn->sock)) {
        conn->stalled_since_ms = 0;
        return;
    }
    uint64_t acked = acked_bytes(h2o_socket_get_fd(conn->sock));
    if (conn->stalled_since_ms == 0 || acked != conn->acked_bytes) {
        conn->acked_bytes = acked;
        conn->stalled_since_ms = now_ms;
    } else if (!conn->cut &&
               over(now_ms, conn->stalled_since_ms, conn->loop->server->config.write_timeout_ms)) {
        http_count(&conn->loop->counters.timed_out);
        http_conn_cut(conn);
    }
}

/* ---- HTTP/1 ---------------------------------------------------------------------------- */

static void check_http1(struct http_conn *conn, uint64_t now_ms)
{
    const struct http_server_config *config = &conn->loop->server->config;
    h2o_socket_t *sock = conn->sock;
    uint64_t begun =
        conn->h1_req == NULL ? conn->since_ms : to_ms(conn->h1_req->timestamps.request_begin_at);

    if (conn->h1_parked || !h2o_socket_is_reading(sock) || h2o_socket_is_writing(sock))
        return; /* a request is with its handler, or its reply under way */
    if (begun != 0) {
        if (over(now_ms, begun, config->header_timeout_ms)) {
            http_count(&conn->loop->counters.timed_out);
            http_conn_tell(conn, 408, "Request Timeout");
        }
    } else if (sock->bytes_written != conn->seen_written) {
        conn->seen_written = sock->bytes_written;
        conn->since_ms = now_ms;
    } else if (conn->loop->draining || over(now_ms, conn->since_ms, idle_limit_ms(conn))) {
        http_conn_hang_up(conn);
    }
}

/* ---- HTTP/2 ---------------------------------------------------------------------------- */

/* response_end_at serves as the place for what was last seen: libh2o sets it, for access logs,
 * only when the stream has ended. */
static bool reply_is_stuck(h2o_http2_stream_t *stream, uint64_t now_ms, int64_t limit_ms)
{
    struct timeval *seen = &stream->req.timestamps.response_end_at;
    long sent = (long)stream->req.bytes_sent + 1;

    if ((stream->state != H2O_HTTP2_STREAM_STATE_SEND_BODY &&
         stream->state != H2O_HTTP2_STREAM_STATE_SEND_BODY_IS_FINAL) ||
        stream->_data.size == 0) {
        seen->tv_sec = 0;
        return false;
    }
    if (seen->tv_sec != sent) {
        seen->tv_sec = sent;
        seen->tv_usec = (long)now_ms;
        return false;
    }
    return over(now_ms, (uint64_t)seen->tv_usec, limit_ms);
}

#define MAX_OVERDUE 64 /* a tick; the rest wait for the next */

struct overdue {
    struct http_loop *loop;
    uint64_t now_ms;
    h2o_http2_stream_t *streams[MAX_OVERDUE];
    size_t count;
};

/* Nonzero ends the walk. */
static int look_at_stream(h2o_req_t *req, void *data)
{
    struct overdue *overdue = data;
    h2o_http2_stream_t *stream = H2O_STRUCT_FROM_MEMBER(h2o_http2_stream_t, req, req);
    struct http_conn *conn = http_conn_of(http_request_socket(req));
    const struct http_server_config *config = &overdue->loop->server->config;
    bool late =
        over(overdue->now_ms, to_ms(req->timestamps.request_begin_at), config->header_timeout_ms);

    if (((h2o_http2_conn_t *)req->conn)->state >= H2O_HTTP2_CONN_STATE_IS_CLOSING || conn->cut)
        return 0;
    switch (stream->state) {
    case H2O_HTTP2_STREAM_STATE_RECV_HEADERS:
        /* Between HEADERS and the last CONTINUATION nothing else can be said there. */
        if (late) {
            http_count(&overdue->loop->counters.timed_out);
            http_conn_cut(conn);
        }
        return 0;
    case H2O_HTTP2_STREAM_STATE_RECV_BODY:
        break;
    default:
        late = reply_is_stuck(stream, overdue->now_ms, config->write_timeout_ms);
        break;
    }
    if (late)
        overdue->streams[overdue->count++] = stream;
    return overdue->count == MAX_OVERDUE;
}

static void check_streams(struct http_loop *loop, uint64_t now_ms)
{
    struct overdue overdue = {.loop = loop, .now_ms = now_ms};
    H2O_HTTP2_CALLBACKS.foreach_request(&loop->h2o, look_at_stream, &overdue);
    for (size_t i = 0; i < overdue.count; ++i) {
        http_count(&loop->counters.timed_out);
        http_h2_reset(overdue.streams[i], H2O_HTTP2_ERROR_CANCEL);
    }
}

static void say_goaway(h2o_http2_conn_t *h2, uint32_t last_stream)
{
    h2o_http2_encode_goaway_frame(&h2->_write.buf, last_stream, H2O_HTTP2_ERROR_NONE,
                                  h2o_iovec_init(NULL, 0));
    h2o_http2_conn_request_write(h2);
}

static void end_http2(h2o_http2_conn_t *h2)
{
    say_goaway(h2, h2->pull_stream_ids.max_open);
    h2->state = H2O_HTTP2_CONN_STATE_HALF_CLOSED; /* libh2o closes once that is written */
}

/* RFC 9113 section 6.8: a first GOAWAY that refuses nothing, and the last one when everything that
 * may have crossed it is answered. Not libh2o's own shutdown: a second after its first GOAWAY it
 * ignores what still comes of bodies, and closes on those who send them. */
static void drain_http2(struct http_conn *conn, uint64_t now_ms)
{
    h2o_http2_conn_t *h2 = conn->sock->data;
    if (h2->state != H2O_HTTP2_CONN_STATE_OPEN)
        return;
    if (!conn->h2_told) {
        conn->h2_told = true;
        conn->since_ms = now_ms;
        say_goaway(h2, INT32_MAX);
    } else if (h2->num_streams.pull.open != 0 || h2->_write.buf->size != 0 ||
               h2o_socket_is_writing(conn->sock)) {
        conn->since_ms = now_ms;
    } else if (over(now_ms, conn->since_ms, HTTP_DRAIN_QUIET_MS)) {
        end_http2(h2);
    }
}

/* libh2o ends idle connections, too, but always after the same time. */
static void check_idle_http2(struct http_conn *conn, uint64_t now_ms)
{
    h2o_http2_conn_t *h2 = conn->sock->data;
    if (h2->state != H2O_HTTP2_CONN_STATE_OPEN)
        return;
    if (h2->num_streams.pull.open != 0 || h2->pull_stream_ids.max_open != conn->h2_seen_stream) {
        conn->h2_seen_stream = h2->pull_stream_ids.max_open;
        conn->since_ms = now_ms;
    } else if (is_crowded(conn) && over(now_ms, conn->since_ms, idle_limit_ms(conn))) {
        end_http2(h2);
    }
}

static void check_http2(struct http_conn *conn, uint64_t now_ms)
{
    if (conn->h2_greeted) {
        if (conn->loop->draining)
            drain_http2(conn, now_ms);
        else
            check_idle_http2(conn, now_ms);
    } else if (!conn->cut &&
               over(now_ms, conn->since_ms, conn->loop->server->config.header_timeout_ms)) {
        http_count(&conn->loop->counters.timed_out);
        http_conn_cut(conn);
    } else if (conn->loop->draining && over(now_ms, conn->since_ms, HTTP_DRAIN_PATIENCE_MS)) {
        http_conn_hang_up(conn);
    }
}

void http_deadline_check(struct http_loop *loop)
{
    uint64_t now_ms = h2o_now(loop->h2o.loop);
    const struct http_server_config *config = &loop->server->config;

    http_linger_expire(loop, now_ms, false);
    check_streams(loop, now_ms);
    for (h2o_linklist_t *node = loop->conns.next; node != &loop->conns; node = node->next) {
        struct http_conn *conn = H2O_STRUCT_FROM_MEMBER(struct http_conn, link, node);
        check_write(conn, now_ms);
        switch (conn->phase) {
        case HTTP_PHASE_SNIFF:
        case HTTP_PHASE_HANDSHAKE:
            if (loop->draining && over(now_ms, conn->since_ms, HTTP_DRAIN_PATIENCE_MS))
                http_conn_hang_up(conn);
            if (!conn->cut &&
                over(now_ms, conn->since_ms,
                     config->header_timeout_ms / (is_crowded(conn) ? CROWDED_HURRY : 1))) {
                http_count(&loop->counters.timed_out);
                http_conn_cut(conn);
            }
            break;
        case HTTP_PHASE_HTTP1:
            check_http1(conn, now_ms);
            break;
        case HTTP_PHASE_HTTP2:
            check_http2(conn, now_ms);
            break;
        }
    }
}
