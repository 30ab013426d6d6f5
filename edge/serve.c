#include "edge/serve.h"
#include "edge/reply.h"

#include <inttypes.h>
#include <stdio.h>

#define HEADERS_MAX         16
#define UNAVAILABLE_RETRY_S "5" /* an edge hears its accounts as soon as it has a session */

/* ---- what the client can take, and has */

/* Is `coding` in an Accept-Encoding value, and not with q=0 (RFC 9110 section 12.5.3)? */
static bool accepts(struct pl_span value, struct pl_span coding)
{
    size_t at = 0;
    while (at < value.len) {
        const uint8_t *comma = memchr(value.data + at, ',', value.len - at);
        const size_t end = comma == NULL ? value.len : (size_t)(comma - value.data);
        while (at < end && (value.data[at] == ' ' || value.data[at] == '\t'))
            at++;
        struct pl_span one = pl_span(value.data + at, end - at);
        at = end + 1;
        if (one.len < coding.len || !pl_span_eq_nocase(pl_span(one.data, coding.len), coding))
            continue;
        if (one.len == coding.len)
            return true;
        const uint8_t next = one.data[coding.len];
        if (next != ';' && next != ' ' && next != '\t')
            continue;
        /* "q=0", "q=0.000": refused; any other digit makes it acceptable. */
        const uint8_t *q = memmem(one.data, one.len, "q=", 2);
        if (q == NULL)
            return true;
        for (const uint8_t *p = q + 2; p < one.data + one.len; p++)
            if (*p >= '1' && *p <= '9')
                return true;
        return false;
    }
    return false;
}

static enum catalog_encoding choose(const struct http_request *request,
                                    const struct catalog_reply *reply)
{
    struct pl_span value;
    if (!http_request_header(request, "accept-encoding", &value))
        return CATALOG_IDENTITY;
    if (reply->body[CATALOG_BROTLI] != NULL && accepts(value, PL_SPAN_LIT("br")))
        return CATALOG_BROTLI;
    if (reply->body[CATALOG_GZIP] != NULL && accepts(value, PL_SPAN_LIT("gzip")))
        return CATALOG_GZIP;
    return CATALOG_IDENTITY;
}

/* If-None-Match: "*", or a list that names the tag; a weak one compares equal (RFC 9110 section
 * 13.1.2). An encoding's tag in quotes cannot be part of another one. */
static bool is_current(const struct http_request *request, const char *etag)
{
    struct pl_span value;
    if (!http_request_header(request, "if-none-match", &value))
        return false;
    return pl_span_eq(value, PL_SPAN_LIT("*")) ||
           memmem(value.data, value.len, etag, strlen(etag)) != NULL;
}

/* ---- sending */

/* With Age, which differs from second to second, so the reply is copied: an edge that has lost
 * its origin is allowed to be a little slower. */
static void send_aged(struct http_request *request, int status, const struct catalog_reply *reply,
                      enum catalog_encoding encoding, int64_t age_s)
{
    struct http_header headers[HEADERS_MAX];
    char age[24];
    size_t count = reply->header_count[encoding];
    if (count > HEADERS_MAX - 1)
        count = HEADERS_MAX - 1;
    memcpy(headers, reply->headers[encoding], count * sizeof(headers[0]));
    snprintf(age, sizeof(age), "%" PRId64, age_s);
    headers[count++] = (struct http_header){PL_SPAN_LIT("age"), pl_span_str(age)};
    http_reply(request, status, headers, count,
               status == 304 ? pl_span(NULL, 0) : http_body_span(reply->body[encoding]));
}

static void send_reply(struct edge_loop *loop, struct http_request *request,
                       const struct catalog_reply *reply, enum metric metric, int64_t age_s)
{
    const enum catalog_encoding encoding = choose(request, reply);
    const int status = is_current(request, reply->etag[encoding]) ? 304 : 200;
    metrics_add(&loop->metrics, status == 304 ? METRIC_CONFIG_NOT_MODIFIED : metric, 1);
    if (age_s > 0)
        send_aged(request, status, reply, encoding, age_s);
    else
        http_reply_shared(request, status, reply->headers[encoding], reply->header_count[encoding],
                          reply->body[encoding]);
}

/* ---- refusing */

