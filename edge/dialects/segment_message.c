#include "edge/dialects/segment_message.h"
#include "proto/base/clock.h"

#include <stdio.h>

/* ---- the tables: a client's name, the canonical field */

struct home {
    struct pl_span name;
    enum event_field field;
};

#define HOME(name, field)                                                                          \
    {                                                                                              \
        PL_SPAN_INIT(name), field                                                                  \
    }
#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static const struct home page_homes[] = {
    HOME("url", EVENT_PAGE_URL),           HOME("path", EVENT_PAGE_PATH),
    HOME("referrer", EVENT_PAGE_REFERRER), HOME("title", EVENT_PAGE_TITLE),
    HOME("search", EVENT_PAGE_SEARCH),
};
static const struct home campaign_homes[] = {
    HOME("name", EVENT_UTM_NAME),       HOME("source", EVENT_UTM_SOURCE),
    HOME("medium", EVENT_UTM_MEDIUM),   HOME("term", EVENT_UTM_TERM),
    HOME("content", EVENT_UTM_CONTENT),
};
static const struct home screen_homes[] = {
    HOME("width", EVENT_SCREEN_WIDTH),
    HOME("height", EVENT_SCREEN_HEIGHT),
};
static const struct home context_homes[] = {
    HOME("locale", EVENT_LOCALE),
    HOME("timezone", EVENT_TIMEZONE),
    HOME("userAgent", EVENT_USER_AGENT),
    HOME("sessionId", EVENT_SESSION_ID),
};
static const struct home message_homes[] = {
    HOME("anonymousId", EVENT_VISITOR_ID), HOME("userId", EVENT_USER_ID),
    HOME("messageId", EVENT_MESSAGE_ID),   HOME("groupId", EVENT_GROUP_ID),
    HOME("previousId", EVENT_PREVIOUS_ID), HOME("channel", EVENT_CHANNEL),
    HOME("category", EVENT_PAGE_CATEGORY),
};
/* Properties of the e-commerce events below; on any other event they stay properties. */
static const struct home commerce_homes[] = {
    HOME("order_id", EVENT_ORDER_ID),
    HOME("total", EVENT_TOTAL),
    HOME("tax", EVENT_TAX),
    HOME("shipping", EVENT_SHIPPING),
    HOME("discount", EVENT_DISCOUNT),
    HOME("coupon", EVENT_COUPON),
    HOME("currency", EVENT_CURRENCY),
    HOME("affiliation", EVENT_AFFILIATION),
    HOME("step", EVENT_CHECKOUT_STEP_NUMBER),
    HOME("query", EVENT_SEARCH_TERM),
    HOME("promotion_id", EVENT_OFFER_CAMPAIGN),
    HOME("creative", EVENT_OFFER_VARIANT),
    HOME("products", EVENT_ITEMS),
};

/* Names of Segment's e-commerce specification, version 2. */
static const struct {
    struct pl_span name;
    enum event_type type;
} commerce_events[] = {
    {PL_SPAN_INIT("Product Viewed"), EVENT_PRODUCT_VIEW},
    {PL_SPAN_INIT("Product Added"), EVENT_CART_ADD},
    {PL_SPAN_INIT("Product Removed"), EVENT_CART_REMOVE},
    {PL_SPAN_INIT("Product Clicked"), EVENT_CLICK},
    {PL_SPAN_INIT("Product List Viewed"), EVENT_IMPRESSIONS},
    {PL_SPAN_INIT("Products Searched"), EVENT_SEARCH},
    {PL_SPAN_INIT("Checkout Started"), EVENT_CHECKOUT_STEP},
    {PL_SPAN_INIT("Checkout Step Viewed"), EVENT_CHECKOUT_STEP},
    {PL_SPAN_INIT("Checkout Step Completed"), EVENT_CHECKOUT_STEP},
    {PL_SPAN_INIT("Order Completed"), EVENT_ORDER},
    {PL_SPAN_INIT("Promotion Viewed"), EVENT_OFFER_SHOWN},
    {PL_SPAN_INIT("Promotion Clicked"), EVENT_OFFER_RESPONSE},
};

