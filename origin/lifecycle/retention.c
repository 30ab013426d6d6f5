#include "origin/lifecycle/retention.h"
#include "origin/families.h"
#include "origin/intake/dedupe.h"
#include "origin/lifecycle/lifecycle.h"
#include "origin/subjects/links.h"
#include "origin/vault/vault_days.h"
#include "proto/base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define SWEEP_KEYS        100000
#define GO_ON_MS          250
#define SETTLE_TIMEOUT_MS 2000
#define ROUND_MS          PL_HOUR_MS
#define LINKS_ROWS        10000

static const struct pl_span SWEPT_KEY = PL_SPAN_INIT("dedupe-swept-day");
/* Followed by the account: days whose events were deleted, but may still be in the files. */
static const char UNSETTLED_KEY[] = "retention-unsettled-";
#define UNSETTLED_KEY_BYTES (sizeof(UNSETTLED_KEY) - 1 + 8)

struct unsettled {
    int64_t first_day, last_day;
};

struct retention {
    const struct lifecycle_config *config;
    /* dedupe */
    int64_t swept_day; /* the last day whose entries are gone; -1: not read yet */
    struct vault_key sweep_cursor;
    /* events */
    int64_t round_ms; /* when the round at hand began, or the last one; 0: none has */
    bool in_round;
    uint64_t next_account; /* of the round */
    int64_t next_day;      /* of it; 0: at its beginning */
    uint8_t links_at[LINK_KEY_BYTES];
    uint64_t retired;  /* events of it, since they were settled last */
    bool links_gone;   /* some were deleted */
    bool with_links;   /* this round looks at links, which is once a day */
    int64_t links_day; /* of that round */
    struct store_batch *batch;
    struct vault_key *keys; /* DAY_COUNTS_REMOVE_MAX */
};

enum pl_err retention_new(struct retention **out, const struct lifecycle_config *config)
{
    struct retention *r = calloc(1, sizeof(*r));
    if (r == NULL) {
        return PL_ENOMEM;
    }
    r->config = config;
    r->swept_day = -1;
    r->keys = calloc(DAY_COUNTS_REMOVE_MAX, sizeof(*r->keys));
    enum pl_err err = r->keys == NULL ? PL_ENOMEM : store_batch_new(&r->batch);
    if (err != PL_OK) {
        retention_free(r);
        return err;
    }
    *out = r;
    return PL_OK;
}

void retention_free(struct retention *r)
{
    if (r != NULL) {
        store_batch_free(r->batch);
        free(r->keys);
        free(r);
    }
}

/* ---- dedupe entries */

static enum pl_err read_swept_day(struct retention *r, int64_t today)
{
    struct pl_buf value;
    pl_buf_init(&value, 16);
    enum pl_err err = store_get(r->config->store, FAMILY_META, SWEPT_KEY, &value);
    if (err == PL_OK && value.len == 8) {
        r->swept_day = (int64_t)pl_load_u64(value.data);
    } else if (err == PL_ENOTFOUND) {
        /* A new store: nothing in it is older than today. */
        r->swept_day = today - DEDUPE_SWEEP_DAYS - 1;
        err = PL_OK;
    }
    pl_buf_release(&value);
    return err;
}

/* One slice of the entries that are older than retries can be. True: there is more. */
static bool sweep_dedupe(struct retention *r, int64_t today)
{
    struct pl_why why = {0};
    uint8_t day[8];
    enum pl_err err = r->swept_day < 0 ? read_swept_day(r, today) : PL_OK;
    if (err == PL_OK && r->swept_day >= today - DEDUPE_SWEEP_DAYS - 1) {
        return false;
    }
    if (err == PL_OK) {
        err = dedupe_expire(r->config->store, r->swept_day + 1, &r->sweep_cursor, SWEEP_KEYS, &why);
    }
    if (err == PL_OK) {
        r->swept_day++;
        memset(&r->sweep_cursor, 0, sizeof(r->sweep_cursor));
        pl_store_u64(day, (uint64_t)r->swept_day);
        err = store_put(r->config->store, FAMILY_META, SWEPT_KEY, pl_span(day, sizeof(day)), false,
                        &why);
    }
    if (err != PL_OK && err != PL_EAGAIN) {
        pl_log(r->config->log, PL_LOG_WARN, "lifecycle", "old dedupe entries stay for now: %s",
               why.text);
        return false;
    }
    return true;
}

