#include "edge/cutoff.h"
#include "edge/families.h"
#include "proto/base/mailbox.h"
#include "proto/base/process.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define SCANS_END_MS 2000 /* scans of the spool are short */
#define AGAIN_MS     5000 /* after a failure */
#define REST         4    /* times as long as the last one took */

enum step {
    IDLE,
    FENCING,  /* loops and committer are on their way to the cut */
    DRAINING, /* the origin has not acked all before it */
};

struct cutoff {
    struct cutoff_config config;
    pthread_t thread;
    bool started;
    struct pl_mailbox box; /* wakes the thread, nothing more */
    atomic_bool fenced;

    /* the thread's */
    enum step step;
    struct catalog_cut at;
    int64_t rest_until_ms;

    pthread_mutex_t lock; /* what follows */
    struct catalog_cut wanted;
    bool is_wanted;
    int64_t since_ms; /* monotonic, when the one under way was first wanted; 0: none is */
    char trouble[200];
};

/* ---- physically gone */

static enum pl_err purge(struct cutoff *c, struct pl_why *why)
{
    /* Greater than every key here. */
    static const uint8_t end[32] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    static const unsigned families[] = {EDGE_BLOCKS, EDGE_QUARANTINE, EDGE_CATALOG,
                                        EDGE_SUPPRESSIONS};
    struct store_range ranges[sizeof(families) / sizeof(families[0])];
    const size_t count = c->at.forgets ? 4 : 2;
    for (size_t i = 0; i < count; i++)
        ranges[i] = (struct store_range){.family = families[i],
                                         .from = PL_SPAN_LIT("\0"),
                                         .to = pl_span(end, sizeof(end)),
                                         .settle = true};
    enum pl_err err = spool_drop_kept(c->config.spool, why);
    if (err == PL_OK)
        err = store_purge(c->config.store, ranges, count, SCANS_END_MS, why);
    return err == PL_OK ? spool_settle(c->config.spool, &c->at.at, why) : err;
}

static void set_trouble(struct cutoff *c, const char *text)
{
    pthread_mutex_lock(&c->lock);
    const bool news = strcmp(text, c->trouble) != 0;
    snprintf(c->trouble, sizeof(c->trouble), "%.199s", text);
    pthread_mutex_unlock(&c->lock);
    if (news && text[0] != '\0')
        pl_log(c->config.log, PL_LOG_WARN, "cutoff",
               "what was deleted is not physically gone yet, trying again: %s", text);
}

static void finish(struct cutoff *c, int64_t took_ms)
{
    pl_log(c->config.log, PL_LOG_INFO, "cutoff",
           "nothing from before position %" PRIu64 " of the feed is left here ms=%" PRId64,
           c->at.at.position, took_ms);
    c->step = IDLE;
    c->rest_until_ms = pl_mono_ms(c->config.clock) + REST * took_ms;
    pthread_mutex_lock(&c->lock);
    if (!c->is_wanted)
        c->since_ms = 0;
    pthread_mutex_unlock(&c->lock);
}

/* ---- the thread */

static bool take_wanted(struct cutoff *c)
{
    pthread_mutex_lock(&c->lock);
    const bool any = c->is_wanted;
    if (any)
        c->at = c->wanted;
    c->is_wanted = false;
    pthread_mutex_unlock(&c->lock);
    return any;
}

/* Goes as far as it can; how long to wait for more, -1: until it is woken. */
static int64_t drive(struct cutoff *c)
{
    const int64_t now_ms = pl_mono_ms(c->config.clock);
    struct pl_why why = {.err = PL_OK};
    if (now_ms < c->rest_until_ms)
        return c->rest_until_ms - now_ms;
    if (c->step == IDLE) {
        if (!take_wanted(c))
            return -1;
        c->step = FENCING;
        atomic_store(&c->fenced, false);
        collector_fence(c->config.collector, c->at.serial);
    }
    if (c->step == FENCING && atomic_load(&c->fenced))
        c->step = DRAINING;
    if (c->step != DRAINING || !spool_is_past_cut(c->config.spool))
        return -1;
    const enum pl_err err = purge(c, &why);
    set_trouble(c, err == PL_OK ? "" : why.text);
    if (err != PL_OK)
        return AGAIN_MS;
    finish(c, pl_mono_ms(c->config.clock) - now_ms);
    return 0;
}

