/* The thread behind erasures: deletes, compacts, and lifts the guard in the end. */
#include "origin/families.h"
#include "origin/intake/dedupe.h"
#include "origin/intake/intake.h"
#include "origin/subjects/erasures_state.h"

#include <stdio.h>
#include <stdlib.h>

#define SLICE_KEYS        256  /* looked at before the scan is let go of */
#define SETTLE_ACCOUNTS   16   /* compacted in one go */
#define SETTLE_WAIT_MS    2000 /* for scans that pin what has to go; exports let go every 250 ms */
#define SETTLE_REST       4    /* times as long as it took, before the next */
#define SETTLE_REST_MAX   (10 * PL_MINUTE_MS)
#define CLOSE_EVERY_MS    PL_MINUTE_MS
#define MARKERS_PER_BATCH 1024

/* ---- one erasure: what is deleted together */

struct slice {
    struct erasures *erasures;
    struct open_erasure *open;
    int64_t until_ms; /* of what happened later nothing is erased */
    struct store_batch *batch;
    struct pl_buf value;
    struct vault_key keys[SLICE_KEYS];
    size_t count;
    uint64_t bytes, messages, links;
    enum pl_err err; /* of a visit's own */
};

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
    s->keys[s->count++] = *found->key;
    s->bytes += VAULT_KEY_BYTES + found->value.len;
    return event_str(found->event, EVENT_MESSAGE_ID).len > 0 ? blank_message(s, found->key) : PL_OK;
}

static enum pl_err take_link(void *ctx, const struct link *link)
{
    struct slice *s = ctx;
    struct store *store = s->erasures->config.store;
    if (link->day > pl_day_of(s->until_ms))
        return PL_OK;
    store_batch_delete(s->batch, store, FAMILY_LINKS, pl_span(link->key, sizeof(link->key)));
    store_batch_delete(s->batch, store, FAMILY_LINKS,
                       pl_span(link->reverse, sizeof(link->reverse)));
    s->links++;
    return PL_OK;
}

static int by_key(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct vault_key));
}

static void note_bounds(struct open_erasure *open, const struct vault_key *keys, size_t count)
{
    if (!open->bounds_known || by_key(&keys[0], &open->first) < 0)
        open->first = keys[0];
    if (!open->bounds_known || by_key(&keys[count - 1], &open->last) > 0)
        open->last = keys[count - 1];
    open->bounds_known = true;
}

/* The erasure's row, with what is deleted by the same batch. With the lock held. */
static enum pl_err put_row(struct slice *s)
{
    struct erasure *erasure = &s->open->erasure;
    uint8_t key[ERASURE_KEY_BYTES];
    struct pl_buf row;
    erasure->events += s->count;
    erasure->bytes += s->bytes;
    erasure->messages += s->messages;
    erasure->links += s->links;
    erasure_key(erasure->account, &erasure->id, key);
    pl_buf_init(&row, ERASURE_ROW_BYTES_MAX);
    enum pl_err err = erasure_encode(erasure, &row);
    if (err == PL_OK)
        store_batch_put(s->batch, s->erasures->config.store, FAMILY_ERASURES,
                        pl_span(key, sizeof(key)), pl_buf_span(&row));
    pl_buf_release(&row);
    return err;
}

static enum pl_err write_slice(struct slice *s, struct pl_why *why)
{
    const struct erasures_config *config = &s->erasures->config;
    struct erasure before;
    enum pl_err err = PL_ECLOSED;
    if (s->count == 0 && s->links == 0)
        return PL_OK;
    qsort(s->keys, s->count, sizeof(s->keys[0]), by_key);
    pthread_mutex_lock(&s->erasures->lock);
    before = s->open->erasure;
    if (!s->open->forgotten)
        err = put_row(s);
    if (err == PL_OK && s->count > 0)
        err = day_counts_remove(config->day_counts, s->batch, s->keys, s->count, DAY_COUNTS_ERASED,
                                false, NULL, why);
    else if (err == PL_OK)
        err = store_write(config->store, s->batch, false, why);
    if (err != PL_OK)
        s->open->erasure = before;
    else if (s->count > 0)
        note_bounds(s->open, s->keys, s->count);
    pthread_mutex_unlock(&s->erasures->lock);
    s->count = 0;
    s->bytes = s->messages = s->links = 0;
    store_batch_clear(s->batch);
    return err;
}

