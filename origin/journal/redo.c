#include "origin/families.h"
#include "origin/journal/redo_state.h"

#include <inttypes.h>
#include <stdlib.h>

#define RESTORED_BYTES 16 /* when, how many records it lacked */

static const struct pl_span RESTORED_KEY = PL_SPAN_INIT("redo-restored");

/* ---- the database's side */

enum pl_err redo_get_fact(struct redo *redo, struct pl_span key, uint8_t *out, size_t len,
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
    uint8_t restored[RESTORED_BYTES] = {0};
    bool was_restored;
    enum pl_err err = redo_get_mark(redo, &redo->mark, has_mark, why);
    if (err == PL_OK)
        err = redo_get_fact(redo, RESTORED_KEY, restored, sizeof(restored), &was_restored, why);
    redo->restored_ms = (int64_t)pl_load_u64(restored);
    redo->restored_lacked = pl_load_u64(restored + 8);
    return err == PL_OK ? redo_late_load(redo, why) : err;
}

/* ---- opening */

static enum pl_err compare_hash(const struct redo *redo, const uint8_t hash[PL_SHA256_BYTES],
                                struct pl_why *why)
{
    if (memcmp(hash, redo->mark.hash, PL_SHA256_BYTES) != 0)
        return pl_fail(why, PL_EFORK,
                       "the database and the redo log do not belong together: they differ at the "
                       "log's line %" PRIu64 "; correct data_dir or journal_dirs, or restore both "
                       "from copies of one origin",
                       redo->mark.n);
    return PL_OK;
}

static enum pl_err check_hash(void *ctx, uint64_t n, struct pl_span line, struct pl_why *why)
{
    uint8_t hash[PL_SHA256_BYTES];
    (void)n;
    pl_sha256_one(line, hash);
    enum pl_err err = compare_hash(ctx, hash, why);
    return err == PL_OK ? PL_ENOTFOUND : err; /* seen */
}

/* An empty log beside a database that knows of records was put there by somebody, on purpose. Of
 * the database it tells nothing: it may be a copy. The mark stays until redo_replay, so that a
 * start that does not get so far is followed by another like it. */
static void begin_anew(struct redo *redo)
{
    pl_log(
        redo->config.log, PL_LOG_ERROR, "redo",
        "the redo log is empty, and the database has seen %" PRIu64
        " records of it: what they hold is not redone if it was restored, or should it be. Edges "
        "learn everything anew",
        redo->mark.n);
    redo->anew = true;
}

/* What was decided between the copy and the log's beginning is nowhere any more. */
static enum pl_err fail_too_old(const struct redo *redo, uint64_t begins, struct pl_why *why)
{
    return pl_fail(why, PL_ECORRUPT,
                   "the database has seen line %" PRIu64 " of the redo log, which begins with line "
                   "%" PRIu64 ": it was restored from a copy that is too old, older than the %lld "
                   "days of backup_days, and deletions, erasures and opt-outs of in between would "
                   "be undone. Restore a newer copy; if there is none, or the database is to begin "
                   "anew, put an empty file (mode 0600) in the place of each of the log's files, "
                   "and delete and erase again what was in between",
                   redo->mark.n, begins, (long long)redo->config.backup_days);
}

static enum pl_err compare(struct redo *redo, struct pl_why *why)
{
    struct journal_mark base, end;
    journal_base(redo->journal, &base);
    journal_end(redo->journal, &end);
    if (redo->mark.n > 0 && end.n == 0) {
        begin_anew(redo);
        return PL_OK;
    }
    if (redo->mark.n > end.n)
        return pl_fail(why, PL_ECORRUPT,
                       "the redo log ends at line %" PRIu64 ", and the database has seen line "
                       "%" PRIu64 ": restore a newer copy of the log; if what is missing is lost "
                       "for good, put an empty file (mode 0600) in the place of each of its files",
                       end.n, redo->mark.n);
    if (redo->mark.n < base.n)
        return fail_too_old(redo, base.n + 1, why);
    redo->lacked = end.n - redo->mark.n;
    if (redo->mark.n == base.n)
        return compare_hash(redo, base.hash, why);
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
                                               .trimmed = true,
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
    return redo->lacked > 0 || redo->anew;
}

/* ---- pulses */

/* A line that the database cannot learn of, as when its disk is full, would make the next start
 * take it for a restored one. */
