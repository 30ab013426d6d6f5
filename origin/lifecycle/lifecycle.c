#include "origin/lifecycle/lifecycle.h"
#include "origin/accounts/account_states.h"
#include "origin/families.h"
#include "origin/lifecycle/hold_ends.h"
#include "origin/lifecycle/retention.h"
#include "origin/request.h"
#include "proto/base/mailbox.h"
#include "proto/base/process.h"
#include "proto/base/text.h"

#include <stdio.h>
#include <stdlib.h>

#define TICK_MS      1000
#define BUSY_MS      2000 /* of deletions in one tick, as far as steps can be told beforehand */
#define SAY_AGAIN_MS PL_HOUR_MS

struct lifecycle {
    struct lifecycle_config config;
    pthread_t thread;
    bool started;
    struct pl_mailbox stop;
    /* the thread's (or the test's that ticks) */
    struct clock_watch clock_watch;
    bool doubt_noted; /* in the audit log, and not yet that it is over */
    struct retention *retention;
    struct hold_ends hold_ends;
    struct deletion *deletions; /* under way */
    pthread_mutex_t lock;
    struct lifecycle_status status; /* under lock */
};

/* ---- the rows that time moves an account along (account_moves.h) */

static bool has_expired(void *ctx, const struct account *account, int64_t now_ms)
{
    (void)ctx;
    return account_state_at(account, now_ms) == ACCOUNT_EXPIRED;
}

static bool is_kept_long_enough(void *ctx, const struct account *account, int64_t now_ms)
{
    (void)ctx;
    return now_ms >= account->expires_at_ms + ACCOUNT_KEEP_DAYS * PL_DAY_MS;
}

static bool is_its_day(void *ctx, const struct account *account, int64_t now_ms)
{
    const struct lifecycle *lifecycle = ctx;
    return now_ms >= account_due_ms(account) &&
           !holds_stand(lifecycle->config.holds, account->id, false, now_ms, NULL);
}

/* A hold on other days only: these go. */
static bool is_day_but_for_some(void *ctx, const struct account *account, int64_t now_ms)
{
    const struct lifecycle *lifecycle = ctx;
    return account->cleared_ms == 0 && now_ms >= account_due_ms(account) &&
           !holds_stand(lifecycle->config.holds, account->id, true, now_ms, NULL) &&
           holds_stand(lifecycle->config.holds, account->id, false, now_ms, NULL);
}

static bool is_gone(void *ctx, const struct account *account, int64_t now_ms)
{
    const struct deletion *deletion = ctx;
    (void)account;
    (void)now_ms;
    return deletion->done == DELETION_CERTIFIED;
}

static const struct {
    enum account_state from, to;
    bool (*due)(void *ctx, const struct account *account, int64_t now_ms);
} waits[] = {
    {ACCOUNT_ACTIVE, ACCOUNT_EXPIRED, has_expired},
    {ACCOUNT_EXPIRED, ACCOUNT_DELETABLE, is_kept_long_enough},
    {ACCOUNT_DELETABLE, ACCOUNT_DELETING, is_its_day},
    {ACCOUNT_DELETABLE, ACCOUNT_DELETABLE, is_day_but_for_some},
};

/* ---- moving */

static enum pl_err note_state(struct lifecycle *lifecycle, const struct account *account,
                              const char *word, struct pl_why *why)
{
    char action[48];
    snprintf(action, sizeof(action), "account.%s", word);
    const struct audit_entry entry = {
        .actor = "lifecycle",
        .action = action,
        .account = account->id,
        .outcome = AUDIT_DONE,
    };
    pl_log(lifecycle->config.log, PL_LOG_INFO, "lifecycle", "account %016llx is %s",
           (unsigned long long)account->id, word);
    return audit_note(lifecycle->config.audit, &entry, why);
}

static enum pl_err move(struct lifecycle *lifecycle, struct account *account, int64_t now_ms,
                        bool *more, struct pl_why *why)
{
    for (size_t i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
        if (waits[i].from != account->state || !waits[i].due(lifecycle, account, now_ms)) {
            continue;
        }
        enum pl_err err = accounts_move(lifecycle->config.accounts, account->id, waits[i].from,
                                        waits[i].to, waits[i].due, lifecycle, now_ms, account, why);
        *more |= err == PL_OK;
        return err == PL_OK
                   ? note_state(lifecycle, account,
                                waits[i].from == waits[i].to ? "cleared"
                                                             : account_state_name(account->state),
                                why)
                   : err;
    }
    return PL_OK;
}

