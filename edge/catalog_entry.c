#include "edge/catalog_parts.h"
#include "edge/sdk.h"
#include "proto/base/compress.h"
#include "proto/base/crypto.h"
#include "proto/base/secret.h"
#include "proto/base/text.h"
#include "proto/wire/json.h"

#include <stdio.h>
#include <stdlib.h>

#define SCRIPT_BYTES_MAX (LIMIT_CONFIG_PUBLIC_BYTES + 256 * 1024)
#define ETAG_BYTES       10 /* of the content's hash: enough to tell versions apart */

/* What visitors get of an account that has published nothing yet. */
static const struct pl_span no_config =
    PL_SPAN_INIT("{\"version\":0,\"campaigns\":[],\"settings\":{}}");

enum account_state catalog_entry_state(const struct catalog_entry *entry, int64_t now_ms)
{
    bool passed = entry->expires_at_ms != 0 && entry->expires_at_ms <= now_ms;
    return entry->state == ACCOUNT_ACTIVE && passed ? ACCOUNT_EXPIRED : entry->state;
}

bool catalog_entry_allows_region(const struct catalog_entry *entry, const char *region)
{
    for (unsigned i = 0; i < entry->region_count; i++) {
        if (strcmp(entry->regions[i], region) == 0) {
            return true;
        }
    }
    return entry->region_count == 0;
}

/* "https://" "*.shop.example" allows https://www.shop.example, not https://shop.example. */
static bool origin_matches(struct pl_span allowed, struct pl_span origin)
{
    static const struct pl_span wildcard = PL_SPAN_INIT("://*.");
    const uint8_t *star = memmem(allowed.data, allowed.len, wildcard.data, wildcard.len);
    if (star == NULL) {
        return pl_span_eq_nocase(allowed, origin);
    }
    size_t scheme_len = (size_t)(star - allowed.data) + 3;
    struct pl_span domain = pl_span_from(allowed, scheme_len + 1); /* with its leading dot */
    if (origin.len <= scheme_len + domain.len) {
        return false;
    }
    return pl_span_eq_nocase(pl_span(origin.data, scheme_len), pl_span(allowed.data, scheme_len)) &&
           pl_span_eq_nocase(pl_span_from(origin, origin.len - domain.len), domain);
}

bool catalog_entry_allows_origin(const struct catalog_entry *entry, struct pl_span origin)
{
    for (unsigned i = 0; i < entry->origin_count; i++) {
        if (origin_matches(entry->origins[i], origin)) {
            return true;
        }
    }
    return entry->origin_count == 0;
}

/* ---- campaigns */

static int compare_ids(const void *a, const void *b)
{
    return pl_span_cmp(*(const struct pl_span *)a, *(const struct pl_span *)b);
}

bool catalog_entry_has_campaign(const struct catalog_entry *entry, struct pl_span id)
{
    return entry->campaign_count > 0 &&
           bsearch(&id, entry->campaigns, entry->campaign_count, sizeof(id), compare_ids) != NULL;
}

/* The ids behind one another, their texts behind them: one piece of memory. */
static enum pl_err keep_campaigns(struct catalog_entry *entry, struct json campaigns)
{
    struct json_iter each = json_elements(campaigns);
    struct json campaign, value;
    struct pl_span id;
    size_t count = json_count(campaigns), bytes = 0;
    while (json_next_element(&each, &campaign))
        if (json_get(campaign, "id", &value) && json_string(value, &id))
            bytes += id.len;
    entry->campaigns = malloc(count * sizeof(*entry->campaigns) + bytes + 1);
    if (entry->campaigns == NULL)
        return PL_ENOMEM;
    uint8_t *text = (uint8_t *)(entry->campaigns + count);
    for (each = json_elements(campaigns); json_next_element(&each, &campaign);) {
        if (!json_get(campaign, "id", &value) || !json_string(value, &id))
            continue;
        memcpy(text, id.data, id.len);
        entry->campaigns[entry->campaign_count++] = pl_span(text, id.len);
        text += id.len;
    }
    qsort(entry->campaigns, entry->campaign_count, sizeof(*entry->campaigns), compare_ids);
    return PL_OK;
}

/* A document that cannot be read has none. */
static enum pl_err find_campaigns(struct catalog_entry *entry, struct pl_span config)
{
    struct json_parser *parser;
    struct json root, campaigns;
    enum pl_err err = PL_OK;
    if (config.len == 0)
        return PL_OK;
    if (json_parser_new(&parser, LIMIT_CONFIG_PUBLIC_BYTES, LIMIT_JSON_DEPTH) != PL_OK)
        return PL_ENOMEM;
    if (json_parse(parser, config, &root, NULL) == PL_OK &&
        json_get(root, "campaigns", &campaigns) && json_is_array(campaigns))
        err = keep_campaigns(entry, campaigns);
    json_parser_free(parser);
    return err;
}

/* ---- replies */

