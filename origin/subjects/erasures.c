#include "origin/families.h"
#include "origin/intake/dedupe.h"
#include "origin/subjects/erasures_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define TICK_MS 1000

/* ---- life */

static enum pl_err add_open(struct erasures *e, struct erasure *erasure, struct open_erasure **out)
{
    struct open_erasure *open = calloc(1, sizeof(*open));
    if (open == NULL)
        return PL_ENOMEM;
    open->erasure = *erasure;
    open->dropped = open->dropped_saved = erasure->dropped;
    enum pl_err err = erasure_set_put(e->set, &open->erasure);
    if (err != PL_OK) {
        free(open);
        return err;
    }
    open->next = e->open;
    e->open = open;
    *out = open;
    return PL_OK;
}

static enum pl_err load(struct erasures *e, struct pl_why *why)
{
    struct store_scan *scan;
    struct pl_span key, row;
    struct open_erasure *open;
    enum pl_err err =
        store_scan_new(&scan, e->config.store, FAMILY_ERASURES, pl_span(NULL, 0), pl_span(NULL, 0));
    while (err == PL_OK && (err = store_scan_next(scan, &key, &row)) == PL_OK) {
        struct erasure erasure;
        err = erasure_decode(key, row, &erasure);
        if (err != PL_OK)
            break;
        if (erasure.state == ERASURE_CLOSED)
            erasure_release(&erasure);
        else if ((err = add_open(e, &erasure, &open)) != PL_OK)
            erasure_release(&erasure);
        else
            open->whole = erasure.state != ERASURE_GONE;
    }
    store_scan_free(scan);
    if (err == PL_ENOTFOUND)
        return PL_OK;
    return pl_fail(why, err,
                   "a visitor's erasure in the database cannot be read (%s): restore a backup "
                   "(the log beside the keyring has the erasures since)",
                   pl_err_word(err));
}

static void init_condition(pthread_cond_t *condition)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &attr);
    pthread_condattr_destroy(&attr);
}

enum pl_err erasures_open(struct erasures **out, const struct erasures_config *config,
                          struct pl_why *why)
{
    struct erasures *e = calloc(1, sizeof(*e));
    if (e == NULL)
        return pl_fail(why, PL_ENOMEM, "no memory for visitors' erasures");
    e->config = *config;
    e->config.tick_ms = config->tick_ms == 0 ? TICK_MS : config->tick_ms;
    pthread_mutex_init(&e->lock, NULL);
    init_condition(&e->moved);
    pl_mailbox_init(&e->wake);
    enum pl_err err = erasure_set_new(&e->set);
    if (err == PL_OK)
        err = visitors_new(&e->visitors, config->store, config->keyring);
    if (err != PL_OK)
        pl_fail(why, err, "no memory for visitors' erasures");
    else
        err = load(e, why);
    if (err != PL_OK) {
        erasures_close(e);
        return err;
    }
    *out = e;
    return PL_OK;
}

enum pl_err erasures_start(struct erasures *e, const struct erasures_around *around,
                           struct pl_why *why)
{
    e->around = *around;
    int failed = pthread_create(&e->thread, NULL, erasures_run, e);
    if (failed != 0)
        return pl_fail(why, pl_err_from_errno(failed),
                       "the thread that erases visitors cannot be started: %s", strerror(failed));
    e->running = true;
    return PL_OK;
}

void erasures_stop(struct erasures *e)
{
    if (!e->running)
        return;
    e->stopping = true;
    pl_mailbox_close(&e->wake);
    pthread_join(e->thread, NULL);
    e->running = false;
    pthread_mutex_lock(&e->lock);
    pthread_cond_broadcast(&e->moved);
    pthread_mutex_unlock(&e->lock);
}

void erasures_close(struct erasures *e)
{
    if (e == NULL)
        return;
    while (e->open != NULL) {
        struct open_erasure *open = e->open;
        e->open = open->next;
        erasure_release(&open->erasure);
        free(open);
    }
    visitors_free(e->visitors);
    erasure_set_free(e->set);
    pl_mailbox_release(&e->wake);
    pthread_cond_destroy(&e->moved);
    pthread_mutex_destroy(&e->lock);
    free(e);
}

/* ---- rows */

static enum pl_err encode(const struct open_erasure *open, uint8_t key[ERASURE_KEY_BYTES],
                          struct pl_buf *row)
{
    erasure_key(open->erasure.account, &open->erasure.id, key);
    pl_buf_init(row, ERASURE_ROW_BYTES_MAX);
    return erasure_encode(&open->erasure, row);
}

