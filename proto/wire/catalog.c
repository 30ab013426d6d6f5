#include "proto/wire/catalog.h"

#include "proto/wire/msgpack_put.h"

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
};

#define BIT(field)     (1u << (field))
#define ACCOUNT_FIELDS (BIT(FIELD_SEAL_PUBLIC) - BIT(FIELD_KIND)) /* all but the sealing key */

/* What each kind of item must carry. */
static const unsigned required[] = {
    [CATALOG_ACCOUNT] = ACCOUNT_FIELDS,
    [CATALOG_TOMBSTONE] = BIT(FIELD_KIND) | BIT(FIELD_ACCOUNT),
    [CATALOG_SEAL_KEY] = BIT(FIELD_KIND) | BIT(FIELD_SEAL_PUBLIC),
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
    return true;
}

/* put is a msgpack_put_ call; the first failure wins. */
#define PUT(err, put) ((err) = (err) != PL_OK ? (err) : (put))
#define PUT_FIELD(err, out, field, put)                                                            \
    do {                                                                                           \
        PUT(err, msgpack_put_uint8(out, field));                                                   \
        PUT(err, put);                                                                             \
    } while (0)

static int encode_account(const struct catalog_item *item, struct pl_buf *out)
{
    int err = PL_OK;
    PUT_FIELD(err, out, FIELD_ACCOUNT, msgpack_put_uint64(out, item->account));
    PUT_FIELD(err, out, FIELD_STATE, msgpack_put_uint8(out, (uint8_t)item->state));
    PUT_FIELD(err, out, FIELD_WRITE_KEY,
              msgpack_put_blob(out, item->write_key.bytes, sizeof(item->write_key.bytes)));
    PUT_FIELD(err, out, FIELD_EXPIRES_AT_MS, msgpack_put_int64(out, item->expires_at_ms));
    PUT_FIELD(err, out, FIELD_CONFIG_VERSION, msgpack_put_uint64(out, item->config_version));
    PUT_FIELD(err, out, FIELD_CONFIG_JSON,
              msgpack_put_text(out, item->config_json.data, item->config_json.len));
    PUT_FIELD(err, out, FIELD_REGIONS, msgpack_put_array(out, item->region_count));
    for (unsigned i = 0; i < item->region_count; i++)
        PUT(err, msgpack_put_text(out, item->regions[i], region_span(item, i).len));
    PUT_FIELD(err, out, FIELD_ORIGINS, msgpack_put_array(out, item->origin_count));
    for (unsigned i = 0; i < item->origin_count; i++)
        PUT(err, msgpack_put_text(out, item->origins[i].data, item->origins[i].len));
    PUT_FIELD(err, out, FIELD_HONOUR_DNT,
              item->honour_dnt ? msgpack_put_true(out) : msgpack_put_false(out));
    return err;
}

enum pl_err catalog_encode(const struct catalog_item *item, struct pl_buf *out)
{
    size_t before = out->len;
    unsigned kind = item->kind;
    if (kind < CATALOG_ACCOUNT || kind > CATALOG_SEAL_KEY ||
        (kind == CATALOG_ACCOUNT && !account_ok(item)) ||
        (kind == CATALOG_TOMBSTONE && item->account == 0))
        return PL_EINVAL;
    int err = msgpack_put_map(out, (size_t)__builtin_popcount(required[kind]));
    PUT_FIELD(err, out, FIELD_KIND, msgpack_put_uint8(out, (uint8_t)kind));
    if (kind == CATALOG_ACCOUNT)
        PUT(err, encode_account(item, out));
    else if (kind == CATALOG_TOMBSTONE)
        PUT_FIELD(err, out, FIELD_ACCOUNT, msgpack_put_uint64(out, item->account));
    else
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

static int take_origins(struct catalog_walk *user, const char *name, const struct walk_value *value)
{
    struct catalog_item *item = user->item;
    if (value->type != WALK_ARRAY || user->text_count > LIMIT_ORIGINS)
        return refuse(user, PL_ECORRUPT, name, "is not a list of at most 64 texts");
    for (size_t i = 0; i < user->text_count; i++) {
        if (!origin_ok(user->texts[i]))
            return refuse(user, PL_ECORRUPT, name, "holds one that is empty, too long or no UTF-8");
        item->origins[i] = user->texts[i];
    }
    item->origin_count = (unsigned)user->text_count;
    return 0;
}

static bool take_blob(const struct walk_value *value, uint8_t *out, size_t len)
{
    if (value->type != WALK_BIN || value->bytes.len != len)
        return false;
    memcpy(out, value->bytes.data, len);
    return true;
}

static const struct {
    uint64_t min, max;
} ranges[FIELD_COUNT] = {
    [FIELD_KIND] = {CATALOG_ACCOUNT, UINT64_MAX},      [FIELD_ACCOUNT] = {1, UINT64_MAX},
    [FIELD_STATE] = {ACCOUNT_ACTIVE, ACCOUNT_DELETED}, [FIELD_EXPIRES_AT_MS] = {0, INT64_MAX},
    [FIELD_CONFIG_VERSION] = {0, UINT64_MAX},
};

static int take_number(struct catalog_walk *user, enum field field, const struct walk_value *value)
{
    struct catalog_item *item = user->item;
    if (value->type != WALK_U64 || value->u64 < ranges[field].min || value->u64 > ranges[field].max)
        return refuse(user, PL_ECORRUPT, field_names[field], "is not a number, or out of range");
    switch (field) {
    case FIELD_KIND:
        if (value->u64 > CATALOG_SEAL_KEY)
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
    default:
        item->config_version = value->u64;
        return 0;
    }
}

static int take_field(struct catalog_walk *user, enum field field, const struct walk_value *value)
{
    struct catalog_item *item = user->item;
    const char *name = field_names[field];
    switch (field) {
    case FIELD_WRITE_KEY:
        if (!take_blob(value, item->write_key.bytes, sizeof(item->write_key.bytes)))
            return refuse(user, PL_ECORRUPT, name, "is not 16 bytes");
        return 0;
    case FIELD_CONFIG_JSON:
        if (value->type != WALK_STR || !config_ok(value->bytes))
            return refuse(user, PL_ECORRUPT, name, "is not UTF-8 text, or too long");
        item->config_json = value->bytes;
        return 0;
    case FIELD_REGIONS:
        return take_regions(user, name, value);
    case FIELD_ORIGINS:
        return take_origins(user, name, value);
    case FIELD_HONOUR_DNT:
        if (value->type != WALK_BOOL)
            return refuse(user, PL_ECORRUPT, name, "is not true or false");
        item->honour_dnt = value->truth;
        return 0;
    case FIELD_SEAL_PUBLIC:
        if (!take_blob(value, item->seal_public, sizeof(item->seal_public)))
            return refuse(user, PL_ECORRUPT, name, "is not 32 bytes");
        return 0;
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
