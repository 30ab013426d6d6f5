#include "edge/collector_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#define TICK_US 1000000
/* A sender that is woken for every block sends every block alone; under load it gets a few at a
 * time instead, this much later. */
#define WAKE_US 5000
/* Where the last round answered many, their next requests come in a burst: a round begun at its
 * first one would commit a handful and leave the rest to pay for another fsync. */
#define BURST_REQUESTS 16
#define GATHER_US      600

/* ---- rounds */

static void set_failure(struct collector *c, enum pl_err err, const struct pl_why *why)
{
    pthread_mutex_lock(&c->lock);
    const enum pl_err before = c->failure.err;
    if (err == PL_OK)
        c->failure = (struct pl_why){0};
    else
        c->failure = *why;
    c->failure.err = err;
    c->stats.recoveries += err == PL_OK && before != PL_OK;
    atomic_store(&c->refusing, err != PL_OK);
    pthread_mutex_unlock(&c->lock);
    if (err != PL_OK && before == PL_OK)
        pl_log(c->config.log, PL_LOG_ERROR, "collector", "collecting stops: %s", why->text);
    else if (err == PL_OK && before != PL_OK)
        pl_log(c->config.log, PL_LOG_INFO, "collector", "collecting again");
}

static void count_round(struct collector *c, enum pl_err err, uint64_t requests, int64_t us)
{
    pthread_mutex_lock(&c->lock);
    c->stats.rounds++;
    c->stats.commit_us += us > 0 ? (uint64_t)us : 0;
    if (err != PL_OK) {
        c->stats.failed_rounds++;
    } else {
        c->stats.requests += requests;
        c->stats.events += c->round.events;
        c->stats.blocks += c->round.blocks;
        c->stats.plain_bytes += c->round.plain_bytes;
        c->stats.block_bytes += c->round.block_bytes;
    }
    pthread_mutex_unlock(&c->lock);
}

static uint64_t take_all(struct collector *c, bool *any)
{
    uint64_t requests = 0;
    *any = false;
    c->passed = UINT64_MAX;
    atomic_store(&c->pending, false);
    for (unsigned i = 0; i < c->config.lanes; i++) {
        uint64_t passed;
        c->took[i] = lane_take(&c->lanes[i], &c->fills[i], &passed);
        c->passed = passed < c->passed ? passed : c->passed;
        *any |= c->took[i];
        if (c->took[i])
            requests += c->fills[i].tickets.count;
    }
    return requests;
}

static void return_all(struct collector *c, enum pl_err err)
{
    for (unsigned i = 0; i < c->config.lanes; i++) {
        if (!c->took[i])
            continue;
        lane_return(&c->lanes[i], &c->fills[i], err);
        lane_fill_reset(&c->fills[i]);
    }
}

/* False when there was nothing to do. */
static bool round_of_work(struct collector *c)
{
    bool any;
    struct pl_why why = {0};
    const uint64_t requests = take_all(c, &any);
    c->last_requests = requests;
    if (!any)
        return false;
    enum pl_err err = collector_health(c, &why);
    if (err == PL_OK) {
        const int64_t began_us = pl_elapsed_us();
        err = collector_commit(c, &why);
        count_round(c, err, requests, pl_elapsed_us() - began_us);
        if (err != PL_OK)
            set_failure(c, err, &why);
    }
    return_all(c, err);
    c->unwoken |= err == PL_OK;
    return true;
}

static enum pl_err check_key(struct collector *c, struct pl_why *why)
{
    pthread_mutex_lock(&c->lock);
    const bool keyed = c->keyed;
    pthread_mutex_unlock(&c->lock);
    return keyed ? PL_OK
                 : pl_fail(why, PL_ECLOSED,
                           "the origin has not told this edge yet which key to seal for");
}

/* Once a second: is what failed working again, is what works about to fail; and an epoch's key
 * must not outlive its time only because nobody sends. */
static void tick(struct collector *c)
{
    struct pl_why why = {0};
    block_sealer_tick(c->sealer);
    enum pl_err err = spool_recover(c->config.spool, &why);
    if (err == PL_OK)
        spool_tidy(c->config.spool);
    if (err == PL_OK)
        err = check_key(c, &why);
    if (err == PL_OK)
        err = spool_room(c->config.spool, COLLECTOR_BLOCK_BYTES, &why);
    set_failure(c, err, &why);
}

