#include "origin/probes_reasons.h"
#include "proto/base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void check_audit(const struct audit_status *audit, struct reasons *warnings)
{
    const struct journal_status *journal = &audit->journal;
    if (audit->trouble[0] != '\0') {
        reasons_add(warnings, PROBES_DEGRADED,
                    "the API changes nothing and gives out no data, for that cannot be noted: %s",
                    audit->trouble);
    }
    if (journal->nearly_full) {
        reasons_add(warnings, PROBES_DEGRADED,
                    "the audit log has %" PRIu64 " of the %" PRIu64
                    " bytes that it may have; when it is "
                    "full, nothing can be changed or exported: raise audit_max_bytes and restart",
                    journal->bytes, journal->max_bytes);
    }
    reasons_add_alarms(warnings, &journal->alarms);
}

static void check_redo(const struct redo_status *redo, struct reasons *warnings)
{
    const struct journal_status *journal = &redo->journal;
    if (redo->late_ms != 0) {
        char since[PL_TIME_TEXT];
        pl_time_format(redo->late_ms, since);
        reasons_add(
            warnings, PROBES_DEGRADED,
            "opt-outs since %s are in force, but a restore would lose them: the redo log has no "
            "room for them (%" PRIu64 " of %" PRIu64
            " bytes, of which they may fill three quarters); raise redo_max_bytes and restart, or "
            "make room on the disks of the journals, and they are noted after all",
            since, journal->bytes, journal->max_bytes);
    } else if (redo->nearly_full) {
        reasons_add(
            warnings, PROBES_DEGRADED,
            "the redo log has %" PRIu64 " of the %" PRIu64 " bytes that it may have; over three "
            "quarters, a restore would lose opt-outs, and when it is full nothing is deleted: "
            "raise redo_max_bytes",
            journal->bytes, journal->max_bytes);
    }
    if (journal->trouble[0] != '\0') {
        reasons_add(warnings, PROBES_DEGRADED,
                    "nothing is changed that a restore must not undo: %s", journal->trouble);
    }
    reasons_add_alarms(warnings, &journal->alarms);
    if (redo->restored) {
        char when[PL_TIME_TEXT];
        pl_time_format(redo->restored_ms, when);
        reasons_add(
            warnings, PROBES_DEGRADED,
            "the database was restored from a copy (at %s it lacked %" PRIu64
            " %s of the redo log): accounts, configs, edges and tokens made after that copy are "
            "lost, look at them",
            when, redo->lacked, pl_plural(redo->lacked, "record", "records"));
    }
}

