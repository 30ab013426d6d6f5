#include "edge/dialects/segment_message.h"
#include "edge/dialects/segment_parts.h"
#include "proto/base/clock.h"

#include <inttypes.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

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

/* What a message's members are, by name: fields, or what must wait for the others. */
enum {
    PART_TYPE = EVENT_FIELD_LIMIT,
    PART_EVENT,
    PART_NAME,
    PART_CONTEXT,
    PART_PROPERTIES,
    PART_TRAITS,
    PART_KEY, /* dealt with elsewhere */
    PART_END
};
static const struct name message_names[NAME_SLOTS] = {
    NAME('y', 'e', "type", PART_TYPE),
    NAME('e', 'd', "messageId", EVENT_MESSAGE_ID),
    NAME('n', 'd', "anonymousId", EVENT_VISITOR_ID),
    NAME('s', 'd', "userId", EVENT_USER_ID),
    NAME('r', 'd', "groupId", EVENT_GROUP_ID),
    NAME('r', 'd', "previousId", EVENT_PREVIOUS_ID),
    NAME('v', 't', "event", PART_EVENT),
    NAME('a', 'e', "name", PART_NAME),
    NAME('i', 'p', "timestamp", EVENT_CLIENT_MS),
    NAME('e', 't', "sentAt", EVENT_SENT_MS),
    NAME('o', 't', "context", PART_CONTEXT),
    NAME('r', 's', "properties", PART_PROPERTIES),
    NAME('r', 's', "traits", PART_TRAITS),
    NAME('h', 'l', "channel", EVENT_CHANNEL),
    NAME('a', 'y', "category", EVENT_PAGE_CATEGORY),
    NAME('r', 'y', "writeKey", PART_KEY),
};
/* Page calls say where they are in properties as well. */
static const struct name page_names[NAME_SLOTS] = {
    NAME('r', 'l', "url", EVENT_PAGE_URL),           NAME('a', 'h', "path", EVENT_PAGE_PATH),
    NAME('e', 'r', "referrer", EVENT_PAGE_REFERRER), NAME('i', 'e', "title", EVENT_PAGE_TITLE),
    NAME('e', 'h', "search", EVENT_PAGE_SEARCH),     NAME('a', 'e', "name", EVENT_NAME),
    NAME('a', 'y', "category", EVENT_PAGE_CATEGORY),
};

struct message {
    struct segment_work work;
    uint32_t part[PART_END - PART_TYPE]; /* in the document; 0: not there */
};

static bool has(const struct message *m, unsigned part)
{
    return m->part[part - PART_TYPE] != 0;
}

static struct json part_of(const struct message *m, unsigned part)
{
    return take_at(&m->work.take, m->part[part - PART_TYPE]);
}

/* ---- members */

bool segment_time(struct json value, int64_t *wall_ms)
{
    struct pl_span text;
    return json_string(value, &text) && pl_time_parse(text, wall_ms);
}

static enum pl_err take_id(struct segment_work *work, enum event_field field, struct pl_span name,
                           struct json value)
{
    struct pl_buf *scratch = work->take.scratch;
    const size_t from = scratch->len;
    struct pl_span text;
    int64_t number;
    /* A row's number in somebody's database, as some of Segment's libraries pass it on. */
    if (json_i64(value, &number)) {
        const enum pl_err err = pl_buf_appendf(scratch, "%" PRId64, number);
        event_set_str(work->take.event, field, pl_span(scratch->data + from, scratch->len - from));
        return err;
    }
    if (!json_string(value, &text))
        return take_refuse(&work->take, PL_EINVAL, name, "must be a string or a whole number");
    if (text.len > LIMIT_ID_BYTES)
        return take_refuse(&work->take, PL_ELIMIT, name, "is longer than 256 bytes");
    /* An empty id names nobody: kept, it would make one of all that carry it. */
    if (text.len > 0)
        event_set_json(work->take.event, field, value);
    return PL_OK;
}

