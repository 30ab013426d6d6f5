/*
 * catalog: the accounts this edge serves, as the origin last told them, and the bodies their
 * visitors get.
 *
 * Promise: what is served is an immutable snapshot: loops hold a reference each and read it
 * without a lock; a change makes a new snapshot. Everything a reply needs (compressed bodies,
 * ETags, headers) is made when an item arrives, never on a loop. Items are on disk before they are
 * served, so a restart with no origin in sight serves the same; only where the disk fails is news
 * served from memory, and asked for again. Expiry dates are the reader's to
 * check: catalog_entry_state.
 *
 * The catalog is the follower thread's; snapshots may be referenced from any thread.
 */
#ifndef POLDER_EDGE_CATALOG_H
#define POLDER_EDGE_CATALOG_H

#include "proto/http/http.h"
#include "proto/store/store.h"
#include "proto/wire/catalog.h"
#include "replication/uplink.h"

/* One reply, ready in three encodings. A body is NULL where an encoding would not be smaller. The
 * headers live as long as their body, as http_reply_shared asks; headers and etag of an encoding
 * without a body are NULL. */
enum catalog_encoding { CATALOG_IDENTITY, CATALOG_GZIP, CATALOG_BROTLI, CATALOG_ENCODINGS };
struct catalog_reply {
    struct http_body *body[CATALOG_ENCODINGS];
    const struct http_header *headers[CATALOG_ENCODINGS];
    size_t header_count[CATALOG_ENCODINGS];
    const char *etag[CATALOG_ENCODINGS]; /* strong, quotes included (RFC 9110, 8.8.3) */
};

/* Makes one in all encodings, which takes milliseconds. */
enum pl_err catalog_reply_init(struct catalog_reply *reply, const char *content_type,
                               int64_t max_age_seconds, struct pl_span identity);
void catalog_reply_release(struct catalog_reply *reply);

struct catalog_entry {
    uint64_t account;
    struct pl_id128 write_key;
    enum account_state state;
    int64_t expires_at_ms; /* 0: no date set */
    uint64_t config_version;
    unsigned region_count;
    char regions[CATALOG_REGIONS_MAX][CATALOG_REGION_BYTES];
    unsigned origin_count;
    struct pl_span origins[LIMIT_ORIGINS]; /* these and all views below: of the entry's memory */
    bool honour_dnt;
    unsigned alias_count, host_count;
    struct pl_span aliases[CATALOG_ALIASES_MAX];
    struct pl_span hosts[CATALOG_HOSTS_MAX];
    struct pl_span snowplow_path; /* empty: none */
    struct cookie_policy cookie;
    unsigned pii; /* PII_ bits */
    uint8_t id_key[CATALOG_ID_KEY_BYTES];
    unsigned campaign_count;
    struct pl_span *campaigns;   /* the ids in the public document, in order */
    struct catalog_reply config; /* the public document */
    struct catalog_reply script; /* the SDK and the document: /s/KEY.js */
};
/* Active, or expired (whoever noticed). */
enum account_state catalog_entry_state(const struct catalog_entry *entry, int64_t now_ms);
/* Empty lists allow everything. */
bool catalog_entry_allows_region(const struct catalog_entry *entry, const char *region);
/* origin as the browser sends it, e.g. "https://shop.example"; a listed "https://" + "*.x" form
 * allows every name below x. */
bool catalog_entry_allows_origin(const struct catalog_entry *entry, struct pl_span origin);
/* Whether its published config has a campaign of that id. */
bool catalog_entry_has_campaign(const struct catalog_entry *entry, struct pl_span id);

struct catalog_snapshot;
struct catalog_snapshot *catalog_snapshot_ref(struct catalog_snapshot *snapshot);
void catalog_snapshot_unref(struct catalog_snapshot *snapshot); /* NULL is fine */
/* Each one's is larger than those of all before it; from 1. NULL: 0. */
uint64_t catalog_snapshot_serial(const struct catalog_snapshot *snapshot);
/* NULL: unknown. The entry lives as long as the snapshot. */
const struct catalog_entry *catalog_find(const struct catalog_snapshot *snapshot,
                                         const struct pl_id128 *write_key);
/* By a write key as text, or by an alias. */
const struct catalog_entry *catalog_find_key(const struct catalog_snapshot *snapshot,
                                             struct pl_span key);
/* By a host of the account's own, as it stands in Host or :authority: in any case, with a port or
 * without. */
const struct catalog_entry *catalog_find_host(const struct catalog_snapshot *snapshot,
                                              struct pl_span authority);
/* By the path that the account has for Snowplow's POSTs. */
const struct catalog_entry *catalog_find_path(const struct catalog_snapshot *snapshot,
                                              struct pl_span path);

/* A place in the feed at which this edge is to be settled (frame.h). */
struct catalog_cut {
    struct frame_settled at;
    uint64_t serial; /* of the first snapshot that knows all that the feed said up to there */
    bool forgets;    /* accounts are gone: what stood here of themselves is to go, too */
};

struct suppressions;
struct catalog_config {
    struct store *store;
    unsigned family;         /* of its own; catalog.c says what stands in it */
    int64_t max_age_seconds; /* Cache-Control of configs and scripts */
    /* A new snapshot is to be served; the callee takes a reference of its own. Called by the
     * follower thread, and once by catalog_open. */
    void (*publish)(void *ctx, struct catalog_snapshot *snapshot);
    /* The origin's sealing key from now on. Called by the follower thread and by catalog_open. */
    void (*seal_key)(void *ctx, const uint8_t seal_public[32]);
    /* Of a page that is on disk and whose snapshot is published. By the follower thread; may be
     * NULL. */
    void (*cut)(void *ctx, const struct catalog_cut *cut);
    void *ctx;
    struct suppressions *suppressions; /* NULL: opt-outs in the feed are passed over */
    const struct pl_clock *clock;
    const struct pl_log *log;
};

struct catalog;
/* Reads what is on disk, publishes it. What is damaged there the origin is
 * asked for again. PL_ENOMEM. Blocks. */
enum pl_err catalog_open(struct catalog **out, const struct catalog_config *config,
                         struct pl_why *why);
void catalog_close(struct catalog *catalog); /* NULL is fine */

/* For uplink_sink; ctx is the catalog. */
void catalog_position(void *ctx, struct pl_id128 *epoch, uint64_t *position);
enum pl_err catalog_apply(void *ctx, const struct pl_id128 *epoch, bool restart, uint64_t position,
                          bool caught_up, struct pl_span items);
void catalog_heard(void *ctx, int64_t origin_wall_ms, bool caught_up);

struct catalog_status {
    size_t accounts;
    bool has_seal_key;
    struct pl_id128 epoch;
    uint64_t position;
    int64_t confirmed_ms; /* wall clock when the origin last said that this is all; 0: never */
};
void catalog_status(struct catalog *catalog, struct catalog_status *out); /* any thread */

#endif
