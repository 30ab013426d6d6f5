#include "origin/subjects/links.h"

#include <stdatomic.h>
#include <stdlib.h>

#define VALUE_VERSION 1
#define HEAD_BYTES    3          /* version, day */
#define CACHE_SLOTS   (1u << 15) /* eight bytes each */
#define ID_BYTES_MAX  (2 * LIMIT_EVENT_WIRE_BYTES)

struct links {
    struct store *store;
    struct pl_buf value, plain; /* of the row at hand */
    uint64_t seen_changes;
    _Atomic uint64_t changes;
    uint64_t cache[CACHE_SLOTS]; /* fingerprints of what was written; 0: nothing */
};

enum pl_err links_new(struct links **out, struct store *store)
{
    struct links *links = calloc(1, sizeof(*links));
    if (links == NULL)
        return PL_ENOMEM;
    links->store = store;
    pl_buf_init(&links->value, 2 * ID_BYTES_MAX);
    pl_buf_init(&links->plain, 2 * ID_BYTES_MAX);
    *out = links;
    return PL_OK;
}

void links_free(struct links *links)
{
    if (links == NULL)
        return;
    pl_buf_release(&links->value);
    pl_buf_wipe(&links->plain);
    free(links);
}

void links_forget(struct links *links)
{
    memset(links->cache, 0, sizeof(links->cache));
}

void links_changed(struct links *links)
{
    atomic_fetch_add(&links->changes, 1);
}

/* ---- noting: kind(1) account(8) hash(8) hash(8) length(2) length(2) ids */

#define NOTE_HEAD_BYTES 29

struct note {
    enum link_direction direction;
    uint64_t account;
    const uint8_t *from_hash, *user_hash;
    struct pl_span from, user;
};

static enum pl_err put_note(const struct note *note, struct pl_buf *notes)
{
    uint8_t head[NOTE_HEAD_BYTES];
    if (note->from.len > UINT16_MAX || note->user.len > UINT16_MAX)
        return PL_ELIMIT;
    head[0] = (uint8_t)note->direction;
    pl_store_u64(head + 1, note->account);
    memcpy(head + 9, note->from_hash, LINK_HASH_BYTES);
    memcpy(head + 17, note->user_hash, LINK_HASH_BYTES);
    pl_store_u16(head + 25, (uint16_t)note->from.len);
    pl_store_u16(head + 27, (uint16_t)note->user.len);
    enum pl_err err = pl_buf_reserve(notes, sizeof(head) + note->from.len + note->user.len);
    if (err != PL_OK)
        return err;
    (void)pl_buf_append(notes, head, sizeof(head));
    (void)pl_buf_append_span(notes, note->from);
    (void)pl_buf_append_span(notes, note->user);
    return PL_OK;
}

static bool take_note(struct pl_span *rest, struct note *note)
{
    struct pl_reader r = pl_reader(*rest);
    note->direction = pl_get_u8(&r);
    note->account = pl_get_u64(&r);
    note->from_hash = pl_get_span(&r, LINK_HASH_BYTES).data;
    note->user_hash = pl_get_span(&r, LINK_HASH_BYTES).data;
    const size_t from_len = pl_get_u16(&r), user_len = pl_get_u16(&r);
    note->from = pl_get_span(&r, from_len);
    note->user = pl_get_span(&r, user_len);
    *rest = r.rest;
    return !r.failed;
}

