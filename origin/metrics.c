/* The counters of /metrics: one table of the origin's own, one of each edge's. */
#include "origin/api/api.h"
#include "origin/probes_view.h"

#include <inttypes.h>
#include <stdlib.h>

struct numbers {
    struct http_stats http;
    struct api_stats api;
    struct audit_status audit;
    struct intake_status intake;
    struct ledger_counts totals;
    struct store_usage store;
    uint64_t ready, alarms, keys_live, keys_destroyed, keys_missing, keys_locked, keyring_behind;
    uint64_t redo_bytes, restored, optouts_late, orphan_keys;
    uint64_t erasures_open, erasures_unfinished;
    uint64_t settle_position, edges_waiting, seal_key_age_s, old_seal_keys;
    uint64_t expired, deleting, deleted, overdue, held;
    struct holds_count holds;
    uint64_t changelog_position, queued_bytes, store_failed, api_waiting, exports;
};

struct row {
    const char *name, *type, *help; /* help NULL: another sample of the metric above */
    const char *labels;
    size_t offset; /* of a uint64_t in numbers */
};
#define AT(member) offsetof(struct numbers, member)
#define COUNTER(name, help, labels, member)                                                        \
    {                                                                                              \
        "polder_" name, "counter", help, labels, AT(member)                                        \
    }
#define GAUGE(name, help, labels, member)                                                          \
    {                                                                                              \
        "polder_" name, "gauge", help, labels, AT(member)                                          \
    }

