/* The writer: one thread that judges, finds duplicates and writes, a group of blocks at a time. */
#include "origin/intake/intake_state.h"
#include "proto/base/text.h"

#include <stdio.h>
#include <stdlib.h>

enum pl_err intake_writer_init(struct intake *intake)
{
    struct intake_writer *w = &intake->writer;
    const struct intake_config *c = &intake->config;
    pl_mailbox_init(&w->inbox);
    w->pending_tail = &w->pending;
    enum pl_err err = vault_sealer_new(&w->sealer, c->keyring, 64);
    if (err == PL_OK)
        err = dedupe_new(&w->dedupe, c->store, w->sealer);
    return err == PL_OK ? store_batch_new(&w->batch) : err;
}

void intake_writer_release(struct intake_writer *w)
{
    if (w->pending_tail == NULL)
        return;
    pl_mailbox_release(&w->inbox);
    dedupe_free(w->dedupe);
    vault_sealer_free(w->sealer);
    store_batch_free(w->batch);
    free(w->group);
    free(w->entries);
}

/* ---- verdicts */

static void count_verdict(struct intake_status *s, const struct intake_job *job,
                          enum block_verdict verdict)
{
    const struct ledger_counts *c = &job->block.counts;
    switch (verdict) {
    case BLOCK_STORED:
        s->blocks++;
        s->losses += job->block.lost;
        s->redated += job->redated;
        s->events += c->events;
        s->stored += c->stored;
        s->duplicate += c->duplicate;
        for (int i = 0; i < DROP_COUNT; i++)
            s->dropped[i] += c->dropped[i];
        break;
    case BLOCK_REPEAT:
        s->repeats++;
        break;
    case BLOCK_FORK:
        s->forks++;
        break;
    case BLOCK_REFUSED:
        s->refused++;
        if (job->block.refused) { /* now, for the first time */
            s->events += c->events;
            s->dropped[DROP_REFUSED] += c->dropped[DROP_REFUSED];
        }
        break;
    case BLOCK_RETRY:
        s->retries++;
        break;
    }
}

/* Books the verdict; the last one of its batch ends the batch. */
static void finish_job(struct intake *intake, struct intake_job *job, enum block_verdict verdict)
{
    struct intake_batch *batch = job->batch;
    bool last = --batch->left == 0;
    batch->verdicts[job->index] = verdict;
    if (verdict != BLOCK_RETRY)
        pl_histogram_note(&intake->writer.block_us, &pl_histogram_times,
                          pl_elapsed_us() - batch->taken_us);
    free(job->entries);
    pl_buf_wipe(&job->arena);
    pl_buf_release(&job->said);
    pl_buf_wipe(&job->links);
    pl_buf_release(&job->learned);
    pthread_mutex_lock(&intake->lock);
    count_verdict(&intake->status, job, verdict);
    intake->held_bytes -= job->held_bytes;
    if (last)
        intake->status.queued_bytes -= batch->bytes;
    pthread_cond_broadcast(&intake->moved);
    pthread_mutex_unlock(&intake->lock);
    if (!last)
        return;
    batch->lot.done(batch->lot.ctx, batch->verdicts);
    pthread_mutex_lock(&intake->lock);
    intake->in_flight[batch->epoch]--;
    pthread_cond_broadcast(&intake->moved);
    pthread_mutex_unlock(&intake->lock);
    free(batch->verdicts);
    free(batch->jobs);
    free(batch);
}

static void set_ready(struct intake *intake, bool ready, const char *reason)
{
    pthread_mutex_lock(&intake->lock);
    intake->status.ready = ready;
    pl_text_print(intake->status.reason, sizeof(intake->status.reason), "%s", reason);
    pthread_mutex_unlock(&intake->lock);
}

/* ---- one group */

static enum pl_err keep_aside(struct intake *intake, struct intake_job *job, struct pl_why *why)
{
    enum ledger_alarm_kind kind = job->verdict == BLOCK_FORK ? LEDGER_FORK : LEDGER_REFUSED;
    const char *reason = job->reason;
    if (reason[0] == '\0')
        reason = kind == LEDGER_FORK
                     ? "another block was recorded under this number: a disk or a machine of that "
                       "edge was copied, or restored while it ran"
                     : "the block does not follow the one that was recorded before it";
    enum pl_err err = ledger_quarantine(intake->config.ledger, intake->writer.batch, &job->block,
                                        kind, job->bytes, reason);
    return err == PL_OK
               ? PL_OK
               : pl_fail(why, err, "cannot keep a refused block aside: %s", pl_err_word(err));
}

