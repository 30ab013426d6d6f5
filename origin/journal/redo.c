#include "origin/journal/redo.h"
#include "origin/families.h"
#include "origin/request.h"
#include "proto/base/text.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

#define MARK_BYTES     (8 + PL_SHA256_BYTES)
#define RESTORED_BYTES 16 /* when, how many records it lacked */
#define JSON_DEPTH     8

/* The last record that the database has seen. */
static const struct pl_span MARK_KEY = PL_SPAN_INIT("redo-mark");
static const struct pl_span RESTORED_KEY = PL_SPAN_INIT("redo-restored");

struct redo {
    struct redo_config config;
    struct journal *journal;
    struct journal_mark mark; /* of the database, when it was opened */
    uint64_t lacked;

    pthread_mutex_t lock; /* over a record and its mark: marks never go back */
    bool noting;          /* since redo_replay */
    bool stale;           /* the database refused a mark */
    struct json_writer *writer;
    struct pl_buf line;
    int64_t pulse_mono_ms;
    int64_t restored_ms; /* 0: never */
    uint64_t restored_lacked;
};

static const char *const kind_names[REDO_KINDS] = {
    [REDO_PULSE] = "pulse",       [REDO_CHANGE] = "change",
    [REDO_ACCOUNT] = "account",   [REDO_CERTIFICATE] = "certificate",
    [REDO_HOLD] = "hold",         [REDO_OPTOUT] = "opt_out",
    [REDO_ERASURE] = "erasure",   [REDO_TOKEN] = "token_revoked",
    [REDO_EDGE] = "edge_revoked",
};

static const struct pl_id128 no_id;

/* ---- a record as a line has it */

static void write_record(const struct redo_record *record, const char *row, struct json_writer *w)
{
    json_write_object(w);
    json_write_pair_text(w, "kind", kind_names[record->kind]);
    if (record->what != NULL)
        json_write_pair_text(w, "what", record->what);
    if (record->account != 0)
        json_write_pair_account(w, "account", record->account);
    if (!pl_id128_eq(&record->id, &no_id))
        json_write_pair_hex(w, "id", pl_span(record->id.bytes, sizeof(record->id.bytes)));
    if (record->state != 0) {
        json_write_pair_text(w, "state", account_state_name(record->state));
        json_write_pair_time(w, "expires_at", record->expires_at_ms);
    }
    if (record->deletion_started_ms != 0) {
        json_write_pair_time(w, "deletion_started_at", record->deletion_started_ms);
        json_write_pair_bool(w, "on_request", record->on_request);
    }
    if (row != NULL)
        json_write_pair_text(w, "row", row);
    json_write_object_end(w);
}

/* Into redo->line. Under lock. */
static enum pl_err encode(struct redo *redo, const struct redo_record *record)
{
    struct pl_buf row;
    pl_buf_init(&row, JOURNAL_LINE_BYTES);
    enum pl_err err = record->row.len > 0 ? pl_base64_encode(record->row, &row) : PL_OK;
    if (err == PL_OK)
        err = pl_buf_terminate(&row);
    if (err == PL_OK) {
        pl_buf_reset(&redo->line);
        json_writer_begin(redo->writer, &redo->line);
        write_record(record, row.len > 0 ? (const char *)row.data : NULL, redo->writer);
        err = json_writer_end(redo->writer);
    }
    pl_buf_release(&row);
    return err;
}

static enum pl_err read_state(struct json object, enum account_state *out, struct pl_why *why)
{
    char name[32] = "";
    enum pl_err err = request_text(object, "state", name, sizeof(name), why);
    if (err != PL_OK || name[0] == '\0')
        return err;
    for (int s = ACCOUNT_ACTIVE; s <= ACCOUNT_DELETED; s++)
        if (strcmp(name, account_state_name((enum account_state)s)) == 0)
            *out = (enum account_state)s;
    return *out != 0 ? PL_OK : pl_fail(why, PL_EUNSUPPORTED, "there is no state %s", name);
}

