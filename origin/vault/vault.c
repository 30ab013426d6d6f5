#include "origin/vault/vault.h"

#include "origin/vault/dictionary.h"
#include "proto/base/secret.h"
#include "proto/wire/event_slim.h"

#include <stdlib.h>

#define VALUE_VERSION  1 /* of the layout; it compresses with dictionary 1 */
#define VERSION_BYTES  1
#define HEAD_BYTES     (VERSION_BYTES + PL_SIV_BYTES)
#define CACHE_WAYS     4
#define CACHE_DEFAULT  256
#define ID_INPUT_BYTES (2 + LIMIT_ID_BYTES)

_Static_assert(HEAD_BYTES == VAULT_VALUE_EXTRA, "what the header says");

/* What is derived from one account's data key for one day. The two hash keys do not depend on the
 * day; having them here keeps a seal to one look-up. */
struct derived {
    uint64_t account;
    uint32_t day;
    uint32_t last_used;
    struct pl_siv *siv;      /* NULL: a free place */
    struct pl_cmac *visitor; /* hashes of visitor and user ids */
    struct pl_cmac *message; /* hashes of message ids and places */
};

struct vault_sealer {
    struct keyring *keyring;
    uint64_t generation;
    struct derived *cache; /* sets of CACHE_WAYS */
    size_t set_count;
    struct derived *recent;
    uint32_t tick;
    struct pl_zstd *zstd;
    struct pl_zstd_dict *dictionary;
    struct pl_buf plain, slimmed; /* one event, on its way in or out */
};

/* ---- storage keys */

uint64_t vault_key_account(const struct vault_key *key)
{
    return pl_load_u64(key->bytes);
}

int64_t vault_key_day(const struct vault_key *key)
{
    return pl_load_u16(key->bytes + 8);
}

int64_t vault_key_time_ms(const struct vault_key *key)
{
    return (int64_t)(((uint64_t)pl_load_u16(key->bytes + 18) << 32) | pl_load_u32(key->bytes + 20));
}

uint64_t vault_key_event_hash(const struct vault_key *key)
{
    return pl_load_u64(key->bytes + 24);
}

void vault_key_set_event_hash(struct vault_key *key, uint64_t event_hash)
{
    pl_store_u64(key->bytes + 24, event_hash);
}

void vault_key_first(uint64_t account, int64_t day, struct vault_key *key)
{
    memset(key, 0, sizeof(*key));
    if (day > VAULT_DAY_MAX) {
        account++;
        day = 0;
    }
    pl_store_u64(key->bytes, account);
    pl_store_u16(key->bytes + 8, (uint16_t)day);
}

/* ---- derived keys */

static void forget(struct derived *d)
{
    pl_siv_free(d->siv);
    pl_cmac_free(d->visitor);
    pl_cmac_free(d->message);
    memset(d, 0, sizeof(*d));
}

void vault_sealer_tidy(struct vault_sealer *s)
{
    uint64_t now = keyring_generation(s->keyring);
    if (now == s->generation)
        return;
    for (size_t i = 0; i < s->set_count * CACHE_WAYS; i++)
        forget(&s->cache[i]);
    s->recent = NULL;
    s->generation = now;
}

enum pl_err vault_sealer_new(struct vault_sealer **out, struct keyring *keyring,
                             size_t cache_entries)
{
    struct vault_sealer *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return PL_ENOMEM;
    s->keyring = keyring;
    s->generation = keyring_generation(keyring);
    s->set_count =
        ((cache_entries == 0 ? CACHE_DEFAULT : cache_entries) + CACHE_WAYS - 1) / CACHE_WAYS;
    pl_buf_init(&s->plain, 2 * LIMIT_EVENT_WIRE_BYTES);
    pl_buf_init(&s->slimmed, 2 * LIMIT_EVENT_WIRE_BYTES);
    enum pl_err err = PL_ENOMEM;
    s->cache = calloc(s->set_count * CACHE_WAYS, sizeof(*s->cache));
    if (s->cache != NULL)
        err = pl_zstd_new(&s->zstd, 1);
    if (err == PL_OK)
        err = dictionary_new(1, &s->dictionary);
    if (err != PL_OK) {
        vault_sealer_free(s);
        return err;
    }
    *out = s;
    return PL_OK;
}

void vault_sealer_free(struct vault_sealer *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; s->cache != NULL && i < s->set_count * CACHE_WAYS; i++)
        forget(&s->cache[i]);
    free(s->cache);
    pl_zstd_free(s->zstd);
    pl_zstd_dict_free(s->dictionary);
    pl_buf_wipe(&s->plain);
    pl_buf_wipe(&s->slimmed);
    free(s);
}

