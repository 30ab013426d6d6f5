#include "proto/http/internal.h"

#include <netinet/in.h>

/* ---- dispatch -------------------------------------------------------------------------- */

h2o_socket_t *http_request_socket(const h2o_req_t *req)
{
    return req->conn->callbacks->get_socket(req->conn);
}

static bool spelled(h2o_iovec_t method, const char *name, size_t len)
{
    return method.len == len && memcmp(method.base, name, len) == 0;
}

enum http_method http_request_method(const struct http_request *request)
{
    h2o_iovec_t method = request->req->method;
    switch (method.len) {
    case 3:
        return spelled(method, "GET", 3)   ? HTTP_GET
               : spelled(method, "PUT", 3) ? HTTP_PUT
                                           : HTTP_OTHER;
    case 4:
        return spelled(method, "POST", 4)   ? HTTP_POST
               : spelled(method, "HEAD", 4) ? HTTP_HEAD
                                            : HTTP_OTHER;
    case 5:
        return spelled(method, "PATCH", 5) ? HTTP_PATCH : HTTP_OTHER;
    case 6:
        return spelled(method, "DELETE", 6) ? HTTP_DELETE : HTTP_OTHER;
    case 7:
        return spelled(method, "OPTIONS", 7) ? HTTP_OPTIONS : HTTP_OTHER;
    default:
        return HTTP_OTHER;
    }
}

/* Splits the target. The absolute form must be understood (RFC 9112 section 3.2.2); its
 * authority wins over Host. */
static void split_target(struct http_request *request)
{
    h2o_req_t *req = request->req;
    struct pl_span target = pl_span(req->input.path.base, req->input.path.len);
    size_t path_end = req->query_at < target.len ? req->query_at : target.len;
    size_t from = 0;

    if (target.len != 0 && target.data[0] != '/' && target.data[0] != '*') {
        const uint8_t *colons = memmem(target.data, path_end, "://", 3);
        if (colons != NULL) {
            size_t authority = (size_t)(colons - target.data) + 3;
            const uint8_t *slash = memchr(target.data + authority, '/', path_end - authority);
            from = slash == NULL ? path_end : (size_t)(slash - target.data);
            req->authority = h2o_iovec_init(target.data + authority, from - authority);
        }
    }
    request->path =
        from == path_end ? PL_SPAN_LIT("/") : pl_span(target.data + from, path_end - from);
    request->query = pl_span_from(target, path_end + 1);
}

/* False: refused. */
static bool guard_head(struct http_request *request)
{
    h2o_req_t *req = request->req;
    struct http_head_verdict verdict = {0};

    if (req->version < 0x200) {
        h2o_socket_t *sock = http_request_socket(req);
        http_conn_of(sock)->h1_req = req;
        verdict = http_guard_h1_head((const uint8_t *)sock->input->bytes, sock->input->size,
                                     req->version);
        /* libh2o's chunk parser takes almost anything for a chunk header. Where a front end
         * reads the same bytes otherwise, what follows must not pass for a request. */
        if (verdict.chunked)
            req->http1_is_persistent = 0;
    } else {
        verdict.status = http_guard_h2_head(req);
    }
    if (verdict.status == 0)
        return true;
    if (verdict.status == 400)
        http_count(&request->loop->counters.smuggling);
    http_reply_refusal(request, verdict.status,
                       verdict.status == 431 ? "The request's headers exceed 40 KiB.\n"
                                             : "The request's framing or headers are malformed.\n");
    return false;
}

static void refuse(struct http_request *request, int status, const char *allow, const char *text)
{
    const struct http_server_config *config = &request->loop->server->config;
    struct http_header headers[] = {
        {PL_SPAN_LIT("content-type"), PL_SPAN_LIT("text/plain; charset=utf-8")},
        {PL_SPAN_LIT("allow"), pl_span_str(allow)},
    };
    if (config->refuse != NULL)
        config->refuse(request, status, allow, config->refuse_arg);
    if (!request->settled)
        http_reply(request, status, headers, allow == NULL ? 1 : 2, pl_span_str(text));
}