static const struct row rows[] = {
    GAUGE("intake_ready", "1 while blocks are taken.", "", ready),
    GAUGE("intake_queued_bytes", "Blocks on their way to the vault.", "", queued_bytes),
    COUNTER("intake_blocks_total", "Blocks taken since start.", "", intake.blocks),
    COUNTER("intake_block_verdicts_total", "Blocks that were not new, by verdict.",
            "{verdict=\"repeat\"}", intake.repeats),
    COUNTER("intake_block_verdicts_total", NULL, "{verdict=\"fork\"}", intake.forks),
    COUNTER("intake_block_verdicts_total", NULL, "{verdict=\"refused\"}", intake.refused),
    COUNTER("intake_block_verdicts_total", NULL, "{verdict=\"retry\"}", intake.retries),
    COUNTER("intake_block_verdicts_total", NULL, "{verdict=\"lost\"}", intake.losses),
    COUNTER("intake_groups_total", "Synced writes since start.", "", intake.groups),
    COUNTER("intake_redated_total", "Events dated anew: their edge's clock was wrong.", "",
            intake.redated),
    COUNTER("ledger_blocks_total", "Blocks recorded since the database was made.", "",
            totals.blocks),
    COUNTER("ledger_events_total", "Events found in them.", "", totals.events),
    COUNTER("ledger_stored_total", "Events stored.", "", totals.stored),
    COUNTER("ledger_duplicate_total", "Events that had been stored before.", "", totals.duplicate),
    COUNTER("ledger_dropped_total", "Events dropped, by reason.", "{reason=\"malformed\"}",
            totals.dropped[DROP_MALFORMED]),
    COUNTER("ledger_dropped_total", NULL, "{reason=\"expired\"}", totals.dropped[DROP_EXPIRED]),
    COUNTER("ledger_dropped_total", NULL, "{reason=\"deleted\"}", totals.dropped[DROP_DELETED]),
    COUNTER("ledger_dropped_total", NULL, "{reason=\"unknown\"}", totals.dropped[DROP_UNKNOWN]),
    COUNTER("ledger_dropped_total", NULL, "{reason=\"rot\"}", totals.dropped[DROP_ROT]),
    COUNTER("ledger_dropped_total", NULL, "{reason=\"refused\"}", totals.dropped[DROP_REFUSED]),
    COUNTER("ledger_dropped_total", NULL, "{reason=\"opted_out\"}", totals.dropped[DROP_OPTED_OUT]),
    COUNTER("ledger_dropped_total", NULL, "{reason=\"erased\"}", totals.dropped[DROP_ERASED]),
    COUNTER("ledger_dropped_total", NULL, "{reason=\"key_destroyed\"}",
            totals.dropped[DROP_KEY_DESTROYED]),
    COUNTER("ledger_dropped_total", NULL, "{reason=\"key_lost\"}", totals.dropped[DROP_KEY_LOST]),
    GAUGE("ledger_lost_blocks", "Acked once, and lost with a copy that was restored.", "",
          totals.lost_blocks),
    GAUGE("ledger_lost_events", "Events in them.", "", totals.dropped[DROP_RESTORED]),
    GAUGE("ledger_alarms", "Holes, forks, refused and miscounted blocks.", "", alarms),
    GAUGE("keyring_keys", "Keys by state.", "{state=\"live\"}", keys_live),
    GAUGE("keyring_keys", NULL, "{state=\"destroyed\"}", keys_destroyed),
    GAUGE("keyring_keys", NULL, "{state=\"missing\"}", keys_missing),
    GAUGE("keyring_keys", NULL, "{state=\"locked\"}", keys_locked),
    GAUGE("cutoff_position", "Where in the feed edges are to be settled.", "", settle_position),
    GAUGE("cutoff_edges_waiting", "Edges that may hold blocks from before it.", "", edges_waiting),
    GAUGE("seal_key_age_seconds", "Of the key that edges seal for.", "", seal_key_age_s),
    GAUGE("seal_keys_old", "Replaced and not destroyed yet.", "", old_seal_keys),
    GAUGE("redo_bytes", "Bytes of the redo log.", "", redo_bytes),
    GAUGE("redo_optouts_late", "1 while opt-outs wait for room in the redo log.", "", optouts_late),
    GAUGE("keyring_orphans", "Data keys of accounts that the database does not know.", "",
          orphan_keys),
    GAUGE("erasures_open", "Erasures of visitors that are guarded against late events.", "",
          erasures_open),
    GAUGE("erasures_unfinished", "Of them, those that are not physically gone yet.", "",
          erasures_unfinished),
    GAUGE("restored", "1 for a day after the database was found to be restored.", "", restored),
    GAUGE("keyring_paths_behind", "Paths on which the last write failed.", "", keyring_behind),
    GAUGE("accounts_ended", "Accounts that are not active, by state.", "{state=\"expired\"}",
          expired),
    GAUGE("accounts_ended", NULL, "{state=\"deleting\"}", deleting),
    GAUGE("accounts_ended", NULL, "{state=\"deleted\"}", deleted),
    GAUGE("deletions_overdue", "Accounts past day 80 that are not deleted.", "", overdue),
    GAUGE("deletions_held", "Accounts that would be deleted by now but for a hold.", "", held),
    GAUGE("holds", "Holds that stand, by what they keep.", "{of=\"account\"}", holds.accounts),
    GAUGE("holds", NULL, "{of=\"days\"}", holds.ranges),
    GAUGE("held_dates", "Days that they keep, beside whole accounts.", "", holds.days),
    GAUGE("changelog_position", "Number of the newest change that edges learn of.", "",
          changelog_position),
    GAUGE("store_disk_bytes", "Tables and logs on disk.", "", store.disk_bytes),
    GAUGE("store_memory_bytes", "Memtables and cache.", "", store.memory_bytes),
    GAUGE("store_failed", "1 while the database refuses writes.", "", store_failed),
    COUNTER("http_connections_total", "Connections accepted.", "", http.connections_accepted),
    GAUGE("http_connections_open", "Connections open now.", "", http.connections_open),
    COUNTER("http_requests_total", "Requests.", "", http.requests),
    COUNTER("http_replies_total", "Replies by class.", "{class=\"2xx\"}", http.replies_by_class[2]),
    COUNTER("http_replies_total", NULL, "{class=\"3xx\"}", http.replies_by_class[3]),
    COUNTER("http_replies_total", NULL, "{class=\"4xx\"}", http.replies_by_class[4]),
    COUNTER("http_replies_total", NULL, "{class=\"5xx\"}", http.replies_by_class[5]),
    COUNTER("http_refused_total", "Connections and requests refused, by reason.",
            "{reason=\"smuggling\"}", http.refused_smuggling),
    COUNTER("http_refused_total", NULL, "{reason=\"flood\"}", http.refused_flood),
    COUNTER("http_refused_total", NULL, "{reason=\"size\"}", http.refused_too_large),
    COUNTER("http_refused_total", NULL, "{reason=\"timeout\"}", http.timed_out),
    COUNTER("api_calls_total", "Calls that reached a worker.", "", api.calls),
    COUNTER("api_refused_total", "Calls refused, by reason.", "{reason=\"token\"}",
            api.refused_auth),
    COUNTER("api_refused_total", NULL, "{reason=\"attempts\"}", api.refused_often),
    COUNTER("api_refused_total", NULL, "{reason=\"busy\"}", api.refused_busy),
    GAUGE("audit_lines", "Lines of the audit log.", "", audit.journal.lines),
    GAUGE("audit_bytes", "Bytes of the audit log.", "", audit.journal.bytes),
    COUNTER("audit_denials_total", "Calls denied and noted since start.", "", audit.denials),
    COUNTER("audit_failures_total", "Lines that could not be written.", "", audit.failures),
    GAUGE("api_waiting", "Calls with the workers.", "", api_waiting),
    GAUGE("api_exports", "Exports under way.", "", exports),
};