/* row holds what record->row views. PL_EUNSUPPORTED: of a newer build. */
static enum pl_err decode(struct json object, struct redo_record *record, struct pl_buf *row,
                          struct pl_why *why)
{
    char kind[32] = "";
    struct json value;
    struct pl_span text;
    enum pl_err err;
    *record = (struct redo_record){.kind = REDO_KINDS};
    if ((err = request_text(object, "kind", kind, sizeof(kind), why)) != PL_OK ||
        (err = request_account(object, "account", &record->account, why)) != PL_OK ||
        (err = request_id128(object, "id", &record->id, why)) != PL_OK ||
        (err = read_state(object, &record->state, why)) != PL_OK ||
        (err = request_time(object, "expires_at", &record->expires_at_ms, why)) != PL_OK ||
        (err = request_time(object, "deletion_started_at", &record->deletion_started_ms, why)) !=
            PL_OK ||
        (err = request_bool(object, "on_request", &record->on_request, why)) != PL_OK)
        return err;
    for (int k = 0; k < REDO_KINDS; k++)
        if (strcmp(kind, kind_names[k]) == 0)
            record->kind = (enum redo_kind)k;
    if (record->kind == REDO_KINDS)
        return pl_fail(why, PL_EUNSUPPORTED,
                       "this build does not know what a record of kind \"%s\" is: run the version "
                       "that wrote it, or a newer one",
                       kind);
    pl_buf_reset(row);
    if (json_get(object, "row", &value) && json_string(value, &text) &&
        (err = pl_base64_decode(text, row)) != PL_OK)
        return pl_fail(why, err, "its row is not base64");
    record->row = pl_buf_span(row);
    return PL_OK;
}

/* ---- the database's side */

static enum pl_err put_mark(struct redo *redo, const struct journal_mark *mark, bool sync,
                            struct pl_why *why)
{
    uint8_t value[MARK_BYTES];
    pl_store_u64(value, mark->n);
    memcpy(value + 8, mark->hash, PL_SHA256_BYTES);
    return store_put(redo->config.store, FAMILY_META, MARK_KEY, pl_span(value, sizeof(value)), sync,
                     why);
}

static enum pl_err get_fact(struct redo *redo, struct pl_span key, uint8_t *out, size_t len,
                            bool *found, struct pl_why *why)
{
    struct pl_buf value;
    pl_buf_init(&value, 256);
    enum pl_err err = store_get(redo->config.store, FAMILY_META, key, &value);
    *found = err == PL_OK;
    if (err == PL_OK && value.len == len)
        memcpy(out, value.data, len);
    else if (err == PL_OK)
        err = pl_fail(why, PL_ECORRUPT, "the database's %.*s is damaged: restore it from a backup",
                      PL_SPAN_FMT(key));
    else if (err == PL_ENOTFOUND)
        err = PL_OK;
    else
        pl_fail(why, err, "cannot read the database's %.*s: %s", PL_SPAN_FMT(key),
                pl_err_word(err));
    pl_buf_release(&value);
    return err;
}

static enum pl_err read_facts(struct redo *redo, bool *has_mark, struct pl_why *why)
{
    uint8_t mark[MARK_BYTES] = {0}, restored[RESTORED_BYTES] = {0};
    bool was_restored;
    enum pl_err err = get_fact(redo, MARK_KEY, mark, sizeof(mark), has_mark, why);
    if (err == PL_OK)
        err = get_fact(redo, RESTORED_KEY, restored, sizeof(restored), &was_restored, why);
    redo->mark.n = pl_load_u64(mark);
    memcpy(redo->mark.hash, mark + 8, PL_SHA256_BYTES);
    redo->restored_ms = (int64_t)pl_load_u64(restored);
    redo->restored_lacked = pl_load_u64(restored + 8);
    return err;
}

/* ---- opening */

static enum pl_err check_hash(void *ctx, uint64_t n, struct pl_span line, struct pl_why *why)
{
    const struct redo *redo = ctx;
    uint8_t hash[PL_SHA256_BYTES];
    pl_sha256_one(line, hash);
    if (memcmp(hash, redo->mark.hash, sizeof(hash)) != 0)
        return pl_fail(why, PL_EFORK,
                       "the database and the redo log do not belong together: they differ at the "
                       "log's line %" PRIu64 "; correct data_dir or journal_dirs, or restore both "
                       "from copies of one origin",
                       n);
    return PL_ENOTFOUND; /* seen */
}

/* An empty log beside a database that knows of records was put there by somebody, on purpose. */
static enum pl_err begin_anew(struct redo *redo, struct pl_why *why)
{
    pl_log(redo->config.log, PL_LOG_ERROR, "redo",
           "the redo log is empty, and the database has seen %" PRIu64
           " records of it: what they hold is not redone should an older copy of the database be "
           "restored",
           redo->mark.n);
    redo->mark = (struct journal_mark){0};
    return put_mark(redo, &redo->mark, true, why);
}

