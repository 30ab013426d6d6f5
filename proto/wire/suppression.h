/*
 * suppression: who has said no to an account, and the memory both nodes keep of it.
 *
 * Promise: a person is known only by the keyed hash of an id (id_hash.h). Each opt-out has an id
 * of its own; a person is suppressed while one of theirs has not been taken back, and one that was
 * taken back stays so: whatever order news arrives in, and however often, the outcome is the same.
 */
#ifndef POLDER_PROTO_WIRE_SUPPRESSION_H
#define POLDER_PROTO_WIRE_SUPPRESSION_H

#include "proto/base/id.h"
#include "proto/wire/event.h"
#include "proto/wire/id_hash.h"

struct suppression {
    uint64_t account;
    struct pl_id128 consent_id; /* of the opt-out */
    uint8_t id_hash[ID_HASH_BYTES];
    int64_t since_ms; /* events accepted from then on are concerned */
    bool active;      /* false: taken back; id_hash and since_ms may then be unknown (zeros) */
};

/* The hash that stands for an id: of the form in which it would be stored were everything masked
 * (event_mask.h), so that both nodes find it whatever the account's policy makes of the id, and
 * whichever way an address is written. PL_EINVAL: empty. A few microseconds. */
enum pl_err suppression_hash(const uint8_t id_key[CATALOG_ID_KEY_BYTES], struct pl_span id,
                             uint8_t out[ID_HASH_BYTES]);

/* The same for many ids of one account. */
enum pl_err suppression_hash_by(struct id_hasher *hasher, struct pl_span id,
                                uint8_t out[ID_HASH_BYTES]);

/* As a node's store keeps one. */
#define SUPPRESSION_KEY_BYTES   24 /* account(8) consent-id(16) */
#define SUPPRESSION_VALUE_BYTES 25 /* id-hash(16) since(8) active(1) */
void suppression_key(const struct suppression *s, uint8_t key[SUPPRESSION_KEY_BYTES]);
void suppression_value(const struct suppression *s, uint8_t value[SUPPRESSION_VALUE_BYTES]);
/* PL_ECORRUPT: not of that form. */
enum pl_err suppression_read(struct pl_span key, struct pl_span value, struct suppression *out);

/* ---- the set: any thread may call any of these; none blocks for longer than a look-up */

struct suppression_set;
enum pl_err suppression_set_new(struct suppression_set **out);
void suppression_set_free(struct suppression_set *set); /* NULL is fine */

/* Learns of one. *news (may be NULL): whether it said anything that the set did not know, in which
 * case *s is as it stands now. PL_ENOMEM. */
enum pl_err suppression_set_put(struct suppression_set *set, struct suppression *s, bool *news);
/* The account is gone. */
void suppression_set_forget(struct suppression_set *set, uint64_t account);

/* False: nobody has said no to this account; worth asking before hashing an id. Takes no lock. May
 * be true of another's account. */
bool suppression_set_any(const struct suppression_set *set, uint64_t account);
/* Whether the id is of somebody who had said no by then; an empty one is nobody's. A hash that
 * cannot be made (no memory) is held: no means no. */
bool suppression_set_holds_id(struct suppression_set *set, uint64_t account,
                              const uint8_t id_key[CATALOG_ID_KEY_BYTES], struct pl_span id,
                              int64_t accepted_ms);
/* The same for an id whose hash (suppression_hash) is known. */
bool suppression_set_holds_hash(struct suppression_set *set, uint64_t account,
                                const uint8_t hash[ID_HASH_BYTES], int64_t accepted_ms);
/* The same for any of an event's ids. */
bool suppression_set_concerns(struct suppression_set *set, uint64_t account,
                              const uint8_t id_key[CATALOG_ID_KEY_BYTES], const struct event *event,
                              int64_t accepted_ms);
/* The opt-outs of that hash that have not been taken back, at most max; gives how many there are.
 */
size_t suppression_set_standing(struct suppression_set *set, uint64_t account,
                                const uint8_t hash[ID_HASH_BYTES], struct suppression *out,
                                size_t max);
/* Whether just that is known: this opt-out, about this hash, not taken back. */
bool suppression_set_knows(struct suppression_set *set, const struct suppression *s);
/* Whether this opt-out is known to be taken back, whoever it was about. */
bool suppression_set_undone(struct suppression_set *set, const struct suppression *s);
size_t suppression_set_count(struct suppression_set *set); /* active ones */
struct suppression_counts {
    uint64_t account;
    size_t active;
    size_t known; /* those that were taken back, too; about 200 bytes each */
};
void suppression_set_count_of(struct suppression_set *set, uint64_t account,
                              struct suppression_counts *out);
/* Of the account with the most active ones; zeros: nobody has said no to any. Looks at every
 * account. */
void suppression_set_fullest(struct suppression_set *set, struct suppression_counts *out);

#endif