/* The place of a refused block is booked, or its chain would end before it: the edge, which has
 * its verdict, sends it no more. */
static enum pl_err book_refused(struct intake *intake, struct intake_job *job)
{
    struct ledger_block *block = &job->block;
    if (!job->placed || block->number == UINT64_MAX || ledger_holds(intake->config.ledger, block))
        return PL_OK;
    block->refused = true;
    block->counts = (struct ledger_counts){.events = block->events_header};
    block->counts.dropped[DROP_REFUSED] = block->events_header;
    return ledger_stage(intake->config.ledger, block);
}

/* One that does not open may be known all the same: recorded while its key was here, or refused
 * before. */
static enum pl_err judge_refused(struct intake *intake, struct intake_job *job, struct pl_why *why)
{
    enum block_verdict known = BLOCK_REFUSED;
    enum pl_err err =
        job->placed ? ledger_check(intake->config.ledger, &job->block, &known, why) : PL_OK;
    if (known == BLOCK_REPEAT || known == BLOCK_RETRY)
        job->verdict = known;
    return err;
}

/* Before the blocks that they came in are acknowledged, and each in a write of its own: they are
 * few. Seen again with a block that is sent again, they are known. Before the block is staged, too:
 * where one cannot be recorded, its block alone has to wait. */
static enum pl_err record_choices(struct intake *intake, const struct intake_job *job,
                                  struct pl_why *why)
{
    enum pl_err err = PL_OK;
    for (size_t at = 0; at < job->said.len && err == PL_OK; at += sizeof(struct suppression)) {
        struct suppression said;
        memcpy(&said, job->said.data + at, sizeof(said));
        err = suppressions_record(intake->config.suppressions, &said, why);
    }
    return err;
}

/* What events of erased persons told of their other ids: before anybody takes them for stored. */
static enum pl_err record_learned(struct intake *intake, const struct intake_job *job,
                                  struct pl_why *why)
{
    enum pl_err err = PL_OK;
    for (size_t at = 0; at < job->learned.len && err == PL_OK;
         at += sizeof(struct erasure_learned)) {
        struct erasure_learned learned;
        memcpy(&learned, job->learned.data + at, sizeof(learned));
        err = erasures_learn(intake->config.erasures, &learned, why);
    }
    return err;
}

static enum pl_err record_said(struct intake *intake, const struct intake_job *job,
                               struct pl_why *why)
{
    enum pl_err err = record_choices(intake, job, why);
    return err == PL_OK ? record_learned(intake, job, why) : err;
}

/* What the ledger says of a block; a new one is staged, a bad one kept aside. */
static enum pl_err judge_job(struct intake *intake, struct intake_job *job, struct pl_why *why)
{
    enum pl_err err = PL_OK;
    if (job->verdict == BLOCK_RETRY)
        return pl_fail(why, PL_EAGAIN, "%s", job->reason);
    if (job->verdict == 0)
        err = ledger_check(intake->config.ledger, &job->block, &job->verdict, why);
    else
        err = judge_refused(intake, job, why);
    if (err == PL_OK && job->verdict == BLOCK_STORED)
        err = record_said(intake, job, why);
    if (err == PL_OK && job->verdict == BLOCK_STORED) {
        err = ledger_stage(intake->config.ledger, &job->block);
        job->fresh = err == PL_OK;
    }
    if (err == PL_OK && (job->verdict == BLOCK_FORK || job->verdict == BLOCK_REFUSED))
        err = keep_aside(intake, job, why);
    if (err == PL_OK && job->verdict == BLOCK_REFUSED)
        err = book_refused(intake, job);
    return err;
}

/* A block that cannot be judged must not hold up those beside it. */
static void judge(struct intake *intake)
{
    struct intake_writer *w = &intake->writer;
    for (size_t i = 0; i < w->group_count; i++) {
        struct pl_why why = {.err = PL_OK};
        enum pl_err err = judge_job(intake, w->group[i], &why);
        if (err == PL_OK)
            continue;
        w->group[i]->verdict = BLOCK_RETRY;
        pl_log(intake->config.log, PL_LOG_WARN, "intake", "a block has to wait: %s",
               why.err == PL_OK ? pl_err_word(err) : why.text);
    }
}