static enum pl_err compare(struct redo *redo, struct pl_why *why)
{
    struct journal_mark end;
    journal_end(redo->journal, &end);
    if (redo->mark.n > 0 && end.n == 0)
        return begin_anew(redo, why);
    if (redo->mark.n > end.n)
        return pl_fail(why, PL_ECORRUPT,
                       "the redo log ends at line %" PRIu64 ", and the database has seen line "
                       "%" PRIu64 ": restore a newer copy of the log; if what is missing is lost "
                       "for good, put an empty file (mode 0600) in the place of each of its files",
                       end.n, redo->mark.n);
    redo->lacked = end.n - redo->mark.n;
    if (redo->mark.n == 0)
        return PL_OK;
    enum pl_err err = journal_visit(redo->journal, redo->mark.n, check_hash, redo, why);
    return err == PL_ENOTFOUND ? PL_OK : err;
}

enum pl_err redo_open(struct redo **out, const struct redo_config *config, struct pl_why *why)
{
    bool has_mark = false;
    struct redo *redo = calloc(1, sizeof(*redo));
    if (redo == NULL)
        return pl_fail(why, PL_ENOMEM, "no memory for the redo log");
    redo->config = *config;
    pthread_mutex_init(&redo->lock, NULL);
    pl_buf_init(&redo->line, JOURNAL_LINE_BYTES);
    enum pl_err err = json_writer_new(&redo->writer, false);
    if (err != PL_OK)
        pl_fail(why, err, "no memory for the redo log");
    else
        err = read_facts(redo, &has_mark, why);
    if (err == PL_OK) {
        const struct journal_config journal = {.paths = config->paths,
                                               .path_count = config->path_count,
                                               .what = "redo log",
                                               .create = !has_mark,
                                               .max_bytes = config->max_bytes,
                                               .clock = config->clock,
                                               .log = config->log};
        err = journal_open(&redo->journal, &journal, why);
    }
    if (err == PL_OK)
        err = compare(redo, why);
    if (err != PL_OK) {
        redo_close(redo);
        return err;
    }
    *out = redo;
    return PL_OK;
}

bool redo_is_restored(const struct redo *redo)
{
    return redo->lacked > 0;
}

/* ---- noting */

/* The mark goes into the database before the change that was noted, and is as durable as it: they
 * follow each other in the same log. Under lock. */
static enum pl_err note(struct redo *redo, const struct redo_record *record, bool sync,
                        struct pl_why *why)
{
    struct journal_mark end;
    /* A database that takes nothing is not to fill the log with changes it refuses. */
    enum pl_err err = redo->stale ? store_sync(redo->config.store, why) : PL_OK;
    if (err != PL_OK)
        return err;
    redo->stale = false;
    err = encode(redo, record);
    if (err != PL_OK)
        return pl_fail(why, err, "a record for the redo log cannot be made: %s", pl_err_word(err));
    err = journal_append(redo->journal, pl_buf_span(&redo->line), &end, why);
    if (err != PL_OK)
        return err;
    redo->pulse_mono_ms = pl_mono_ms(redo->config.clock);
    err = put_mark(redo, &end, sync, why);
    redo->stale = err != PL_OK;
    return err;
}

enum pl_err redo_note(struct redo *redo, const struct redo_record *record, struct pl_why *why)
{
    if (redo == NULL)
        return PL_OK;
    pthread_mutex_lock(&redo->lock);
    enum pl_err err = redo->noting ? note(redo, record, false, why) : PL_OK;
    pthread_mutex_unlock(&redo->lock);
    return err;
}

enum pl_err redo_note_erasure(void *redo, struct pl_span key, struct pl_span row,
                              struct pl_why *why)
{
    struct redo_record record = {.kind = REDO_ERASURE, .row = row};
    if (key.len != 8 + sizeof(record.id.bytes))
        return pl_fail(why, PL_EINVAL, "an erasure's key is %zu bytes long", key.len);
    record.account = pl_load_u64(key.data);
    memcpy(record.id.bytes, key.data + 8, sizeof(record.id.bytes));
    return redo_note(redo, &record, why);
}

static void pulse(struct redo *redo, const char *what)
{
    struct pl_why why = {0};
    const struct redo_record record = {.kind = REDO_PULSE, .what = what};
    if (note(redo, &record, true, &why) != PL_OK)
        pl_log(redo->config.log, PL_LOG_WARN, "redo", "%s is not noted: %s", what, why.text);
}

