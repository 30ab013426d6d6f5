/*
 * Opt-outs that found no room in the redo log: made in the database all the same, for a person's
 * word counts at once, and noted as soon as there is room. Which they are needs no list: each is an
 * item of the changelog, behind the position that is kept.
 */
#include "origin/families.h"
#include "origin/journal/redo_state.h"
#include "proto/wire/suppression.h"

#include <stdlib.h>

#define LATE_BYTES 16  /* since when, behind which position of the changelog */
#define ROUND      256 /* items of the changelog that one pulse looks at */
#define LINE_BYTES 512 /* an opt-out has some 250 */

static const struct pl_span LATE_KEY = PL_SPAN_INIT("redo-late");

uint64_t redo_room_of_optouts(const struct redo *redo)
{
    return redo->config.max_bytes / 4 * 3;
}

bool redo_has_room(struct redo *redo, uint64_t bytes)
{
    return journal_bytes(redo->journal) + bytes + LINE_BYTES <= redo_room_of_optouts(redo);
}

enum pl_err redo_late_load(struct redo *redo, struct pl_why *why)
{
    uint8_t value[LATE_BYTES] = {0};
    bool found;
    enum pl_err err = redo_get_fact(redo, LATE_KEY, value, sizeof(value), &found, why);
    redo->late_ms = (int64_t)pl_load_u64(value);
    redo->late_position = pl_load_u64(value + 8);
    return err;
}

/* Without a sync: in order with what is written next, which is synced. */
static enum pl_err keep(struct redo *redo, struct pl_why *why)
{
    uint8_t value[LATE_BYTES];
    pl_store_u64(value, (uint64_t)redo->late_ms);
    pl_store_u64(value + 8, redo->late_position);
    return store_put(redo->config.store, FAMILY_META, LATE_KEY, pl_span(value, sizeof(value)),
                     false, why);
}

enum pl_err redo_late_begin(struct redo *redo, const struct redo_record *record, struct pl_why *why)
{
    if (redo->late_ms == 0) {
        redo->late_ms = pl_wall_ms(redo->config.clock);
        redo->late_position = record->feed_position;
        pl_log(redo->config.log, PL_LOG_ERROR, "redo",
               "opt-outs are not noted from now on, for the log has no room for them: a restore "
               "would lose them; raise redo_max_bytes, or make room on the disks");
    }
    enum pl_err err = keep(redo, why); /* each time: an earlier one may have been lost */
    if (err == PL_OK) {
        redo->late_begun++;
        redo->late_writing++;
    }
    return err;
}

/* ---- noting them after all */

struct walk {
    struct redo *redo;
    struct catalog_item item;
    struct pl_buf row;
    uint64_t position; /* behind which it goes on */
    bool at_end;
};

/* What the database says of it by now; nothing, if the account is gone. */
static enum pl_err note_item(struct walk *walk)
{
    const struct suppression said = {.account = walk->item.account,
                                     .consent_id = walk->item.consent_id};
    uint8_t key[SUPPRESSION_KEY_BYTES];
    suppression_key(&said, key);
    pl_buf_reset(&walk->row);
    enum pl_err err = store_get(walk->redo->config.store, FAMILY_SUPPRESSIONS,
                                pl_span(key, sizeof(key)), &walk->row);
    if (err != PL_OK)
        return err == PL_ENOTFOUND ? PL_OK : err;
    const struct redo_record record = {.kind = REDO_OPTOUT,
                                       .account = said.account,
                                       .id = said.consent_id,
                                       .row = pl_buf_span(&walk->row)};
    return redo_has_room(walk->redo, walk->row.len) ? redo_note(walk->redo, &record, NULL)
                                                    : PL_ENOSPC;
}

static enum pl_err look_at(struct walk *walk, struct pl_span key, struct pl_span value)
{
    enum pl_err err = catalog_decode(value, &walk->item, NULL);
    if (err == PL_OK && walk->item.kind == CATALOG_SUPPRESSION)
        err = note_item(walk);
    else
        err = PL_OK;
    if (err == PL_OK)
        walk->position = pl_load_u64(key.data);
    return err;
}

static void go_through(struct walk *walk)
{
    struct store_scan *scan;
    struct pl_span key, value;
    uint8_t from[8];
    pl_store_u64(from, walk->position + 1);
    enum pl_err err = store_scan_new(&scan, walk->redo->config.store, FAMILY_CHANGES,
                                     pl_span(from, sizeof(from)), pl_span(NULL, 0));
    if (err != PL_OK)
        return;
    for (int i = 0; err == PL_OK && i < ROUND; i++) {
        err = store_scan_next(scan, &key, &value);
        if (err == PL_OK)
            err = look_at(walk, key, value);
        else
            walk->at_end = err == PL_ENOTFOUND;
    }
    store_scan_free(scan);
}

static enum pl_err forget(struct redo *redo)
{
    struct store_batch *batch;
    enum pl_err err = store_batch_new(&batch);
    if (err != PL_OK)
        return err;
    store_batch_delete(batch, redo->config.store, FAMILY_META, LATE_KEY);
    err = store_write(redo->config.store, batch, true, NULL);
    store_batch_free(batch);
    return err;
}

void redo_late_go_on(struct redo *redo)
{
    pthread_mutex_lock(&redo->lock);
    const bool due = redo->late_ms != 0;
    const bool quiet = redo->late_writing == 0;
    const uint64_t begun = redo->late_begun;
    struct walk *walk = due ? calloc(1, sizeof(*walk)) : NULL;
    if (walk != NULL)
        *walk = (struct walk){.redo = redo, .position = redo->late_position};
    pthread_mutex_unlock(&redo->lock);
    /* some room, or it would be told once a second that all is well */
    if (walk == NULL || !redo_has_room(redo, redo->config.max_bytes / 64)) {
        free(walk);
        return;
    }
    pl_buf_init(&walk->row, JOURNAL_LINE_BYTES);
    go_through(walk);
    pthread_mutex_lock(&redo->lock);
    redo->late_position = walk->position;
    /* What was written without a note before the scan began, was seen by it. */
    if (walk->at_end && quiet && redo->late_begun == begun && forget(redo) == PL_OK) {
        redo->late_ms = 0;
        pl_log(redo->config.log, PL_LOG_INFO, "redo", "all opt-outs are noted again");
    } else {
        (void)keep(redo, NULL);
    }
    pthread_mutex_unlock(&redo->lock);
    pl_buf_release(&walk->row);
    free(walk);
}
