#include "proto/wire/catalog.h"

#include "proto/wire/msgpack_put.h"

#include <stdio.h>

/* Field ids on the wire, for ever (SPEC.md). */
enum field {
    FIELD_KIND = 1,
    FIELD_ACCOUNT = 2,
    FIELD_STATE = 3,
    FIELD_WRITE_KEY = 4,
    FIELD_EXPIRES_AT_MS = 5,
    FIELD_CONFIG_VERSION = 6,
    FIELD_CONFIG_JSON = 7,
    FIELD_REGIONS = 8,
    FIELD_ORIGINS = 9,
    FIELD_HONOUR_DNT = 10,
    FIELD_SEAL_PUBLIC = 11,
    FIELD_ALIASES = 12,
    FIELD_HOSTS = 13,
    FIELD_SNOWPLOW_PATH = 14,
    FIELD_COOKIE_ENABLED = 15,
    FIELD_COOKIE_NAME = 16,
    FIELD_COOKIE_DOMAIN = 17,
    FIELD_COOKIE_SAME_SITE = 18,
    FIELD_PII = 19,
    FIELD_ID_KEY = 20,
    FIELD_CONSENT_ID = 21,
    FIELD_SUPPRESSED_HASH = 22,
    FIELD_SUPPRESSED = 23,
    FIELD_COUNT
};

static const char *const field_names[FIELD_COUNT] = {
    [FIELD_KIND] = "kind",
    [FIELD_ACCOUNT] = "account",
    [FIELD_STATE] = "state",
    [FIELD_WRITE_KEY] = "write_key",
    [FIELD_EXPIRES_AT_MS] = "expires_at_ms",
    [FIELD_CONFIG_VERSION] = "config_version",
    [FIELD_CONFIG_JSON] = "config_json",
    [FIELD_REGIONS] = "regions",
    [FIELD_ORIGINS] = "origins",
    [FIELD_HONOUR_DNT] = "honour_dnt",
    [FIELD_SEAL_PUBLIC] = "seal_public",
    [FIELD_ALIASES] = "aliases",
    [FIELD_HOSTS] = "hosts",
    [FIELD_SNOWPLOW_PATH] = "snowplow_path",
    [FIELD_COOKIE_ENABLED] = "cookie_enabled",
    [FIELD_COOKIE_NAME] = "cookie_name",
    [FIELD_COOKIE_DOMAIN] = "cookie_domain",
    [FIELD_COOKIE_SAME_SITE] = "cookie_same_site",
    [FIELD_PII] = "pii",
    [FIELD_ID_KEY] = "id_key",
    [FIELD_CONSENT_ID] = "consent_id",
    [FIELD_SUPPRESSED_HASH] = "suppressed_hash",
    [FIELD_SUPPRESSED] = "suppressed",
};

#define BIT(field)     (1u << (field))
#define BITS(from, to) (2 * BIT(to) - BIT(from))
#define ACCOUNT_RULES  BITS(FIELD_ALIASES, FIELD_ID_KEY)

/* What each kind of item must carry. An account's rules from aliases on have come later: an item
 * without them has the defaults. */
static const unsigned required[] = {
    [CATALOG_ACCOUNT] = BITS(FIELD_KIND, FIELD_HONOUR_DNT),
    [CATALOG_TOMBSTONE] = BIT(FIELD_KIND) | BIT(FIELD_ACCOUNT),
    [CATALOG_SEAL_KEY] = BIT(FIELD_KIND) | BIT(FIELD_SEAL_PUBLIC),
    [CATALOG_SUPPRESSION] =
        BIT(FIELD_KIND) | BIT(FIELD_ACCOUNT) | BITS(FIELD_CONSENT_ID, FIELD_SUPPRESSED),
    [CATALOG_CUTOFF] = BIT(FIELD_KIND),
};

struct catalog_walk {
    unsigned walk_level;
    struct catalog_item *item;
    struct pl_why *why;
    enum pl_err err;
    uint64_t last_id;
    unsigned seen;
    /* the text elements of the array read last */
    struct pl_span texts[LIMIT_ORIGINS];
    size_t text_count; /* SIZE_MAX: something else among them, or too many */
};
#define WALK_USER struct catalog_walk
#include "proto/wire/msgpack_walk.h"

const char *account_state_name(enum account_state state)
{
    switch (state) {
    case ACCOUNT_ACTIVE:
        return "active";
    case ACCOUNT_EXPIRED:
        return "expired";
    case ACCOUNT_DELETABLE:
        return "deletable";
    case ACCOUNT_DELETING:
        return "deleting";
    case ACCOUNT_DELETED:
        return "deleted";
    }
    return NULL;
}

