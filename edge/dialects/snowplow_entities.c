#include "edge/dialects/snowplow_parts.h"

#define SNOWPLOW     "com.snowplowanalytics.snowplow"
#define ECOMMERCE    "com.snowplowanalytics.snowplow.ecommerce"
#define ENTITIES_MAX 256
#define MEMBERS_MAX  64 /* of one entity that may find a field */
#define NO_ONE       "00000000-0000-0000-0000-000000000000" /* a user's id in anonymous mode */

static const struct param_home page_view_homes[] = {
    {PL_SPAN_INIT("id"), EVENT_VIEW_ID},
    {{0}, 0},
};
static const struct param_home session_homes[] = {
    {PL_SPAN_INIT("userId"), EVENT_VISITOR_ID},
    {PL_SPAN_INIT("sessionId"), EVENT_SESSION_ID},
    {PL_SPAN_INIT("sessionIndex"), EVENT_SESSION_INDEX},
    {{0}, 0},
};
static const struct param_home cart_homes[] = {
    {PL_SPAN_INIT("total_value"), EVENT_TOTAL},
    {PL_SPAN_INIT("currency"), EVENT_CURRENCY},
    {{0}, 0},
};
static const struct param_home transaction_homes[] = {
    {PL_SPAN_INIT("transaction_id"), EVENT_ORDER_ID},
    {PL_SPAN_INIT("revenue"), EVENT_TOTAL},
    {PL_SPAN_INIT("currency"), EVENT_CURRENCY},
    {PL_SPAN_INIT("tax"), EVENT_TAX},
    {PL_SPAN_INIT("shipping"), EVENT_SHIPPING},
    {PL_SPAN_INIT("discount_amount"), EVENT_DISCOUNT},
    {PL_SPAN_INIT("discount_code"), EVENT_COUPON},
    {{0}, 0},
};
static const struct param_home refund_homes[] = {
    {PL_SPAN_INIT("transaction_id"), EVENT_ORDER_ID},
    {PL_SPAN_INIT("refund_amount"), EVENT_TOTAL},
    {PL_SPAN_INIT("currency"), EVENT_CURRENCY},
    {{0}, 0},
};
static const struct param_home step_homes[] = {
    {PL_SPAN_INIT("step"), EVENT_CHECKOUT_STEP_NUMBER},
    {PL_SPAN_INIT("coupon_code"), EVENT_COUPON},
    {{0}, 0},
};
static const struct param_home promotion_homes[] = {
    {PL_SPAN_INIT("id"), EVENT_OFFER_CAMPAIGN},
    {PL_SPAN_INIT("creative_id"), EVENT_OFFER_VARIANT},
    {PL_SPAN_INIT("name"), EVENT_NAME},
    {{0}, 0},
};
static const struct param_home page_homes[] = {
    {PL_SPAN_INIT("type"), EVENT_PAGE_TYPE},
    {PL_SPAN_INIT("locale"), EVENT_LOCALE},
    {{0}, 0},
};
static const struct param_home user_homes[] = {
    {PL_SPAN_INIT("id"), EVENT_USER_ID},
    {{0}, 0},
};

enum nature {
    OF_THE_EVENT,
    PRODUCT, /* a line item */
    PERSON,  /* what is left of it are traits; nothing of it is kept in anonymous mode */
};

static const struct kind {
    struct pl_span vendor, name;
    const struct param_home *homes;
    enum nature nature;
} kinds[] = {
    {PL_SPAN_INIT(SNOWPLOW), PL_SPAN_INIT("web_page"), page_view_homes, OF_THE_EVENT},
    {PL_SPAN_INIT(SNOWPLOW), PL_SPAN_INIT("client_session"), session_homes, OF_THE_EVENT},
    {PL_SPAN_INIT(ECOMMERCE), PL_SPAN_INIT("product"), NULL, PRODUCT},
    {PL_SPAN_INIT(ECOMMERCE), PL_SPAN_INIT("cart"), cart_homes, OF_THE_EVENT},
    {PL_SPAN_INIT(ECOMMERCE), PL_SPAN_INIT("transaction"), transaction_homes, OF_THE_EVENT},
    {PL_SPAN_INIT(ECOMMERCE), PL_SPAN_INIT("refund"), refund_homes, OF_THE_EVENT},
    {PL_SPAN_INIT(ECOMMERCE), PL_SPAN_INIT("checkout_step"), step_homes, OF_THE_EVENT},
    {PL_SPAN_INIT(ECOMMERCE), PL_SPAN_INIT("promotion"), promotion_homes, OF_THE_EVENT},
    {PL_SPAN_INIT(ECOMMERCE), PL_SPAN_INIT("page"), page_homes, OF_THE_EVENT},
    {PL_SPAN_INIT(ECOMMERCE), PL_SPAN_INIT("user"), user_homes, PERSON},
};