static void check_erasures(const struct erasures_status *erasures, struct reasons *warnings)
{
    char since[PL_TIME_TEXT];
    if (erasures->trouble[0] == '\0') {
        return;
    }
    pl_time_format(erasures->oldest_unfinished_ms, since);
    reasons_add(
        warnings, PROBES_DEGRADED, "%zu %s not finished%s%s: %s", erasures->unfinished,
        pl_plural(erasures->unfinished, "erasure of a visitor is", "erasures of visitors are"),
        erasures->unfinished > 0 ? ", the oldest since " : "",
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
    reasons_add(
        reasons, PROBES_DOWN,
        "%zu %s no key in the keyring (%s%s): that was put back from a copy of before. What such "
        "an account has cannot be read, and blocks with events of it wait at the edges. Restore a "
        "newer copy of the keyring; if there is none, delete the account: what it had is lost",
        view->keyless_count, pl_plural(view->keyless_count, "account has", "accounts have"), ids,
        view->keyless_count > VIEW_ORPHANS_SHOWN ? ", …" : "");
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
    reasons_add(
        warnings, PROBES_HEALTHY,
        "%zu %s to no account of this database (%s%s), as after a restore; once no newer copy "
        "will be restored: polderctl keyring orphans --destroy",
        view->orphan_count,
        pl_plural(view->orphan_count, "data key in the keyring belongs",
                  "data keys in the keyring belong"),
        ids, view->orphan_count > VIEW_ORPHANS_SHOWN ? ", …" : "");
}

/* For a day, like the restore itself: it cannot be mended. */
static void tell_losses(const struct view *view, struct reasons *warnings)
{
    for (size_t i = 0; i < view->chain_count; i++) {
        const struct ledger_loss *loss = &view->chains[i].loss;
        if (loss->blocks > 0 && view->wall_ms - loss->since_ms < PL_DAY_MS) {
            reasons_add(warnings, PROBES_DEGRADED,
                        "edge %s had acks for %" PRIu64 " %s (%" PRIu64 " to %" PRIu64
                        ") with %" PRIu64
                        " %s, lost with the copy that the database was restored from",
                        view_edge_name(view, &view->chains[i].edge), loss->blocks,
                        pl_plural(loss->blocks, "block", "blocks"), loss->first, loss->last,
                        loss->events, pl_plural(loss->events, "event", "events"));
        }
    }
}

static void tell_lost_keys(const struct view *view, struct reasons *warnings)
{
    for (size_t i = 0; i < view->lost_key_count && i < VIEW_LOST_KEYS_SHOWN; i++) {
        const struct lost_key *key = &view->lost_keys[i];
        char id[2 * BLOCK_KEY_ID_BYTES + 1], since[PL_TIME_TEXT];
        pl_hex_encode(pl_span(key->id, sizeof(key->id)), id);
        pl_time_format(key->since_ms, since);
        reasons_add(warnings, PROBES_DEGRADED,
                    "blocks %" PRIu64 " to %" PRIu64 " of edge %s wait there since %s or longer: "
                    "they are sealed for key %s, which the keyring has not got: it was put back "
                    "from a copy of before. Restore a newer copy of it; if there is none: "
                    "polderctl keyring give-up %s",
                    key->first, key->last, view_edge_name(view, &key->edge), since, id, id);
    }
}

static void check_keys(const struct view *view, struct reasons *reasons)
{
    if (view->keyring.missing > 0) {
        reasons_add(reasons, PROBES_DOWN,
                    "%zu %s gone from the keyring without a signed destruction: restore a copy of "
                    "the keyring",
                    view->keyring.missing, pl_plural(view->keyring.missing, "key is", "keys are"));
    }
    if (view->keyring.locked > 0) {
        reasons_add(reasons, PROBES_DOWN,
                    "%zu %s cannot be unwrapped: the key-encryption key needed is not at hand",
                    view->keyring.locked, pl_plural(view->keyring.locked, "key", "keys"));
    }
    check_keyless(view, reasons);
}

static void check_lifecycle(const struct lifecycle_status *lifecycle, struct reasons *reasons,
                            struct reasons *warnings)
{
    if (lifecycle->past_limit) {
        reasons_add(reasons, PROBES_DOWN, "the deletion window is broken: %s", lifecycle->reason);
    } else if (lifecycle->overdue > 0) {
        reasons_add(warnings, PROBES_DEGRADED, "%zu %s overdue: %s", lifecycle->overdue,
                    pl_plural(lifecycle->overdue, "deletion is", "deletions are"),
                    lifecycle->reason);
    }
    if (lifecycle->clock[0] != '\0') {
        reasons_add(warnings, PROBES_DEGRADED, "nothing expires or is deleted: %s",
                    lifecycle->clock);
    }
}

static void check_cutoffs(const struct cutoffs_status *cutoffs, struct reasons *warnings)
{
    if (cutoffs->trouble[0] != '\0') {
        reasons_add(warnings, PROBES_DEGRADED, "the sealing keys stay as they are: %s",
                    cutoffs->trouble);
    }
    if (cutoffs->heard_too_much > 0) {
        reasons_add(
            warnings, PROBES_DEGRADED,
            "the database and the redo log were put back to where they stood before: an edge has "
            "heard %" PRIu64
            " %s more. Edges start over; delete, erase and revoke again what was since then, "
            "and opt-outs of in between are lost",
            cutoffs->heard_too_much, pl_plural(cutoffs->heard_too_much, "change", "changes"));
    }
}

void reasons_check_ready(const struct view *view, struct reasons *reasons, struct reasons *warnings)
{
    const struct keyring_status *keyring = &view->keyring;
    const struct ledger_counts *totals = &view->totals;
    if (!view->intake.ready) {
        reasons_add(reasons, PROBES_DOWN, "no blocks are taken: %s", view->intake.reason);
    }
    const uint64_t found = totals->stored + totals->duplicate + ledger_counts_dropped(totals);
    if (found != totals->events) {
        reasons_add(warnings, PROBES_DEGRADED,
                    "the ledger does not add up: of %" PRIu64 " events it tells of %" PRIu64
                    " what became of them: restore a copy of the database",
                    totals->events, found);
    }
    check_keys(view, reasons);
    check_lifecycle(&view->lifecycle, reasons, warnings);
    if (view->certificate_left_ms < LINK_RENEW_MS) {
        reasons_add(
            warnings, PROBES_DEGRADED,
            "the link's certificate %s %lld %s: renew it (polderctl certificates "
            "renew) and restart the origin",
            view->certificate_left_ms < 0 ? "has been over for" : "ends in",
            llabs(view->certificate_left_ms) / PL_DAY_MS,
            pl_plural((uint64_t)(llabs(view->certificate_left_ms) / PL_DAY_MS), "day", "days"));
    }
    if (view->tls.err != PL_OK) {
        reasons_add(warnings, PROBES_DEGRADED, HTTP_TLS_TROUBLE, view->tls.text);
    }
    check_cutoffs(&view->cutoffs, warnings);
    if (keyring->paths_behind > 0) {
        reasons_add(warnings, PROBES_DEGRADED, "the keyring cannot be written on %zu of %zu paths",
                    keyring->paths_behind, keyring->paths);
    }
    reasons_add_alarms(warnings, &keyring->alarms);
    check_audit(&view->audit, warnings);
    check_redo(&view->redo, warnings);
    check_erasures(&view->erasures, warnings);
    tell_orphans(view, warnings);
    tell_losses(view, warnings);
    tell_lost_keys(view, warnings);
}

/* What /replication says of each edge, in short: the blocks that come are taken all the same. */
static void check_books(const struct view *view, struct reasons *warnings)
{
    for (size_t i = 0; i < view->edge_count; i++) {
        const struct view_edge *edge = &view->edges[i];
        if (!edge->books.balanced) {
            reasons_add(warnings, PROBES_DEGRADED, "the books of edge %s do not balance: %s",
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
    reasons_check_ready(view, &reasons[0], &reasons[1]);
    check_books(view, &reasons[1]);
    *verdict = reasons[0].verdict;
    json_write_object(w);
    json_write_pair_bool(w, "ready", reasons[0].verdict == PROBES_HEALTHY);
    reasons_write(&reasons[0], "reasons", w);
    reasons_write(&reasons[1], "warnings", w);
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
