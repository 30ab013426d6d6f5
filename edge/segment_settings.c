#include "edge/segment_settings.h"
#include "edge/reply.h"
#include "edge/serve.h"

#include <inttypes.h>
#include <stdio.h>

/* How the page reaches this edge. Without TLS here there may still be a proxy in front that has it;
 * a page that came by https cannot send by http, so it is asked where it came from. */
static bool is_https(const struct http_request *request)
{
    struct pl_span from;
    if (http_request_is_tls(request))
        return true;
    return !(http_request_header(request, "origin", &from) ||
             http_request_header(request, "referer", &from)) ||
           !pl_span_starts(from, PL_SPAN_LIT("http://"));
}

#define HOST_BYTES 512

static void write_member(struct json_writer *w, const char *name, struct pl_span json)
{
    json_write_key(w, name);
    json_write_raw(w, json);
}

/* PL_EINVAL: the host that was asked is no text. */
static enum pl_err write_settings(struct json_writer *w, const struct http_request *request,
                                  struct pl_span key, struct pl_buf *out)
{
    char host[HOST_BYTES + 8];
    snprintf(host, sizeof(host), "%.*s/v1", PL_SPAN_FMT(http_request_authority(request)));
    json_writer_begin(w, out);
    json_write_object(w);
    json_write_key(w, "integrations");
    json_write_object(w);
    json_write_key(w, "Segment.io");
    json_write_object(w);
    json_write_key(w, "apiKey");
    json_write_string(w, key);
    json_write_pair_text(w, "apiHost", host);
    json_write_pair_text(w, "protocol", is_https(request) ? "https" : "http");
    json_write_object_end(w);
    json_write_object_end(w);
    write_member(w, "plan", PL_SPAN_LIT("{}"));
    write_member(w, "edgeFunction", PL_SPAN_LIT("{}"));
    write_member(w, "metrics", PL_SPAN_LIT("{\"sampleRate\":0}"));
    write_member(w, "remotePlugins", PL_SPAN_LIT("[]"));
    json_write_pair_bool(w, "analyticsNextEnabled", true);
    json_write_object_end(w);
    return json_writer_end(w);
}

static void send(struct http_request *request, const struct edge_loop *loop, struct pl_span body)
{
    char cache[64];
    snprintf(cache, sizeof(cache), "public, max-age=%" PRId64,
             loop->edge->options->cache_max_age_s);
    const struct http_header headers[] = {
        {PL_SPAN_LIT("content-type"), PL_SPAN_LIT("application/json")},
        {PL_SPAN_LIT("cache-control"), pl_span_str(cache)},
        {PL_SPAN_LIT("access-control-allow-origin"), PL_SPAN_LIT("*")},
        {PL_SPAN_LIT("vary"), PL_SPAN_LIT("origin, referer")},
    };
    http_reply(request, 200, headers, sizeof(headers) / sizeof(headers[0]), body);
}

void segment_settings_serve(struct http_request *request, void *arg)
{
    (void)arg;
    static const struct pl_span suffix = PL_SPAN_INIT("/settings");
    struct edge_loop *loop = edge_loop_of(request);
    struct pl_span key = http_request_tail(request);
    if (key.len < suffix.len || !pl_span_eq(pl_span_from(key, key.len - suffix.len), suffix)) {
        reply_refusal(request, 404, NULL, NULL);
        return;
    }
    key.len -= suffix.len;
    if (serve_find_key(request, key) == NULL)
        return;
    pl_buf_reset(&loop->reply);
    if (write_settings(loop->writer, request, key, &loop->reply) != PL_OK) {
        const struct pl_why why = {.err = PL_EINVAL, .text = "the Host header is not text"};
        reply_error(request, 400, &why, 0);
        return;
    }
    metrics_add(&loop->metrics, METRIC_CONFIG_SERVED, 1);
    send(request, loop, pl_buf_span(&loop->reply));
}
