#include "edge/dialects/segment_message.h"
#include "proto/base/clock.h"

#include <stdio.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

/* ---- the tables: a client's name, the canonical field */

struct home {
    struct pl_span name;
    enum event_field field;
};
struct homes {
    const struct home *rows;
    size_t count;
};

#define HOME(name, field)                                                                          \
    {                                                                                              \
        PL_SPAN_INIT(name), field                                                                  \
    }

static const struct home page_rows[] = {
    HOME("url", EVENT_PAGE_URL),           HOME("path", EVENT_PAGE_PATH),
    HOME("referrer", EVENT_PAGE_REFERRER), HOME("title", EVENT_PAGE_TITLE),
    HOME("search", EVENT_PAGE_SEARCH),
};
static const struct home campaign_rows[] = {
    HOME("name", EVENT_UTM_NAME),       HOME("source", EVENT_UTM_SOURCE),
    HOME("medium", EVENT_UTM_MEDIUM),   HOME("term", EVENT_UTM_TERM),
    HOME("content", EVENT_UTM_CONTENT),
};
static const struct home screen_rows[] = {
    HOME("width", EVENT_SCREEN_WIDTH),
    HOME("height", EVENT_SCREEN_HEIGHT),
};
static const struct home context_rows[] = {
    HOME("locale", EVENT_LOCALE),
    HOME("timezone", EVENT_TIMEZONE),
    HOME("userAgent", EVENT_USER_AGENT),
    HOME("sessionId", EVENT_SESSION_ID),
};
/* Properties of the e-commerce events below; on any other event they stay properties. */
static const struct home commerce_rows[] = {
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

static const struct homes page_homes = {page_rows, COUNT(page_rows)};
static const struct homes context_homes = {context_rows, COUNT(context_rows)};
static const struct homes commerce_homes = {commerce_rows, COUNT(commerce_rows)};
static const struct {
    struct pl_span name;
    struct homes homes;
} context_groups[] = {
    {PL_SPAN_INIT("page"), {page_rows, COUNT(page_rows)}},
    {PL_SPAN_INIT("campaign"), {campaign_rows, COUNT(campaign_rows)}},
    {PL_SPAN_INIT("screen"), {screen_rows, COUNT(screen_rows)}},
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
    enum event_type event;
} message_types[] = {
    {PL_SPAN_INIT("track"), SEGMENT_TRACK, EVENT_CUSTOM},
    {PL_SPAN_INIT("page"), SEGMENT_PAGE, EVENT_PAGE_VIEW},
    {PL_SPAN_INIT("screen"), SEGMENT_SCREEN, EVENT_PAGE_VIEW},
    {PL_SPAN_INIT("identify"), SEGMENT_IDENTIFY, EVENT_IDENTIFY},
    {PL_SPAN_INIT("group"), SEGMENT_GROUP, EVENT_GROUP},
    {PL_SPAN_INIT("alias"), SEGMENT_ALIAS, EVENT_ALIAS},
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

/* What a message's members are, by name. Every member is looked at once. */
enum part {
    PART_ID,   /* text that identifies: refused when it does not fit */
    PART_TEXT, /* text with a field of its own */
    PART_TYPE,
    PART_EVENT,
    PART_NAME,
    PART_TIMESTAMP,
    PART_SENT_AT,
    PART_CONTEXT,
    PART_PROPERTIES,
    PART_TRAITS,
    PART_IGNORED, /* dealt with elsewhere */
    PART_COUNT
};
static const struct {
    struct pl_span name;
    enum part part;
    enum event_field field;
} message_members[] = {
    {PL_SPAN_INIT("type"), PART_TYPE, 0},
    {PL_SPAN_INIT("messageId"), PART_ID, EVENT_MESSAGE_ID},
    {PL_SPAN_INIT("anonymousId"), PART_ID, EVENT_VISITOR_ID},
    {PL_SPAN_INIT("userId"), PART_ID, EVENT_USER_ID},
    {PL_SPAN_INIT("groupId"), PART_ID, EVENT_GROUP_ID},
    {PL_SPAN_INIT("previousId"), PART_ID, EVENT_PREVIOUS_ID},
    {PL_SPAN_INIT("event"), PART_EVENT, 0},
    {PL_SPAN_INIT("name"), PART_NAME, 0},
    {PL_SPAN_INIT("timestamp"), PART_TIMESTAMP, 0},
    {PL_SPAN_INIT("sentAt"), PART_SENT_AT, 0},
    {PL_SPAN_INIT("context"), PART_CONTEXT, 0},
    {PL_SPAN_INIT("properties"), PART_PROPERTIES, 0},
    {PL_SPAN_INIT("traits"), PART_TRAITS, 0},
    {PL_SPAN_INIT("channel"), PART_TEXT, EVENT_CHANNEL},
    {PL_SPAN_INIT("category"), PART_TEXT, EVENT_PAGE_CATEGORY},
    {PL_SPAN_INIT("writeKey"), PART_IGNORED, 0},
};

struct member {
    struct pl_span name;
    struct json value;
};
/* Members without a home, in order. An object with more of them than this is refused. */
struct leftovers {
    size_t count;
    struct member members[128];
};

struct message {
    const struct segment_message *as;
    struct event *event;
    struct pl_buf *scratch;
    enum segment_type type;
    bool has[PART_COUNT];
    struct json part[PART_COUNT];
    struct leftovers left; /* of the message itself */
    struct pl_why *why;
};

static enum pl_err refuse(const struct message *m, enum pl_err err, struct pl_span name,
                          const char *what)
{
    char field[96];
    if (m->as->in_batch) {
        snprintf(field, sizeof(field), "batch[%zu].%.*s", m->as->index,
                 (int)(name.len > 64 ? 64 : name.len), (const char *)name.data);
    } else {
        snprintf(field, sizeof(field), "%.*s", (int)(name.len > 64 ? 64 : name.len),
                 (const char *)name.data);
    }
    return pl_fail_field(m->why, err, field, "%s %s", field, what);
}

static enum pl_err leave(const struct message *m, struct leftovers *left, struct pl_span name,
                         struct json value)
{
    if (left->count == COUNT(left->members)) {
        return refuse(m, PL_ELIMIT, name, "is one of too many members without a meaning");
    }
    left->members[left->count++] = (struct member){name, value};
    return PL_OK;
}

/* The value as msgpack, in the scratch. */
static enum pl_err set_pack(struct message *m, enum event_field field, struct json value)
{
    size_t from = m->scratch->len;
    enum pl_err err = json_to_msgpack(value, m->scratch);
    event_set_pack(m->event, field, pl_span(m->scratch->data + from, m->scratch->len - from));
    return err;
}

/* False when the value's type does not fit the field: it then stays where it was. */
static bool take(struct message *m, enum event_field field, struct json value)
{
    struct pl_span text;
    double number;
    uint64_t whole;
    switch (event_fields[field].kind) {
    case EVENT_KIND_STR:
        if (!json_string(value, &text) ||
            (field == EVENT_SESSION_ID && text.len > LIMIT_ID_BYTES)) {
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
    case EVENT_KIND_PACK:
        return json_type(value) == JSON_ARRAY && set_pack(m, field, value) == PL_OK;
    default:
        return false;
    }
}

static bool take_home(struct message *m, const struct homes *homes, struct pl_span name,
                      struct json value)
{
    for (size_t i = 0; i < homes->count; i++) {
        if (pl_span_eq(homes->rows[i].name, name)) {
            return take(m, homes->rows[i].field, value);
        }
    }
    return false;
}

/* Takes home what has one; the rest is left over. */
static enum pl_err take_object(struct message *m, const struct homes *homes, struct json object,
                               struct leftovers *left)
{
    struct pl_span name;
    struct json value;
    enum pl_err err = PL_OK;
    struct json_iter members = json_members(object);
    while (err == PL_OK && json_next_member(&members, &name, &value)) {
        if (!take_home(m, homes, name, value)) {
            err = leave(m, left, name, value);
        }
    }
    return err;
}

static void pack_leftovers(const struct leftovers *left, struct event_packer *packer)
{
    event_pack_map(packer, left->count);
    for (size_t i = 0; i < left->count; i++) {
        event_pack_str(packer, left->members[i].name);
        event_pack_json(packer, left->members[i].value);
    }
}

/* ---- properties, traits */

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

static enum pl_err take_properties(struct message *m, bool commerce)
{
    struct leftovers left;
    if (!m->has[PART_PROPERTIES] || json_count(m->part[PART_PROPERTIES]) == 0) {
        return PL_OK;
    }
    if (!commerce) {
        return set_pack(m, EVENT_PROPS, m->part[PART_PROPERTIES]);
    }
    left.count = 0;
    enum pl_err err = take_object(m, &commerce_homes, m->part[PART_PROPERTIES], &left);
    if (err != PL_OK || left.count == 0) {
        return err;
    }
    struct event_packer packer = {.out = m->scratch};
    size_t from = m->scratch->len;
    pack_leftovers(&left, &packer);
    event_set_pack(m->event, EVENT_PROPS, pl_span(m->scratch->data + from, m->scratch->len - from));
    return packer.err;
}

/* Page calls say where they are in properties as well; that counts where context is silent. */
static void take_page_properties(struct message *m)
{
    struct pl_span name;
    struct json value;
    if (m->type != SEGMENT_PAGE || !m->has[PART_PROPERTIES]) {
        return;
    }
    struct json_iter members = json_members(m->part[PART_PROPERTIES]);
    while (json_next_member(&members, &name, &value)) {
        for (size_t i = 0; i < page_homes.count; i++) {
            if (pl_span_eq(page_homes.rows[i].name, name) &&
                !event_has(m->event, page_homes.rows[i].field)) {
                take(m, page_homes.rows[i].field, value);
            }
        }
    }
}

/* ---- context */

#define GROUPS COUNT(context_groups)

struct context {
    struct leftovers left;          /* members of context itself */
    struct leftovers group[GROUPS]; /* members of its page, campaign, screen */
};

static enum pl_err take_context_member(struct message *m, struct context *context,
                                       struct pl_span name, struct json value)
{
    if (pl_span_eq_str(name, "ip")) {
        return PL_OK;
    }
    for (size_t g = 0; g < GROUPS; g++) {
        if (pl_span_eq(context_groups[g].name, name) && json_type(value) == JSON_OBJECT) {
            return take_object(m, &context_groups[g].homes, value, &context->group[g]);
        }
    }
    return take_home(m, &context_homes, name, value) ? PL_OK
                                                     : leave(m, &context->left, name, value);
}

static void pack_context(const struct message *m, const struct context *context, size_t members,
                         struct event_packer *packer)
{
    event_pack_map(packer, members);
    if (m->left.count > 0) {
        event_pack_str(packer, PL_SPAN_LIT("message"));
        pack_leftovers(&m->left, packer);
    }
    for (size_t g = 0; g < GROUPS; g++) {
        if (context->group[g].count > 0) {
            event_pack_str(packer, context_groups[g].name);
            pack_leftovers(&context->group[g], packer);
        }
    }
    for (size_t i = 0; i < context->left.count; i++) {
        event_pack_str(packer, context->left.members[i].name);
        event_pack_json(packer, context->left.members[i].value);
    }
}

static enum pl_err take_context(struct message *m)
{
    struct context context;
    struct pl_span name;
    struct json value;
    enum pl_err err = PL_OK;
    context.left.count = 0;
    for (size_t g = 0; g < GROUPS; g++) {
        context.group[g].count = 0;
    }
    if (m->has[PART_CONTEXT]) {
        struct json_iter members = json_members(m->part[PART_CONTEXT]);
        while (err == PL_OK && json_next_member(&members, &name, &value)) {
            err = take_context_member(m, &context, name, value);
        }
    }
    size_t members = context.left.count + (m->left.count > 0);
    for (size_t g = 0; g < GROUPS; g++) {
        members += context.group[g].count > 0;
    }
    if (err != PL_OK || members == 0) {
        return err;
    }
    struct event_packer packer = {.out = m->scratch};
    size_t from = m->scratch->len;
    pack_context(m, &context, members, &packer);
    event_set_pack(m->event, EVENT_CONTEXT,
                   pl_span(m->scratch->data + from, m->scratch->len - from));
    return packer.err;
}

/* ---- the message as a whole */

bool segment_time(struct json value, int64_t *wall_ms)
{
    struct pl_span text;
    return json_string(value, &text) && pl_time_parse(text, wall_ms);
}

static enum pl_err take_id(struct message *m, enum event_field field, struct pl_span name,
                           struct json value)
{
    struct pl_span text;
    if (!json_string(value, &text)) {
        return refuse(m, PL_EINVAL, name, "must be a string");
    }
    if (text.len > LIMIT_ID_BYTES) {
        return refuse(m, PL_ELIMIT, name, "is longer than 256 bytes");
    }
    /* An empty id names nobody: kept, it would make one of all that carry it. */
    if (text.len > 0) {
        event_set_str(m->event, field, text);
    }
    return PL_OK;
}

static enum pl_err take_member(struct message *m, struct pl_span name, struct json value)
{
    size_t i = 0;
    int64_t ms;
    if (json_type(value) == JSON_NULL) {
        return PL_OK; /* nothing was said */
    }
    while (i < COUNT(message_members) && !pl_span_eq(message_members[i].name, name)) {
        i++;
    }
    if (i == COUNT(message_members)) {
        return leave(m, &m->left, name, value);
    }
    enum part part = message_members[i].part;
    switch (part) {
    case PART_ID:
        return take_id(m, message_members[i].field, name, value);
    case PART_TEXT:
        return take(m, message_members[i].field, value) ? PL_OK : leave(m, &m->left, name, value);
    case PART_TIMESTAMP:
    case PART_SENT_AT:
        if (!segment_time(value, &ms)) {
            return leave(m, &m->left, name, value);
        }
        event_set_i64(m->event, part == PART_SENT_AT ? EVENT_SENT_MS : EVENT_CLIENT_MS, ms);
        return PL_OK;
    case PART_CONTEXT:
    case PART_PROPERTIES:
    case PART_TRAITS:
        if (json_type(value) != JSON_OBJECT) {
            return refuse(m, PL_EINVAL, name, "must be an object");
        }
        break;
    default:
        break;
    }
    m->has[part] = true;
    m->part[part] = value;
    return PL_OK;
}

static enum pl_err find_type(struct message *m)
{
    struct pl_span name;
    m->type = m->as->type;
    if (m->type != SEGMENT_BY_MEMBER ||
        (m->has[PART_TYPE] && json_string(m->part[PART_TYPE], &name) &&
         segment_type_parse(name, &m->type))) {
        return PL_OK;
    }
    return refuse(m, PL_EINVAL, PL_SPAN_LIT("type"),
                  "must be one of track, page, screen, identify, group, alias");
}

/* What the call was named: track's event, page's name. */
static enum pl_err take_name(struct message *m, struct pl_span *text)
{
    enum part part = m->type == SEGMENT_TRACK ? PART_EVENT : PART_NAME;
    enum part other = part == PART_EVENT ? PART_NAME : PART_EVENT;
    struct pl_span member = part == PART_EVENT ? PL_SPAN_LIT("event") : PL_SPAN_LIT("name");
    *text = pl_span(NULL, 0);
    if (m->has[other]) {
        enum pl_err err =
            leave(m, &m->left, other == PART_EVENT ? PL_SPAN_LIT("event") : PL_SPAN_LIT("name"),
                  m->part[other]);
        if (err != PL_OK) {
            return err;
        }
    }
    if (!m->has[part]) {
        return part == PART_EVENT ? refuse(m, PL_EINVAL, member, "is missing") : PL_OK;
    }
    if (!json_string(m->part[part], text)) {
        return refuse(m, PL_EINVAL, member, "must be a string");
    }
    if (text->len > LIMIT_NAME_BYTES) {
        return refuse(m, PL_ELIMIT, member, "is longer than 512 bytes");
    }
    if (text->len > 0) {
        event_set_str(m->event, EVENT_NAME, *text);
    }
    return PL_OK;
}

/* The client's clock put on ours, by how far off it was when it sent. */
static void correct_time(struct message *m)
{
    if (!event_has(m->event, EVENT_SENT_MS) && m->as->has_sent) {
        event_set_i64(m->event, EVENT_SENT_MS, m->as->sent_ms);
    }
    if (event_has(m->event, EVENT_SENT_MS) && event_has(m->event, EVENT_CLIENT_MS)) {
        event_set_i64(m->event, EVENT_CORRECTED_MS,
                      m->as->input->now_ms - (event_i64(m->event, EVENT_SENT_MS) -
                                              event_i64(m->event, EVENT_CLIENT_MS)));
    }
}

static enum pl_err take_message(struct message *m, struct json message)
{
    struct pl_span name;
    struct json value;
    enum pl_err err = PL_OK;
    struct json_iter members = json_members(message);
    while (err == PL_OK && json_next_member(&members, &name, &value)) {
        err = take_member(m, name, value);
    }
    if (err != PL_OK || (err = find_type(m)) != PL_OK || (err = take_name(m, &name)) != PL_OK) {
        return err;
    }
    enum event_type type = message_types[m->type - SEGMENT_TRACK].event;
    bool commerce = m->type == SEGMENT_TRACK && commerce_type(name, &type);
    event_set_u64(m->event, EVENT_TYPE, type);
    correct_time(m);
    if (m->has[PART_TRAITS] && json_count(m->part[PART_TRAITS]) > 0) {
        err = set_pack(m, EVENT_TRAITS, m->part[PART_TRAITS]);
    }
    if (err == PL_OK && (err = take_context(m)) == PL_OK) {
        err = take_properties(m, commerce);
    }
    take_page_properties(m);
    return err;
}

enum pl_err segment_message_decode(const struct segment_message *as, struct json message,
                                   const struct dialect_sink *sink, struct pl_why *why)
{
    struct message m;
    struct pl_why said;
    said.text[0] = '\0';
    m.as = as;
    m.event = as->input->event;
    m.scratch = as->input->scratch;
    m.left.count = 0;
    m.why = &said;
    memset(m.has, 0, sizeof(m.has));
    pl_buf_reset(m.scratch);
    event_clear(m.event);
    enum pl_err err = json_type(message) == JSON_OBJECT
                          ? take_message(&m, message)
                          : refuse(&m, PL_EINVAL, PL_SPAN_LIT("message"), "must be an object");
    if (err == PL_OK) {
        return sink->emit(sink->ctx, m.event, why);
    }
    if (said.text[0] == '\0') {
        return pl_fail(why, err, "the event holds too much to be kept");
    }
    if (why != NULL) {
        *why = said;
    }
    return err;
}
