#include "origin/intake/dedupe.h"

#include <stdlib.h>

#define SWEEP_CHUNK 256
/* Tables do not repeat it. It makes the keys of an account a run (store_family.run_bytes) that is
 * longer than the beginning of what is purged. */
#define KEY_VERSION 1

/* A place in the set of keys that the call at hand has seen; 0 is free, else an index + 1. */
typedef uint32_t slot;

/* A value sealed anew, until the next call. */
struct moved {
    struct moved *next;
    struct pl_buf value;
};

struct dedupe {
    struct store *store;
    struct vault_sealer *sealer;
    struct event_reader *reader;
    struct event *event;
    struct pl_buf values;  /* of the index */
    struct pl_buf sealed;  /* one value of the vault */
    struct pl_buf encoded; /* one event */
    struct moved *moved;
    /* grown with the largest call */
    size_t room;
    slot *open; /* indexes of entries still to be decided */
    uint8_t (*keys)[DEDUPE_KEY_BYTES];
    struct pl_span *spans;
    struct store_found *found;
    slot *set;
    size_t set_room;
};

void dedupe_key_of(const struct vault_key *key, uint8_t out[DEDUPE_KEY_BYTES])
{
    memcpy(out, key->bytes, 8);
    out[8] = KEY_VERSION;
    memcpy(out + 9, key->bytes + 24, 8);
}

void dedupe_value_of(const struct vault_key *key, uint8_t out[DEDUPE_VALUE_BYTES])
{
    memcpy(out, key->bytes + 10, DEDUPE_VALUE_BYTES);
}

void dedupe_value_blank(int64_t erased_ms, uint8_t out[DEDUPE_VALUE_BYTES])
{
    memset(out, 0, 8);
    pl_store_u16(out + 8, (uint16_t)((uint64_t)erased_ms >> 32));
    pl_store_u32(out + 10, (uint32_t)erased_ms);
}

bool dedupe_value_is_blank(struct pl_span value, int64_t until_ms)
{
    static const uint8_t nobody[8];
    if (value.len != DEDUPE_VALUE_BYTES || memcmp(value.data, nobody, sizeof(nobody)) != 0)
        return false;
    return (int64_t)((uint64_t)pl_load_u16(value.data + 8) << 32 | pl_load_u32(value.data + 10)) <=
           until_ms;
}

/* What an index entry points to. */
static void first_copy(const uint8_t key[DEDUPE_KEY_BYTES], const uint8_t *value,
                       struct vault_key *out)
{
    memcpy(out->bytes, key, 8);
    memcpy(out->bytes + 10, value, DEDUPE_VALUE_BYTES);
    memcpy(out->bytes + 24, key + 9, 8);
    pl_store_u16(out->bytes + 8, (uint16_t)pl_day_of(vault_key_time_ms(out)));
}

enum pl_err dedupe_new(struct dedupe **out, struct store *store, struct vault_sealer *sealer)
{
    struct dedupe *d = calloc(1, sizeof(*d));
    if (d == NULL)
        return PL_ENOMEM;
    d->store = store;
    d->sealer = sealer;
    pl_buf_init(&d->values, (size_t)64 << 20);
    pl_buf_init(&d->sealed, 4 * LIMIT_EVENT_WIRE_BYTES);
    pl_buf_init(&d->encoded, 2 * LIMIT_EVENT_WIRE_BYTES);
    d->event = calloc(1, sizeof(*d->event));
    enum pl_err err = d->event == NULL ? PL_ENOMEM : event_reader_new(&d->reader);
    if (err != PL_OK) {
        dedupe_free(d);
        return err;
    }
    *out = d;
    return PL_OK;
}

static void drop_moved(struct dedupe *d)
{
    while (d->moved != NULL) {
        struct moved *m = d->moved;
        d->moved = m->next;
        pl_buf_release(&m->value);
        free(m);
    }
}

void dedupe_free(struct dedupe *d)
{
    if (d == NULL)
        return;
    pl_buf_release(&d->values);
    pl_buf_release(&d->sealed);
    pl_buf_wipe(&d->encoded);
    drop_moved(d);
    event_reader_free(d->reader);
    free(d->event);
    free(d->open);
    free(d->keys);
    free(d->spans);
    free(d->found);
    free(d->set);
    free(d);
}

