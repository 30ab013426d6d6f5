/*
 * identities: the ids of one person at one account, as an erasure must remember them: as hashes.
 *
 * Promise: two keyed hashes stand for an id: the one of storage keys, which finds its events, and
 * the one of proto/wire/suppression.h, 16 bytes over the id itself, which confirms them. Neither
 * tells the id to who has no key. A list has no id twice and at most IDENTITIES_MAX.
 *
 * An event is the person's when its user id is in the list; when it has none and its visitor id is;
 * when its visitor id is one that was asked about, whatever its user; and when its previous id (an
 * alias) is one that was asked about, or a user id of the list.
 */
#ifndef POLDER_ORIGIN_SUBJECTS_IDENTITIES_H
#define POLDER_ORIGIN_SUBJECTS_IDENTITIES_H

#include "origin/subjects/event_ids.h"

#define IDENTITIES_MAX       1000
#define IDENTITY_HASH_BYTES  8 /* in storage keys */
#define IDENTITY_BYTES       (1 + ID_HASH_BYTES + IDENTITY_HASH_BYTES)
#define IDENTITIES_BYTES_MAX (IDENTITIES_MAX * IDENTITY_BYTES)

enum identity_kind {
    IDENTITY_ASKED = 1,   /* a visitor id that was asked about */
    IDENTITY_VISITOR = 2, /* a visitor id that a user id of the list was seen with */
    IDENTITY_USER = 3,    /* a user id */
    /* A user id, as an alias may name it as its previous one: stored under another hash. A previous
     * id that may be a shared device's is none. */
    IDENTITY_PREVIOUS = 4,
    /* Where events that name an id of the list may lie, of an erasure that follows no links: under
     * somebody's visitor id or user id, whose other events are not the person's. */
    IDENTITY_PLACE = 5,
    IDENTITY_USER_PLACE = 6,
};

struct identity {
    uint8_t kind;
    uint8_t hash[ID_HASH_BYTES];
    uint8_t vault_hash[IDENTITY_HASH_BYTES];
};

struct identities {
    struct identity *list;
    size_t count, room;
};
void identities_release(struct identities *identities);
/* PL_ELIMIT, PL_ENOMEM. *news (may be NULL): it was not there. One that was asked about takes the
 * place of the same one as a mere visitor, an id that of a mere place. */
enum pl_err identities_add(struct identities *identities, const struct identity *identity,
                           bool *news);
bool identity_is_place(const struct identity *identity);
/* In order of their hashes in storage keys. */
void identities_sort(struct identities *identities);
/* Whether the event is of one of them: by an id of its own, in its kind. */
bool identities_match(const struct identities *identities, const struct event_ids *event);

/* IDENTITY_BYTES each: kind, hash, vault hash. */
enum pl_err identities_encode(const struct identities *identities, struct pl_buf *out);
/* PL_ECORRUPT: not of that form. Adds to the list. */
enum pl_err identities_decode(struct pl_span bytes, struct identities *identities);

#endif
