/*
 * In the family: 'P' → epoch(16) position(8) confirmed_ms(8) accounts(8); 'K' → the sealing key's
 * item; 'A' account(8) → item; 'Z' account(8) → its compressed bodies.
 */
#include "edge/catalog.h"
#include "edge/catalog_parts.h"
#include "edge/suppressions.h"

#include <pthread.h>
#include <stdlib.h>

#define POSITION_BYTES    40
#define PACKED_BYTES_MAX  (4 * 1024 * 1024)
#define CONFIRM_EVERY_MS  PL_MINUTE_MS
#define ACCOUNT_KEY_BYTES 9

struct catalog {
    struct catalog_config config;
    /* the follower's */
    struct catalog_node **nodes;
    bool *seen; /* while restarting: named since */
    size_t count, room;
    bool restarting;
    uint64_t serial;          /* of the newest snapshot */
    bool cut_due, forget_due; /* since the last cut */
    int64_t saved_confirmed_ms;
    pthread_mutex_t lock;
    struct catalog_status status; /* under lock */
};

static void account_key(uint8_t key[ACCOUNT_KEY_BYTES], char kind, uint64_t account)
{
    key[0] = (uint8_t)kind;
    pl_store_u64(key + 1, account);
}

/* ---- the table */

static size_t index_of(const struct catalog *catalog, uint64_t account)
{
    size_t i = 0;
    while (i < catalog->count && catalog->nodes[i]->entry.account != account) {
        i++;
    }
    return i;
}

static enum pl_err make_room(struct catalog *catalog)
{
    if (catalog->count < catalog->room) {
        return PL_OK;
    }
    size_t room = catalog->room == 0 ? 64 : 2 * catalog->room;
    struct catalog_node **nodes = reallocarray(catalog->nodes, room, sizeof(*nodes));
    if (nodes == NULL) {
        return PL_ENOMEM;
    }
    catalog->nodes = nodes;
    bool *seen = reallocarray(catalog->seen, room, sizeof(*seen));
    if (seen == NULL) {
        return PL_ENOMEM;
    }
    catalog->seen = seen;
    catalog->room = room;
    return PL_OK;
}

/* Owns the node from here on. */
static enum pl_err place(struct catalog *catalog, struct catalog_node *node)
{
    size_t i = index_of(catalog, node->entry.account);
    if (i == catalog->count) {
        enum pl_err err = make_room(catalog);
        if (err != PL_OK) {
            catalog_node_unref(node);
            return err;
        }
        catalog->count++;
    } else {
        catalog_node_unref(catalog->nodes[i]);
    }
    catalog->nodes[i] = node;
    catalog->seen[i] = true;
    return PL_OK;
}

static void remove_at(struct catalog *catalog, size_t i)
{
    catalog_node_unref(catalog->nodes[i]);
    catalog->count--;
    catalog->nodes[i] = catalog->nodes[catalog->count];
    catalog->seen[i] = catalog->seen[catalog->count];
}

static void drop_from_disk(struct catalog *catalog, struct store_batch *batch, uint64_t account)
{
    uint8_t key[ACCOUNT_KEY_BYTES];
    account_key(key, 'A', account);
    store_batch_delete(batch, catalog->config.store, catalog->config.family,
                       pl_span(key, sizeof(key)));
    account_key(key, 'Z', account);
    store_batch_delete(batch, catalog->config.store, catalog->config.family,
                       pl_span(key, sizeof(key)));
    if (catalog->config.suppressions != NULL)
        suppressions_forget(catalog->config.suppressions, batch, account);
}

/* ---- what is served */

/* The first `count` of the table. */
static enum pl_err publish(struct catalog *catalog, size_t count)
{
    struct catalog_snapshot *snapshot;
    enum pl_err err = catalog_snapshot_new(&snapshot, catalog->nodes, count, catalog->serial + 1);
    if (err == PL_OK) {
        catalog->serial++;
        catalog->config.publish(catalog->config.ctx, snapshot);
        catalog_snapshot_unref(snapshot);
        pthread_mutex_lock(&catalog->lock);
        catalog->status.accounts = count;
        pthread_mutex_unlock(&catalog->lock);
    }
    return err;
}

