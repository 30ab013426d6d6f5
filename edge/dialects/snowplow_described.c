#include "edge/dialects/snowplow_parts.h"
#include "proto/base/text.h"

#include <stdio.h>

#define SNOWPLOW  "com.snowplowanalytics.snowplow"
#define ECOMMERCE "com.snowplowanalytics.snowplow.ecommerce"

/* ---- JSON inside parameters */

bool snowplow_schema(struct pl_span schema, struct pl_span *vendor, struct pl_span *name)
{
    static const struct pl_span scheme = PL_SPAN_INIT("iglu:");
    struct pl_span part[2], rest;
    if (!pl_span_starts(schema, scheme))
        return false;
    rest = pl_span_from(schema, scheme.len);
    for (int i = 0; i < 2; i++) {
        const uint8_t *slash = rest.len == 0 ? NULL : memchr(rest.data, '/', rest.len);
        if (slash == NULL || slash == rest.data)
            return false;
        part[i] = pl_span(rest.data, (size_t)(slash - rest.data));
        rest = pl_span_from(rest, part[i].len + 1);
    }
    *vendor = part[0];
    *name = part[1];
    return true;
}

static enum pl_err parse(struct snowplow_work *work, const char *name, struct pl_span text,
                         struct json *root)
{
    struct pl_why why = {0};
    char what[160];
    const enum pl_err err = json_parse(work->input->json_nested, text, root, &why);
    if (err == PL_OK) {
        work->take.document = root->document;
        return PL_OK;
    }
    snprintf(what, sizeof(what), "holds JSON that cannot be read: %.120s", why.text);
    return take_refuse(&work->take, err, pl_span_str(name), what);
}

enum pl_err snowplow_nested(struct snowplow_work *work, const char *plain, const char *encoded,
                            struct json *root, bool *found)
{
    struct pl_buf *scratch = work->take.scratch;
    const size_t from = scratch->len;
    struct pl_span text;
    *found = params_take(&work->params, plain, &text);
    if (*found && params_peek(&work->params, encoded, &text))
        return take_refuse(&work->take, PL_EINVAL, pl_span_str(encoded),
                           "says the same as its form that is not encoded: only one may be there");
    if (*found)
        return parse(work, plain, text, root);
    if (!(*found = params_take(&work->params, encoded, &text)))
        return PL_OK;
    enum pl_err err = pl_base64_decode(text, scratch);
    if (err != PL_OK)
        return take_refuse(&work->take, err, pl_span_str(encoded),
                           err == PL_EINVAL ? "is not base64" : "is too long");
    /* The parser has a copy of its own. */
    err = parse(work, encoded, pl_span(scratch->data + from, scratch->len - from), root);
    scratch->len = from;
    return err;
}

enum event_field snowplow_home(const struct param_home *homes, struct pl_span name)
{
    for (; homes->name.len > 0; homes++)
        if (pl_span_eq(homes->name, name))
            return homes->field;
    return 0;
}

void snowplow_pack_item(struct event_packer *packer, struct json product)
{
    struct pl_span name;
    struct json value;
    struct json_iter members = json_members(product);
    event_pack_map(packer, json_count(product));
    while (json_next_member(&members, &name, &value)) {
        if (pl_span_eq_str(name, "id"))
            name = PL_SPAN_LIT("sku");
        else if (pl_span_eq_str(name, "unitPrice"))
            name = PL_SPAN_LIT("price");
        event_pack_str(packer, name);
        event_pack_json(packer, value);
    }
}

/* ---- self-describing events */

static const struct param_home link_homes[] = {
    {PL_SPAN_INIT("elementId"), EVENT_CLICK_TARGET},
    {PL_SPAN_INIT("targetUrl"), EVENT_CLICK_URL},
    {PL_SPAN_INIT("elementContent"), EVENT_CLICK_TEXT},
    {{0}, 0},
};
static const struct param_home button_homes[] = {
    {PL_SPAN_INIT("id"), EVENT_CLICK_TARGET},
    {PL_SPAN_INIT("label"), EVENT_CLICK_TEXT},
    {{0}, 0},
};
static const struct param_home search_homes[] = {
    {PL_SPAN_INIT("totalResults"), EVENT_SEARCH_RESULTS},
    {PL_SPAN_INIT("pageResults"), EVENT_SEARCH_RESULTS_FIRST_PAGE},
    {{0}, 0},
};
static const struct param_home error_homes[] = {
    {PL_SPAN_INIT("message"), EVENT_ERROR_MESSAGE},
    {PL_SPAN_INIT("fileName"), EVENT_ERROR_FILE},
    {PL_SPAN_INIT("lineNumber"), EVENT_ERROR_LINE},
    {{0}, 0},
};
static const struct param_home screen_homes[] = {
    {PL_SPAN_INIT("name"), EVENT_NAME},
    {PL_SPAN_INIT("id"), EVENT_VIEW_ID},
    {{0}, 0},
};
static const struct param_home no_homes[] = {{{0}, 0}};

