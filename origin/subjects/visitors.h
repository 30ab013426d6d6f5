/*
 * visitors: which ids are one person's, and what is stored of them.
 *
 * Promise: from an id that somebody asks about (a visitor's or a user's, both are looked for, in
 * every form that masking may have left of it) the way leads to the user ids that it was seen with,
 * and from a user id to all its visitor ids, and over aliases to what it was called before and
 * after; never on from a device to other people who used it. A match is confirmed on what was
 * decrypted, not on the hash it stands under. A person's events are found by one look a day and id.
 *
 * Single-owner. Blocks on the disk.
 */
#ifndef POLDER_ORIGIN_SUBJECTS_VISITORS_H
#define POLDER_ORIGIN_SUBJECTS_VISITORS_H

#include "origin/subjects/identities.h"
#include "origin/subjects/links.h"
#include "origin/vault/vault.h"

struct visitors;
enum pl_err visitors_new(struct visitors **out, struct store *store, struct keyring *keyring);
void visitors_free(struct visitors *visitors); /* wipes; NULL is fine */
/* Forgets what was derived from keys that were destroyed since. Call it when idle, too. */
void visitors_tidy(struct visitors *visitors);

/* The person's ids; follow false: only the one given, and the places where events that name it may
 * lie. PL_EINVAL: empty, or not UTF-8; PL_ELIMIT:
 * longer than an id may be, or more than IDENTITIES_MAX belong together. Key errors as keyring_key,
 * with a sentence. In order of the
 * hashes in storage keys. The caller releases *out after PL_OK. */
enum pl_err visitors_find(struct visitors *visitors, uint64_t account, struct pl_span id,
                          bool follow, struct identities *out, struct pl_why *why);
/* Adds what the links say by now; follow as visitors_find's, PL_ELIMIT too. */
enum pl_err visitors_expand(struct visitors *visitors, uint64_t account, bool follow,
                            struct identities *identities);

/* Calls visit for each link of the person's. */
enum pl_err visitors_links(struct visitors *visitors, uint64_t account,
                           const struct identities *identities,
                           enum pl_err (*visit)(void *ctx, const struct link *link), void *ctx);

struct visitor_event {
    const struct vault_key *key;
    struct pl_span value; /* as it is stored */
    const struct event *event;
};
/* Where a walk goes on; begins as zeros. */
struct visitor_cursor {
    int64_t day;
    size_t identity;
    bool within; /* after is set */
    struct vault_key after;
    uint64_t damaged; /* values that cannot be read: whose they are is not known */
};
/* Behind an event that visit was given, in a list that was found anew. */
void visitors_resume(const struct identities *identities, const struct vault_key *last,
                     struct visitor_cursor *cursor);
/* Calls visit for the person's events, by day, id and time. PL_OK: that was all; PL_EAGAIN: after
 * max_keys keys, go on with the same cursor and the same list. visit's error ends it and is given
 * back. */
enum pl_err visitors_walk(struct visitors *visitors, uint64_t account,
                          const struct identities *identities, struct visitor_cursor *cursor,
                          size_t max_keys,
                          enum pl_err (*visit)(void *ctx, const struct visitor_event *event),
                          void *ctx);

#endif