static enum pl_err take_time(struct segment_work *work, enum event_field field, struct pl_span name,
                             struct json value)
{
    int64_t ms;
    if (!segment_time(value, &ms))
        return take_leave(&work->take, &work->left, name, value);
    event_set_i64(work->take.event, field, ms);
    return PL_OK;
}

static enum pl_err take_member(struct message *m, struct pl_span name, struct json value)
{
    struct segment_work *work = &m->work;
    const unsigned what = name_find(message_names, name);
    if (json_is_null(value))
        return PL_OK; /* nothing was said */
    switch (what) {
    case EVENT_MESSAGE_ID:
    case EVENT_VISITOR_ID:
    case EVENT_USER_ID:
    case EVENT_GROUP_ID:
    case EVENT_PREVIOUS_ID:
        return take_id(work, what, name, value);
    case EVENT_CLIENT_MS:
    case EVENT_SENT_MS:
        return take_time(work, what, name, value);
    case EVENT_CHANNEL:
    case EVENT_PAGE_CATEGORY:
        if (take_value(&work->take, what, value))
            return PL_OK;
        /* fall through */
    case 0:
        return take_leave(&work->take, &work->left, name, value);
    case PART_CONTEXT:
    case PART_PROPERTIES:
    case PART_TRAITS:
        if (!json_is_object(value))
            return take_refuse(&work->take, PL_EINVAL, name, "must be an object");
        /* fall through */
    default:
        m->part[what - PART_TYPE] = (uint32_t)value.index;
        return PL_OK;
    }
}

/* ---- the message as a whole */

static enum pl_err find_type(struct message *m)
{
    struct pl_span name;
    struct segment_work *work = &m->work;
    work->type = work->as->type;
    if (work->type != SEGMENT_BY_MEMBER ||
        (has(m, PART_TYPE) && json_string(part_of(m, PART_TYPE), &name) &&
         segment_type_parse(name, &work->type)))
        return PL_OK;
    return take_refuse(&work->take, PL_EINVAL, PL_SPAN_LIT("type"),
                       "must be one of track, page, screen, identify, group, alias");
}

/* What the call was named: track's event, page's name. */
static enum pl_err take_name(struct message *m, struct pl_span *text)
{
    static const struct pl_span names[] = {PL_SPAN_INIT("event"), PL_SPAN_INIT("name")};
    struct segment_work *work = &m->work;
    const unsigned part = work->type == SEGMENT_TRACK ? PART_EVENT : PART_NAME;
    const unsigned other = part == PART_EVENT ? PART_NAME : PART_EVENT;
    const struct pl_span name = names[part - PART_EVENT];
    *text = pl_span(NULL, 0);
    if (has(m, other)) {
        const enum pl_err err =
            take_leave(&work->take, &work->left, names[other - PART_EVENT], part_of(m, other));
        if (err != PL_OK)
            return err;
    }
    if (!has(m, part))
        return part == PART_EVENT ? take_refuse(&work->take, PL_EINVAL, name, "is missing") : PL_OK;
    if (!json_string(part_of(m, part), text))
        return take_refuse(&work->take, PL_EINVAL, name, "must be a string");
    if (text->len > LIMIT_NAME_BYTES)
        return take_refuse(&work->take, PL_ELIMIT, name, "is longer than 512 bytes");
    if (text->len > 0)
        event_set_json(work->take.event, EVENT_NAME, part_of(m, part));
    return PL_OK;
}

/* The client's clock put on ours, by how far off it was when it sent. */
static void correct_time(const struct segment_message *as, struct event *event)
{
    if (!event_has(event, EVENT_SENT_MS) && as->has_sent)
        event_set_i64(event, EVENT_SENT_MS, as->sent_ms);
    if (event_has(event, EVENT_SENT_MS) && event_has(event, EVENT_CLIENT_MS))
        event_set_i64(event, EVENT_CORRECTED_MS,
                      as->input->now_ms -
                          (event_i64(event, EVENT_SENT_MS) - event_i64(event, EVENT_CLIENT_MS)));
}

/* Those of a page call: taken where the message and its context were silent; what they said
 * already is not kept twice. */
