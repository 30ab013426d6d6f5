#include "origin/accounts/holds.h"
#include "origin/families.h"
#include "origin/journal/redo.h"
#include "origin/request.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define KEY_BYTES        24
#define RECORD_BYTES_MAX 4096

struct holds {
    struct store *store;
    struct redo *redo;
    const struct pl_clock *clock;
    const struct pl_random *random;
    pthread_mutex_t changing; /* one change at a time, over its write too */
    bool stale;               /* under `changing`: a write failed, which may turn up after all */
    pthread_rwlock_t lock;    /* the table; changed only under `changing` */
    struct hold *table;       /* in the order in which they were placed */
    size_t count;
};

/* ---- the table */

/* Under lock or changing. */
static struct hold *find(struct holds *holds, uint64_t account, const struct pl_id128 *id)
{
    for (size_t i = 0; i < holds->count; i++) {
        if (holds->table[i].account == account && pl_id128_eq(&holds->table[i].id, id)) {
            return &holds->table[i];
        }
    }
    return NULL;
}

static enum pl_err add(struct holds *holds, const struct hold *hold)
{
    struct hold *grown = reallocarray(holds->table, holds->count + 1, sizeof(*holds->table));
    if (grown == NULL) {
        return PL_ENOMEM;
    }
    holds->table = grown;
    size_t at = holds->count++;
    for (; at > 0 && grown[at - 1].placed_ms > hold->placed_ms; at--) {
        grown[at] = grown[at - 1];
    }
    grown[at] = *hold;
    return PL_OK;
}

static enum pl_err load(void *ctx, struct pl_span key, struct json record, struct pl_why *why)
{
    struct hold hold;
    enum pl_err err = key.len == KEY_BYTES ? hold_read_json(record, &hold, why) : PL_ECORRUPT;
    return err == PL_OK ? add(ctx, &hold) : pl_fail_in(why, err, "a stored hold");
}

/* Under `changing`. */
static enum pl_err catch_up(struct holds *holds, struct pl_why *why)
{
    struct holds fresh = {.store = holds->store};
    if (!holds->stale) {
        return PL_OK;
    }
    enum pl_err err = store_sync(holds->store, why); /* fails until the store has recovered */
    if (err == PL_OK) {
        err = request_each_record(holds->store, FAMILY_HOLDS, load, &fresh, why);
    }
    if (err != PL_OK) {
        free(fresh.table);
        return err;
    }
    pthread_rwlock_wrlock(&holds->lock);
    free(holds->table);
    holds->table = fresh.table;
    holds->count = fresh.count;
    pthread_rwlock_unlock(&holds->lock);
    holds->stale = false;
    return PL_OK;
}

enum pl_err holds_open(struct holds **out, struct store *store, struct redo *redo,
                       const struct pl_clock *clock, const struct pl_random *random,
                       struct pl_why *why)
{
    struct holds *holds = calloc(1, sizeof(*holds));
    if (holds == NULL) {
        return pl_fail(why, PL_ENOMEM, "no memory for the holds");
    }
    holds->store = store;
    holds->redo = redo;
    holds->clock = clock;
    holds->random = random;
    pthread_mutex_init(&holds->changing, NULL);
    pthread_rwlock_init(&holds->lock, NULL);
    enum pl_err err = request_each_record(store, FAMILY_HOLDS, load, holds, why);
    if (err != PL_OK) {
        holds_close(holds);
        return err;
    }
    *out = holds;
    return PL_OK;
}

void holds_close(struct holds *holds)
{
    if (holds != NULL) {
        pthread_rwlock_destroy(&holds->lock);
        pthread_mutex_destroy(&holds->changing);
        free(holds->table);
        free(holds);
    }
}

/* ---- changes */

