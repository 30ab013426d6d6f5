/*
 * catalog: what the origin tells every edge about an account, and the document that browsers get.
 *
 * Promise: an item is complete in itself: the newest item of an account replaces all before it.
 * Expiry travels in it, so an edge that hears nothing more still stops in time. Decoded spans
 * view the input.
 */
#ifndef POLDER_PROTO_WIRE_CATALOG_H
#define POLDER_PROTO_WIRE_CATALOG_H

#include "proto/base/buf.h"
#include "proto/base/id.h"
#include "proto/wire/limits.h"

enum catalog_kind {
    CATALOG_ACCOUNT = 1,   /* an account, alive or expired */
    CATALOG_TOMBSTONE = 2, /* an account that is deleted or being deleted: stop and forget */
    CATALOG_SEAL_KEY = 3,  /* the origin's sealing key from now on */
};

enum account_state {
    ACCOUNT_ACTIVE = 1,
    ACCOUNT_EXPIRED = 2,
    ACCOUNT_DELETABLE = 3,
    ACCOUNT_DELETING = 4,
    ACCOUNT_DELETED = 5,
};
const char *account_state_name(enum account_state state);

#define CATALOG_REGIONS_MAX  8
#define CATALOG_REGION_BYTES 16  /* with the NUL */
#define CATALOG_ORIGIN_BYTES 260 /* "https://", a host name of 253 at most, a port now and then */

struct catalog_item {
    enum catalog_kind kind;
    uint64_t account;
    /* CATALOG_ACCOUNT */
    enum account_state state;
    struct pl_id128 write_key;
    int64_t expires_at_ms;      /* 0: no date set */
    uint64_t config_version;    /* 0: no config published yet */
    struct pl_span config_json; /* the public document; empty when version is 0 */
    unsigned region_count;      /* 0: every region may collect */
    char regions[CATALOG_REGIONS_MAX][CATALOG_REGION_BYTES];
    unsigned origin_count; /* 0: every web origin may send */
    struct pl_span origins[LIMIT_ORIGINS];
    bool honour_dnt;
    /* CATALOG_SEAL_KEY */
    uint8_t seal_public[32];
};

/* Appends. PL_EINVAL: what catalog_decode would refuse. */
enum pl_err catalog_encode(const struct catalog_item *item, struct pl_buf *out);
/* Exactly the whole span; unknown fields are skipped. PL_ECORRUPT names the field;
 * PL_EUNSUPPORTED: a kind this build does not know, which a follower may pass over. *item is
 * written only on success. */
enum pl_err catalog_decode(struct pl_span bytes, struct catalog_item *item, struct pl_why *why);

#endif