static bool region_ok(struct pl_span region)
{
    return region.len > 0 && region.len < CATALOG_REGION_BYTES && pl_span_is_utf8(region) &&
           memchr(region.data, '\0', region.len) == NULL;
}

static bool origin_ok(struct pl_span origin)
{
    return origin.len > 0 && origin.len <= CATALOG_ORIGIN_BYTES && pl_span_is_utf8(origin);
}

static bool config_ok(struct pl_span config)
{
    return config.len <= LIMIT_CONFIG_PUBLIC_BYTES && pl_span_is_utf8(config);
}

static bool alias_ok(struct pl_span alias)
{
    return alias.len > 0 && alias.len <= CATALOG_ALIAS_BYTES && pl_span_is_utf8(alias);
}

static bool path_ok(struct pl_span path)
{
    return path.len <= CATALOG_PATH_BYTES && pl_span_is_utf8(path) &&
           (path.len == 0 || path.data[0] == '/');
}

static bool domain_ok(struct pl_span domain)
{
    return domain.len == 0 || catalog_is_host(domain);
}

static bool cookie_ok(const struct cookie_policy *cookie)
{
    return catalog_is_cookie_name(cookie->name) && domain_ok(cookie->domain) &&
           same_site_name(cookie->same_site) != NULL;
}

static bool rules_ok(const struct catalog_item *item)
{
    if (item->alias_count > CATALOG_ALIASES_MAX || item->host_count > CATALOG_HOSTS_MAX ||
        !path_ok(item->snowplow_path) || !cookie_ok(&item->cookie) || item->pii > PII_ALL)
        return false;
    for (unsigned i = 0; i < item->alias_count; i++)
        if (!alias_ok(item->aliases[i]))
            return false;
    for (unsigned i = 0; i < item->host_count; i++)
        if (!catalog_is_host(item->hosts[i]))
            return false;
    return true;
}

static struct pl_span region_span(const struct catalog_item *item, unsigned i)
{
    return pl_span(item->regions[i], strnlen(item->regions[i], CATALOG_REGION_BYTES));
}

static bool account_ok(const struct catalog_item *item)
{
    if (item->account == 0 || account_state_name(item->state) == NULL || item->expires_at_ms < 0)
        return false;
    if (!config_ok(item->config_json) ||
        (item->config_version == 0) != (item->config_json.len == 0) ||
        item->region_count > CATALOG_REGIONS_MAX || item->origin_count > LIMIT_ORIGINS)
        return false;
    for (unsigned i = 0; i < item->region_count; i++)
        if (!region_ok(region_span(item, i)))
            return false;
    for (unsigned i = 0; i < item->origin_count; i++)
        if (!origin_ok(item->origins[i]))
            return false;
    return rules_ok(item);
}

/* put is a msgpack_put_ call; the first failure wins. */
#define PUT(err, put) ((err) = (err) != PL_OK ? (err) : (put))
#define PUT_FIELD(err, out, field, put)                                                            \
    do {                                                                                           \
        PUT(err, msgpack_put_uint8(out, field));                                                   \
        PUT(err, put);                                                                             \
    } while (0)

static int put_texts(struct pl_buf *out, const struct pl_span *texts, unsigned count)
{
    int err = msgpack_put_array(out, count);
    for (unsigned i = 0; i < count; i++)
        PUT(err, msgpack_put_text(out, texts[i].data, texts[i].len));
    return err;
}

static int put_bool(struct pl_buf *out, bool truth)
{
    return truth ? msgpack_put_true(out) : msgpack_put_false(out);
}

static int put_span(struct pl_buf *out, struct pl_span text)
{
    return msgpack_put_text(out, text.data, text.len);
}

static int encode_rules(const struct catalog_item *item, struct pl_buf *out)
{
    int err = PL_OK;
    PUT_FIELD(err, out, FIELD_ALIASES, put_texts(out, item->aliases, item->alias_count));
    PUT_FIELD(err, out, FIELD_HOSTS, put_texts(out, item->hosts, item->host_count));
    PUT_FIELD(err, out, FIELD_SNOWPLOW_PATH, put_span(out, item->snowplow_path));
    PUT_FIELD(err, out, FIELD_COOKIE_ENABLED, put_bool(out, item->cookie.enabled));
    PUT_FIELD(err, out, FIELD_COOKIE_NAME, put_span(out, item->cookie.name));
    PUT_FIELD(err, out, FIELD_COOKIE_DOMAIN, put_span(out, item->cookie.domain));
    PUT_FIELD(err, out, FIELD_COOKIE_SAME_SITE,
              msgpack_put_uint8(out, (uint8_t)item->cookie.same_site));
    PUT_FIELD(err, out, FIELD_PII, msgpack_put_uint8(out, (uint8_t)item->pii));
    PUT_FIELD(err, out, FIELD_ID_KEY, msgpack_put_blob(out, item->id_key, sizeof(item->id_key)));
    return err;
}