/* HKDF-Expand (RFC 5869): the data key is uniformly random, so it is its own PRK. */
static enum pl_err derive(const uint8_t data_key[32], struct derived *d)
{
    static const char day_label[] = "polder vault day v1", visitor_label[] = "polder visitor v1",
                      message_label[] = "polder message v1";
    uint8_t info[sizeof(day_label) + 2], key[PL_SIV_KEY_BYTES];
    memcpy(info, day_label, sizeof(day_label));
    pl_store_u16(info + sizeof(day_label), (uint16_t)d->day);
    struct pl_span prk = pl_span(data_key, 32);
    enum pl_err err = pl_hkdf_expand(prk, pl_span(info, sizeof(info)), key, sizeof(key));
    if (err == PL_OK)
        err = pl_siv_new(&d->siv, key, sizeof(key));
    if (err == PL_OK)
        err = pl_hkdf_expand(prk, pl_span(visitor_label, sizeof(visitor_label)), key, 32);
    if (err == PL_OK)
        err = pl_cmac_new(&d->visitor, key);
    if (err == PL_OK)
        err = pl_hkdf_expand(prk, pl_span(message_label, sizeof(message_label)), key, 32);
    if (err == PL_OK)
        err = pl_cmac_new(&d->message, key);
    pl_wipe(key, sizeof(key));
    return err;
}

static struct derived *place_for(struct vault_sealer *s, uint64_t account, uint32_t day)
{
    uint64_t mixed = (account ^ day) * UINT64_C(0x9e3779b97f4a7c15);
    struct derived *set = &s->cache[(mixed >> 32) % s->set_count * CACHE_WAYS];
    struct derived *oldest = set;
    for (size_t i = 0; i < CACHE_WAYS; i++) {
        if (set[i].siv != NULL && set[i].account == account && set[i].day == day)
            return &set[i];
        if (set[i].siv == NULL ||
            (oldest->siv != NULL && s->tick - set[i].last_used > s->tick - oldest->last_used))
            oldest = &set[i];
    }
    forget(oldest);
    return oldest;
}

static enum pl_err derived_for(struct vault_sealer *s, uint64_t account, uint32_t day,
                               struct derived **out)
{
    vault_sealer_tidy(s);
    if (s->recent != NULL && s->recent->account == account && s->recent->day == day) {
        *out = s->recent;
        return PL_OK;
    }
    struct derived *d = place_for(s, account, day);
    if (d->siv == NULL) {
        uint8_t data_key[KEYRING_DATA_KEY_BYTES];
        enum pl_err err = keyring_key(s->keyring, account, data_key);
        s->recent = NULL;
        if (err != PL_OK)
            return err;
        d->account = account;
        d->day = day;
        err = derive(data_key, d);
        pl_wipe(data_key, sizeof(data_key));
        if (err != PL_OK) {
            forget(d);
            return err;
        }
    }
    d->last_used = ++s->tick;
    s->recent = d;
    *out = d;
    return PL_OK;
}

/* ---- from event to storage key */

/* Tags keep the kinds of id apart. Ids over the limit, which no edge lets in, go through a hash
 * first. */
static enum pl_err hash_id(struct pl_cmac *cmac, char tag, struct pl_span id, uint8_t out[8])
{
    uint8_t input[ID_INPUT_BYTES], mac[PL_CMAC_BYTES], digest[PL_SHA256_BYTES];
    input[0] = (uint8_t)tag;
    input[1] = id.len > LIMIT_ID_BYTES;
    if (id.len > LIMIT_ID_BYTES) {
        pl_sha256_one(id, digest);
        id = pl_span(digest, sizeof(digest));
    }
    if (id.len > 0)
        memcpy(input + 2, id.data, id.len);
    enum pl_err err = pl_cmac(cmac, pl_span(input, 2 + id.len), mac);
    if (err == PL_OK)
        memcpy(out, mac, 8);
    return err;
}

static enum pl_err hash_place(struct pl_cmac *cmac, const struct vault_place *place, uint8_t out[8])
{
    uint8_t input[28];
    memcpy(input, place->incarnation.bytes, 16);
    pl_store_u64(input + 16, place->number);
    pl_store_u32(input + 24, place->index);
    return hash_id(cmac, 'p', pl_span(input, sizeof(input)), out);
}