/* False while the sealer would go on with the old one. */
static bool take_new_key(struct collector *c)
{
    pthread_mutex_lock(&c->lock);
    if (c->key_changed && block_sealer_set_origin(c->sealer, c->origin_public) == PL_OK)
        c->key_changed = false;
    const bool taken = !c->key_changed;
    pthread_mutex_unlock(&c->lock);
    return taken;
}

/* After a round: what the lanes held when they had passed the fence is in the spool now. */
static void cut_at_fence(struct collector *c)
{
    const uint64_t fence = atomic_load(&c->fence);
    if (fence == 0 || c->passed < fence || !take_new_key(c) || !spool_cut(c->config.spool))
        return;
    atomic_store(&c->fence, 0);
    if (c->config.fenced != NULL)
        c->config.fenced(c->config.durable_ctx);
}

static void wait_for_work(struct collector *c, int64_t until_us)
{
    const struct timespec until = {.tv_sec = (time_t)(until_us / 1000000),
                                   .tv_nsec = (long)(until_us % 1000000) * 1000};
    int rc = 0;
    pthread_mutex_lock(&c->lock);
    while (!atomic_load(&c->pending) && !c->stop && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&c->wake, &c->lock, &until);
    pthread_mutex_unlock(&c->lock);
}

static bool stopping(struct collector *c)
{
    pthread_mutex_lock(&c->lock);
    bool stop = c->stop;
    pthread_mutex_unlock(&c->lock);
    return stop;
}

static void gather(struct collector *c)
{
    if (c->last_requests < BURST_REQUESTS || !atomic_load(&c->pending))
        return;
    const int64_t until_us = pl_elapsed_us() + GATHER_US;
    const struct timespec until = {.tv_sec = (time_t)(until_us / 1000000),
                                   .tv_nsec = (long)(until_us % 1000000) * 1000};
    int rc = 0;
    pthread_mutex_lock(&c->lock);
    while (!c->stop && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&c->wake, &c->lock, &until);
    pthread_mutex_unlock(&c->lock);
}

static void tell_durable(struct collector *c, int64_t now_us)
{
    c->unwoken = false;
    c->woken_us = now_us;
    c->config.durable(c->config.durable_ctx);
}

static void *committer(void *arg)
{
    struct collector *c = arg;
    int64_t now_us = pl_elapsed_us(), tick_us = now_us + TICK_US;
    pthread_setname_np(pthread_self(), "committer");
    for (;;) {
        const int64_t wake_us = c->woken_us + WAKE_US;
        wait_for_work(c, c->unwoken && wake_us < tick_us ? wake_us : tick_us);
        now_us = pl_elapsed_us();
        if (now_us >= tick_us) {
            tick(c);
            tick_us = now_us + TICK_US;
        }
        gather(c);
        (void)take_new_key(c);
        const bool stop = stopping(c);
        const bool worked = round_of_work(c);
        cut_at_fence(c);
        now_us = pl_elapsed_us();
        if (c->unwoken && (stop || now_us >= c->woken_us + WAKE_US))
            tell_durable(c, now_us);
        if (stop && !worked)
            return NULL;
    }
}

/* ---- the loops' side */

void collector_lane_open(struct collector *c, unsigned lane, struct http_loop *loop)
{
    pthread_mutex_lock(&c->lanes[lane].lock);
    c->lanes[lane].loop = loop;
    pthread_mutex_unlock(&c->lanes[lane].lock);
}

void collector_lane_close(struct collector *c, unsigned lane)
{
    lane_close(&c->lanes[lane]);
}

static void wake(struct collector *c)
{
    if (atomic_exchange(&c->pending, true))
        return;
    pthread_mutex_lock(&c->lock);
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->lock);
}

enum pl_err collector_submit(struct collector *c, unsigned lane_index,
                             const struct collector_events *events, struct collector_ticket *ticket)
{
    struct lane *lane = &c->lanes[lane_index];
    if (atomic_load_explicit(&c->refusing, memory_order_relaxed)) {
        enum pl_err err = collector_health(c, NULL);
        if (err != PL_OK)
            return err;
    }
    pthread_mutex_lock(&lane->lock);
    enum pl_err err = lane_fill_add(&lane->active, events);
    if (err == PL_OK)
        ticket_list_add(&lane->active.tickets, ticket);
    pthread_mutex_unlock(&lane->lock);
    if (err == PL_OK)
        wake(c);
    return err;
}

