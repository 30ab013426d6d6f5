#include "edge/dialects/snowplow.h"
#include "edge/dialects/snowplow_parts.h"

#define PAYLOAD_SCHEMA "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-"
#define PAYLOAD_NEWEST '4'
#define ELEMENT_ALONE  UINT16_MAX

/* An element of a batch, with what it takes to find an order's items. */
struct element {
    struct json at;
    enum { ELEMENT_EVENT, ELEMENT_ORDER, ELEMENT_ITEM } kind;
    struct pl_span order, entities;
    uint16_t owner; /* the order that an item goes with; ELEMENT_ALONE: none */
};

struct batch {
    size_t count;
    struct element list[LIMIT_BATCH_EVENTS];
};

/* The items of one order. */
struct joined {
    struct snowplow_items items;
    const struct take *take;
    const struct batch *batch;
    uint16_t at[LIMIT_BATCH_EVENTS];
};

static struct dialect_claim claim_of(const struct dialect_input *input, struct pl_span app_id)
{
    struct pl_span value;
    return (struct dialect_claim){
        .key = app_id,
        .key_is_hint = true,
        .anonymous = dialect_header(input, "sp-anonymous", &value),
    };
}

static void begin(struct snowplow_work *work, const struct dialect_input *input,
                  const struct dialect_claim *claim, struct pl_why *why)
{
    work->take = (struct take){.event = input->event, .scratch = input->scratch, .why = why};
    work->input = input;
    work->anonymous = claim->anonymous;
    work->params.count = 0;
}

static enum pl_err make_event(struct snowplow_work *work, const struct snowplow_items *items,
                              const struct dialect_sink *sink)
{
    struct pl_why *why = work->take.why;
    const enum pl_err err = snowplow_event(work, items);
    if (err == PL_OK)
        return sink->emit(sink->ctx, work->take.event, why);
    if (why != NULL && why->err != err)
        pl_fail(why, err, "the event holds too much to be kept");
    return err;
}

/* ---- one event, as an image's query */

static enum pl_err decode_image(const struct dialect_input *input, const struct dialect_sink *sink,
                                struct dialect_outcome *outcome, struct pl_why *why)
{
    (void)outcome;
    struct snowplow_work work;
    struct pl_span app_id = {0};
    struct dialect_claim claim = claim_of(input, app_id);
    begin(&work, input, &claim, why);
    enum pl_err err = params_parse(&work.params, input->query, input->scratch, why);
    if (err != PL_OK)
        return err;
    params_peek(&work.params, "aid", &claim.key);
    err = sink->claim(sink->ctx, &claim, why);
    return err == PL_OK ? make_event(&work, NULL, sink) : err;
}

/* ---- a batch */

static struct pl_span text_of(struct json object, const char *name)
{
    struct json value;
    struct pl_span text = {0};
    if (json_get(object, name, &value))
        (void)json_string(value, &text);
    return text;
}

static enum pl_err find_data(struct json body, struct json *data, struct pl_why *why)
{
    static const struct pl_span payload = PL_SPAN_INIT(PAYLOAD_SCHEMA);
    const struct pl_span schema = text_of(body, "schema");
    if (schema.len != payload.len + 1 || !pl_span_starts(schema, payload) ||
        schema.data[payload.len] < '0' || schema.data[payload.len] > PAYLOAD_NEWEST)
        return pl_fail_field(why, PL_EINVAL, "schema",
                             "schema must be \"" PAYLOAD_SCHEMA "0\" to \"" PAYLOAD_SCHEMA "%c\"",
                             PAYLOAD_NEWEST);
    if (!json_get(body, "data", data) || !json_is_array(*data) || json_count(*data) == 0)
        return pl_fail_field(why, PL_EINVAL, "data", "data must be an array of events");
    if (json_count(*data) > LIMIT_BATCH_EVENTS)
        return pl_fail_field(why, PL_ELIMIT, "data", "data holds more than %d events",
                             LIMIT_BATCH_EVENTS);
    return PL_OK;
}

static void look(struct element *element, struct json at)
{
    const struct pl_span kind = text_of(at, "e");
    *element = (struct element){.at = at, .owner = ELEMENT_ALONE};
    if (pl_span_eq_str(kind, "tr"))
        element->kind = ELEMENT_ORDER;
    else if (pl_span_eq_str(kind, "ti"))
        element->kind = ELEMENT_ITEM;
    if (element->kind == ELEMENT_EVENT)
        return;
    element->order = text_of(at, element->kind == ELEMENT_ORDER ? "tr_id" : "ti_id");
    element->entities = text_of(at, "cx");
    if (element->entities.len == 0)
        element->entities = text_of(at, "co");
}