static void pulse(struct redo *redo, const char *what)
{
    struct pl_why why = {0};
    const struct redo_record record = {.kind = REDO_PULSE, .what = what};
    if (store_sync(redo->config.store, &why) != PL_OK ||
        redo_append(redo, &record, true, NULL, &why) != PL_OK)
        pl_log(redo->config.log, PL_LOG_WARN, "redo", "%s is not noted: %s", what, why.text);
}

/* Soon after something was stored: a copy of before it would be missing that. And soon after the
 * log could not be written, to see whether it can. */
static bool is_due(const struct redo *redo, uint64_t stored, int64_t now_ms)
{
    struct journal_status journal;
    journal_status(redo->journal, &journal);
    const bool soon = stored != redo->stored || journal.trouble[0] != '\0';
    return redo->noting && now_ms - redo->pulse_mono_ms >= (soon ? REDO_STORED_MS : REDO_PULSE_MS);
}

/* A database that takes writes again has its mark put right, lest it be taken for a restored one.
 */
static void catch_up(struct redo *redo)
{
    struct journal_mark end;
    if (!redo->noting || (!redo->stale && redo->failed == NULL) ||
        redo_settle(redo, NULL) != PL_OK || !redo->stale)
        return;
    journal_end(redo->journal, &end);
    (void)redo_put_mark(redo, &end, true, NULL);
}

static bool is_nearly_full(const struct redo *redo)
{
    return journal_bytes(redo->journal) > redo_room_of_optouts(redo) / 5 * 4;
}

/* Half of it is worth the writing; less when room is scarce. */
static void trim(struct redo *redo, int64_t believed_ms, int64_t now_ms)
{
    struct pl_why why = {0};
    uint64_t least = journal_bytes(redo->journal) / (is_nearly_full(redo) ? 8 : 2), cut;
    if (redo->config.backup_days == 0 || believed_ms == 0 ||
        (redo->trim_mono_ms != 0 && now_ms - redo->trim_mono_ms < REDO_TRIM_MS))
        return;
    redo->trim_mono_ms = now_ms;
    least = least < REDO_TRIM_BYTES ? REDO_TRIM_BYTES : least;
    const int64_t before_ms = believed_ms - (redo->config.backup_days + 1) * PL_DAY_MS;
    if (journal_trim(redo->journal, before_ms, least, &cut, &why) != PL_OK)
        pl_log(redo->config.log, PL_LOG_WARN, "redo",
               "records that no copy of the database needs any more stay: %s", why.text);
    else if (cut > 0)
        pl_log(redo->config.log, PL_LOG_INFO, "redo",
               "%" PRIu64 " bytes of records that no copy of the database needs any more are gone",
               cut);
}

void redo_pulse(struct redo *redo, uint64_t stored, int64_t believed_ms)
{
    if (redo == NULL)
        return;
    pthread_mutex_lock(&redo->lock);
    const int64_t now_ms = pl_mono_ms(redo->config.clock);
    catch_up(redo);
    if (is_due(redo, stored, now_ms)) {
        redo->pulse_mono_ms = now_ms; /* also when it fails: not every second */
        redo->stored = stored;
        pulse(redo, "running");
    }
    pthread_mutex_unlock(&redo->lock);
    trim(redo, believed_ms, now_ms);
    redo_late_go_on(redo);
}

void redo_close(struct redo *redo)
{
    if (redo == NULL)
        return;
    if (redo->noting)
        pulse(redo, "stop");
    while (redo->failed != NULL) {
        struct redo_open *open = redo->failed;
        redo->failed = open->next;
        free(open);
    }
    journal_close(redo->journal);
    json_writer_free(redo->writer);
    pl_buf_release(&redo->line);
    pthread_mutex_destroy(&redo->lock);
    free(redo);
}

enum pl_err redo_keep_restored(struct redo *redo, struct pl_why *why)
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

void redo_status(struct redo *redo, struct redo_status *out)
{
    memset(out, 0, sizeof(*out));
    if (redo == NULL)
        return;
    journal_status(redo->journal, &out->journal);
    out->late_ms = redo->late_ms;
    out->nearly_full = is_nearly_full(redo);
    out->restored_ms = redo->restored_ms;
    out->lacked = redo->restored_lacked;
    out->restored =
        redo->restored_ms != 0 && pl_wall_ms(redo->config.clock) - redo->restored_ms < REDO_TOLD_MS;
}