enum pl_err erasures_save(struct erasures *e, const struct open_erasure *open, bool sync,
                          struct pl_why *why)
{
    uint8_t key[ERASURE_KEY_BYTES];
    struct pl_buf row;
    if (open->forgotten)
        return pl_fail(why, PL_ECLOSED, "its account is being deleted");
    enum pl_err err = encode(open, key, &row);
    err = err == PL_OK ? store_put(e->config.store, FAMILY_ERASURES, pl_span(key, sizeof(key)),
                                   pl_buf_span(&row), sync, why)
                       : pl_fail(why, err, "no memory for an erasure's record");
    pl_buf_release(&row);
    return err;
}

enum pl_err erasures_note(struct erasures *e, const struct erasure *erasure, struct pl_why *why)
{
    uint8_t key[ERASURE_KEY_BYTES];
    struct pl_buf row;
    if (e->config.note == NULL)
        return PL_OK;
    erasure_key(erasure->account, &erasure->id, key);
    pl_buf_init(&row, ERASURE_ROW_BYTES_MAX);
    enum pl_err err = erasure_encode(erasure, &row);
    err = err == PL_OK ? e->config.note(e->config.note_ctx, pl_span(key, sizeof(key)),
                                        pl_buf_span(&row), why)
                       : pl_fail(why, err, "no memory for an erasure's record");
    pl_buf_release(&row);
    return err;
}

enum pl_err erasures_refill(struct erasures *e)
{
    const struct erasure **list = NULL;
    size_t count = 0, i = 0;
    for (const struct open_erasure *o = e->open; o != NULL; o = o->next)
        count += !o->forgotten;
    list = calloc(count + 1, sizeof(struct erasure *));
    if (list == NULL)
        return PL_ENOMEM;
    for (const struct open_erasure *o = e->open; o != NULL; o = o->next)
        if (!o->forgotten)
            list[i++] = &o->erasure;
    enum pl_err err = erasure_set_replace(e->set, list, count);
    free(list);
    return err;
}

/* ---- beginning one */

static struct open_erasure *find(struct erasures *e, uint64_t account, const struct pl_id128 *id)
{
    for (struct open_erasure *o = e->open; o != NULL; o = o->next)
        if (o->erasure.account == account && pl_id128_eq(&o->erasure.id, id) && !o->forgotten)
            return o;
    return NULL;
}

void erasures_drop(struct erasures *e, struct open_erasure *open)
{
    struct open_erasure **at = &e->open;
    while (*at != open)
        at = &(*at)->next;
    *at = open->next;
    erasure_release(&open->erasure);
    free(open);
}

static enum pl_err copy_ids(const struct identities *from, struct identities *to)
{
    enum pl_err err = PL_OK;
    for (size_t i = 0; err == PL_OK && i < from->count; i++)
        err = identities_add(to, &from->list[i], NULL);
    return err;
}

/* The log first, so that what the database has is in it; then the row; nothing is deleted before
 * both. In memory from the beginning: what the log has may come back. With the lock held. */
static enum pl_err begin(struct erasures *e, struct erasure *erasure, struct pl_why *why)
{
    struct open_erasure *open;
    enum pl_err err = erasures_note(e, erasure, why);
    if (err != PL_OK)
        return err;
    err = add_open(e, erasure, &open);
    if (err != PL_OK)
        return pl_fail(why, err, "no memory for an erasure");
    open->fresh = true;
    err = erasures_save(e, open, true, why);
    if (err != PL_OK) {
        open->erasure.identities = (struct identities){.list = NULL};
        erasures_drop(e, open);
        (void)erasures_refill(e);
    }
    return err;
}