static void collect(const struct view *view, const struct origin_parts *parts,
                    const struct api_stats *api, struct numbers *n)
{
    *n = (struct numbers){
        .api = *api, .audit = view->audit, .intake = view->intake, .totals = view->totals};
    http_server_stats(parts->http, &n->http);
    store_usage(parts->store, &n->store);
    n->ready = view->intake.ready;
    n->alarms = view->alarms_found;
    n->keys_live = view->keyring.live;
    n->keys_destroyed = view->keyring.destroyed;
    n->keys_missing = view->keyring.missing;
    n->keys_locked = view->keyring.locked;
    n->keyring_behind = view->keyring.paths_behind;
    n->redo_bytes = view->redo.journal.bytes;
    n->restored = view->redo.restored;
    n->optouts_late = view->redo.late_ms != 0;
    n->orphan_keys = view->orphan_count;
    n->erasures_open = view->erasures.open;
    n->erasures_unfinished = view->erasures.unfinished;
    n->settle_position = view->cutoffs.position;
    n->edges_waiting = view->cutoffs.waiting;
    n->seal_key_age_s = (uint64_t)(view->seal_key_age_ms / PL_SECOND_MS);
    n->old_seal_keys = view->cutoffs.old_seal_keys;
    n->expired = view->lifecycle.expired;
    n->deleting = view->lifecycle.deleting;
    n->deleted = view->lifecycle.deleted;
    n->overdue = view->lifecycle.overdue;
    n->held = view->lifecycle.held;
    holds_count(parts->holds, pl_wall_ms(parts->clock), &n->holds);
    n->changelog_position = changelog_position(parts->changelog);
    n->queued_bytes = view->intake.queued_bytes;
    n->store_failed = n->store.failed;
    n->api_waiting = api->waiting;
    n->exports = api->exports;
}

static void head(struct pl_buf *out, const char *name, const char *type, const char *help)
{
    pl_buf_appendf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void write_own(const struct numbers *n, struct pl_buf *out)
{
    head(out, "polder_build_info", "gauge", "The version, always 1.");
    pl_buf_appendf(out, "polder_build_info{version=\"%s\"} 1\n", POLDER_VERSION);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *row = &rows[i];
        uint64_t value;
        if (row->help != NULL) {
            head(out, row->name, row->type, row->help);
        }
        memcpy(&value, (const char *)n + row->offset, sizeof(value));
        pl_buf_appendf(out, "%s%s %" PRIu64 "\n", row->name, row->labels, value);
    }
}

/* ---- edges */

