/*
 * erasure_set: whose events must not be stored, because they are of before an erasure that is still
 * guarded. The openers ask it about every event of an account that has any.
 *
 * Promise: any thread may call; asking takes a lock for reading and a few look-ups.
 */
#ifndef POLDER_ORIGIN_SUBJECTS_ERASURE_SET_H
#define POLDER_ORIGIN_SUBJECTS_ERASURE_SET_H

#include "origin/subjects/erasure.h"

struct erasure_set;
enum pl_err erasure_set_new(struct erasure_set **out);
void erasure_set_free(struct erasure_set *set); /* NULL is fine */

/* Takes all ids of one that is open, which it may know in part. PL_ENOMEM: as if not called. */
enum pl_err erasure_set_put(struct erasure_set *set, const struct erasure *erasure);
/* Everything is forgotten but what the others put: for when one has ended. */
enum pl_err erasure_set_replace(struct erasure_set *set, const struct erasure *const *erasures,
                                size_t count);

/* False: nothing is guarded at this account; worth asking before hashing ids. Takes no lock. May be
 * true of another's account. */
bool erasure_set_any(const struct erasure_set *set, uint64_t account);

/* An id that an event tells to be the erased person's, and that the erasure does not know yet. */
struct erasure_lead {
    enum identity_kind kind;
    enum event_id_field field; /* which id of the event's */
};
#define ERASURE_LEADS_MAX 4
struct erasure_hit {
    struct pl_id128 erasure;
    struct pl_id128 following; /* whose the leads are: the newest that is not of ids alone */
    size_t lead_count;
    struct erasure_lead leads[ERASURE_LEADS_MAX];
};
/* How the edge stands that an event comes from. Times are its clock's: until it has settled past an
 * erasure's cut-off, what it accepted before may bear a later time than the erasure. */
struct erasure_edge {
    uint64_t settled;  /* up to that position of the feed; UINT64_MAX: past any */
    int64_t margin_ms; /* by which its clock may be ahead of ours */
};
/* Whether an event of that time, from that edge, is to be dropped. hit: by which erasure. */
bool erasure_set_concerns(struct erasure_set *set, const struct event_ids *ids, int64_t time_ms,
                          const struct erasure_edge *edge, struct erasure_hit *hit);

#endif