/* What the members are besides: the one product of the event, the words looked for. */
enum trait { PLAIN, PRODUCT, SEARCHED, ACTION };

static const struct described {
    struct pl_span vendor, name;
    enum event_type type;
    const struct param_home *homes;
    enum trait trait;
} events[] = {
    {PL_SPAN_INIT(SNOWPLOW), PL_SPAN_INIT("link_click"), EVENT_CLICK, link_homes, PLAIN},
    {PL_SPAN_INIT(SNOWPLOW), PL_SPAN_INIT("button_click"), EVENT_CLICK, button_homes, PLAIN},
    {PL_SPAN_INIT(SNOWPLOW), PL_SPAN_INIT("add_to_cart"), EVENT_CART_ADD, no_homes, PRODUCT},
    {PL_SPAN_INIT(SNOWPLOW), PL_SPAN_INIT("remove_from_cart"), EVENT_CART_REMOVE, no_homes,
     PRODUCT},
    {PL_SPAN_INIT(SNOWPLOW), PL_SPAN_INIT("site_search"), EVENT_SEARCH, search_homes, SEARCHED},
    {PL_SPAN_INIT(SNOWPLOW), PL_SPAN_INIT("application_error"), EVENT_ERROR, error_homes, PLAIN},
    {PL_SPAN_INIT(SNOWPLOW), PL_SPAN_INIT("screen_view"), EVENT_PAGE_VIEW, screen_homes, PLAIN},
    {PL_SPAN_INIT("com.snowplowanalytics.mobile"), PL_SPAN_INIT("screen_view"), EVENT_PAGE_VIEW,
     screen_homes, PLAIN},
    {PL_SPAN_INIT(ECOMMERCE), PL_SPAN_INIT("snowplow_ecommerce_action"), EVENT_CUSTOM, no_homes,
     ACTION},
};

/* `type` of an e-commerce action; those that are not here are the site's own under that name. */
static const struct {
    struct pl_span action;
    enum event_type type;
    const char *response;
} actions[] = {
    {PL_SPAN_INIT("product_view"), EVENT_PRODUCT_VIEW, NULL},
    {PL_SPAN_INIT("list_view"), EVENT_IMPRESSIONS, NULL},
    {PL_SPAN_INIT("list_click"), EVENT_CLICK, NULL},
    {PL_SPAN_INIT("add_to_cart"), EVENT_CART_ADD, NULL},
    {PL_SPAN_INIT("remove_from_cart"), EVENT_CART_REMOVE, NULL},
    {PL_SPAN_INIT("checkout_step"), EVENT_CHECKOUT_STEP, NULL},
    {PL_SPAN_INIT("transaction"), EVENT_ORDER, NULL},
    {PL_SPAN_INIT("promo_view"), EVENT_OFFER_SHOWN, NULL},
    {PL_SPAN_INIT("promo_click"), EVENT_OFFER_RESPONSE, "click"},
};

static const struct described *find(struct pl_span vendor, struct pl_span name)
{
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
        if (pl_span_eq(events[i].name, name) && pl_span_eq(events[i].vendor, vendor))
            return &events[i];
    return NULL;
}

/* The document dies when the entities are parsed. */
static enum pl_err keep(struct snowplow_work *work, struct pl_span *text)
{
    struct pl_buf *scratch = work->take.scratch;
    const size_t from = scratch->len;
    const enum pl_err err = pl_buf_append_span(scratch, *text);
    *text = pl_span(scratch->data + from, text->len);
    return err;
}

static enum pl_err keep_field(struct snowplow_work *work, enum event_field field)
{
    struct pl_span text = event_str(work->take.event, field);
    const enum pl_err err = keep(work, &text);
    event_set_str(work->take.event, field, text);
    return err;
}

static bool take_terms(struct snowplow_work *work, struct json terms)
{
    struct pl_buf *scratch = work->take.scratch;
    const size_t from = scratch->len;
    struct json_iter each = json_elements(terms);
    struct json term;
    struct pl_span text;
    enum pl_err err = json_is_array(terms) ? PL_OK : PL_EINVAL;
    while (err == PL_OK && json_next_element(&each, &term)) {
        err = json_string(term, &text) ? PL_OK : PL_EINVAL;
        if (err == PL_OK && scratch->len > from)
            err = pl_buf_append_str(scratch, " ");
        if (err == PL_OK)
            err = pl_buf_append_span(scratch, text);
    }
    if (err == PL_OK)
        event_set_str(work->take.event, EVENT_SEARCH_TERM,
                      pl_span(scratch->data + from, scratch->len - from));
    else
        scratch->len = from;
    return err == PL_OK;
}

