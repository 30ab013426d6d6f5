#include "proto/http/internal.h"

/* ---- shared bodies --------------------------------------------------------------------- */

/* A header list in libh2o's shape, made at the first reply and used by all that follow. */
struct prepared {
    const struct http_header *from;
    size_t count;
    h2o_iovec_t *names; /* of those libh2o has no token for */
    h2o_header_t entries[];
};

struct http_body {
    _Atomic size_t refs;
    _Atomic(struct prepared *) prepared;
    void (*release)(void *arg); /* may be NULL */
    void *release_arg;
    size_t len;
    uint8_t bytes[];
};

enum pl_err http_body_new(struct http_body **out, struct pl_span bytes)
{
    if (bytes.len > SIZE_MAX - sizeof(struct http_body))
        return PL_ELIMIT;
    struct http_body *body = malloc(sizeof(*body) + bytes.len);
    if (body == NULL)
        return PL_ENOMEM;
    atomic_init(&body->refs, 1);
    atomic_init(&body->prepared, NULL);
    body->release = NULL;
    body->len = bytes.len;
    if (bytes.len != 0)
        memcpy(body->bytes, bytes.data, bytes.len);
    *out = body;
    return PL_OK;
}

void http_body_on_release(struct http_body *body, void (*release)(void *arg), void *arg)
{
    body->release = release;
    body->release_arg = arg;
}

static struct http_body *http_body_ref(struct http_body *body)
{
    atomic_fetch_add_explicit(&body->refs, 1, memory_order_relaxed);
    return body;
}