static enum pl_err write_record(struct holds *holds, const struct hold *hold, struct pl_why *why)
{
    struct json_writer *w = NULL;
    struct pl_buf bytes;
    uint8_t key[KEY_BYTES];
    pl_buf_init(&bytes, RECORD_BYTES_MAX);
    pl_store_u64(key, hold->account);
    memcpy(key + 8, hold->id.bytes, sizeof(hold->id.bytes));
    enum pl_err err = json_writer_new(&w, false);
    if (err == PL_OK) {
        json_writer_begin(w, &bytes);
        hold_write_json(hold, 0, w);
        err = json_writer_end(w);
    }
    if (err != PL_OK) {
        pl_fail(why, err, "the hold cannot be recorded: %s", pl_err_word(err));
    } else {
        const struct redo_change change = {
            .record = {.kind = REDO_HOLD,
                       .account = hold->account,
                       .id = hold->id,
                       .row = pl_buf_span(&bytes)},
            .store = holds->store,
            .family = FAMILY_HOLDS,
            .key = pl_span(key, sizeof(key)),
            .row = pl_buf_span(&bytes),
        };
        err = redo_make(holds->redo, &change, why);
        holds->stale = err != PL_OK;
    }
    json_writer_free(w);
    pl_buf_release(&bytes);
    return err;
}

/* Durable first, then in memory. Under `changing`. */
static enum pl_err keep(struct holds *holds, const struct hold *hold, struct pl_why *why)
{
    enum pl_err err = write_record(holds, hold, why);
    if (err != PL_OK) {
        return err;
    }
    pthread_rwlock_wrlock(&holds->lock);
    struct hold *known = find(holds, hold->account, &hold->id);
    if (known != NULL) {
        *known = *hold;
    } else {
        err = add(holds, hold);
        holds->stale = err != PL_OK;
    }
    pthread_rwlock_unlock(&holds->lock);
    return err == PL_OK ? err : pl_fail(why, err, "no memory for a hold");
}

static enum pl_err check_room(const struct holds *holds, uint64_t account, struct pl_why *why)
{
    size_t mine = 0;
    for (size_t i = 0; i < holds->count; i++) {
        mine += holds->table[i].account == account;
    }
    if (mine >= HOLDS_ACCOUNT_MAX || holds->count >= HOLDS_MAX) {
        return pl_fail(why, PL_ELIMIT, "there are %zu holds%s, as many as an origin keeps",
                       mine >= HOLDS_ACCOUNT_MAX ? mine : holds->count,
                       mine >= HOLDS_ACCOUNT_MAX ? " on this account" : "");
    }
    return PL_OK;
}

enum pl_err holds_place(struct holds *holds, uint64_t account, struct json request,
                        const char *actor, struct hold *out, struct pl_why *why)
{
    static const char *const members[] = {"reason", "from", "to", "until", NULL};
    struct hold hold = {.account = account, .placed_ms = pl_wall_ms(holds->clock)};
    enum pl_err err;
    if ((err = request_only(request, members, why)) != PL_OK ||
        (err = hold_read_request(request, &hold, why)) != PL_OK) {
        return err;
    }
    if (hold.reason[0] == '\0') {
        return pl_fail_field(why, PL_EINVAL, "reason", "reason is missing: a hold must say why");
    }
    if (hold.until_ms != 0 && hold.until_ms <= hold.placed_ms) {
        return pl_fail_field(why, PL_EINVAL, "until", "until has passed already");
    }
    if (pl_id128_random(holds->random, &hold.id) != PL_OK) {
        return pl_fail(why, PL_EIO, "no random bytes for a hold");
    }
    snprintf(hold.placed_by, sizeof(hold.placed_by), "%s", actor);
    pthread_mutex_lock(&holds->changing);
    if ((err = catch_up(holds, why)) == PL_OK && (err = check_room(holds, account, why)) == PL_OK) {
        err = keep(holds, &hold, why);
    }
    pthread_mutex_unlock(&holds->changing);
    if (err == PL_OK) {
        *out = hold;
    }
    return err;
}