/* ---- deletions under way */

static struct deletion **find(struct lifecycle *lifecycle, uint64_t account)
{
    struct deletion **at = &lifecycle->deletions;
    while (*at != NULL && (*at)->account != account) {
        at = &(*at)->next;
    }
    return at;
}

static enum pl_err finish(struct lifecycle *lifecycle, struct deletion **at,
                          struct account *account, int64_t now_ms, struct pl_why *why)
{
    struct deletion *deletion = *at;
    enum pl_err err = accounts_move(lifecycle->config.accounts, account->id, ACCOUNT_DELETING,
                                    ACCOUNT_DELETED, is_gone, deletion, now_ms, account, why);
    if (err == PL_OK) {
        *at = deletion->next;
        deletion_free(deletion);
        err = note_state(lifecycle, account, account_state_name(account->state), why);
    }
    return err;
}

/* One step, or a part of one that takes long. */
static enum pl_err go_on(struct lifecycle *lifecycle, struct account *account, int64_t now_ms,
                         bool believed, bool *more, struct pl_why *why)
{
    const struct lifecycle_config *config = &lifecycle->config;
    struct deletion **at = find(lifecycle, account->id);
    enum pl_err err = *at == NULL ? deletion_load(at, config, account, why) : PL_OK;
    if (err != PL_OK) {
        return err;
    }
    if ((*at)->done == DELETION_CERTIFIED) {
        return finish(lifecycle, at, account, now_ms, why);
    }
    const enum deletion_step before = (*at)->done;
    err = deletion_go_on(*at, config, account, now_ms, believed, why);
    if (err == PL_OK && (*at)->done != before) {
        pl_log(config->log, PL_LOG_INFO, "lifecycle", "the deletion of account %016llx: %s",
               (unsigned long long)account->id, deletion_step_name((*at)->done));
    }
    *more |= err == PL_OK;
    return err;
}

/* What hinders, as often as it is another thing, and now and then. */
static void say(struct lifecycle *lifecycle, const struct account *account, enum pl_err err,
                int64_t now_ms, const struct pl_why *why)
{
    struct deletion *deletion = *find(lifecycle, account->id);
    if (deletion != NULL) {
        bool same = strncmp(deletion->told, why->text, sizeof(deletion->told) - 1) == 0;
        if (same && now_ms - deletion->told_ms < SAY_AGAIN_MS) {
            return;
        }
        snprintf(deletion->told, sizeof(deletion->told), "%.159s", why->text);
        deletion->told_ms = now_ms;
    }
    pl_log(lifecycle->config.log, err == PL_EAGAIN ? PL_LOG_INFO : PL_LOG_ERROR, "lifecycle",
           "account %016llx stays %s for now: %s", (unsigned long long)account->id,
           account_state_name(account->state), why->text);
}

/* Moves an account a step, if one is due and the clock is to be believed. A deletion that has begun
 * is finished whatever the clock shows. */
static void advance(struct lifecycle *lifecycle, struct account *account, int64_t now_ms,
                    bool believed, bool *more, struct pl_why *why)
{
    enum pl_err err = PL_OK;
    if (account->state == ACCOUNT_DELETING) {
        err = go_on(lifecycle, account, now_ms, believed, more, why);
    } else if (believed) {
        err = move(lifecycle, account, now_ms, more, why);
    }
    if (err != PL_OK) {
        say(lifecycle, account, err, now_ms, why);
    }
}

/* ---- judging */

struct dates {
    int64_t warn_ms, limit_ms;
};

static void not_before(int64_t *date_ms, int64_t at_ms)
{
    *date_ms = *date_ms > at_ms ? *date_ms : at_ms;
}