static enum pl_err take_page(struct segment_work *work, struct json properties)
{
    struct take_left left;
    const struct take_left none = {.count = 0};
    struct pl_span name, text;
    struct json value;
    enum pl_err err = PL_OK;
    struct json_iter members = json_members(properties);
    left.count = 0;
    while (err == PL_OK && json_next_member(&members, &name, &value)) {
        const unsigned field = name_find(page_names, name);
        const bool said = field != 0 && event_has(work->take.event, field);
        const bool taken =
            said ? json_string(value, &text) && pl_span_eq(text, event_str(work->take.event, field))
                 : field != 0 && take_value(&work->take, field, value);
        if (!taken)
            err = take_leave(&work->take, &left, name, value);
    }
    return err == PL_OK ? take_set_props(&work->take, &left, &none) : err;
}

static enum pl_err take_properties(struct message *m, const struct segment_commerce *commerce)
{
    struct segment_work *work = &m->work;
    if (!has(m, PART_PROPERTIES))
        return PL_OK;
    const struct json properties = part_of(m, PART_PROPERTIES);
    if (commerce != NULL)
        return segment_take_commerce(work, commerce, properties);
    if (work->type == SEGMENT_PAGE)
        return take_page(work, properties);
    return json_count(properties) > 0 ? take_pack(&work->take, EVENT_PROPS, properties) : PL_OK;
}

static enum pl_err take_parts(struct message *m, struct pl_span name)
{
    struct segment_work *work = &m->work;
    const struct segment_commerce *commerce =
        work->type == SEGMENT_TRACK ? segment_commerce_find(name) : NULL;
    const struct json context = part_of(m, PART_CONTEXT);
    enum pl_err err = PL_OK;
    correct_time(work->as, work->take.event);
    if (has(m, PART_TRAITS) && json_count(part_of(m, PART_TRAITS)) > 0)
        err = take_pack(&work->take, EVENT_TRAITS, part_of(m, PART_TRAITS));
    if (err == PL_OK)
        err = segment_take_context(work, has(m, PART_CONTEXT) ? &context : NULL);
    if (err == PL_OK)
        err = take_properties(m, commerce);
    const enum event_type type = commerce != NULL ? segment_commerce_type(commerce)
                                 : work->updates  ? EVENT_UPDATE
                                                  : message_types[work->type - SEGMENT_TRACK].event;
    event_set_u64(work->take.event, EVENT_TYPE, type);
    return err;
}

static enum pl_err take_message(struct message *m, struct json message)
{
    struct pl_span name;
    struct json value;
    enum pl_err err = PL_OK;
    struct json_iter members = json_members(message);
    while (err == PL_OK && json_next_member(&members, &name, &value))
        err = take_member(m, name, value);
    if (err == PL_OK)
        err = find_type(m);
    if (err == PL_OK)
        err = take_name(m, &name);
    return err == PL_OK ? take_parts(m, name) : err;
}

enum pl_err segment_message_decode(const struct segment_message *as, struct json message,
                                   const struct dialect_sink *sink, struct pl_why *why)
{
    struct message m;
    struct pl_why said;
    said.text[0] = '\0';
    m.work.as = as;
    m.work.take.document = message.document;
    m.work.take.event = as->input->event;
    m.work.take.scratch = as->input->scratch;
    m.work.updates = false;
    m.work.left.count = 0;
    m.work.take.list = as->in_batch ? "batch" : NULL;
    m.work.take.index = as->index;
    m.work.take.why = &said;
    memset(m.part, 0, sizeof(m.part));
    pl_buf_reset(m.work.take.scratch);
    event_clear(m.work.take.event);
    const enum pl_err err =
        json_is_object(message)
            ? take_message(&m, message)
            : take_refuse(&m.work.take, PL_EINVAL, PL_SPAN_LIT("message"), "must be an object");
    if (err == PL_OK)
        return sink->emit(sink->ctx, m.work.take.event, why);
    if (said.text[0] == '\0')
        return pl_fail(why, err, "the event holds too much to be kept");
    if (why != NULL)
        *why = said;
    return err;
}