static void dispatch(struct http_request *request)
{
    const struct http_server_config *config = &request->loop->server->config;
    const struct http_route_path *path =
        http_route_find(&request->loop->server->routes, request->path);
    if (path != NULL) {
        const struct http_route *route = http_route_pick(path, http_request_method(request));
        if (route == NULL) {
            refuse(request, 405, path->allow, "This path does not take that method.\n");
            return;
        }
        request->prefix_len = path->len;
        route->handler(request, route->arg);
    } else if (config->fallback != NULL) {
        config->fallback(request, config->fallback_arg);
    } else {
        refuse(request, 404, NULL, "There is nothing at this path.\n");
    }
}

int http_request_serve(h2o_handler_t *handler, h2o_req_t *req)
{
    struct http_request request = {.req = req, .loop = http_loop_of(req)};
    (void)handler;

    http_count(&request.loop->counters.requests);
    req->pathconf =
        &req->hostconf->paths.entries[0]; /* the fallback's filter is for libh2o's own */
    split_target(&request);
    if (!guard_head(&request))
        return 0;
    if (req->entity.len > request.loop->server->config.max_body_bytes) {
        http_count(&request.loop->counters.too_large);
        refuse(&request, 413, NULL, "The request's body is too large.\n");
        return 0;
    }
    dispatch(&request);
    if (!request.settled) /* a handler's bug must not leave the client waiting */
        refuse(&request, 500, NULL, "The request was not answered.\n");
    return 0;
}

/* ---- what a handler may ask ------------------------------------------------------------ */

struct http_loop *http_request_loop(const struct http_request *request)
{
    return request->loop;
}

struct pl_span http_request_path(const struct http_request *request)
{
    return request->path;
}

struct pl_span http_request_tail(const struct http_request *request)
{
    return pl_span_from(request->path, request->prefix_len);
}

struct pl_span http_request_query(const struct http_request *request)
{
    return request->query;
}

struct pl_span http_request_body(const struct http_request *request)
{
    return pl_span(request->req->entity.base, request->req->entity.len);
}

struct pl_span http_request_authority(const struct http_request *request)
{
    const h2o_req_t *req = request->req;
    /* Where none was sent libh2o puts the name of its host configuration. */
    if (req->authority.base == req->hostconf->authority.hostport.base)
        return pl_span(NULL, 0);
    return pl_span(req->authority.base, req->authority.len);
}

bool http_request_is_tls(const struct http_request *request)
{
    return http_request_socket(request->req)->ssl != NULL;
}

size_t http_request_listener(const struct http_request *request)
{
    return (size_t)(http_conn_of(http_request_socket(request->req))->listener -
                    request->loop->listeners);
}

bool http_request_header_next(const struct http_request *request, const char *name, size_t *at,
                              struct pl_span *value)
{
    const h2o_headers_t *headers = &request->req->headers;
    size_t len = strlen(name);
    for (size_t i = *at; i < headers->size; ++i) {
        const h2o_header_t *header = &headers->entries[i];
        if (header->name->len == len && memcmp(header->name->base, name, len) == 0) {
            *value = pl_span(header->value.base, header->value.len);
            *at = i + 1;
            return true;
        }
    }
    return false;
}

bool http_request_header(const struct http_request *request, const char *name,
                         struct pl_span *value)
{
    size_t at = 0;
    return http_request_header_next(request, name, &at, value);
}

bool http_request_peer(const struct http_request *request, struct pl_span *address_bytes)
{
    struct sockaddr_storage ignored;
    h2o_socket_t *sock = http_request_socket(request->req);

    if (h2o_socket_getpeername(sock, (struct sockaddr *)&ignored) == 0)
        return false;
    /* Asking has made the socket keep a copy, which lives as long as the connection. */
    struct sockaddr *peer = &sock->_peername->addr;
    if (peer->sa_family == AF_INET) {
        *address_bytes = pl_span(&((struct sockaddr_in *)peer)->sin_addr, 4);
        return true;
    }
    if (peer->sa_family == AF_INET6) {
        struct in6_addr *address = &((struct sockaddr_in6 *)peer)->sin6_addr;
        *address_bytes = IN6_IS_ADDR_V4MAPPED(address) ? pl_span(&address->s6_addr[12], 4)
                                                       : pl_span(address->s6_addr, 16);
        return true;
    }
    return false;
}
