/* Bodies under way: libh2o keeps each in memory until it is complete, and knows no bound but that
 * of one of them. */
#include "proto/http/internal.h"

#define MAX_RESETS 64 /* a walk; others follow */

struct uploads {
    size_t count, bytes;
    size_t from_bytes; /* those of at least this size are to go */
    h2o_http2_stream_t *streams[MAX_RESETS];
    size_t resets;
};

static size_t http1_bytes(const struct http_conn *conn)
{
    const bool receiving = conn->phase == HTTP_PHASE_HTTP1 && !conn->h1_parked &&
                           h2o_socket_is_reading(conn->sock) && !h2o_socket_is_writing(conn->sock);
    return receiving ? conn->sock->input->size : 0;
}

static size_t http2_bytes(const h2o_http2_stream_t *stream)
{
    const h2o_http2_conn_t *h2 = (const h2o_http2_conn_t *)stream->req.conn;
    const bool receiving = stream->state == H2O_HTTP2_STREAM_STATE_RECV_BODY &&
                           h2->state < H2O_HTTP2_CONN_STATE_IS_CLOSING;
    return receiving ? stream->_req_body->size : 0;
}

static void add(struct uploads *uploads, size_t bytes)
{
    uploads->count += bytes > 0;
    uploads->bytes += bytes;
}

static int add_stream(h2o_req_t *req, void *data)
{
    add(data, http2_bytes(H2O_STRUCT_FROM_MEMBER(h2o_http2_stream_t, req, req)));
    return 0;
}

/* Nonzero ends the walk. */
static int pick_stream(h2o_req_t *req, void *data)
{
    struct uploads *uploads = data;
    h2o_http2_stream_t *stream = H2O_STRUCT_FROM_MEMBER(h2o_http2_stream_t, req, req);
    if (http2_bytes(stream) >= uploads->from_bytes)
        uploads->streams[uploads->resets++] = stream;
    return uploads->resets == MAX_RESETS;
}

static void shed_streams(struct http_loop *loop, struct uploads *uploads)
{
    do {
        uploads->resets = 0;
        H2O_HTTP2_CALLBACKS.foreach_request(&loop->h2o, pick_stream, uploads);
        for (size_t i = 0; i < uploads->resets; ++i) {
            http_count(&loop->counters.by_class[5]);
            http_h2_reset(uploads->streams[i], H2O_HTTP2_ERROR_ENHANCE_YOUR_CALM);
        }
    } while (uploads->resets == MAX_RESETS);
}

static void shed(struct http_loop *loop, struct uploads *uploads)
{
    uploads->from_bytes = uploads->bytes / uploads->count;
    for (h2o_linklist_t *node = loop->conns.next; node != &loop->conns; node = node->next) {
        struct http_conn *conn = H2O_STRUCT_FROM_MEMBER(struct http_conn, link, node);
        if (http1_bytes(conn) >= uploads->from_bytes)
            http_conn_tell(conn, 503, "Service Unavailable\r\nRetry-After: 1");
    }
    shed_streams(loop, uploads);
}

/* Who holds most goes first: those of at least the mean size, which leaves the small bodies that
 * trackers send even where somebody fills the room with large ones. */
void http_upload_check(struct http_loop *loop)
{
    struct uploads uploads = {0};
    for (h2o_linklist_t *node = loop->conns.next; node != &loop->conns; node = node->next)
        add(&uploads, http1_bytes(H2O_STRUCT_FROM_MEMBER(struct http_conn, link, node)));
    H2O_HTTP2_CALLBACKS.foreach_request(&loop->h2o, add_stream, &uploads);
    if (uploads.bytes > loop->server->config.max_upload_bytes)
        shed(loop, &uploads);
}
