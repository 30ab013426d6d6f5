#include "edge/reply.h"

#include <inttypes.h>
#include <stdio.h>

#define ORIGIN_MAX_BYTES  512
#define REQUESTED_HEADERS 512 /* bytes of Access-Control-Request-Headers that are echoed */

int reply_status_of(enum pl_err err)
{
    switch (err) {
    case PL_OK:
        return 200;
    case PL_EINVAL:
    case PL_EUNSUPPORTED:
    case PL_ECORRUPT:
        return 400;
    case PL_ENOTFOUND:
    case PL_EAUTH:
        return 401;
    case PL_EDENIED:
    case PL_EEXPIRED:
        return 403;
    case PL_ELIMIT:
        return 413;
    case PL_EAGAIN:
        return 429;
    default:
        return 503;
    }
}

/* ---- CORS */

size_t reply_cors(const struct http_request *request, struct http_header *headers)
{
    struct pl_span origin;
    if (!http_request_header(request, "origin", &origin) || origin.len > ORIGIN_MAX_BYTES)
        return 0;
    headers[0] = (struct http_header){PL_SPAN_LIT("access-control-allow-origin"), origin};
    /* The snippet sends the opt-out cookie with its requests. Nothing that is answered here is a
     * secret of the visitor's. */
    headers[1] =
        (struct http_header){PL_SPAN_LIT("access-control-allow-credentials"), PL_SPAN_LIT("true")};
    headers[2] = (struct http_header){
        PL_SPAN_LIT("access-control-expose-headers"),
        PL_SPAN_LIT("retry-after, x-polder-outcome, x-polder-refused"),
    };
    headers[3] = (struct http_header){PL_SPAN_LIT("vary"), PL_SPAN_LIT("origin")};
    return REPLY_CORS_HEADERS;
}

/* A list of header names and nothing else. */
static bool is_name_list(struct pl_span text)
{
    if (text.len > REQUESTED_HEADERS)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        const uint8_t c = text.data[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
            c != '-' && c != '_' && c != ',' && c != ' ')
            return false;
    }
    return true;
}

void reply_preflight(struct http_request *request, void *arg)
{
    const char *allow = arg;
    struct http_header headers[REPLY_CORS_HEADERS + 4];
    struct pl_span names;
    size_t count = reply_cors(request, headers);
    if (count > 0) {
        headers[count - 1].value = PL_SPAN_LIT("origin, access-control-request-headers");
        headers[count++] = (struct http_header){PL_SPAN_LIT("access-control-allow-methods"),
                                                PL_SPAN_LIT("GET, HEAD, POST, OPTIONS")};
        headers[count++] =
            (struct http_header){PL_SPAN_LIT("access-control-max-age"), PL_SPAN_LIT("86400")};
        if (http_request_header(request, "access-control-request-headers", &names) &&
            is_name_list(names))
            headers[count++] =
                (struct http_header){PL_SPAN_LIT("access-control-allow-headers"), names};
    }
    headers[count++] = (struct http_header){PL_SPAN_LIT("allow"), pl_span_str(allow)};
    http_reply(request, 204, headers, count, pl_span(NULL, 0));
}

/* ---- errors */

void reply_error_body(struct edge_loop *loop, const struct pl_why *why, struct pl_buf *out)
{
    const size_t start = out->len;
    struct json_writer *w = loop->writer;
    json_writer_begin(w, out);
    json_write_object(w);
    json_write_pair_text(w, "error", pl_err_word(why->err));
    if (why->field[0] != '\0')
        json_write_pair_text(w, "field", why->field);
    json_write_pair_text(w, "message", why->text);
    json_write_object_end(w);
    /* What a client sent may stand in the sentence, and a cut may split a character of it. */
    if (json_writer_end(w) != PL_OK) {
        out->len = start;
        (void)pl_buf_appendf(out, "{\"error\":\"%s\"}", pl_err_word(why->err));
    }
}

void reply_error(struct http_request *request, int status, const struct pl_why *why,
                 int64_t retry_after_s)
{
    struct edge_loop *loop = edge_loop_of(request);
    struct http_header headers[REPLY_CORS_HEADERS + 3];
    char seconds[24];
    size_t count = reply_cors(request, headers);
    headers[count++] =
        (struct http_header){PL_SPAN_LIT("content-type"), PL_SPAN_LIT("application/json")};
    headers[count++] = (struct http_header){PL_SPAN_LIT("cache-control"), PL_SPAN_LIT("no-store")};
    if (retry_after_s > 0) {
        snprintf(seconds, sizeof(seconds), "%" PRId64, retry_after_s);
        headers[count++] = (struct http_header){PL_SPAN_LIT("retry-after"), pl_span_str(seconds)};
    }
    pl_buf_reset(&loop->reply);
    reply_error_body(loop, why, &loop->reply);
    http_reply(request, status, headers, count, pl_buf_span(&loop->reply));
}

void reply_refusal(struct http_request *request, int status, const char *allow, void *arg)
{
    (void)arg;
    struct edge_loop *loop = edge_loop_of(request);
    struct http_header headers[REPLY_CORS_HEADERS + 3];
    struct pl_why why = {.err = PL_EINVAL};
    switch (status) {
    case 404:
        pl_fail(&why, PL_ENOTFOUND, "nothing is served at this path");
        break;
    case 405:
        pl_fail(&why, PL_EINVAL, "this path answers to %s only", allow == NULL ? "" : allow);
        break;
    case 415:
        pl_fail_field(&why, PL_EUNSUPPORTED, "Content-Encoding",
                      "bodies are taken as they are only: send it without Content-Encoding");
        break;
    case 413:
        pl_fail(&why, PL_ELIMIT, "the body is larger than %d bytes", LIMIT_BATCH_BYTES);
        break;
    default:
        pl_fail(&why, PL_EIO, "the request cannot be answered");
        break;
    }
    size_t count = reply_cors(request, headers);
    headers[count++] =
        (struct http_header){PL_SPAN_LIT("content-type"), PL_SPAN_LIT("application/json")};
    headers[count++] = (struct http_header){PL_SPAN_LIT("cache-control"), PL_SPAN_LIT("no-store")};
    if (allow != NULL)
        headers[count++] = (struct http_header){PL_SPAN_LIT("allow"), pl_span_str(allow)};
    if (status == 415) /* RFC 9110, 15.5.16 */
        headers[count++] =
            (struct http_header){PL_SPAN_LIT("accept-encoding"), PL_SPAN_LIT("identity")};
    pl_buf_reset(&loop->reply);
    reply_error_body(loop, &why, &loop->reply);
    http_reply(request, status, headers, count, pl_buf_span(&loop->reply));
}

bool reply_coded_body(struct http_request *request)
{
    struct pl_span coding;
    if (!http_request_header(request, "content-encoding", &coding) || coding.len == 0 ||
        pl_span_eq_nocase(coding, PL_SPAN_LIT("identity")))
        return false;
    metrics_add(&edge_loop_of(request)->metrics, METRIC_REFUSED_MALFORMED, 1);
    reply_refusal(request, 415, NULL, NULL);
    return true;
}
