#include "proto/http/internal.h"

#include <strings.h>

/* ---- HTTP/1: the raw head -------------------------------------------------------------- */

struct head_facts {
    unsigned hosts, lengths, codings;
    bool length_ok, chunked;
};

static struct pl_span trim(const uint8_t *from, const uint8_t *to)
{
    while (from < to && (*from == ' ' || *from == '\t'))
        ++from;
    while (to > from && (to[-1] == ' ' || to[-1] == '\t'))
        --to;
    return pl_span(from, (size_t)(to - from));
}

static bool named(const uint8_t *line, size_t len, const char *name, size_t name_len)
{
    return len >= name_len && memcmp(line, name, name_len) == 0;
}

/* line: without its CRLF. */
static void note_header(struct head_facts *facts, const uint8_t *line, size_t len)
{
    uint64_t ignored;
    switch (line[0]) {
    case 'h':
        facts->hosts += named(line, len, "host:", 5);
        break;
    case 'c':
        if (named(line, len, "content-length:", 15)) {
            facts->lengths++;
            facts->length_ok = pl_span_to_u64(trim(line + 15, line + len), &ignored);
        }
        break;
    case 't':
        if (named(line, len, "transfer-encoding:", 18)) {
            facts->codings++;
            facts->chunked = pl_span_eq_nocase(trim(line + 18, line + len), PL_SPAN_LIT("chunked"));
        }
        break;
    default:
        break;
    }
}

/* RFC 9112 sections 3.2 and 6.3, read strictly: where two readings are possible, none is. */
static bool facts_agree(const struct head_facts *facts, int version)
{
    if (facts->hosts > 1 || (facts->hosts == 0 && version >= 0x101))
        return false;
    if (facts->lengths > 1 || facts->codings > 1 || (facts->lengths != 0 && facts->codings != 0))
        return false;
    if (facts->lengths == 1 && !facts->length_ok)
        return false;
    return facts->codings == 0 || (facts->chunked && version >= 0x101);
}

struct http_head_verdict http_guard_h1_head(const uint8_t *data, size_t len, int version)
{
    const struct http_head_verdict bad = {.status = 400};
    const uint8_t *end = data + len, *line = data;
    struct head_facts facts = {0};
    bool first = true;

    if (len >= 2 && line[0] == '\r' && line[1] == '\n') /* RFC 9112 section 2.2 allows one */
        line += 2;
    for (;; first = false) {
        const uint8_t *lf = memchr(line, '\n', (size_t)(end - line));
        if (lf == NULL || lf == line || lf[-1] != '\r')
            return bad;
        size_t line_len = (size_t)(lf - line) - 1;
        if (!first) {
            if (line_len == 0)
                break;
            if (line[0] == ' ' || line[0] == '\t') /* obs-fold */
                return bad;
            note_header(&facts, line, line_len);
        }
        line = lf + 1;
        if ((size_t)(line - data) > HTTP_HEAD_MAX_BYTES)
            return (struct http_head_verdict){.status = 431};
    }
    if (!facts_agree(&facts, version))
        return bad;
    return (struct http_head_verdict){.chunked = facts.codings != 0};
}

/* ---- HTTP/2: the head after HPACK ------------------------------------------------------ */

int http_guard_h2_head(const h2o_req_t *req)
{
    size_t total = req->input.path.len + req->input.authority.len + req->input.method.len;
    for (size_t i = 0; i < req->headers.size; ++i) {
        const h2o_header_t *header = &req->headers.entries[i];
        total += header->name->len + header->value.len + 32; /* RFC 9113 section 6.5.2 */
    }
    return total > HTTP_HEAD_MAX_BYTES ? 431 : 0;
}

/* ---- HTTP/2: the frame budget ---------------------------------------------------------- */

#define WINDOW_MS    UINT64_C(10000)
#define COST_CONTROL 16 /* one control frame */
/* WINDOW_UPDATE comes with every download: one for so many bytes sent is free, further ones
 * count as a sixteenth. */
#define BYTES_PER_FREE_UPDATE 512

static uint64_t update_cost(struct http_conn *conn)
{
    if (conn->sock->bytes_written - conn->h2_updates_earned < BYTES_PER_FREE_UPDATE)
        return 1;
    conn->h2_updates_earned += BYTES_PER_FREE_UPDATE;
    return 0;
}

static uint64_t frame_cost(struct http_conn *conn, const uint8_t *frame, size_t payload_len)
{
    switch (frame[3]) {
    case H2O_HTTP2_FRAME_TYPE_HEADERS:
        return 0;                   /* a request: paid for by whoever waits for its answer */
    case H2O_HTTP2_FRAME_TYPE_DATA: /* empty ones that end nothing: CVE-2019-9518 */
        return payload_len == 0 && (frame[4] & H2O_HTTP2_FRAME_FLAG_END_STREAM) == 0 ? COST_CONTROL
                                                                                     : 0;
    case H2O_HTTP2_FRAME_TYPE_WINDOW_UPDATE:
        return update_cost(conn);
    default:
        return COST_CONTROL;
    }
}

/* Streams that a client makes us reset are as dear as those it resets (CVE-2025-8671). */
static uint64_t errors_answered(const h2o_http2_conn_t *h2)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < H2O_HTTP2_ERROR_MAX; ++i)
        sum += h2->super.ctx->http2.events.protocol_level_errors[i];
    return sum;
}

static bool spend(struct http_conn *conn, uint64_t cost)
{
    uint64_t now = h2o_now(conn->loop->h2o.loop);
    if (cost == 0)
        return true;
    if (now - conn->h2_window_start_ms >= WINDOW_MS) {
        conn->h2_window_start_ms = now;
        conn->h2_spent = 0;
    }
    conn->h2_spent += cost;
    return conn->h2_spent <=
           (uint64_t)conn->loop->server->config.h2_control_frames_per_10s * COST_CONTROL;
}

