#include "origin/lifecycle/cutoffs.h"
#include "origin/families.h"
#include "origin/lifecycle/cutoffs_state.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define ROW_VERSION 1
#define ROW_BYTES   (1 + 5 * 8)

/* ---- rows */

struct cutoffs_row *cutoffs_find(const struct cutoffs *c, const struct pl_id128 *edge)
{
    for (size_t i = 0; i < c->count; i++) {
        if (pl_id128_eq(&c->rows[i].edge, edge)) {
            return &c->rows[i];
        }
    }
    return NULL;
}

struct cutoffs_row *cutoffs_add(struct cutoffs *c, const struct cutoffs_row *row)
{
    struct cutoffs_row *grown = reallocarray(c->rows, c->count + 1, sizeof(*grown));
    if (grown == NULL) {
        return NULL;
    }
    c->rows = grown;
    grown[c->count] = *row;
    return &grown[c->count++];
}

void cutoffs_save(struct cutoffs *c, struct cutoffs_row *row, bool sync)
{
    uint8_t value[ROW_BYTES];
    value[0] = ROW_VERSION;
    pl_store_u64(value + 1, row->first);
    pl_store_u64(value + 9, row->settled);
    pl_store_u64(value + 17, (uint64_t)row->settled_ms);
    pl_store_u64(value + 25, row->revoked);
    pl_store_u64(value + 33, row->closed);
    row->unsaved = store_put(c->config.store, FAMILY_CUTOFFS,
                             pl_span(row->edge.bytes, sizeof(row->edge.bytes)),
                             pl_span(value, sizeof(value)), sync, NULL) != PL_OK;
}

/* Off the disk first: else an edge that is enrolled anew under its id would find it, and pass for
 * revoked. */
bool cutoffs_let_go(struct cutoffs *c, const struct pl_id128 *edge)
{
    struct cutoffs_row *row = cutoffs_find(c, edge);
    struct store_batch *batch;
    if (row == NULL) {
        return true;
    }
    if (row->closed == 0 || store_batch_new(&batch) != PL_OK) {
        return false;
    }
    store_batch_delete(batch, c->config.store, FAMILY_CUTOFFS,
                       pl_span(edge->bytes, sizeof(edge->bytes)));
    const bool gone = store_write(c->config.store, batch, true, NULL) == PL_OK;
    store_batch_free(batch);
    if (gone) {
        *row = c->rows[--c->count];
    }
    return gone;
}

static enum pl_err read_row(struct pl_span key, struct pl_span value, struct cutoffs_row *row,
                            struct pl_why *why)
{
    if (key.len != sizeof(row->edge.bytes) || value.len != ROW_BYTES ||
        value.data[0] != ROW_VERSION) {
        return pl_fail(why, PL_ECORRUPT,
                       "what is stored of an edge's cut-offs is not as it must be: the database is "
                       "damaged; restore it from a backup");
    }
    *row = (struct cutoffs_row){
        .first = pl_load_u64(value.data + 1),
        .settled = pl_load_u64(value.data + 9),
        .settled_ms = (int64_t)pl_load_u64(value.data + 17),
        .revoked = pl_load_u64(value.data + 25),
        .closed = pl_load_u64(value.data + 33),
    };
    memcpy(row->edge.bytes, key.data, key.len);
    return PL_OK;
}

static enum pl_err load(struct cutoffs *c, struct pl_why *why)
{
    struct store_scan *scan;
    struct pl_span key, value, all = pl_span(NULL, 0);
    enum pl_err err = store_scan_new(&scan, c->config.store, FAMILY_CUTOFFS, all, all);
    if (err != PL_OK) {
        return pl_fail(why, err, "cannot read what edges have confirmed: %s", pl_err_word(err));
    }
    while ((err = store_scan_next(scan, &key, &value)) == PL_OK) {
        struct cutoffs_row row;
        err = read_row(key, value, &row, why);
        if (err == PL_OK && cutoffs_add(c, &row) == NULL) {
            err = pl_fail(why, PL_ENOMEM, "no memory for what edges have confirmed");
        }
        if (err != PL_OK) {
            break;
        }
    }
    store_scan_free(scan);
    return err == PL_ENOTFOUND ? PL_OK : err;
}