void collector_pass(struct collector *c, unsigned lane_index, uint64_t serial)
{
    struct lane *lane = &c->lanes[lane_index];
    pthread_mutex_lock(&lane->lock);
    lane->passed = serial;
    pthread_mutex_unlock(&lane->lock);
    if (atomic_load(&c->fence) != 0)
        wake(c);
}

/* ---- everybody's */

void collector_fence(struct collector *c, uint64_t serial)
{
    atomic_store(&c->fence, serial);
    wake(c);
}

void collector_set_origin(struct collector *c, const uint8_t origin_public[PL_X25519_BYTES])
{
    pthread_mutex_lock(&c->lock);
    memcpy(c->origin_public, origin_public, sizeof(c->origin_public));
    c->key_changed = true;
    if (!c->keyed && c->failure.err == PL_ECLOSED)
        c->failure = (struct pl_why){0};
    c->keyed = true;
    atomic_store(&c->refusing, c->failure.err != PL_OK);
    pthread_mutex_unlock(&c->lock);
}

enum pl_err collector_health(struct collector *c, struct pl_why *why)
{
    pthread_mutex_lock(&c->lock);
    const enum pl_err err = c->failure.err;
    if (err != PL_OK && why != NULL)
        *why = c->failure;
    pthread_mutex_unlock(&c->lock);
    return err;
}

void collector_stats(struct collector *c, struct collector_stats *out)
{
    pthread_mutex_lock(&c->lock);
    *out = c->stats;
    pthread_mutex_unlock(&c->lock);
}

/* ---- life */

static enum pl_err init_lanes(struct collector *c)
{
    const size_t count = c->config.lanes;
    c->lanes = aligned_alloc(_Alignof(struct lane), count * sizeof(*c->lanes));
    c->fills = calloc(count, sizeof(*c->fills));
    c->took = calloc(count, sizeof(*c->took));
    if (c->lanes == NULL || c->fills == NULL || c->took == NULL) {
        free(c->lanes);
        c->lanes = NULL;
        return PL_ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        lane_init(&c->lanes[i], c->config.lane_bytes, c->config.done);
        lane_fill_init(&c->fills[i], c->config.lane_bytes);
    }
    return PL_OK;
}

enum pl_err collector_new(struct collector **out, const struct collector_config *config,
                          struct pl_why *why)
{
    struct collector *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return pl_fail(why, PL_ENOMEM, "no memory for the collector");
    c->config = *config;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&c->wake, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&c->lock, NULL);
    pl_buf_init(&c->plain, COLLECTOR_BLOCK_BYTES);
    pl_buf_init(&c->block, LIMIT_BLOCK_BYTES);
    struct block_sealer_config sealer = config->sealer;
    c->keyed = sealer.origin_public != NULL;
    if (!c->keyed) {
        sealer.origin_public = c->origin_public; /* zeros: replaced before the first seal */
        atomic_store(&c->refusing, check_key(c, &c->failure) != PL_OK);
    }
    enum pl_err err = init_lanes(c);
    if (err == PL_OK)
        err = block_sealer_new(&c->sealer, &sealer);
    if (err != PL_OK) {
        collector_free(c);
        return pl_fail(why, err, "cannot set up the collector: %s", pl_err_word(err));
    }
    /* The copies are made; the keys must not be reached through here. */
    c->config.sealer = (struct block_sealer_config){0};
    *out = c;
    return PL_OK;
}

enum pl_err collector_start(struct collector *c, struct pl_why *why)
{
    int rc = pthread_create(&c->thread, NULL, committer, c);
    if (rc != 0)
        return pl_fail(why, pl_err_from_errno(rc), "cannot start the committer thread: %s",
                       strerror(rc));
    c->started = true;
    return PL_OK;
}

void collector_stop(struct collector *c)
{
    if (!c->started)
        return;
    pthread_mutex_lock(&c->lock);
    c->stop = true;
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->lock);
    pthread_join(c->thread, NULL);
    c->started = false;
}

void collector_free(struct collector *c)
{
    if (c == NULL)
        return;
    for (unsigned i = 0; c->lanes != NULL && i < c->config.lanes; i++) {
        lane_release(&c->lanes[i]);
        lane_fill_release(&c->fills[i]);
    }
    free(c->lanes);
    free(c->fills);
    free(c->took);
    block_sealer_free(c->sealer);
    pl_buf_release(&c->plain);
    pl_buf_release(&c->block);
    pthread_cond_destroy(&c->wake);
    pthread_mutex_destroy(&c->lock);
    free(c);
}