enum pl_err links_note(struct vault_sealer *sealer, const struct event *event,
                       const struct vault_key *key, struct pl_buf *notes)
{
    uint8_t user[VAULT_VISITOR_PREFIX], previous[VAULT_VISITOR_PREFIX];
    struct note note = {.direction = LINK_VISITOR_TO_USER,
                        .account = vault_key_account(key),
                        .from = event_str(event, EVENT_VISITOR_ID),
                        .user = event_str(event, EVENT_USER_ID),
                        .from_hash = key->bytes + 10,
                        .user_hash = user + 10};
    const struct pl_span alias = event_str(event, EVENT_PREVIOUS_ID);
    if (note.user.len == 0 && alias.len > 0) { /* its new name is the visitor's */
        note.user = note.from;
        note.from = pl_span(NULL, 0);
    }
    if (note.user.len == 0 || (note.from.len == 0 && alias.len == 0))
        return PL_OK;
    enum pl_err err =
        vault_visitor_prefix(sealer, note.account, vault_key_day(key), note.user, true, user);
    if (err == PL_OK && note.from.len > 0)
        err = put_note(&note, notes);
    if (err != PL_OK || alias.len == 0)
        return err;
    note.direction = LINK_PREVIOUS_TO_USER;
    note.from = alias;
    note.from_hash = previous + 10;
    err = vault_visitor_prefix(sealer, note.account, vault_key_day(key), alias, false, previous);
    return err == PL_OK ? put_note(&note, notes) : err;
}

/* ---- rows */

static void key_of(uint64_t account, enum link_direction direction, const uint8_t first[8],
                   const uint8_t second[8], uint8_t key[LINK_KEY_BYTES])
{
    pl_store_u64(key, account);
    key[8] = (uint8_t)direction;
    memcpy(key + 9, first, LINK_HASH_BYTES);
    memcpy(key + 17, second, LINK_HASH_BYTES);
}

static bool holds_ids(const uint8_t key[LINK_KEY_BYTES])
{
    return key[8] == LINK_VISITOR_TO_USER || key[8] == LINK_PREVIOUS_TO_USER;
}

static void reverse_of(const uint8_t key[LINK_KEY_BYTES], uint8_t out[LINK_KEY_BYTES])
{
    const unsigned direction = holds_ids(key) ? key[8] + 1u : key[8] - 1u;
    key_of(pl_load_u64(key), direction, key + 17, key + 9, out);
}

/* version | day | sealed(length of the first id | ids) */
static enum pl_err seal(struct links *l, struct vault_sealer *sealer, const struct note *note,
                        int64_t day, const uint8_t key[LINK_KEY_BYTES])
{
    pl_buf_reset(&l->plain);
    pl_buf_reset(&l->value);
    enum pl_err err = pl_buf_put_u16(&l->plain, (uint16_t)note->from.len);
    if (err == PL_OK)
        err = pl_buf_append_span(&l->plain, note->from);
    if (err == PL_OK)
        err = pl_buf_append_span(&l->plain, note->user);
    if (err == PL_OK)
        err = pl_buf_put_u8(&l->value, VALUE_VERSION);
    if (err == PL_OK)
        err = pl_buf_put_u16(&l->value, (uint16_t)day);
    return err == PL_OK ? vault_seal_row(sealer, note->account, day, pl_span(key, LINK_KEY_BYTES),
                                         pl_buf_span(&l->plain), &l->value)
                        : err;
}

/* Hashes are keyed: nobody can aim at a slot or at another pair's fingerprint. */
static uint64_t fingerprint(const struct note *note, int64_t day)
{
    uint64_t from = pl_load_u64(note->from_hash), user = pl_load_u64(note->user_hash);
    uint64_t mixed = from ^ (user << 29 | user >> 35) ^ note->account;
    mixed += ((uint64_t)day << 2 | note->direction) * UINT64_C(0x9e3779b97f4a7c15);
    return mixed == 0 ? 1 : mixed;
}

