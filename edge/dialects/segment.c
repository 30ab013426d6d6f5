#include "edge/dialects/segment.h"
#include "edge/dialects/segment_message.h"
#include "proto/base/text.h"

#include <stdio.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

/* Basic auth carries the write key as the user name, with no password. */
static bool key_from_basic(const struct dialect_input *input, struct pl_buf *decoded,
                           struct pl_span *key)
{
    struct pl_span rest = input->authorization;
    if (rest.len < 6 || !pl_span_eq_nocase(pl_span(rest.data, 6), PL_SPAN_LIT("basic "))) {
        return false;
    }
    if (pl_base64_decode(pl_span_from(rest, 6), decoded) != PL_OK) {
        return false;
    }
    const uint8_t *colon = decoded->len > 0 ? memchr(decoded->data, ':', decoded->len) : NULL;
    *key = pl_span(decoded->data, colon == NULL ? decoded->len : (size_t)(colon - decoded->data));
    return key->len > 0;
}

static enum pl_err claim(const struct dialect_input *input, struct json body,
                         const struct dialect_sink *sink, struct pl_why *why)
{
    uint8_t room[256];
    struct pl_buf decoded = {.data = room, .cap = sizeof(room), .max_bytes = sizeof(room)};
    struct json value;
    struct dialect_claim who = {.opted_out = false};
    if (!key_from_basic(input, &decoded, &who.key) &&
        !(json_get(body, "writeKey", &value) && json_string(value, &who.key)) &&
        !pl_form_find(input->query, "writeKey", &who.key)) {
        pl_form_find(input->query, "write_key", &who.key);
    }
    return sink->claim(sink->ctx, &who, why);
}

static enum pl_err decode_single(const struct dialect_input *input, struct pl_span text,
                                 enum segment_type type, const struct dialect_sink *sink,
                                 struct pl_why *why)
{
    struct json body;
    struct segment_message m = {.input = input, .type = type};
    enum pl_err err = json_parse(input->json, text, &body, why);
    if (err == PL_OK) {
        err = claim(input, body, sink, why);
    }
    return err == PL_OK ? segment_message_decode(&m, body, sink, why) : err;
}

/* What a batch says besides its messages. */
struct batch {
    struct json list, context;
    bool has_list, has_context;
    struct take_left rest;
};

/* Each is looked for among the members of every message's own context. */
#define SHARED_MEMBERS_MAX 64

/* What a batch says besides its messages is kept with each of them, so what no event can hold is
 * refused here, once, and not with every message. */
static enum pl_err check_shared(const struct segment_message *m, const struct take *take)
{
    struct event_packer packer = {.out = take->scratch};
    pl_buf_reset(packer.out);
    if (m->context != NULL && json_count(*m->context) > SHARED_MEMBERS_MAX)
        return take_refuse(take, PL_ELIMIT, PL_SPAN_LIT("context"),
                           "has more than 64 members, and for all messages");
    if (m->context != NULL)
        event_pack_json(&packer, *m->context);
    if (packer.err != PL_OK || packer.out->len > LIMIT_EVENT_BYTES)
        return take_refuse(take, PL_ELIMIT, PL_SPAN_LIT("context"),
                           "is larger than an event of 32768 bytes, and for all messages");
    if (m->rest != NULL)
        take_pack_left(take, m->rest, &packer);
    if (packer.err != PL_OK || packer.out->len > LIMIT_EVENT_BYTES)
        return take_refuse(take, PL_ELIMIT, PL_SPAN_LIT("batch"),
                           "comes with more than the 32768 bytes that each message may take");
    return PL_OK;
}

static enum pl_err read_batch(struct json body, struct batch *batch, struct segment_message *m,
                              struct pl_why *why)
{
    const struct take take = {.document = body.document, .scratch = m->input->scratch, .why = why};
    struct json_iter members = json_members(body);
    struct pl_span name;
    struct json value;
    enum pl_err err = PL_OK;
    batch->has_list = batch->has_context = false;
    batch->rest.count = 0;
    while (err == PL_OK && json_next_member(&members, &name, &value)) {
        if (pl_span_eq_str(name, "batch")) {
            batch->list = value;
            batch->has_list = json_is_array(value);
        } else if (json_is_null(value) || pl_span_eq_str(name, "writeKey")) {
            continue;
        } else if (pl_span_eq_str(name, "context")) {
            batch->context = value;
            batch->has_context = true;
            if (!json_is_object(value))
                return take_refuse(&take, PL_EINVAL, name, "must be an object");
        } else if (pl_span_eq_str(name, "sentAt") && segment_time(value, &m->sent_ms)) {
            m->has_sent = true;
        } else {
            err = take_leave(&take, &batch->rest, name, value);
        }
    }
    m->context = batch->has_context ? &batch->context : NULL;
    m->rest = batch->rest.count > 0 ? &batch->rest : NULL;
    return err == PL_OK ? check_shared(m, &take) : err;
}