enum pl_err holds_release(struct holds *holds, uint64_t account, const struct pl_id128 *id,
                          struct json request, const char *actor, struct hold *out,
                          struct pl_why *why)
{
    static const char *const members[] = {"reason", NULL};
    char reason[HOLD_REASON_BYTES] = "";
    struct hold hold;
    enum pl_err err;
    if ((err = request_only(request, members, why)) != PL_OK ||
        (err = request_text(request, "reason", reason, sizeof(reason), why)) != PL_OK) {
        return err;
    }
    if (reason[0] == '\0') {
        return pl_fail_field(why, PL_EINVAL, "reason", "reason is missing: a release must say why");
    }
    pthread_mutex_lock(&holds->changing);
    err = catch_up(holds, why);
    const struct hold *known = find(holds, account, id);
    if (err == PL_OK && known == NULL) {
        err = pl_fail(why, PL_ENOTFOUND,
                      "the account has no such hold; polderctl account holds "
                      "shows them");
    } else if (err == PL_OK) {
        hold = *known;
        hold.was_so = hold.released_ms != 0;
        if (!hold.was_so) {
            hold.released_ms = pl_wall_ms(holds->clock);
            memcpy(hold.release_reason, reason, sizeof(reason));
            snprintf(hold.released_by, sizeof(hold.released_by), "%s", actor);
            err = keep(holds, &hold, why);
        }
    }
    pthread_mutex_unlock(&holds->changing);
    if (err == PL_OK) {
        *out = hold;
    }
    return err;
}

enum pl_err holds_put(struct holds *holds, const struct hold *hold, struct pl_why *why)
{
    pthread_mutex_lock(&holds->changing);
    enum pl_err err = catch_up(holds, why);
    if (err == PL_OK) {
        err = keep(holds, hold, why);
    }
    pthread_mutex_unlock(&holds->changing);
    return err;
}

enum pl_err holds_forget(struct holds *holds, uint64_t account, struct pl_why *why)
{
    struct store_batch *batch;
    uint8_t from[8], to[8];
    size_t left = 0;
    enum pl_err err = store_batch_new(&batch);
    if (err != PL_OK) {
        return pl_fail(why, err, "no memory for forgetting holds");
    }
    pl_store_u64(from, account);
    pl_store_u64(to, account + 1);
    store_batch_delete_range(batch, holds->store, FAMILY_HOLDS, pl_span(from, sizeof(from)),
                             pl_span(to, sizeof(to)));
    pthread_mutex_lock(&holds->changing);
    err = store_write(holds->store, batch, true, why);
    holds->stale |= err != PL_OK;
    pthread_rwlock_wrlock(&holds->lock);
    for (size_t i = 0; err == PL_OK && i < holds->count; i++) {
        if (holds->table[i].account != account) {
            holds->table[left++] = holds->table[i];
        }
    }
    holds->count = err == PL_OK ? left : holds->count;
    pthread_rwlock_unlock(&holds->lock);
    pthread_mutex_unlock(&holds->changing);
    store_batch_free(batch);
    return err;
}

/* ---- asking */

size_t holds_of(struct holds *holds, uint64_t account, struct hold *out)
{
    size_t count = 0;
    if (holds == NULL) {
        return 0;
    }
    pthread_rwlock_rdlock(&holds->lock);
    for (size_t i = 0; i < holds->count && count < HOLDS_ACCOUNT_MAX; i++) {
        if (holds->table[i].account == account) {
            if (out != NULL) {
                out[count] = holds->table[i];
            }
            count++;
        }
    }
    pthread_rwlock_unlock(&holds->lock);
    return count;
}

bool holds_stand(struct holds *holds, uint64_t account, bool whole, int64_t now_ms,
                 struct hold *out)
{
    bool found = false;
    if (holds == NULL) {
        return false;
    }
    pthread_rwlock_rdlock(&holds->lock);
    for (size_t i = 0; i < holds->count && !found; i++) {
        const struct hold *hold = &holds->table[i];
        found = hold->account == account && (hold->whole || !whole) && hold_stands(hold, now_ms);
        if (found && out != NULL) {
            *out = *hold;
        }
    }
    pthread_rwlock_unlock(&holds->lock);
    return found;
}

