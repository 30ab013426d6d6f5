#include "edge/probes_parts.h"
#include "edge/reply.h"
#include "proto/base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define REASONS_MAX    12
#define REASON_BYTES   640
#define CHAINS_SHOWN   32
#define LAG_DEGRADED_S 60

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

void probes_look(const struct edge_loop *loop, struct probes_look *out)
{
    struct edge *edge = loop->edge;
    *out = (struct probes_look){0};
    spool_status(edge->spool, &out->spool);
    uplink_status(edge->uplink, &out->link);
    catalog_status(edge->catalog, &out->catalog);
    cutoff_status(edge->cutoff, &out->cutoff);
    suppressions_fullest(edge->suppressions, &out->fullest);
    out->certificate_left_ms = out->link.certificate_ends_ms - http_loop_wall_ms(loop->http);
    http_server_tls_trouble(edge->server, &out->tls);
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

static void judge_catalog(const struct edge_loop *loop, const struct probes_look *l,
                          struct verdict *v)
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

static void judge_link(const struct probes_look *l, struct verdict *v)
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
            "the link's certificate %s %lld %s: renew it (polderctl certificates renew) and "
            "restart this edge",
            l->certificate_left_ms < 0 ? "has been over for" : "ends in",
            llabs(l->certificate_left_ms) / PL_DAY_MS,
            pl_plural((uint64_t)(llabs(l->certificate_left_ms) / PL_DAY_MS), "day", "days"));
    if (l->oldest_pending_s > LAG_DEGRADED_S)
        say(v, DEGRADED, true, "the oldest event has waited %" PRId64 " s for the origin",
            l->oldest_pending_s);
}

static void judge_spool(const struct probes_look *l, struct verdict *v)
{
    if (l->collecting.err != PL_OK)
        say(v, DOWN, false, "not collecting: %s", l->collecting.text);
    if (l->spool.mismatches > 0)
        say(v, DOWN, true,
            "the books of %" PRIu64 " chains do not balance: see \"chains\" and the log",
            l->spool.mismatches);
    if (l->spool.quarantined_blocks > 0)
        say(v, DEGRADED, true,
            "%" PRIu64 " %s (%" PRIu64 " bytes) that the origin refused %s kept in quarantine, "
            "the oldest for %" PRId64 " days of 45",
            l->spool.quarantined_blocks, pl_plural(l->spool.quarantined_blocks, "block", "blocks"),
            l->spool.quarantined_bytes, pl_plural(l->spool.quarantined_blocks, "is", "are"),
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
            "the disk has lost %" PRIu64 " %s with %" PRIu64 " %s since the start",
            l->spool.lost_blocks, pl_plural(l->spool.lost_blocks, "block", "blocks"),
            l->spool.lost_events, pl_plural(l->spool.lost_events, "event", "events"));
    if (l->spool.log_rotten)
        say(v, DEGRADED, true,
            "a log of the spool was damaged when this edge started: beside the blocks that are "
            "declared lost, the last ones before its end may be missing, and nothing tells how "
            "many; look at the disk and the kernel's log");
}

static void judge_choices(const struct edge_loop *loop, const struct probes_look *l,
                          struct verdict *v)
{
    const size_t most = (size_t)loop->edge->options->optouts_per_account;
    if (l->fullest.active >= most - most / 2)
        say(v, DEGRADED, true,
            "account %016" PRIx64 " has %zu opt-outs by id of at most %zu (optouts_per_account), "
            "beyond which each is refused: raise that if they are its visitors', look for who "
            "sends them if not",
            l->fullest.account, l->fullest.active, most);
}

static void judge(const struct edge_loop *loop, const struct probes_look *l, struct verdict *v)
{
    *v = (struct verdict){.ready = true};
    judge_spool(l, v);
    judge_catalog(loop, l, v);
    judge_link(l, v);
    judge_choices(loop, l, v);
    if (l->tls.err != PL_OK)
        say(v, DEGRADED, true, HTTP_TLS_TROUBLE, l->tls.text);
}

/* ---- writing */

static void begin(struct edge_loop *loop)
{
    pl_buf_reset(&loop->reply);
    json_writer_begin(loop->writer, &loop->reply);
    json_write_object(loop->writer);
}

void probes_reply(struct http_request *request, int status, struct pl_span type,
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
        probes_reply(request, 500, PL_SPAN_LIT("text/plain"), PL_SPAN_LIT("no memory\n"));
    else
        probes_reply(request, status, PL_SPAN_LIT("application/json"), pl_buf_span(&loop->reply));
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
    struct probes_look l;
    struct verdict v;
    probes_look(loop, &l);
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

static void write_spool(struct json_writer *w, const struct probes_look *l)
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

static void write_link(struct json_writer *w, const struct probes_look *l)
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
    struct probes_look l;
    struct verdict v;
    probes_look(loop, &l);
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
