/*
 * edges: which edges there are, and the public halves of their keys.
 *
 * Promise: an edge is known from its enrolment on and refused from its revocation on, at once and
 * across restarts. Memory holds all; lookups never touch the disk. A change that
 * the disk failed is looked for before the next one is made. Any thread may call. At most 1024 are
 * not revoked, and 4096 are known in all.
 */
#ifndef POLDER_ORIGIN_ACCOUNTS_EDGES_H
#define POLDER_ORIGIN_ACCOUNTS_EDGES_H

#include "origin/journal/redo.h"
#include "proto/base/clock.h"
#include "proto/base/crypto.h"
#include "proto/base/id.h"
#include "proto/store/store.h"
#include "proto/wire/json.h"

struct edge_record {
    struct pl_id128 id;
    char name[64];
    char region[16];
    uint8_t link_public[PL_PUBLIC_KEY_MAX_BYTES]; /* SPKI DER */
    size_t link_public_len;
    uint8_t seal_public[PL_X25519_BYTES];
    int64_t enrolled_ms;
    int64_t revoked_ms; /* 0: not */
};

struct edges;
enum pl_err edges_open(struct edges **out, struct store *store, const struct pl_clock *clock,
                       struct pl_why *why);
void edges_close(struct edges *edges); /* NULL is fine */
/* Where changes are noted that a restore must not undo, or must show. Before others may change. */
void edges_note_to(struct edges *edges, struct redo *redo);
/* Called after a revocation, from the thread that made it. */
void edges_on_revoke(struct edges *edges, void (*fn)(void *ctx, const struct pl_id128 *edge),
                     void *ctx);

/* From a request's JSON: id, name, region, link_public (base64), seal_public (hex). PL_EINVAL
 * names the field; PL_EEXISTS: id or name taken. Blocks. */
enum pl_err edges_enroll(struct edges *edges, struct json request, struct edge_record *out,
                         struct pl_why *why);
/* PL_ENOTFOUND. Revoking twice is fine. Blocks. */
enum pl_err edges_revoke(struct edges *edges, const struct pl_id128 *id, struct edge_record *out,
                         struct pl_why *why);
/* Takes those out that were revoked by then, and that may_go says nobody has to know any more; they
 * are refused as unknown from then on. Blocks. */
enum pl_err edges_forget(struct edges *edges, int64_t revoked_until_ms,
                         bool (*may_go)(void *ctx, const struct pl_id128 *edge), void *ctx,
                         struct pl_why *why);
/* A copy of all, in order of enrolment; the caller frees *out. */
enum pl_err edges_list(struct edges *edges, struct edge_record **out, size_t *count);
void edge_write_json(const struct edge_record *edge, struct json_writer *w);

/* For receiver_ops.edge_key and intake_config.edge_public; ctx is the edges. PL_ENOTFOUND,
 * PL_EDENIED: revoked. */
enum pl_err edges_link_key(void *ctx, const struct pl_id128 *id, struct pl_buf *spki_der);
enum pl_err edges_seal_key(void *ctx, const struct pl_id128 *id,
                           uint8_t public_key[PL_X25519_BYTES]);

#endif
