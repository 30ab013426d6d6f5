/* What Prometheus reads of an edge. */
#include "edge/probes_parts.h"

#include <inttypes.h>

struct value_row {
    const char *name;
    const char *type;
    const char *help;
    double value;
};

static enum pl_err write_rows(const struct value_row *rows, size_t count, struct pl_buf *out)
{
    enum pl_err err = PL_OK;
    for (size_t i = 0; i < count && err == PL_OK; i++)
        err = metrics_write_value(out, rows[i].name, rows[i].type, rows[i].help, rows[i].value);
    return err;
}

static enum pl_err write_replication(const struct probes_look *l, struct pl_buf *out)
{
    const struct value_row rows[] = {
        {"polder_link_connected", "gauge", "1 while the origin answers", l->link.connected},
        {"polder_link_round_trip_seconds", "gauge", "Round trip of the last PING",
         (double)l->link.round_trip_us / 1e6},
        {"polder_link_clock_skew_seconds", "gauge", "Our clock minus the origin's",
         (double)l->link.clock_skew_ms / 1e3},
        {"polder_link_certificate_not_after_seconds", "gauge",
         "When the link's certificate, or its CA's, ends, in Unix time",
         (double)l->link.certificate_ends_ms / 1e3},
        {"polder_link_sessions_total", "counter", "Sessions with the origin",
         (double)l->link.connects},
        {"polder_link_sent_blocks_total", "counter", "Blocks sent, repeats included",
         (double)l->link.blocks_sent},
        {"polder_link_sent_bytes_total", "counter", "Bytes of blocks sent",
         (double)l->link.bytes_sent},
        {"polder_link_acked_blocks_total", "counter", "Blocks the origin has taken",
         (double)l->link.blocks_acked},
        {"polder_link_forks_total", "counter", "Blocks the origin holds differently",
         (double)l->link.forks},
        {"polder_link_refused_total", "counter", "Blocks the origin cannot open or place",
         (double)l->link.refused},
        {"polder_link_in_flight_bytes", "gauge", "Sent and not yet acked",
         (double)l->link.in_flight_bytes},
        {"polder_spool_pending_blocks", "gauge", "Blocks that wait for the origin",
         (double)l->spool.pending_blocks},
        {"polder_spool_pending_events", "gauge", "Events that wait for the origin",
         (double)l->spool.pending_events},
        {"polder_spool_pending_bytes", "gauge", "Bytes that wait for the origin",
         (double)l->spool.pending_bytes},
        {"polder_spool_oldest_seconds", "gauge", "How long the oldest of them has waited",
         (double)l->oldest_pending_s},
        {"polder_spool_lost_events_total", "counter", "Events the disk did not give back",
         (double)l->spool.lost_events},
        {"polder_spool_log_rotten", "gauge", "1 when a log was damaged at the start",
         l->spool.log_rotten ? 1.0 : 0.0},
        {"polder_spool_quarantined_blocks", "gauge", "Blocks the origin refused",
         (double)l->spool.quarantined_blocks},
        {"polder_books_mismatches", "gauge", "Chains whose books do not balance",
         (double)l->spool.mismatches},
        {"polder_catalog_accounts", "gauge", "Accounts this edge knows",
         (double)l->catalog.accounts},
        {"polder_catalog_age_seconds", "gauge",
         "Since the origin last said that this is all; -1: never", (double)l->config_age_s},
        {"polder_cutoff_position", "gauge", "Where in the feed this edge is settled",
         (double)l->cutoff.settled.position},
        {"polder_cutoff_pending_seconds", "gauge",
         "For how long it has been settling further on; 0: it is not",
         (double)l->cutoff.pending_ms / 1e3},
        {"polder_collecting", "gauge", "1 while events can be stored", l->collecting.err == PL_OK},
    };
    return write_rows(rows, sizeof(rows) / sizeof(rows[0]), out);
}

static enum pl_err write_work(struct edge *edge, struct pl_buf *out)
{
    struct collector_stats c;
    struct http_stats h;
    struct suppression_counts fullest;
    suppressions_fullest(edge->suppressions, &fullest);
    collector_stats(edge->collector, &c);
    http_server_stats(edge->server, &h);
    const struct value_row rows[] = {
        {"polder_commit_rounds_total", "counter", "Group commits", (double)c.rounds},
        {"polder_commit_failures_total", "counter", "Group commits that failed",
         (double)c.failed_rounds},
        {"polder_commit_seconds_total", "counter", "Time spent sealing, writing and syncing",
         (double)c.commit_us / 1e6},
        {"polder_commit_blocks_total", "counter", "Blocks written", (double)c.blocks},
        {"polder_commit_plain_bytes_total", "counter", "Bytes of events before compression",
         (double)c.plain_bytes},
        {"polder_commit_block_bytes_total", "counter", "Bytes of sealed blocks",
         (double)c.block_bytes},
        {"polder_suppressions", "gauge", "Opt-outs by id that are in force",
         (double)suppressions_count(edge->suppressions)},
        {"polder_suppressions_fullest", "gauge",
         "Opt-outs by id in force of the account that has the most", (double)fullest.active},
        {"polder_http_connections", "gauge", "Open connections", (double)h.connections_open},
        {"polder_http_connections_total", "counter", "Connections accepted",
         (double)h.connections_accepted},
        {"polder_http_requests_total", "counter", "Requests that reached a handler",
         (double)h.requests},
        {"polder_http_replies_2xx_total", "counter", "Replies", (double)h.replies_by_class[2]},
        {"polder_http_replies_3xx_total", "counter", "Replies", (double)h.replies_by_class[3]},
        {"polder_http_replies_4xx_total", "counter", "Replies", (double)h.replies_by_class[4]},
        {"polder_http_replies_5xx_total", "counter", "Replies", (double)h.replies_by_class[5]},
        {"polder_http_smuggling_refused_total", "counter", "Requests with ambiguous framing",
         (double)h.refused_smuggling},
        {"polder_http_floods_refused_total", "counter", "HTTP/2 connections closed for flooding",
         (double)h.refused_flood},
        {"polder_http_timeouts_total", "counter", "Connections closed for being slow",
         (double)h.timed_out},
    };
    return write_rows(rows, sizeof(rows) / sizeof(rows[0]), out);
}

