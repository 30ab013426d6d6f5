#include "edge/dialects/crossengage.h"
#include "edge/dialects/crossengage_names.h"
#include "edge/dialects/take.h"
#include "proto/base/clock.h"

#include <inttypes.h>
#include <stdio.h>

#define EVENTS_MAX   50
#define TOKEN_HEADER "X-XNG-AuthToken"

/* What a request's body says of all its events. */
struct sender {
    struct dialect_outcome *outcome;
    struct pl_why *why;
    struct pl_span id, email; /* empty: not sent */
    char digits[24];          /* of an id that came as a number */
    struct json events;
    struct take take;      /* of the event at hand */
    struct take_left left; /* members of the body without a meaning here */
};

/* One event of it. */
struct call {
    struct sender *sender;
    struct take *take;
    uint32_t event, properties, traits; /* in the document; 0: not there */
    struct take_left left;
    const struct crossengage_kind *kind; /* NULL: the site's own */
};

/* ---- refusing */

/* type is that API's word for what is wrong. */
static enum pl_err refuse(struct sender *sender, const char *type, const char *field,
                          const char *text)
{
    sender->outcome->name = type;
    return pl_fail_field(sender->why, PL_EINVAL, field, "%s %s", field, text);
}

static enum pl_err refuse_event(struct call *call, const char *type, const char *member,
                                const char *text)
{
    call->sender->outcome->name = type;
    return take_refuse(call->take, PL_EINVAL, pl_span_str(member), text);
}

static const char *type_of(const char *outcome)
{
    return strcmp(outcome, "MALFORMED") == 0 ? "WRONG_FORMAT" : outcome;
}

static void write_error(const struct pl_why *why, const char *outcome, struct json_writer *writer,
                        struct pl_buf *out)
{
    const size_t start = out->len;
    json_writer_begin(writer, out);
    json_write_object(writer);
    json_write_key(writer, "field");
    if (why->field[0] != '\0')
        json_write_text(writer, why->field);
    else
        json_write_null(writer);
    json_write_pair_text(writer, "type", type_of(outcome));
    json_write_pair_text(writer, "message", why->text);
    json_write_object_end(writer);
    /* What a client sent may stand in both, and a cut may split a character of it. */
    if (json_writer_end(writer) != PL_OK) {
        out->len = start;
        (void)pl_buf_appendf(out, "{\"field\":null,\"type\":\"%s\"}", type_of(outcome));
    }
}

/* ---- the body */

enum { BODY_ID = 1, BODY_EMAIL, BODY_EVENTS };
static const struct name body_names[NAME_SLOTS] = {
    NAME('d', 'd', "id", BODY_ID),
    NAME('m', 'l', "email", BODY_EMAIL),
    NAME('v', 's', "events", BODY_EVENTS),
};

static enum pl_err take_id(struct sender *sender, struct json value)
{
    int64_t number;
    if (json_i64(value, &number)) {
        const int len = snprintf(sender->digits, sizeof(sender->digits), "%" PRId64, number);
        sender->id = pl_span(sender->digits, (size_t)len);
    } else if (!json_string(value, &sender->id)) {
        return refuse(sender, "WRONG_FORMAT", "id", "must be text");
    }
    return sender->id.len <= LIMIT_ID_BYTES
               ? PL_OK
               : refuse(sender, "TOO_LONG", "id", "is longer than 256 bytes");
}

static enum pl_err take_email(struct sender *sender, struct json value)
{
    const struct pl_span *email = &sender->email;
    if (!json_string(value, &sender->email) ||
        (email->len > 0 && memchr(email->data, '@', email->len) == NULL))
        return refuse(sender, "WRONG_FORMAT", "email", "must be an e-mail address");
    return email->len <= LIMIT_ID_BYTES
               ? PL_OK
               : refuse(sender, "TOO_LONG", "email", "is longer than 256 bytes");
}