static void take_seal_key(struct catalog *catalog, const struct catalog_item *item)
{
    catalog->config.seal_key(catalog->config.ctx, item->seal_public);
    pthread_mutex_lock(&catalog->lock);
    catalog->status.has_seal_key = true;
    pthread_mutex_unlock(&catalog->lock);
}

static void put_position(struct catalog *catalog, struct store_batch *batch,
                         const struct catalog_status *status, size_t accounts)
{
    uint8_t value[POSITION_BYTES];
    memcpy(value, status->epoch.bytes, 16);
    pl_store_u64(value + 16, status->position);
    pl_store_u64(value + 24, (uint64_t)status->confirmed_ms);
    pl_store_u64(value + 32, accounts);
    store_batch_put(batch, catalog->config.store, catalog->config.family, PL_SPAN_LIT("P"),
                    pl_span(value, sizeof(value)));
}

/* With the compressed bodies on disk where the document is still theirs, so that a restart, or
 * news of an account's state, costs no compression. */
static enum pl_err make_node(struct catalog *catalog, struct pl_span item, uint64_t account,
                             struct catalog_node **out, struct pl_buf *packed_out,
                             struct pl_why *why)
{
    struct pl_buf packed;
    uint8_t key[ACCOUNT_KEY_BYTES];
    account_key(key, 'Z', account);
    pl_buf_init(&packed, PACKED_BYTES_MAX);
    enum pl_err err = store_get(catalog->config.store, catalog->config.family,
                                pl_span(key, sizeof(key)), &packed);
    /* Bodies that cannot be read are made anew. */
    if (err != PL_ENOMEM) {
        err = catalog_node_new(out, item, catalog->config.max_age_seconds, pl_buf_span(&packed),
                               packed_out, why);
    }
    pl_buf_release(&packed);
    return err;
}

/* ---- opening */

static enum pl_err load_account(struct catalog *catalog, struct pl_span item, uint64_t account,
                                struct pl_why *why)
{
    struct catalog_node *node;
    struct pl_buf again;
    pl_buf_init(&again, PACKED_BYTES_MAX);
    enum pl_err err = make_node(catalog, item, account, &node, &again, why);
    if (err == PL_OK) {
        err = place(catalog, node);
    }
    pl_buf_release(&again);
    return err;
}

/* What the disk does not give back, or gives back spoiled, is missing: the origin tells it again.
 */
static bool is_damage(enum pl_err err)
{
    return err != PL_OK && err != PL_ENOMEM;
}

static enum pl_err load_accounts(struct catalog *catalog, size_t *damaged)
{
    struct store_scan *scan;
    struct pl_span key, value;
    struct pl_why why = {0};
    enum pl_err err = store_scan_new(&scan, catalog->config.store, catalog->config.family,
                                     PL_SPAN_LIT("A"), PL_SPAN_LIT("B"));
    while (err == PL_OK && (err = store_scan_next(scan, &key, &value)) == PL_OK) {
        if (key.len != ACCOUNT_KEY_BYTES)
            continue;
        err = load_account(catalog, value, pl_load_u64(key.data + 1), &why);
        if (is_damage(err)) {
            ++*damaged;
            err = PL_OK;
        }
    }
    store_scan_free(scan);
    if (err == PL_ENOTFOUND)
        return PL_OK;
    *damaged += is_damage(err);
    return is_damage(err) ? PL_OK : err;
}

static enum pl_err load_seal_key(struct catalog *catalog, size_t *damaged)
{
    struct catalog_item item;
    struct pl_buf value;
    pl_buf_init(&value, PACKED_BYTES_MAX);
    enum pl_err err =
        store_get(catalog->config.store, catalog->config.family, PL_SPAN_LIT("K"), &value);
    if (err == PL_OK && (err = catalog_decode(pl_buf_span(&value), &item, NULL)) == PL_OK)
        take_seal_key(catalog, &item);
    pl_buf_release(&value);
    if (err == PL_ENOTFOUND)
        return PL_OK;
    *damaged += is_damage(err);
    return is_damage(err) ? PL_OK : err;
}