static bool take_action(struct snowplow_work *work, struct json type, enum pl_err *err)
{
    struct event *event = work->take.event;
    struct pl_span name;
    if (!json_string(type, &name) || name.len > LIMIT_NAME_BYTES)
        return false;
    for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
        if (!pl_span_eq(actions[i].action, name))
            continue;
        event_set_u64(event, EVENT_TYPE, actions[i].type);
        event_unset(event, EVENT_NAME);
        if (actions[i].response != NULL)
            event_set_str(event, EVENT_OFFER_RESPONSE_KIND, pl_span_str(actions[i].response));
        return true;
    }
    event_set_str(event, EVENT_NAME, name);
    *err = keep_field(work, EVENT_NAME);
    return true;
}

static bool take_member(struct snowplow_work *work, const struct described *event,
                        struct pl_span name, struct json value, enum pl_err *err)
{
    const enum event_field field = snowplow_home(event->homes, name);
    if (field == 0)
        return (event->trait == SEARCHED && pl_span_eq_str(name, "terms") &&
                take_terms(work, value)) ||
               (event->trait == ACTION && pl_span_eq_str(name, "type") &&
                take_action(work, value, err));
    if (!take_value(&work->take, field, value))
        return false;
    if (event_fields[field].kind == EVENT_KIND_STR)
        *err = keep_field(work, field);
    return true;
}

static enum pl_err take_product(struct snowplow_work *work, struct json data)
{
    struct event_packer packer = {.out = work->take.scratch};
    struct json currency;
    if (json_get(data, "currency", &currency) && take_value(&work->take, EVENT_CURRENCY, currency))
        packer.err = keep_field(work, EVENT_CURRENCY);
    const size_t from = packer.out->len;
    event_pack_array(&packer, 1);
    snowplow_pack_item(&packer, data);
    event_set_pack(work->take.event, EVENT_ITEMS,
                   pl_span(packer.out->data + from, packer.out->len - from));
    return packer.err;
}

static enum pl_err take_data(struct snowplow_work *work, const struct described *event,
                             struct json data)
{
    struct take_left left, none;
    struct pl_span name;
    struct json value;
    enum pl_err err = PL_OK;
    left.count = none.count = 0;
    if (event->trait == PRODUCT)
        return take_product(work, data);
    struct json_iter members = json_members(data);
    while (err == PL_OK && json_next_member(&members, &name, &value))
        if (!take_member(work, event, name, value, &err) && err == PL_OK)
            err = take_leave(&work->take, &left, name, value);
    return err == PL_OK ? take_set_props(&work->take, &left, &none) : err;
}

static bool find_event(struct json root, struct pl_span *schema, struct json *data)
{
    struct json event, value;
    return json_get(root, "data", &event) && json_get(event, "schema", &value) &&
           json_string(value, schema) && json_get(event, "data", data) && json_is_object(*data);
}

enum pl_err snowplow_take_described(struct snowplow_work *work)
{
    struct json root, data;
    struct pl_span vendor, name, schema;
    struct event *event = work->take.event;
    bool found;
    enum pl_err err = snowplow_nested(work, "ue_pr", "ue_px", &root, &found);
    if (err == PL_OK && !found)
        return take_refuse(&work->take, PL_EINVAL, PL_SPAN_LIT("ue_pr"),
                           "or ue_px is missing: it describes the event");
    if (err != PL_OK)
        return err;
    if (!find_event(root, &schema, &data) || !snowplow_schema(schema, &vendor, &name) ||
        name.len > LIMIT_NAME_BYTES)
        return take_refuse(&work->take, PL_EINVAL, PL_SPAN_LIT("ue_pr"),
                           "or ue_px must be {\"schema\":…,\"data\":{\"schema\":"
                           "\"iglu:VENDOR/NAME/jsonschema/VERSION\",\"data\":{…}}}");
    const struct described *described = find(vendor, name);
    if ((err = keep(work, &schema)) != PL_OK)
        return err;
    work->schema = schema;
    snowplow_schema(schema, &vendor, &name);
    event_set_str(event, EVENT_NAME, name);
    event_set_u64(event, EVENT_TYPE, described == NULL ? EVENT_CUSTOM : described->type);
    if (described != NULL)
        return take_data(work, described, data);
    return json_count(data) > 0 ? take_pack(&work->take, EVENT_PROPS, data) : PL_OK;
}