/* ---- its steps */

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
    pthread_mutex_lock(&e->lock);
    open->erasure.position = position;
    err = erasures_save(e, open, true, why);
    pthread_mutex_unlock(&e->lock);
    return err;
}

/* Adds what the links say by now, which is durable before anything goes by it. */
static enum pl_err expand(struct erasures *e, struct open_erasure *open, struct identities *ids,
                          struct pl_why *why)
{
    enum pl_err err = visitors_expand(e->visitors, open->erasure.account, ids);
    if (err != PL_OK && err != PL_ELIMIT)
        return err;
    pthread_mutex_lock(&e->lock);
    err = open->forgotten ? PL_ECLOSED : erasures_extend(e, open, ids, false, why);
    pthread_mutex_unlock(&e->lock);
    return err;
}

static enum pl_err erase_links(struct erasures *e, struct slice *s, const struct identities *ids,
                               struct pl_why *why)
{
    enum pl_err err = visitors_links(e->visitors, s->open->erasure.account, ids, take_link, s);
    if (err == PL_OK)
        err = write_slice(s, why);
    if (err == PL_OK && e->around.links != NULL)
        links_changed(e->around.links);
    return err;
}

static enum pl_err erase_events(struct erasures *e, struct slice *s, const struct identities *ids,
                                struct pl_why *why)
{
    struct visitor_cursor cursor = {.day = 0};
    enum pl_err err = PL_EAGAIN, written = PL_OK;
    while (err == PL_EAGAIN && written == PL_OK) {
        if (e->stopping)
            return PL_ECLOSED;
        err = visitors_walk(e->visitors, s->open->erasure.account, ids, &cursor, SLICE_KEYS,
                            take_event, s);
        written = err == PL_OK || err == PL_EAGAIN ? write_slice(s, why) : PL_OK;
    }
    return written != PL_OK ? written : err;
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
    if (err == PL_OK && !open->erasure.alone)
        err = expand(e, open, &ids, why);
    if (err == PL_OK)
        err = erase_links(e, s, &ids, why);
    settle_intake(e);
    if (err == PL_OK)
        err = erase_events(e, s, &ids, why);
    identities_release(&ids);
    return err;
}

/* PL_EAGAIN: more ids came meanwhile. */
static enum pl_err finish(struct erasures *e, struct open_erasure *open, struct pl_why *why)
{
    enum pl_err err = PL_EAGAIN;
    pthread_mutex_lock(&e->lock);
    if (!open->again) {
        struct erasure *erasure = &open->erasure;
        const struct erasure before = *erasure;
        const bool nothing = erasure->events + erasure->links + erasure->messages == 0;
        const int64_t now_ms = pl_wall_ms(e->config.clock);
        erasure->erased_ms = erasure->erased_ms == 0 ? now_ms : erasure->erased_ms;
        erasure->state = nothing ? ERASURE_GONE : ERASURE_ERASED;
        erasure->gone_ms = nothing ? now_ms : 0;
        open->fresh = false;
        err = erasures_save(e, open, true, why);
        if (err != PL_OK)
            *erasure = before;
        pthread_cond_broadcast(&e->moved);
    }
    pthread_mutex_unlock(&e->lock);
    return err;
}

static enum pl_err erase(struct erasures *e, struct open_erasure *open, struct pl_why *why)
{
    struct slice *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return pl_fail(why, PL_ENOMEM, "no memory to erase a visitor");
    s->erasures = e;
    s->open = open;
    s->until_ms = open->fresh ? INT64_MAX : open->erasure.at_ms;
    pl_buf_init(&s->value, 256);
    enum pl_err err = store_batch_new(&s->batch);
    do {
        if (err == PL_OK || err == PL_EAGAIN)
            err = erase_once(e, open, s, why);
        if (err == PL_OK)
            err = finish(e, open, why);
    } while (err == PL_EAGAIN && !e->stopping);
    store_batch_free(s->batch);
    pl_buf_release(&s->value);
    free(s);
    return err;
}