static const struct {
    struct pl_span name;
    enum segment_type type;
} message_types[] = {
    {PL_SPAN_INIT("track"), SEGMENT_TRACK},   {PL_SPAN_INIT("page"), SEGMENT_PAGE},
    {PL_SPAN_INIT("screen"), SEGMENT_SCREEN}, {PL_SPAN_INIT("identify"), SEGMENT_IDENTIFY},
    {PL_SPAN_INIT("group"), SEGMENT_GROUP},   {PL_SPAN_INIT("alias"), SEGMENT_ALIAS},
};

bool segment_type_parse(struct pl_span name, enum segment_type *type)
{
    for (size_t i = 0; i < COUNT(message_types); i++) {
        if (pl_span_eq(message_types[i].name, name)) {
            *type = message_types[i].type;
            return true;
        }
    }
    return false;
}

/* ---- one message */

struct message {
    const struct segment_message *as;
    const struct dialect_input *input;
    struct event *event;
    struct json context, properties;
    bool has_context, has_properties;
    size_t leftovers; /* members of the message that have no home */
};

static const struct home *home_of(const struct home *homes, size_t count, struct pl_span name)
{
    for (size_t i = 0; i < count; i++) {
        if (pl_span_eq(homes[i].name, name)) {
            return &homes[i];
        }
    }
    return NULL;
}

/* Appends a value to the scratch as msgpack and views it there. */
static enum pl_err pack_value(const struct message *m, struct json value, struct pl_span *packed)
{
    struct pl_buf *scratch = m->input->scratch;
    size_t from = scratch->len;
    enum pl_err err = json_to_msgpack(value, scratch);
    *packed = pl_span(scratch->data + from, scratch->len - from);
    return err;
}

static bool is_id(enum event_field field)
{
    return field == EVENT_MESSAGE_ID || field == EVENT_VISITOR_ID || field == EVENT_USER_ID ||
           field == EVENT_SESSION_ID || field == EVENT_GROUP_ID || field == EVENT_PREVIOUS_ID;
}

/* False when the value's type does not fit the field: it then stays where it was. */
static bool take(struct message *m, enum event_field field, struct json value)
{
    struct pl_span text;
    double number;
    uint64_t whole;
    int64_t integer;
    switch (event_fields[field].kind) {
    case EVENT_KIND_STR:
        if (!json_string(value, &text) || (is_id(field) && text.len > LIMIT_ID_BYTES)) {
            return false;
        }
        event_set_str(m->event, field, text);
        return true;
    case EVENT_KIND_F64:
        if (!json_f64(value, &number)) {
            return false;
        }
        event_set_f64(m->event, field, number);
        return true;
    case EVENT_KIND_U64:
        if (!json_u64(value, &whole)) {
            return false;
        }
        event_set_u64(m->event, field, whole);
        return true;
    case EVENT_KIND_I64:
        if (!json_i64(value, &integer)) {
            return false;
        }
        event_set_i64(m->event, field, integer);
        return true;
    default:
        return false;
    }
}

/* Whether a member found (or would find) a home by this table. */
static bool take_home(struct message *m, const struct home *homes, size_t count,
                      struct pl_span name, struct json value)
{
    const struct home *home = home_of(homes, count, name);
    return home != NULL && take(m, home->field, value);
}

/* An object all of whose members went home leaves nothing behind. */
static size_t take_object(struct message *m, const struct home *homes, size_t count,
                          struct json object)
{
    size_t left = 0;
    struct pl_span name;
    struct json value;
    struct json_iter members = json_members(object);
    while (json_next_member(&members, &name, &value)) {
        left += !take_home(m, homes, count, name, value);
    }
    return left;
}

static void pack_leftovers(struct message *m, const struct home *homes, size_t count, size_t left,
                           struct json object, struct event_packer *packer)
{
    struct pl_span name;
    struct json value;
    struct json_iter members = json_members(object);
    event_pack_map(packer, left);
    while (json_next_member(&members, &name, &value)) {
        if (!take_home(m, homes, count, name, value)) {
            event_pack_str(packer, name);
            event_pack_json(packer, value);
        }
    }
}

/* ---- properties */

static bool commerce_type(struct pl_span name, enum event_type *type)
{
    for (size_t i = 0; i < COUNT(commerce_events); i++) {
        if (pl_span_eq(commerce_events[i].name, name)) {
            *type = commerce_events[i].type;
            return true;
        }
    }
    return false;
}