static enum pl_err take_body_member(struct sender *sender, struct pl_span name, struct json value)
{
    if (json_is_null(value))
        return PL_OK; /* nothing was said */
    switch (name_find(body_names, name)) {
    case BODY_ID:
        return take_id(sender, value);
    case BODY_EMAIL:
        return take_email(sender, value);
    case BODY_EVENTS:
        sender->events = value;
        return PL_OK;
    default:
        return take_leave(&sender->take, &sender->left, name, value);
    }
}

static enum pl_err take_body(struct sender *sender, struct json body)
{
    struct json_iter members = json_members(body);
    struct pl_span name;
    struct json value;
    enum pl_err err = PL_OK;
    if (!json_is_object(body))
        return pl_fail(sender->why, PL_EINVAL, "the body must be a JSON object");
    while (err == PL_OK && json_next_member(&members, &name, &value))
        err = take_body_member(sender, name, value);
    if (err != PL_OK)
        return err;
    if (sender->id.len == 0 && sender->email.len == 0)
        return refuse(sender, "NOT_NULL", "id",
                      "is missing, and so is email: one of them says whose events these are");
    if (sender->events.document == NULL)
        return refuse(sender, "NOT_NULL", "events", "is missing");
    if (!json_is_array(sender->events))
        return refuse(sender, "WRONG_FORMAT", "events", "must be a list");
    if (json_count(sender->events) == 0)
        return refuse(sender, "NOT_NULL", "events", "must hold at least one event");
    if (json_count(sender->events) > EVENTS_MAX)
        return refuse(sender, "TOO_MANY", "events", "holds more than 50 events");
    return PL_OK;
}

/* ---- one event's members */

enum { CALL_EVENT = EVENT_FIELD_LIMIT, CALL_PROPERTIES, CALL_TRAITS };
static const struct name call_names[NAME_SLOTS] = {
    NAME('v', 't', "event", CALL_EVENT),          NAME('r', 's', "properties", CALL_PROPERTIES),
    NAME('r', 's', "traits", CALL_TRAITS),        NAME('i', 'p', "timestamp", EVENT_CLIENT_MS),
    NAME('r', 't', "createdAt", EVENT_CLIENT_MS), NAME('e', 'd', "messageId", EVENT_MESSAGE_ID),
    NAME('v', 'd', "eventId", EVENT_MESSAGE_ID),
};

static enum pl_err take_message_id(struct call *call, struct pl_span name, struct json value)
{
    struct pl_span text;
    if (event_has(call->take->event, EVENT_MESSAGE_ID) || !json_string(value, &text))
        return take_leave(call->take, &call->left, name, value);
    if (text.len > LIMIT_ID_BYTES) {
        call->sender->outcome->name = "TOO_LONG";
        return take_refuse(call->take, PL_EINVAL, name, "is longer than 256 bytes");
    }
    if (text.len > 0)
        event_set_json(call->take->event, EVENT_MESSAGE_ID, value);
    return PL_OK;
}

static enum pl_err take_time(struct call *call, struct pl_span name, struct json value)
{
    struct pl_span text;
    int64_t ms;
    if (event_has(call->take->event, EVENT_CLIENT_MS) || !json_string(value, &text) ||
        !pl_time_parse(text, &ms))
        return take_leave(call->take, &call->left, name, value);
    event_set_i64(call->take->event, EVENT_CLIENT_MS, ms);
    return PL_OK;
}

static enum pl_err take_member(struct call *call, struct pl_span name, struct json value)
{
    if (json_is_null(value))
        return PL_OK;
    switch (name_find(call_names, name)) {
    case EVENT_MESSAGE_ID:
        return take_message_id(call, name, value);
    case EVENT_CLIENT_MS:
        return take_time(call, name, value);
    case CALL_EVENT:
        call->event = (uint32_t)value.index;
        return PL_OK;
    case CALL_PROPERTIES:
        call->properties = (uint32_t)value.index;
        return json_is_object(value)
                   ? PL_OK
                   : refuse_event(call, "WRONG_FORMAT", "properties", "must be an object");
    case CALL_TRAITS:
        call->traits = (uint32_t)value.index;
        return json_is_object(value)
                   ? PL_OK
                   : refuse_event(call, "WRONG_FORMAT", "traits", "must be an object");
    default:
        return take_leave(call->take, &call->left, name, value);
    }
}