/* For so many entries, and a set at most half full. */
static enum pl_err make_room(struct dedupe *d, size_t count)
{
    d->set_room = 64;
    while (d->set_room < 2 * count)
        d->set_room *= 2;
    if (d->set_room / 2 > d->room) {
        size_t room = d->set_room / 2;
        free(d->open);
        free(d->keys);
        free(d->spans);
        free(d->found);
        free(d->set);
        d->open = malloc(room * sizeof(*d->open));
        d->keys = malloc(room * sizeof(*d->keys));
        d->spans = malloc(room * sizeof(*d->spans));
        d->found = malloc(room * sizeof(*d->found));
        d->set = malloc(d->set_room * sizeof(*d->set));
        d->room = 0;
        if (d->open == NULL || d->keys == NULL || d->spans == NULL || d->found == NULL ||
            d->set == NULL)
            return PL_ENOMEM;
        d->room = room;
    }
    memset(d->set, 0, d->set_room * sizeof(*d->set));
    return PL_OK;
}

/* Where in the set the entry's key is, or belongs. The hash is keyed, so nobody can aim at it. */
static size_t place_of(const struct dedupe *d, const struct dedupe_entry *e,
                       struct dedupe_entry *const *entries)
{
    size_t mask = d->set_room - 1;
    size_t at = (size_t)(vault_key_event_hash(&e->key) ^ vault_key_account(&e->key)) & mask;
    for (; d->set[at] != 0; at = (at + 1) & mask) {
        const struct vault_key *other = &entries[d->set[at] - 1]->key;
        if (memcmp(other->bytes + 24, e->key.bytes + 24, 8) == 0 &&
            memcmp(other->bytes, e->key.bytes, 8) == 0)
            break;
    }
    return at;
}

/* Another message has this hash: on to the next one, under which it is sealed anew. */
static enum pl_err move_on(struct dedupe *d, struct dedupe_entry *e)
{
    struct moved *m = calloc(1, sizeof(*m));
    if (m == NULL)
        return PL_ENOMEM;
    m->next = d->moved;
    d->moved = m;
    pl_buf_init(&m->value, 2 * LIMIT_EVENT_WIRE_BYTES);
    struct vault_key next = e->key;
    vault_key_set_event_hash(&next, vault_key_event_hash(&e->key) + 1);
    enum pl_err err = vault_move(d->sealer, &e->key, &next, e->value, &m->value);
    if (err != PL_OK)
        return err;
    e->value = pl_buf_span(&m->value);
    e->key = next;
    return PL_OK;
}

/* Whether the value an index entry points to is the same message. A value that is gone was
 * erased: a late retry must not bring it back. One that cannot be read cannot vouch for
 * anything. */
static enum pl_err confirm(struct dedupe *d, const struct dedupe_entry *e,
                           const struct vault_key *first, bool *same)
{
    pl_buf_reset(&d->sealed);
    pl_buf_reset(&d->encoded);
    *same = false;
    enum pl_err err = store_get(d->store, FAMILY_VAULT, vault_key_span(first), &d->sealed);
    if (err == PL_ENOTFOUND) {
        *same = true;
        return PL_OK;
    }
    if (err == PL_OK)
        err = vault_open_value(d->sealer, first, pl_buf_span(&d->sealed), &d->encoded);
    if (err == PL_OK) {
        struct pl_span rest = pl_buf_span(&d->encoded);
        err = event_read(d->reader, &rest, d->event, NULL, NULL);
    }
    if (err == PL_OK)
        *same = pl_span_eq(event_str(d->event, EVENT_MESSAGE_ID), e->message_id);
    return err == PL_ECORRUPT || err == PL_EAUTH || err == PL_EUNSUPPORTED ? PL_OK : err;
}

static bool within_window(const struct dedupe_entry *e, const struct vault_key *first)
{
    int64_t days = vault_key_day(&e->key) - vault_key_day(first);
    return days <= DEDUPE_DAYS && days >= -DEDUPE_DAYS;
}