static double connected_of(const struct view_edge *edge)
{
    return edge->connected;
}
static double silent_of(const struct view_edge *edge)
{
    return (double)edge->silent_ms / 1000;
}
static double skew_of(const struct view_edge *edge)
{
    return (double)edge->clock_skew_ms / 1000;
}
static double balanced_of(const struct view_edge *edge)
{
    return edge->books.balanced;
}
static double pending_of(const struct view_edge *edge)
{
    return (double)edge->books.pending_blocks;
}
static double events_of(const struct view_edge *edge)
{
    return (double)edge->events;
}
static double stored_of(const struct view_edge *edge)
{
    return (double)edge->stored;
}

static const struct {
    const char *name, *type, *help;
    double (*value)(const struct view_edge *edge);
} edge_rows[] = {
    {"polder_edge_connected", "gauge", "1 while the edge has a session.", connected_of},
    {"polder_edge_silent_seconds", "gauge", "Since the edge was last heard of.", silent_of},
    {"polder_edge_clock_skew_seconds", "gauge", "The edge's clock minus ours.", skew_of},
    {"polder_edge_balanced", "gauge", "1 while its books agree with ours.", balanced_of},
    {"polder_edge_pending_blocks", "gauge", "Blocks it has that are not here.", pending_of},
    {"polder_edge_events_total", "counter", "Events found in its blocks.", events_of},
    {"polder_edge_stored_total", "counter", "Of them, stored.", stored_of},
};

/* A label's value: backslash and quote are escaped; names hold no control bytes. */
static void write_label(struct pl_buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\\' || *text == '"') {
            pl_buf_put_u8(out, '\\');
        }
        pl_buf_put_u8(out, (uint8_t)*text);
    }
}

static void write_edges(const struct view *view, struct pl_buf *out)
{
    for (size_t r = 0; r < sizeof(edge_rows) / sizeof(edge_rows[0]) && view->edge_count > 0; r++) {
        head(out, edge_rows[r].name, edge_rows[r].type, edge_rows[r].help);
        for (size_t i = 0; i < view->edge_count; i++) {
            char id[PL_ID128_TEXT];
            pl_id128_format(&view->records[i].id, id);
            pl_buf_appendf(out, "%s{edge=\"%s\",name=\"", edge_rows[r].name, id);
            write_label(out, view->records[i].name);
            pl_buf_append_str(out, "\",region=\"");
            write_label(out, view->records[i].region);
            pl_buf_appendf(out, "\"} %.15g\n", edge_rows[r].value(&view->edges[i]));
        }
    }
}

static void write_certificate(const struct view *view, struct pl_buf *out)
{
    head(out, "polder_link_certificate_not_after_seconds", "gauge",
         "When the link's certificate, or its CA's, ends, in Unix time.");
    pl_buf_appendf(out, "polder_link_certificate_not_after_seconds %.15g\n",
                   (double)view->certificate_ends_ms / 1000);
    head(out, "polder_tls_reload_failed", "gauge",
         "1 while older certificates are in force, for the last reading of tls_cert_file failed.");
    pl_buf_appendf(out, "polder_tls_reload_failed %d\n", view->tls.err == PL_OK ? 0 : 1);
}

static void write_measures(const struct origin_parts *parts, struct pl_buf *out)
{
    struct intake_measures m;
    intake_measures(parts->intake, &m);
    pl_histogram_write(out, "polder_intake_block_seconds", "From a block's arrival to its verdict.",
                       &pl_histogram_times, &m.block_us);
    pl_histogram_write(out, "polder_intake_sync_seconds", "One synced write of the vault.",
                       &pl_histogram_times, &m.sync_us);
}

enum pl_err probes_metrics(const struct origin_parts *parts, const struct api_stats *api,
                           struct pl_buf *out)
{
    struct view *view;
    struct numbers n;
    enum pl_err err = view_new(&view, parts);
    if (err == PL_OK) {
        collect(view, parts, api, &n);
        write_own(&n, out);
        write_certificate(view, out);
        write_measures(parts, out);
        write_edges(view, out);
        view_free(view);
    }
    return err;
}