/* What the headers of one body point at; freed with it. */
struct head {
    struct http_header headers[8];
    char etag[40];
    char cache_control[96];
};

static size_t set_headers(struct head *head, enum catalog_encoding encoding,
                          const char *content_type)
{
    static const char *const names[CATALOG_ENCODINGS] = {NULL, "gzip", "br"};
    const struct {
        struct pl_span name;
        const char *value;
    } rows[] = {
        {PL_SPAN_INIT("content-type"), content_type},
        {PL_SPAN_INIT("cache-control"), head->cache_control},
        {PL_SPAN_INIT("etag"), head->etag},
        {PL_SPAN_INIT("vary"), "accept-encoding"},
        {PL_SPAN_INIT("access-control-allow-origin"), "*"},
        {PL_SPAN_INIT("x-content-type-options"), "nosniff"},
        {PL_SPAN_INIT("content-encoding"), names[encoding]},
    };
    size_t count = 0;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].value != NULL) {
            head->headers[count++] = (struct http_header){rows[i].name, pl_span_str(rows[i].value)};
        }
    }
    return count;
}

/* What the bodies of one reply have in common. */
struct making {
    struct catalog_reply *reply;
    const char *content_type;
    int64_t max_age_seconds;
    char hash[2 * ETAG_BYTES + 1];
};

static enum pl_err add_body(const struct making *making, enum catalog_encoding encoding,
                            struct pl_span bytes)
{
    static const char suffixes[CATALOG_ENCODINGS] = {'i', 'g', 'b'};
    struct catalog_reply *reply = making->reply;
    struct head *head = calloc(1, sizeof(*head));
    if (head == NULL) {
        return PL_ENOMEM;
    }
    enum pl_err err = http_body_new(&reply->body[encoding], bytes);
    if (err != PL_OK) {
        free(head);
        return err;
    }
    http_body_on_release(reply->body[encoding], free, head);
    snprintf(head->etag, sizeof(head->etag), "\"%s-%c\"", making->hash, suffixes[encoding]);
    snprintf(head->cache_control, sizeof(head->cache_control),
             "public, max-age=%lld, stale-while-revalidate=60, stale-if-error=86400",
             (long long)making->max_age_seconds);
    reply->header_count[encoding] = set_headers(head, encoding, making->content_type);
    reply->headers[encoding] = head->headers;
    reply->etag[encoding] = head->etag;
    return PL_OK;
}

/* A compressed form: as kept, or made now. */
static enum pl_err add_packed(const struct making *making, enum catalog_encoding encoding,
                              enum pl_err (*compress)(struct pl_span, struct pl_buf *),
                              struct pl_span identity, struct pl_reader *kept,
                              struct pl_buf *packed_out)
{
    struct pl_buf made;
    enum pl_err err;
    pl_buf_init(&made, SCRIPT_BYTES_MAX + 1024);
    if (kept->rest.len > 0) {
        struct pl_span bytes = pl_get_span(kept, pl_get_u32(kept));
        err = kept->failed ? PL_ECORRUPT : pl_buf_append_span(&made, bytes);
    } else {
        err = compress(identity, &made);
    }
    if (err == PL_OK && (err = pl_buf_put_u32(packed_out, (uint32_t)made.len)) == PL_OK) {
        err = pl_buf_append_span(packed_out, pl_buf_span(&made));
    }
    if (err == PL_OK && made.len < identity.len) {
        err = add_body(making, encoding, pl_buf_span(&made));
    }
    pl_buf_release(&made);
    return err;
}

static enum pl_err make_reply(struct making *making, struct pl_span identity,
                              struct pl_reader *kept, struct pl_buf *packed_out)
{
    uint8_t hash[PL_SHA256_BYTES];
    pl_sha256_one(identity, hash);
    pl_hex_encode(pl_span(hash, ETAG_BYTES), making->hash);
    enum pl_err err = add_body(making, CATALOG_IDENTITY, identity);
    if (err == PL_OK) {
        err = add_packed(making, CATALOG_GZIP, pl_gzip, identity, kept, packed_out);
    }
    if (err == PL_OK) {
        err = add_packed(making, CATALOG_BROTLI, pl_brotli, identity, kept, packed_out);
    }
    return err;
}

void catalog_reply_release(struct catalog_reply *reply)
{
    for (int encoding = 0; encoding < CATALOG_ENCODINGS; encoding++) {
        http_body_unref(reply->body[encoding]);
    }
}

enum pl_err catalog_reply_init(struct catalog_reply *reply, const char *content_type,
                               int64_t max_age_seconds, struct pl_span identity)
{
    struct making making = {reply, content_type, max_age_seconds, ""};
    struct pl_reader nothing_kept = pl_reader(pl_span(NULL, 0));
    struct pl_buf packed;
    *reply = (struct catalog_reply){0};
    pl_buf_init(&packed, 2 * SCRIPT_BYTES_MAX);
    enum pl_err err = make_reply(&making, identity, &nothing_kept, &packed);
    pl_buf_release(&packed);
    if (err != PL_OK) {
        catalog_reply_release(reply);
        *reply = (struct catalog_reply){0};
    }
    return err;
}

