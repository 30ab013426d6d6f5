/*
 * event_ids: the keyed hashes of an event's ids (proto/wire/suppression.h), for those that must
 * know whether it is somebody's: opt-outs, erasures, and who reads or erases a person's events.
 *
 * Promise: what is derived from an account's key is kept at hand and wiped at the first call after
 * a key was destroyed. Single-owner: one per thread. Memory only.
 */
#ifndef POLDER_ORIGIN_SUBJECTS_EVENT_IDS_H
#define POLDER_ORIGIN_SUBJECTS_EVENT_IDS_H

#include "origin/keyring/keyring.h"
#include "proto/wire/event.h"
#include "proto/wire/suppression.h"

enum event_id_field {
    EVENT_IDS_VISITOR,
    EVENT_IDS_USER,
    EVENT_IDS_PREVIOUS,
    EVENT_IDS_NETWORK,
    EVENT_IDS_COUNT
};

struct event_ids {
    uint64_t account;
    struct event_id_hash {
        bool present; /* the event has one that is not empty */
        bool failed;  /* its hash cannot be made: it counts as whoever's it is asked about */
        uint8_t hash[ID_HASH_BYTES];
    } id[EVENT_IDS_COUNT];
};

struct id_hashers;
/* entries: accounts whose keys are kept at hand; 0: 64. */
enum pl_err id_hashers_new(struct id_hashers **out, struct keyring *keyring, size_t entries);
void id_hashers_free(struct id_hashers *hashers); /* wipes; NULL is fine */
/* Wipes what was derived from keys that are destroyed by now; every other call does it first. */
void id_hashers_tidy(struct id_hashers *hashers);
/* The account's, valid until the next call. Key errors as keyring_key. */
enum pl_err id_hashers_of(struct id_hashers *hashers, uint64_t account, struct id_hasher **out);
/* Key errors as keyring_key. */
enum pl_err id_hashers_event(struct id_hashers *hashers, const struct event *event,
                             struct event_ids *out);
size_t id_hashers_kept(const struct id_hashers *hashers); /* for tests: of how many accounts */

#endif