/* ---- what may go */

int64_t retention_first_day(uint64_t months, int64_t now_ms)
{
    time_t seconds = (time_t)(pl_day_of(now_ms) * (PL_DAY_MS / PL_SECOND_MS));
    struct tm date;
    gmtime_r(&seconds, &date);
    const int day = date.tm_mday;
    date.tm_mon -= (int)months;
    seconds = timegm(&date);
    if (date.tm_mday != day) { /* that month is shorter: its last day, not one of the next */
        date.tm_mday = 0;
        seconds = timegm(&date);
    }
    return pl_day_of((int64_t)seconds * PL_SECOND_MS);
}

/* The first day that is not dropped, as far as no hold covers it. */
static int64_t first_kept_day(const struct retention *r, const struct account *account,
                              int64_t now_ms)
{
    int64_t day = retention_first_day(account->retention_months, now_ms);
    if (account->state == ACCOUNT_DELETABLE && account->cleared_ms != 0 &&
        !holds_stand(r->config->holds, account->id, true, now_ms, NULL) &&
        holds_stand(r->config->holds, account->id, false, now_ms, NULL)) {
        day = pl_day_of(now_ms) + 1;
    }
    /* Dedupe entries are found by their events: they go first. */
    return day <= r->swept_day + 1 ? day : r->swept_day + 1;
}

/* ---- what has to be made sure of */

static struct pl_span unsettled_key(uint64_t account, uint8_t key[UNSETTLED_KEY_BYTES])
{
    memcpy(key, UNSETTLED_KEY, sizeof(UNSETTLED_KEY) - 1);
    pl_store_u64(key + sizeof(UNSETTLED_KEY) - 1, account);
    return pl_span(key, UNSETTLED_KEY_BYTES);
}

/* PL_ENOTFOUND: nothing. */
static enum pl_err read_unsettled(struct retention *r, uint64_t account, struct unsettled *days)
{
    uint8_t key[UNSETTLED_KEY_BYTES];
    struct pl_buf value;
    pl_buf_init(&value, 16);
    enum pl_err err = store_get(r->config->store, FAMILY_META, unsettled_key(account, key), &value);
    if (err == PL_OK && value.len != 4) {
        err = PL_ECORRUPT;
    }
    if (err == PL_OK) {
        days->first_day = pl_load_u16(value.data);
        days->last_day = pl_load_u16(value.data + 2);
    }
    pl_buf_release(&value);
    return err;
}

/* Goes into the batch that deletes. */
static enum pl_err note_unsettled(struct retention *r, uint64_t account, int64_t day)
{
    uint8_t key[UNSETTLED_KEY_BYTES], value[4];
    struct unsettled days;
    enum pl_err err = read_unsettled(r, account, &days);
    if (err == PL_ENOTFOUND) {
        days = (struct unsettled){day, day};
        err = PL_OK;
    }
    if (err == PL_OK) {
        days.first_day = day < days.first_day ? day : days.first_day;
        days.last_day = day > days.last_day ? day : days.last_day;
        pl_store_u16(value, (uint16_t)days.first_day);
        pl_store_u16(value + 2, (uint16_t)days.last_day);
        store_batch_put(r->batch, r->config->store, FAMILY_META, unsettled_key(account, key),
                        pl_span(value, sizeof(value)));
    }
    return err;
}

/* Once they are in no file any more: a crash before that has them made sure of, and told, later,
 * but nobody remembers how many they were. */
static void note_retired(struct retention *r, uint64_t account, const struct unsettled *days)
{
    char from[PL_TIME_TEXT], to[PL_TIME_TEXT], detail[96];
    pl_time_format(days->first_day * PL_DAY_MS, from);
    pl_time_format(days->last_day * PL_DAY_MS, to);
    snprintf(detail, sizeof(detail), "days %.10s to %.10s", from, to);
    if (r->retired > 0) {
        snprintf(detail, sizeof(detail), "%llu %s of days %.10s to %.10s",
                 (unsigned long long)r->retired, pl_plural(r->retired, "event", "events"), from,
                 to);
    }
    const struct audit_entry entry = {.actor = "lifecycle",
                                      .action = "events.retire",
                                      .account = account,
                                      .detail = detail,
                                      .outcome = AUDIT_DONE};
    audit_tell(r->config->audit, &entry);
    r->retired = 0;
}