void http_body_unref(struct http_body *body)
{
    if (body == NULL || atomic_fetch_sub_explicit(&body->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (body->release != NULL)
        body->release(body->release_arg);
    free(atomic_load_explicit(&body->prepared, memory_order_relaxed));
    free(body);
}

struct pl_span http_body_span(const struct http_body *body)
{
    return pl_span(body->bytes, body->len);
}

/* ---- headers --------------------------------------------------------------------------- */

/* names: room for one iovec where the name is no token of libh2o's. */
static void fill_header(h2o_header_t *entry, h2o_iovec_t *name, struct pl_span text,
                        struct pl_span value)
{
    const h2o_token_t *token = h2o_lookup_token((const char *)text.data, text.len);
    if (token == NULL)
        *name = h2o_iovec_init(text.data, text.len);
    *entry = (h2o_header_t){
        .name = token != NULL ? (h2o_iovec_t *)(uintptr_t)&token->buf : name,
        .value = h2o_iovec_init(value.data, value.len),
    };
}

static const struct prepared *prepare(struct http_body *body, const struct http_header *headers,
                                      size_t count)
{
    struct prepared *old = NULL;
    size_t entries_size = count * sizeof(h2o_header_t);
    struct prepared *fresh = malloc(sizeof(*fresh) + entries_size + count * sizeof(h2o_iovec_t));
    if (fresh == NULL)
        return NULL;
    fresh->from = headers;
    fresh->count = count;
    fresh->names = (h2o_iovec_t *)(fresh->entries + count);
    for (size_t i = 0; i < count; ++i)
        fill_header(&fresh->entries[i], &fresh->names[i], headers[i].name, headers[i].value);
    if (atomic_compare_exchange_strong_explicit(&body->prepared, &old, fresh, memory_order_acq_rel,
                                                memory_order_acquire))
        return fresh;
    free(fresh); /* another loop was first */
    return old;
}

static void borrow_headers(h2o_req_t *req, struct http_body *body,
                           const struct http_header *headers, size_t count)
{
    const struct prepared *prepared = NULL;
    if (body != NULL && count != 0) {
        prepared = atomic_load_explicit(&body->prepared, memory_order_acquire);
        if (prepared == NULL)
            prepared = prepare(body, headers, count);
    }
    if (prepared != NULL && prepared->from == headers && prepared->count == count) {
        /* Full to the brim: were libh2o to add one, it would move to memory of its own first. */
        req->res.headers.entries = (h2o_header_t *)(uintptr_t)prepared->entries;
        req->res.headers.size = req->res.headers.capacity = count;
        return;
    }
    h2o_vector_reserve(&req->pool, &req->res.headers, count);
    h2o_iovec_t *names = h2o_mem_alloc_pool(&req->pool, count * sizeof(*names));
    for (size_t i = 0; i < count; ++i)
        fill_header(&req->res.headers.entries[i], &names[i], headers[i].name, headers[i].value);
    req->res.headers.size = count;
}

void http_reply_copy_headers(h2o_req_t *req, const struct http_header *headers, size_t count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; ++i)
        bytes += headers[i].name.len + headers[i].value.len;
    char *at = h2o_mem_alloc_pool(&req->pool, bytes);
    h2o_iovec_t *names = h2o_mem_alloc_pool(&req->pool, count * sizeof(*names));

    h2o_vector_reserve(&req->pool, &req->res.headers, count);
    for (size_t i = 0; i < count; ++i) {
        struct pl_span name = pl_span(at, headers[i].name.len);
        struct pl_span value = pl_span(at + name.len, headers[i].value.len);
        h2o_memcpy(at, headers[i].name.data, name.len);
        h2o_memcpy(at + name.len, headers[i].value.data, value.len);
        at += name.len + value.len;
        fill_header(&req->res.headers.entries[i], &names[i], name, value);
    }
    req->res.headers.size = count;
}

/* ---- replies --------------------------------------------------------------------------- */

static const char *reason(int status)
{
    static const struct {
        int status;
        const char *text;
    } known[] = {
        {200, "OK"},
        {204, "No Content"},
        {304, "Not Modified"},
        {201, "Created"},
        {202, "Accepted"},
        {206, "Partial Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {411, "Length Required"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {415, "Unsupported Media Type"},
        {421, "Misdirected Request"},
        {422, "Unprocessable Content"},
        {428, "Precondition Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {507, "Insufficient Storage"},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); ++i)
        if (known[i].status == status)
            return known[i].text;
    return "Status";
}

void http_reply_begin(struct http_request *request, int status)
{
    h2o_req_t *req = request->req;

    request->settled = true;
    req->res.status = status;
    req->res.reason = reason(status);
    http_count(&request->loop->counters.by_class[status >= 100 && status < 600 ? status / 100 : 0]);
    if (request->loop->draining)
        req->http1_is_persistent = 0;
}

/* RFC 9110 sections 9.3.2, 15.3.5 and 15.4.5. */
static bool status_has_body(int status)
{
    return status >= 200 && status != 204 && status != 304;
}

bool http_reply_has_body(const h2o_req_t *req, int status)
{
    return status_has_body(status) &&
           !h2o_memis(req->input.method.base, req->input.method.len, H2O_STRLIT("HEAD"));
}

static void send_whole(h2o_req_t *req, struct pl_span body)
{
    static h2o_generator_t done = {NULL, NULL};
    h2o_iovec_t chunk = h2o_iovec_init(body.data, body.len);
    bool with_body = body.len != 0 && http_reply_has_body(req, req->res.status);

    if (status_has_body(req->res.status))
        req->res.content_length = body.len;
    h2o_start_response(req, &done);
    h2o_send(req, &chunk, with_body ? 1 : 0, H2O_SEND_STATE_FINAL);
}

void http_reply(struct http_request *request, int status, const struct http_header *headers,
                size_t header_count, struct pl_span body)
{
    h2o_req_t *req = request->req;

    http_reply_begin(request, status);
    http_reply_copy_headers(req, headers, header_count);
    if (body.len != 0 && http_reply_has_body(req, status)) {
        void *copy = h2o_mem_alloc_pool(&req->pool, body.len);
        memcpy(copy, body.data, body.len);
        body.data = copy;
    }
    send_whole(req, body);
}

static void on_reply_gone(void *hold)
{
    struct http_body **body = hold;
    http_body_unref(*body);
}

void http_reply_shared(struct http_request *request, int status, const struct http_header *headers,
                       size_t header_count, struct http_body *body)
{
    h2o_req_t *req = request->req;

    http_reply_begin(request, status);
    borrow_headers(req, body, headers, header_count);
    if (body != NULL) {
        struct http_body **hold =
            h2o_mem_alloc_shared(&req->pool, sizeof(struct http_body *), on_reply_gone);
        *hold = http_body_ref(body);
    }
    send_whole(req, body == NULL ? pl_span(NULL, 0) : http_body_span(body));
}

void http_request_close_after(struct http_request *request)
{
    request->req->http1_is_persistent = 0;
}

void http_reply_refusal(struct http_request *request, int status, const char *text)
{
    const struct http_header type = {PL_SPAN_LIT("content-type"),
                                     PL_SPAN_LIT("text/plain; charset=utf-8")};
    if (request->req->version < 0x200)
        http_conn_linger(http_conn_of(http_request_socket(request->req)));
    http_request_close_after(request);
    http_reply(request, status, &type, 1, pl_span_str(text));
}