/* The products of an order, as the client listed them. */
static enum pl_err take_items(struct message *m)
{
    struct json products;
    struct pl_span packed;
    if (!json_get(m->properties, "products", &products) || json_type(products) != JSON_ARRAY) {
        return PL_OK;
    }
    enum pl_err err = pack_value(m, products, &packed);
    if (err == PL_OK) {
        event_set_pack(m->event, EVENT_ITEMS, packed);
    }
    return err;
}

static bool take_property(struct message *m, struct pl_span name, struct json value)
{
    const struct home *home = home_of(commerce_homes, COUNT(commerce_homes), name);
    if (home == NULL) {
        return false;
    }
    if (home->field == EVENT_ITEMS) {
        return json_type(value) == JSON_ARRAY;
    }
    return take(m, home->field, value);
}

static enum pl_err take_properties(struct message *m, bool commerce)
{
    struct pl_span packed;
    if (!m->has_properties || json_count(m->properties) == 0) {
        return PL_OK;
    }
    if (!commerce) {
        enum pl_err err = pack_value(m, m->properties, &packed);
        if (err == PL_OK) {
            event_set_pack(m->event, EVENT_PROPS, packed);
        }
        return err;
    }
    enum pl_err err = take_items(m);
    if (err != PL_OK) {
        return err;
    }
    struct pl_span name;
    struct json value;
    size_t left = 0;
    struct json_iter members = json_members(m->properties);
    while (json_next_member(&members, &name, &value)) {
        left += !take_property(m, name, value);
    }
    if (left == 0) {
        return PL_OK;
    }
    struct pl_buf *scratch = m->input->scratch;
    size_t from = scratch->len;
    struct event_packer packer = {.out = scratch};
    event_pack_map(&packer, left);
    members = json_members(m->properties);
    while (json_next_member(&members, &name, &value)) {
        if (!take_property(m, name, value)) {
            event_pack_str(&packer, name);
            event_pack_json(&packer, value);
        }
    }
    event_set_pack(m->event, EVENT_PROPS, pl_span(scratch->data + from, scratch->len - from));
    return packer.err;
}

/* ---- context */

struct nested {
    struct pl_span name;
    const struct home *homes;
    size_t count;
};
static const struct nested nested_homes[] = {
    {PL_SPAN_INIT("page"), page_homes, COUNT(page_homes)},
    {PL_SPAN_INIT("campaign"), campaign_homes, COUNT(campaign_homes)},
    {PL_SPAN_INIT("screen"), screen_homes, COUNT(screen_homes)},
};

static const struct nested *nested_of(struct pl_span name, struct json value)
{
    for (size_t i = 0; i < COUNT(nested_homes); i++) {
        if (pl_span_eq(nested_homes[i].name, name)) {
            return json_type(value) == JSON_OBJECT ? &nested_homes[i] : NULL;
        }
    }
    return NULL;
}

static bool is_message_home(struct message *m, struct pl_span name, struct json value);

/* Whether a member of context leaves anything behind. */
static bool context_leaves(struct message *m, struct pl_span name, struct json value)
{
    if (pl_span_eq_str(name, "ip")) {
        return false;
    }
    const struct nested *nested = nested_of(name, value);
    if (nested != NULL) {
        return take_object(m, nested->homes, nested->count, value) > 0;
    }
    return !take_home(m, context_homes, COUNT(context_homes), name, value);
}

static void pack_message_leftovers(struct message *m, struct json message,
                                   struct event_packer *packer)
{
    struct pl_span name;
    struct json value;
    struct json_iter members = json_members(message);
    event_pack_str(packer, PL_SPAN_LIT("message"));
    event_pack_map(packer, m->leftovers);
    while (json_next_member(&members, &name, &value)) {
        if (!is_message_home(m, name, value)) {
            event_pack_str(packer, name);
            event_pack_json(packer, value);
        }
    }
}