static void *run(void *arg)
{
    struct cutoff *c = arg;
    int64_t wait_ms = 0;
    pl_process_background_thread("cutoff");
    for (;;) {
        pl_mailbox_take(&c->box, wait_ms);
        if (pl_mailbox_closed(&c->box))
            return NULL;
        wait_ms = drive(c);
    }
}

/* ---- what others tell it */

void cutoff_want(struct cutoff *c, const struct catalog_cut *cut)
{
    pthread_mutex_lock(&c->lock);
    const bool forgets = cut->forgets || (c->is_wanted && c->wanted.forgets);
    c->wanted = *cut;
    c->wanted.forgets = forgets;
    c->is_wanted = true;
    if (c->since_ms == 0)
        c->since_ms = pl_mono_ms(c->config.clock);
    pthread_mutex_unlock(&c->lock);
    pl_mailbox_wake(&c->box);
}

void cutoff_fenced(struct cutoff *c)
{
    atomic_store(&c->fenced, true);
    pl_mailbox_wake(&c->box);
}

void cutoff_past(struct cutoff *c)
{
    pl_mailbox_wake(&c->box);
}

void cutoff_status(struct cutoff *c, struct cutoff_status *out)
{
    *out = (struct cutoff_status){.pending_ms = 0};
    spool_settled(c->config.spool, &out->settled);
    pthread_mutex_lock(&c->lock);
    if (c->since_ms != 0)
        out->pending_ms = pl_mono_ms(c->config.clock) - c->since_ms + 1;
    memcpy(out->trouble, c->trouble, sizeof(out->trouble));
    pthread_mutex_unlock(&c->lock);
}

/* ---- life */

/* Of what an earlier process sealed nobody knows which snapshot it knew: all of it is from before
 * the place where the feed is now, unless it was settled there already. */
static void begin(struct cutoff *c)
{
    const struct frame_settled *here = &c->config.here;
    struct frame_settled settled;
    spool_settled(c->config.spool, &settled);
    if (here->position == 0 ||
        (settled.position == here->position && pl_id128_eq(&settled.epoch, &here->epoch)))
        return;
    c->at = (struct catalog_cut){.at = *here, .forgets = true};
    (void)spool_cut(c->config.spool); /* a new spool is whole */
    c->step = DRAINING;
    c->since_ms = pl_mono_ms(c->config.clock);
}

enum pl_err cutoff_new(struct cutoff **out, const struct cutoff_config *config, struct pl_why *why)
{
    struct cutoff *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return pl_fail(why, PL_ENOMEM, "no memory for the cut-offs");
    c->config = *config;
    pl_mailbox_init(&c->box);
    pthread_mutex_init(&c->lock, NULL);
    begin(c);
    *out = c;
    return PL_OK;
}

enum pl_err cutoff_start(struct cutoff *c, struct pl_why *why)
{
    const int rc = pthread_create(&c->thread, NULL, run, c);
    if (rc != 0)
        return pl_fail(why, pl_err_from_errno(rc), "cannot start the cut-offs' thread: %s",
                       strerror(rc));
    c->started = true;
    return PL_OK;
}

void cutoff_stop(struct cutoff *c)
{
    if (c == NULL || !c->started)
        return;
    pl_mailbox_close(&c->box);
    pthread_join(c->thread, NULL);
    c->started = false;
}

void cutoff_free(struct cutoff *c)
{
    if (c == NULL)
        return;
    cutoff_stop(c);
    pl_mailbox_release(&c->box);
    pthread_mutex_destroy(&c->lock);
    free(c);
}