/* Ids are random. */
uint64_t holds_standing(struct holds *holds, uint64_t account, int64_t now_ms)
{
    uint64_t sum = 0;
    if (holds == NULL) {
        return 0;
    }
    pthread_rwlock_rdlock(&holds->lock);
    for (size_t i = 0; i < holds->count; i++) {
        if (holds->table[i].account == account && hold_stands(&holds->table[i], now_ms)) {
            sum += pl_load_u64(holds->table[i].id.bytes) | 1;
        }
    }
    pthread_rwlock_unlock(&holds->lock);
    return sum;
}

bool holds_keep_day(struct holds *holds, uint64_t account, int64_t day, int64_t now_ms)
{
    return holds_kept_day(holds, account, day, now_ms, INT64_MAX);
}

bool holds_kept_day(struct holds *holds, uint64_t account, int64_t day, int64_t now_ms,
                    int64_t placed_by_ms)
{
    bool kept = false;
    if (holds == NULL) {
        return false;
    }
    pthread_rwlock_rdlock(&holds->lock);
    for (size_t i = 0; i < holds->count && !kept; i++) {
        const struct hold *hold = &holds->table[i];
        kept = hold->account == account && hold->placed_ms <= placed_by_ms &&
               hold_stands(hold, now_ms) &&
               (hold->whole || (hold->first_day <= day && day <= hold->last_day));
    }
    pthread_rwlock_unlock(&holds->lock);
    return kept;
}

void holds_count(struct holds *holds, int64_t now_ms, struct holds_count *out)
{
    *out = (struct holds_count){.days = 0};
    if (holds == NULL) {
        return;
    }
    pthread_rwlock_rdlock(&holds->lock);
    for (size_t i = 0; i < holds->count; i++) {
        const struct hold *hold = &holds->table[i];
        if (hold_stands(hold, now_ms)) {
            out->accounts += hold->whole;
            out->ranges += !hold->whole;
            out->days += hold->whole ? 0 : (uint64_t)(hold->last_day - hold->first_day) + 1;
        }
    }
    pthread_rwlock_unlock(&holds->lock);
}

enum pl_err holds_ended(struct holds *holds, int64_t after_ms, int64_t now_ms, struct hold **out,
                        size_t *count)
{
    enum pl_err err = PL_OK;
    *out = NULL;
    *count = 0;
    if (holds == NULL) {
        return PL_OK;
    }
    pthread_rwlock_rdlock(&holds->lock);
    for (size_t i = 0; i < holds->count && err == PL_OK; i++) {
        const struct hold *hold = &holds->table[i];
        if (hold->released_ms != 0 || hold->until_ms <= after_ms || hold->until_ms > now_ms) {
            continue;
        }
        struct hold *grown = reallocarray(*out, *count + 1, sizeof(*grown));
        err = grown == NULL ? PL_ENOMEM : PL_OK;
        if (grown != NULL) {
            *out = grown;
            grown[(*count)++] = *hold;
        }
    }
    pthread_rwlock_unlock(&holds->lock);
    return err;
}

int64_t holds_ended_ms(struct holds *holds, uint64_t account, int64_t now_ms)
{
    int64_t last_ms = 0;
    if (holds == NULL) {
        return 0;
    }
    pthread_rwlock_rdlock(&holds->lock);
    for (size_t i = 0; i < holds->count; i++) {
        int64_t ended_ms =
            holds->table[i].account == account ? hold_ended_ms(&holds->table[i], now_ms) : 0;
        last_ms = ended_ms > last_ms ? ended_ms : last_ms;
    }
    pthread_rwlock_unlock(&holds->lock);
    return last_ms;
}
