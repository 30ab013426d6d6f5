#include "origin/lifecycle.h"
#include "origin/account_states.h"
#include "origin/clock_watch.h"
#include "origin/dedupe.h"
#include "origin/deletion.h"
#include "origin/families.h"
#include "origin/request.h"
#include "proto/base/mailbox.h"
#include "proto/base/text.h"

#include <stdio.h>
#include <stdlib.h>

#define TICK_MS          1000
#define SWEEP_KEYS       100000
#define RECORD_BYTES_MAX (8 * 1024)

static const struct pl_span SWEPT_KEY = PL_SPAN_INIT("dedupe-swept-day");

struct lifecycle {
    struct lifecycle_config config;
    pthread_t thread;
    bool started;
    struct pl_mailbox stop;
    /* the thread's (or the test's that ticks) */
    int64_t swept_day; /* the last day whose dedupe entries are gone; -1: not read yet */
    struct vault_key sweep_cursor;
    struct clock_watch clock_watch;
    pthread_mutex_t lock;
    struct lifecycle_status status; /* under lock */
};

/* The state machine. An account moves along a row when `due` says so, after `act` has done the
 * row's work; each act may be run again after a crash. Reinstating leads from expired and
 * deletable back to active (accounts_reinstate); nothing leads back from deleting.
 *
 *   from        to          due
 *   active      expired     the expiry date has passed
 *   expired     deletable   45 days later
 *   deletable   deleting    on the account's own day of 45..80
 *   deleting    deleted     at once
 */
struct transition {
    enum account_state from, to;
    bool (*due)(void *ctx, const struct account *account, int64_t now_ms);
    enum pl_err (*act)(struct lifecycle *lifecycle, const struct account *account, int64_t now_ms,
                       struct pl_why *why);
};

/* Spread by the id, which is random: the same day however often it is asked. */
int64_t lifecycle_due_ms(const struct account *account)
{
    if (account->expires_at_ms == 0) {
        return 0;
    }
    int64_t spread = (int64_t)(account->id % LIFECYCLE_SPREAD_DAYS);
    return account->expires_at_ms + (LIFECYCLE_KEEP_DAYS + spread) * PL_DAY_MS;
}

static bool has_expired(void *ctx, const struct account *account, int64_t now_ms)
{
    (void)ctx;
    return account_state_at(account, now_ms) == ACCOUNT_EXPIRED;
}

static bool is_kept_long_enough(void *ctx, const struct account *account, int64_t now_ms)
{
    (void)ctx;
    return now_ms >= account->expires_at_ms + LIFECYCLE_KEEP_DAYS * PL_DAY_MS;
}

static bool is_its_day(void *ctx, const struct account *account, int64_t now_ms)
{
    (void)ctx;
    return now_ms >= lifecycle_due_ms(account);
}

static bool at_once(void *ctx, const struct account *account, int64_t now_ms)
{
    (void)ctx;
    (void)account;
    (void)now_ms;
    return true;
}

/* ---- records */

/* An account's records, by their sequence number. Ids are never used again, so each is written
 * once, however often its step is run. */
enum { RECORD_DELETING, RECORD_DELETED };

static void record_key(uint64_t account, uint64_t sequence, uint8_t key[16])
{
    pl_store_u64(key, account);
    pl_store_u64(key + 8, sequence);
}

static void write_report(const struct deletion_report *report, struct json_writer *w)
{
    if (report->counted) {
        json_write_pair_u64(w, "events", report->events);
        json_write_pair_u64(w, "bytes", report->bytes);
    }
    json_write_pair_time(w, "key_destroyed_at", report->key.wall_ms);
    json_write_pair_hex(w, "keyring_record",
                        pl_span(report->key.chain_hash, sizeof(report->key.chain_hash)));
}

static enum pl_err keep_record(struct lifecycle *lifecycle, const struct account *account,
                               uint64_t sequence, int64_t now_ms,
                               const struct deletion_report *report, struct pl_why *why)
{
    struct json_writer *w = NULL;
    struct pl_buf bytes;
    uint8_t key[16];
    pl_buf_init(&bytes, RECORD_BYTES_MAX);
    record_key(account->id, sequence, key);
    enum pl_err err = json_writer_new(&w, false);
    if (err == PL_OK) {
        json_writer_begin(w, &bytes);
        json_write_object(w);
        json_write_pair_text(w, "what", sequence == RECORD_DELETED ? "deleted" : "deleting");
        json_write_pair_time(w, "at", now_ms);
        json_write_pair_time(w, "expired_at", account->expires_at_ms);
        write_report(report, w);
        json_write_object_end(w);
        err = json_writer_end(w);
    }
    if (err == PL_OK) {
        err = store_put(lifecycle->config.store, FAMILY_RECORDS, pl_span(key, sizeof(key)),
                        pl_buf_span(&bytes), true, why);
    } else {
        pl_fail(why, err, "what was done cannot be recorded: %s", pl_err_word(err));
    }
    json_writer_free(w);
    pl_buf_release(&bytes);
    return err;
}

