/* The thread behind erasures: deletes, and sees to the rest. */
#include "origin/accounts/holds.h"
#include "origin/intake/intake.h"
#include "origin/subjects/eraser_slice.h"
#include "proto/base/process.h"
#include "proto/base/text.h"

/* ---- one erasure */

static void settle_intake(const struct erasures *e)
{
    if (e->around.intake != NULL)
        intake_settle(e->around.intake);
}

static enum pl_err announce(struct erasures *e, struct open_erasure *open, struct pl_why *why)
{
    uint64_t position;
    if (open->erasure.position != 0 || e->config.cutoffs == NULL)
        return PL_OK;
    enum pl_err err = cutoffs_announce(e->config.cutoffs, &position, why);
    if (err != PL_OK)
        return err;
    pthread_mutex_lock(&e->changing);
    struct erasure next = open->erasure;
    next.position = position;
    err = erasures_become(e, open, &next, true, why);
    pthread_mutex_lock(&e->lock);
    if (err == PL_OK)
        err = erasures_guard(e, &next);
    pthread_mutex_unlock(&e->lock);
    pthread_mutex_unlock(&e->changing);
    return err;
}

/* Adds what the links say by now, which is durable before anything goes by it. */
static enum pl_err expand(struct erasures *e, struct open_erasure *open, struct identities *ids,
                          struct pl_why *why)
{
    enum pl_err err =
        visitors_expand(e->visitors, open->erasure.account, !open->erasure.alone, ids);
    if (err != PL_OK && err != PL_ELIMIT)
        return err;
    pthread_mutex_lock(&e->changing);
    err = erasures_extend(e, open, ids, why);
    pthread_mutex_unlock(&e->changing);
    return err;
}

static enum pl_err copy_ids(struct erasures *e, struct open_erasure *open, struct identities *out)
{
    enum pl_err err = PL_OK;
    pthread_mutex_lock(&e->lock);
    open->again = false;
    for (size_t i = 0; err == PL_OK && i < open->erasure.identities.count; i++)
        err = identities_add(out, &open->erasure.identities.list[i], NULL);
    pthread_mutex_unlock(&e->lock);
    return err;
}

/* Everything that is stored. What was taken before the guard stood is written first; links go
 * before events, so that an event which relied on a link that is gone goes with it. */
static enum pl_err erase_once(struct erasures *e, struct open_erasure *open, struct slice *s,
                              struct pl_why *why)
{
    struct identities ids = {.list = NULL};
    enum pl_err err = announce(e, open, why);
    if (err == PL_OK)
        err = copy_ids(e, open, &ids);
    settle_intake(e);
    slice_ask_holds(s);
    if (err == PL_OK)
        err = expand(e, open, &ids, why);
    if (err == PL_OK)
        err = slice_erase_links(s, &ids, why);
    settle_intake(e);
    if (err == PL_OK)
        err = slice_erase_events(s, &ids, why);
    identities_release(&ids);
    return err;
}

/* PL_EAGAIN: more ids came meanwhile. */
static enum pl_err finish(struct erasures *e, struct open_erasure *open,
                          const struct slice_held *held, struct pl_why *why)
{
    enum pl_err err = PL_EAGAIN;
    pthread_mutex_lock(&e->changing);
    if (!open->again) {
        struct erasure next = open->erasure;
        const bool nothing = next.events + next.links + next.messages == 0;
        const int64_t now_ms = erasures_now_ms(e);
        next.erased_ms = next.erased_ms == 0 ? now_ms : next.erased_ms;
        next.state = nothing ? ERASURE_GONE : ERASURE_ERASED;
        next.gone_ms = nothing ? now_ms : 0;
        next.held_events = held->events;
        next.held_links = held->links;
        err = erasures_become(e, open, &next, true, why);
        open->fresh = open->fresh && err != PL_OK;
        open->held_by = held->by;
    }
    pthread_mutex_unlock(&e->changing);
    return err;
}

