#include "origin/accounts/changelog.h"
#include "origin/families.h"
#include "proto/base/buf.h"

#include <pthread.h>
#include <search.h>
#include <stdlib.h>

static const struct pl_span EPOCH_KEY = PL_SPAN_INIT("changelog-epoch");

enum subject { OF_ACCOUNT, OF_OPTOUT, OF_CUTOFF };

/* Where the newest item of a subject stands: of an account (0: the sealing key), of one opt-out of
 * it, or of a cut-off. The tree is tsearch's. */
struct place {
    uint64_t account;
    enum subject subject;
    struct pl_id128 consent_id; /* any, zeros included: clients name those that they take back */
    uint64_t position;
    struct place *next_gone;
};

struct changelog {
    struct store *store;
    const struct pl_random *random;
    pthread_mutex_t epoch_lock;
    struct pl_id128 epoch; /* under epoch_lock */
    bool is_new;           /* under epoch_lock: the epoch is, since it was opened */
    struct redo *redo;     /* NULL: there is none */
    void (*on_change)(void *ctx);
    void *on_change_ctx;
    pthread_mutex_t writing; /* one change at a time, in order */
    void *places;            /* under writing */
    bool stale;              /* under writing: a write failed, which may turn up after all */
    _Atomic uint64_t position, settle_position, seal_key_position;
};

static int compare_places(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->account != y->account) {
        return x->account > y->account ? 1 : -1;
    }
    if (x->subject != y->subject) {
        return x->subject > y->subject ? 1 : -1;
    }
    return memcmp(x->consent_id.bytes, y->consent_id.bytes, sizeof(x->consent_id.bytes));
}

static struct place *place_of(struct changelog *changelog, const struct catalog_item *item)
{
    struct place probe = {.account = item->account};
    if (item->kind == CATALOG_SUPPRESSION) {
        probe.subject = OF_OPTOUT;
        probe.consent_id = item->consent_id;
    } else if (item->kind == CATALOG_CUTOFF) {
        probe.subject = OF_CUTOFF;
    }
    struct place **found = tfind(&probe, &changelog->places, compare_places);
    if (found != NULL) {
        return *found;
    }
    struct place *place = calloc(1, sizeof(*place));
    if (place == NULL) {
        return NULL;
    }
    *place = probe;
    if (tsearch(place, &changelog->places, compare_places) == NULL) {
        free(place);
        return NULL;
    }
    return place;
}

enum pl_err changelog_renew(struct changelog *changelog, struct pl_why *why)
{
    struct pl_id128 epoch;
    enum pl_err err = pl_id128_random(changelog->random, &epoch);
    if (err != PL_OK) {
        return pl_fail(why, err, "no random bytes for the changelog's epoch");
    }
    err = store_put(changelog->store, FAMILY_META, EPOCH_KEY,
                    pl_span(epoch.bytes, sizeof(epoch.bytes)), true, why);
    if (err == PL_OK) {
        pthread_mutex_lock(&changelog->epoch_lock);
        changelog->epoch = epoch;
        changelog->is_new = true;
        pthread_mutex_unlock(&changelog->epoch_lock);
        if (changelog->on_change != NULL) {
            changelog->on_change(changelog->on_change_ctx);
        }
    }
    return err;
}

static enum pl_err load_epoch(struct changelog *changelog, struct pl_why *why)
{
    struct pl_buf value;
    pl_buf_init(&value, 64);
    enum pl_err err = store_get(changelog->store, FAMILY_META, EPOCH_KEY, &value);
    if (err == PL_OK && value.len == sizeof(changelog->epoch.bytes)) {
        memcpy(changelog->epoch.bytes, value.data, value.len);
    } else if (err == PL_OK) {
        err = pl_fail(why, PL_ECORRUPT,
                      "the changelog's epoch is %zu bytes long, not 16: the "
                      "database is damaged; restore it from a backup",
                      value.len);
    } else if (err == PL_ENOTFOUND) {
        err = changelog_renew(changelog, why);
    }
    pl_buf_release(&value);
    return err;
}

/* The item stands at the position, and nothing newer does. */
static void note_newest(struct changelog *changelog, const struct catalog_item *item,
                        struct place *place, uint64_t position)
{
    place->position = position;
    changelog->position = position;
    if (catalog_asks_to_settle(item->kind)) {
        changelog->settle_position = position;
    }
    if (item->kind == CATALOG_SEAL_KEY) {
        changelog->seal_key_position = position;
    }
}

void changelog_note_to(struct changelog *changelog, struct redo *redo)
{
    changelog->redo = redo;
}