enum pl_err vault_key_of(struct vault_sealer *s, const struct event *event,
                         const struct vault_place *place, struct vault_key *key)
{
    uint64_t account = event_u64(event, EVENT_ACCOUNT);
    int64_t time_ms = event_i64(event, EVENT_ACCEPTED_MS), day = pl_day_of(time_ms);
    if (account == 0 || !event_has(event, EVENT_ACCEPTED_MS) || day < 0 || day > VAULT_DAY_MAX)
        return PL_EINVAL;
    struct derived *d;
    enum pl_err err = derived_for(s, account, (uint32_t)day, &d);
    if (err != PL_OK)
        return err;
    uint8_t *p = key->bytes;
    pl_store_u64(p, account);
    pl_store_u16(p + 8, (uint16_t)day);
    if (event_has(event, EVENT_VISITOR_ID))
        err = hash_id(d->visitor, 'v', event_str(event, EVENT_VISITOR_ID), p + 10);
    else
        err = hash_id(d->visitor, 'u', event_str(event, EVENT_USER_ID), p + 10);
    pl_store_u16(p + 18, (uint16_t)((uint64_t)time_ms >> 32));
    pl_store_u32(p + 20, (uint32_t)time_ms);
    if (err != PL_OK)
        return err;
    /* An empty id names nothing: events that share it are not copies of each other. */
    struct pl_span id = event_str(event, EVENT_MESSAGE_ID);
    return id.len > 0 ? hash_id(d->message, 'm', id, p + 24)
                      : hash_place(d->message, place, p + 24);
}

enum pl_err vault_visitor_prefix(struct vault_sealer *s, uint64_t account, int64_t day,
                                 struct pl_span id, bool user, uint8_t prefix[VAULT_VISITOR_PREFIX])
{
    if (day < 0 || day > VAULT_DAY_MAX)
        return PL_EINVAL;
    struct derived *d;
    enum pl_err err = derived_for(s, account, (uint32_t)day, &d);
    if (err != PL_OK)
        return err;
    pl_store_u64(prefix, account);
    pl_store_u16(prefix + 8, (uint16_t)day);
    return hash_id(d->visitor, user ? 'u' : 'v', id, prefix + 10);
}

/* ---- from event to value and back: version | sealed(parts | UUIDs | zstd(slimmed)) */

/* Seals in place what stands in value from value_at + HEAD_BYTES on, and fills in the head. */
static enum pl_err seal_in_place(struct vault_sealer *s, const struct vault_key *key,
                                 size_t value_at, struct pl_buf *value)
{
    struct derived *d;
    enum pl_err err = derived_for(s, vault_key_account(key), (uint32_t)vault_key_day(key), &d);
    if (err != PL_OK)
        return err;
    uint8_t *head = value->data + value_at;
    head[0] = VALUE_VERSION;
    return pl_siv_seal(d->siv, vault_key_span(key),
                       pl_span(head + HEAD_BYTES, value->len - value_at - HEAD_BYTES),
                       head + VERSION_BYTES);
}

/* Every frame begins with these (RFC 8878 section 3.1.1); they are not stored. */
static const uint8_t zstd_magic[] = {0x28, 0xb5, 0x2f, 0xfd};

/* Appends what is to be sealed. */
static enum pl_err put_plain(struct vault_sealer *s, const struct vault_key *key,
                             struct pl_span encoded, struct pl_buf *value)
{
    pl_buf_reset(&s->slimmed);
    enum pl_err err =
        event_slim(encoded, vault_key_account(key), vault_key_time_ms(key), value, &s->slimmed);
    size_t frame_at = value->len;
    if (err == PL_OK)
        err = pl_zstd_compress(s->zstd, s->dictionary, pl_buf_span(&s->slimmed), value);
    if (err != PL_OK)
        return err;
    uint8_t *frame = value->data + frame_at;
    value->len -= sizeof(zstd_magic);
    memmove(frame, frame + sizeof(zstd_magic), value->len - frame_at);
    return PL_OK;
}

enum pl_err vault_seal(struct vault_sealer *s, const struct vault_key *key, struct pl_span encoded,
                       struct pl_buf *value)
{
    size_t before = value->len;
    enum pl_err err = pl_buf_reserve(value, HEAD_BYTES);
    if (err != PL_OK)
        return err;
    value->len += HEAD_BYTES;
    err = put_plain(s, key, encoded, value);
    if (err == PL_OK)
        err = seal_in_place(s, key, before, value);
    if (err != PL_OK)
        value->len = before;
    return err;
}