static enum pl_err load_position(struct catalog *catalog, uint64_t *accounts, size_t *damaged)
{
    struct pl_buf value;
    pl_buf_init(&value, PACKED_BYTES_MAX);
    enum pl_err err =
        store_get(catalog->config.store, catalog->config.family, PL_SPAN_LIT("P"), &value);
    if (err == PL_OK && value.len != POSITION_BYTES)
        err = PL_ECORRUPT;
    if (err == PL_OK) {
        memcpy(catalog->status.epoch.bytes, value.data, 16);
        catalog->status.position = pl_load_u64(value.data + 16);
        catalog->status.confirmed_ms = (int64_t)pl_load_u64(value.data + 24);
        *accounts = pl_load_u64(value.data + 32);
    }
    pl_buf_release(&value);
    if (err == PL_ENOTFOUND)
        return PL_OK;
    *damaged += is_damage(err);
    return is_damage(err) ? PL_OK : err;
}

/* Damage must not keep the edge, and with it its spool, from starting: what is here is served, and
 * all is asked for again. */
static enum pl_err load(struct catalog *catalog)
{
    uint64_t accounts = 0;
    size_t damaged = 0;
    enum pl_err err = load_accounts(catalog, &damaged);
    if (err == PL_OK)
        err = load_seal_key(catalog, &damaged);
    if (err == PL_OK)
        err = load_position(catalog, &accounts, &damaged);
    if (err != PL_OK)
        return err;
    if (damaged > 0 || accounts != catalog->count) {
        pl_log(catalog->config.log, PL_LOG_WARN, "catalog",
               "%zu of %llu accounts were found on disk, and %zu damaged places; asking the origin "
               "for all",
               catalog->count, (unsigned long long)accounts, damaged);
        catalog->status.epoch = (struct pl_id128){{0}};
        catalog->status.position = 0;
    }
    catalog->saved_confirmed_ms = catalog->status.confirmed_ms;
    return PL_OK;
}

enum pl_err catalog_open(struct catalog **out, const struct catalog_config *config,
                         struct pl_why *why)
{
    struct catalog *catalog = calloc(1, sizeof(*catalog));
    if (catalog == NULL) {
        return pl_fail(why, PL_ENOMEM, "no memory for the catalog");
    }
    catalog->config = *config;
    pthread_mutex_init(&catalog->lock, NULL);
    enum pl_err err = load(catalog);
    if (err == PL_OK)
        err = publish(catalog, catalog->count);
    if (err != PL_OK) {
        catalog_close(catalog);
        return pl_fail(why, err, "no memory for the catalog");
    }
    *out = catalog;
    return PL_OK;
}

void catalog_close(struct catalog *catalog)
{
    if (catalog == NULL) {
        return;
    }
    for (size_t i = 0; i < catalog->count; i++) {
        catalog_node_unref(catalog->nodes[i]);
    }
    pthread_mutex_destroy(&catalog->lock);
    free(catalog->nodes);
    free(catalog->seen);
    free(catalog);
}

/* ---- following */

void catalog_position(void *ctx, struct pl_id128 *epoch, uint64_t *position)
{
    struct catalog *catalog = ctx;
    pthread_mutex_lock(&catalog->lock);
    *epoch = catalog->status.epoch;
    *position = catalog->status.position;
    pthread_mutex_unlock(&catalog->lock);
}

