#include "edge/dialects/snowplow.h"
#include "edge/dialects/snowplow_parts.h"

#define PAYLOAD_SCHEMA "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-"
#define PAYLOAD_NEWEST '4'

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

static enum pl_err make_event(struct snowplow_work *work, const struct dialect_sink *sink)
{
    struct pl_why *why = work->take.why;
    const enum pl_err err = snowplow_event(work);
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
    return err == PL_OK ? make_event(&work, sink) : err;
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

/* One request is for one account, however many apps of it speak. */
static enum pl_err check_app(struct snowplow_work *work, const struct dialect_sink *sink,
                             struct pl_span first, struct json element)
{
    const struct dialect_claim claim = claim_of(work->input, text_of(element, "aid"));
    if (claim.key.len == 0 || pl_span_eq(claim.key, first) ||
        (sink->is_claimed != NULL && sink->is_claimed(sink->ctx, &claim)))
        return PL_OK;
    return take_refuse(&work->take, PL_EINVAL, PL_SPAN_LIT("aid"),
                       "is not of the account that the request is for");
}

static enum pl_err decode_element(struct snowplow_work *work, const struct dialect_sink *sink,
                                  struct pl_span first, struct json element)
{
    pl_buf_reset(work->take.scratch);
    work->params.count = 0;
    enum pl_err err = check_app(work, sink, first, element);
    if (err == PL_OK)
        err = snowplow_collect(&work->take, element, &work->params);
    return err == PL_OK ? make_event(work, sink) : err;
}

/* The app of the first event that names one. */
static struct pl_span app_of(struct json data)
{
    struct json_iter elements = json_elements(data);
    struct pl_span app_id = {0};
    struct json element;
    while (app_id.len == 0 && json_next_element(&elements, &element))
        app_id = text_of(element, "aid");
    return app_id;
}

static enum pl_err decode_post(const struct dialect_input *input, const struct dialect_sink *sink,
                               struct dialect_outcome *outcome, struct pl_why *why)
{
    (void)outcome;
    struct snowplow_work work;
    struct json body, data, element;
    enum pl_err err = json_parse(input->json, input->body, &body, why);
    if (err == PL_OK)
        err = find_data(body, &data, why);
    if (err != PL_OK)
        return err;
    const struct dialect_claim claim = claim_of(input, app_of(data));
    if ((err = sink->claim(sink->ctx, &claim, why)) != PL_OK)
        return err;
    begin(&work, input, &claim, why);
    work.take.list = "data";
    struct json_iter elements = json_elements(data);
    for (; err == PL_OK && json_next_element(&elements, &element); work.take.index++) {
        err = decode_element(&work, sink, claim.key, element);
        if (err != PL_OK)
            err = dialect_pass_over(sink, err, why);
    }
    return err;
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
