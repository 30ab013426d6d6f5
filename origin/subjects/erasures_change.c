/* What changes an erasure: its beginning, ids that are learnt later, its replay after a restore. */
#include "origin/accounts/accounts.h"
#include "origin/accounts/holds.h"
#include "origin/families.h"
#include "origin/subjects/erasures_state.h"

#include <time.h>

/* ---- rows */

static enum pl_err encode(const struct erasure *erasure, uint8_t key[ERASURE_KEY_BYTES],
                          struct pl_buf *row, struct pl_why *why)
{
    erasure_key(erasure->account, &erasure->id, key);
    pl_buf_init(row, ERASURE_ROW_BYTES_MAX);
    enum pl_err err = erasure_encode(erasure, row);
    return err == PL_OK ? err : pl_fail(why, err, "no memory for an erasure's record");
}

enum pl_err erasures_save(struct erasures *e, const struct erasure *erasure, bool sync,
                          struct pl_why *why)
{
    uint8_t key[ERASURE_KEY_BYTES];
    struct pl_buf row;
    enum pl_err err = encode(erasure, key, &row, why);
    if (err == PL_OK)
        err = store_put(e->config.store, FAMILY_ERASURES, pl_span(key, sizeof(key)),
                        pl_buf_span(&row), sync, why);
    pl_buf_release(&row);
    return err;
}

struct saving {
    struct erasures *erasures;
    const struct erasure *erasure;
};

static enum pl_err save_synced(void *ctx, struct pl_why *why)
{
    const struct saving *saving = ctx;
    return erasures_save(saving->erasures, saving->erasure, true, why);
}

/* The log first, so that what the database has is in it. */
static enum pl_err note_and_save(struct erasures *e, const struct erasure *erasure,
                                 struct pl_why *why)
{
    struct saving saving = {e, erasure};
    uint8_t key[ERASURE_KEY_BYTES];
    struct pl_buf row;
    if (e->config.note == NULL)
        return save_synced(&saving, why);
    enum pl_err err = encode(erasure, key, &row, why);
    if (err == PL_OK)
        err = e->config.note(e->config.note_ctx, pl_span(key, sizeof(key)), pl_buf_span(&row),
                             save_synced, &saving, why);
    pl_buf_release(&row);
    return err;
}

enum pl_err erasures_become(struct erasures *e, struct open_erasure *open,
                            const struct erasure *next, bool sync, struct pl_why *why)
{
    /* A restore has to know that holds kept some: see erasures_replay. */
    const bool note = erasure_is_held(next) && !erasure_is_held(&open->erasure);
    if (open->forgotten)
        return pl_fail(why, PL_ECLOSED, "its account is being deleted");
    enum pl_err err = note ? note_and_save(e, next, why) : erasures_save(e, next, sync, why);
    if (err != PL_OK)
        return err;
    pthread_mutex_lock(&e->lock);
    open->erasure = *next;
    pthread_cond_broadcast(&e->moved);
    pthread_mutex_unlock(&e->lock);
    return PL_OK;
}

/* ---- beginning one */

static enum pl_err copy_ids(const struct identities *from, struct identities *to)
{
    enum pl_err err = PL_OK;
    for (size_t i = 0; err == PL_OK && i < from->count; i++)
        err = identities_add(to, &from->list[i], NULL);
    return err;
}

static enum pl_err add(struct erasures *e, struct erasure *erasure, bool fresh, struct pl_why *why)
{
    struct open_erasure *open;
    pthread_mutex_lock(&e->lock);
    enum pl_err err = erasures_add(e, erasure, &open);
    if (err == PL_OK)
        open->fresh = fresh;
    pthread_mutex_unlock(&e->lock);
    return err == PL_OK ? err : pl_fail(why, err, "no memory for an erasure");
}

/* Durable before it is known to anybody. What intake stores between the two is found, for nothing
 * is too late for one that is fresh. With `changing` held. */