/* From when on an account that is not deleted is one too many. */
static struct dates dates_of(const struct lifecycle *lifecycle, const struct account *account,
                             int64_t now_ms)
{
    if (deletion_was_asked_for(account)) {
        return (struct dates){account->deletion_started_ms +
                                  LIFECYCLE_REQUEST_WARN_DAYS * PL_DAY_MS,
                              deletion_limit_ms(account)};
    }
    struct dates dates = {account->expires_at_ms + LIFECYCLE_WARN_DAYS * PL_DAY_MS,
                          deletion_limit_ms(account)};
    int64_t held_ms = holds_ended_ms(lifecycle->config.holds, account->id, now_ms);
    if (held_ms != 0) {
        not_before(&dates.warn_ms, held_ms + LIFECYCLE_LATE_WARN_DAYS * PL_DAY_MS);
        not_before(&dates.limit_ms, held_ms + LIFECYCLE_LATE_LIMIT_DAYS * PL_DAY_MS);
    }
    if (account->imported) { /* overdue it is, but we have not had it for longer */
        not_before(&dates.limit_ms, account->created_ms + LIFECYCLE_LATE_LIMIT_DAYS * PL_DAY_MS);
    }
    return dates;
}

static void complain(const struct account *account, enum account_state state, int64_t now_ms,
                     const struct pl_why *why, struct lifecycle_status *status)
{
    bool asked = deletion_was_asked_for(account);
    int64_t since_ms = asked ? account->deletion_started_ms : account->expires_at_ms;
    pl_text_print(status->reason, sizeof(status->reason),
                  "account %016llx is still %s on day %lld after %s%s%s",
                  (unsigned long long)account->id, account_state_name(state),
                  (long long)((now_ms - since_ms) / PL_DAY_MS),
                  asked ? "its deletion was confirmed" : "its expiry",
                  why->text[0] != '\0' ? ": " : "", why->text);
}

struct account_standing lifecycle_standing(const struct lifecycle *lifecycle,
                                           const struct account *account, int64_t now_ms)
{
    struct account_standing standing = {.held = false};
    const enum account_state state = account_state_at(account, now_ms);
    if (lifecycle == NULL || state == ACCOUNT_DELETED) {
        return standing;
    }
    struct holds *holds = lifecycle->config.holds;
    standing.held = holds_stand(holds, account->id, false, now_ms, NULL);
    standing.held_whole = holds_stand(holds, account->id, true, now_ms, NULL);
    standing.overdue = state != ACCOUNT_ACTIVE && (state == ACCOUNT_DELETING || !standing.held) &&
                       now_ms >= dates_of(lifecycle, account, now_ms).warn_ms;
    return standing;
}

static void judge(const struct lifecycle *lifecycle, const struct account *account, int64_t now_ms,
                  bool believed, const struct pl_why *why, struct lifecycle_status *status)
{
    enum account_state state = account_state_at(account, now_ms);
    status->expired += state == ACCOUNT_EXPIRED || state == ACCOUNT_DELETABLE;
    status->deleting += state == ACCOUNT_DELETING;
    status->deleted += state == ACCOUNT_DELETED;
    if (state == ACCOUNT_ACTIVE || state == ACCOUNT_DELETED || !believed) {
        return;
    }
    const struct account_standing standing = lifecycle_standing(lifecycle, account, now_ms);
    if (state != ACCOUNT_DELETING && standing.held) {
        status->held += now_ms >= account_due_ms(account);
    }
    if (!standing.overdue) {
        return;
    }
    struct dates dates = dates_of(lifecycle, account, now_ms);
    status->overdue++;
    /* Whichever is worst is the one that is named. */
    if (now_ms >= dates.limit_ms || !status->past_limit) {
        complain(account, state, now_ms, why, status);
    }
    status->past_limit |= now_ms >= dates.limit_ms;
}

/* ---- the tick */

static int by_due(const void *a, const void *b)
{
    const struct account *x = *(const struct account *const *)a;
    const struct account *y = *(const struct account *const *)b;
    bool x_deleting = x->state == ACCOUNT_DELETING, y_deleting = y->state == ACCOUNT_DELETING;
    int64_t x_ms = account_due_ms(x), y_ms = account_due_ms(y);
    if (x_deleting != y_deleting) {
        return x_deleting ? -1 : 1;
    }
    return (x_ms > y_ms) - (x_ms < y_ms);
}

