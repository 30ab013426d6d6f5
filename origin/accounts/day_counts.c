#include "origin/accounts/day_counts.h"

#include <pthread.h>
#include <stdlib.h>

#define KEY_BYTES   11 /* account(8) day(2) what(1) */
#define ROW_VERSION 1
#define ROW_MAX     64
#define CACHE_ROWS  4096 /* accounts times the days that come in at once */
#define READ_BYTES                                                                                 \
    ((size_t)DAY_COUNTS_REMOVE_MAX * (VAULT_VALUE_EXTRA + 2 * LIMIT_EVENT_WIRE_BYTES))

/* A row of its own for what comes and for what goes: the writer shares none with anybody. */
enum what { CAME, WENT, WHAT_END };

struct cached {
    bool used;
    uint64_t account;
    int64_t day;
    struct day_counts_sum sum;
};

struct day_counts {
    struct store *store;
    struct cached *cache; /* of rows CAME; the writer's */
    pthread_mutex_t lock; /* held from reading a row WENT to its being written */
    struct store_found *found;
    struct pl_span *keys;
};

enum pl_err day_counts_new(struct day_counts **out, struct store *store)
{
    struct day_counts *d = calloc(1, sizeof(*d));
    if (d == NULL)
        return PL_ENOMEM;
    d->store = store;
    pthread_mutex_init(&d->lock, NULL);
    d->cache = calloc(CACHE_ROWS, sizeof(*d->cache));
    d->found = calloc(DAY_COUNTS_REMOVE_MAX, sizeof(*d->found));
    d->keys = calloc(DAY_COUNTS_REMOVE_MAX, sizeof(*d->keys));
    if (d->cache == NULL || d->found == NULL || d->keys == NULL) {
        day_counts_free(d);
        return PL_ENOMEM;
    }
    *out = d;
    return PL_OK;
}

void day_counts_free(struct day_counts *d)
{
    if (d == NULL)
        return;
    pthread_mutex_destroy(&d->lock);
    free(d->cache);
    free(d->found);
    free(d->keys);
    free(d);
}

/* ---- rows */

static struct pl_span row_key(uint64_t account, int64_t day, enum what what, uint8_t key[KEY_BYTES])
{
    pl_store_u64(key, account);
    pl_store_u16(key + 8, (uint16_t)day);
    key[10] = (uint8_t)what;
    return pl_span(key, KEY_BYTES);
}

static void put_row(struct day_counts *d, struct store_batch *batch, struct pl_span key,
                    const struct day_counts_sum *sums, size_t count)
{
    uint8_t room[ROW_MAX];
    struct pl_buf row = {.data = room, .cap = sizeof(room), .max_bytes = sizeof(room)};
    (void)pl_buf_put_u8(&row, ROW_VERSION); /* two sums of two numbers fit */
    for (size_t i = 0; i < count; i++) {
        (void)pl_buf_put_varint(&row, sums[i].events);
        (void)pl_buf_put_varint(&row, sums[i].bytes);
    }
    store_batch_put(batch, d->store, FAMILY_DAYS, key, pl_buf_span(&row));
}

static enum pl_err parse_row(struct pl_span value, struct day_counts_sum *sums, size_t count)
{
    struct pl_reader r = pl_reader(value);
    uint8_t version = pl_get_u8(&r);
    for (size_t i = 0; i < count; i++) {
        sums[i].events = pl_get_varint(&r);
        sums[i].bytes = pl_get_varint(&r);
    }
    if (version > ROW_VERSION)
        return PL_EUNSUPPORTED;
    return r.failed || r.rest.len > 0 || version != ROW_VERSION ? PL_ECORRUPT : PL_OK;
}

/* Zeros where there is none yet. */
static enum pl_err get_row(struct day_counts *d, struct pl_span key, struct day_counts_sum *sums,
                           size_t count)
{
    struct pl_buf value;
    pl_buf_init(&value, ROW_MAX);
    enum pl_err err = store_get(d->store, FAMILY_DAYS, key, &value);
    memset(sums, 0, count * sizeof(*sums));
    if (err == PL_OK)
        err = parse_row(pl_buf_span(&value), sums, count);
    pl_buf_release(&value);
    return err == PL_ENOTFOUND ? PL_OK : err;
}

static void add(struct day_counts_sum *sum, const struct day_counts_sum *more)
{
    sum->events += more->events;
    sum->bytes += more->bytes;
}

/* ---- the writer's */

