#include "origin/options.h"
#include "origin/probes_reasons.h"
#include "origin/request.h"
#include "proto/base/text.h"

#include <inttypes.h>
#include <stdlib.h>

static void check_edge(const struct view_edge *edge, int64_t silent_limit_ms,
                       struct reasons *reasons)
{
    if (edge->record->revoked_ms == 0 && edge->silent_ms > silent_limit_ms) {
        reasons_add(reasons, PROBES_DEGRADED, "edge %s %s for %" PRId64 " s", edge->record->name,
                    edge->heard ? "has been silent" : "has not been heard of",
                    edge->silent_ms / 1000);
    }
    if (edge->connected && llabs(edge->clock_skew_ms) > LINK_SKEW_MAX_MS) {
        reasons_add(
            reasons, PROBES_DEGRADED,
            "the clock of edge %s is %lld s %s ours, and its events are filed by it: set it",
            edge->record->name, llabs(edge->clock_skew_ms) / PL_SECOND_MS,
            edge->clock_skew_ms > 0 ? "ahead of" : "behind");
    }
    if (edge->connected && edge->region != NULL &&
        strcmp(edge->region, edge->record->region) != 0) {
        reasons_add(reasons, PROBES_DEGRADED,
                    "edge %s serves the accounts of region %s, but is enrolled for %s: correct "
                    "region in its edge.yaml and restart it",
                    edge->record->name, edge->region, edge->record->region);
    }
    if (!edge->books.balanced) {
        reasons_add(reasons, PROBES_DOWN, "the books of edge %s do not balance: %s",
                    edge->record->name, edge->books.reason);
    }
}

static void check_replication(const struct view *view, const struct origin_parts *parts,
                              struct reasons *reasons)
{
    int64_t silent_limit_ms = parts->options->edge_silent_seconds * PL_SECOND_MS;
    reasons_check_ready(view, reasons, reasons);
    for (size_t i = 0; i < view->edge_count; i++) {
        check_edge(&view->edges[i], silent_limit_ms, reasons);
    }
    for (size_t i = 0; i < view->alarm_count; i++) {
        const struct ledger_alarm *alarm = &view->alarms[i];
        reasons_add(reasons, PROBES_DEGRADED, "%s at edge %s: %s", view_alarm_name(alarm->kind),
                    view_edge_name(view, &alarm->edge), alarm->text);
    }
    reasons->dropped += view->alarms_found - view->alarm_count;
    if (view->kept.blocks > 0) {
        reasons_add(reasons, PROBES_DEGRADED,
                    "%" PRIu64 " %s (%" PRIu64 " bytes) %s kept aside, the oldest for %" PRId64
                    " days of %d",
                    view->kept.blocks, pl_plural(view->kept.blocks, "block", "blocks"),
                    view->kept.bytes, pl_plural(view->kept.blocks, "is", "are"), view->kept_days,
                    LEDGER_KEEP_DAYS);
    }
}

static void write_chain(const struct chain_record *record, struct json_writer *w)
{
    json_write_object(w);
    json_write_pair_hex(w, "incarnation", pl_span(record->incarnation.bytes, 16));
    json_write_pair_u64(w, "contiguous", record->contiguous);
    json_write_pair_u64(w, "highest", record->highest);
    json_write_pair_u64(w, "events", record->events);
    json_write_pair_u64(w, "stored", record->stored);
    json_write_pair_u64(w, "duplicate", record->duplicate);
    json_write_pair_u64(w, "dropped", record->dropped);
    json_write_object_end(w);
}

static void write_chains(const struct view *view, const struct pl_id128 *edge,
                         struct json_writer *w)
{
    size_t shown = 0;
    json_write_key(w, "chains");
    json_write_array(w);
    for (size_t i = 0; i < view->chain_count && shown < VIEW_CHAINS_SHOWN; i++) {
        if (pl_id128_eq(&view->chains[i].edge, edge)) {
            write_chain(&view->chains[i].record, w);
            shown++;
        }
    }
    json_write_array_end(w);
}