/* Decides one entry; *again: it was moved and is to be looked up once more. */
static enum pl_err decide(struct dedupe *d, struct dedupe_entry *const *entries, size_t index,
                          const struct store_found *found, bool *again)
{
    struct dedupe_entry *e = entries[index];
    bool same = false, taken = false;
    enum pl_err err = PL_OK;
    if (found->found && found->value_len == DEDUPE_VALUE_BYTES) {
        struct vault_key first;
        uint8_t key[DEDUPE_KEY_BYTES];
        dedupe_key_of(&e->key, key);
        first_copy(key, d->values.data + found->value_offset, &first);
        taken = within_window(e, &first);
        if (taken)
            err = confirm(d, e, &first, &same);
    }
    size_t at = 0;
    if (!taken) {
        at = place_of(d, e, entries);
        taken = d->set[at] != 0;
        same = taken && pl_span_eq(entries[d->set[at] - 1]->message_id, e->message_id);
    }
    *again = false;
    if (err == PL_OK && !taken)
        d->set[at] = (slot)index + 1;
    else if (err == PL_OK && same)
        e->duplicate = true;
    else if (err == PL_OK && (err = move_on(d, e)) == PL_OK)
        *again = true;
    if (err != PL_EEXPIRED)
        return err;
    e->gone = true;
    return PL_OK;
}

/* Rot in the index: what can be read is, what cannot counts as not there, so that at worst a
 * retry is stored twice. */
static enum pl_err look_up_singly(struct store *store, const struct pl_span *keys, size_t count,
                                  struct store_found *found, struct pl_buf *values)
{
    enum pl_err err = PL_OK;
    for (size_t i = 0; err == PL_OK && i < count; i++) {
        size_t at = values->len;
        err = store_get(store, FAMILY_DEDUPE, keys[i], values);
        found[i] = (struct store_found){
            .found = err == PL_OK, .value_offset = at, .value_len = values->len - at};
        if (err == PL_ENOTFOUND || err == PL_ECORRUPT)
            err = PL_OK;
    }
    return err;
}

static enum pl_err look_up_all(struct store *store, const struct pl_span *keys, size_t count,
                               struct store_found *found, struct pl_buf *values)
{
    pl_buf_reset(values);
    enum pl_err err = store_get_many(store, FAMILY_DEDUPE, keys, count, found, values);
    if (err != PL_ECORRUPT)
        return err;
    pl_buf_reset(values);
    return look_up_singly(store, keys, count, found, values);
}

static enum pl_err look_up(struct dedupe *d, struct dedupe_entry *const *entries, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        dedupe_key_of(&entries[d->open[i]]->key, d->keys[i]);
        d->spans[i] = pl_span(d->keys[i], DEDUPE_KEY_BYTES);
    }
    return look_up_all(d->store, d->spans, count, d->found, &d->values);
}

enum pl_err dedupe_check(struct dedupe *d, struct dedupe_entry *const *entries, size_t count,
                         struct pl_why *why)
{
    drop_moved(d);
    enum pl_err err = count >= UINT32_MAX ? PL_ELIMIT : make_room(d, count);
    size_t open = 0;
    for (size_t i = 0; err == PL_OK && i < count; i++) {
        entries[i]->duplicate = entries[i]->gone = false;
        if (entries[i]->message_id.len > 0)
            d->open[open++] = (slot)i;
    }
    /* What still collides after the last probe stays where it is: chance does not do that. */
    for (unsigned probe = 0; err == PL_OK && open > 0 && probe < DEDUPE_PROBES; probe++) {
        size_t left = 0;
        err = look_up(d, entries, open);
        for (size_t i = 0; err == PL_OK && i < open; i++) {
            bool again = false;
            err = decide(d, entries, d->open[i], &d->found[i], &again);
            if (again)
                d->open[left++] = d->open[i];
        }
        open = left;
    }
    return err == PL_OK ? PL_OK
                        : pl_fail(why, err, "cannot look for duplicates: %s", pl_err_word(err));
}

/* ---- the daily sweep */

struct sweep {
    struct store *store;
    struct store_batch *batch;
    struct pl_buf values;
    size_t count;
    struct vault_key vault[SWEEP_CHUNK];
    uint8_t keys[SWEEP_CHUNK][DEDUPE_KEY_BYTES];
    struct pl_span spans[SWEEP_CHUNK];
    struct store_found found[SWEEP_CHUNK];
};

/* Only entries that still point to the event: a message seen again after the window has a newer
 * one. */