/* Those that are late come first. */
static bool look_at_accounts(struct lifecycle *lifecycle, struct account *accounts, size_t count,
                             int64_t now_ms, bool believed, struct lifecycle_status *status)
{
    const int64_t until_ms = pl_mono_ms(pl_clock_system()) + BUSY_MS;
    struct account **order = calloc(count + 1, sizeof(struct account *));
    bool more = false;
    if (order == NULL) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        order[i] = &accounts[i];
    }
    qsort(order, count, sizeof(struct account *), by_due);
    for (size_t i = 0; i < count; i++) {
        struct pl_why why = {0};
        if (order[i]->state != ACCOUNT_DELETING || pl_mono_ms(pl_clock_system()) < until_ms) {
            advance(lifecycle, order[i], now_ms, believed, &more, &why);
        } else {
            more = true;
        }
        judge(lifecycle, order[i], now_ms, believed, &why, status);
    }
    free(order);
    return more;
}

/* From when to when the clock was not believed. Tried again at the next tick where it cannot be
 * noted; one that an earlier process found is noted already. */
static void note_clock(struct lifecycle *lifecycle)
{
    const struct clock_watch *watch = &lifecycle->clock_watch;
    struct pl_why why;
    const struct audit_entry entry = {
        .actor = "lifecycle",
        .action = watch->frozen ? "clock.doubted" : "clock.believed",
        .detail = watch->freeze.reason,
        .outcome = AUDIT_DONE,
    };
    if (watch->frozen != lifecycle->doubt_noted &&
        audit_note(lifecycle->config.audit, &entry, &why) == PL_OK) {
        lifecycle->doubt_noted = watch->frozen;
    }
}

bool lifecycle_tick(struct lifecycle *lifecycle)
{
    struct pl_why stale = {0};
    struct account *accounts;
    size_t count;
    struct lifecycle_status status = {0};
    bool believed = clock_watch_look(&lifecycle->clock_watch);
    int64_t now_ms = lifecycle->clock_watch.now_ms;
    note_clock(lifecycle);
    if (accounts_refresh(lifecycle->config.accounts, &stale) != PL_OK) {
        pl_log(lifecycle->config.log, PL_LOG_WARN, "lifecycle",
               "the accounts are not read anew yet: %s", stale.text);
    }
    if (accounts_list(lifecycle->config.accounts, &accounts, &count) != PL_OK) {
        return false;
    }
    bool more = look_at_accounts(lifecycle, accounts, count, now_ms, believed, &status);
    if (believed) {
        hold_ends_tell(&lifecycle->hold_ends, lifecycle->config.store, lifecycle->config.holds,
                       lifecycle->config.audit, now_ms);
        retention_go_on(lifecycle->retention, accounts, count, now_ms, &more);
    }
    if (believed && lifecycle->config.cutoffs != NULL) {
        cutoffs_tick(lifecycle->config.cutoffs);
    }
    free(accounts);
    memcpy(status.clock, lifecycle->clock_watch.reason, sizeof(status.clock));
    pthread_mutex_lock(&lifecycle->lock);
    lifecycle->status = status;
    pthread_mutex_unlock(&lifecycle->lock);
    return more;
}

/* Notes that time goes by, and lets go of what it has made needless. */
static void pulse(struct lifecycle *lifecycle)
{
    const bool believed = lifecycle->clock_watch.reason[0] == '\0';
    struct intake_status intake = {.groups = 0};
    if (lifecycle->config.intake != NULL) {
        intake_status(lifecycle->config.intake, &intake);
    }
    redo_pulse(lifecycle->config.redo, intake.groups, believed ? lifecycle->clock_watch.now_ms : 0);
}

static void *run(void *arg)
{
    struct lifecycle *lifecycle = arg;
    pl_process_background_thread("lifecycle");
    while (!pl_mailbox_closed(&lifecycle->stop)) {
        bool more = lifecycle_tick(lifecycle);
        pulse(lifecycle);
        pl_mailbox_take(&lifecycle->stop, more ? 0 : lifecycle->config.tick_ms);
    }
    return NULL;
}

