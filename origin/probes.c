#include "origin/options.h"
#include "origin/probes_view.h"
#include "origin/request.h"
#include "proto/base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define REASONS_MAX  48
#define REASON_BYTES 400

struct reasons {
    enum probes_verdict verdict;
    size_t count, dropped;
    char text[REASONS_MAX][REASON_BYTES];
};

static void add(struct reasons *reasons, enum probes_verdict verdict, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void add(struct reasons *reasons, enum probes_verdict verdict, const char *format, ...)
{
    va_list args;
    reasons->verdict = verdict > reasons->verdict ? verdict : reasons->verdict;
    if (reasons->count == REASONS_MAX) {
        reasons->dropped++;
        return;
    }
    va_start(args, format);
    pl_text_print_v(reasons->text[reasons->count++], REASON_BYTES, format, args);
    va_end(args);
}

static void add_alarms(struct reasons *reasons, const struct alarms *alarms)
{
    for (size_t i = 0; i < alarms->count; i++) {
        add(reasons, PROBES_DEGRADED, "%s", alarms->text[i]);
    }
}

static void write_reasons(const struct reasons *reasons, const char *name, struct json_writer *w)
{
    json_write_key(w, name);
    json_write_array(w);
    for (size_t i = 0; i < reasons->count; i++) {
        json_write_text(w, reasons->text[i]);
    }
    if (reasons->dropped > 0) {
        char more[48];
        snprintf(more, sizeof(more), "and %zu more", reasons->dropped);
        json_write_text(w, more);
    }
    json_write_array_end(w);
}

/* ---- ready */

static void check_audit(const struct audit_status *audit, struct reasons *warnings)
{
    const struct journal_status *journal = &audit->journal;
    if (audit->trouble[0] != '\0') {
        add(warnings, PROBES_DEGRADED,
            "the API changes nothing and gives out no data, for that cannot be noted: %s",
            audit->trouble);
    }
    if (journal->nearly_full) {
        add(warnings, PROBES_DEGRADED,
            "the audit log has %" PRIu64 " of the %" PRIu64 " bytes that it may have; when it is "
            "full, nothing can be changed or exported: raise audit_max_bytes and restart",
            journal->bytes, journal->max_bytes);
    }
    add_alarms(warnings, &journal->alarms);
}

static void check_redo(const struct redo_status *redo, struct reasons *warnings)
{
    const struct journal_status *journal = &redo->journal;
    if (redo->late_ms != 0) {
        char since[PL_TIME_TEXT];
        pl_time_format(redo->late_ms, since);
        add(warnings, PROBES_DEGRADED,
            "opt-outs since %s are in force, but a restore would lose them: the redo log has no "
            "room for them (%" PRIu64 " of %" PRIu64
            " bytes, of which they may fill three quarters); raise redo_max_bytes and restart, or "
            "make room on the disks of the journals, and they are noted after all",
            since, journal->bytes, journal->max_bytes);
    } else if (redo->nearly_full) {
        add(warnings, PROBES_DEGRADED,
            "the redo log has %" PRIu64 " of the %" PRIu64 " bytes that it may have; over three "
            "quarters, a restore would lose opt-outs, and when it is full nothing is deleted: "
            "raise redo_max_bytes",
            journal->bytes, journal->max_bytes);
    }
    if (journal->trouble[0] != '\0') {
        add(warnings, PROBES_DEGRADED, "nothing is changed that a restore must not undo: %s",
            journal->trouble);
    }
    add_alarms(warnings, &journal->alarms);
    if (redo->restored) {
        char when[PL_TIME_TEXT];
        pl_time_format(redo->restored_ms, when);
        add(warnings, PROBES_DEGRADED,
            "the database was restored from a copy (at %s it lacked %" PRIu64
            " records of the redo log): accounts, configs, edges and tokens made after that copy "
            "are lost, look at them",
            when, redo->lacked);
    }
}

static void check_erasures(const struct erasures_status *erasures, struct reasons *warnings)
{
    char since[PL_TIME_TEXT];
    if (erasures->trouble[0] == '\0') {
        return;
    }
    pl_time_format(erasures->oldest_unfinished_ms, since);
    add(warnings, PROBES_DEGRADED, "%zu erasures of visitors are not finished%s%s: %s",
        erasures->unfinished, erasures->unfinished > 0 ? ", the oldest since " : "",
        erasures->unfinished > 0 ? since : "", erasures->trouble);
}

/* Behind the first `used` bytes of ids, which has room; how many there are now. */
static size_t list_id(char *ids, size_t size, size_t used, uint64_t id)
{
    return used +
           (size_t)snprintf(ids + used, size - used, "%s%016" PRIx64, used > 0 ? ", " : "", id);
}

static void check_keyless(const struct view *view, struct reasons *reasons)
{
    char ids[VIEW_ORPHANS_SHOWN * 18 + 1] = "";
    size_t used = 0;
    if (view->keyless_count == 0) {
        return;
    }
    for (size_t i = 0; i < view->keyless_count && i < VIEW_ORPHANS_SHOWN; i++) {
        used = list_id(ids, sizeof(ids), used, view->keyless[i]);
    }
    add(reasons, PROBES_DOWN,
        "%zu accounts have no key in the keyring (%s%s): it was put back from a copy of before "
        "they were made. Nothing of theirs can be read, and blocks with events of theirs wait at "
        "the "
        "edges. Restore a newer copy of it; if there is none, delete them: what they had is lost",
        view->keyless_count, ids, view->keyless_count > VIEW_ORPHANS_SHOWN ? ", …" : "");
}

/* Nothing is wrong with it until somebody minds. */
static void tell_orphans(const struct view *view, struct reasons *warnings)
{
    char ids[VIEW_ORPHANS_SHOWN * 18 + 1] = "";
    size_t used = 0;
    if (view->orphan_count == 0) {
        return;
    }
    for (size_t i = 0; i < view->orphan_count && i < VIEW_ORPHANS_SHOWN; i++) {
        used = list_id(ids, sizeof(ids), used, view->orphans[i].account);
    }
    add(warnings, PROBES_HEALTHY,
        "%zu data keys in the keyring belong to no account of this database (%s%s), as after a "
        "restore; once no newer copy will be restored: polderctl keyring orphans --destroy",
        view->orphan_count, ids, view->orphan_count > VIEW_ORPHANS_SHOWN ? ", …" : "");
}

static const char *edge_name(const struct view *view, const struct pl_id128 *id)
{
    for (size_t i = 0; i < view->edge_count; i++) {
        if (pl_id128_eq(&view->records[i].id, id)) {
            return view->records[i].name;
        }
    }
    return "unknown";
}

/* For a day, like the restore itself: it cannot be mended. */
static void tell_losses(const struct view *view, struct reasons *warnings)
{
    for (size_t i = 0; i < view->chain_count; i++) {
        const struct ledger_loss *loss = &view->chains[i].loss;
        if (loss->blocks > 0 && view->wall_ms - loss->since_ms < PL_DAY_MS) {
            add(warnings, PROBES_DEGRADED,
                "edge %s had acks for %" PRIu64 " blocks (%" PRIu64 " to %" PRIu64 ") with %" PRIu64
                " events that are lost with the copy that the database was restored from",
                edge_name(view, &view->chains[i].edge), loss->blocks, loss->first, loss->last,
                loss->events);
        }
    }
}

static void check_ready(const struct view *view, struct reasons *reasons, struct reasons *warnings)
{
    const struct keyring_status *keyring = &view->keyring;
    const struct ledger_counts *totals = &view->totals;
    if (!view->intake.ready) {
        add(reasons, PROBES_DOWN, "no blocks are taken: %s", view->intake.reason);
    }
    const uint64_t found = totals->stored + totals->duplicate + ledger_counts_dropped(totals);
    if (found != totals->events) {
        add(warnings, PROBES_DEGRADED,
            "the ledger does not add up: of %" PRIu64 " events it tells of %" PRIu64
            " what became of them: restore a copy of the database",
            totals->events, found);
    }
    if (keyring->missing > 0) {
        add(reasons, PROBES_DOWN,
            "%zu keys are gone from the keyring without a signed destruction: restore a copy of "
            "the keyring",
            keyring->missing);
    }
    if (keyring->locked > 0) {
        add(reasons, PROBES_DOWN,
            "%zu keys cannot be unwrapped: the key-encryption key they need is not at hand",
            keyring->locked);
    }
    check_keyless(view, reasons);
    if (view->lifecycle.past_limit) {
        add(reasons, PROBES_DOWN, "the deletion window is broken: %s", view->lifecycle.reason);
    } else if (view->lifecycle.overdue > 0) {
        add(warnings, PROBES_DEGRADED, "%zu deletions are overdue: %s", view->lifecycle.overdue,
            view->lifecycle.reason);
    }
    if (view->lifecycle.clock[0] != '\0') {
        add(warnings, PROBES_DEGRADED, "nothing expires or is deleted: %s", view->lifecycle.clock);
    }
    if (view->certificate_left_ms < LINK_RENEW_MS) {
        add(warnings, PROBES_DEGRADED,
            "the link's certificate %s %lld days: renew it (polderctl certificates "
            "renew) and restart the origin",
            view->certificate_left_ms < 0 ? "has been over for" : "ends in",
            llabs(view->certificate_left_ms) / PL_DAY_MS);
    }
    if (view->cutoffs.trouble[0] != '\0') {
        add(warnings, PROBES_DEGRADED, "the sealing keys stay as they are: %s",
            view->cutoffs.trouble);
    }
    if (view->cutoffs.heard_too_much > 0) {
        add(warnings, PROBES_DEGRADED,
            "the database and the redo log were put back to where they stood before: an edge has "
            "heard %" PRIu64
            " changes more. Edges start over; delete, erase and revoke again what was since then, "
            "and opt-outs of in between are lost",
            view->cutoffs.heard_too_much);
    }
    if (keyring->paths_behind > 0) {
        add(warnings, PROBES_DEGRADED, "the keyring cannot be written on %zu of %zu paths",
            keyring->paths_behind, keyring->paths);
    }
    add_alarms(warnings, &keyring->alarms);
    check_audit(&view->audit, warnings);
    check_redo(&view->redo, warnings);
    check_erasures(&view->erasures, warnings);
    tell_orphans(view, warnings);
    tell_losses(view, warnings);
}

/* What /replication says of each edge, in short: the blocks that come are taken all the same. */
static void check_books(const struct view *view, struct reasons *warnings)
{
    for (size_t i = 0; i < view->edge_count; i++) {
        const struct view_edge *edge = &view->edges[i];
        if (!edge->books.balanced) {
            add(warnings, PROBES_DEGRADED, "the books of edge %s do not balance: %s",
                edge->record->name, edge->books.reason);
        }
    }
}

static enum pl_err ready(const struct view *view, struct json_writer *w,
                         enum probes_verdict *verdict)
{
    struct reasons *reasons = calloc(2, sizeof(*reasons));
    if (reasons == NULL) {
        return PL_ENOMEM;
    }
    check_ready(view, &reasons[0], &reasons[1]);
    check_books(view, &reasons[1]);
    *verdict = reasons[0].verdict;
    json_write_object(w);
    json_write_pair_bool(w, "ready", reasons[0].verdict == PROBES_HEALTHY);
    write_reasons(&reasons[0], "reasons", w);
    write_reasons(&reasons[1], "warnings", w);
    json_write_object_end(w);
    free(reasons);
    return PL_OK;
}

enum pl_err probes_ready(const struct origin_parts *parts, struct json_writer *w,
                         enum probes_verdict *verdict)
{
    struct view *view;
    enum pl_err err = view_new(&view, parts);
    if (err == PL_OK) {
        err = ready(view, w, verdict);
        view_free(view);
    }
    return err;
}

/* ---- replication */

static void check_edge(const struct view_edge *edge, int64_t silent_limit_ms,
                       struct reasons *reasons)
{
    if (edge->record->revoked_ms == 0 && edge->silent_ms > silent_limit_ms) {
        add(reasons, PROBES_DEGRADED, "edge %s %s for %" PRId64 " s", edge->record->name,
            edge->heard ? "has been silent" : "has not been heard of", edge->silent_ms / 1000);
    }
    if (edge->connected && llabs(edge->clock_skew_ms) > LINK_SKEW_MAX_MS) {
        add(reasons, PROBES_DEGRADED,
            "the clock of edge %s is %lld s %s ours, and its events are filed by it: set it",
            edge->record->name, llabs(edge->clock_skew_ms) / PL_SECOND_MS,
            edge->clock_skew_ms > 0 ? "ahead of" : "behind");
    }
    if (!edge->books.balanced) {
        add(reasons, PROBES_DOWN, "the books of edge %s do not balance: %s", edge->record->name,
            edge->books.reason);
    }
}

static void check_replication(const struct view *view, const struct origin_parts *parts,
                              struct reasons *reasons)
{
    int64_t silent_limit_ms = parts->options->edge_silent_seconds * PL_SECOND_MS;
    check_ready(view, reasons, reasons);
    for (size_t i = 0; i < view->edge_count; i++) {
        check_edge(&view->edges[i], silent_limit_ms, reasons);
    }
    for (size_t i = 0; i < view->alarm_count; i++) {
        const struct ledger_alarm *alarm = &view->alarms[i];
        add(reasons, PROBES_DEGRADED, "%s at edge %s: %s", view_alarm_name(alarm->kind),
            edge_name(view, &alarm->edge), alarm->text);
    }
    reasons->dropped += view->alarms_found - view->alarm_count;
    if (view->kept.blocks > 0) {
        add(reasons, PROBES_DEGRADED,
            "%" PRIu64 " blocks (%" PRIu64 " bytes) are kept aside, the oldest for %" PRId64
            " days of %d",
            view->kept.blocks, view->kept.bytes, view->kept_days, LEDGER_KEEP_DAYS);
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
    write_reasons(reasons, "reasons", w);
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
