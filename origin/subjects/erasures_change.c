/* What changes an erasure: its beginning, ids that are learnt later, its replay after a restore. */
#include "origin/families.h"
#include "origin/subjects/erasures_state.h"

#include <time.h>

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

/* ---- beginning one */

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
    err = erasures_add(e, erasure, &open);
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
        const struct open_erasure *open = erasures_find(e, account, id);
        if (open == NULL || open->erasure.state != ERASURE_ERASING || e->stopping ||
            pthread_cond_timedwait(&e->moved, &e->lock, &until) != 0)
            return;
    }
}

/* Of a clock that jumped while this process ran the right time is known. Since a restart it is not:
 * what edges have collected meanwhile would pass for later than the erasure, or what is to come for
 * earlier. */
static enum pl_err check_clock(const struct erasures *e, struct pl_why *why)
{
    int64_t now_ms;
    if (e->config.belief == NULL || clock_belief_now(e->config.belief, &now_ms))
        return PL_OK;
    return pl_fail(why, PL_EAGAIN,
                   "the clock is in doubt since this origin was started, and with it up to when to "
                   "erase: ask again once it is believed (polderctl lifecycle confirm-clock)");
}

enum pl_err erasures_erase(struct erasures *e, uint64_t account,
                           const struct identities *identities, bool alone, int64_t wait_ms,
                           struct pl_id128 *id, struct pl_why *why)
{
    struct erasure erasure = {.account = account, .state = ERASURE_ERASING, .alone = alone};
    enum pl_err err = check_clock(e, why);
    if (err != PL_OK)
        return err;
    err = pl_id128_random(e->config.random, &erasure.id);
    if (err == PL_OK)
        err = copy_ids(identities, &erasure.identities);
    if (err != PL_OK) {
        erasure_release(&erasure);
        return pl_fail(why, err, "an erasure cannot be begun: %s", pl_err_word(err));
    }
    erasure_count_ids(&erasure);
    const struct pl_id128 made = erasure.id;
    pthread_mutex_lock(&e->lock);
    erasure.at_ms = erasures_now_ms(e);
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
    struct open_erasure *open = erasures_find(e, learned->account, &learned->erasure);
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
    err = erasures_add(e, erasure, &open);
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
    struct open_erasure *open = erasures_find(e, erasure.account, &erasure.id);
    err = open == NULL ? take_up(e, &erasure, why)
                       : erasures_extend(e, open, &erasure.identities, true, why);
    pthread_mutex_unlock(&e->lock);
    erasure_release(&erasure);
    return err == PL_EEXISTS ? PL_OK : err;
}