/* ---- the thread's round */

static void set_trouble(struct erasures *e, enum pl_err err, const struct pl_why *why)
{
    pthread_mutex_lock(&e->lock);
    const bool news = e->trouble[0] == '\0';
    snprintf(e->trouble, sizeof(e->trouble), "%.199s",
             why->text[0] == '\0' ? pl_err_word(err) : why->text);
    pthread_mutex_unlock(&e->lock);
    if (news)
        pl_log(e->config.log, PL_LOG_WARN, "erasures",
               "a visitor's erasure waits; it is tried again every second: %s",
               why->text[0] == '\0' ? pl_err_word(err) : why->text);
}

/* The next that this round has not tried; it is in hand until let_go. */
static struct open_erasure *take(struct erasures *e, enum erasure_state state)
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

static void let_go(struct erasures *e)
{
    pthread_mutex_lock(&e->lock);
    if (e->in_hand != NULL && e->in_hand->forgotten) {
        erasures_drop(e, e->in_hand);
        (void)erasures_refill(e);
    }
    e->in_hand = NULL;
    pthread_mutex_unlock(&e->lock);
}

/* Its account's end has come in between: lifecycle sees to the rest. */
static bool is_over(enum pl_err err)
{
    return err == PL_EEXPIRED || err == PL_ECLOSED;
}

static bool erase_all(struct erasures *e)
{
    bool well = true;
    struct open_erasure *open;
    while (!e->stopping && (open = take(e, ERASURE_ERASING)) != NULL) {
        struct pl_why why = {.err = PL_OK};
        enum pl_err err = erase(e, open, &why);
        if (err != PL_OK && !is_over(err)) {
            set_trouble(e, err, &why);
            well = false;
        }
        let_go(e);
    }
    return well;
}

/* ---- physically */

struct settling {
    size_t accounts;
    uint64_t account[SETTLE_ACCOUNTS];
    struct vault_key from[SETTLE_ACCOUNTS], to[SETTLE_ACCOUNTS];
    uint8_t whole[SETTLE_ACCOUNTS][2][8];
    struct store_range ranges[3 * SETTLE_ACCOUNTS];
};

static size_t place_in(struct settling *s, uint64_t account)
{
    size_t i = 0;
    while (i < s->accounts && s->account[i] != account)
        i++;
    if (i < s->accounts || i == SETTLE_ACCOUNTS)
        return i;
    s->account[i] = account;
    memset(&s->from[i], 0xff, sizeof(s->from[i]));
    memset(&s->to[i], 0, sizeof(s->to[i]));
    s->accounts++;
    return i;
}

/* What waits to be compacted; with the lock held. */
static void collect(struct erasures *e, struct settling *s)
{
    for (const struct open_erasure *o = e->open; o != NULL; o = o->next) {
        struct vault_key first, last;
        if (o->forgotten || o->erasure.state != ERASURE_ERASED)
            continue;
        const size_t i = place_in(s, o->erasure.account);
        if (i == SETTLE_ACCOUNTS)
            continue;
        vault_key_first(o->erasure.account, 0, &first);
        memset(last.bytes, 0xff, sizeof(last.bytes));
        pl_store_u64(last.bytes, o->erasure.account);
        if (o->bounds_known && !o->whole) {
            first = o->first;
            last = o->last;
        }
        if (by_key(&first, &s->from[i]) < 0)
            s->from[i] = first;
        if (by_key(&last, &s->to[i]) > 0)
            s->to[i] = last;
    }
}