struct entity {
    struct json whole, data;
    const struct kind *kind; /* NULL: not one of ours, kept as it is */
    uint64_t taken;          /* members, by their place */
    size_t left;
};

struct entities {
    size_t count, products, left;
    struct entity list[ENTITIES_MAX];
};

static const struct kind *find(struct json entity, struct json *data)
{
    struct json value;
    struct pl_span schema, vendor, name;
    if (!json_get(entity, "schema", &value) || !json_string(value, &schema) ||
        !snowplow_schema(schema, &vendor, &name) || !json_get(entity, "data", data) ||
        !json_is_object(*data) || json_count(*data) > MEMBERS_MAX)
        return NULL;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (pl_span_eq(kinds[i].name, name) && pl_span_eq(kinds[i].vendor, vendor))
            return &kinds[i];
    return NULL;
}

/* What the event says already need not be kept twice. */
static bool is_said(const struct event *event, enum event_field field, struct json value)
{
    struct pl_span text;
    uint64_t whole;
    switch (event_fields[field].kind) {
    case EVENT_KIND_STR:
        return json_string(value, &text) && pl_span_eq(text, event_str(event, field));
    case EVENT_KIND_U64:
        return json_u64(value, &whole) && whole == event_u64(event, field);
    default:
        return false;
    }
}

static bool take_member(struct snowplow_work *work, const struct kind *kind, struct pl_span name,
                        struct json value)
{
    const enum event_field field = snowplow_home(kind->homes, name);
    const bool person = field == EVENT_VISITOR_ID || field == EVENT_USER_ID;
    struct pl_span text;
    if (field == 0)
        return false;
    if (person && (work->anonymous || (json_string(value, &text) && pl_span_eq_str(text, NO_ONE))))
        return true;
    if (event_has(work->take.event, field))
        return is_said(work->take.event, field, value);
    if ((person || field == EVENT_VIEW_ID) && json_string(value, &text) &&
        text.len > LIMIT_ID_BYTES)
        return false;
    return take_value(&work->take, field, value);
}

static void take_members(struct snowplow_work *work, struct entity *entity)
{
    struct pl_span name;
    struct json value;
    struct json_iter members = json_members(entity->data);
    for (unsigned i = 0; json_next_member(&members, &name, &value); i++) {
        if (take_member(work, entity->kind, name, value))
            entity->taken |= UINT64_C(1) << i;
        else
            entity->left++;
    }
}

static enum pl_err look(struct snowplow_work *work, struct json array, struct entities *entities)
{
    struct json_iter each = json_elements(array);
    struct json element;
    entities->count = entities->products = entities->left = 0;
    while (json_next_element(&each, &element)) {
        if (entities->count == ENTITIES_MAX)
            return take_refuse(&work->take, PL_ELIMIT, PL_SPAN_LIT("co"),
                               "holds more than 256 entities");
        struct entity *entity = &entities->list[entities->count++];
        *entity = (struct entity){.whole = element, .left = 1};
        entity->kind = find(element, &entity->data);
        if (entity->kind != NULL && entity->kind->nature == PRODUCT)
            entities->products++;
    }
    return PL_OK;
}

static bool is_item(const struct entities *entities, const struct entity *entity)
{
    return entities->products > 0 && entity->kind != NULL && entity->kind->nature == PRODUCT;
}

static enum pl_err set_items(struct snowplow_work *work, const struct entities *entities)
{
    struct event_packer packer = {.out = work->take.scratch};
    struct json currency;
    const size_t from = packer.out->len;
    event_pack_array(&packer, entities->products);
    for (size_t i = 0; i < entities->count; i++) {
        if (!is_item(entities, &entities->list[i]))
            continue;
        snowplow_pack_item(&packer, entities->list[i].data);
        if (!event_has(work->take.event, EVENT_CURRENCY) &&
            json_get(entities->list[i].data, "currency", &currency))
            (void)take_value(&work->take, EVENT_CURRENCY, currency);
    }
    event_set_pack(work->take.event, EVENT_ITEMS,
                   pl_span(packer.out->data + from, packer.out->len - from));
    return packer.err;
}