static void write_loss(const struct pl_id128 *incarnation, const struct books_loss *loss,
                       bool booked, struct json_writer *w)
{
    json_write_object(w);
    json_write_pair_hex(w, "incarnation", pl_span(incarnation->bytes, 16));
    json_write_pair_u64(w, "first", loss->first);
    json_write_pair_u64(w, "last", loss->last);
    json_write_pair_u64(w, "blocks", loss->blocks);
    json_write_pair_u64(w, "events", loss->events);
    json_write_pair_bool(w, "booked", booked);
    json_write_object_end(w);
}

/* What it was acked, and is not here: what is found just now, and what the ledger has booked. */
static void write_losses(const struct view *view, const struct view_edge *edge,
                         struct json_writer *w)
{
    size_t shown = 0;
    json_write_key(w, "lost");
    json_write_array(w);
    for (size_t i = 0; i < edge->books.loss_count; i++) {
        write_loss(&edge->books.losses[i].incarnation, &edge->books.losses[i], false, w);
    }
    for (size_t i = 0; i < view->chain_count && shown < VIEW_CHAINS_SHOWN; i++) {
        const struct ledger_chain *chain = &view->chains[i];
        if (chain->loss.blocks > 0 && chain->loss.since_ms != 0 &&
            pl_id128_eq(&chain->edge, &edge->record->id)) {
            const struct books_loss loss = {.first = chain->loss.first,
                                            .last = chain->loss.last,
                                            .blocks = chain->loss.blocks,
                                            .events = chain->loss.events};
            write_loss(&chain->record.incarnation, &loss, true, w);
            shown++;
        }
    }
    json_write_array_end(w);
    json_write_pair_u64(w, "lost_blocks", edge->lost_blocks);
    json_write_pair_u64(w, "lost_events", edge->lost_events);
}

static void write_edge(const struct view *view, const struct view_edge *edge, struct json_writer *w)
{
    const struct edge_record *record = edge->record;
    json_write_object(w);
    json_write_pair_hex(w, "id", pl_span(record->id.bytes, sizeof(record->id.bytes)));
    json_write_pair_text(w, "name", record->name);
    json_write_pair_text(w, "region", record->region);
    json_write_pair_bool(w, "revoked", record->revoked_ms != 0);
    json_write_pair_bool(w, "connected", edge->connected);
    json_write_key(w, "last_heard_seconds");
    if (edge->heard) {
        json_write_f64(w, (double)edge->silent_ms / 1000);
    } else {
        json_write_null(w);
    }
    json_write_key(w, "clock_skew_ms");
    if (edge->connected) {
        json_write_i64(w, edge->clock_skew_ms);
    } else {
        json_write_null(w);
    }
    json_write_pair_bool(w, "balanced", edge->books.balanced);
    json_write_pair_u64(w, "settled", edge->cutoff.settled);
    json_write_pair_time(w, "settled_at", edge->cutoff.settled_ms);
    write_losses(view, edge, w);
    write_chains(view, &record->id, w);
    json_write_pair_u64(w, "accepted", edge->events);
    json_write_pair_u64(w, "stored", edge->stored);
    json_write_pair_u64(w, "duplicate", edge->duplicate);
    json_write_pair_u64(w, "dropped", edge->dropped);
    json_write_pair_u64(w, "pending", edge->books.pending_blocks);
    json_write_object_end(w);
}

static void write_totals(const struct ledger_counts *totals, struct json_writer *w)
{
    json_write_key(w, "totals");
    json_write_object(w);
    json_write_pair_u64(w, "blocks", totals->blocks);
    json_write_pair_u64(w, "events", totals->events);
    json_write_pair_u64(w, "stored", totals->stored);
    json_write_pair_u64(w, "duplicate", totals->duplicate);
    json_write_key(w, "dropped");
    json_write_object(w);
    for (int i = 0; i < DROP_COUNT; i++) {
        json_write_pair_u64(w, drop_reason_name((enum drop_reason)i), totals->dropped[i]);
    }
    json_write_object_end(w);
    json_write_pair_u64(w, "lost_blocks", totals->lost_blocks);
    json_write_object_end(w);
}