static enum pl_err collect_entries(struct intake_writer *w, struct pl_why *why)
{
    size_t count = 0;
    for (size_t i = 0; i < w->group_count; i++)
        count += w->group[i]->fresh ? w->group[i]->entry_count : 0;
    if (count > w->entry_room) {
        free(w->entries);
        w->entry_room = 0;
        w->entries = malloc(2 * count * sizeof(*w->entries));
        if (w->entries == NULL)
            return pl_fail(why, PL_ENOMEM, "out of memory for a group of events");
        w->entry_room = 2 * count;
    }
    w->entry_count = 0;
    for (size_t i = 0; i < w->group_count; i++)
        for (size_t j = 0; w->group[i]->fresh && j < w->group[i]->entry_count; j++)
            w->entries[w->entry_count++] = &w->group[i]->entries[j].entry;
    return PL_OK;
}

static int by_vault_key(const void *a, const void *b)
{
    const struct dedupe_entry *x = *(const struct dedupe_entry *const *)a;
    const struct dedupe_entry *y = *(const struct dedupe_entry *const *)b;
    return memcmp(x->key.bytes, y->key.bytes, VAULT_KEY_BYTES);
}

static int by_dedupe_key(const void *a, const void *b)
{
    const struct dedupe_entry *x = *(const struct dedupe_entry *const *)a;
    const struct dedupe_entry *y = *(const struct dedupe_entry *const *)b;
    int order = memcmp(x->key.bytes, y->key.bytes, 8);
    return order != 0 ? order : memcmp(x->key.bytes + 24, y->key.bytes + 24, 8);
}

/* Events in key order: those of an account's day are a run. */
static enum pl_err count_days(struct intake *intake, struct dedupe_entry *const *entries,
                              size_t count)
{
    enum pl_err err = PL_OK;
    for (size_t i = 0, run; err == PL_OK && i < count; i += run) {
        const struct vault_key *key = &entries[i]->key;
        uint64_t bytes = 0;
        for (run = 0; i + run < count && memcmp(entries[i + run]->key.bytes, key->bytes, 10) == 0;
             run++)
            bytes += VAULT_KEY_BYTES + entries[i + run]->value.len;
        err = day_counts_stored(intake->config.day_counts, intake->writer.batch,
                                vault_key_account(key), vault_key_day(key), run, bytes);
    }
    return err;
}

/* In key order: the engine finds a key's place fastest next to the one before it. */
static enum pl_err put_events(struct intake *intake)
{
    struct intake_writer *w = &intake->writer;
    struct store *store = intake->config.store;
    size_t kept = 0;
    for (size_t i = 0; i < w->entry_count; i++)
        if (!w->entries[i]->duplicate && !w->entries[i]->gone)
            w->entries[kept++] = w->entries[i];
    qsort(w->entries, kept, sizeof(*w->entries), by_vault_key);
    for (size_t i = 0; i < kept; i++)
        store_batch_put(w->batch, store, FAMILY_VAULT, vault_key_span(&w->entries[i]->key),
                        w->entries[i]->value);
    if (intake->config.day_counts != NULL) {
        enum pl_err err = count_days(intake, w->entries, kept);
        if (err != PL_OK)
            return err;
    }
    qsort(w->entries, kept, sizeof(*w->entries), by_dedupe_key);
    for (size_t i = 0; i < kept; i++) {
        uint8_t key[DEDUPE_KEY_BYTES], value[DEDUPE_VALUE_BYTES];
        if (w->entries[i]->message_id.len == 0)
            continue;
        dedupe_key_of(&w->entries[i]->key, key);
        dedupe_value_of(&w->entries[i]->key, value);
        store_batch_put(w->batch, store, FAMILY_DEDUPE, pl_span(key, sizeof(key)),
                        pl_span(value, sizeof(value)));
    }
    return PL_OK;
}

static void count_events(struct intake_job *job)
{
    struct ledger_counts *counts = &job->block.counts;
    for (size_t i = 0; i < job->entry_count; i++) {
        const struct dedupe_entry *e = &job->entries[i].entry;
        counts->dropped[DROP_DELETED] += e->gone;
        counts->duplicate += e->duplicate;
        counts->stored += !e->gone && !e->duplicate;
    }
}