void redo_pulse(struct redo *redo)
{
    if (redo == NULL)
        return;
    pthread_mutex_lock(&redo->lock);
    const int64_t now_ms = pl_mono_ms(redo->config.clock);
    if (redo->noting && now_ms - redo->pulse_mono_ms >= REDO_PULSE_MS) {
        redo->pulse_mono_ms = now_ms; /* also when it fails: not every second */
        pulse(redo, "running");
    }
    pthread_mutex_unlock(&redo->lock);
}

void redo_close(struct redo *redo)
{
    if (redo == NULL)
        return;
    if (redo->noting)
        pulse(redo, "stop");
    journal_close(redo->journal);
    json_writer_free(redo->writer);
    pl_buf_release(&redo->line);
    pthread_mutex_destroy(&redo->lock);
    free(redo);
}

/* ---- replaying */

struct replay {
    struct redo *redo;
    enum pl_err (*apply)(void *ctx, const struct redo_record *record, struct pl_why *why);
    void *ctx;
    struct json_parser *parser;
    struct pl_buf row;
};

static enum pl_err replay_line(void *ctx, uint64_t n, struct pl_span line, struct pl_why *why)
{
    struct replay *replay = ctx;
    struct redo_record record;
    struct json object;
    enum pl_err err = json_parse(replay->parser, line, &object, why);
    if (err == PL_OK)
        err = decode(object, &record, &replay->row, why);
    if (err == PL_OK && record.kind > REDO_CHANGE)
        err = replay->apply(replay->ctx, &record, why);
    return err == PL_OK ? err : pl_fail_in(why, err, "line %" PRIu64 " of the redo log", n);
}

static enum pl_err apply_all(struct redo *redo, struct replay *replay, struct pl_why *why)
{
    const uint64_t again = redo->mark.n > REDO_AGAIN ? redo->mark.n - REDO_AGAIN + 1 : 1;
    enum pl_err err = json_parser_new(&replay->parser, JOURNAL_LINE_BYTES, JSON_DEPTH);
    if (err != PL_OK)
        return pl_fail(why, err, "no memory for the redo log");
    pl_buf_init(&replay->row, JOURNAL_LINE_BYTES);
    err = journal_visit(redo->journal, again, replay_line, replay, why);
    pl_buf_release(&replay->row);
    json_parser_free(replay->parser);
    return err;
}

/* That it was restored is known before its mark is that of a database that never was. */
static enum pl_err keep_restored(struct redo *redo, struct pl_why *why)
{
    uint8_t value[RESTORED_BYTES];
    redo->restored_ms = pl_wall_ms(redo->config.clock);
    redo->restored_lacked = redo->lacked;
    pl_store_u64(value, (uint64_t)redo->restored_ms);
    pl_store_u64(value + 8, redo->lacked);
    pl_log(redo->config.log, PL_LOG_WARN, "redo",
           "the database lacked the last %" PRIu64
           " records of the redo log: it was restored from a copy. Opt-outs, erasures, deletions, "
           "holds and revocations from since then are in force again, and edges learn everything "
           "anew; accounts, configs, edges and tokens made since then are lost",
           redo->lacked);
    return store_put(redo->config.store, FAMILY_META, RESTORED_KEY, pl_span(value, sizeof(value)),
                     true, why);
}

enum pl_err redo_replay(struct redo *redo,
                        enum pl_err (*apply)(void *ctx, const struct redo_record *record,
                                             struct pl_why *why),
                        void *ctx, struct pl_why *why)
{
    struct replay replay = {.redo = redo, .apply = apply, .ctx = ctx};
    const struct redo_record start = {.kind = REDO_PULSE, .what = "start"};
    enum pl_err err = redo->lacked > 0 ? apply_all(redo, &replay, why) : PL_OK;
    if (err == PL_OK && redo->lacked > 0)
        err = keep_restored(redo, why);
    if (err != PL_OK)
        return err;
    pthread_mutex_lock(&redo->lock);
    redo->lacked = 0;
    redo->noting = true;
    err = note(redo, &start, true, why);
    pthread_mutex_unlock(&redo->lock);
    return err;
}

void redo_status(struct redo *redo, struct redo_status *out)
{
    memset(out, 0, sizeof(*out));
    if (redo == NULL)
        return;
    journal_status(redo->journal, &out->journal);
    out->restored_ms = redo->restored_ms;
    out->lacked = redo->restored_lacked;
    out->restored =
        redo->restored_ms != 0 && pl_wall_ms(redo->config.clock) - redo->restored_ms < REDO_TOLD_MS;
}
