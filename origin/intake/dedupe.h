/*
 * dedupe: finds the first copy of an event that a client sent again.
 *
 * Promise: within DEDUPE_DAYS of the first copy, an event with the same account and message id is
 * found, whichever edge took it; a match is confirmed on the decrypted id, so a hash collision
 * never swallows an event. Entries stand under account | version | event hash and name the vault
 * key.
 */
#ifndef POLDER_ORIGIN_INTAKE_DEDUPE_H
#define POLDER_ORIGIN_INTAKE_DEDUPE_H

#include "origin/families.h"
#include "origin/vault/vault.h"

#define DEDUPE_DAYS        30
#define DEDUPE_LATE_DAYS   7 /* an event may wait that long at its edge; its first copy did not */
#define DEDUPE_SWEEP_DAYS  (DEDUPE_DAYS + DEDUPE_LATE_DAYS) /* what the sweep leaves alone */
#define DEDUPE_KEY_BYTES   17
#define DEDUPE_VALUE_BYTES 14
#define DEDUPE_PROBES      4 /* places a colliding hash may move on to */

void dedupe_key_of(const struct vault_key *key, uint8_t out[DEDUPE_KEY_BYTES]);
/* The rest of the vault key, as far as it does not follow: visitor hash and time. */
void dedupe_value_of(const struct vault_key *key, uint8_t out[DEDUPE_VALUE_BYTES]);

/* What an entry becomes when its event is erased: it still tells a retry, but neither who sent it
 * nor when. Its window counts from the erasure. */
void dedupe_value_blank(int64_t erased_ms, uint8_t out[DEDUPE_VALUE_BYTES]);
/* Whether it is that of an erasure up to that time. */
bool dedupe_value_is_blank(struct pl_span value, int64_t until_ms);

/* One event on its way into the vault. */
struct dedupe_entry {
    struct vault_key key;      /* moved on when its hash collides */
    struct pl_span value;      /* sealed */
    struct pl_span message_id; /* empty: never a duplicate */
    bool duplicate;            /* out: another copy stands, or stands earlier in the list */
    bool gone;                 /* out: its account's key was destroyed meanwhile */
};

struct dedupe;
/* Single-owner: the writer's. */
enum pl_err dedupe_new(struct dedupe **out, struct store *store, struct vault_sealer *sealer);
void dedupe_free(struct dedupe *dedupe);

/* Marks the entries that are in the store already or stand earlier in the list. An entry whose
 * hash collides with another message is moved: its key changes and its value is sealed anew into
 * memory of dedupe's own (valid until the next call). Blocks on the disk. */
enum pl_err dedupe_check(struct dedupe *dedupe, struct dedupe_entry *const *entries, size_t count,
                         struct pl_why *why);

/* Removes the entries of one day's events (call for days older than DEDUPE_SWEEP_DAYS, before the
 * events themselves go). Entries of events that the disk does not give back may stay: they cost
 * their bytes, until their account is deleted. Walks at most max_keys vault keys a call; *cursor
 * starts as zeros and is where to go on. PL_EAGAIN: call again; PL_OK: the day is done. Blocks on
 * the disk; lifecycle thread. */
enum pl_err dedupe_expire(struct store *store, int64_t day, struct vault_key *cursor,
                          size_t max_keys, struct pl_why *why);

#endif