static enum pl_err settle(struct retention *r, uint64_t account, struct pl_why *why)
{
    uint8_t key[UNSETTLED_KEY_BYTES];
    struct vault_key from, to;
    struct unsettled days;
    enum pl_err err = read_unsettled(r, account, &days);
    if (err == PL_ENOTFOUND) {
        return PL_OK;
    }
    vault_key_first(account, days.first_day, &from);
    vault_key_first(account, days.last_day + 1, &to);
    if (err == PL_OK) {
        err = store_settle_range(r->config->store, FAMILY_VAULT, vault_key_span(&from),
                                 vault_key_span(&to), SETTLE_TIMEOUT_MS, why);
    }
    if (err == PL_OK) {
        store_batch_clear(r->batch);
        store_batch_delete(r->batch, r->config->store, FAMILY_META, unsettled_key(account, key));
        err = store_write(r->config->store, r->batch, false, why);
        store_batch_clear(r->batch);
    }
    if (err == PL_OK) {
        note_retired(r, account, &days);
    }
    return err;
}

enum pl_err retention_forget(struct store *store, uint64_t account, struct pl_why *why)
{
    uint8_t key[UNSETTLED_KEY_BYTES];
    struct store_batch *batch;
    enum pl_err err = store_batch_new(&batch);
    if (err != PL_OK) {
        return pl_fail(why, err, "no memory for a deletion");
    }
    store_batch_delete(batch, store, FAMILY_META, unsettled_key(account, key));
    err = store_write(store, batch, true, why);
    store_batch_free(batch);
    return err;
}

/* ---- events */

/* The first keys of a day. */
static enum pl_err read_keys(struct retention *r, uint64_t account, int64_t day, size_t *count)
{
    struct vault_key from, to;
    struct store_scan *scan;
    struct pl_span key, value;
    vault_key_first(account, day, &from);
    vault_key_first(account, day + 1, &to);
    *count = 0;
    enum pl_err err = store_scan_new(&scan, r->config->store, FAMILY_VAULT, vault_key_span(&from),
                                     vault_key_span(&to));
    if (err != PL_OK) {
        return err;
    }
    while (*count < DAY_COUNTS_REMOVE_MAX && (err = store_scan_next(scan, &key, &value)) == PL_OK) {
        if (key.len == VAULT_KEY_BYTES) {
            memcpy(r->keys[(*count)++].bytes, key.data, VAULT_KEY_BYTES);
        }
    }
    store_scan_free(scan);
    return err == PL_ENOTFOUND ? PL_OK : err;
}

/* Deletes some of a day's events; *left: there are more. */
static enum pl_err retire_some(struct retention *r, uint64_t account, int64_t day, bool *left,
                               struct pl_why *why)
{
    size_t count, removed = 0;
    enum pl_err err = read_keys(r, account, day, &count);
    *left = count == DAY_COUNTS_REMOVE_MAX;
    if (err == PL_OK && count > 0) {
        store_batch_clear(r->batch);
        err = note_unsettled(r, account, day);
    }
    if (err != PL_OK) {
        return pl_fail(why, err, "a day's events cannot be read: %s", pl_err_word(err));
    }
    if (count > 0) {
        err = day_counts_remove(r->config->day_counts, r->batch, r->keys, count, DAY_COUNTS_RETIRED,
                                false, &removed, why);
        r->retired += removed;
    }
    return err;
}

/* A part of the links that nobody was seen with since. Held events keep theirs. */
static enum pl_err retire_links(struct retention *r, uint64_t account, int64_t end, int64_t now_ms,
                                struct pl_why *why)
{
    size_t deleted = 0;
    uint8_t from[8], to[8];
    if (!r->with_links || holds_stand(r->config->holds, account, false, now_ms, NULL)) {
        return PL_OK;
    }
    enum pl_err err =
        links_expire(r->config->store, account, end, r->links_at, LINKS_ROWS, &deleted, why);
    r->links_gone |= deleted > 0;
    if (err != PL_OK || !r->links_gone) {
        return err;
    }
    if (r->config->links != NULL) {
        links_changed(r->config->links);
    }
    pl_store_u64(from, account);
    pl_store_u64(to, account + 1);
    return store_settle_range(r->config->store, FAMILY_LINKS, pl_span(from, sizeof(from)),
                              pl_span(to, sizeof(to)), SETTLE_TIMEOUT_MS, why);
}