/* ---- certificates */

#define CERTIFICATES_BYTES_MAX (128 * 1024)
#define CERTIFICATE_END        "polder_tls_certificate_not_after_seconds"

struct certificates {
    struct pl_buf *out;
    enum pl_err err;
};

/* The default certificate comes first, without a label. */
static void write_certificate(void *ctx, const char *name, int64_t not_after_s)
{
    struct certificates *c = ctx;
    if (c->err != PL_OK)
        return;
    if (name[0] == '\0')
        c->err = metrics_write_value(c->out, CERTIFICATE_END, "gauge",
                                     "When a certificate in force ends, as Unix time; without a "
                                     "host: the default one",
                                     (double)not_after_s);
    else
        c->err = pl_buf_appendf(c->out, CERTIFICATE_END "{host=\"%s\"} %" PRId64 "\n", name,
                                not_after_s);
}

/* The last of all: thousands of hosts may not fit, which must not cost the rest. */
static enum pl_err write_certificates(struct edge *edge, const struct probes_look *l,
                                      struct pl_buf *out)
{
    struct pl_buf hosts;
    struct certificates c = {.out = &hosts};
    pl_buf_init(&hosts, CERTIFICATES_BYTES_MAX);
    const size_t refused = http_server_certificates(edge->server, write_certificate, &c);
    enum pl_err err = PL_OK;
    if (hosts.len > 0)
        err = metrics_write_value(out, "polder_tls_reload_failed", "gauge",
                                  "1 while older certificates are in force, for the last reading "
                                  "of tls_cert_file failed",
                                  l->tls.err == PL_OK ? 0 : 1);
    if (err == PL_OK && hosts.len > 0)
        err = metrics_write_value(out, "polder_tls_certificates_refused", "gauge",
                                  "Pairs in tls_sni_dir that could not be used when last read",
                                  (double)refused);
    if (err == PL_OK)
        err = pl_buf_append_span(out, pl_buf_span(&hosts));
    pl_buf_release(&hosts);
    return err == PL_ELIMIT ? PL_OK : err;
}

static enum pl_err write_measures(struct edge *edge, struct pl_buf *out)
{
    struct spool_measures spool;
    struct pl_histogram_sums durable_us = {.sum = 0};
    spool_measures(edge->spool, &spool);
    for (unsigned i = 0; i < edge->loop_count; i++)
        pl_histogram_sum(&edge->loops[i].durable_us, &durable_us);
    enum pl_err err = pl_histogram_write(out, "polder_collect_seconds",
                                         "From a request's arrival until its events are on disk",
                                         &pl_histogram_times, &durable_us);
    if (err == PL_OK)
        err = pl_histogram_write(out, "polder_spool_sync_seconds", "One synced write of the spool",
                                 &pl_histogram_times, &spool.sync_us);
    if (err == PL_OK)
        err = pl_histogram_write(out, "polder_spool_block_bytes", "Sealed blocks",
                                 &pl_histogram_sizes, &spool.block_bytes);
    return err;
}

void probe_metrics(struct http_request *request, void *arg)
{
    (void)arg;
    struct edge_loop *loop = edge_loop_of(request);
    struct edge *edge = loop->edge;
    uint64_t sums[METRIC_COUNT] = {0};
    struct probes_look l;
    probes_look(loop, &l);
    for (unsigned i = 0; i < edge->loop_count; i++)
        metrics_sum(&edge->loops[i].metrics, sums);
    pl_buf_reset(&loop->reply);
    enum pl_err err = metrics_write(sums, &loop->reply);
    if (err == PL_OK)
        err = write_replication(&l, &loop->reply);
    if (err == PL_OK)
        err = write_work(edge, &loop->reply);
    if (err == PL_OK)
        err = write_measures(edge, &loop->reply);
    if (err == PL_OK)
        err = write_certificates(edge, &l, &loop->reply);
    if (err == PL_OK)
        probes_reply(request, 200, PL_SPAN_LIT("text/plain; version=0.0.4; charset=utf-8"),
                     pl_buf_span(&loop->reply));
    else
        probes_reply(request, 500, PL_SPAN_LIT("text/plain"), PL_SPAN_LIT("no memory\n"));
}