static enum pl_err take_context(struct message *m, struct json message)
{
    struct pl_span name;
    struct json value;
    size_t left = m->leftovers > 0;
    if (m->has_context) {
        struct json_iter members = json_members(m->context);
        while (json_next_member(&members, &name, &value)) {
            left += context_leaves(m, name, value);
        }
    }
    if (left == 0) {
        return PL_OK;
    }
    struct pl_buf *scratch = m->input->scratch;
    size_t from = scratch->len;
    struct event_packer packer = {.out = scratch};
    event_pack_map(&packer, left);
    if (m->leftovers > 0) {
        pack_message_leftovers(m, message, &packer);
    }
    if (m->has_context) {
        struct json_iter members = json_members(m->context);
        while (json_next_member(&members, &name, &value)) {
            if (!context_leaves(m, name, value)) {
                continue;
            }
            event_pack_str(&packer, name);
            const struct nested *nested = nested_of(name, value);
            if (nested != NULL) {
                size_t inner = take_object(m, nested->homes, nested->count, value);
                pack_leftovers(m, nested->homes, nested->count, inner, value, &packer);
            } else {
                event_pack_json(&packer, value);
            }
        }
    }
    event_set_pack(m->event, EVENT_CONTEXT, pl_span(scratch->data + from, scratch->len - from));
    return packer.err;
}

/* ---- the message as a whole */

bool segment_time(struct json value, int64_t *wall_ms)
{
    struct pl_span text;
    return json_string(value, &text) && pl_time_parse(text, wall_ms);
}

/* Members that this file deals with by name; take_message must have an eye on each. */
static bool is_message_home(struct message *m, struct pl_span name, struct json value)
{
    static const struct pl_span handled[] = {
        PL_SPAN_INIT("type"),   PL_SPAN_INIT("writeKey"), PL_SPAN_INIT("context"),
        PL_SPAN_INIT("event"),  PL_SPAN_INIT("name"),     PL_SPAN_INIT("properties"),
        PL_SPAN_INIT("traits"),
    };
    int64_t time_ms;
    if (take_home(m, message_homes, COUNT(message_homes), name, value)) {
        return true;
    }
    for (size_t i = 0; i < COUNT(handled); i++) {
        if (pl_span_eq(handled[i], name)) {
            return true;
        }
    }
    if (pl_span_eq_str(name, "timestamp") || pl_span_eq_str(name, "sentAt")) {
        return segment_time(value, &time_ms);
    }
    /* Nothing was said: keep nothing. */
    return json_type(value) == JSON_NULL;
}

static enum pl_err refuse(const struct message *m, struct pl_why *why, enum pl_err err,
                          const char *field, const char *what)
{
    char path[96];
    snprintf(path, sizeof(path), "%s%s", m->as->place, field);
    return pl_fail_field(why, err, path, "%s %s", path, what);
}

static enum pl_err check_ids(const struct message *m, struct json message, struct pl_why *why)
{
    for (size_t i = 0; i < COUNT(message_homes); i++) {
        const char *name = (const char *)message_homes[i].name.data;
        struct json value;
        struct pl_span text;
        if (!is_id(message_homes[i].field) || !json_get(message, name, &value) ||
            json_type(value) == JSON_NULL) {
            continue;
        }
        if (!json_string(value, &text)) {
            return refuse(m, why, PL_EINVAL, name, "must be a string");
        }
        if (text.len > LIMIT_ID_BYTES) {
            return refuse(m, why, PL_ELIMIT, name, "is longer than 256 bytes");
        }
    }
    return PL_OK;
}

static void take_times(struct message *m, struct json message)
{
    struct json value;
    int64_t ms, sent_ms = m->as->sent_ms;
    bool has_sent = m->as->has_sent;
    if (json_get(message, "sentAt", &value) && segment_time(value, &ms)) {
        has_sent = true;
        sent_ms = ms;
    }
    if (has_sent) {
        event_set_i64(m->event, EVENT_SENT_MS, sent_ms);
    }
    if (!json_get(message, "timestamp", &value) || !segment_time(value, &ms)) {
        return;
    }
    event_set_i64(m->event, EVENT_CLIENT_MS, ms);
    if (has_sent) {
        event_set_i64(m->event, EVENT_CORRECTED_MS, m->input->now_ms - (sent_ms - ms));
    }
}

static enum pl_err take_object_member(const struct message *m, struct json message,
                                      const char *name, struct json *object, bool *has,
                                      struct pl_why *why)
{
    *has = json_get(message, name, object) && json_type(*object) != JSON_NULL;
    if (*has && json_type(*object) != JSON_OBJECT) {
        return refuse(m, why, PL_EINVAL, name, "must be an object");
    }
    return PL_OK;
}