static void pack_members(const struct entity *entity, struct event_packer *packer)
{
    struct pl_span name;
    struct json value;
    struct json_iter members = json_members(entity->data);
    event_pack_map(packer, entity->left);
    for (unsigned i = 0; json_next_member(&members, &name, &value); i++)
        if ((entity->taken >> i & 1) == 0)
            event_pack_json_member(packer, value);
}

static enum pl_err set_traits(struct snowplow_work *work, struct entity *entity)
{
    struct event_packer packer = {.out = work->take.scratch};
    const size_t from = packer.out->len;
    if (entity->left > 0 && !work->anonymous) {
        pack_members(entity, &packer);
        event_set_pack(work->take.event, EVENT_TRAITS,
                       pl_span(packer.out->data + from, packer.out->len - from));
    }
    entity->left = 0;
    return packer.err;
}

static enum pl_err take_all(struct snowplow_work *work, struct entities *entities)
{
    enum pl_err err = PL_OK;
    if (event_has(work->take.event, EVENT_ITEMS))
        entities->products = 0; /* the order's own count */
    for (size_t i = 0; err == PL_OK && i < entities->count; i++) {
        struct entity *entity = &entities->list[i];
        if (is_item(entities, entity)) {
            entity->left = 0;
        } else if (entity->kind != NULL && entity->kind->homes != NULL) {
            entity->left = 0;
            take_members(work, entity);
            if (entity->kind->nature == PERSON)
                err = set_traits(work, entity);
        }
        entities->left += entity->left > 0;
    }
    return err == PL_OK && entities->products > 0 ? set_items(work, entities) : err;
}

static void pack_entity(const struct entity *entity, struct event_packer *packer)
{
    struct json schema;
    if (entity->kind == NULL || entity->kind->homes == NULL) {
        event_pack_json(packer, entity->whole);
        return;
    }
    json_get(entity->whole, "schema", &schema);
    event_pack_map(packer, 2);
    event_pack_json_member(packer, schema);
    event_pack_str(packer, PL_SPAN_LIT("data"));
    pack_members(entity, packer);
}

static enum pl_err set_context(struct snowplow_work *work, const struct params *tracker,
                               const struct entities *entities)
{
    struct event_packer packer = {.out = work->take.scratch};
    const size_t from = packer.out->len;
    const size_t parameters = params_left(tracker);
    const size_t count = (size_t)(work->schema.len > 0) + (parameters > 0) + (entities->left > 0);
    if (count == 0)
        return PL_OK;
    event_pack_map(&packer, count);
    if (work->schema.len > 0) {
        event_pack_str(&packer, PL_SPAN_LIT("schema"));
        event_pack_str(&packer, work->schema);
    }
    if (parameters > 0) {
        event_pack_str(&packer, PL_SPAN_LIT("tracker"));
        event_pack_map(&packer, parameters);
        params_pack_left(tracker, &packer);
    }
    if (entities->left > 0) {
        event_pack_str(&packer, PL_SPAN_LIT("entities"));
        event_pack_array(&packer, entities->left);
        for (size_t i = 0; i < entities->count; i++)
            if (entities->list[i].left > 0)
                pack_entity(&entities->list[i], &packer);
    }
    event_set_pack(work->take.event, EVENT_CONTEXT,
                   pl_span(packer.out->data + from, packer.out->len - from));
    return packer.err;
}

enum pl_err snowplow_take_entities(struct snowplow_work *work, const struct params *tracker)
{
    struct entities entities;
    struct json root, array;
    bool found;
    entities.count = entities.left = 0;
    enum pl_err err = snowplow_nested(work, "co", "cx", &root, &found);
    if (err == PL_OK && found) {
        if (!json_get(root, "data", &array) || !json_is_array(array))
            return take_refuse(&work->take, PL_EINVAL, PL_SPAN_LIT("co"),
                               "or cx must be {\"schema\":…,\"data\":[…]}");
        err = look(work, array, &entities);
        if (err == PL_OK)
            err = take_all(work, &entities);
    }
    return err == PL_OK ? set_context(work, tracker, &entities) : err;
}