static int encode_account(const struct catalog_item *item, struct pl_buf *out)
{
    int err = PL_OK;
    PUT_FIELD(err, out, FIELD_ACCOUNT, msgpack_put_uint64(out, item->account));
    PUT_FIELD(err, out, FIELD_STATE, msgpack_put_uint8(out, (uint8_t)item->state));
    PUT_FIELD(err, out, FIELD_WRITE_KEY,
              msgpack_put_blob(out, item->write_key.bytes, sizeof(item->write_key.bytes)));
    PUT_FIELD(err, out, FIELD_EXPIRES_AT_MS, msgpack_put_int64(out, item->expires_at_ms));
    PUT_FIELD(err, out, FIELD_CONFIG_VERSION, msgpack_put_uint64(out, item->config_version));
    PUT_FIELD(err, out, FIELD_CONFIG_JSON, put_span(out, item->config_json));
    PUT_FIELD(err, out, FIELD_REGIONS, msgpack_put_array(out, item->region_count));
    for (unsigned i = 0; i < item->region_count; i++)
        PUT(err, msgpack_put_text(out, item->regions[i], region_span(item, i).len));
    PUT_FIELD(err, out, FIELD_ORIGINS, put_texts(out, item->origins, item->origin_count));
    PUT_FIELD(err, out, FIELD_HONOUR_DNT, put_bool(out, item->honour_dnt));
    PUT(err, encode_rules(item, out));
    return err;
}

static int encode_suppression(const struct catalog_item *item, struct pl_buf *out)
{
    int err = PL_OK;
    PUT_FIELD(err, out, FIELD_ACCOUNT, msgpack_put_uint64(out, item->account));
    PUT_FIELD(err, out, FIELD_CONSENT_ID,
              msgpack_put_blob(out, item->consent_id.bytes, sizeof(item->consent_id.bytes)));
    PUT_FIELD(err, out, FIELD_SUPPRESSED_HASH,
              msgpack_put_blob(out, item->suppressed_hash, sizeof(item->suppressed_hash)));
    PUT_FIELD(err, out, FIELD_SUPPRESSED, put_bool(out, item->suppressed));
    return err;
}

enum pl_err catalog_encode(const struct catalog_item *item, struct pl_buf *out)
{
    size_t before = out->len;
    unsigned kind = item->kind;
    if (kind < CATALOG_ACCOUNT || kind > CATALOG_CUTOFF ||
        (kind == CATALOG_ACCOUNT && !account_ok(item)) ||
        ((required[kind] & BIT(FIELD_ACCOUNT)) != 0 && item->account == 0))
        return PL_EINVAL;
    const unsigned fields = required[kind] | (kind == CATALOG_ACCOUNT ? ACCOUNT_RULES : 0);
    int err = msgpack_put_map(out, (size_t)__builtin_popcount(fields));
    PUT_FIELD(err, out, FIELD_KIND, msgpack_put_uint8(out, (uint8_t)kind));
    if (kind == CATALOG_ACCOUNT)
        PUT(err, encode_account(item, out));
    else if (kind == CATALOG_TOMBSTONE)
        PUT_FIELD(err, out, FIELD_ACCOUNT, msgpack_put_uint64(out, item->account));
    else if (kind == CATALOG_SUPPRESSION)
        PUT(err, encode_suppression(item, out));
    else if (kind == CATALOG_SEAL_KEY)
        PUT_FIELD(err, out, FIELD_SEAL_PUBLIC,
                  msgpack_put_blob(out, item->seal_public, sizeof(item->seal_public)));
    if (err != PL_OK)
        out->len = before;
    return (enum pl_err)err;
}

static int refuse(struct catalog_walk *user, enum pl_err err, const char *field, const char *what)
{
    user->err = pl_fail_field(user->why, err, field, "catalog item: %s%s%s", field,
                              field[0] == '\0' ? "" : " ", what);
    return -1;
}

static int walk_on_value(struct catalog_walk *user, const struct walk_value *value)
{
    if (value->type == WALK_ARRAY)
        user->text_count = 0;
    return 0;
}