/* What the call was named: track's event, page's name. */
static enum pl_err take_name(struct message *m, struct json message, struct pl_span *text,
                             struct pl_why *why)
{
    const char *name = m->as->type == SEGMENT_TRACK ? "event" : "name";
    struct json value;
    *text = pl_span(NULL, 0);
    if (!json_get(message, name, &value) || json_type(value) == JSON_NULL) {
        return m->as->type == SEGMENT_TRACK ? refuse(m, why, PL_EINVAL, name, "is missing") : PL_OK;
    }
    if (!json_string(value, text)) {
        return refuse(m, why, PL_EINVAL, name, "must be a string");
    }
    if (text->len > LIMIT_NAME_BYTES) {
        return refuse(m, why, PL_ELIMIT, name, "is longer than 512 bytes");
    }
    if (text->len > 0) {
        event_set_str(m->event, EVENT_NAME, *text);
    }
    return PL_OK;
}

static enum event_type type_of(enum segment_type type)
{
    switch (type) {
    case SEGMENT_PAGE:
    case SEGMENT_SCREEN:
        return EVENT_PAGE_VIEW;
    case SEGMENT_IDENTIFY:
        return EVENT_IDENTIFY;
    case SEGMENT_GROUP:
        return EVENT_GROUP;
    case SEGMENT_ALIAS:
        return EVENT_ALIAS;
    default:
        return EVENT_CUSTOM;
    }
}

/* Page calls say where they are in properties as well; that counts where context is silent. */
static void take_page_properties(struct message *m)
{
    struct pl_span name;
    struct json value;
    if (m->as->type != SEGMENT_PAGE || !m->has_properties) {
        return;
    }
    struct json_iter members = json_members(m->properties);
    while (json_next_member(&members, &name, &value)) {
        const struct home *home = home_of(page_homes, COUNT(page_homes), name);
        if (home != NULL && !event_has(m->event, home->field)) {
            take(m, home->field, value);
        }
    }
}

static enum pl_err take_traits(struct message *m, struct json message, struct pl_why *why)
{
    struct json traits;
    bool has;
    struct pl_span packed;
    enum pl_err err = take_object_member(m, message, "traits", &traits, &has, why);
    if (err != PL_OK || !has || json_count(traits) == 0) {
        return err;
    }
    err = pack_value(m, traits, &packed);
    if (err == PL_OK) {
        event_set_pack(m->event, EVENT_TRAITS, packed);
    }
    return err;
}

enum pl_err segment_message_decode(const struct segment_message *as, struct json message,
                                   const struct dialect_sink *sink, struct pl_why *why)
{
    struct message decoded = {.as = as, .input = as->input, .event = as->input->event};
    struct message *m = &decoded;
    struct pl_span name;
    struct json value;
    enum pl_err err;

    if (json_type(message) != JSON_OBJECT) {
        return refuse(m, why, PL_EINVAL, "message", "must be an object");
    }
    pl_buf_reset(m->input->scratch);
    event_clear(m->event);
    if ((err = check_ids(m, message, why)) != PL_OK ||
        (err = take_object_member(m, message, "context", &m->context, &m->has_context, why)) ||
        (err = take_object_member(m, message, "properties", &m->properties, &m->has_properties,
                                  why)) ||
        (err = take_name(m, message, &name, why)) != PL_OK ||
        (err = take_traits(m, message, why)) != PL_OK) {
        return err;
    }
    enum event_type type = type_of(m->as->type);
    bool commerce = m->as->type == SEGMENT_TRACK && commerce_type(name, &type);
    event_set_u64(m->event, EVENT_TYPE, type);
    take_times(m, message);

    m->leftovers = 0;
    struct json_iter members = json_members(message);
    while (json_next_member(&members, &name, &value)) {
        m->leftovers += !is_message_home(m, name, value);
    }
    if ((err = take_context(m, message)) == PL_OK &&
        (err = take_properties(m, commerce)) == PL_OK) {
        take_page_properties(m);
        return sink->emit(sink->ctx, m->event, why);
    }
    return pl_fail(why, err, "the event holds too much to be kept");
}