static void fill_ranges(struct settling *s)
{
    static const unsigned families[] = {FAMILY_DEDUPE, FAMILY_LINKS};
    for (size_t i = 0; i < s->accounts; i++) {
        struct store_range *r = &s->ranges[3 * i];
        pl_store_u64(s->whole[i][0], s->account[i]);
        pl_store_u64(s->whole[i][1], s->account[i] + 1);
        *r++ = (struct store_range){.family = FAMILY_VAULT,
                                    .from = vault_key_span(&s->from[i]),
                                    .to = vault_key_span(&s->to[i]),
                                    .settle = true};
        for (size_t f = 0; f < 2; f++)
            *r++ = (struct store_range){
                .family = families[f],
                .from = pl_span(s->whole[i][0], 8),
                .to = pl_span(s->whole[i][1], s->account[i] == UINT64_MAX ? 0 : 8),
                .settle = true};
    }
}

/* Behind the last key that was deleted. */
static void step_over(struct vault_key *key)
{
    for (size_t i = sizeof(key->bytes); i-- > 0 && ++key->bytes[i] == 0;)
        ;
}

static enum pl_err mark_gone(struct erasures *e, const struct settling *s, struct pl_why *why)
{
    enum pl_err err = PL_OK;
    pthread_mutex_lock(&e->lock);
    for (struct open_erasure *o = e->open; err == PL_OK && o != NULL; o = o->next) {
        bool settled = false;
        for (size_t i = 0; i < s->accounts; i++)
            settled |= s->account[i] == o->erasure.account;
        /* One that is at it again has left the state. */
        if (!settled || o->forgotten || o->erasure.state != ERASURE_ERASED)
            continue;
        o->erasure.state = ERASURE_GONE;
        o->erasure.gone_ms = pl_wall_ms(e->config.clock);
        err = erasures_save(e, o, true, why);
        if (err == PL_OK)
            o->whole = o->bounds_known = false;
        else
            o->erasure.state = ERASURE_ERASED;
    }
    pthread_mutex_unlock(&e->lock);
    return err;
}

/* Compacting takes as long as the accounts are large; between two of them others have their turn.
 */
static bool settle_all(struct erasures *e)
{
    struct pl_why why = {.err = PL_OK};
    const int64_t began_ms = pl_mono_ms(pl_clock_system());
    if (began_ms < e->settle_at_mono_ms)
        return true;
    struct settling *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return false;
    pthread_mutex_lock(&e->lock);
    collect(e, s);
    pthread_mutex_unlock(&e->lock);
    for (size_t i = 0; i < s->accounts; i++)
        step_over(&s->to[i]);
    fill_ranges(s);
    enum pl_err err = PL_OK;
    if (s->accounts > 0) {
        err = store_purge(e->config.store, s->ranges, 3 * s->accounts, SETTLE_WAIT_MS, &why);
        const int64_t took_ms = pl_mono_ms(pl_clock_system()) - began_ms;
        const int64_t rest_ms = SETTLE_REST * took_ms;
        e->settle_at_mono_ms =
            began_ms + took_ms + (rest_ms < SETTLE_REST_MAX ? rest_ms : SETTLE_REST_MAX);
    }
    if (err == PL_OK)
        err = mark_gone(e, s, &why);
    free(s);
    if (err == PL_OK || err == PL_EAGAIN) /* somebody reads what has to go: they let go of it */
        return true;
    set_trouble(e, err, &why);
    return false;
}

/* ---- the end of the guard */

static bool may_close(struct erasures *e, const struct open_erasure *open)
{
    bool done = e->config.cutoffs == NULL;
    if (open->erasure.state != ERASURE_GONE ||
        pl_wall_ms(e->config.clock) < open->erasure.at_ms + DEDUPE_SWEEP_DAYS * PL_DAY_MS)
        return false;
    if (!done && open->erasure.position > 0) {
        struct cutoff_edge *edges = NULL;
        size_t count;
        if (cutoffs_of(e->config.cutoffs, open->erasure.position, &edges, &count, &done) != PL_OK)
            return false;
        free(edges);
    }
    return done;
}