static enum pl_err apply_account(struct catalog *catalog, struct store_batch *batch,
                                 struct pl_span bytes, uint64_t account, struct pl_why *why)
{
    struct catalog_node *node;
    struct pl_buf packed;
    uint8_t key[ACCOUNT_KEY_BYTES];
    pl_buf_init(&packed, PACKED_BYTES_MAX);
    enum pl_err err = make_node(catalog, bytes, account, &node, &packed, why);
    if (err == PL_OK) {
        account_key(key, 'A', account);
        store_batch_put(batch, catalog->config.store, catalog->config.family,
                        pl_span(key, sizeof(key)), bytes);
        account_key(key, 'Z', account);
        store_batch_put(batch, catalog->config.store, catalog->config.family,
                        pl_span(key, sizeof(key)), pl_buf_span(&packed));
        err = place(catalog, node);
    }
    pl_buf_release(&packed);
    return err;
}

static enum pl_err apply_item(struct catalog *catalog, struct store_batch *batch,
                              struct pl_span bytes, struct pl_why *why)
{
    struct catalog_item item;
    enum pl_err err = catalog_decode(bytes, &item, why);
    if (err == PL_EUNSUPPORTED) {
        return PL_OK; /* news for a newer edge */
    }
    if (err != PL_OK) {
        return err;
    }
    catalog->cut_due |= catalog_asks_to_settle(item.kind);
    catalog->forget_due |= item.kind == CATALOG_TOMBSTONE;
    if (item.kind == CATALOG_ACCOUNT) {
        return apply_account(catalog, batch, bytes, item.account, why);
    }
    if (item.kind == CATALOG_TOMBSTONE) {
        size_t i = index_of(catalog, item.account);
        drop_from_disk(catalog, batch, item.account);
        if (i < catalog->count) {
            remove_at(catalog, i);
        }
        return PL_OK;
    }
    if (item.kind == CATALOG_SUPPRESSION && catalog->config.suppressions != NULL)
        return suppressions_apply(catalog->config.suppressions, batch, &item);
    if (item.kind == CATALOG_SEAL_KEY) {
        store_batch_put(batch, catalog->config.store, catalog->config.family, PL_SPAN_LIT("K"),
                        bytes);
        take_seal_key(catalog, &item);
    }
    return PL_OK;
}

static enum pl_err apply_items(struct catalog *catalog, struct store_batch *batch,
                               struct pl_span items, struct pl_why *why)
{
    struct pl_reader reader = pl_reader(items);
    enum pl_err err = PL_OK;
    while (err == PL_OK && reader.rest.len > 0) {
        struct pl_span bytes = pl_get_span(&reader, pl_get_u32(&reader));
        err = reader.failed ? pl_fail(why, PL_ECORRUPT, "a page of the feed is cut short")
                            : apply_item(catalog, batch, bytes, why);
    }
    return err;
}

/* The end of a restart: what the origin did not name does not exist any more. It moves behind the
 * rest, and stays in the table until the disk has forgotten it: a second attempt must find it.
 * Gives how many remain. */
static size_t sweep(struct catalog *catalog, struct store_batch *batch)
{
    size_t kept = 0;
    for (size_t i = 0; i < catalog->count; i++) {
        if (catalog->seen[i]) {
            struct catalog_node *node = catalog->nodes[i];
            catalog->nodes[i] = catalog->nodes[kept];
            catalog->seen[i] = catalog->seen[kept];
            catalog->nodes[kept] = node;
            catalog->seen[kept++] = true;
        }
    }
    for (size_t i = kept; i < catalog->count; i++) {
        drop_from_disk(catalog, batch, catalog->nodes[i]->entry.account);
    }
    return kept;
}

static void end_restart(struct catalog *catalog, size_t kept)
{
    while (catalog->count > kept) {
        remove_at(catalog, catalog->count - 1);
    }
    catalog->restarting = false;
}

static void begin_restart(struct catalog *catalog)
{
    catalog->restarting = catalog->cut_due = catalog->forget_due = true;
    if (catalog->count > 0) {
        memset(catalog->seen, 0, catalog->count * sizeof(catalog->seen[0]));
    }
}

/* Writes what the page changed; the position moves only when that is on disk. What the page said is
 * served in either case: a failing disk is no reason to go on with an account that has expired. */
