#include "origin/lifecycle/clock_freezes.h"
#include "origin/families.h"

#include <stdio.h>

static const struct pl_span PREFIX = PL_SPAN_INIT("clock-freeze/");

#define KEY_BYTES   (13 + 8) /* the prefix and from_ms, which is not negative */
#define VALUE_BYTES (8 + CLOCK_FREEZE_REASON_BYTES)

static void make_key(int64_t from_ms, uint8_t key[KEY_BYTES])
{
    memcpy(key, PREFIX.data, PREFIX.len);
    pl_store_u64(key + PREFIX.len, (uint64_t)from_ms);
}

static bool read_freeze(struct pl_span key, struct pl_span value, struct clock_freeze *out)
{
    if (key.len != KEY_BYTES || value.len < 8 || value.len >= VALUE_BYTES) {
        return false;
    }
    out->from_ms = (int64_t)pl_load_u64(key.data + PREFIX.len);
    out->until_ms = (int64_t)pl_load_u64(value.data);
    snprintf(out->reason, sizeof(out->reason), "%.*s", (int)(value.len - 8),
             (const char *)value.data + 8);
    return true;
}

static enum pl_err keep(struct store *store, const struct clock_freeze *freeze, struct pl_why *why)
{
    uint8_t key[KEY_BYTES], value[VALUE_BYTES];
    size_t len = strlen(freeze->reason);
    make_key(freeze->from_ms, key);
    pl_store_u64(value, (uint64_t)freeze->until_ms);
    memcpy(value + 8, freeze->reason, len);
    return store_put(store, FAMILY_META, pl_span(key, sizeof(key)), pl_span(value, 8 + len), true,
                     why);
}

/* Calls visit for each, oldest first. */
static enum pl_err each(struct store *store,
                        void (*visit)(void *ctx, const struct clock_freeze *freeze), void *ctx)
{
    struct store_scan *scan;
    struct pl_span key, value;
    struct clock_freeze freeze;
    struct pl_buf end;
    pl_buf_init(&end, 32);
    enum pl_err err = store_prefix_end(PREFIX, &end);
    if (err == PL_OK) {
        err = store_scan_new(&scan, store, FAMILY_META, PREFIX, pl_buf_span(&end));
    }
    if (err == PL_OK) {
        while ((err = store_scan_next(scan, &key, &value)) == PL_OK) {
            if (read_freeze(key, value, &freeze)) {
                visit(ctx, &freeze);
            }
        }
        store_scan_free(scan);
        err = err == PL_ENOTFOUND ? PL_OK : err;
    }
    pl_buf_release(&end);
    return err;
}

/* One that lasts, or that has ended so shortly before from_ms that it goes on. By what its clock
 * showed the newest one need not have begun last. */
struct search {
    bool begins; /* from_ms is set */
    int64_t from_ms;
    bool found;
    struct clock_freeze freeze;
};

static void take_open(void *ctx, const struct clock_freeze *freeze)
{
    struct search *search = ctx;
    const int64_t gap_ms = search->from_ms - freeze->until_ms;
    const bool joins = search->begins && gap_ms >= 0 && gap_ms <= CLOCK_FREEZE_JOIN_MS;
    const bool has_open = search->found && search->freeze.until_ms == 0;
    if (freeze->until_ms == 0 || (joins && !has_open)) {
        search->freeze = *freeze;
        search->found = true;
    }
}

enum pl_err clock_freeze_open(struct store *store, struct clock_freeze *freeze)
{
    struct search search = {.found = false};
    enum pl_err err = each(store, take_open, &search);
    if (err == PL_OK && !search.found) {
        return PL_ENOTFOUND;
    }
    if (err == PL_OK) {
        *freeze = search.freeze;
    }
    return err;
}

enum pl_err clock_freeze_begin(struct store *store, int64_t from_ms, const char *reason,
                               struct clock_freeze *freeze, struct pl_why *why)
{
    struct search search = {.begins = true, .from_ms = from_ms};
    enum pl_err err = each(store, take_open, &search);
    if (err != PL_OK) {
        return pl_fail(why, err, "earlier freezes of the clock cannot be read: %s",
                       pl_err_word(err));
    }
    *freeze =
        search.found ? search.freeze : (struct clock_freeze){.from_ms = from_ms < 0 ? 0 : from_ms};
    if (!search.found || freeze->until_ms != 0) { /* of those that are one the last tells why */
        snprintf(freeze->reason, sizeof(freeze->reason), "%s", reason);
    }
    freeze->until_ms = 0;
    return keep(store, freeze, why);
}

struct old {
    struct store *store;
    struct store_batch *batch;
    int64_t before_ms;
};

static void drop_old(void *ctx, const struct clock_freeze *freeze)
{
    struct old *old = ctx;
    uint8_t key[KEY_BYTES];
    if (freeze->until_ms != 0 && freeze->until_ms < old->before_ms &&
        freeze->from_ms < old->before_ms) {
        make_key(freeze->from_ms, key);
        store_batch_delete(old->batch, old->store, FAMILY_META, pl_span(key, sizeof(key)));
    }
}

enum pl_err clock_freeze_end(struct store *store, struct clock_freeze *freeze, int64_t until_ms,
                             const char *ended_by, struct pl_why *why)
{
    struct old old = {.store = store, .before_ms = until_ms - CLOCK_FREEZE_KEEP_MS};
    size_t len = strlen(freeze->reason);
    freeze->until_ms = until_ms;
    snprintf(freeze->reason + len, sizeof(freeze->reason) - len, "; %s", ended_by);
    enum pl_err err = keep(store, freeze, why);
    if (err == PL_OK && store_batch_new(&old.batch) == PL_OK) {
        if (each(store, drop_old, &old) == PL_OK) {
            store_write(store, old.batch, false, NULL);
        }
        store_batch_free(old.batch);
    }
    return err;
}

struct between {
    int64_t from_ms, until_ms;
    struct clock_freeze *out;
    size_t max, count;
};

/* A clock that was set back and confirmed leaves a freeze that ends before it began. */
static void take_between(void *ctx, const struct clock_freeze *freeze)
{
    struct between *between = ctx;
    bool backwards = freeze->until_ms != 0 && freeze->until_ms < freeze->from_ms;
    int64_t first_ms = backwards ? freeze->until_ms : freeze->from_ms;
    int64_t last_ms = freeze->until_ms == 0 ? INT64_MAX
                      : backwards           ? freeze->from_ms
                                            : freeze->until_ms;
    if (first_ms > between->until_ms || last_ms < between->from_ms) {
        return;
    }
    if (between->count < between->max) {
        between->out[between->count] = *freeze;
    }
    between->count++;
}

enum pl_err clock_freezes_between(struct store *store, int64_t from_ms, int64_t until_ms,
                                  struct clock_freeze *out, size_t max, size_t *count)
{
    struct between between = {
        .from_ms = from_ms, .until_ms = until_ms, .out = out, .max = max, .count = 0};
    enum pl_err err = each(store, take_between, &between);
    if (err == PL_OK) {
        *count = between.count;
    }
    return err;
}
