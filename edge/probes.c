#include "edge/probes.h"
#include "edge/reply.h"
#include "proto/base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define REASONS_MAX    12
#define REASON_BYTES   640
#define CHAINS_SHOWN   32
#define LAG_DEGRADED_S 60

/* ---- everything there is to know, in one look */

struct look {
    struct spool_status spool;
    struct uplink_status link;
    struct catalog_status catalog;
    struct cutoff_status cutoff;
    struct suppression_counts fullest;
    struct pl_why collecting; /* err PL_OK: events are being taken */
    int64_t config_age_s;     /* -1: never heard */
    int64_t oldest_pending_s;
    int64_t certificate_left_ms;
    int64_t quarantined_s; /* the oldest of them */
};

enum health { HEALTHY, DEGRADED, DOWN };
static const char *const health_names[] = {"healthy", "degraded", "down"};

struct verdict {
    enum health health;
    bool ready;
    size_t count;
    char reasons[REASONS_MAX][REASON_BYTES];
};

static int64_t seconds_since(const struct edge_loop *loop, int64_t wall_ms)
{
    const int64_t ms = http_loop_wall_ms(loop->http) - wall_ms;
    return ms > 0 ? ms / PL_SECOND_MS : 0;
}

static void look_around(const struct edge_loop *loop, struct look *out)
{
    struct edge *edge = loop->edge;
    *out = (struct look){0};
    spool_status(edge->spool, &out->spool);
    uplink_status(edge->uplink, &out->link);
    catalog_status(edge->catalog, &out->catalog);
    cutoff_status(edge->cutoff, &out->cutoff);
    suppressions_fullest(edge->suppressions, &out->fullest);
    out->certificate_left_ms = out->link.certificate_ends_ms - http_loop_wall_ms(loop->http);
    out->collecting.err = collector_health(edge->collector, &out->collecting);
    out->config_age_s =
        out->catalog.confirmed_ms == 0 ? -1 : seconds_since(loop, out->catalog.confirmed_ms);
    out->quarantined_s = out->spool.quarantined_oldest_ms == 0
                             ? 0
                             : seconds_since(loop, out->spool.quarantined_oldest_ms);
    out->oldest_pending_s =
        out->spool.oldest_pending_ms == 0 ? 0 : seconds_since(loop, out->spool.oldest_pending_ms);
}

__attribute__((format(printf, 4, 5))) static void say(struct verdict *v, enum health health,
                                                      bool ready, const char *format, ...)
{
    va_list args;
    if (health > v->health)
        v->health = health;
    v->ready &= ready;
    if (v->count == REASONS_MAX)
        return;
    va_start(args, format);
    pl_text_print_v(v->reasons[v->count++], REASON_BYTES, format, args);
    va_end(args);
}

static void judge_catalog(const struct edge_loop *loop, const struct look *l, struct verdict *v)
{
    const int64_t days = loop->edge->options->catalog_max_age_days;
    if (l->config_age_s < 0)
        say(v, DOWN, false, "no catalog yet: the origin has not told this edge its accounts");
    else if (l->config_age_s > days * PL_DAY_MS / PL_SECOND_MS)
        say(v, DOWN, false,
            "the catalog is %" PRId64 " s old, more than catalog_max_age_days (%" PRId64
            ") allows: nothing is collected",
            l->config_age_s, days);
}

static void judge_link(const struct look *l, struct verdict *v)
{
    if (l->link.revoked)
        say(v, DOWN, false,
            "the origin has revoked this edge: what it holds will not be taken; enroll it again");
    else if (!l->link.connected)
        say(v, DEGRADED, true, "not connected to the origin: %s",
            l->link.reason[0] == '\0' ? "no session yet" : l->link.reason);
    if (l->link.connected && llabs(l->link.clock_skew_ms) > LINK_SKEW_MAX_MS)
        say(v, DEGRADED, true,
            "this machine's clock is %lld s %s the origin's, and events are filed by it: set it",
            llabs(l->link.clock_skew_ms) / PL_SECOND_MS,
            l->link.clock_skew_ms > 0 ? "ahead of" : "behind");
    if (l->certificate_left_ms < LINK_RENEW_MS)
        say(v, DEGRADED, true,
            "the link's certificate %s %" PRId64 " days: renew it "
            "(polderctl certificates renew) and restart this edge",
            l->certificate_left_ms < 0 ? "has been over for" : "ends in",
            (l->certificate_left_ms < 0 ? -l->certificate_left_ms : l->certificate_left_ms) /
                PL_DAY_MS);
    if (l->oldest_pending_s > LAG_DEGRADED_S)
        say(v, DEGRADED, true, "the oldest event has waited %" PRId64 " s for the origin",
            l->oldest_pending_s);
}

