#include "origin/probes_view.h"

#include <stdlib.h>

/* An edge PINGs at least once a second. The link gives a slow path more time before it ends a
 * session; whoever looks shall see a cut path sooner. */
#define UNHEARD_MS 3000

const char *view_alarm_name(enum ledger_alarm_kind kind)
{
    switch (kind) {
    case LEDGER_HOLE:
        return "hole";
    case LEDGER_FORK:
        return "fork";
    case LEDGER_REFUSED:
        return "refused";
    case LEDGER_MISCOUNT:
        return "miscount";
    }
    return "unknown";
}

const char *view_edge_name(const struct view *view, const struct pl_id128 *id)
{
    for (size_t i = 0; i < view->edge_count; i++) {
        if (pl_id128_eq(&view->records[i].id, id)) {
            return view->records[i].name;
        }
    }
    return "unknown";
}

static enum pl_err read_chains(struct view *view, const struct origin_parts *parts)
{
    size_t there = ledger_chains(parts->ledger, NULL, 0);
    /* A chain may be born meanwhile; it is the next look's. */
    view->chains = calloc(there + 1, sizeof(*view->chains));
    if (view->chains == NULL) {
        return PL_ENOMEM;
    }
    size_t found = ledger_chains(parts->ledger, view->chains, there);
    view->chain_count = found < there ? found : there;
    return PL_OK;
}

static void add_chains(const struct view *view, struct view_edge *edge)
{
    for (size_t i = 0; i < view->chain_count; i++) {
        const struct ledger_chain *chain = &view->chains[i];
        if (pl_id128_eq(&chain->edge, &edge->record->id)) {
            edge->events += chain->record.events;
            edge->stored += chain->record.stored;
            edge->duplicate += chain->record.duplicate;
            edge->dropped += chain->record.dropped;
            edge->lost_blocks += chain->loss.blocks;
            edge->lost_events += chain->loss.events;
        }
    }
}

static void look_at(const struct view *view, const struct origin_parts *parts,
                    struct view_edge *edge)
{
    int64_t now_ms = pl_mono_ms(parts->clock);
    books_edge(parts->books, &edge->record->id, &edge->books);
    cutoffs_edge(parts->cutoffs, &edge->record->id, &edge->cutoff);
    int64_t heard_ms = edge->books.heard_mono_ms;
    for (size_t i = 0; i < view->session_count; i++) {
        const struct receiver_session *session = &view->sessions[i];
        /* For a moment there may be two: the one heard of last counts. */
        if (pl_id128_eq(&session->edge, &edge->record->id)) {
            edge->connected |= now_ms - session->last_heard_mono_ms < UNHEARD_MS;
            if (session->last_heard_mono_ms >= heard_ms) {
                heard_ms = session->last_heard_mono_ms;
                edge->clock_skew_ms = session->clock_skew_ms;
                edge->region = session->region;
            }
        }
    }
    edge->heard = heard_ms >= 0;
    int64_t enrolled_ms = now_ms - (pl_wall_ms(parts->clock) - edge->record->enrolled_ms);
    int64_t expected_ms =
        enrolled_ms > parts->started_mono_ms ? enrolled_ms : parts->started_mono_ms;
    edge->silent_ms = now_ms - (edge->heard ? heard_ms : expected_ms);
    edge->silent_ms = edge->silent_ms < 0 ? 0 : edge->silent_ms;
    add_chains(view, edge);
}

static enum pl_err read_edges(struct view *view, const struct origin_parts *parts)
{
    enum pl_err err = edges_list(parts->edges, &view->records, &view->edge_count);
    if (err != PL_OK) {
        return err;
    }
    size_t max = 2 * LIMIT_EDGES;
    view->sessions = calloc(max, sizeof(*view->sessions));
    view->edges = calloc(view->edge_count + 1, sizeof(*view->edges));
    if (view->sessions == NULL || view->edges == NULL) {
        return PL_ENOMEM;
    }
    view->session_count = receiver_sessions(parts->receiver, view->sessions, max);
    for (size_t i = 0; i < view->edge_count; i++) {
        view->edges[i].record = &view->records[i];
        look_at(view, parts, &view->edges[i]);
    }
    return PL_OK;
}

enum pl_err view_new(struct view **out, const struct origin_parts *parts)
{
    struct view *view = calloc(1, sizeof(*view));
    if (view == NULL) {
        return PL_ENOMEM;
    }
    view->wall_ms = pl_wall_ms(parts->clock);
    enum pl_err err = read_chains(view, parts);
    if (err == PL_OK) {
        err = read_edges(view, parts);
    }
    if (err != PL_OK) {
        view_free(view);
        return err;
    }
    view->alarms_found = ledger_alarms(parts->ledger, view->alarms, LEDGER_ALARMS_MAX);
    view->alarm_count =
        view->alarms_found < LEDGER_ALARMS_MAX ? view->alarms_found : LEDGER_ALARMS_MAX;
    ledger_totals(parts->ledger, &view->totals);
    ledger_kept(parts->ledger, &view->kept);
    view->kept_days = view->kept.oldest_ms == 0
                          ? 0
                          : (pl_wall_ms(parts->clock) - view->kept.oldest_ms) / PL_DAY_MS;
    intake_status(parts->intake, &view->intake);
    keyring_status(parts->keyring, &view->keyring);
    cutoffs_status(parts->cutoffs, &view->cutoffs);
    view->seal_key_age_ms = pl_wall_ms(parts->clock) - view->cutoffs.seal_key_made_ms;
    view->seal_key_age_ms = view->seal_key_age_ms < 0 ? 0 : view->seal_key_age_ms;
    view->certificate_ends_ms = receiver_certificate_ends_ms(parts->receiver);
    view->certificate_left_ms = view->certificate_ends_ms - pl_wall_ms(parts->clock);
    http_server_tls_trouble(parts->http, &view->tls);
    lifecycle_status(parts->lifecycle, &view->lifecycle);
    audit_status(parts->audit, &view->audit);
    redo_status(parts->redo, &view->redo);
    erasures_status(parts->erasures, &view->erasures);
    view->orphan_count = orphan_keys_list(parts->orphan_keys, view->orphans, VIEW_ORPHANS_SHOWN);
    view->keyless_count = orphan_keys_lost(parts->orphan_keys, view->keyless, VIEW_ORPHANS_SHOWN);
    view->lost_key_count = lost_keys_list(parts->lost_keys, view->lost_keys, VIEW_LOST_KEYS_SHOWN);
    *out = view;
    return PL_OK;
}

void view_free(struct view *view)
{
    if (view != NULL) {
        free(view->chains);
        free(view->edges);
        free(view->records);
        free(view->sessions);
        free(view);
    }
}
