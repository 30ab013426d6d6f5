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
    CATALOG_ACCOUNT = 1,     /* an account, alive or expired */
    CATALOG_TOMBSTONE = 2,   /* an account that is deleted or being deleted: stop and forget */
    CATALOG_SEAL_KEY = 3,    /* the origin's sealing key from now on */
    CATALOG_SUPPRESSION = 4, /* somebody opted out, or took that back */
    CATALOG_CUTOFF = 5,      /* nothing but a position to be settled at */
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
#define CATALOG_ALIASES_MAX  16
#define CATALOG_ALIAS_BYTES  128
#define CATALOG_HOSTS_MAX    16
#define CATALOG_HOST_BYTES   253 /* RFC 1035 section 2.3.4, without the dot at the end */
#define CATALOG_PATH_BYTES   128
#define CATALOG_COOKIE_BYTES 64 /* of its name */
#define CATALOG_ID_KEY_BYTES 32

/* SameSite of the visitor cookie (RFC 6265bis). Without TLS browsers accept no None. */
enum same_site { SAME_SITE_NONE = 1, SAME_SITE_LAX = 2, SAME_SITE_STRICT = 3 };
const char *same_site_name(enum same_site same_site); /* "None"; NULL: there is no such */

/* Bits of what is masked in events before they reach a disk. */
enum pii_kind { PII_EMAIL = 1, PII_CARD = 2, PII_PHONE = 4, PII_ALL = 7 };

/* The visitor cookie that edges set; it always lives for 180 days. */
struct cookie_policy {
    bool enabled;
    enum same_site same_site;
    struct pl_span name;   /* an RFC 6265 token of at most CATALOG_COOKIE_BYTES */
    struct pl_span domain; /* a host; empty: the host that was asked, and none below it */
};

/* Whether edges settle at the position of such an item: at once, without waiting for the next. */
static inline bool catalog_asks_to_settle(enum catalog_kind kind)
{
    return kind == CATALOG_TOMBSTONE || kind == CATALOG_SEAL_KEY || kind == CATALOG_CUTOFF;
}

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
    unsigned alias_count; /* names by which trackers know it, beside its write key */
    struct pl_span aliases[CATALOG_ALIASES_MAX];
    unsigned host_count; /* of its own, in lower case: what is sent there is its */
    struct pl_span hosts[CATALOG_HOSTS_MAX];
    struct pl_span snowplow_path; /* one more path for Snowplow's POSTs; empty: none */
    struct cookie_policy cookie;
    unsigned pii;                         /* PII_ bits: what is masked */
    uint8_t id_key[CATALOG_ID_KEY_BYTES]; /* keys the hashes of its visitors' ids; secret */
    /* CATALOG_SUPPRESSION */
    struct pl_id128 consent_id;  /* of the opt-out that it is about */
    uint8_t suppressed_hash[16]; /* of the id: event.h, EVENT_CONSENT_ID_HASH */
    bool suppressed;             /* false: taken back */
    /* CATALOG_SEAL_KEY */
    uint8_t seal_public[32];
};

/* Sets the visitor cookie and what is masked as accounts have it that say nothing about them. Items
 * of origins that knew no such rules are decoded with these. */
void catalog_rule_defaults(struct catalog_item *item);

/* A DNS name as it stands in rules: labels of a-z, 0-9 and inner hyphens (RFC 1123 section 2.1),
 * in lower case, two at least, the last no number (an address is no name). */
bool catalog_is_host(struct pl_span text);
bool catalog_is_cookie_name(struct pl_span text);
/* Whether edges answer at this path themselves, so that no account may have it. */
bool catalog_path_is_taken(struct pl_span path);

/* Appends. PL_EINVAL: what catalog_decode would refuse. */
enum pl_err catalog_encode(const struct catalog_item *item, struct pl_buf *out);
/* Exactly the whole span; unknown fields are skipped. PL_ECORRUPT names the field;
 * PL_EUNSUPPORTED: a kind this build does not know, which a follower may pass over. *item is
 * written only on success. */
enum pl_err catalog_decode(struct pl_span bytes, struct catalog_item *item, struct pl_why *why);

#endif