static enum pl_err load_places(struct changelog *changelog, struct pl_why *why)
{
    struct store_scan *scan;
    struct pl_span key, value;
    struct catalog_item *item = malloc(sizeof(*item));
    if (item == NULL) {
        return PL_ENOMEM;
    }
    enum pl_err err =
        store_scan_new(&scan, changelog->store, FAMILY_CHANGES, pl_span(NULL, 0), pl_span(NULL, 0));
    while (err == PL_OK && (err = store_scan_next(scan, &key, &value)) == PL_OK) {
        if (key.len != 8) {
            err = pl_fail(why, PL_ECORRUPT, "a changelog key is %zu bytes long, not 8", key.len);
        } else if ((err = catalog_decode(value, item, why)) == PL_OK) {
            struct place *place = place_of(changelog, item);
            err = place == NULL ? PL_ENOMEM : PL_OK;
            if (place != NULL) {
                note_newest(changelog, item, place, pl_load_u64(key.data));
            }
        }
    }
    store_scan_free(scan);
    free(item);
    return err == PL_ENOTFOUND ? PL_OK : err;
}

enum pl_err changelog_open(struct changelog **out, struct store *store,
                           const struct pl_random *random, struct pl_why *why)
{
    struct changelog *changelog = calloc(1, sizeof(*changelog));
    if (changelog == NULL) {
        return pl_fail(why, PL_ENOMEM, "no memory for the changelog");
    }
    changelog->store = store;
    changelog->random = random;
    pthread_mutex_init(&changelog->epoch_lock, NULL);
    pthread_mutex_init(&changelog->writing, NULL);
    enum pl_err err = load_epoch(changelog, why);
    if (err == PL_OK) {
        err = load_places(changelog, why);
    }
    if (err != PL_OK) {
        changelog_close(changelog);
        return err;
    }
    *out = changelog;
    return PL_OK;
}

void changelog_close(struct changelog *changelog)
{
    if (changelog != NULL) {
        tdestroy(changelog->places, free);
        pthread_mutex_destroy(&changelog->writing);
        pthread_mutex_destroy(&changelog->epoch_lock);
        free(changelog);
    }
}

void changelog_on_change(struct changelog *changelog, void (*fn)(void *ctx), void *ctx)
{
    changelog->on_change = fn;
    changelog->on_change_ctx = ctx;
}

/* A write that failed may turn up when the store recovers: what is there then is what counts, or
 * the next change would take the position of one that edges may have heard of. Under writing. */
static enum pl_err catch_up(struct changelog *changelog, struct pl_why *why)
{
    if (!changelog->stale) {
        return PL_OK;
    }
    struct changelog fresh = {.store = changelog->store};
    enum pl_err err = store_sync(changelog->store, why); /* fails until the store has recovered */
    if (err == PL_OK) {
        err = load_places(&fresh, why);
    }
    if (err != PL_OK) {
        tdestroy(fresh.places, free);
        return err;
    }
    tdestroy(changelog->places, free);
    changelog->places = fresh.places;
    changelog->position = fresh.position;
    changelog->settle_position = fresh.settle_position;
    changelog->seal_key_position = fresh.seal_key_position;
    changelog->stale = false;
    return PL_OK;
}

struct gone {
    uint64_t account;
    struct place *places;
};

static void note_gone(const void *node, VISIT visit, void *ctx)
{
    struct gone *gone = ctx;
    struct place *place = *(struct place *const *)node;
    if ((visit == preorder || visit == leaf) && place->account == gone->account &&
        place->subject == OF_OPTOUT) {
        place->next_gone = gone->places;
        gone->places = place;
    }
}

/* What was said of the account's visitors goes with the account. */
static struct place *drop_suppressions(struct changelog *changelog, struct store_batch *batch,
                                       uint64_t account)
{
    struct gone gone = {.account = account};
    twalk_r(changelog->places, note_gone, &gone);
    for (struct place *place = gone.places; place != NULL; place = place->next_gone) {
        uint8_t key[8];
        pl_store_u64(key, place->position);
        store_batch_delete(batch, changelog->store, FAMILY_CHANGES, pl_span(key, sizeof(key)));
    }
    return gone.places;
}

static void forget_places(struct changelog *changelog, struct place *gone)
{
    while (gone != NULL) {
        struct place *next = gone->next_gone;
        tdelete(gone, &changelog->places, compare_places);
        free(gone);
        gone = next;
    }
}

static enum pl_err note(struct changelog *changelog, const struct catalog_item *item,
                        struct pl_why *why)
{
    struct redo_record record = {.kind = REDO_CHANGE};
    if (item->kind == CATALOG_SEAL_KEY) {
        record.what = "sealing key";
    } else if (item->kind == CATALOG_CUTOFF) {
        record.what = "cut-off";
    }
    return record.what == NULL ? PL_OK : redo_note(changelog->redo, &record, why);
}

static enum pl_err write_item(struct changelog *changelog, struct store_batch *batch,
                              const struct catalog_item *item, struct pl_buf *bytes,
                              struct pl_why *why)
{
    uint8_t key[8], old[8];
    uint64_t position = changelog->position + 1;
    struct place *place = place_of(changelog, item);
    if (place == NULL) {
        return pl_fail(why, PL_ENOMEM, "no memory for a change");
    }
    enum pl_err err = catalog_encode(item, bytes);
    if (err != PL_OK) {
        return pl_fail(why, err, "a changelog item cannot be encoded: %s", pl_err_word(err));
    }
    err = note(changelog, item, why);
    if (err != PL_OK) {
        return err;
    }
    if (place->position != 0) {
        pl_store_u64(old, place->position);
        store_batch_delete(batch, changelog->store, FAMILY_CHANGES, pl_span(old, sizeof(old)));
    }
    pl_store_u64(key, position);
    store_batch_put(batch, changelog->store, FAMILY_CHANGES, pl_span(key, sizeof(key)),
                    pl_buf_span(bytes));
    struct place *gone =
        item->kind == CATALOG_TOMBSTONE ? drop_suppressions(changelog, batch, item->account) : NULL;
    err = store_write(changelog->store, batch, true, why);
    if (err == PL_OK) {
        forget_places(changelog, gone);
        note_newest(changelog, item, place, position);
    } else {
        changelog->stale = true;
    }
    return err;
}