/* ---- life */

enum pl_err lifecycle_new(struct lifecycle **out, const struct lifecycle_config *config)
{
    struct lifecycle *lifecycle = calloc(1, sizeof(*lifecycle));
    if (lifecycle == NULL) {
        return PL_ENOMEM;
    }
    lifecycle->config = *config;
    if (lifecycle->config.tick_ms == 0) {
        lifecycle->config.tick_ms = TICK_MS;
    }
    clock_watch_init(&lifecycle->clock_watch, config->store, config->clock, config->log);
    clock_watch_tell(&lifecycle->clock_watch, config->belief);
    clock_watch_ask(&lifecycle->clock_watch, config->clock_witnesses, config->clock_witnesses_ctx,
                    config->clock_agree_ms);
    pl_mailbox_init(&lifecycle->stop);
    pthread_mutex_init(&lifecycle->lock, NULL);
    enum pl_err err = retention_new(&lifecycle->retention, &lifecycle->config);
    if (err != PL_OK) {
        lifecycle_free(lifecycle);
        return err;
    }
    *out = lifecycle;
    return PL_OK;
}

void lifecycle_first_look(struct lifecycle *lifecycle)
{
    clock_watch_look(&lifecycle->clock_watch);
    lifecycle->doubt_noted = lifecycle->clock_watch.found_frozen;
    pthread_mutex_lock(&lifecycle->lock);
    memcpy(lifecycle->status.clock, lifecycle->clock_watch.reason, sizeof(lifecycle->status.clock));
    pthread_mutex_unlock(&lifecycle->lock);
}

enum pl_err lifecycle_start(struct lifecycle *lifecycle, struct pl_why *why)
{
    int failed = pthread_create(&lifecycle->thread, NULL, run, lifecycle);
    if (failed != 0) {
        return pl_fail(why, pl_err_from_errno(failed), "the lifecycle thread cannot be started: %s",
                       strerror(failed));
    }
    lifecycle->started = true;
    return PL_OK;
}

void lifecycle_stop(struct lifecycle *lifecycle)
{
    if (lifecycle->started) {
        pl_mailbox_close(&lifecycle->stop);
        pthread_join(lifecycle->thread, NULL);
        lifecycle->started = false;
    }
}

void lifecycle_free(struct lifecycle *lifecycle)
{
    if (lifecycle == NULL) {
        return;
    }
    while (lifecycle->deletions != NULL) {
        struct deletion *deletion = lifecycle->deletions;
        lifecycle->deletions = deletion->next;
        deletion_free(deletion);
    }
    retention_free(lifecycle->retention);
    pthread_mutex_destroy(&lifecycle->lock);
    pl_mailbox_release(&lifecycle->stop);
    free(lifecycle);
}

void lifecycle_status(struct lifecycle *lifecycle, struct lifecycle_status *out)
{
    pthread_mutex_lock(&lifecycle->lock);
    *out = lifecycle->status;
    pthread_mutex_unlock(&lifecycle->lock);
}

void lifecycle_confirm_clock(struct lifecycle *lifecycle)
{
    clock_watch_confirm(&lifecycle->clock_watch);
}

enum pl_err lifecycle_write_deletion(struct lifecycle *lifecycle, const struct account *account,
                                     struct json_writer *w, struct pl_why *why)
{
    return deletion_write_json(&lifecycle->config, account, w, why);
}

enum pl_err lifecycle_records(struct lifecycle *lifecycle, uint64_t account, struct json_writer *w)
{
    struct store_scan *scan;
    struct pl_span key, value;
    uint8_t from[8], end[8];
    pl_store_u64(from, account);
    pl_store_u64(end, account + 1);
    enum pl_err err = store_scan_new(&scan, lifecycle->config.store, FAMILY_RECORDS,
                                     pl_span(from, 8), pl_span(end, account + 1 == 0 ? 0 : 8));
    json_write_array(w);
    while (err == PL_OK && (err = store_scan_next(scan, &key, &value)) == PL_OK) {
        json_write_raw(w, value);
    }
    json_write_array_end(w);
    store_scan_free(scan);
    return err == PL_ENOTFOUND ? PL_OK : err;
}
