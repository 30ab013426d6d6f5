#include "origin/families.h"
#include "origin/subjects/erasures_state.h"

#include <stdlib.h>
#include <time.h>

#define TICK_MS 1000

/* ---- the list of those that are open */

struct open_erasure *erasures_find(struct erasures *e, uint64_t account, const struct pl_id128 *id)
{
    for (struct open_erasure *o = e->open; o != NULL; o = o->next)
        if (o->erasure.account == account && pl_id128_eq(&o->erasure.id, id) && !o->forgotten)
            return o;
    return NULL;
}

enum pl_err erasures_add(struct erasures *e, struct erasure *erasure, struct open_erasure **out)
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

void erasures_drop(struct erasures *e, struct open_erasure *open)
{
    struct open_erasure **at = &e->open;
    while (*at != open)
        at = &(*at)->next;
    *at = open->next;
    erasure_release(&open->erasure);
    free(open);
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

/* ---- life */

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
        else if ((err = erasures_add(e, &erasure, &open)) != PL_OK)
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
    struct open_erasure *open = erasures_find(e, ids->account, &hit->erasure);
    if (open != NULL)
        open->dropped++;
    pthread_mutex_unlock(&e->lock);
    return true;
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