enum pl_err day_counts_stored(struct day_counts *d, struct store_batch *batch, uint64_t account,
                              int64_t day, uint64_t events, uint64_t bytes)
{
    uint8_t key[KEY_BYTES];
    struct pl_span at = row_key(account, day, CAME, key);
    uint64_t mixed = (account ^ (uint64_t)day) * UINT64_C(0x9e3779b97f4a7c15);
    struct cached *c = &d->cache[(mixed >> 32) % CACHE_ROWS];
    if (!c->used || c->account != account || c->day != day) {
        *c = (struct cached){.account = account, .day = day};
        enum pl_err err = get_row(d, at, &c->sum, 1);
        if (err != PL_OK)
            return err;
        c->used = true;
    }
    add(&c->sum, &(struct day_counts_sum){.events = events, .bytes = bytes});
    put_row(d, batch, at, &c->sum, 1);
    return PL_OK;
}

void day_counts_reload(struct day_counts *d)
{
    memset(d->cache, 0, CACHE_ROWS * sizeof(*d->cache));
}

/* ---- removing */

/* Deletes a run of one account's day and counts it. A key that the disk does not give back counts
 * as there, with no bytes. */
static enum pl_err remove_run(struct day_counts *d, struct store_batch *batch,
                              const struct vault_key *keys, size_t count,
                              enum day_counts_reason reason, size_t *removed)
{
    struct day_counts_sum sums[2], gone = {0};
    struct pl_buf values;
    uint8_t key[KEY_BYTES];
    struct pl_span at = row_key(vault_key_account(&keys[0]), vault_key_day(&keys[0]), WENT, key);
    for (size_t i = 0; i < count; i++)
        d->keys[i] = vault_key_span(&keys[i]);
    pl_buf_init(&values, READ_BYTES);
    enum pl_err err = store_get_many(d->store, FAMILY_VAULT, d->keys, count, d->found, &values);
    if (err == PL_ECORRUPT) {
        for (size_t i = 0; i < count; i++)
            d->found[i] = (struct store_found){.found = true};
        err = PL_OK;
    }
    pl_buf_release(&values);
    if (err == PL_OK)
        err = get_row(d, at, sums, 2);
    if (err != PL_OK)
        return err;
    for (size_t i = 0; i < count; i++) {
        if (!d->found[i].found)
            continue;
        gone.events++;
        gone.bytes += VAULT_KEY_BYTES + d->found[i].value_len;
        store_batch_delete(batch, d->store, FAMILY_VAULT, d->keys[i]);
    }
    if (gone.events == 0)
        return PL_OK;
    *removed += gone.events;
    add(&sums[reason], &gone);
    put_row(d, batch, at, sums, 2);
    return PL_OK;
}

enum pl_err day_counts_remove(struct day_counts *d, struct store_batch *batch,
                              const struct vault_key *keys, size_t count,
                              enum day_counts_reason reason, bool sync, size_t *removed,
                              struct pl_why *why)
{
    enum pl_err err = count > DAY_COUNTS_REMOVE_MAX ? PL_ELIMIT : PL_OK;
    size_t sum = 0;
    pthread_mutex_lock(&d->lock);
    for (size_t i = 0, run; err == PL_OK && i < count; i += run) {
        for (run = 1; i + run < count && memcmp(keys[i].bytes, keys[i + run].bytes, 10) == 0;)
            run++;
        err = remove_run(d, batch, &keys[i], run, reason, &sum);
    }
    if (err != PL_OK)
        pl_fail(why, err, "events cannot be removed, because their count cannot be kept: %s",
                pl_err_word(err));
    else if (store_batch_bytes(batch) > 0)
        err = store_write(d->store, batch, sync, why);
    pthread_mutex_unlock(&d->lock);
    store_batch_clear(batch);
    if (removed != NULL)
        *removed = err == PL_OK ? sum : 0;
    return err;
}

/* ---- reading */

struct walk {
    uint64_t account;
    int64_t day;
    struct day_counts_row row;
    bool any;
};

static enum pl_err
show(struct walk *at,
     enum pl_err (*visit)(void *, uint64_t, int64_t, const struct day_counts_row *), void *ctx)
{
    bool any = at->any;
    at->any = false;
    return any ? visit(ctx, at->account, at->day, &at->row) : PL_OK;
}

static enum pl_err take_row(struct walk *at, struct pl_span key, struct pl_span value)
{
    struct day_counts_sum went[2];
    if (key.data[10] == CAME)
        return parse_row(value, &at->row.stored, 1);
    enum pl_err err = key.data[10] == WENT ? parse_row(value, went, 2) : PL_EUNSUPPORTED;
    if (err == PL_OK) {
        at->row.erased = went[DAY_COUNTS_ERASED];
        at->row.retired = went[DAY_COUNTS_RETIRED];
    }
    return err;
}