static int walk_on_element(struct catalog_walk *user, const struct walk_value *array,
                           const struct walk_value *value)
{
    (void)array;
    if (value->type != WALK_STR || user->text_count >= LIMIT_ORIGINS)
        user->text_count = SIZE_MAX;
    else
        user->texts[user->text_count++] = value->bytes;
    return 0;
}

static int take_regions(struct catalog_walk *user, const char *name, const struct walk_value *value)
{
    struct catalog_item *item = user->item;
    if (value->type != WALK_ARRAY || user->text_count > CATALOG_REGIONS_MAX)
        return refuse(user, PL_ECORRUPT, name, "is not a list of at most 8 texts");
    for (size_t i = 0; i < user->text_count; i++) {
        if (!region_ok(user->texts[i]))
            return refuse(user, PL_ECORRUPT, name, "holds one that is empty, too long or no text");
        memcpy(item->regions[i], user->texts[i].data, user->texts[i].len);
    }
    item->region_count = (unsigned)user->text_count;
    return 0;
}

/* A list of texts that stay where they are. */
static int take_texts(struct catalog_walk *user, const char *name, const struct walk_value *value,
                      bool (*ok)(struct pl_span), size_t most, struct pl_span *texts,
                      unsigned *count)
{
    char what[64];
    if (value->type != WALK_ARRAY || user->text_count > most) {
        snprintf(what, sizeof(what), "is not a list of at most %zu texts", most);
        return refuse(user, PL_ECORRUPT, name, what);
    }
    for (size_t i = 0; i < user->text_count; i++) {
        if (!ok(user->texts[i]))
            return refuse(user, PL_ECORRUPT, name, "holds one that is not as it must be");
        texts[i] = user->texts[i];
    }
    *count = (unsigned)user->text_count;
    return 0;
}

static int take_text(struct catalog_walk *user, const char *name, const struct walk_value *value,
                     bool (*ok)(struct pl_span), struct pl_span *text)
{
    if (value->type != WALK_STR || !ok(value->bytes))
        return refuse(user, PL_ECORRUPT, name, "is no text, too long or not as it must be");
    *text = value->bytes;
    return 0;
}

static int take_bool(struct catalog_walk *user, const char *name, const struct walk_value *value,
                     bool *truth)
{
    if (value->type != WALK_BOOL)
        return refuse(user, PL_ECORRUPT, name, "is not true or false");
    *truth = value->truth;
    return 0;
}

static int take_blob(struct catalog_walk *user, const char *name, const struct walk_value *value,
                     uint8_t *out, size_t len)
{
    if (value->type != WALK_BIN || value->bytes.len != len)
        return refuse(user, PL_ECORRUPT, name, "has not the bytes that it must have");
    memcpy(out, value->bytes.data, len);
    return 0;
}

static const struct {
    uint64_t min, max;
} ranges[FIELD_COUNT] = {
    [FIELD_KIND] = {CATALOG_ACCOUNT, UINT64_MAX},
    [FIELD_ACCOUNT] = {1, UINT64_MAX},
    [FIELD_STATE] = {ACCOUNT_ACTIVE, ACCOUNT_DELETED},
    [FIELD_EXPIRES_AT_MS] = {0, INT64_MAX},
    [FIELD_CONFIG_VERSION] = {0, UINT64_MAX},
    [FIELD_COOKIE_SAME_SITE] = {SAME_SITE_NONE, SAME_SITE_STRICT},
    [FIELD_PII] = {0, PII_ALL},
};

static int take_number(struct catalog_walk *user, enum field field, const struct walk_value *value)
{
    struct catalog_item *item = user->item;
    if (value->type != WALK_U64 || value->u64 < ranges[field].min || value->u64 > ranges[field].max)
        return refuse(user, PL_ECORRUPT, field_names[field], "is not a number, or out of range");
    switch (field) {
    case FIELD_KIND:
        if (value->u64 > CATALOG_CUTOFF)
            return refuse(user, PL_EUNSUPPORTED, field_names[field], "is newer than this build");
        item->kind = (enum catalog_kind)value->u64;
        return 0;
    case FIELD_ACCOUNT:
        item->account = value->u64;
        return 0;
    case FIELD_STATE:
        item->state = (enum account_state)value->u64;
        return 0;
    case FIELD_EXPIRES_AT_MS:
        item->expires_at_ms = value->i64;
        return 0;
    case FIELD_COOKIE_SAME_SITE:
        item->cookie.same_site = (enum same_site)value->u64;
        return 0;
    case FIELD_PII:
        item->pii = (unsigned)value->u64;
        return 0;
    default:
        item->config_version = value->u64;
        return 0;
    }
}