static void tell(struct changelog *changelog, uint64_t since)
{
    if (changelog->position != since && changelog->on_change != NULL) {
        changelog->on_change(changelog->on_change_ctx);
    }
}

enum pl_err changelog_refresh(struct changelog *changelog, struct pl_why *why)
{
    pthread_mutex_lock(&changelog->writing);
    uint64_t position = changelog->position;
    enum pl_err err = catch_up(changelog, why);
    pthread_mutex_unlock(&changelog->writing);
    tell(changelog, position);
    return err;
}

enum pl_err changelog_write(struct changelog *changelog, struct store_batch *batch,
                            const struct catalog_item *item, struct pl_why *why)
{
    struct pl_buf bytes;
    pl_buf_init(&bytes, LIMIT_FRAME_BYTES);
    pthread_mutex_lock(&changelog->writing);
    uint64_t position = changelog->position;
    enum pl_err err = catch_up(changelog, why);
    if (err == PL_OK) {
        err = write_item(changelog, batch, item, &bytes, why);
    }
    pthread_mutex_unlock(&changelog->writing);
    pl_buf_release(&bytes);
    tell(changelog, position);
    return err;
}

/* At least one item goes into a page, whatever max_bytes: an item is smaller than a frame. */
static enum pl_err fill_page(struct store_scan *scan, uint64_t *position, size_t max_bytes,
                             struct pl_buf *items, bool *full)
{
    struct pl_span key, value;
    enum pl_err err;
    size_t from = items->len;
    *full = false;
    while ((err = store_scan_next(scan, &key, &value)) == PL_OK) {
        if (items->len > from && items->len - from + 4 + value.len > max_bytes) {
            *full = true;
            return PL_OK;
        }
        if ((err = pl_buf_put_u32(items, (uint32_t)value.len)) != PL_OK ||
            (err = pl_buf_append_span(items, value)) != PL_OK) {
            return err;
        }
        *position = pl_load_u64(key.data);
    }
    return err == PL_ENOTFOUND ? PL_OK : err;
}

enum pl_err changelog_feed(void *ctx, struct pl_id128 *epoch, uint64_t *position, size_t max_bytes,
                           struct pl_buf *items, bool *caught_up)
{
    struct changelog *changelog = ctx;
    struct store_scan *scan;
    uint64_t at = *position;
    uint8_t from[8];
    bool full;
    changelog_epoch(changelog, epoch);
    if (at >= changelog->position) {
        return PL_ENOTFOUND;
    }
    pl_store_u64(from, at + 1);
    enum pl_err err = store_scan_new(&scan, changelog->store, FAMILY_CHANGES,
                                     pl_span(from, sizeof(from)), pl_span(NULL, 0));
    if (err != PL_OK) {
        return err;
    }
    err = fill_page(scan, &at, max_bytes, items, &full);
    store_scan_free(scan);
    if (err == PL_OK && at == *position) {
        return PL_ENOTFOUND;
    }
    if (err == PL_OK) {
        *position = at;
        *caught_up = !full;
    }
    return err;
}

uint64_t changelog_position(const struct changelog *changelog)
{
    return changelog->position;
}

uint64_t changelog_settle_position(const struct changelog *changelog)
{
    return changelog->settle_position;
}

uint64_t changelog_seal_key_position(const struct changelog *changelog)
{
    return changelog->seal_key_position;
}

void changelog_epoch(struct changelog *changelog, struct pl_id128 *epoch)
{
    pthread_mutex_lock(&changelog->epoch_lock);
    *epoch = changelog->epoch;
    pthread_mutex_unlock(&changelog->epoch_lock);
}

/* A change may have been read from the store before the thread that wrote it has noted it, or
 * although its write was told to have failed: neither is any longer so under `writing`. */
bool changelog_is_behind(struct changelog *changelog, const struct pl_id128 *epoch,
                         uint64_t position)
{
    pthread_mutex_lock(&changelog->epoch_lock);
    bool behind = !changelog->is_new && pl_id128_eq(epoch, &changelog->epoch);
    pthread_mutex_unlock(&changelog->epoch_lock);
    if (!behind || position <= changelog->position) {
        return false;
    }
    pthread_mutex_lock(&changelog->writing);
    behind = catch_up(changelog, NULL) == PL_OK && position > changelog->position;
    pthread_mutex_unlock(&changelog->writing);
    return behind;
}
