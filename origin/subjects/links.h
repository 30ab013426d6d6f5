/*
 * links: which visitor ids and which user ids of an account were one person's.
 *
 * Promise: an event that names a visitor and a user links them in the batch that stores it; so does
 * an alias its previous id and its user, or its visitor where it names no user. A retry, which is
 * not stored, links nothing: its event may have been erased. Keys hold keyed
 * hashes alone, the ids are sealed with the key of the day on which the pair was last seen, and a
 * match is confirmed on them. A pair that was written today already costs a look into a table of
 * fixed size. SPEC.md, "Links".
 */
#ifndef POLDER_ORIGIN_SUBJECTS_LINKS_H
#define POLDER_ORIGIN_SUBJECTS_LINKS_H

#include "origin/families.h"
#include "origin/vault/vault.h"

#define LINK_KEY_BYTES  25
#define LINK_HASH_BYTES 8

/* How a key begins behind the account. Of the two rows of a pair the one in which the user comes
 * second holds the ids; the other's value is empty. */
enum link_direction {
    LINK_VISITOR_TO_USER = 1,
    LINK_USER_TO_VISITOR = 2,
    LINK_PREVIOUS_TO_USER = 3,
    LINK_USER_TO_PREVIOUS = 4,
};

/* ---- intake's */

/* An opener's: appends what the event, sealed under key, links. */
enum pl_err links_note(struct vault_sealer *sealer, const struct event *event,
                       const struct vault_key *key, struct pl_buf *notes);

struct links;
enum pl_err links_new(struct links **out, struct store *store);
void links_free(struct links *links); /* NULL is fine */
/* The writer's: puts into the batch what is noted and was not written today. It counts as written
 * from now on; after a failure links_forget says that it was not. A pair whose account's key is
 * gone is passed over. */
enum pl_err links_put(struct links *links, struct vault_sealer *sealer, int64_t today,
                      struct pl_span notes, struct store_batch *batch);
void links_forget(struct links *links);
/* Rows were deleted: what links_put did before does not count any more. A batch that is being made
 * may still go by it: wait for it (intake_settle). Any thread. */
void links_changed(struct links *links);

/* ---- readers' and erasers' */

struct link {
    uint8_t key[LINK_KEY_BYTES];     /* as it was found */
    uint8_t reverse[LINK_KEY_BYTES]; /* the same pair's other row */
    struct pl_span from, user;       /* visitor or previous id, user id */
    int64_t day;                     /* on which the pair was last seen */
};
/* Calls visit for each pair under a hash, as far as it can be read; *damaged (may be NULL) counts
 * the others. The hash is that of storage keys (vault_visitor_prefix); whose ids they are is for
 * visit to confirm. visit's error ends it and is given back. Spans live until it returns. Blocks on
 * the disk. */
enum pl_err links_each(struct store *store, struct vault_sealer *sealer, uint64_t account,
                       enum link_direction direction, const uint8_t hash[LINK_HASH_BYTES],
                       enum pl_err (*visit)(void *ctx, const struct link *link), void *ctx,
                       size_t *damaged);
/* Deletes the pairs of an account that were last seen before a day, some of them a call: walks at
 * most max_rows, *cursor starts as zeros and is where to go on. PL_EAGAIN: call again; PL_OK: done.
 * Blocks on the disk. */
enum pl_err links_expire(struct store *store, uint64_t account, int64_t before_day,
                         uint8_t cursor[LINK_KEY_BYTES], size_t max_rows, size_t *deleted,
                         struct pl_why *why);

#endif