static enum pl_err begin(struct erasures *e, struct erasure *erasure, struct pl_why *why)
{
    enum pl_err err = note_and_save(e, erasure, why);
    return err == PL_OK ? add(e, erasure, true, why) : err;
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

struct beginning {
    struct erasures *erasures;
    const struct erasures_request *request;
    struct erasure *erasure;
};

static enum pl_err begin_unless_held(const struct beginning *b, struct pl_why *why)
{
    struct erasures *e = b->erasures;
    if (holds_of(e->config.holds, b->request->account, NULL) != b->request->holds)
        return pl_fail(why, PL_EAGAIN, "a hold was placed meanwhile: ask again");
    pthread_mutex_lock(&e->changing);
    b->erasure->at_ms = erasures_now_ms(e);
    enum pl_err err = begin(e, b->erasure, why);
    pthread_mutex_unlock(&e->changing);
    return err;
}

/* While nobody can start the account's deletion, or place a hold. */
static enum pl_err begin_unless_over(void *ctx, const struct account *account, struct pl_why *why)
{
    if (account->state >= ACCOUNT_DELETING)
        return pl_fail(why, PL_EEXPIRED, "account %s is %s: all of it goes",
                       account_called(account).text, account_state_name(account->state));
    return begin_unless_held(ctx, why);
}

enum pl_err erasures_erase(struct erasures *e, const struct erasures_request *request,
                           struct pl_id128 *id, struct pl_why *why)
{
    struct erasure erasure = {
        .account = request->account, .state = ERASURE_ERASING, .alone = request->alone};
    struct beginning b = {.erasures = e, .request = request, .erasure = &erasure};
    enum pl_err err = check_clock(e, why);
    if (err != PL_OK)
        return err;
    err = pl_id128_random(e->config.random, &erasure.id);
    if (err == PL_OK)
        err = copy_ids(request->identities, &erasure.identities);
    if (err != PL_OK) {
        erasure_release(&erasure);
        return pl_fail(why, err, "an erasure cannot be begun: %s", pl_err_word(err));
    }
    erasure_count_ids(&erasure);
    const struct pl_id128 made = erasure.id;
    err = e->config.accounts == NULL
              ? begin_unless_held(&b, why)
              : accounts_during(e->config.accounts, request->account, begin_unless_over, &b, why);
    if (err != PL_OK) {
        erasure_release(&erasure);
        return err;
    }
    pl_mailbox_wake(&e->wake);
    *id = made;
    return PL_OK;
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

/* Only what is extended changes: the thread goes by the rest. */
static enum pl_err install(struct erasures *e, struct open_erasure *open,
                           const struct erasure *next)
{
    pthread_mutex_lock(&e->lock);
    enum pl_err err = erasures_guard(e, next);
    if (err == PL_OK) {
        open->erasure.identities = next->identities;
        open->erasure.visitors = next->visitors;
        open->erasure.users = next->users;
        open->erasure.state = next->state;
        open->erasure.gone_ms = next->gone_ms;
        open->again = true;
        open->replayed = false;
    }
    pthread_mutex_unlock(&e->lock);
    return err;
}

/* Durably, or not at all: who failed to and tries again must find them new once more. */
enum pl_err erasures_extend(struct erasures *e, struct open_erasure *open,
                            const struct identities *more, struct pl_why *why)
{
    struct erasure next = open->erasure;
    struct identities before = next.identities;
    bool any = false;
    next.identities = (struct identities){.list = NULL};
    enum pl_err err =
        open->forgotten ? PL_ECLOSED : with_more(&open->erasure, more, &next.identities, &any);
    if (err == PL_ELIMIT) { /* of one person there are not so many: the rest is somebody else's */
        pl_log(e->config.log, PL_LOG_WARN, "erasures",
               "an erasure has reached %d ids; it goes no further", IDENTITIES_MAX);
        err = PL_OK;
    }
    if (err != PL_OK || !any) {
        identities_release(&next.identities);
        return err;
    }
    next.state = ERASURE_ERASING;
    next.gone_ms = 0;
    erasure_count_ids(&next);
    err = note_and_save(e, &next, why);
    if (err == PL_OK)
        err = install(e, open, &next);
    identities_release(err == PL_OK ? &before : &next.identities);
    return err;
}

enum pl_err erasures_learn(struct erasures *e, const struct erasure_learned *learned,
                           struct pl_why *why)
{
    struct identity one = learned->identity;
    const struct identities more = {.list = &one, .count = 1};
    pthread_mutex_lock(&e->changing);
    struct open_erasure *open = erasures_find(e, learned->account, &learned->erasure);
    enum pl_err err =
        open == NULL || open->erasure.alone ? PL_OK : erasures_extend(e, open, &more, why);
    pthread_mutex_unlock(&e->changing);
    if (err != PL_OK)
        return pl_fail(why, err, "an erasure cannot be extended: %s", pl_err_word(err));
    pl_mailbox_wake(&e->wake);
    return PL_OK;
}

/* ---- after a restore */

/* With `changing` held. */
static enum pl_err take_up(struct erasures *e, struct erasure *erasure, struct pl_why *why)
{
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
    err = erasures_save(e, erasure, true, why);
    if (err == PL_OK)
        err = add(e, erasure, false, why);
    if (err == PL_OK)
        erasure->identities = (struct identities){.list = NULL};
    return err;
}

enum pl_err erasures_replay(struct erasures *e, struct pl_span key, struct pl_span row,
                            struct pl_why *why)
{
    struct erasure erasure;
    enum pl_err err = erasure_decode(key, row, &erasure);
    if (err != PL_OK)
        return pl_fail(why, err, "an erasure in the log cannot be read: %s", pl_err_word(err));
    pthread_mutex_lock(&e->changing);
    struct open_erasure *open = erasures_find(e, erasure.account, &erasure.id);
    const bool lacked = open == NULL, held = erasure_is_held(&erasure);
    err = lacked ? take_up(e, &erasure, why) : erasures_extend(e, open, &erasure.identities, why);
    open = erasures_find(e, erasure.account, &erasure.id);
    if (open != NULL && (lacked || held)) {
        pthread_mutex_lock(&e->lock);
        open->replayed = !held;
        pthread_mutex_unlock(&e->lock);
    }
    pthread_mutex_unlock(&e->changing);
    erasure_release(&erasure);
    return err == PL_EEXISTS ? PL_OK : err;
}
