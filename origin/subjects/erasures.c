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

static uint64_t position_of(const struct erasure *erasure)
{
    return erasure->position == 0 ? UINT64_MAX : erasure->position;
}

/* Intake may ask while it changes: sooner it takes an edge for one that has not settled. */
static void find_newest(struct erasures *e)
{
    uint64_t newest = 0;
    for (const struct open_erasure *o = e->open; o != NULL; o = o->next)
        if (position_of(&o->erasure) > newest)
            newest = position_of(&o->erasure);
    e->newest = newest;
}

enum pl_err erasures_guard(struct erasures *e, const struct erasure *erasure)
{
    enum pl_err err = erasure_set_put(e->set, erasure);
    if (err == PL_OK)
        find_newest(e);
    return err;
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
    if (position_of(&open->erasure) > e->newest)
        e->newest = position_of(&open->erasure);
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
    find_newest(e);
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

int64_t erasures_now_ms(const struct erasures *e)
{
    int64_t now_ms;
    if (e->config.belief == NULL)
        return pl_wall_ms(e->config.clock);
    (void)clock_belief_now(e->config.belief, &now_ms);
    return now_ms;
}

int64_t erasures_earliest_ms(const struct erasures *e)
{
    int64_t earliest_ms, latest_ms;
    if (e->config.belief == NULL)
        return pl_wall_ms(e->config.clock);
    clock_belief_range(e->config.belief, &earliest_ms, &latest_ms);
    return earliest_ms;
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
    pthread_mutex_init(&e->changing, NULL);
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
    pthread_mutex_destroy(&e->changing);
    free(e);
}

/* ---- the account's end */

void erasures_forget(struct erasures *e, uint64_t account)
{
    pthread_mutex_lock(&e->changing);
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
    pthread_mutex_unlock(&e->changing);
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

/* What a PING took to arrive makes a clock look less ahead than it is: the minute is on top. */
static int64_t margin_of(const struct erasures *e, const struct pl_id128 *edge)
{
    int64_t ahead_ms = 0;
    if (e->config.edge_ahead_ms != NULL)
        ahead_ms = e->config.edge_ahead_ms(e->config.edge_ctx, edge) +
                   (pl_wall_ms(e->config.clock) - erasures_now_ms(e));
    if (ahead_ms <= 0)
        return ERASURES_MARGIN_MS;
    return ahead_ms < ERASURES_MARGIN_MAX_MS - ERASURES_MARGIN_MS ? ahead_ms + ERASURES_MARGIN_MS
                                                                  : ERASURES_MARGIN_MAX_MS;
}

struct erasure_edge erasures_edge(const struct erasures *e, const struct pl_id128 *edge)
{
    struct cutoffs_edge at;
    if (e->config.cutoffs == NULL)
        return (struct erasure_edge){.settled = UINT64_MAX};
    if (e->newest == 0) /* one may begin meanwhile */
        return (struct erasure_edge){.margin_ms = ERASURES_MARGIN_MS};
    cutoffs_edge(e->config.cutoffs, edge, &at);
    return (struct erasure_edge){.settled = at.settled,
                                 .margin_ms = at.settled >= e->newest ? ERASURES_MARGIN_MS
                                                                      : margin_of(e, edge)};
}

bool erasures_concern(struct erasures *e, const struct event *event, const struct event_ids *ids,
                      int64_t accepted_ms, const struct erasure_edge *edge, struct erasure_hit *hit)
{
    if (!erasure_set_concerns(e->set, ids, erasures_time(event, accepted_ms), edge, hit))
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