enum pl_err
day_counts_each(struct day_counts *d, uint64_t account, int64_t first_day, int64_t last_day,
                enum pl_err (*visit)(void *, uint64_t, int64_t, const struct day_counts_row *),
                void *ctx)
{
    struct vault_key from, to; /* whose first ten bytes are the same */
    struct store_scan *scan;
    struct pl_span key, value, end = pl_span(NULL, 0);
    struct walk at = {.any = false};
    vault_key_first(account, account == 0 ? 0 : first_day, &from);
    vault_key_first(account, last_day + 1, &to);
    if (account != 0 && vault_key_account(&to) >= account)
        end = pl_span(to.bytes, 10);
    enum pl_err err = store_scan_new(&scan, d->store, FAMILY_DAYS, pl_span(from.bytes, 10), end);
    if (err != PL_OK)
        return err;
    while (err == PL_OK && (err = store_scan_next(scan, &key, &value)) == PL_OK) {
        if (key.len != KEY_BYTES) {
            err = PL_ECORRUPT;
            break;
        }
        uint64_t of = pl_load_u64(key.data);
        int64_t day = pl_load_u16(key.data + 8);
        if (at.any && (at.account != of || at.day != day))
            err = show(&at, visit, ctx);
        if (of != 0 && (day < first_day || day > last_day))
            continue;
        if (!at.any)
            at = (struct walk){.account = of, .day = day, .any = true};
        if (err == PL_OK)
            err = take_row(&at, key, value);
    }
    store_scan_free(scan);
    return err == PL_ENOTFOUND ? show(&at, visit, ctx) : err;
}

void day_counts_add(struct day_counts_row *sum, const struct day_counts_row *more)
{
    add(&sum->stored, &more->stored);
    add(&sum->erased, &more->erased);
    add(&sum->retired, &more->retired);
}

static enum pl_err sum_up(void *ctx, uint64_t account, int64_t day,
                          const struct day_counts_row *row)
{
    (void)account;
    (void)day;
    day_counts_add(ctx, row);
    return PL_OK;
}

enum pl_err day_counts_total(struct day_counts *d, uint64_t account, int64_t first_day,
                             int64_t last_day, struct day_counts_row *sum)
{
    memset(sum, 0, sizeof(*sum));
    return day_counts_each(d, account, first_day, last_day, sum_up, sum);
}

/* ---- forgetting */

/* The account's figures go over to account 0 in one batch. */
static enum pl_err move_to_deleted(struct day_counts *d, struct store_batch *batch,
                                   uint64_t account)
{
    uint8_t from[KEY_BYTES], to[KEY_BYTES], key[KEY_BYTES];
    struct day_counts_row row;
    struct day_counts_sum came, went[2];
    enum pl_err err = day_counts_total(d, account, 0, VAULT_DAY_MAX, &row);
    if (err != PL_OK || row.stored.events == 0)
        return err;
    if ((err = get_row(d, row_key(0, 0, CAME, key), &came, 1)) != PL_OK ||
        (err = get_row(d, row_key(0, 0, WENT, key), went, 2)) != PL_OK)
        return err;
    add(&came, &row.stored);
    add(&went[DAY_COUNTS_ERASED], &row.erased);
    add(&went[DAY_COUNTS_RETIRED], &row.retired);
    put_row(d, batch, row_key(0, 0, CAME, key), &came, 1);
    put_row(d, batch, row_key(0, 0, WENT, key), went, 2);
    store_batch_delete_range(batch, d->store, FAMILY_DAYS, row_key(account, 0, CAME, from),
                             row_key(account, VAULT_DAY_MAX, WHAT_END, to));
    return PL_OK;
}

enum pl_err day_counts_forget(struct day_counts *d, uint64_t account, struct pl_why *why)
{
    struct store_batch *batch;
    enum pl_err err = account == 0 ? PL_EINVAL : store_batch_new(&batch);
    if (err != PL_OK)
        return pl_fail(why, err, "an account's counts cannot be dropped: %s", pl_err_word(err));
    pthread_mutex_lock(&d->lock);
    err = move_to_deleted(d, batch, account);
    if (err != PL_OK)
        pl_fail(why, err, "an account's counts cannot be read: %s", pl_err_word(err));
    else if (store_batch_bytes(batch) > 0)
        err = store_write(d->store, batch, true, why);
    pthread_mutex_unlock(&d->lock);
    store_batch_free(batch);
    return err;
}