static enum pl_err commit(struct catalog *catalog, struct store_batch *batch,
                          const struct catalog_status *status, bool caught_up, struct pl_why *why)
{
    const bool ends_restart = caught_up && catalog->restarting;
    const size_t kept = ends_restart ? sweep(catalog, batch) : catalog->count;
    if (ends_restart || !catalog->restarting) {
        /* In the middle of a restart the old position stays on disk: a crash starts over. */
        put_position(catalog, batch, status, kept);
    }
    const enum pl_err err = store_write(catalog->config.store, batch, true, why);
    if (err == PL_OK) {
        pthread_mutex_lock(&catalog->lock);
        catalog->status.epoch = status->epoch;
        catalog->status.position = status->position;
        catalog->status.confirmed_ms = status->confirmed_ms;
        pthread_mutex_unlock(&catalog->lock);
        if (ends_restart) {
            end_restart(catalog, kept);
        }
    }
    const enum pl_err published = publish(catalog, kept);
    return err == PL_OK ? published : err;
}

/* In the middle of a restart it is not known yet what no longer exists. */
static void tell_cut(struct catalog *catalog, const struct catalog_status *status)
{
    if (!catalog->cut_due || catalog->restarting) {
        return;
    }
    const struct catalog_cut cut = {
        .at = {.epoch = status->epoch, .position = status->position},
        .serial = catalog->serial,
        .forgets = catalog->forget_due,
    };
    catalog->cut_due = catalog->forget_due = false;
    if (catalog->config.cut != NULL) {
        catalog->config.cut(catalog->config.ctx, &cut);
    }
}

enum pl_err catalog_apply(void *ctx, const struct pl_id128 *epoch, bool restart, uint64_t position,
                          bool caught_up, struct pl_span items)
{
    struct catalog *catalog = ctx;
    struct store_batch *batch;
    struct pl_why why = {0};
    enum pl_err err = store_batch_new(&batch);
    if (err != PL_OK) {
        return err;
    }
    if (restart) {
        begin_restart(catalog);
    }
    err = apply_items(catalog, batch, items, &why);
    if (err == PL_OK) {
        struct catalog_status status;
        catalog_status(catalog, &status);
        status.epoch = *epoch;
        status.position = position;
        if (caught_up) {
            status.confirmed_ms = pl_wall_ms(catalog->config.clock);
        }
        err = commit(catalog, batch, &status, caught_up, &why);
        if (err == PL_OK) {
            tell_cut(catalog, &status);
        }
    }
    if (err != PL_OK) {
        pl_log(catalog->config.log, PL_LOG_ERROR, "catalog",
               "a page of the feed is not on disk: %s",
               why.text[0] != '\0' ? why.text : pl_err_word(err));
    }
    store_batch_free(batch);
    return err;
}

void catalog_heard(void *ctx, int64_t origin_wall_ms, bool caught_up)
{
    struct catalog *catalog = ctx;
    struct store_batch *batch;
    struct catalog_status status;
    int64_t now_ms = pl_wall_ms(catalog->config.clock);
    (void)origin_wall_ms;
    if (!caught_up) {
        return;
    }
    pthread_mutex_lock(&catalog->lock);
    catalog->status.confirmed_ms = now_ms;
    status = catalog->status;
    pthread_mutex_unlock(&catalog->lock);
    bool due = now_ms - catalog->saved_confirmed_ms >= CONFIRM_EVERY_MS ||
               now_ms < catalog->saved_confirmed_ms;
    if (catalog->restarting || !due || store_batch_new(&batch) != PL_OK) {
        return;
    }
    put_position(catalog, batch, &status, catalog->count);
    /* Lost in a crash it only makes the catalog look a minute older. */
    if (store_write(catalog->config.store, batch, false, NULL) == PL_OK) {
        catalog->saved_confirmed_ms = now_ms;
    }
    store_batch_free(batch);
}

void catalog_status(struct catalog *catalog, struct catalog_status *out)
{
    pthread_mutex_lock(&catalog->lock);
    *out = catalog->status;
    pthread_mutex_unlock(&catalog->lock);
}
