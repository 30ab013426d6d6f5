/*
 * probes_view: one look at every part, for the probes. Private to them.
 */
#ifndef POLDER_ORIGIN_PROBES_VIEW_H
#define POLDER_ORIGIN_PROBES_VIEW_H

#include "origin/probes.h"

#define VIEW_CHAINS_SHOWN    8 /* newest, an edge */
#define VIEW_ORPHANS_SHOWN   3
#define VIEW_LOST_KEYS_SHOWN 8

struct view_edge {
    const struct edge_record *record;
    bool connected;
    int64_t silent_ms; /* since it was last heard of, or could first have been */
    bool heard;        /* at all, since this process began */
    int64_t clock_skew_ms;
    const char *region; /* as it says itself; NULL: it has no session */
    struct books_edge books;
    struct cutoffs_edge cutoff;
    uint64_t events, stored, duplicate, dropped; /* over all of its chains */
    uint64_t lost_blocks, lost_events;           /* booked as lost with a restored copy, too */
};

struct view {
    int64_t wall_ms;
    struct view_edge *edges;
    size_t edge_count;
    struct edge_record *records;
    struct receiver_session *sessions;
    size_t session_count;
    struct ledger_chain *chains; /* newest first */
    size_t chain_count;
    struct ledger_alarm alarms[LEDGER_ALARMS_MAX];
    size_t alarm_count;  /* in alarms */
    size_t alarms_found; /* there are more than fit */
    struct ledger_counts totals;
    struct ledger_kept kept;
    int64_t kept_days; /* since the oldest of them came */
    struct intake_status intake;
    struct keyring_status keyring;
    struct cutoffs_status cutoffs;
    int64_t seal_key_age_ms;
    struct lifecycle_status lifecycle;
    struct audit_status audit;
    struct redo_status redo;
    struct erasures_status erasures;
    struct orphan_key orphans[VIEW_ORPHANS_SHOWN];
    size_t orphan_count;
    uint64_t keyless[VIEW_ORPHANS_SHOWN]; /* accounts */
    size_t keyless_count;
    struct lost_key lost_keys[VIEW_LOST_KEYS_SHOWN];
    size_t lost_key_count;
    int64_t certificate_ends_ms, certificate_left_ms; /* of the link */
    struct pl_why tls; /* err PL_OK: the certificates in force are those of the files */
};

enum pl_err view_new(struct view **out, const struct origin_parts *parts);
void view_free(struct view *view); /* NULL is fine */

const char *view_alarm_name(enum ledger_alarm_kind kind);
const char *view_edge_name(const struct view *view, const struct pl_id128 *id);

#endif