/* Where edges are to be settled, and the key that they seal for. */
static void write_cutoffs(const struct view *view, struct json_writer *w)
{
    const struct cutoffs_status *c = &view->cutoffs;
    json_write_key(w, "cutoffs");
    json_write_object(w);
    json_write_pair_u64(w, "position", c->position);
    json_write_pair_u64(w, "edges_waiting", c->waiting);
    json_write_key(w, "sealing_key");
    json_write_object(w);
    json_write_pair_hex(w, "id", pl_span(c->seal_key_id, sizeof(c->seal_key_id)));
    json_write_pair_u64(w, "position", c->seal_key_position);
    json_write_pair_i64(w, "age_seconds", view->seal_key_age_ms / PL_SECOND_MS);
    json_write_pair_u64(w, "older_alive", c->old_seal_keys);
    json_write_object_end(w);
    json_write_object_end(w);
}

/* What the database keeps was cut by whichever version wrote it. */
static void write_told(struct json_writer *w, const char *told)
{
    char text[REASON_BYTES];
    pl_text_print(text, sizeof(text), "%s", told);
    json_write_pair_text(w, "text", text);
}

static void write_alarms(const struct view *view, struct json_writer *w)
{
    json_write_key(w, "alarms");
    json_write_array(w);
    for (size_t i = 0; i < view->alarm_count; i++) {
        const struct ledger_alarm *alarm = &view->alarms[i];
        json_write_object(w);
        json_write_pair_text(w, "kind", view_alarm_name(alarm->kind));
        json_write_pair_hex(w, "edge", pl_span(alarm->edge.bytes, 16));
        json_write_pair_hex(w, "incarnation", pl_span(alarm->incarnation.bytes, 16));
        json_write_pair_u64(w, "number", alarm->number);
        json_write_pair_u64(w, "count", alarm->count);
        json_write_pair_time(w, "since", alarm->since_ms);
        write_told(w, alarm->text);
        json_write_object_end(w);
    }
    for (size_t i = 0; i < view->keyring.alarms.count; i++) {
        json_write_object(w);
        json_write_pair_text(w, "kind", "keyring");
        json_write_pair_text(w, "text", view->keyring.alarms.text[i]);
        json_write_object_end(w);
    }
    json_write_array_end(w);
}

static void write_kept(const struct view *view, struct json_writer *w)
{
    json_write_key(w, "quarantine");
    json_write_object(w);
    json_write_pair_u64(w, "blocks", view->kept.blocks);
    json_write_pair_u64(w, "bytes", view->kept.bytes);
    json_write_key(w, "since");
    if (view->kept.oldest_ms == 0) {
        json_write_null(w);
    } else {
        char since[PL_TIME_TEXT];
        pl_time_format(view->kept.oldest_ms, since);
        json_write_text(w, since);
    }
    json_write_object_end(w);
}

static enum pl_err replication(const struct view *view, const struct origin_parts *parts,
                               struct json_writer *w, enum probes_verdict *verdict)
{
    static const char *const words[] = {
        [PROBES_HEALTHY] = "healthy", [PROBES_DEGRADED] = "degraded", [PROBES_DOWN] = "down"};
    struct reasons *reasons = calloc(1, sizeof(*reasons));
    if (reasons == NULL) {
        return PL_ENOMEM;
    }
    check_replication(view, parts, reasons);
    *verdict = reasons->verdict;
    json_write_object(w);
    json_write_pair_text(w, "status", words[reasons->verdict]);
    reasons_write(reasons, "reasons", w);
    json_write_key(w, "edges");
    json_write_array(w);
    for (size_t i = 0; i < view->edge_count; i++) {
        write_edge(view, &view->edges[i], w);
    }
    json_write_array_end(w);
    write_totals(&view->totals, w);
    write_cutoffs(view, w);
    write_alarms(view, w);
    write_kept(view, w);
    json_write_object_end(w);
    free(reasons);
    return PL_OK;
}

enum pl_err probes_replication(const struct origin_parts *parts, struct json_writer *w,
                               enum probes_verdict *verdict)
{
    struct view *view;
    enum pl_err err = view_new(&view, parts);
    if (err == PL_OK) {
        err = replication(view, parts, w, verdict);
        view_free(view);
    }
    return err;
}