static enum pl_err decode_batch(const struct dialect_input *input, const struct dialect_sink *sink,
                                struct dialect_outcome *outcome, struct pl_why *why)
{
    (void)outcome;
    struct json body, item;
    struct batch batch;
    struct segment_message m = {.input = input, .in_batch = true};
    enum pl_err err = json_parse(input->json, input->body, &body, why);
    if (err != PL_OK || (err = claim(input, body, sink, why)) != PL_OK ||
        (err = read_batch(body, &batch, &m, why)) != PL_OK) {
        return err;
    }
    if (!batch.has_list) {
        return pl_fail_field(why, PL_EINVAL, "batch", "batch must be an array of messages");
    }
    if (json_count(batch.list) > LIMIT_BATCH_EVENTS) {
        return pl_fail_field(why, PL_ELIMIT, "batch", "batch holds more than %d messages",
                             LIMIT_BATCH_EVENTS);
    }
    struct json_iter items = json_elements(batch.list);
    for (; err == PL_OK && json_next_element(&items, &item); m.index++) {
        err = segment_message_decode(&m, item, sink, why);
        if (err != PL_OK)
            err = dialect_pass_over(sink, err, why);
    }
    return err;
}

#define SINGLE(function, type)                                                                     \
    static enum pl_err function(const struct dialect_input *input,                                 \
                                const struct dialect_sink *sink, struct dialect_outcome *outcome,  \
                                struct pl_why *why)                                                \
    {                                                                                              \
        (void)outcome;                                                                             \
        return decode_single(input, input->body, type, sink, why);                                 \
    }
SINGLE(decode_track, SEGMENT_TRACK)
SINGLE(decode_page, SEGMENT_PAGE)
SINGLE(decode_identify, SEGMENT_IDENTIFY)
SINGLE(decode_group, SEGMENT_GROUP)
SINGLE(decode_alias, SEGMENT_ALIAS)

/* GET /v1/pixel/TYPE?data=BASE64 of the JSON that a POST would carry. */
static enum pl_err decode_pixel(const struct dialect_input *input, const struct dialect_sink *sink,
                                struct dialect_outcome *outcome, struct pl_why *why)
{
    (void)outcome;
    enum segment_type type;
    struct pl_span data;
    struct pl_buf *scratch = input->scratch;
    if (!segment_type_parse(input->tail, &type)) {
        return pl_fail(why, PL_EINVAL,
                       "the path must end in track, page, screen, identify, group or alias");
    }
    if (!pl_form_find(input->query, "data", &data)) {
        return pl_fail_field(why, PL_EINVAL, "data", "data is missing: base64 of the JSON message");
    }
    if (pl_form_decode(data, scratch) != PL_OK) {
        return pl_fail_field(why, PL_EINVAL, "data", "data holds a bad %%-escape");
    }
    /* A '+' of the base64 alphabet that was not escaped came through as a space. */
    for (size_t i = 0; i < scratch->len; i++) {
        if (scratch->data[i] == ' ') {
            scratch->data[i] = '+';
        }
    }
    size_t from = scratch->len;
    if (pl_base64_decode(pl_span(scratch->data, from), scratch) != PL_OK) {
        return pl_fail_field(why, PL_EINVAL, "data", "data is not base64");
    }
    return decode_single(input, pl_span(scratch->data + from, scratch->len - from), type, sink,
                         why);
}

#define POST(path_, decode_)                                                                       \
    {                                                                                              \
        .methods = DIALECT_POST, .path = (path_), .decode = (decode_),                             \
        .reply = &dialect_reply_json, .max_body_bytes = LIMIT_EVENT_BYTES                          \
    }
static const struct dialect_route routes[] = {
    POST("/v1/track", decode_track),
    POST("/v1/t", decode_track),
    POST("/v1/page", decode_page),
    POST("/v1/p", decode_page),
    POST("/v1/identify", decode_identify),
    POST("/v1/i", decode_identify),
    POST("/v1/group", decode_group),
    POST("/v1/g", decode_group),
    POST("/v1/alias", decode_alias),
    POST("/v1/a", decode_alias),
    {.methods = DIALECT_POST,
     .path = "/v1/batch",
     .decode = decode_batch,
     .reply = &dialect_reply_json},
    {.methods = DIALECT_POST,
     .path = "/v1/b",
     .decode = decode_batch,
     .reply = &dialect_reply_json},
    {.methods = DIALECT_GET,
     .path = "/v1/pixel/*",
     .decode = decode_pixel,
     .reply = &dialect_reply_gif},
};

const struct dialect dialect_segment = {
    .name = "segment",
    .id = EVENT_DIALECT_SEGMENT,
    .routes = routes,
    .route_count = COUNT(routes),
};
