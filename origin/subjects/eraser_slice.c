#include "origin/subjects/eraser_slice.h"
#include "origin/accounts/accounts.h"
#include "origin/accounts/holds.h"
#include "origin/families.h"
#include "origin/intake/dedupe.h"

#include <stdlib.h>

#define SLICE_KEYS 256 /* looked at before the scan is let go of */

struct slice {
    struct erasures *erasures;
    struct open_erasure *open;
    int64_t until_ms; /* of what happened later nothing is erased */
    struct store_batch *batch;
    struct pl_buf value;
    struct vault_key keys[SLICE_KEYS];
    size_t count;
    uint64_t bytes, messages, links;
    struct slice_held held;
};

enum pl_err slice_new(struct slice **out, struct erasures *erasures, struct open_erasure *open,
                      int64_t until_ms)
{
    struct slice *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return PL_ENOMEM;
    s->erasures = erasures;
    s->open = open;
    s->until_ms = until_ms;
    pl_buf_init(&s->value, 256);
    enum pl_err err = store_batch_new(&s->batch);
    if (err != PL_OK) {
        slice_free(s);
        return err;
    }
    *out = s;
    return PL_OK;
}

void slice_free(struct slice *s)
{
    if (s == NULL)
        return;
    store_batch_free(s->batch);
    pl_buf_release(&s->value);
    free(s);
}

void slice_ask_holds(struct slice *s)
{
    const struct erasures *e = s->erasures;
    s->held = (struct slice_held){
        .by = holds_standing(e->config.holds, s->open->erasure.account, erasures_earliest_ms(e))};
}

struct slice_held slice_held(const struct slice *s)
{
    return s->held;
}

static bool is_held(const struct slice *s, int64_t day)
{
    const struct erasures *e = s->erasures;
    const struct erasure *erasure = &s->open->erasure;
    return s->held.by != 0 &&
           holds_kept_day(e->config.holds, erasure->account, day, erasures_earliest_ms(e),
                          s->open->replayed ? erasure->at_ms : INT64_MAX);
}

/* The message's hash stays as long as it may be sent again, without who sent it and when: the same
 * entry, that points to nothing. dedupe_check takes it for one whose event was erased. */
static enum pl_err blank_message(struct slice *s, const struct vault_key *at)
{
    struct store *store = s->erasures->config.store;
    uint8_t key[DEDUPE_KEY_BYTES], value[DEDUPE_VALUE_BYTES] = {0};
    dedupe_key_of(at, key);
    dedupe_value_of(at, value);
    pl_buf_reset(&s->value);
    enum pl_err err = store_get(store, FAMILY_DEDUPE, pl_span(key, sizeof(key)), &s->value);
    if (err != PL_OK || !pl_span_eq(pl_buf_span(&s->value), pl_span(value, sizeof(value))))
        return err == PL_ENOTFOUND || err == PL_ECORRUPT ? PL_OK : err;
    dedupe_value_blank(s->open->erasure.at_ms, value);
    store_batch_put(s->batch, store, FAMILY_DEDUPE, pl_span(key, sizeof(key)),
                    pl_span(value, sizeof(value)));
    s->messages++;
    return PL_OK;
}

static enum pl_err take_event(void *ctx, const struct visitor_event *found)
{
    struct slice *s = ctx;
    const int64_t accepted_ms = event_i64(found->event, EVENT_ACCEPTED_MS);
    if (erasures_time(found->event, accepted_ms) > s->until_ms)
        return PL_OK;
    if (is_held(s, vault_key_day(found->key))) {
        s->held.events++;
        return PL_OK;
    }
    s->keys[s->count++] = *found->key;
    s->bytes += VAULT_KEY_BYTES + found->value.len;
    return event_str(found->event, EVENT_MESSAGE_ID).len > 0 ? blank_message(s, found->key) : PL_OK;
}

/* What a pair of an earlier day says, the events say themselves that are held of that day. */
static enum pl_err take_link(void *ctx, const struct link *link)
{
    struct slice *s = ctx;
    struct store *store = s->erasures->config.store;
    if (link->day > pl_day_of(s->until_ms))
        return PL_OK;
    if (is_held(s, link->day)) {
        s->held.links++;
        return PL_OK;
    }
    store_batch_delete(s->batch, store, FAMILY_LINKS, pl_span(link->key, sizeof(link->key)));
    store_batch_delete(s->batch, store, FAMILY_LINKS,
                       pl_span(link->reverse, sizeof(link->reverse)));
    s->links++;
    return PL_OK;
}