static enum pl_err check_count(struct intake *intake, const struct intake_job *job)
{
    if (job->block.counts.events == job->block.events_header)
        return PL_OK;
    char reason[160];
    snprintf(reason, sizeof(reason), "the block holds %llu events, but its header says %u",
             (unsigned long long)job->block.counts.events, job->block.events_header);
    return ledger_quarantine(intake->config.ledger, intake->writer.batch, &job->block,
                             LEDGER_MISCOUNT, pl_span(NULL, 0), reason);
}

/* The day by the clock that is believed: what is dated by another one goes too early, or is passed
 * over by erasures. */
static int64_t today(const struct intake *intake)
{
    int64_t now_ms;
    if (intake->config.belief == NULL)
        return pl_day_of(pl_wall_ms(intake->config.clock));
    (void)clock_belief_now(intake->config.belief, &now_ms);
    return pl_day_of(now_ms);
}

/* Of what is stored by this write alone: a retry of an erased event must not link its person's ids
 * again. */
static enum pl_err put_links(struct intake *intake, const struct intake_job *job)
{
    struct intake_writer *w = &intake->writer;
    const int64_t day = job->links.len > 0 ? today(intake) : 0;
    enum pl_err err = PL_OK;
    for (size_t i = 0, at = 0; err == PL_OK && at < job->links.len; i++) {
        const struct intake_entry *e = &job->entries[i];
        if (e->links_len > 0 && !e->entry.duplicate && !e->entry.gone)
            err = links_put(intake->config.links, w->sealer, day,
                            pl_span(job->links.data + at, e->links_len), w->batch);
        at += e->links_len;
    }
    return err;
}

static enum pl_err write_synced(struct intake *intake, struct pl_why *why)
{
    struct intake_writer *w = &intake->writer;
    const int64_t began_us = pl_elapsed_us();
    enum pl_err err = store_write(intake->config.store, w->batch, true, why);
    pl_histogram_note(&w->sync_us, &pl_histogram_times, pl_elapsed_us() - began_us);
    return err;
}

static enum pl_err write_group(struct intake *intake, struct pl_why *why)
{
    struct intake_writer *w = &intake->writer;
    store_batch_clear(w->batch);
    judge(intake);
    enum pl_err err = collect_entries(w, why);
    if (err == PL_OK && w->entry_count > 0)
        err = dedupe_check(w->dedupe, w->entries, w->entry_count, why);
    for (size_t i = 0; err == PL_OK && i < w->group_count; i++) {
        struct intake_job *job = w->group[i];
        if (!job->fresh)
            continue;
        count_events(job);
        err = check_count(intake, job);
        if (err == PL_OK)
            err = put_links(intake, job);
    }
    if (err == PL_OK && w->entry_count > 0)
        err = put_events(intake);
    if (err == PL_OK)
        err = ledger_write(intake->config.ledger, w->batch);
    if (err == PL_OK && store_batch_bytes(w->batch) > 0)
        err = write_synced(intake, why);
    if (err == PL_OK)
        ledger_commit(intake->config.ledger);
    else if (why->err == PL_OK)
        pl_fail(why, err, "cannot record blocks: %s", pl_err_word(err));
    return err;
}

/* After a failure the ledger no longer knows what is on disk; both are put right together. */
static bool recover(struct intake *intake)
{
    struct intake_writer *w = &intake->writer;
    struct pl_why why = {.err = PL_OK};
    int64_t now_ms = pl_mono_ms(pl_clock_system());
    if (now_ms - w->tried_mono_ms < INTAKE_TICK_MS)
        return false;
    w->tried_mono_ms = now_ms;
    enum pl_err err = store_recover(intake->config.store, &why);
    if (err == PL_OK)
        err = ledger_reload(intake->config.ledger, &why);
    if (intake->config.day_counts != NULL)
        day_counts_reload(intake->config.day_counts);
    if (err != PL_OK) {
        set_ready(intake, false, why.text);
        return false;
    }
    pl_log(intake->config.log, PL_LOG_INFO, "intake", "the store takes writes again");
    set_ready(intake, true, "");
    w->failed = false;
    return true;
}