/* Appends what the value seals. */
static enum pl_err open_plain(struct vault_sealer *s, const struct vault_key *key,
                              struct pl_span value, struct pl_buf *out)
{
    if (value.len < VAULT_VALUE_EXTRA)
        return PL_EAUTH;
    if (value.data[0] != VALUE_VERSION)
        return PL_EUNSUPPORTED;
    struct derived *d;
    enum pl_err err = derived_for(s, vault_key_account(key), (uint32_t)vault_key_day(key), &d);
    if (err == PL_OK)
        err = pl_buf_reserve(out, value.len - VAULT_VALUE_EXTRA);
    if (err == PL_OK)
        err = pl_siv_open(d->siv, vault_key_span(key), pl_span_from(value, VERSION_BYTES),
                          out->data + out->len);
    if (err == PL_OK)
        out->len += value.len - VAULT_VALUE_EXTRA;
    return err;
}

/* What stands in s->plain, as an event. */
static enum pl_err get_plain(struct vault_sealer *s, const struct vault_key *key,
                             struct pl_buf *encoded)
{
    struct event_slim_head head;
    size_t len = s->plain.len;
    enum pl_err err = pl_buf_reserve(&s->plain, sizeof(zstd_magic) + len);
    if (err != PL_OK)
        return err;
    struct pl_span frame = pl_buf_span(&s->plain);
    err = event_slim_read(&frame, vault_key_time_ms(key), &head);
    if (err != PL_OK)
        return err;
    (void)pl_buf_append(&s->plain, zstd_magic, sizeof(zstd_magic));
    (void)pl_buf_append_span(&s->plain, frame);
    pl_buf_reset(&s->slimmed);
    err = pl_zstd_decompress(s->zstd, s->dictionary, pl_span_from(pl_buf_span(&s->plain), len),
                             LIMIT_EVENT_WIRE_BYTES, &s->slimmed);
    return err == PL_OK
               ? event_slim_restore(pl_buf_span(&s->slimmed), &head, vault_key_account(key),
                                    vault_key_time_ms(key), encoded)
               : err;
}

enum pl_err vault_open_value(struct vault_sealer *s, const struct vault_key *key,
                             struct pl_span value, struct pl_buf *encoded)
{
    pl_buf_reset(&s->plain);
    enum pl_err err = open_plain(s, key, value, &s->plain);
    return err == PL_OK ? get_plain(s, key, encoded) : err;
}

enum pl_err vault_move(struct vault_sealer *s, const struct vault_key *from,
                       const struct vault_key *to, struct pl_span value, struct pl_buf *moved)
{
    size_t before = moved->len;
    enum pl_err err = pl_buf_reserve(moved, HEAD_BYTES);
    if (err != PL_OK)
        return err;
    moved->len += HEAD_BYTES;
    err = open_plain(s, from, value, moved);
    if (err == PL_OK)
        err = seal_in_place(s, to, before, moved);
    if (err != PL_OK)
        moved->len = before;
    return err;
}

/* ---- rows beside the events */

static enum pl_err row_key_of(struct vault_sealer *s, uint64_t account, int64_t day,
                              struct pl_span row_key, struct derived **out)
{
    if (day < 0 || day > VAULT_DAY_MAX || row_key.len > VAULT_ROW_KEY_MAX)
        return PL_EINVAL;
    return derived_for(s, account, (uint32_t)day, out);
}

enum pl_err vault_seal_row(struct vault_sealer *s, uint64_t account, int64_t day,
                           struct pl_span row_key, struct pl_span plain, struct pl_buf *out)
{
    struct derived *d;
    enum pl_err err = row_key_of(s, account, day, row_key, &d);
    if (err == PL_OK)
        err = pl_buf_reserve(out, PL_SIV_BYTES + plain.len);
    if (err == PL_OK)
        err = pl_siv_seal(d->siv, row_key, plain, out->data + out->len);
    if (err == PL_OK)
        out->len += PL_SIV_BYTES + plain.len;
    return err;
}

enum pl_err vault_open_row(struct vault_sealer *s, uint64_t account, int64_t day,
                           struct pl_span row_key, struct pl_span sealed, struct pl_buf *out)
{
    struct derived *d;
    if (sealed.len < PL_SIV_BYTES)
        return PL_EAUTH;
    enum pl_err err = row_key_of(s, account, day, row_key, &d);
    if (err == PL_OK)
        err = pl_buf_reserve(out, sealed.len - PL_SIV_BYTES + 1);
    if (err == PL_OK)
        err = pl_siv_open(d->siv, row_key, sealed, out->data + out->len);
    if (err == PL_OK)
        out->len += sealed.len - PL_SIV_BYTES;
    return err;
}