/* The rules of an account that an item may lack. */
static int take_rule(struct catalog_walk *user, enum field field, const struct walk_value *value)
{
    struct catalog_item *item = user->item;
    const char *name = field_names[field];
    switch (field) {
    case FIELD_ALIASES:
        return take_texts(user, name, value, alias_ok, CATALOG_ALIASES_MAX, item->aliases,
                          &item->alias_count);
    case FIELD_HOSTS:
        return take_texts(user, name, value, catalog_is_host, CATALOG_HOSTS_MAX, item->hosts,
                          &item->host_count);
    case FIELD_SNOWPLOW_PATH:
        return take_text(user, name, value, path_ok, &item->snowplow_path);
    case FIELD_COOKIE_ENABLED:
        return take_bool(user, name, value, &item->cookie.enabled);
    case FIELD_COOKIE_NAME:
        return take_text(user, name, value, catalog_is_cookie_name, &item->cookie.name);
    case FIELD_COOKIE_DOMAIN:
        return take_text(user, name, value, domain_ok, &item->cookie.domain);
    case FIELD_ID_KEY:
        return take_blob(user, name, value, item->id_key, sizeof(item->id_key));
    default:
        return take_number(user, field, value);
    }
}

static int take_field(struct catalog_walk *user, enum field field, const struct walk_value *value)
{
    struct catalog_item *item = user->item;
    const char *name = field_names[field];
    if (field >= FIELD_ALIASES && field <= FIELD_ID_KEY)
        return take_rule(user, field, value);
    switch (field) {
    case FIELD_WRITE_KEY:
        return take_blob(user, name, value, item->write_key.bytes, sizeof(item->write_key.bytes));
    case FIELD_CONFIG_JSON:
        return take_text(user, name, value, config_ok, &item->config_json);
    case FIELD_REGIONS:
        return take_regions(user, name, value);
    case FIELD_ORIGINS:
        return take_texts(user, name, value, origin_ok, LIMIT_ORIGINS, item->origins,
                          &item->origin_count);
    case FIELD_HONOUR_DNT:
        return take_bool(user, name, value, &item->honour_dnt);
    case FIELD_SEAL_PUBLIC:
        return take_blob(user, name, value, item->seal_public, sizeof(item->seal_public));
    case FIELD_CONSENT_ID:
        return take_blob(user, name, value, item->consent_id.bytes, sizeof(item->consent_id.bytes));
    case FIELD_SUPPRESSED_HASH:
        return take_blob(user, name, value, item->suppressed_hash, sizeof(item->suppressed_hash));
    case FIELD_SUPPRESSED:
        return take_bool(user, name, value, &item->suppressed);
    default:
        return take_number(user, field, value);
    }
}

static int walk_on_member(struct catalog_walk *user, const struct walk_value *map,
                          const struct walk_value *key, const struct walk_value *value)
{
    if (map->level > 0)
        return 0; /* inside a field that is not known here */
    if (key->type != WALK_U64 || key->u64 <= user->last_id)
        return refuse(user, PL_ECORRUPT, "", "a field id out of order, or no number");
    user->last_id = key->u64;
    if (key->u64 >= FIELD_COUNT)
        return 0;
    user->seen |= BIT(key->u64);
    return take_field(user, (enum field)key->u64, value);
}

enum pl_err catalog_decode(struct pl_span bytes, struct catalog_item *item, struct pl_why *why)
{
    struct catalog_item got = {0};
    struct catalog_walk user = {.item = &got, .why = why};
    struct walk_context context;
    size_t used;
    catalog_rule_defaults(&got);
    if (walk(&context, &user, bytes, &used) != 1 || used != bytes.len) {
        if (user.err == PL_OK)
            refuse(&user, PL_ECORRUPT, "", "it is not one msgpack map");
        return user.err;
    }
    unsigned missing =
        (user.seen & BIT(FIELD_KIND)) == 0 ? BIT(FIELD_KIND) : required[got.kind] & ~user.seen;
    if (missing != 0) {
        refuse(&user, PL_ECORRUPT, field_names[__builtin_ctz(missing)], "is missing");
        return user.err;
    }
    if (got.kind == CATALOG_ACCOUNT && (got.config_version == 0) != (got.config_json.len == 0)) {
        refuse(&user, PL_ECORRUPT, "config_json", "does not go with config_version");
        return user.err;
    }
    *item = got;
    return PL_OK;
}