static enum pl_err put_pair(struct links *l, struct vault_sealer *sealer, int64_t today,
                            const struct note *note, struct store_batch *batch)
{
    uint8_t key[LINK_KEY_BYTES], reverse[LINK_KEY_BYTES];
    const uint64_t print = fingerprint(note, today);
    uint64_t *slot = &l->cache[print * UINT64_C(0x9e3779b97f4a7c15) >> 49];
    if (*slot == print)
        return PL_OK;
    key_of(note->account, note->direction, note->from_hash, note->user_hash, key);
    reverse_of(key, reverse);
    enum pl_err err = seal(l, sealer, note, today, key);
    if (err == PL_EEXPIRED)
        return PL_OK;
    if (err != PL_OK)
        return err;
    store_batch_put(batch, l->store, FAMILY_LINKS, pl_span(key, sizeof(key)),
                    pl_buf_span(&l->value));
    store_batch_put(batch, l->store, FAMILY_LINKS, pl_span(reverse, sizeof(reverse)),
                    pl_span(NULL, 0));
    *slot = print;
    return PL_OK;
}

_Static_assert(UINT64_MAX >> 49 == CACHE_SLOTS - 1, "a slot for every top of a product");

enum pl_err links_put(struct links *l, struct vault_sealer *sealer, int64_t today,
                      struct pl_span notes, struct store_batch *batch)
{
    struct note note;
    enum pl_err err = PL_OK;
    const uint64_t changes = atomic_load(&l->changes);
    if (changes != l->seen_changes)
        links_forget(l);
    l->seen_changes = changes;
    today = today < 0 ? 0 : today > VAULT_DAY_MAX ? VAULT_DAY_MAX : today;
    while (err == PL_OK && take_note(&notes, &note))
        err = put_pair(l, sealer, today, &note, batch);
    return err;
}

/* ---- reading */

struct walk {
    struct store *store;
    struct vault_sealer *sealer;
    struct pl_buf value, plain;
    struct link link;
};

/* The ids of the row at hand, or of its other one. PL_EAUTH and such: they cannot be read. */
static enum pl_err open_pair(struct walk *w, struct pl_span value)
{
    const uint8_t *key = holds_ids(w->link.key) ? w->link.key : w->link.reverse;
    if (key == w->link.reverse) {
        pl_buf_reset(&w->value);
        enum pl_err err =
            store_get(w->store, FAMILY_LINKS, pl_span(key, LINK_KEY_BYTES), &w->value);
        if (err != PL_OK)
            return err;
        value = pl_buf_span(&w->value);
    }
    if (value.len < HEAD_BYTES || value.data[0] != VALUE_VERSION)
        return PL_EUNSUPPORTED;
    pl_buf_reset(&w->plain);
    enum pl_err err =
        vault_open_row(w->sealer, pl_load_u64(key), pl_load_u16(value.data + 1),
                       pl_span(key, LINK_KEY_BYTES), pl_span_from(value, HEAD_BYTES), &w->plain);
    if (err != PL_OK)
        return err;
    struct pl_reader r = pl_reader(pl_buf_span(&w->plain));
    const size_t from_len = pl_get_u16(&r);
    w->link.from = pl_get_span(&r, from_len);
    w->link.user = r.rest;
    w->link.day = pl_load_u16(value.data + 1);
    return r.failed ? PL_ECORRUPT : PL_OK;
}

static bool cannot_be_read(enum pl_err err)
{
    return err == PL_EAUTH || err == PL_ECORRUPT || err == PL_EUNSUPPORTED || err == PL_ENOTFOUND;
}

