/* Noting what is changed, and taking back what was not. */
#include "origin/families.h"
#include "origin/journal/redo_state.h"

#include <stdlib.h>

#define MARK_BYTES (8 + PL_SHA256_BYTES)

/* The last record that the database has seen. */
static const struct pl_span MARK_KEY = PL_SPAN_INIT("redo-mark");

/* ---- the mark */

enum pl_err redo_put_mark(struct redo *redo, const struct journal_mark *mark, bool sync,
                          struct pl_why *why)
{
    uint8_t value[MARK_BYTES];
    pl_store_u64(value, mark->n);
    memcpy(value + 8, mark->hash, PL_SHA256_BYTES);
    enum pl_err err = store_put(redo->config.store, FAMILY_META, MARK_KEY,
                                pl_span(value, sizeof(value)), sync, why);
    redo->stale = err != PL_OK;
    return err;
}

enum pl_err redo_get_mark(struct redo *redo, struct journal_mark *mark, bool *found,
                          struct pl_why *why)
{
    uint8_t value[MARK_BYTES] = {0};
    enum pl_err err = redo_get_fact(redo, MARK_KEY, value, sizeof(value), found, why);
    mark->n = pl_load_u64(value);
    memcpy(mark->hash, value + 8, PL_SHA256_BYTES);
    return err;
}

/* ---- writes that failed */

static enum pl_err was_made(struct redo *redo, const struct redo_open *open, bool *made,
                            struct pl_why *why)
{
    struct pl_buf row;
    uint8_t hash[PL_SHA256_BYTES];
    pl_buf_init(&row, JOURNAL_LINE_BYTES);
    enum pl_err err =
        store_get(redo->config.store, open->family, pl_span(open->key, open->key_bytes), &row);
    pl_sha256_one(pl_buf_span(&row), hash);
    *made = err == PL_OK && memcmp(hash, open->row_hash, sizeof(hash)) == 0;
    pl_buf_release(&row);
    return err == PL_OK || err == PL_ENOTFOUND
               ? PL_OK
               : pl_fail(why, err, "whether a write that failed was made cannot be told: %s",
                         pl_err_word(err));
}

/* Encodes and appends; the database's mark follows where it can. */
static enum pl_err put_line(struct redo *redo, const struct redo_record *record, bool sync,
                            uint64_t *line, struct pl_why *why)
{
    struct journal_mark end;
    enum pl_err err = redo_encode(redo, record);
    if (err != PL_OK)
        return pl_fail(why, err, "a record for the redo log cannot be made: %s", pl_err_word(err));
    err = journal_append(redo->journal, pl_buf_span(&redo->line), &end, why);
    if (err != PL_OK)
        return err;
    if (line != NULL)
        *line = end.n;
    redo->pulse_mono_ms = pl_mono_ms(redo->config.clock);
    return redo_put_mark(redo, &end, sync, why);
}

enum pl_err redo_settle(struct redo *redo, struct pl_why *why)
{
    struct redo_open *open;
    enum pl_err err = PL_OK;
    if (redo->failed != NULL)
        err = store_sync(redo->config.store, why); /* fails until the store has recovered */
    while (err == PL_OK && (open = redo->failed) != NULL) {
        bool made;
        uint64_t line = 0;
        const struct redo_record record = {.kind = REDO_WITHDRAWN, .line = open->line};
        err = was_made(redo, open, &made, why);
        if (err == PL_OK && !made)
            err = put_line(redo, &record, false, &line, why);
        if (err != PL_OK && line == 0)
            return err;
        redo->failed = open->next;
        free(open);
    }
    return err;
}

/* ---- noting */

/* A database that takes nothing is not to fill the log with changes it refuses. */
enum pl_err redo_append(struct redo *redo, const struct redo_record *record, bool sync,
                        uint64_t *line, struct pl_why *why)
{
    if (line != NULL)
        *line = 0;
    enum pl_err err = redo_settle(redo, why);
    if (err == PL_OK && redo->stale)
        err = store_sync(redo->config.store, why);
    return err == PL_OK ? put_line(redo, record, sync, line, why) : err;
}

enum pl_err redo_note(struct redo *redo, const struct redo_record *record, struct pl_why *why)
{
    if (redo == NULL)
        return PL_OK;
    pthread_mutex_lock(&redo->lock);
    enum pl_err err = redo->noting ? redo_append(redo, record, false, NULL, why) : PL_OK;
    pthread_mutex_unlock(&redo->lock);
    return err;
}

/* ---- changes */

/* What is known of a change whose write has failed is there before it is noted: nothing may be
 * missing then. */