/* The message hashes that were kept for it. */
static enum pl_err drop_markers(struct erasures *e, uint64_t account, int64_t until_ms,
                                struct pl_why *why)
{
    struct store *store = e->config.store;
    struct store_scan *scan = NULL;
    struct store_batch *batch = NULL;
    struct pl_span key, value;
    uint8_t from[8], end[8];
    size_t count = 0;
    pl_store_u64(from, account);
    pl_store_u64(end, account + 1);
    enum pl_err err = store_batch_new(&batch);
    if (err == PL_OK)
        err = store_scan_new(&scan, store, FAMILY_DEDUPE, pl_span(from, sizeof(from)),
                             pl_span(end, account == UINT64_MAX ? 0 : sizeof(end)));
    while (err == PL_OK && (err = store_scan_next(scan, &key, &value)) == PL_OK) {
        if (!dedupe_value_is_blank(value, until_ms))
            continue;
        store_batch_delete(batch, store, FAMILY_DEDUPE, key);
        if (++count % MARKERS_PER_BATCH != 0)
            continue;
        err = store_write(store, batch, false, why);
        store_batch_clear(batch);
    }
    store_scan_free(scan);
    if (err == PL_ENOTFOUND)
        err = store_write(store, batch, false, why);
    store_batch_free(batch);
    return err;
}

static enum pl_err close_one(struct erasures *e, struct open_erasure *open, struct pl_why *why)
{
    enum pl_err err = drop_markers(e, open->erasure.account, open->erasure.at_ms, why);
    if (err != PL_OK)
        return err;
    pthread_mutex_lock(&e->lock);
    struct erasure *erasure = &open->erasure;
    struct identities ids = erasure->identities;
    erasure->dropped = open->dropped;
    erasure->identities = (struct identities){.list = NULL};
    erasure->state = ERASURE_CLOSED;
    erasure->closed_ms = pl_wall_ms(e->config.clock);
    err = erasures_save(e, open, true, why);
    if (err == PL_OK) {
        identities_release(&ids);
        e->in_hand = NULL;
        erasures_drop(e, open);
        err = erasures_refill(e);
    } else {
        erasure->identities = ids;
        erasure->state = ERASURE_GONE;
        erasure->closed_ms = 0;
    }
    pthread_mutex_unlock(&e->lock);
    return err;
}

/* What arrived since is counted in memory; a crash may lose a minute of it. */
static void save_counts(struct erasures *e)
{
    pthread_mutex_lock(&e->lock);
    for (struct open_erasure *o = e->open; o != NULL; o = o->next) {
        const uint64_t dropped = o->dropped;
        o->erasure.dropped = dropped;
        if (dropped != o->dropped_saved && erasures_save(e, o, false, NULL) == PL_OK)
            o->dropped_saved = dropped;
    }
    pthread_mutex_unlock(&e->lock);
}

static bool close_all(struct erasures *e)
{
    const int64_t now_ms = pl_mono_ms(e->config.clock);
    bool well = true;
    struct open_erasure *open;
    if (e->closed_mono_ms != 0 && now_ms - e->closed_mono_ms < CLOSE_EVERY_MS)
        return true;
    e->closed_mono_ms = now_ms;
    save_counts(e);
    if (e->around.believed != NULL && !e->around.believed(e->around.ctx))
        return true;
    while (!e->stopping && (open = take(e, ERASURE_GONE)) != NULL) {
        struct pl_why why = {.err = PL_OK};
        enum pl_err err = may_close(e, open) ? close_one(e, open, &why) : PL_OK;
        if (err != PL_OK && !is_over(err)) {
            set_trouble(e, err, &why);
            well = false;
        }
        let_go(e);
    }
    return well;
}

void erasures_tick(struct erasures *e)
{
    e->tick++;
    visitors_tidy(e->visitors);
    bool well = erase_all(e);
    well = settle_all(e) && well;
    well = close_all(e) && well;
    if (!well)
        return;
    pthread_mutex_lock(&e->lock);
    e->trouble[0] = '\0';
    pthread_mutex_unlock(&e->lock);
}

void *erasures_run(void *arg)
{
    struct erasures *e = arg;
    pthread_setname_np(pthread_self(), "eraser");
    while (!pl_mailbox_closed(&e->wake)) {
        erasures_tick(e);
        pl_mailbox_take(&e->wake, e->config.tick_ms);
    }
    return NULL;
}
