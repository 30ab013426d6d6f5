#include "proto/http/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define ACCEPTS_PER_WAKE 64

/* A socket libh2o is done with, read until its client has stopped sending. */
struct http_linger {
    h2o_linklist_t link;
    struct http_loop *loop;
    enum http_pool pool;
    h2o_socket_t *sock;
    uint64_t until_ms;
    size_t dropped_bytes;
};

static const char PREFACE[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"; /* RFC 9113 section 3.4 */
#define PREFACE_LEN (sizeof(PREFACE) - 1)

/* ---- after the close ------------------------------------------------------------------- */

static void release_slot(struct http_loop *loop, enum http_pool pool)
{
    atomic_fetch_sub_explicit(&loop->server->open[pool], 1, memory_order_relaxed);
    if (loop->paused[pool])
        http_loop_resume_accept(loop, pool);
}

static void end_linger(struct http_linger *linger)
{
    h2o_linklist_unlink(&linger->link);
    h2o_socket_close(linger->sock);
    release_slot(linger->loop, linger->pool);
    free(linger);
}

static void on_linger_read(h2o_socket_t *sock, const char *err)
{
    struct http_linger *linger = sock->data;
    linger->dropped_bytes += sock->input->size;
    h2o_buffer_consume(&sock->input, sock->input->size);
    if (err != NULL || linger->dropped_bytes > HTTP_LINGER_MAX_BYTES)
        end_linger(linger);
}

/* False: no memory, the slot is still the caller's. */
static bool start_linger(struct http_loop *loop, enum http_pool pool, int fd)
{
    struct http_linger *linger = calloc(1, sizeof(*linger));
    if (linger == NULL)
        return false;
    shutdown(fd, SHUT_WR);
    linger->loop = loop;
    linger->pool = pool;
    linger->sock = h2o_evloop_socket_create(loop->h2o.loop, fd, 0);
    linger->sock->data = linger;
    linger->until_ms = h2o_now(loop->h2o.loop) + HTTP_LINGER_MS;
    h2o_linklist_insert(&loop->lingers, &linger->link);
    h2o_socket_read_start(linger->sock, on_linger_read);
    return true;
}

void http_linger_expire(struct http_loop *loop, uint64_t now_ms, bool all)
{
    h2o_linklist_t *node = loop->lingers.next;
    while (node != &loop->lingers) {
        struct http_linger *linger = H2O_STRUCT_FROM_MEMBER(struct http_linger, link, node);
        node = node->next;
        if (all || now_ms >= linger->until_ms)
            end_linger(linger);
    }
}

void http_conn_linger(struct http_conn *conn)
{
    if (conn->linger_fd < 0)
        conn->linger_fd = fcntl(h2o_socket_get_fd(conn->sock), F_DUPFD_CLOEXEC, 0);
}

void http_conn_hang_up(struct http_conn *conn)
{
    shutdown(h2o_socket_get_fd(conn->sock), SHUT_RD);
}

void http_conn_reset_at_close(struct http_conn *conn)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    setsockopt(h2o_socket_get_fd(conn->sock), SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

void http_conn_cut(struct http_conn *conn)
{
    conn->cut = true;
    http_conn_reset_at_close(conn);
    shutdown(h2o_socket_get_fd(conn->sock), SHUT_RDWR);
}

static void on_told(h2o_socket_t *sock, const char *err)
{
    (void)err;
    http_conn_of(sock)->h1_read(sock, "given up"); /* libh2o frees the connection */
}

void http_conn_tell(struct http_conn *conn, int status, const char *line)
{
    char text[160];
    const int len =
        snprintf(text, sizeof(text),
                 "HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", status, line);
    h2o_iovec_t answer = {text, (size_t)len};
    http_count(&conn->loop->counters.by_class[status / 100]);
    http_conn_linger(conn);
    conn->h1_read = conn->sock->_cb.read;
    h2o_socket_read_stop(conn->sock);
    h2o_socket_write(conn->sock, &answer, 1, on_told);
}

void http_h2_reset(h2o_http2_stream_t *stream, int error)
{
    h2o_http2_conn_t *h2 = (h2o_http2_conn_t *)stream->req.conn;
    h2o_http2__encode_rst_stream_frame(&h2->_write.buf, stream->stream_id, -error);
    h2o_http2_conn_request_write(h2);
    h2o_http2_stream_reset(h2, stream);
}

static void on_close(void *data)
{
    struct http_conn *conn = data;
    struct http_loop *loop = conn->loop;
    const enum http_pool pool = conn->listener->pool;

    h2o_linklist_unlink(&conn->link);
    http_tls_unref(conn->tls);
    if (conn->linger_fd < 0) {
        release_slot(loop, pool);
    } else if (!start_linger(loop, pool, conn->linger_fd)) {
        close(conn->linger_fd);
        release_slot(loop, pool);
    }
    free(conn);
}

/* ---- before the first request ---------------------------------------------------------- */

static void enter(struct http_conn *conn, enum http_phase phase)
{
    conn->phase = phase;
    conn->since_ms = h2o_now(conn->loop->h2o.loop);
}

static void become_http1(struct http_conn *conn)
{
    enter(conn, HTTP_PHASE_HTTP1);
    h2o_http1_accept(&conn->loop->accept, conn->sock, conn->connected_at);
}

/* h2o_http2_accept() would at once run through what has already arrived, before it can be put
 * under watch; so it is shown an empty buffer first. */
static void become_http2(struct http_conn *conn)
{
    h2o_socket_t *sock = conn->sock;
    h2o_buffer_t *arrived = sock->input;

    enter(conn, HTTP_PHASE_HTTP2);
    h2o_buffer_init(&sock->input, &h2o_socket_buffer_prototype);
    h2o_http2_accept(&conn->loop->accept, sock, conn->connected_at);
    http_guard_h2(conn, sock->data);
    sock->input = arrived;
    if (arrived->size != 0)
        sock->_cb.read(sock, NULL);
}

/* HTTP/2 with prior knowledge (RFC 9113 section 3.3) or HTTP/1. The h2c upgrade is not offered:
 * RFC 9113 has retired it. */
static void on_first_bytes(h2o_socket_t *sock, const char *err)
{
    struct http_conn *conn = http_conn_of(sock);
    size_t have = sock->input->size < PREFACE_LEN ? sock->input->size : PREFACE_LEN;

    if (err != NULL) {
        h2o_socket_close(sock);
        return;
    }
    if (have == 0)
        return;
    if (memcmp(sock->input->bytes, PREFACE, have) != 0)
        become_http1(conn);
    else if (have == PREFACE_LEN)
        become_http2(conn);
}

static void on_handshake(h2o_socket_t *sock, const char *err)
{
    struct http_conn *conn = http_conn_of(sock);
    http_tls_unref(conn->tls);
    conn->tls = NULL;
    if (err != NULL) {
        h2o_socket_close(sock);
        return;
    }
    h2o_iovec_t protocol = h2o_socket_ssl_get_selected_protocol(sock);
    if (h2o_memis(protocol.base, protocol.len, H2O_STRLIT("h2")))
        become_http2(conn);
    else
        become_http1(conn);
}

static void begin(const struct http_loop_listener *on, h2o_socket_t *sock)
{
    struct http_loop *loop = on->loop;
    struct http_conn *conn = calloc(1, sizeof(*conn));
    if (conn == NULL) {
        h2o_socket_close(sock);
        release_slot(loop, on->pool);
        return;
    }
    http_count(&loop->counters.accepted);
    conn->loop = loop;
    conn->sock = sock;
    conn->listener = on;
    conn->linger_fd = -1;
    conn->connected_at = *h2o_get_timestamp(&loop->h2o, NULL, NULL);
    h2o_linklist_insert(&loop->conns, &conn->link);
    sock->on_close.cb = on_close;
    sock->on_close.data = conn;
    if (on->tls) {
        enter(conn, HTTP_PHASE_HANDSHAKE);
        conn->tls = http_server_tls(loop->server);
        h2o_socket_ssl_handshake(sock, http_tls_context(conn->tls), NULL, on_handshake);
    } else {
        enter(conn, HTTP_PHASE_SNIFF);
        h2o_socket_read_start(sock, on_first_bytes);
    }
}

static bool take_slot(struct http_server *server, enum http_pool pool)
{
    unsigned before = atomic_fetch_add_explicit(&server->open[pool], 1, memory_order_relaxed);
    if (before < http_server_max(server, pool))
        return true;
    atomic_fetch_sub_explicit(&server->open[pool], 1, memory_order_relaxed);
    return false;
}

void http_conn_accept(h2o_socket_t *listener, const char *err)
{
    struct http_loop_listener *on = listener->data;
    struct http_loop *loop = on->loop;
    (void)err;

    for (int i = 0; i < ACCEPTS_PER_WAKE; ++i) {
        if (!take_slot(loop->server, on->pool)) {
            http_loop_pause_accept(loop, on->pool);
            return;
        }
        h2o_socket_t *sock = h2o_evloop_socket_accept(listener);
        if (sock == NULL) {
            bool dry = errno == EAGAIN || errno == EWOULDBLOCK || errno == ECONNABORTED ||
                       errno == EINTR || errno == EPROTO;
            atomic_fetch_sub_explicit(&loop->server->open[on->pool], 1, memory_order_relaxed);
            if (!dry) {
                pl_log(loop->server->config.log, PL_LOG_WARN, "http",
                       "cannot accept connections: %s (raise the limit of open files)",
                       strerror(errno));
                http_loop_pause_accept(loop, on->pool);
            }
            return;
        }
        begin(on, sock);
    }
}