static enum pl_err open_new(const struct redo_change *change, struct redo_open **out,
                            struct pl_why *why)
{
    struct redo_open *open = calloc(1, sizeof(*open));
    if (open == NULL)
        return pl_fail(why, PL_ENOMEM, "no memory for a change");
    if (change->key.len > sizeof(open->key)) {
        free(open);
        return pl_fail(why, PL_ELIMIT, "the key of a change is %zu bytes long", change->key.len);
    }
    open->family = change->family;
    open->key_bytes = change->key.len;
    memcpy(open->key, change->key.data, change->key.len);
    pl_sha256_one(change->row, open->row_hash);
    *out = open;
    return PL_OK;
}

static void add_failed(struct redo *redo, struct redo_open *open)
{
    struct redo_open **at = &redo->failed;
    while (*at != NULL)
        at = &(*at)->next;
    open->next = NULL;
    *at = open;
}

static enum pl_err begin_late(struct redo *redo, const struct redo_record *record,
                              struct redo_open *open, struct pl_why *why)
{
    enum pl_err err = redo_settle(redo, why);
    if (err == PL_OK)
        err = redo_late_begin(redo, record, why);
    open->late = err == PL_OK;
    return err;
}

/* Of an opt-out that finds no room the word goes before its note. */
static enum pl_err note_change(struct redo *redo, const struct redo_record *record,
                               struct redo_open *open, struct pl_why *why)
{
    struct pl_why full = {0};
    if (record->kind != REDO_OPTOUT)
        return redo_append(redo, record, false, &open->line, why);
    if (!redo_has_room(redo, record->row.len))
        return begin_late(redo, record, open, why);
    enum pl_err err = redo_append(redo, record, false, &open->line, &full);
    if (err == PL_ENOSPC && open->line == 0) /* the disk is full */
        return begin_late(redo, record, open, why);
    if (err != PL_OK && why != NULL)
        *why = full;
    return err;
}

/* *out NULL: nothing is noted now. */
static enum pl_err begin_change(struct redo *redo, const struct redo_change *change,
                                struct redo_open **out, struct pl_why *why)
{
    struct redo_open *open = NULL;
    *out = NULL;
    if (redo == NULL)
        return PL_OK;
    enum pl_err err = open_new(change, &open, why);
    if (err != PL_OK)
        return err;
    pthread_mutex_lock(&redo->lock);
    const bool noting = redo->noting;
    if (noting)
        err = note_change(redo, &change->record, open, why);
    if (err != PL_OK && open->line != 0 &&
        change->record.kind > REDO_CHANGE) { /* and the database took not even the mark */
        add_failed(redo, open);
        open = NULL;
    }
    pthread_mutex_unlock(&redo->lock);
    if (err == PL_OK && noting)
        *out = open;
    else
        free(open);
    return err;
}

static void end_change(struct redo *redo, const struct redo_change *change, struct redo_open *open,
                       bool made)
{
    if (open == NULL)
        return;
    pthread_mutex_lock(&redo->lock);
    redo->late_writing -= open->late;
    const bool withdraw = !made && open->line != 0 && change->record.kind > REDO_CHANGE;
    if (withdraw) {
        add_failed(redo, open);
        (void)redo_settle(redo, NULL);
    }
    pthread_mutex_unlock(&redo->lock);
    if (!withdraw)
        free(open);
}

enum pl_err redo_make(struct redo *redo, const struct redo_change *change, struct pl_why *why)
{
    struct redo_open *open;
    enum pl_err err = begin_change(redo, change, &open, why);
    if (err != PL_OK)
        return err;
    err = change->write != NULL
              ? change->write(change->ctx, why)
              : store_put(change->store, change->family, change->key, change->row, true, why);
    end_change(redo, change, open, err == PL_OK);
    return err;
}

/* ---- erasures */

enum pl_err redo_make_erasure(void *redo, struct pl_span key, struct pl_span row,
                              enum pl_err (*write)(void *write_ctx, struct pl_why *why),
                              void *write_ctx, struct pl_why *why)
{
    struct redo_change change = {.record = {.kind = REDO_ERASURE, .row = row},
                                 .family = FAMILY_ERASURES,
                                 .key = key,
                                 .row = row,
                                 .write = write,
                                 .ctx = write_ctx};
    if (key.len != 8 + sizeof(change.record.id.bytes))
        return pl_fail(why, PL_EINVAL, "an erasure's key is %zu bytes long", key.len);
    change.record.account = pl_load_u64(key.data);
    memcpy(change.record.id.bytes, key.data + 8, sizeof(change.record.id.bytes));
    return redo_make(redo, &change, why);
}