enum pl_err cutoffs_open(struct cutoffs **out, const struct cutoffs_config *config,
                         struct pl_why *why)
{
    struct cutoffs *c = calloc(1, sizeof(*c));
    if (c == NULL) {
        return pl_fail(why, PL_ENOMEM, "no memory for the cut-offs");
    }
    c->config = *config;
    pthread_mutex_init(&c->changing, NULL);
    pthread_mutex_init(&c->lock, NULL);
    enum pl_err err = load(c, why);
    if (err == PL_OK) {
        err = cutoffs_look_at_epoch(c, why);
    }
    if (err != PL_OK) {
        cutoffs_close(c);
        return err;
    }
    cutoffs_load_keys(c);
    *out = c;
    return PL_OK;
}

void cutoffs_close(struct cutoffs *c)
{
    if (c != NULL) {
        pthread_mutex_destroy(&c->changing);
        pthread_mutex_destroy(&c->lock);
        free(c->rows);
        free(c);
    }
}

/* ---- what edges say */

void cutoffs_seen(struct cutoffs *c, const struct pl_id128 *edge)
{
    pthread_mutex_lock(&c->lock);
    struct cutoffs_row *row = cutoffs_find(c, edge);
    if (row == NULL) {
        /* It has heard nothing yet: what it will hold is from after this. */
        const struct cutoffs_row fresh = {
            .edge = *edge, .first = changelog_position(c->config.changelog), .unsaved = true};
        row = cutoffs_add(c, &fresh);
    }
    if (row != NULL && row->unsaved) {
        cutoffs_save(c, row, true);
    }
    pthread_mutex_unlock(&c->lock);
}

/* An edge that says less than before has another disk, or an old copy of its own: what it had let
 * go of may be there again. */
static void log_step_back(const struct cutoffs *c, const struct cutoffs_row *row, uint64_t position)
{
    char edge[PL_ID128_TEXT];
    pl_id128_format(&row->edge, edge);
    pl_log(c->config.log, PL_LOG_WARN, "cutoffs",
           "an edge was settled at position %" PRIu64 " and says %" PRIu64
           " now: was its disk restored from a copy? edge=%s",
           row->settled, position, edge);
}

void cutoffs_settled(struct cutoffs *c, const struct pl_id128 *edge, const struct pl_id128 *epoch,
                     uint64_t position)
{
    struct pl_id128 own;
    changelog_epoch(c->config.changelog, &own);
    if (!pl_id128_eq(&own, epoch) || position > changelog_position(c->config.changelog)) {
        cutoffs_heard(c, epoch, position);
        return; /* of another changelog, or of what a restore undid */
    }
    pthread_mutex_lock(&c->lock);
    struct cutoffs_row *row = cutoffs_find(c, edge);
    if (row != NULL && (row->settled != position || row->unsaved)) {
        if (position < row->settled) {
            log_step_back(c, row, position);
        }
        row->settled_ms = row->settled == position ? row->settled_ms : pl_wall_ms(c->config.clock);
        row->settled = position;
        cutoffs_save(c, row, false);
    }
    pthread_mutex_unlock(&c->lock);
}

/* ---- whoever deletes */

enum pl_err cutoffs_announce(struct cutoffs *c, uint64_t *position, struct pl_why *why)
{
    struct store_batch *batch;
    const struct catalog_item item = {.kind = CATALOG_CUTOFF};
    enum pl_err err = store_batch_new(&batch);
    if (err != PL_OK) {
        return pl_fail(why, err, "no memory for a change");
    }
    err = changelog_write(c->config.changelog, batch, &item, why);
    store_batch_free(batch);
    if (err == PL_OK) {
        *position = cutoffs_position(c);
    }
    return err;
}

uint64_t cutoffs_position(const struct cutoffs *c)
{
    return changelog_settle_position(c->config.changelog);
}

void cutoffs_epoch(const struct cutoffs *c, struct pl_id128 *epoch)
{
    changelog_epoch(c->config.changelog, epoch);
}

