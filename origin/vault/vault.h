/*
 * vault: how one event becomes one sealed value under one storage key, and back. SPEC.md, "Vault
 * value", gives every byte.
 *
 * Promise: a value is AES-SIV (RFC 5297) under a key derived (HKDF) from the account's data key
 * and the day, with the whole storage key as associated data: moved under another key it does not
 * open. There is no nonce that could be used twice: a crash, a restored backup or two copies that
 * meet may seal another event under a storage key that was used before. Ids appear in storage keys
 * only as hashes keyed per account and purpose. A sealer notices at its next call that a key was
 * destroyed and wipes what it derived from it.
 *
 * A sealer is single-owner: one per thread. Nothing here blocks, except vault_sealer_new.
 */
#ifndef POLDER_ORIGIN_VAULT_VAULT_H
#define POLDER_ORIGIN_VAULT_VAULT_H

#include "origin/keyring/keyring.h"
#include "proto/wire/event.h"
#include "proto/wire/limits.h"

#define VAULT_KEY_BYTES   32
#define VAULT_DAY_MAX     65535 /* days since 1970 fit 16 bits until 2149 */
#define VAULT_VALUE_EXTRA 17    /* version and synthetic IV before what is sealed */

/* account(8) | day(2) | visitor-hash(8) | time(6) | event-hash(8), big-endian. */
struct vault_key {
    uint8_t bytes[VAULT_KEY_BYTES];
};
static inline struct pl_span vault_key_span(const struct vault_key *key)
{
    return pl_span(key->bytes, VAULT_KEY_BYTES);
}
uint64_t vault_key_account(const struct vault_key *key);
int64_t vault_key_day(const struct vault_key *key);
int64_t vault_key_time_ms(const struct vault_key *key);
uint64_t vault_key_event_hash(const struct vault_key *key);
void vault_key_set_event_hash(struct vault_key *key, uint64_t event_hash);
/* The first key of an account's day; day VAULT_DAY_MAX + 1 gives the end of its last day as long
 * as account is not the largest. 10 bytes are its prefix. */
void vault_key_first(uint64_t account, int64_t day, struct vault_key *key);

struct vault_sealer;
/* cache_entries: (account, day) pairs whose derived keys are kept at hand; 0: 256. */
enum pl_err vault_sealer_new(struct vault_sealer **out, struct keyring *keyring,
                             size_t cache_entries);
void vault_sealer_free(struct vault_sealer *sealer); /* wipes; NULL is fine */
/* Wipes what was derived from keys that are destroyed by now. Every call below does it first; a
 * thread that may idle calls it about once a second. Cheap. */
void vault_sealer_tidy(struct vault_sealer *sealer);

/* What names an event that brought no message id: its place in its chain. */
struct vault_place {
    struct pl_id128 incarnation;
    uint64_t number;
    uint32_t index;
};

/* The storage key of an event. The visitor hash is over the visitor id; over the user id where
 * there is none; over neither for an event of nobody. PL_EINVAL: no account, or its acceptance
 * time is outside 1970–2149. Key errors as keyring_key. */
enum pl_err vault_key_of(struct vault_sealer *sealer, const struct event *event,
                         const struct vault_place *place, struct vault_key *key);
/* The prefix of a visitor's events within a day. user: id is a user id. */
#define VAULT_VISITOR_PREFIX 18
enum pl_err vault_visitor_prefix(struct vault_sealer *sealer, uint64_t account, int64_t day,
                                 struct pl_span id, bool user,
                                 uint8_t prefix[VAULT_VISITOR_PREFIX]);
/* Compresses, seals and appends the value of an encoded event. */
enum pl_err vault_seal(struct vault_sealer *sealer, const struct vault_key *key,
                       struct pl_span encoded, struct pl_buf *value);
/* Opens, decompresses and appends the encoded event. PL_EAUTH: not what was stored under this
 * key; PL_EUNSUPPORTED: a version of a newer build. */
enum pl_err vault_open_value(struct vault_sealer *sealer, const struct vault_key *key,
                             struct pl_span value, struct pl_buf *encoded);
/* Seals anew under a key that differs in the event hash alone (a collision moved it). */
enum pl_err vault_move(struct vault_sealer *sealer, const struct vault_key *from,
                       const struct vault_key *to, struct pl_span value, struct pl_buf *moved);

/* Rows of other families about an account's persons, under the day's key: what is sealed is bound
 * to the row's own key, which is no longer than VAULT_ROW_KEY_MAX and never 32 bytes, so that no
 * row can stand for an event. Appends PL_SIV_BYTES more than plain has. */
#define VAULT_ROW_KEY_MAX 31
enum pl_err vault_seal_row(struct vault_sealer *sealer, uint64_t account, int64_t day,
                           struct pl_span row_key, struct pl_span plain, struct pl_buf *out);
/* Appends what was sealed. PL_EAUTH: it is not what was sealed under this key and day. */
enum pl_err vault_open_row(struct vault_sealer *sealer, uint64_t account, int64_t day,
                           struct pl_span row_key, struct pl_span sealed, struct pl_buf *out);

#endif