static void judge_spool(const struct look *l, struct verdict *v)
{
    if (l->collecting.err != PL_OK)
        say(v, DOWN, false, "not collecting: %s", l->collecting.text);
    if (l->spool.mismatches > 0)
        say(v, DOWN, true,
            "the books of %" PRIu64 " chains do not balance: see \"chains\" and the log",
            l->spool.mismatches);
    if (l->spool.quarantined_blocks > 0)
        say(v, DEGRADED, true,
            "%" PRIu64 " blocks (%" PRIu64
            " bytes) that the origin refused are kept in quarantine, "
            "the oldest for %" PRId64 " days of 45",
            l->spool.quarantined_blocks, l->spool.quarantined_bytes,
            l->quarantined_s / (PL_DAY_MS / PL_SECOND_MS));
    if (l->spool.unread_chains > 0)
        say(v, DEGRADED, true,
            "the disk does not give back a block of %" PRIu64 " chains, sending waits for it: look "
            "at the disk and the kernel's log",
            l->spool.unread_chains);
    if (l->cutoff.trouble[0] != '\0')
        say(v, DEGRADED, true, "what was deleted is not physically gone yet: %s",
            l->cutoff.trouble);
    if (l->spool.lost_blocks > 0)
        say(v, DEGRADED, true,
            "the disk has lost %" PRIu64 " blocks with %" PRIu64 " events since the start",
            l->spool.lost_blocks, l->spool.lost_events);
    if (l->spool.log_rotten)
        say(v, DEGRADED, true,
            "a log of the spool was damaged when this edge started: beside the blocks that are "
            "declared lost, the last ones before its end may be missing, and nothing tells how "
            "many; look at the disk and the kernel's log");
}

static void judge_choices(const struct edge_loop *loop, const struct look *l, struct verdict *v)
{
    const size_t most = (size_t)loop->edge->options->optouts_per_account;
    if (l->fullest.active >= most - most / 2)
        say(v, DEGRADED, true,
            "account %016" PRIx64 " has %zu opt-outs by id of at most %zu (optouts_per_account), "
            "beyond which each is refused: raise that if they are its visitors', look for who "
            "sends them if not",
            l->fullest.account, l->fullest.active, most);
}

static void judge(const struct edge_loop *loop, const struct look *l, struct verdict *v)
{
    *v = (struct verdict){.ready = true};
    judge_spool(l, v);
    judge_catalog(loop, l, v);
    judge_link(l, v);
    judge_choices(loop, l, v);
}

/* ---- writing */

static void begin(struct edge_loop *loop)
{
    pl_buf_reset(&loop->reply);
    json_writer_begin(loop->writer, &loop->reply);
    json_write_object(loop->writer);
}

static void send_text(struct http_request *request, int status, struct pl_span type,
                      struct pl_span body)
{
    const struct http_header headers[] = {
        {PL_SPAN_LIT("content-type"), type},
        {PL_SPAN_LIT("cache-control"), PL_SPAN_LIT("no-store")},
    };
    http_reply(request, status, headers, sizeof(headers) / sizeof(headers[0]), body);
}

static void end(struct edge_loop *loop, struct http_request *request, int status)
{
    json_write_object_end(loop->writer);
    if (json_writer_end(loop->writer) != PL_OK)
        send_text(request, 500, PL_SPAN_LIT("text/plain"), PL_SPAN_LIT("no memory\n"));
    else
        send_text(request, status, PL_SPAN_LIT("application/json"), pl_buf_span(&loop->reply));
}

static void write_reasons(struct json_writer *w, const struct verdict *v)
{
    json_write_key(w, "reasons");
    json_write_array(w);
    for (size_t i = 0; i < v->count; i++)
        json_write_text(w, v->reasons[i]);
    json_write_array_end(w);
}

/* ---- /health, /ready */

void probe_health(struct http_request *request, void *arg)
{
    (void)arg;
    struct edge_loop *loop = edge_loop_of(request);
    begin(loop);
    json_write_pair_text(loop->writer, "status", "ok");
    json_write_pair_text(loop->writer, "version", POLDER_VERSION);
    json_write_pair_i64(loop->writer, "uptime_seconds",
                        seconds_since(loop, loop->edge->started_ms));
    end(loop, request, 200);
}

void probe_ready(struct http_request *request, void *arg)
{
    (void)arg;
    struct edge_loop *loop = edge_loop_of(request);
    struct look l;
    struct verdict v;
    look_around(loop, &l);
    judge(loop, &l, &v);
    begin(loop);
    json_write_pair_bool(loop->writer, "ready", v.ready);
    write_reasons(loop->writer, &v);
    end(loop, request, v.ready ? 200 : 503);
}

/* ---- /replication */

static void write_chain(struct json_writer *w, const struct spool_chain_status *c)
{
    char text[PL_ID128_TEXT];
    pl_id128_format(&c->incarnation, text);
    json_write_object(w);
    json_write_pair_text(w, "incarnation", text);
    json_write_pair_bool(w, "closed", c->closed);
    json_write_pair_u64(w, "acked", c->acked);
    json_write_pair_u64(w, "next", c->next);
    json_write_pair_u64(w, "acked_events", c->acked_events);
    json_write_pair_u64(w, "events", c->total_events);
    json_write_pair_text(w, "books", spool_books_name(c->books));
    json_write_key(w, "origin");
    json_write_object(w);
    json_write_pair_u64(w, "contiguous", c->origin.contiguous);
    json_write_pair_u64(w, "highest", c->origin.highest);
    json_write_pair_u64(w, "events", c->origin.events);
    json_write_pair_u64(w, "stored", c->origin.stored);
    json_write_pair_u64(w, "duplicate", c->origin.duplicate);
    json_write_pair_u64(w, "dropped", c->origin.dropped);
    json_write_object_end(w);
    json_write_object_end(w);
}

