#include "edge/dialects/segment_parts.h"

#include <inttypes.h>
#include <stdio.h>

enum pl_err segment_refuse(const struct segment_work *work, enum pl_err err, struct pl_span name,
                           const char *what)
{
    char field[96];
    const int len = (int)(name.len > 64 ? 64 : name.len);
    if (work->as->in_batch)
        snprintf(field, sizeof(field), "batch[%zu].%.*s", work->as->index, len,
                 (const char *)name.data);
    else
        snprintf(field, sizeof(field), "%.*s", len, (const char *)name.data);
    return pl_fail_field(work->why, err, field, "%s %s", field, what);
}

/* An order's number is text, however the shop writes it. */
static bool take_number_as_text(struct segment_work *work, enum event_field field,
                                struct json value)
{
    int64_t number;
    const size_t from = work->scratch->len;
    if (field != EVENT_ORDER_ID || !json_i64(value, &number) ||
        pl_buf_appendf(work->scratch, "%" PRId64, number) != PL_OK)
        return false;
    event_set_str(work->event, field,
                  pl_span(work->scratch->data + from, work->scratch->len - from));
    return true;
}

static bool take_text(struct segment_work *work, enum event_field field, struct json value)
{
    struct pl_span text;
    if (!json_string(value, &text))
        return take_number_as_text(work, field, value);
    if ((field == EVENT_SESSION_ID && text.len > LIMIT_ID_BYTES) ||
        (field == EVENT_NAME && text.len > LIMIT_NAME_BYTES))
        return false;
    return event_set_json(work->event, field, value);
}

static bool take_array(struct segment_work *work, enum event_field field, struct json value)
{
    struct json_iter elements = json_elements(value);
    struct json element;
    if (!json_is_array(value))
        return false;
    while (json_next_element(&elements, &element))
        if (!json_is_string(element))
            return false;
    return segment_set_pack(work, field, value) == PL_OK;
}

bool segment_take(struct segment_work *work, enum event_field field, struct json value)
{
    double number;
    uint64_t whole;
    switch (event_fields[field].kind) {
    case EVENT_KIND_STR:
        return take_text(work, field, value);
    case EVENT_KIND_F64:
        if (!json_f64(value, &number))
            return false;
        event_set_f64(work->event, field, number);
        return true;
    case EVENT_KIND_U64:
        if (!json_u64(value, &whole))
            return false;
        event_set_u64(work->event, field, whole);
        return true;
    case EVENT_KIND_PACK:
        return take_array(work, field, value);
    default:
        return false;
    }
}

enum pl_err segment_set_pack(struct segment_work *work, enum event_field field, struct json value)
{
    const size_t from = work->scratch->len;
    const enum pl_err err = json_to_msgpack(value, work->scratch);
    event_set_pack(work->event, field,
                   pl_span(work->scratch->data + from, work->scratch->len - from));
    return err;
}

enum pl_err segment_leave(const struct segment_work *work, struct segment_left *left,
                          struct pl_span name, struct json value)
{
    if (left->count == SEGMENT_LEFT_MAX)
        return segment_refuse(work, PL_ELIMIT, name,
                              "is one of too many members without a meaning");
    left->at[left->count++] = (uint32_t)value.index;
    return PL_OK;
}

void segment_pack_members(const struct segment_work *work, const struct segment_left *left,
                          struct event_packer *packer)
{
    for (unsigned i = 0; i < left->count; i++)
        event_pack_json_member(packer, segment_at(work, left->at[i]));
}

enum pl_err segment_set_props(struct segment_work *work, const struct segment_left *left,
                              const struct segment_left *more)
{
    struct event_packer packer = {.out = work->scratch};
    const size_t from = work->scratch->len;
    if (left->count + more->count == 0)
        return PL_OK;
    event_pack_map(&packer, left->count + more->count);
    segment_pack_members(work, left, &packer);
    segment_pack_members(work, more, &packer);
    event_set_pack(work->event, EVENT_PROPS,
                   pl_span(work->scratch->data + from, work->scratch->len - from));
    return packer.err;
}