const char *cutoff_state_name(enum cutoff_state state)
{
    static const char *const names[] = {[CUTOFF_WAITING] = "waiting",
                                        [CUTOFF_CONFIRMED] = "confirmed",
                                        [CUTOFF_WRITTEN_OFF] = "written off"};
    return names[state];
}

/* Under lock. False: the edge cannot hold anything from before the position. */
static bool judge(const struct cutoffs *c, const struct edge_record *edge, uint64_t position,
                  struct cutoff_edge *out)
{
    const struct cutoffs_row *row = cutoffs_find(c, &edge->id);
    char when[PL_TIME_TEXT];
    if (row == NULL || row->first >= position || (row->closed != 0 && row->closed < position)) {
        return false;
    }
    *out = (struct cutoff_edge){.id = edge->id};
    memcpy(out->name, edge->name, sizeof(out->name));
    memcpy(out->region, edge->region, sizeof(out->region));
    if (row->settled >= position) {
        out->state = CUTOFF_CONFIRMED;
        out->at_ms = row->settled_ms;
        return true;
    }
    if (cutoffs_closed_position(c) >= position) {
        out->state = CUTOFF_WRITTEN_OFF;
        out->at_ms = c->keys.destroyed_ms;
    }
    const char *then = out->state == CUTOFF_WRITTEN_OFF
                           ? "the sealing keys that its blocks need are destroyed"
                           : "it is written off when the sealing keys of its time are destroyed";
    if (edge->revoked_ms != 0) {
        pl_time_format(edge->revoked_ms, when);
        snprintf(out->reason, sizeof(out->reason), "revoked %s; %s", when, then);
    } else if (out->state == CUTOFF_WRITTEN_OFF) {
        snprintf(out->reason, sizeof(out->reason), "not confirmed in time; %s", then);
    } else {
        snprintf(out->reason, sizeof(out->reason),
                 "not confirmed yet: it is away, or still hands over what it holds");
    }
    return true;
}

enum pl_err cutoffs_of(struct cutoffs *c, uint64_t position, struct cutoff_edge **out,
                       size_t *count, bool *done)
{
    struct edge_record *edges;
    size_t edge_count, n = 0;
    enum pl_err err = edges_list(c->config.edges, &edges, &edge_count);
    struct cutoff_edge *list = err == PL_OK ? calloc(edge_count + 1, sizeof(*list)) : NULL;
    if (err == PL_OK && list == NULL) {
        free(edges);
        err = PL_ENOMEM;
    }
    if (err != PL_OK) {
        return err;
    }
    *done = true;
    pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < edge_count; i++) {
        if (judge(c, &edges[i], position, &list[n])) {
            *done &= list[n++].state != CUTOFF_WAITING;
        }
    }
    pthread_mutex_unlock(&c->lock);
    free(edges);
    *out = list;
    *count = n;
    return PL_OK;
}

/* ---- the probes */

void cutoffs_edge(struct cutoffs *c, const struct pl_id128 *edge, struct cutoffs_edge *out)
{
    *out = (struct cutoffs_edge){.seen = false};
    pthread_mutex_lock(&c->lock);
    const struct cutoffs_row *row = cutoffs_find(c, edge);
    if (row != NULL) {
        *out = (struct cutoffs_edge){
            .seen = true, .settled = row->settled, .settled_ms = row->settled_ms};
    }
    pthread_mutex_unlock(&c->lock);
}

void cutoffs_status(struct cutoffs *c, struct cutoffs_status *out)
{
    *out = (struct cutoffs_status){
        .position = cutoffs_position(c),
        .seal_key_position = changelog_seal_key_position(c->config.changelog),
    };
    pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < c->count; i++) {
        const struct cutoffs_row *row = &c->rows[i];
        out->waiting +=
            row->revoked == 0 && row->first < out->position && row->settled < out->position;
    }
    memcpy(out->seal_key_id, c->keys.current.id, sizeof(out->seal_key_id));
    out->seal_key_made_ms = c->keys.current.made_ms;
    out->old_seal_keys = c->keys.old_count;
    out->heard_too_much = c->heard_too_much;
    memcpy(out->trouble, c->trouble, sizeof(out->trouble));
    pthread_mutex_unlock(&c->lock);
}