enum pl_err links_each(struct store *store, struct vault_sealer *sealer, uint64_t account,
                       enum link_direction direction, const uint8_t hash[LINK_HASH_BYTES],
                       enum pl_err (*visit)(void *ctx, const struct link *link), void *ctx,
                       size_t *damaged)
{
    struct walk w = {.store = store, .sealer = sealer};
    struct store_scan *scan = NULL;
    struct pl_span key, value;
    struct pl_buf end;
    uint8_t from[LINK_KEY_BYTES];
    key_of(account, direction, hash, hash, from);
    pl_buf_init(&end, LINK_KEY_BYTES);
    pl_buf_init(&w.value, 4 * ID_BYTES_MAX);
    pl_buf_init(&w.plain, 4 * ID_BYTES_MAX);
    const struct pl_span prefix = pl_span(from, LINK_KEY_BYTES - LINK_HASH_BYTES);
    enum pl_err err = store_prefix_end(prefix, &end);
    if (err == PL_OK || err == PL_ENOTFOUND)
        err = store_scan_new(&scan, store, FAMILY_LINKS, prefix, pl_buf_span(&end));
    while (err == PL_OK && (err = store_scan_next(scan, &key, &value)) == PL_OK) {
        if (key.len != LINK_KEY_BYTES)
            continue;
        memcpy(w.link.key, key.data, LINK_KEY_BYTES);
        reverse_of(w.link.key, w.link.reverse);
        err = open_pair(&w, value);
        if (err == PL_OK)
            err = visit(ctx, &w.link);
        else if (cannot_be_read(err)) {
            if (damaged != NULL)
                ++*damaged;
            err = PL_OK;
        }
    }
    store_scan_free(scan);
    pl_buf_release(&end);
    pl_buf_release(&w.value);
    pl_buf_wipe(&w.plain);
    return err == PL_ENOTFOUND ? PL_OK : err;
}

/* ---- what nobody was seen with for long */

/* The rows that hold the ids lie before and between the others: those are passed over. */
static enum pl_err expire_rows(struct store *store, struct store_scan *scan, int64_t before_day,
                               uint8_t cursor[LINK_KEY_BYTES], size_t max_rows,
                               struct store_batch *batch, size_t *deleted)
{
    struct pl_span key, value;
    uint8_t at[LINK_KEY_BYTES], reverse[LINK_KEY_BYTES];
    for (size_t i = 0; i < max_rows; i++) {
        enum pl_err err = store_scan_next(scan, &key, &value);
        if (err != PL_OK)
            return err;
        if (key.len != LINK_KEY_BYTES)
            continue;
        memcpy(at, key.data, LINK_KEY_BYTES);
        memcpy(cursor, at, LINK_KEY_BYTES);
        for (size_t b = LINK_KEY_BYTES; b-- > 0 && ++cursor[b] == 0;)
            ;
        if (!holds_ids(at) || value.len < HEAD_BYTES || value.data[0] != VALUE_VERSION ||
            pl_load_u16(value.data + 1) >= before_day)
            continue;
        reverse_of(at, reverse);
        store_batch_delete(batch, store, FAMILY_LINKS, key);
        store_batch_delete(batch, store, FAMILY_LINKS, pl_span(reverse, sizeof(reverse)));
        ++*deleted;
    }
    return PL_EAGAIN;
}

enum pl_err links_expire(struct store *store, uint64_t account, int64_t before_day,
                         uint8_t cursor[LINK_KEY_BYTES], size_t max_rows, size_t *deleted,
                         struct pl_why *why)
{
    struct store_scan *scan = NULL;
    struct store_batch *batch = NULL;
    uint8_t end[8];
    if (pl_load_u64(cursor) < account)
        pl_store_u64(cursor, account);
    pl_store_u64(end, account + 1);
    *deleted = 0;
    enum pl_err err = store_batch_new(&batch), walked = PL_OK;
    if (err == PL_OK)
        err = store_scan_new(&scan, store, FAMILY_LINKS, pl_span(cursor, LINK_KEY_BYTES),
                             pl_span(end, account == UINT64_MAX ? 0 : sizeof(end)));
    if (err == PL_OK)
        walked = expire_rows(store, scan, before_day, cursor, max_rows, batch, deleted);
    store_scan_free(scan);
    if (walked != PL_OK && walked != PL_EAGAIN && walked != PL_ENOTFOUND)
        err = pl_fail(why, walked, "old links cannot be read: %s", pl_err_word(walked));
    else if (err == PL_OK && *deleted > 0)
        err = store_write(store, batch, false, why);
    else if (err != PL_OK)
        pl_fail(why, err, "old links cannot be looked for: %s", pl_err_word(err));
    store_batch_free(batch);
    return err == PL_OK && walked == PL_EAGAIN ? PL_EAGAIN : err;
}