static enum pl_err take_name(struct call *call)
{
    const struct json value = take_at(call->take, call->event);
    struct pl_span text;
    if (call->event == 0)
        return refuse_event(call, "NOT_NULL", "event", "is missing");
    if (!json_string(value, &text))
        return refuse_event(call, "WRONG_FORMAT", "event", "must be text");
    if (text.len == 0)
        return refuse_event(call, "NOT_NULL", "event", "is empty");
    if (text.len > LIMIT_NAME_BYTES)
        return refuse_event(call, "TOO_LONG", "event", "is longer than 512 bytes");
    event_set_json(call->take->event, EVENT_NAME, value);
    call->kind = crossengage_kind_find(text);
    event_set_u64(call->take->event, EVENT_TYPE,
                  call->kind == NULL ? EVENT_CUSTOM : call->kind->type);
    return PL_OK;
}

/* ---- properties */

/* What an event's properties come apart into. */
struct parts {
    struct take_left left, product, cart;
    uint32_t whole_cart; /* 0: none */
};

/* What is said twice keeps its first home. */
static enum pl_err take_home(struct call *call, unsigned field, struct take_left *left,
                             struct pl_span name, struct json value)
{
    enum pl_err err = PL_OK;
    const bool free = field != 0 && !event_has(call->take->event, field);
    if (free && field == EVENT_ITEMS ? take_items(call->take, value, &err)
                                     : free && take_value(call->take, field, value))
        return err;
    return take_leave(call->take, left, name, value);
}

static enum pl_err take_property(struct call *call, struct parts *parts, struct pl_span name,
                                 struct json value)
{
    const unsigned field = name_find(call->kind->homes, name);
    if (field == CROSSENGAGE_CART && json_is_object(value)) {
        parts->whole_cart = (uint32_t)value.index;
        return PL_OK;
    }
    if (call->kind->one_product && (take_is_of_product(name) || pl_span_eq_str(name, "id")))
        return take_leave(call->take, &parts->product, name, value);
    return take_home(call, field == CROSSENGAGE_CART ? 0 : field, &parts->left, name, value);
}

/* The cart as it stands afterwards. Of an event about one product it is not the list of items. */
static enum pl_err take_cart(struct call *call, struct parts *parts)
{
    static const struct name names[NAME_SLOTS] = {
        NAME('o', 'l', "total", EVENT_TOTAL),
        NAME('u', 'y', "currency", EVENT_CURRENCY),
        NAME('r', 's', "products", EVENT_ITEMS),
    };
    struct json_iter members = json_members(take_at(call->take, parts->whole_cart));
    struct pl_span name;
    struct json value;
    enum pl_err err = PL_OK;
    while (err == PL_OK && json_next_member(&members, &name, &value)) {
        const unsigned field = name_find(names, name);
        err = take_home(call, field == EVENT_ITEMS && call->kind->one_product ? 0 : field,
                        &parts->cart, name, value);
    }
    return err;
}

static enum pl_err set_props(struct call *call, const struct parts *parts)
{
    struct pl_buf *scratch = call->take->scratch;
    struct event_packer packer = {.out = scratch};
    const size_t from = scratch->len;
    const size_t members =
        parts->left.count + parts->product.count + (parts->cart.count > 0 ? 1 : 0);
    if (members == 0)
        return PL_OK;
    event_pack_map(&packer, members);
    take_pack_left(call->take, &parts->left, &packer);
    take_pack_left(call->take, &parts->product, &packer);
    if (parts->cart.count > 0) {
        event_pack_str(&packer, PL_SPAN_LIT("cart"));
        event_pack_map(&packer, parts->cart.count);
        take_pack_left(call->take, &parts->cart, &packer);
    }
    event_set_pack(call->take->event, EVENT_PROPS,
                   pl_span(scratch->data + from, scratch->len - from));
    return packer.err;
}

