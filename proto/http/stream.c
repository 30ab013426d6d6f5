#include "proto/http/internal.h"

#define MAX_CHUNK_BYTES ((size_t)64 * 1024 * 1024)

/* In the request's pool; its disposal is the one event that always comes, whether the stream
 * ended, was aborted or lost its client. */
struct http_stream {
    h2o_generator_t generator;
    struct http_pending pending;
    h2o_req_t *req;
    const struct http_stream_ops *ops;
    void *arg;
    struct pl_buf chunk; /* in flight until the next ready */
    bool may_write, abort_wanted, ended;
};

static void finish(struct http_stream *stream, h2o_iovec_t *chunk, size_t count,
                   h2o_send_state_t state)
{
    stream->ended = true;
    stream->may_write = false;
    h2o_send(stream->req, chunk, count, state);
}

/* The previous chunk is with the kernel (HTTP/1) or within the client's window (HTTP/2). */
static void on_proceed(h2o_generator_t *generator, h2o_req_t *req)
{
    struct http_stream *stream = H2O_STRUCT_FROM_MEMBER(struct http_stream, generator, generator);
    (void)req;
    if (stream->abort_wanted) {
        finish(stream, NULL, 0, H2O_SEND_STATE_ERROR);
    } else {
        stream->may_write = true;
        stream->ops->ready(stream->arg);
    }
}

static void on_dispose(void *data)
{
    struct http_stream *stream = data;
    http_pending_remove(&stream->pending);
    pl_buf_release(&stream->chunk);
    stream->ops->gone(stream->arg);
}

static void abandon(struct http_pending *pending)
{
    http_stream_abort(H2O_STRUCT_FROM_MEMBER(struct http_stream, pending, pending));
}

/* ready comes from a later turn of the loop, never from inside the call that asked for it. */
static void schedule_ready(h2o_req_t *req)
{
    h2o_timeout_link(req->conn->ctx->loop, &req->conn->ctx->zero_timeout, &req->_timeout_entry);
}

enum pl_err http_stream_start(struct http_request *request, int status,
                              const struct http_header *headers, size_t header_count,
                              const struct http_stream_ops *ops, void *arg,
                              struct http_stream **out)
{
    h2o_req_t *req = request->req;
    struct http_stream *stream = h2o_mem_alloc_shared(&req->pool, sizeof(*stream), on_dispose);

    *stream = (struct http_stream){
        .generator = {.proceed = on_proceed}, .req = req, .ops = ops, .arg = arg};
    pl_buf_init(&stream->chunk, MAX_CHUNK_BYTES);
    http_pending_add(request->loop, &stream->pending, abandon);
    *out = stream;

    http_reply_begin(request, status);
    http_reply_copy_headers(req, headers, header_count);
    if (req->version < 0x101) /* no chunks: the close marks the end */
        req->http1_is_persistent = 0;
    h2o_start_response(req, &stream->generator);
    if (http_reply_has_body(req, status))
        schedule_ready(req);
    else
        finish(stream, NULL, 0, H2O_SEND_STATE_FINAL);
    return PL_OK;
}

void http_stream_write(struct http_stream *stream, struct pl_span chunk, bool last)
{
    if (stream->ended || !stream->may_write)
        return;
    pl_buf_reset(&stream->chunk);
    if (pl_buf_append_span(&stream->chunk, chunk) != PL_OK) {
        http_stream_abort(stream);
        return;
    }
    h2o_iovec_t piece = h2o_iovec_init(stream->chunk.data, chunk.len);
    size_t count = chunk.len == 0 ? 0 : 1;
    if (last) {
        finish(stream, &piece, count, H2O_SEND_STATE_FINAL);
    } else if (count != 0) {
        stream->may_write = false;
        h2o_send(stream->req, &piece, 1, H2O_SEND_STATE_IN_PROGRESS);
    } else {
        stream->may_write = false; /* an empty chunk would read as the last one */
        schedule_ready(stream->req);
    }
}

void http_stream_abort(struct http_stream *stream)
{
    if (stream->ended || stream->abort_wanted)
        return;
    /* Without chunks a close looks like the end of the body; a reset does not. */
    if (stream->req->version < 0x200)
        http_conn_reset_at_close(http_conn_of(http_request_socket(stream->req)));
    if (stream->may_write)
        finish(stream, NULL, 0, H2O_SEND_STATE_ERROR);
    else
        stream->abort_wanted = true;
}

void http_stream_cut(struct http_stream *stream)
{
    h2o_req_t *req = stream->req;
    h2o_http2_stream_t *h2 = H2O_STRUCT_FROM_MEMBER(h2o_http2_stream_t, req, req);
    if (stream->may_write) {
        http_stream_abort(stream);
        return;
    }
    stream->abort_wanted = true;
    /* What is written out cannot be told from the end any more: the whole connection goes. */
    if (req->version < 0x200 || h2->state == H2O_HTTP2_STREAM_STATE_END_STREAM)
        http_conn_cut(http_conn_of(http_request_socket(req)));
    else if (((h2o_http2_conn_t *)req->conn)->state < H2O_HTTP2_CONN_STATE_IS_CLOSING)
        http_h2_reset(h2, H2O_HTTP2_ERROR_CANCEL);
}