/* When no day is left. */
static enum pl_err retire_rest(struct retention *r, uint64_t account, int64_t end, int64_t now_ms,
                               struct pl_why *why)
{
    r->next_day = end;
    enum pl_err err = settle(r, account, why);
    return err == PL_OK ? retire_links(r, account, end, now_ms, why) : err;
}

struct part {
    struct retention *r;
    int64_t day, now_ms;
    bool left; /* out: there is more of the day */
};

/* Decided anew while nobody else can change the account: it may have been reinstated, or held. */
static enum pl_err retire_part(void *ctx, const struct account *account, struct pl_why *why)
{
    struct part *part = ctx;
    struct retention *r = part->r;
    if (account->state >= ACCOUNT_DELETING ||
        part->day >= first_kept_day(r, account, part->now_ms) ||
        holds_keep_day(r->config->holds, account->id, part->day, part->now_ms)) {
        return PL_OK;
    }
    return retire_some(r, account->id, part->day, &part->left, why);
}

/* A part of an account's days. PL_OK: all of them; PL_EAGAIN: there is more. */
static enum pl_err retire(struct retention *r, const struct account *account, int64_t now_ms,
                          struct pl_why *why)
{
    const int64_t end = first_kept_day(r, account, now_ms);
    if (account->state >= ACCOUNT_DELETING) {
        return PL_OK;
    }
    if (r->next_day >= end) {
        return retire_rest(r, account->id, end, now_ms, why);
    }
    enum pl_err err = vault_next_day(r->config->store, account->id, end - 1, &r->next_day);
    if (err == PL_ENOTFOUND) {
        return retire_rest(r, account->id, end, now_ms, why);
    }
    struct part part = {.r = r, .day = r->next_day, .now_ms = now_ms};
    if (err == PL_OK) {
        err = accounts_during(r->config->accounts, account->id, retire_part, &part, why);
    }
    if (err == PL_OK) {
        r->next_day += !part.left;
        err = PL_EAGAIN;
    }
    return err;
}

static const struct account *next_account(const struct retention *r, const struct account *accounts,
                                          size_t count)
{
    size_t from = 0, to = count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (accounts[middle].id < r->next_account) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    return from < count ? &accounts[from] : NULL;
}

static void leave_account(struct retention *r, const struct account *account)
{
    r->next_day = 0;
    memset(r->links_at, 0, sizeof(r->links_at));
    r->links_gone = false;
    r->retired = 0;
    r->next_account = account->id + 1;
    r->in_round = account->id != UINT64_MAX;
}

/* One account at a time, as far as the time goes. */
static void retire_accounts(struct retention *r, const struct account *accounts, size_t count,
                            int64_t now_ms)
{
    const int64_t until_ms = pl_mono_ms(pl_clock_system()) + GO_ON_MS;
    while (r->in_round && pl_mono_ms(pl_clock_system()) < until_ms) {
        struct pl_why why = {0};
        const struct account *account = next_account(r, accounts, count);
        if (account == NULL) {
            r->in_round = false;
            return;
        }
        enum pl_err err = retire(r, account, now_ms, &why);
        if (err == PL_EAGAIN && why.text[0] == '\0') {
            continue;
        }
        if (err != PL_OK) { /* the next round tries again */
            pl_log(r->config->log, err == PL_EAGAIN ? PL_LOG_INFO : PL_LOG_WARN, "lifecycle",
                   "old events of account %016llx stay for now: %s",
                   (unsigned long long)account->id,
                   why.text[0] == '\0' ? pl_err_word(err) : why.text);
        }
        leave_account(r, account);
    }
}

void retention_go_on(struct retention *r, const struct account *accounts, size_t count,
                     int64_t now_ms, bool *more)
{
    *more |= sweep_dedupe(r, pl_day_of(now_ms));
    if (r->config->day_counts == NULL || r->swept_day < 0) {
        return;
    }
    if (!r->in_round &&
        (r->round_ms == 0 || now_ms - r->round_ms >= ROUND_MS || now_ms < r->round_ms)) {
        r->in_round = true;
        r->round_ms = now_ms;
        r->with_links = r->links_day != pl_day_of(now_ms);
        r->links_day = pl_day_of(now_ms);
        r->next_account = 0;
        r->next_day = 0;
    }
    retire_accounts(r, accounts, count, now_ms);
    *more |= r->in_round;
}