static ssize_t flood(struct http_conn *conn, const char **err_desc)
{
    http_count(&conn->loop->counters.flood);
    *err_desc = "too many control frames";
    return H2O_HTTP2_ERROR_ENHANCE_YOUR_CALM;
}

static ssize_t expect_next(struct http_conn *conn, h2o_http2_conn_t *h2, const uint8_t *src,
                           size_t len, const char **err_desc)
{
    ssize_t taken = conn->h2_expect(h2, src, len, err_desc);
    if (h2->_read_expect != conn->h2_expect) { /* libh2o moved on to another state */
        conn->h2_expect = h2->_read_expect;
    }
    return taken;
}

#define RST_STREAM_BYTES ((size_t)H2O_HTTP2_FRAME_HEADER_SIZE + 4)

/* libh2o has refused a body over max_drain_bytes by resetting its stream, which tells a client to
 * try again. So an answer goes before the reset, and the reset says no more than that the rest is
 * not wanted (RFC 9113 section 8.1). from: where in the output the reset stands. */
static void answer_too_large(h2o_http2_conn_t *h2, size_t from)
{
    /* ":status: 413" and "content-length: 0" (RFC 7541 section 6.2.2: the peer's table stays) */
    static const uint8_t fields[] = {0x08, 3, '4', '1', '3', 0x0f, 0x0d, 1, '0'};
    const size_t len = H2O_HTTP2_FRAME_HEADER_SIZE + sizeof(fields);
    h2o_buffer_t *out = h2->_write.buf;

    if (out->size < from + RST_STREAM_BYTES ||
        out->bytes[from + 3] != H2O_HTTP2_FRAME_TYPE_RST_STREAM)
        return;
    if (h2o_buffer_reserve(&h2->_write.buf, len).base == NULL)
        return;
    out = h2->_write.buf;
    uint8_t *at = (uint8_t *)out->bytes + from;
    const int32_t stream_id = (int32_t)pl_load_u32(at + 5);
    memmove(at + len, at, out->size - from);
    out->size += len;
    at = h2o_http2_encode_frame_header(
        at, sizeof(fields), H2O_HTTP2_FRAME_TYPE_HEADERS,
        H2O_HTTP2_FRAME_FLAG_END_HEADERS | H2O_HTTP2_FRAME_FLAG_END_STREAM, stream_id);
    memcpy(at, fields, sizeof(fields));
    memset(at + sizeof(fields) + H2O_HTTP2_FRAME_HEADER_SIZE, 0, 4); /* NO_ERROR */
}

/* Stands in for libh2o's frame reader: called with the input from the start of a frame on. */
static ssize_t expect_frame(h2o_http2_conn_t *h2, const uint8_t *src, size_t len,
                            const char **err_desc)
{
    struct http_conn *conn = http_conn_of(h2->sock);
    ssize_t taken;

    h2->_read_expect = conn->h2_expect;
    if (!conn->h2_greeted) { /* the connection preface is no frame */
        taken = expect_next(conn, h2, src, len, err_desc);
        conn->h2_greeted = taken > 0;
        goto out;
    }
    if (len < H2O_HTTP2_FRAME_HEADER_SIZE) {
        taken = H2O_HTTP2_ERROR_INCOMPLETE;
        goto out;
    }
    size_t payload_len = h2o_http2_decode24u(src);
    bool whole = len - H2O_HTTP2_FRAME_HEADER_SIZE >= payload_len;
    bool in_head = h2->_headers_unparsed != NULL;
    if (payload_len > HTTP_H2_MAX_FRAME_BYTES || !whole) {
        taken = expect_next(conn, h2, src, len, err_desc);
    } else if (!spend(conn, frame_cost(conn, src, payload_len)) ||
               (in_head && h2->_headers_unparsed->size + payload_len > HTTP_HEAD_MAX_BYTES)) {
        taken = flood(conn, err_desc);
    } else if (src[3] > H2O_HTTP2_FRAME_TYPE_CONTINUATION && !in_head) {
        /* RFC 9113 section 5.5: ignored. libh2o would also write a line to stderr for each. */
        taken = (ssize_t)(H2O_HTTP2_FRAME_HEADER_SIZE + payload_len);
    } else {
        uint64_t errors = errors_answered(h2);
        const uint64_t *refused =
            &h2->super.ctx->http2.events.protocol_level_errors[-H2O_HTTP2_ERROR_REFUSED_STREAM];
        uint64_t refused_before = *refused;
        size_t written_before = h2->_write.buf->size;
        taken = expect_next(conn, h2, src, len, err_desc);
        if (src[3] == H2O_HTTP2_FRAME_TYPE_DATA && *refused != refused_before) {
            answer_too_large(h2, written_before);
            http_count(&conn->loop->counters.too_large);
            http_count(&conn->loop->counters.by_class[4]);
        }
        if (taken > 0 && !spend(conn, (errors_answered(h2) - errors) * COST_CONTROL))
            taken = flood(conn, err_desc);
    }
out:
    h2->_read_expect = expect_frame;
    return taken;
}

void http_guard_h2(struct http_conn *conn, h2o_http2_conn_t *h2)
{
    if (conn->loop->h2_write_buffers == NULL)
        conn->loop->h2_write_buffers =
            H2O_STRUCT_FROM_MEMBER(h2o_buffer_prototype_t, _initial_buf, h2->_write.buf);
    conn->h2_expect = h2->_read_expect;
    h2->_read_expect = expect_frame;
}