static struct timespec after_ms(int64_t wait_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(wait_ms / 1000);
    until.tv_nsec += (long)(wait_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    return until;
}

static bool any_erasing(const struct erasures *e)
{
    for (const struct open_erasure *o = e->open; o != NULL; o = o->next)
        if (!o->forgotten && o->erasure.state == ERASURE_ERASING)
            return true;
    return false;
}

bool erasures_wait(struct erasures *e, int64_t wait_ms)
{
    const struct timespec until = after_ms(wait_ms);
    pthread_mutex_lock(&e->lock);
    bool left;
    while ((left = any_erasing(e)) && !e->stopping &&
           pthread_cond_timedwait(&e->moved, &e->lock, &until) == 0)
        ;
    pthread_mutex_unlock(&e->lock);
    return !left;
}

/* With the lock held. */
static void wait_until_erased(struct erasures *e, uint64_t account, const struct pl_id128 *id,
                              int64_t wait_ms)
{
    const struct timespec until = after_ms(wait_ms);
    for (;;) {
        const struct open_erasure *open = find(e, account, id);
        if (open == NULL || open->erasure.state != ERASURE_ERASING || e->stopping ||
            pthread_cond_timedwait(&e->moved, &e->lock, &until) != 0)
            return;
    }
}

enum pl_err erasures_erase(struct erasures *e, uint64_t account,
                           const struct identities *identities, bool alone, int64_t wait_ms,
                           struct pl_id128 *id, struct pl_why *why)
{
    struct erasure erasure = {.account = account, .state = ERASURE_ERASING, .alone = alone};
    enum pl_err err = pl_id128_random(e->config.random, &erasure.id);
    if (err == PL_OK)
        err = copy_ids(identities, &erasure.identities);
    if (err != PL_OK) {
        erasure_release(&erasure);
        return pl_fail(why, err, "an erasure cannot be begun: %s", pl_err_word(err));
    }
    erasure_count_ids(&erasure);
    const struct pl_id128 made = erasure.id;
    pthread_mutex_lock(&e->lock);
    erasure.at_ms = pl_wall_ms(e->config.clock);
    err = begin(e, &erasure, why);
    if (err != PL_OK) {
        erasure_release(&erasure);
    } else {
        pl_mailbox_wake(&e->wake);
        wait_until_erased(e, account, &made, wait_ms);
    }
    pthread_mutex_unlock(&e->lock);
    if (err == PL_OK)
        *id = made;
    return err;
}

/* ---- more ids */

/* The erasure's ids with those that are new; *any: there are some. */
static enum pl_err with_more(const struct erasure *erasure, const struct identities *more,
                             struct identities *all, bool *any)
{
    enum pl_err err = copy_ids(&erasure->identities, all);
    *any = false;
    for (size_t i = 0; err == PL_OK && i < more->count; i++) {
        bool news;
        err = identities_add(all, &more->list[i], &news);
        *any |= news;
    }
    return err;
}

/* Durably, or not at all: who failed to and tries again must find them new once more. */
enum pl_err erasures_extend(struct erasures *e, struct open_erasure *open,
                            const struct identities *more, bool noted, struct pl_why *why)
{
    struct identities all = {.list = NULL};
    struct erasure before = open->erasure;
    bool any;
    enum pl_err err = with_more(&before, more, &all, &any);
    if (err == PL_ELIMIT) { /* of one person there are not so many: the rest is somebody else's */
        pl_log(e->config.log, PL_LOG_WARN, "erasures",
               "an erasure has reached %d ids; it goes no further", IDENTITIES_MAX);
        err = PL_OK;
    }
    if (err != PL_OK || !any) {
        identities_release(&all);
        return err;
    }
    open->erasure.identities = all;
    open->erasure.state = ERASURE_ERASING;
    open->erasure.gone_ms = 0;
    open->again = true;
    erasure_count_ids(&open->erasure);
    if (!noted)
        err = erasures_note(e, &open->erasure, why);
    if (err == PL_OK)
        err = erasures_save(e, open, true, why);
    if (err == PL_OK)
        err = erasure_set_put(e->set, &open->erasure);
    if (err != PL_OK)
        open->erasure = before;
    identities_release(err == PL_OK ? &before.identities : &all);
    return err;
}

enum pl_err erasures_learn(struct erasures *e, const struct erasure_learned *learned,
                           struct pl_why *why)
{
    struct identity one = learned->identity;
    const struct identities more = {.list = &one, .count = 1};
    pthread_mutex_lock(&e->lock);
    struct open_erasure *open = find(e, learned->account, &learned->erasure);
    enum pl_err err =
        open == NULL || open->erasure.alone ? PL_OK : erasures_extend(e, open, &more, false, why);
    pthread_mutex_unlock(&e->lock);
    if (err != PL_OK)
        return pl_fail(why, err, "an erasure cannot be extended: %s", pl_err_word(err));
    pl_mailbox_wake(&e->wake);
    return PL_OK;
}

/* ---- after a restore */

/* With the lock held. */
static enum pl_err take_up(struct erasures *e, struct erasure *erasure, struct pl_why *why)
{
    struct open_erasure *open;
    uint8_t key[ERASURE_KEY_BYTES];
    struct pl_buf row;
    erasure_key(erasure->account, &erasure->id, key);
    pl_buf_init(&row, ERASURE_ROW_BYTES_MAX);
    enum pl_err err = store_get(e->config.store, FAMILY_ERASURES, pl_span(key, sizeof(key)), &row);
    pl_buf_release(&row);
    if (err == PL_OK) /* closed since */
        return PL_EEXISTS;
    if (err != PL_ENOTFOUND)
        return pl_fail(why, err, "the erasures cannot be read: %s", pl_err_word(err));
    *erasure = (struct erasure){.account = erasure->account,
                                .id = erasure->id,
                                .state = ERASURE_ERASING,
                                .alone = erasure->alone,
                                .at_ms = erasure->at_ms,
                                .identities = erasure->identities};
    erasure_count_ids(erasure);
    err = add_open(e, erasure, &open);
    if (err != PL_OK)
        return pl_fail(why, err, "no memory for an erasure");
    erasure->identities = (struct identities){.list = NULL};
    return erasures_save(e, open, true, why);
}

enum pl_err erasures_replay(struct erasures *e, struct pl_span key, struct pl_span row,
                            struct pl_why *why)
{
    struct erasure erasure;
    enum pl_err err = erasure_decode(key, row, &erasure);
    if (err != PL_OK)
        return pl_fail(why, err, "an erasure in the log cannot be read: %s", pl_err_word(err));
    pthread_mutex_lock(&e->lock);
    struct open_erasure *open = find(e, erasure.account, &erasure.id);
    err = open == NULL ? take_up(e, &erasure, why)
                       : erasures_extend(e, open, &erasure.identities, true, why);
    pthread_mutex_unlock(&e->lock);
    erasure_release(&erasure);
    return err == PL_EEXISTS ? PL_OK : err;
}

/* ---- the account's end */

void erasures_forget(struct erasures *e, uint64_t account)
{
    pthread_mutex_lock(&e->lock);
    for (struct open_erasure *o = e->open, *next; o != NULL; o = next) {
        next = o->next;
        if (o->erasure.account != account)
            continue;
        o->forgotten = true;
        if (o != e->in_hand)
            erasures_drop(e, o);
    }
    (void)erasures_refill(e);
    pthread_cond_broadcast(&e->moved);
    pthread_mutex_unlock(&e->lock);
}

/* ---- intake */

bool erasures_any(const struct erasures *e, uint64_t account)
{
    return erasure_set_any(e->set, account);
}

/* What the client says is put on the edge's clock where that could be done. */
int64_t erasures_time(const struct event *event, int64_t accepted_ms)
{
    const enum event_field field =
        event_has(event, EVENT_CORRECTED_MS) ? EVENT_CORRECTED_MS : EVENT_CLIENT_MS;
    if (!event_has(event, field) || event_i64(event, field) > accepted_ms)
        return accepted_ms;
    return event_i64(event, field);
}

bool erasures_concern(struct erasures *e, const struct event *event, const struct event_ids *ids,
                      int64_t accepted_ms, struct erasure_hit *hit)
{
    if (!erasure_set_concerns(e->set, ids, erasures_time(event, accepted_ms), hit))
        return false;
    pthread_mutex_lock(&e->lock);
    struct open_erasure *open = find(e, ids->account, &hit->erasure);
    if (open != NULL)
        open->dropped++;
    pthread_mutex_unlock(&e->lock);
    return true;
}

/* ---- receipts */

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
    json_write_key(w, "kept");
    json_write_array(w);
    json_write_text(w,
                    "opt-outs: the keyed hash of an id each; they are what keeps the visitor out");
    if (erasure->state != ERASURE_CLOSED) {
        json_write_text(w, "keyed hashes of the visitor's ids, until the guard is lifted: they are "
                           "what late events are told by");
        json_write_text(w, "keyed hashes of message ids, until the guard is lifted: they are what "
                           "retries are told by");
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
    const struct open_erasure *open = find(e, account, id);
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

/* ---- probes */

void erasures_status(struct erasures *e, struct erasures_status *out)
{
    *out = (struct erasures_status){.open = 0};
    pthread_mutex_lock(&e->lock);
    for (const struct open_erasure *o = e->open; o != NULL; o = o->next) {
        const struct erasure *erasure = &o->erasure;
        out->open++;
        if (erasure->state >= ERASURE_GONE)
            continue;
        out->unfinished++;
        if (out->oldest_unfinished_ms == 0 || erasure->at_ms < out->oldest_unfinished_ms)
            out->oldest_unfinished_ms = erasure->at_ms;
    }
    memcpy(out->trouble, e->trouble, sizeof(out->trouble));
    pthread_mutex_unlock(&e->lock);
}