static enum pl_err erase(struct erasures *e, struct open_erasure *open, struct pl_why *why)
{
    struct slice *s = NULL;
    /* Which edge an event came by is not stored, and its clock may have been ahead. */
    const int64_t until_ms = open->fresh ? INT64_MAX : open->erasure.at_ms + ERASURES_MARGIN_MS;
    enum pl_err err = slice_new(&s, e, open, until_ms);
    if (err != PL_OK)
        return pl_fail(why, err, "no memory to erase a visitor");
    do {
        err = erase_once(e, open, s, why);
        const struct slice_held held = slice_held(s);
        if (err == PL_OK)
            err = finish(e, open, &held, why);
    } while (err == PL_EAGAIN && !e->stopping);
    slice_free(s);
    return err;
}

/* ---- the thread's round */

void erasures_trouble(struct erasures *e, enum pl_err err, const struct pl_why *why)
{
    pthread_mutex_lock(&e->lock);
    const bool news = e->trouble[0] == '\0';
    pl_text_print(e->trouble, sizeof(e->trouble), "%s",
                  why->text[0] == '\0' ? pl_err_word(err) : why->text);
    pthread_mutex_unlock(&e->lock);
    if (news)
        pl_log(e->config.log, PL_LOG_WARN, "erasures",
               "a visitor's erasure waits; it is tried again every second: %s",
               why->text[0] == '\0' ? pl_err_word(err) : why->text);
}

/* The next that this round has not tried; it is in hand until let_go. */
struct open_erasure *erasures_take(struct erasures *e, enum erasure_state state)
{
    pthread_mutex_lock(&e->lock);
    struct open_erasure *open = e->open;
    while (open != NULL &&
           (open->erasure.state != state || open->tried == e->tick || open->forgotten))
        open = open->next;
    if (open != NULL)
        open->tried = e->tick;
    e->in_hand = open;
    pthread_mutex_unlock(&e->lock);
    return open;
}

void erasures_let_go(struct erasures *e)
{
    pthread_mutex_lock(&e->changing);
    pthread_mutex_lock(&e->lock);
    if (e->in_hand != NULL && e->in_hand->forgotten) {
        erasures_drop(e, e->in_hand);
        (void)erasures_refill(e);
    }
    e->in_hand = NULL;
    pthread_mutex_unlock(&e->lock);
    pthread_mutex_unlock(&e->changing);
}

/* Its account's end has come in between: lifecycle sees to the rest. */
bool erasures_is_over(enum pl_err err)
{
    return err == PL_EEXPIRED || err == PL_ECLOSED;
}

static bool erase_all(struct erasures *e)
{
    bool well = true;
    struct open_erasure *open;
    while (!e->stopping && (open = erasures_take(e, ERASURE_ERASING)) != NULL) {
        struct pl_why why = {.err = PL_OK};
        enum pl_err err = erase(e, open, &why);
        if (err != PL_OK && !erasures_is_over(err)) {
            erasures_trouble(e, err, &why);
            well = false;
        }
        erasures_let_go(e);
    }
    return well;
}

/* What a hold keeps goes when it ends. */
static void look_at_holds(struct erasures *e)
{
    pthread_mutex_lock(&e->changing);
    pthread_mutex_lock(&e->lock);
    for (struct open_erasure *o = e->open; o != NULL; o = o->next)
        if (erasure_is_held(&o->erasure) && holds_standing(e->config.holds, o->erasure.account,
                                                           erasures_earliest_ms(e)) != o->held_by) {
            o->erasure.state = ERASURE_ERASING;
            o->erasure.gone_ms = 0;
        }
    pthread_mutex_unlock(&e->lock);
    pthread_mutex_unlock(&e->changing);
}

void erasures_tick(struct erasures *e)
{
    e->tick++;
    visitors_tidy(e->visitors);
    look_at_holds(e);
    bool well = erase_all(e);
    well = erasures_settle(e) && well;
    well = erasures_lift(e) && well;
    if (!well)
        return;
    pthread_mutex_lock(&e->lock);
    e->trouble[0] = '\0';
    pthread_mutex_unlock(&e->lock);
}

void *erasures_run(void *arg)
{
    struct erasures *e = arg;
    pl_process_background_thread("eraser");
    while (!pl_mailbox_closed(&e->wake)) {
        erasures_tick(e);
        pl_mailbox_take(&e->wake, e->config.tick_ms);
    }
    return NULL;
}