static void note_bounds(struct open_erasure *open, const struct vault_key *keys, size_t count)
{
    if (!open->bounds_known || erasures_key_order(&keys[0], &open->first) < 0)
        open->first = keys[0];
    if (!open->bounds_known || erasures_key_order(&keys[count - 1], &open->last) > 0)
        open->last = keys[count - 1];
    open->bounds_known = true;
}

/* The erasure's row, with what is deleted by the same batch. With `changing` held. */
static enum pl_err put_row(struct slice *s, struct erasure *next)
{
    uint8_t key[ERASURE_KEY_BYTES];
    struct pl_buf row;
    *next = s->open->erasure;
    next->events += s->count;
    next->bytes += s->bytes;
    next->messages += s->messages;
    next->links += s->links;
    erasure_key(next->account, &next->id, key);
    pl_buf_init(&row, ERASURE_ROW_BYTES_MAX);
    enum pl_err err = erasure_encode(next, &row);
    if (err == PL_OK)
        store_batch_put(s->batch, s->erasures->config.store, FAMILY_ERASURES,
                        pl_span(key, sizeof(key)), pl_buf_span(&row));
    pl_buf_release(&row);
    return err;
}

static enum pl_err write_unless_held(struct slice *s, struct pl_why *why)
{
    struct erasures *e = s->erasures;
    const struct erasures_config *config = &e->config;
    struct erasure next;
    if (holds_standing(config->holds, s->open->erasure.account, erasures_earliest_ms(e)) !=
        s->held.by)
        return PL_EAGAIN;
    pthread_mutex_lock(&e->changing);
    enum pl_err err = s->open->forgotten ? PL_ECLOSED : put_row(s, &next);
    if (err == PL_OK && s->count > 0)
        err = day_counts_remove(config->day_counts, s->batch, s->keys, s->count, DAY_COUNTS_ERASED,
                                false, NULL, why);
    else if (err == PL_OK)
        err = store_write(config->store, s->batch, false, why);
    pthread_mutex_lock(&e->lock);
    if (err == PL_OK)
        s->open->erasure = next;
    if (err == PL_OK && s->count > 0)
        note_bounds(s->open, s->keys, s->count);
    pthread_mutex_unlock(&e->lock);
    pthread_mutex_unlock(&e->changing);
    return err;
}

/* While nobody can start the account's deletion, or place a hold. */
static enum pl_err write_unless_over(void *ctx, const struct account *account, struct pl_why *why)
{
    return account->state >= ACCOUNT_DELETING ? PL_ECLOSED : write_unless_held(ctx, why);
}

static enum pl_err write_slice(struct slice *s, struct pl_why *why)
{
    struct accounts *accounts = s->erasures->config.accounts;
    if (s->count == 0 && s->links == 0)
        return PL_OK;
    qsort(s->keys, s->count, sizeof(s->keys[0]), erasures_key_order);
    enum pl_err err = accounts == NULL ? write_unless_held(s, why)
                                       : accounts_during(accounts, s->open->erasure.account,
                                                         write_unless_over, s, why);
    s->count = 0;
    s->bytes = s->messages = s->links = 0;
    store_batch_clear(s->batch);
    return err;
}

enum pl_err slice_erase_links(struct slice *s, const struct identities *ids, struct pl_why *why)
{
    struct erasures *e = s->erasures;
    enum pl_err err = visitors_links(e->visitors, s->open->erasure.account, ids, take_link, s);
    if (err == PL_OK)
        err = write_slice(s, why);
    if (err == PL_OK && e->around.links != NULL)
        links_changed(e->around.links);
    return err;
}

enum pl_err slice_erase_events(struct slice *s, const struct identities *ids, struct pl_why *why)
{
    struct erasures *e = s->erasures;
    struct visitor_cursor cursor = {.day = 0};
    enum pl_err err = PL_EAGAIN, written = PL_OK;
    while (err == PL_EAGAIN && written == PL_OK) {
        if (e->stopping)
            return PL_ECLOSED;
        err = visitors_walk(e->visitors, s->open->erasure.account, ids, &cursor, SLICE_KEYS,
                            take_event, s);
        written = err == PL_OK || err == PL_EAGAIN ? write_slice(s, why) : PL_OK;
    }
    pthread_mutex_lock(&e->changing);
    pthread_mutex_lock(&e->lock);
    s->open->erasure.unreadable = cursor.damaged; /* of this round: they are met in each */
    pthread_mutex_unlock(&e->lock);
    pthread_mutex_unlock(&e->changing);
    return written != PL_OK ? written : err;
}
