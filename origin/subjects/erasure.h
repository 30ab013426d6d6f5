/*
 * erasure: one person's erasure at one account: what is remembered of it, as bytes and for people.
 *
 * Promise: it names nobody: ids stand in it as keyed hashes (identities.h), and those go, too, when
 * nothing of the person can be on its way any more. What is left is the receipt.
 */
#ifndef POLDER_ORIGIN_SUBJECTS_ERASURE_H
#define POLDER_ORIGIN_SUBJECTS_ERASURE_H

#include "origin/subjects/identities.h"
#include "proto/base/id.h"
#include "proto/wire/json.h"

enum erasure_state {
    ERASURE_ERASING = 1, /* guarded: what arrives is dropped; what is stored is being looked for */
    ERASURE_ERASED,      /* nothing of it can be read any more */
    ERASURE_GONE,        /* nor is it in any file of the database */
    ERASURE_CLOSED,      /* nothing of before it can arrive any more: the guard is lifted */
};

struct erasure {
    uint64_t account;
    struct pl_id128 id;
    enum erasure_state state;
    bool alone;    /* it stays at the ids that it began with: links are not followed */
    int64_t at_ms; /* what was accepted, or claims to have happened, up to here is erased */
    int64_t erased_ms, gone_ms, closed_ms; /* 0: not yet */
    uint64_t position;                     /* of the feed: edges past it hold nothing from before */
    uint64_t events, bytes, messages, links;
    uint64_t held_events, held_links; /* that a hold keeps: they go when it ends */
    uint64_t dropped;                 /* that arrived since; not exact over a crash */
    uint64_t unreadable;          /* values under hashes of its ids, whosever: left as they are */
    uint16_t visitors, users;     /* ids that were found */
    struct identities identities; /* released when closed */
};
void erasure_release(struct erasure *erasure);
static inline bool erasure_is_held(const struct erasure *erasure)
{
    return erasure->held_events + erasure->held_links > 0;
}
/* Its ids are counted anew. */
void erasure_count_ids(struct erasure *erasure);

#define ERASURE_KEY_BYTES     24 /* account(8) id(16) */
#define ERASURE_ROW_BYTES_MAX (256 + IDENTITIES_BYTES_MAX)
void erasure_key(uint64_t account, const struct pl_id128 *id, uint8_t key[ERASURE_KEY_BYTES]);
/* Appends the row. */
enum pl_err erasure_encode(const struct erasure *erasure, struct pl_buf *row);
/* PL_ECORRUPT; PL_EUNSUPPORTED: of a newer build. *out is to be released after PL_OK. */
enum pl_err erasure_decode(struct pl_span key, struct pl_span row, struct erasure *out);

/* Members of the receipt, into an open object. horizon_ms: until when it guards at least. */
void erasure_write_json(const struct erasure *erasure, int64_t horizon_ms, struct json_writer *w);

#endif
