/* Receipts: what an erasure has done, and what is left to do, for people. */
#include "origin/families.h"
#include "origin/intake/dedupe.h"
#include "origin/subjects/erasures_state.h"
#include "proto/base/text.h"

#include <stdio.h>
#include <stdlib.h>

static int64_t horizon_of(const struct erasure *erasure)
{
    return erasure->at_ms + DEDUPE_SWEEP_DAYS * PL_DAY_MS;
}

static enum pl_err write_edges(struct erasures *e, const struct erasure *erasure,
                               struct json_writer *w)
{
    struct cutoff_edge *edges = NULL;
    size_t count = 0;
    bool done = e->config.cutoffs == NULL;
    if (e->config.cutoffs != NULL && erasure->position > 0) {
        enum pl_err err = cutoffs_of(e->config.cutoffs, erasure->position, &edges, &count, &done);
        if (err != PL_OK)
            return err;
    }
    json_write_pair_bool(w, "edges_done", done);
    json_write_key(w, "edges");
    json_write_array(w);
    for (size_t i = 0; i < count; i++) {
        json_write_object(w);
        json_write_pair_text(w, "name", edges[i].name);
        json_write_pair_text(w, "region", edges[i].region);
        json_write_pair_text(w, "state", cutoff_state_name(edges[i].state));
        if (edges[i].at_ms != 0) {
            char at[PL_TIME_TEXT];
            pl_time_format(edges[i].at_ms, at);
            json_write_pair_text(w, "at", at);
        }
        if (edges[i].reason[0] != '\0')
            json_write_pair_text(w, "reason", edges[i].reason);
        json_write_object_end(w);
    }
    json_write_array_end(w);
    free(edges);
    return PL_OK;
}

static void write_kept(const struct erasure *erasure, struct json_writer *w)
{
    char text[160];
    json_write_key(w, "kept");
    json_write_array(w);
    json_write_text(w,
                    "opt-outs: the keyed hash of an id each; they are what keeps the visitor out");
    if (erasure_is_held(erasure))
        json_write_text(w, "events and links of days that a hold on the account covers: they are "
                           "erased when it ends");
    if (erasure->state != ERASURE_CLOSED) {
        json_write_text(w, "keyed hashes of the visitor's ids, until the guard is lifted: they are "
                           "what late events are told by");
        json_write_text(w, "keyed hashes of message ids, until the guard is lifted: they are what "
                           "retries are told by");
    }
    if (erasure->unreadable > 0) {
        snprintf(text, sizeof(text), "%llu stored %s", (unsigned long long)erasure->unreadable,
                 pl_plural(erasure->unreadable,
                           "value that is damaged: nobody can read it, nor whether it is the "
                           "visitor's; it goes when its day does",
                           "values that are damaged: nobody can read them, nor whether they are "
                           "the visitor's; they go when their days do"));
        json_write_text(w, text);
    }
    json_write_array_end(w);
}

enum pl_err erasures_write(struct erasures *e, uint64_t account, const struct pl_id128 *id,
                           struct json_writer *w, struct pl_why *why)
{
    uint8_t key[ERASURE_KEY_BYTES];
    struct erasure erasure;
    struct pl_buf row;
    erasure_key(account, id, key);
    pl_buf_init(&row, ERASURE_ROW_BYTES_MAX);
    enum pl_err err = store_get(e->config.store, FAMILY_ERASURES, pl_span(key, sizeof(key)), &row);
    if (err == PL_OK)
        err = erasure_decode(pl_span(key, sizeof(key)), pl_buf_span(&row), &erasure);
    pl_buf_release(&row);
    if (err == PL_ENOTFOUND)
        return pl_fail_field(why, err, "id", "there is no such erasure at this account");
    if (err != PL_OK)
        return pl_fail(why, err, "the erasure cannot be read: %s", pl_err_word(err));
    pthread_mutex_lock(&e->lock);
    const struct open_erasure *open = erasures_find(e, account, id);
    if (open != NULL)
        erasure.dropped = open->dropped;
    pthread_mutex_unlock(&e->lock);
    json_write_object(w);
    erasure_write_json(&erasure, horizon_of(&erasure), w);
    err = write_edges(e, &erasure, w);
    write_kept(&erasure, w);
    json_write_object_end(w);
    erasure_release(&erasure);
    return err == PL_OK ? err : pl_fail(why, err, "no memory for the edges of an erasure");
}

enum pl_err erasures_write_all(struct erasures *e, uint64_t account, size_t max,
                               struct json_writer *w, struct pl_why *why)
{
    struct store_scan *scan;
    struct pl_span key, row;
    uint8_t from[8], end[8];
    pl_store_u64(from, account);
    pl_store_u64(end, account + 1);
    enum pl_err err = store_scan_new(&scan, e->config.store, FAMILY_ERASURES, pl_span(from, 8),
                                     pl_span(end, account + 1 == 0 ? 0 : 8));
    if (err != PL_OK)
        return pl_fail(why, err, "the erasures cannot be read: %s", pl_err_word(err));
    json_write_array(w);
    for (size_t i = 0; i < max && (err = store_scan_next(scan, &key, &row)) == PL_OK; i++) {
        struct erasure erasure;
        if ((err = erasure_decode(key, row, &erasure)) != PL_OK)
            break;
        json_write_object(w);
        erasure_write_json(&erasure, horizon_of(&erasure), w);
        json_write_object_end(w);
        erasure_release(&erasure);
    }
    json_write_array_end(w);
    store_scan_free(scan);
    if (err == PL_OK || err == PL_ENOTFOUND)
        return PL_OK;
    return pl_fail(why, err, "the erasures cannot be read: %s", pl_err_word(err));
}