static enum pl_err take_properties(struct call *call)
{
    struct parts parts;
    const struct json properties = take_at(call->take, call->properties);
    struct json_iter members = json_members(properties);
    struct pl_span name;
    struct json value;
    enum pl_err err = PL_OK;
    if (call->properties == 0 || json_count(properties) == 0)
        return PL_OK;
    if (call->kind == NULL || call->kind->homes == NULL)
        return take_pack(call->take, EVENT_PROPS, properties);
    parts.left.count = parts.product.count = parts.cart.count = parts.whole_cart = 0;
    while (err == PL_OK && json_next_member(&members, &name, &value))
        err = take_property(call, &parts, name, value);
    if (err == PL_OK && parts.whole_cart != 0)
        err = take_cart(call, &parts);
    /* A list that came along says it all. */
    if (err == PL_OK && parts.product.count > 0 && !event_has(call->take->event, EVENT_ITEMS)) {
        err = take_item(call->take, &parts.product);
        parts.product.count = 0;
    }
    return err == PL_OK ? set_props(call, &parts) : err;
}

/* ---- who it is */

static enum pl_err pack_traits(struct call *call, struct pl_span email)
{
    struct pl_buf *scratch = call->take->scratch;
    struct event_packer packer = {.out = scratch};
    const size_t from = scratch->len;
    const struct json traits = take_at(call->take, call->traits);
    struct json_iter members;
    struct pl_span name;
    struct json value;
    event_pack_map(&packer, 1 + (call->traits == 0 ? 0 : json_count(traits)));
    event_pack_str(&packer, PL_SPAN_LIT("email"));
    event_pack_str(&packer, email);
    if (call->traits != 0)
        for (members = json_members(traits); json_next_member(&members, &name, &value);)
            event_pack_json_member(&packer, value);
    event_set_pack(call->take->event, EVENT_TRAITS,
                   pl_span(scratch->data + from, scratch->len - from));
    return packer.err;
}

/* The event's own traits, or an identify's properties; with the sender's address, which masking
 * turns into its hash, unless it stands there already. */
static enum pl_err take_traits(struct call *call)
{
    const struct sender *sender = call->sender;
    const bool about_person = call->kind != NULL && call->kind->homes == NULL;
    const bool beside_id = sender->id.len > 0 && sender->email.len > 0;
    struct json email;
    if (about_person && call->traits == 0) {
        call->traits = call->properties;
        call->properties = 0;
    }
    const struct json traits = take_at(call->take, call->traits);
    if (beside_id && (call->traits == 0 || !json_get(traits, "email", &email)))
        return pack_traits(call, sender->email);
    if (call->traits == 0 || json_count(traits) == 0)
        return PL_OK;
    return take_pack(call->take, EVENT_TRAITS, traits);
}

static enum pl_err set_context(struct call *call)
{
    const struct take_left *lefts[] = {&call->sender->left, &call->left};
    static const struct pl_span names[] = {PL_SPAN_INIT("request"), PL_SPAN_INIT("message")};
    struct pl_buf *scratch = call->take->scratch;
    struct event_packer packer = {.out = scratch};
    const size_t from = scratch->len;
    const size_t members = (lefts[0]->count > 0 ? 1u : 0) + (lefts[1]->count > 0 ? 1u : 0);
    if (members == 0)
        return PL_OK;
    event_pack_map(&packer, members);
    for (size_t i = 0; i < 2; i++) {
        if (lefts[i]->count == 0)
            continue;
        event_pack_str(&packer, names[i]);
        event_pack_map(&packer, lefts[i]->count);
        take_pack_left(call->take, lefts[i], &packer);
    }
    event_set_pack(call->take->event, EVENT_CONTEXT,
                   pl_span(scratch->data + from, scratch->len - from));
    return packer.err;
}