/* Configs are public: any page may read these, and the errors too. */
static void send_refusal(struct http_request *request, int status, enum metric metric,
                         const struct pl_why *why)
{
    struct edge_loop *loop = edge_loop_of(request);
    const struct http_header headers[] = {
        {PL_SPAN_LIT("content-type"), PL_SPAN_LIT("application/json")},
        {PL_SPAN_LIT("cache-control"), PL_SPAN_LIT("no-store")},
        {PL_SPAN_LIT("access-control-allow-origin"), PL_SPAN_LIT("*")},
        {PL_SPAN_LIT("access-control-expose-headers"), PL_SPAN_LIT("retry-after")},
        {PL_SPAN_LIT("retry-after"), PL_SPAN_LIT(UNAVAILABLE_RETRY_S)},
    };
    const size_t count = sizeof(headers) / sizeof(headers[0]) - (status == 503 ? 0 : 2);
    metrics_add(&loop->metrics, metric, 1);
    pl_buf_reset(&loop->reply);
    reply_error_body(loop, why, &loop->reply);
    http_reply(request, status, headers, count, pl_buf_span(&loop->reply));
}

/* NULL: answered. named: what the account was looked for by. */
static const struct catalog_entry *check(struct http_request *request,
                                         const struct catalog_entry *entry, const char *named,
                                         struct pl_span name)
{
    const struct edge_loop *loop = edge_loop_of(request);
    struct pl_why why = {0};
    if (entry == NULL && !loop->collecting) {
        pl_fail(&why, PL_ECLOSED,
                "this edge has not heard from the origin lately and may not know the %s \"%.*s\"",
                named, PL_SPAN_FMT(name));
        send_refusal(request, 503, METRIC_CONFIG_UNAVAILABLE, &why);
    } else if (entry == NULL) {
        pl_fail(&why, PL_ENOTFOUND, "no account has the %s \"%.*s\"", named, PL_SPAN_FMT(name));
        send_refusal(request, 404, METRIC_CONFIG_UNKNOWN, &why);
    } else if (catalog_entry_state(entry, http_loop_wall_ms(loop->http)) != ACCOUNT_ACTIVE) {
        pl_fail(&why, PL_EEXPIRED, "the account behind this %s has expired", named);
        send_refusal(request, 410, METRIC_CONFIG_EXPIRED, &why);
        entry = NULL;
    }
    return entry;
}

const struct catalog_entry *serve_find_key(struct http_request *request, struct pl_span key)
{
    return check(request, catalog_find_key(edge_loop_of(request)->snapshot, key), "write key", key);
}

static const struct catalog_entry *find_host(struct http_request *request)
{
    const struct pl_span host = http_request_authority(request);
    return check(request, catalog_find_host(edge_loop_of(request)->snapshot, host), "host", host);
}

static void send_config(struct http_request *request, const struct catalog_entry *entry)
{
    struct edge_loop *loop = edge_loop_of(request);
    if (entry != NULL)
        send_reply(loop, request, &entry->config, METRIC_CONFIG_SERVED, loop->age_s);
}

static void send_script(struct http_request *request, const struct catalog_entry *entry)
{
    struct edge_loop *loop = edge_loop_of(request);
    if (entry != NULL)
        send_reply(loop, request, &entry->script, METRIC_CONFIG_SERVED, loop->age_s);
}

/* ---- handlers */

void serve_config(struct http_request *request, void *arg)
{
    (void)arg;
    send_config(request, serve_find_key(request, http_request_tail(request)));
}

void serve_own_config(struct http_request *request, void *arg)
{
    (void)arg;
    send_config(request, find_host(request));
}

void serve_script(struct http_request *request, void *arg)
{
    (void)arg;
    static const struct pl_span suffix = PL_SPAN_INIT(".js");
    struct pl_span key = http_request_tail(request);
    if (key.len >= suffix.len && pl_span_eq(pl_span_from(key, key.len - suffix.len), suffix))
        key.len -= suffix.len;
    else
        key.len = 0;
    send_script(request, serve_find_key(request, key));
}

void serve_own_script(struct http_request *request, void *arg)
{
    (void)arg;
    send_script(request, find_host(request));
}

void serve_sdk(struct http_request *request, void *arg)
{
    send_reply(edge_loop_of(request), request, arg, METRIC_SCRIPT_SERVED, 0);
}