/* ---- nodes */

/* Kept bodies are good for the document and the SDK they were made from. */
static void packed_stamp(struct pl_span config, uint8_t stamp[PL_SHA256_BYTES])
{
    struct pl_span parts[] = {config, sdk_text()};
    pl_sha256(parts, 2, stamp);
}

static enum pl_err make_replies(struct catalog_entry *entry, struct pl_span config,
                                int64_t max_age_seconds, struct pl_span packed,
                                struct pl_buf *packed_out)
{
    struct making config_reply = {&entry->config, "application/json", max_age_seconds, ""};
    struct making script_reply = {&entry->script, "text/javascript; charset=utf-8", max_age_seconds,
                                  ""};
    struct pl_buf script;
    uint8_t stamp[PL_SHA256_BYTES];
    struct pl_reader kept = pl_reader(packed);
    packed_stamp(config, stamp);
    struct pl_span kept_stamp = pl_get_span(&kept, sizeof(stamp));
    if (kept.failed || !pl_span_eq(kept_stamp, pl_span(stamp, sizeof(stamp)))) {
        kept = pl_reader(pl_span(NULL, 0));
    }
    pl_buf_init(&script, SCRIPT_BYTES_MAX);
    enum pl_err err = pl_buf_append(packed_out, stamp, sizeof(stamp));
    if (err == PL_OK) {
        err = sdk_script_of(&entry->write_key, config, &script);
    }
    if (err == PL_OK) {
        err = make_reply(&config_reply, config, &kept, packed_out);
    }
    if (err == PL_OK) {
        err = make_reply(&script_reply, pl_buf_span(&script), &kept, packed_out);
    }
    pl_buf_release(&script);
    return err;
}

static void fill_entry(struct catalog_entry *entry, const struct catalog_item *item)
{
    entry->account = item->account;
    entry->write_key = item->write_key;
    entry->state = item->state;
    entry->expires_at_ms = item->expires_at_ms;
    entry->config_version = item->config_version;
    entry->region_count = item->region_count;
    memcpy(entry->regions, item->regions, sizeof(entry->regions));
    entry->origin_count = item->origin_count;
    memcpy(entry->origins, item->origins, item->origin_count * sizeof(item->origins[0]));
    entry->honour_dnt = item->honour_dnt;
    entry->alias_count = item->alias_count;
    memcpy(entry->aliases, item->aliases, item->alias_count * sizeof(item->aliases[0]));
    entry->host_count = item->host_count;
    memcpy(entry->hosts, item->hosts, item->host_count * sizeof(item->hosts[0]));
    entry->snowplow_path = item->snowplow_path;
    entry->cookie = item->cookie;
    entry->pii = item->pii;
    memcpy(entry->id_key, item->id_key, sizeof(entry->id_key));
}

enum pl_err catalog_node_new(struct catalog_node **out, struct pl_span bytes,
                             int64_t max_age_seconds, struct pl_span packed,
                             struct pl_buf *packed_out, struct pl_why *why)
{
    struct catalog_item item;
    struct catalog_node *node = calloc(1, sizeof(*node));
    if (node == NULL || (node->item = malloc(bytes.len)) == NULL) {
        free(node);
        return pl_fail(why, PL_ENOMEM, "no memory for an account");
    }
    node->references = 1;
    node->item_bytes = bytes.len;
    memcpy(node->item, bytes.data, bytes.len);
    enum pl_err err = catalog_decode(pl_span(node->item, bytes.len), &item, why);
    if (err == PL_OK) {
        fill_entry(&node->entry, &item);
        err = find_campaigns(&node->entry, item.config_json);
        if (err == PL_OK)
            err =
                make_replies(&node->entry, item.config_json.len > 0 ? item.config_json : no_config,
                             max_age_seconds, packed, packed_out);
        if (err != PL_OK) {
            pl_fail(why, err, "the replies of account %016llx cannot be made: %s",
                    (unsigned long long)item.account, pl_err_word(err));
        }
    }
    if (err != PL_OK) {
        catalog_node_unref(node);
        return err;
    }
    *out = node;
    return PL_OK;
}

struct catalog_node *catalog_node_ref(struct catalog_node *node)
{
    node->references++;
    return node;
}

void catalog_node_unref(struct catalog_node *node)
{
    if (node != NULL && --node->references == 0) {
        catalog_reply_release(&node->entry.config);
        catalog_reply_release(&node->entry.script);
        if (node->item != NULL) {
            pl_wipe(node->item, node->item_bytes); /* holds the id key */
        }
        free(node->item);
        free(node->entry.campaigns);
        pl_wipe(node->entry.id_key, sizeof(node->entry.id_key));
        free(node);
    }
}