static enum pl_err take_event(struct sender *sender, struct json item)
{
    struct call call;
    struct pl_span name;
    struct json value;
    enum pl_err err = PL_OK;
    struct json_iter members = json_members(item);
    call.sender = sender;
    call.take = &sender->take;
    call.event = call.properties = call.traits = 0;
    call.left.count = 0;
    pl_buf_reset(call.take->scratch);
    event_clear(call.take->event);
    if (!json_is_object(item))
        return refuse_event(&call, "WRONG_FORMAT", "event", "must stand in an object");
    while (err == PL_OK && json_next_member(&members, &name, &value))
        err = take_member(&call, name, value);
    if (err == PL_OK)
        err = take_name(&call);
    if (err != PL_OK)
        return err;
    event_set_str(call.take->event, EVENT_USER_ID, sender->id.len > 0 ? sender->id : sender->email);
    if ((err = take_traits(&call)) == PL_OK && (err = take_properties(&call)) == PL_OK)
        err = set_context(&call);
    return err;
}

/* ---- the request */

static enum pl_err claim(const struct dialect_input *input, const struct dialect_sink *sink,
                         struct dialect_outcome *outcome, struct pl_why *why)
{
    struct dialect_claim who = {.anonymous =
                                    true}; /* servers call; who it is they say themselves */
    (void)dialect_header(input, "x-xng-authtoken", &who.key);
    enum pl_err err = sink->claim(sink->ctx, &who, why);
    if (err == PL_ENOTFOUND) {
        outcome->name = who.key.len == 0 ? "NOT_NULL" : "UNKNOWN_VALUE";
        pl_fail_field(why, err, TOKEN_HEADER,
                      who.key.len == 0 ? "the header " TOKEN_HEADER
                                         " is missing: it carries the account's write key or alias"
                                       : "the header " TOKEN_HEADER
                                         " holds no account's write key or alias");
    }
    return err;
}

/* *why: what the sink says of it. */
static enum pl_err take_events(struct sender *sender, const struct dialect_sink *sink,
                               struct pl_why *why)
{
    struct json_iter items = json_elements(sender->events);
    struct json item;
    enum pl_err err = PL_OK;
    sender->take.list = "events";
    for (; err == PL_OK && json_next_element(&items, &item); sender->take.index++) {
        err = take_event(sender, item);
        if (err == PL_OK)
            err = sink->emit(sink->ctx, sender->take.event, why);
    }
    return err;
}

static enum pl_err decode(const struct dialect_input *input, const struct dialect_sink *sink,
                          struct dialect_outcome *outcome, struct pl_why *why)
{
    struct sender sender;
    struct pl_why said;
    struct json body;
    enum pl_err err = claim(input, sink, outcome, why);
    if (err == PL_OK)
        err = json_parse(input->json, input->body, &body, why);
    if (err != PL_OK)
        return err;
    said.text[0] = '\0';
    sender.outcome = outcome;
    sender.why = &said;
    sender.id = sender.email = pl_span(NULL, 0);
    sender.events = (struct json){0};
    sender.left.count = 0;
    sender.take = (struct take){
        .document = body.document, .event = input->event, .scratch = input->scratch, .why = &said};
    err = take_body(&sender, body);
    if (err == PL_OK)
        err = take_events(&sender, sink, why);
    if (err == PL_OK || (why != NULL && why->err != PL_OK))
        return err;
    if (said.text[0] == '\0')
        return pl_fail(why, err, "the events hold too much to be kept");
    if (why != NULL)
        *why = said;
    return err;
}

static const struct dialect_reply reply = {
    .content_type = "application/json",
    .ok_status = 202,
    .error_body = write_error,
    .error_content_type = "application/json",
};

static const struct dialect_route routes[] = {
    {.methods = DIALECT_POST, .path = "/events", .decode = decode, .reply = &reply},
};

const struct dialect dialect_crossengage = {
    .name = "crossengage",
    .id = EVENT_DIALECT_CROSSENGAGE,
    .routes = routes,
    .route_count = sizeof(routes) / sizeof(routes[0]),
};