/* What an earlier run counted before it dropped anything. */
static void read_report(struct lifecycle *lifecycle, uint64_t account,
                        struct deletion_report *report)
{
    struct json_parser *parser = NULL;
    struct json record, events;
    struct pl_buf bytes;
    uint8_t key[16];
    pl_buf_init(&bytes, RECORD_BYTES_MAX);
    record_key(account, RECORD_DELETING, key);
    report->begun = store_get(lifecycle->config.store, FAMILY_RECORDS, pl_span(key, sizeof(key)),
                              &bytes) == PL_OK;
    report->counted = report->begun && json_parser_new(&parser, RECORD_BYTES_MAX, 4) == PL_OK &&
                      json_parse(parser, pl_buf_span(&bytes), &record, NULL) == PL_OK &&
                      json_get(record, "events", &events) && json_u64(events, &report->events) &&
                      request_u64(record, "bytes", &report->bytes, NULL) == PL_OK;
    json_parser_free(parser);
    pl_buf_release(&bytes);
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

/* ---- what the rows do */

static enum pl_err nothing(struct lifecycle *lifecycle, const struct account *account,
                           int64_t now_ms, struct pl_why *why)
{
    (void)lifecycle;
    (void)account;
    (void)now_ms;
    (void)why;
    return PL_OK;
}

static enum pl_err delete_data(struct lifecycle *lifecycle, const struct account *account,
                               int64_t now_ms, struct pl_why *why)
{
    const struct lifecycle_config *config = &lifecycle->config;
    struct deletion_report report = {0};
    char expired[PL_TIME_TEXT], reason[KEYRING_REASON_BYTES];
    pl_time_format(account->expires_at_ms, expired);
    snprintf(reason, sizeof(reason), "expired %s", expired);
    /* Blocks that were opened while the account lived must not be written after its ranges are
     * gone. */
    if (config->intake != NULL) {
        intake_settle(config->intake);
    }
    read_report(lifecycle, account->id, &report);
    enum pl_err err =
        deletion_begin(config->store, config->keyring, account->id, reason, &report, why);
    if (err == PL_OK && !report.begun) {
        err = keep_record(lifecycle, account, RECORD_DELETING, now_ms, &report, why);
    }
    if (err == PL_OK) {
        err = deletion_purge(config->store, account->id, why);
    }
    if (err == PL_OK && config->suppressions != NULL) {
        suppressions_forget(config->suppressions, account->id);
    }
    return err == PL_OK ? keep_record(lifecycle, account, RECORD_DELETED, now_ms, &report, why)
                        : err;
}

static const struct transition transitions[] = {
    {ACCOUNT_ACTIVE, ACCOUNT_EXPIRED, has_expired, nothing},
    {ACCOUNT_EXPIRED, ACCOUNT_DELETABLE, is_kept_long_enough, nothing},
    {ACCOUNT_DELETABLE, ACCOUNT_DELETING, is_its_day, nothing},
    {ACCOUNT_DELETING, ACCOUNT_DELETED, at_once, delete_data},
};

/* ---- the tick */

static const struct transition *due_transition(void *ctx, const struct account *account,
                                               int64_t now_ms)
{
    (void)ctx;
    for (size_t i = 0; i < sizeof(transitions) / sizeof(transitions[0]); i++) {
        if (transitions[i].from == account->state) {
            return transitions[i].due(NULL, account, now_ms) ? &transitions[i] : NULL;
        }
    }
    return NULL;
}

/* Moves an account a step, if one is due and the clock is to be believed. A deletion that has begun
 * is finished whatever the clock shows. */
static void advance(struct lifecycle *lifecycle, struct account *account, int64_t now_ms,
                    bool believed, struct pl_why *why)
{
    const struct lifecycle_config *config = &lifecycle->config;
    const struct transition *transition = due_transition(NULL, account, now_ms);
    if (transition == NULL || (!believed && transition->from != ACCOUNT_DELETING)) {
        return;
    }
    enum pl_err err = transition->act(lifecycle, account, now_ms, why);
    if (err == PL_OK) {
        err = accounts_move(config->accounts, account->id, transition->from, transition->to,
                            transition->due, NULL, now_ms, account, why);
    }
    if (err != PL_OK) {
        pl_log(config->log, err == PL_EAGAIN ? PL_LOG_INFO : PL_LOG_ERROR, "lifecycle",
               "account %s stays %s for now: %s", account->name, account_state_name(account->state),
               why->text);
        return;
    }
    pl_log(config->log, PL_LOG_INFO, "lifecycle", "account %s is %s", account->name,
           account_state_name(account->state));
}

static void judge(const struct account *account, int64_t now_ms, bool believed,
                  const struct pl_why *why, struct lifecycle_status *status)
{
    enum account_state state = account_state_at(account, now_ms);
    status->expired += state == ACCOUNT_EXPIRED || state == ACCOUNT_DELETABLE;
    status->deleting += state == ACCOUNT_DELETING;
    status->deleted += state == ACCOUNT_DELETED;
    if (state == ACCOUNT_ACTIVE || state == ACCOUNT_DELETED || !believed) {
        return;
    }
    int64_t days = (now_ms - account->expires_at_ms) / PL_DAY_MS;
    if (days < LIFECYCLE_WARN_DAYS || now_ms < lifecycle_due_ms(account) + PL_HOUR_MS) {
        return;
    }
    status->overdue++;
    status->past_limit |= days >= LIFECYCLE_LIMIT_DAYS;
    snprintf(status->reason, sizeof(status->reason),
             "account %016llx is still %s on day %lld after its expiry%s%.80s",
             (unsigned long long)account->id, account_state_name(state), (long long)days,
             why->text[0] != '\0' ? ": " : "", why->text);
}

static enum pl_err read_swept_day(struct lifecycle *lifecycle, int64_t today)
{
    struct pl_buf value;
    pl_buf_init(&value, 16);
    enum pl_err err = store_get(lifecycle->config.store, FAMILY_META, SWEPT_KEY, &value);
    if (err == PL_OK && value.len == 8) {
        lifecycle->swept_day = (int64_t)pl_load_u64(value.data);
    } else if (err == PL_ENOTFOUND) {
        /* A new store: nothing in it is older than today. */
        lifecycle->swept_day = today - DEDUPE_SWEEP_DAYS - 1;
        err = PL_OK;
    }
    pl_buf_release(&value);
    return err;
}

/* One slice of the entries that are older than retries can be. */
static void sweep_dedupe(struct lifecycle *lifecycle, int64_t now_ms)
{
    struct pl_why why = {0};
    uint8_t day[8];
    int64_t today = pl_day_of(now_ms);
    enum pl_err err = lifecycle->swept_day < 0 ? read_swept_day(lifecycle, today) : PL_OK;
    if (err == PL_OK && lifecycle->swept_day >= today - DEDUPE_SWEEP_DAYS - 1) {
        return;
    }
    if (err == PL_OK) {
        err = dedupe_expire(lifecycle->config.store, lifecycle->swept_day + 1,
                            &lifecycle->sweep_cursor, SWEEP_KEYS, &why);
    }
    if (err == PL_OK) {
        lifecycle->swept_day++;
        memset(&lifecycle->sweep_cursor, 0, sizeof(lifecycle->sweep_cursor));
        pl_store_u64(day, (uint64_t)lifecycle->swept_day);
        err = store_put(lifecycle->config.store, FAMILY_META, SWEPT_KEY, pl_span(day, sizeof(day)),
                        false, &why);
    }
    if (err != PL_OK && err != PL_EAGAIN) {
        pl_log(lifecycle->config.log, PL_LOG_WARN, "lifecycle",
               "old dedupe entries stay for now: %s", why.text);
    }
}

void lifecycle_tick(struct lifecycle *lifecycle)
{
    struct pl_why stale = {0};
    struct account *accounts;
    size_t count;
    struct lifecycle_status status = {0};
    bool believed = clock_watch_look(&lifecycle->clock_watch);
    int64_t now_ms = pl_wall_ms(lifecycle->config.clock);
    if (accounts_refresh(lifecycle->config.accounts, &stale) != PL_OK) {
        pl_log(lifecycle->config.log, PL_LOG_WARN, "lifecycle",
               "the accounts are not read anew yet: %s", stale.text);
    }
    if (accounts_list(lifecycle->config.accounts, &accounts, &count) != PL_OK) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        struct pl_why why = {0};
        advance(lifecycle, &accounts[i], now_ms, believed, &why);
        judge(&accounts[i], now_ms, believed, &why, &status);
    }
    free(accounts);
    if (believed) {
        sweep_dedupe(lifecycle, now_ms);
    }
    memcpy(status.clock, lifecycle->clock_watch.reason, sizeof(status.clock));
    pthread_mutex_lock(&lifecycle->lock);
    lifecycle->status = status;
    pthread_mutex_unlock(&lifecycle->lock);
}

static void *run(void *arg)
{
    struct lifecycle *lifecycle = arg;
    while (!pl_mailbox_closed(&lifecycle->stop)) {
        lifecycle_tick(lifecycle);
        pl_mailbox_take(&lifecycle->stop, lifecycle->config.tick_ms);
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
    lifecycle->swept_day = -1;
    clock_watch_init(&lifecycle->clock_watch, config->store, config->clock, config->log);
    pl_mailbox_init(&lifecycle->stop);
    pthread_mutex_init(&lifecycle->lock, NULL);
    *out = lifecycle;
    return PL_OK;
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
    if (lifecycle != NULL) {
        pthread_mutex_destroy(&lifecycle->lock);
        pl_mailbox_release(&lifecycle->stop);
        free(lifecycle);
    }
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