static void fail_group(struct intake *intake, const struct pl_why *why)
{
    struct intake_writer *w = &intake->writer;
    pl_log(intake->config.log, PL_LOG_ERROR, "intake",
           "blocks are sent back until the store takes writes again: %s", why->text);
    set_ready(intake, false, why->text);
    if (intake->config.links != NULL)
        links_forget(intake->config.links);
    w->failed = true;
    w->tried_mono_ms = pl_mono_ms(pl_clock_system());
}

static void finish_group(struct intake *intake, bool written)
{
    struct intake_writer *w = &intake->writer;
    pthread_mutex_lock(&intake->lock);
    intake->status.groups += written;
    pthread_mutex_unlock(&intake->lock);
    for (size_t i = 0; i < w->group_count; i++)
        finish_job(intake, w->group[i], written ? w->group[i]->verdict : BLOCK_RETRY);
    w->group_count = 0;
}

/* Moves jobs from the pending list into the group, up to a write's worth. */
static bool form_group(struct intake *intake)
{
    struct intake_writer *w = &intake->writer;
    size_t bytes = 0;
    while (w->pending != NULL && (bytes == 0 || bytes < intake->config.group_bytes)) {
        struct intake_job *job = w->pending;
        if (w->group_count == w->group_room) {
            size_t room = w->group_room == 0 ? 256 : 2 * w->group_room;
            struct intake_job **more = realloc(w->group, room * sizeof(struct intake_job *));
            if (more == NULL)
                break;
            w->group = more;
            w->group_room = room;
        }
        w->group[w->group_count++] = job;
        w->pending = job->next;
        bytes += job->arena.len + 256;
    }
    if (w->pending == NULL)
        w->pending_tail = &w->pending;
    return w->group_count > 0;
}

static void take_mail(struct intake_writer *w, int64_t timeout_ms)
{
    struct pl_mail *mail = pl_mailbox_take(&w->inbox, timeout_ms);
    while (mail != NULL) {
        struct pl_mail *next = mail->next;
        struct intake_job *job = (struct intake_job *)(void *)mail; /* its first member */
        job->next = NULL;
        *w->pending_tail = job;
        w->pending_tail = &job->next;
        mail = next;
    }
}

/* An idle writer has no write of its own to learn from that another's has failed. */
static void notice_failure(struct intake *intake)
{
    struct intake_writer *w = &intake->writer;
    struct store_usage usage;
    store_usage(intake->config.store, &usage);
    if (!usage.failed)
        return;
    w->failed = true;
    set_ready(intake, false, "the database takes no writes since one failed");
}

/* Old rows of the ledger, which is the writer's. */
static void tidy(struct intake *intake)
{
    struct intake_writer *w = &intake->writer;
    struct pl_why why = {.err = PL_OK};
    int64_t now_ms = pl_mono_ms(pl_clock_system());
    if (w->failed || (w->tidied_mono_ms != 0 && now_ms - w->tidied_mono_ms < INTAKE_TIDY_MS))
        return;
    w->tidied_mono_ms = now_ms;
    if (ledger_tidy(intake->config.ledger, &why) != PL_OK)
        pl_log(intake->config.log, PL_LOG_WARN, "intake", "%s", why.text);
}

/* Chains of the ledger that have to go on behind blocks which nobody has any more. */
static void book_losses(struct intake *intake)
{
    struct pl_why why = {.err = PL_OK};
    if (!intake->writer.failed && ledger_book_losses(intake->config.ledger, &why) != PL_OK)
        pl_log(intake->config.log, PL_LOG_WARN, "intake", "%s", why.text);
}

void *intake_writer_run(void *arg)
{
    struct intake *intake = arg;
    struct intake_writer *w = &intake->writer;
    pthread_setname_np(pthread_self(), "writer");
    for (;;) {
        bool closed = pl_mailbox_closed(&w->inbox);
        take_mail(w, w->pending != NULL || closed ? 0 : INTAKE_TICK_MS);
        vault_sealer_tidy(w->sealer);
        if (w->pending == NULL && !w->failed)
            notice_failure(intake);
        if (w->failed)
            recover(intake);
        if (w->pending == NULL && closed)
            break;
        tidy(intake);
        book_losses(intake);
        if (!form_group(intake))
            continue;
        struct pl_why why = {.err = PL_OK};
        bool written = !w->failed && write_group(intake, &why) == PL_OK;
        if (!written && !w->failed)
            fail_group(intake, &why);
        finish_group(intake, written);
    }
    return NULL;
}