static void write_chains(struct edge_loop *loop)
{
    struct spool_chain_status chains[CHAINS_SHOWN];
    const size_t count = spool_chains(loop->edge->spool, chains, CHAINS_SHOWN);
    json_write_key(loop->writer, "chains");
    json_write_array(loop->writer);
    for (size_t i = 0; i < count; i++)
        write_chain(loop->writer, &chains[i]);
    json_write_array_end(loop->writer);
}

static void write_spool(struct json_writer *w, const struct look *l)
{
    json_write_pair_u64(w, "accepted_events", l->spool.accepted_events);
    json_write_pair_u64(w, "pending_blocks", l->spool.pending_blocks);
    json_write_pair_u64(w, "pending_events", l->spool.pending_events);
    json_write_pair_u64(w, "pending_bytes", l->spool.pending_bytes);
    json_write_pair_i64(w, "oldest_pending_seconds", l->oldest_pending_s);
    json_write_pair_u64(w, "lost_blocks", l->spool.lost_blocks);
    json_write_pair_u64(w, "lost_events", l->spool.lost_events);
    json_write_pair_bool(w, "log_rotten", l->spool.log_rotten);
    json_write_pair_u64(w, "quarantined_blocks", l->spool.quarantined_blocks);
    json_write_pair_u64(w, "quarantined_bytes", l->spool.quarantined_bytes);
    json_write_pair_i64(w, "quarantined_oldest_seconds", l->quarantined_s);
}

static void write_link(struct json_writer *w, const struct look *l)
{
    json_write_pair_bool(w, "connected", l->link.connected);
    json_write_pair_bool(w, "revoked", l->link.revoked);
    json_write_pair_u64(w, "connects", l->link.connects);
    json_write_pair_i64(w, "round_trip_us", l->link.round_trip_us);
    json_write_pair_i64(w, "clock_skew_ms", l->link.clock_skew_ms);
    json_write_pair_u64(w, "in_flight_bytes", l->link.in_flight_bytes);
    json_write_pair_u64(w, "blocks_sent", l->link.blocks_sent);
    json_write_pair_u64(w, "bytes_sent", l->link.bytes_sent);
    json_write_pair_u64(w, "blocks_acked", l->link.blocks_acked);
    json_write_pair_u64(w, "repeats", l->link.repeats);
    json_write_pair_u64(w, "forks", l->link.forks);
    json_write_pair_u64(w, "refused", l->link.refused);
    json_write_pair_u64(w, "losses", l->link.losses);
}

void probe_replication(struct http_request *request, void *arg)
{
    (void)arg;
    struct edge_loop *loop = edge_loop_of(request);
    struct json_writer *w = loop->writer;
    struct look l;
    struct verdict v;
    look_around(loop, &l);
    judge(loop, &l, &v);
    begin(loop);
    json_write_pair_text(w, "status", health_names[v.health]);
    write_reasons(w, &v);
    json_write_pair_text(w, "edge_id", loop->edge->options->edge_id_text);
    json_write_pair_text(w, "region", loop->edge->options->region);
    write_link(w, &l);
    write_spool(w, &l);
    json_write_pair_u64(w, "feed_position", l.catalog.position);
    json_write_pair_u64(w, "settled_position", l.cutoff.settled.position);
    json_write_pair_i64(w, "settling_seconds", l.cutoff.pending_ms / PL_SECOND_MS);
    json_write_pair_u64(w, "accounts", l.catalog.accounts);
    json_write_key(w, "config_age_seconds");
    if (l.config_age_s < 0)
        json_write_null(w);
    else
        json_write_i64(w, l.config_age_s);
    write_chains(loop);
    end(loop, request, v.health == DOWN ? 503 : 200);
}

/* ---- /metrics */

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

static enum pl_err write_replication(const struct look *l, struct pl_buf *out)
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
static enum pl_err write_certificates(struct edge *edge, struct pl_buf *out)
{
    struct pl_buf hosts;
    struct certificates c = {.out = &hosts};
    pl_buf_init(&hosts, CERTIFICATES_BYTES_MAX);
    const size_t refused = http_server_certificates(edge->server, write_certificate, &c);
    enum pl_err err = PL_OK;
    if (hosts.len > 0)
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
    struct look l;
    look_around(loop, &l);
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
        err = write_certificates(edge, &loop->reply);
    if (err == PL_OK)
        send_text(request, 200, PL_SPAN_LIT("text/plain; version=0.0.4; charset=utf-8"),
                  pl_buf_span(&loop->reply));
    else
        send_text(request, 500, PL_SPAN_LIT("text/plain"), PL_SPAN_LIT("no memory\n"));
}