/* What an item's event says differently from its order's goes into the item; entities would not
 * fit there, so that one with others than the order's stays an event. */
static void join(struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        const struct element *order = &batch->list[i];
        if (order->kind != ELEMENT_ORDER || order->order.len == 0)
            continue;
        for (size_t j = 0; j < batch->count; j++) {
            struct element *item = &batch->list[j];
            if (item->kind == ELEMENT_ITEM && item->owner == ELEMENT_ALONE &&
                pl_span_eq(item->order, order->order) &&
                pl_span_eq(item->entities, order->entities))
                item->owner = (uint16_t)i;
        }
    }
}

static void find_items(size_t order, struct joined *joined)
{
    joined->items.count = 0;
    if (joined->batch->list[order].kind != ELEMENT_ORDER)
        return;
    for (size_t i = 0; i < joined->batch->count; i++)
        if (joined->batch->list[i].owner == order)
            joined->at[joined->items.count++] = (uint16_t)i;
}

static enum pl_err get_item(const struct snowplow_items *items, size_t index,
                            struct pl_buf *numbers, struct params *params)
{
    const struct joined *joined = (const struct joined *)items;
    struct take take = *joined->take;
    take.index = joined->at[index];
    take.scratch = numbers;
    params->count = 0;
    return snowplow_collect(&take, joined->batch->list[take.index].at, params);
}

/* One request is for one account, however many apps of it speak. */
static enum pl_err check_app(struct snowplow_work *work, const struct dialect_sink *sink,
                             struct pl_span first, struct json element)
{
    const struct dialect_claim claim = claim_of(work->input, text_of(element, "aid"));
    if (claim.key.len == 0 || pl_span_eq(claim.key, first) ||
        (sink->is_claimed != NULL && sink->is_claimed(sink->ctx, &claim)))
        return PL_OK;
    return take_refuse(&work->take, PL_EINVAL, PL_SPAN_LIT("aid"),
                       "is not of the account that the first event is for");
}

static enum pl_err decode_elements(struct snowplow_work *work, const struct dialect_sink *sink,
                                   struct pl_span first, struct batch *batch)
{
    struct joined joined = {.items.get = get_item, .take = &work->take, .batch = batch};
    enum pl_err err = PL_OK;
    join(batch);
    for (size_t i = 0; err == PL_OK && i < batch->count; i++) {
        const struct element *element = &batch->list[i];
        work->take.index = i;
        if (element->owner != ELEMENT_ALONE)
            continue;
        pl_buf_reset(work->take.scratch);
        work->params.count = 0;
        find_items(i, &joined);
        err = check_app(work, sink, first, element->at);
        if (err == PL_OK)
            err = snowplow_collect(&work->take, element->at, &work->params);
        if (err == PL_OK)
            err = make_event(work, &joined.items, sink);
    }
    return err;
}

static enum pl_err decode_post(const struct dialect_input *input, const struct dialect_sink *sink,
                               struct dialect_outcome *outcome, struct pl_why *why)
{
    (void)outcome;
    struct snowplow_work work;
    struct batch batch;
    struct json body, data, element;
    enum pl_err err = json_parse(input->json, input->body, &body, why);
    if (err == PL_OK)
        err = find_data(body, &data, why);
    if (err != PL_OK)
        return err;
    struct json_iter elements = json_elements(data);
    for (batch.count = 0; json_next_element(&elements, &element); batch.count++)
        look(&batch.list[batch.count], element);
    const struct dialect_claim claim = claim_of(input, text_of(batch.list[0].at, "aid"));
    if ((err = sink->claim(sink->ctx, &claim, why)) != PL_OK)
        return err;
    begin(&work, input, &claim, why);
    work.take.list = "data";
    return decode_elements(&work, sink, claim.key, &batch);
}

static const struct dialect_route routes[] = {
    {.methods = DIALECT_POST,
     .path = SNOWPLOW_POST_PATH,
     .decode = decode_post,
     .reply = &dialect_reply_text},
    {.methods = DIALECT_GET, .path = "/i", .decode = decode_image, .reply = &dialect_reply_gif},
    {.methods = DIALECT_GET,
     .path = "/ice.png",
     .decode = decode_image,
     .reply = &dialect_reply_gif},
};

const struct dialect dialect_snowplow = {
    .name = "snowplow",
    .id = EVENT_DIALECT_SNOWPLOW,
    .routes = routes,
    .route_count = sizeof(routes) / sizeof(routes[0]),
};