static enum pl_err sweep_chunk(struct sweep *s)
{
    for (size_t i = 0; i < s->count; i++) {
        dedupe_key_of(&s->vault[i], s->keys[i]);
        s->spans[i] = pl_span(s->keys[i], DEDUPE_KEY_BYTES);
    }
    enum pl_err err = look_up_all(s->store, s->spans, s->count, s->found, &s->values);
    for (size_t i = 0; err == PL_OK && i < s->count; i++) {
        uint8_t value[DEDUPE_VALUE_BYTES];
        dedupe_value_of(&s->vault[i], value);
        if (s->found[i].found && s->found[i].value_len == sizeof(value) &&
            memcmp(s->values.data + s->found[i].value_offset, value, sizeof(value)) == 0)
            store_batch_delete(s->batch, s->store, FAMILY_DEDUPE, s->spans[i]);
    }
    s->count = 0;
    return err;
}

/* Where to read on so as to meet the day's next key: the day's range of an account is one of many
 * that lie apart. */
static void next_range(const struct vault_key *at, int64_t day, struct vault_key *out)
{
    uint64_t account = vault_key_account(at);
    vault_key_first(vault_key_day(at) < day ? account : account + 1, day, out);
}

/* The next key of the vault. Behind what the disk does not give back the walk goes on with a later
 * account, in growing steps: a rotten block may hold many accounts, or a part of one. */
static enum pl_err next_key(struct store_scan *scan, int64_t day, struct vault_key *cursor,
                            struct pl_span *key)
{
    struct pl_span value;
    enum pl_err err;
    unsigned bit = 0;
    while ((err = store_scan_next(scan, key, &value)) == PL_ECORRUPT) {
        uint64_t account = vault_key_account(cursor), step = UINT64_C(1) << bit++;
        if (bit == 64 || account > UINT64_MAX - step)
            return PL_ENOTFOUND;
        vault_key_first(account + step, day, cursor);
        store_scan_seek(scan, vault_key_span(cursor));
    }
    return err;
}

static enum pl_err sweep_walk(struct sweep *s, int64_t day, struct vault_key *cursor,
                              size_t max_keys)
{
    struct store_scan *scan;
    struct pl_span key;
    enum pl_err err =
        store_scan_new(&scan, s->store, FAMILY_VAULT, vault_key_span(cursor), pl_span(NULL, 0));
    if (err != PL_OK)
        return err;
    size_t walked = 0;
    for (; err == PL_OK && walked < max_keys; walked++) {
        err = next_key(scan, day, cursor, &key);
        if (err != PL_OK)
            break;
        if (key.len != VAULT_KEY_BYTES)
            continue;
        struct vault_key at;
        memcpy(at.bytes, key.data, sizeof(at));
        *cursor = at;
        if (vault_key_day(&at) != day) {
            if (vault_key_day(&at) > day && vault_key_account(&at) == UINT64_MAX) {
                err = PL_ENOTFOUND;
                break;
            }
            next_range(&at, day, cursor);
            store_scan_seek(scan, vault_key_span(cursor));
            continue;
        }
        s->vault[s->count++] = at;
        if (s->count == SWEEP_CHUNK)
            err = sweep_chunk(s);
    }
    store_scan_free(scan);
    if (err == PL_OK || err == PL_ENOTFOUND) {
        enum pl_err last = sweep_chunk(s);
        return last != PL_OK ? last : err == PL_OK ? PL_EAGAIN : PL_OK;
    }
    return err;
}

enum pl_err dedupe_expire(struct store *store, int64_t day, struct vault_key *cursor,
                          size_t max_keys, struct pl_why *why)
{
    struct sweep *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return pl_fail(why, PL_ENOMEM, "out of memory for the sweep of the dedupe index");
    s->store = store;
    pl_buf_init(&s->values, SWEEP_CHUNK * 64);
    enum pl_err err = store_batch_new(&s->batch), walked = PL_OK;
    if (err == PL_OK)
        err = walked = sweep_walk(s, day, cursor, max_keys < 2 ? 2 : max_keys);
    if (err == PL_OK || err == PL_EAGAIN)
        err = store_write(store, s->batch, false, why);
    else
        pl_fail(why, err, "cannot sweep the dedupe index: %s", pl_err_word(err));
    store_batch_free(s->batch);
    pl_buf_release(&s->values);
    free(s);
    return err == PL_OK ? walked : err;
}
