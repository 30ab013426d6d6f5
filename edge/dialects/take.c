#include "edge/dialects/take.h"
#include "proto/wire/limits.h"

#include <inttypes.h>
#include <stdio.h>

enum pl_err take_refuse(const struct take *take, enum pl_err err, struct pl_span name,
                        const char *what)
{
    char field[96];
    const int len = (int)(name.len > 64 ? 64 : name.len);
    if (take->list != NULL)
        snprintf(field, sizeof(field), "%s[%zu].%.*s", take->list, take->index, len,
                 (const char *)name.data);
    else
        snprintf(field, sizeof(field), "%.*s", len, (const char *)name.data);
    return pl_fail_field(take->why, err, field, "%s %s", field, what);
}

/* An order's number is text, however the shop writes it. */
static bool take_number_as_text(struct take *take, enum event_field field, struct json value)
{
    int64_t number;
    const size_t from = take->scratch->len;
    if (field != EVENT_ORDER_ID || !json_i64(value, &number) ||
        pl_buf_appendf(take->scratch, "%" PRId64, number) != PL_OK)
        return false;
    event_set_str(take->event, field,
                  pl_span(take->scratch->data + from, take->scratch->len - from));
    return true;
}

static bool take_text(struct take *take, enum event_field field, struct json value)
{
    struct pl_span text;
    if (!json_string(value, &text))
        return take_number_as_text(take, field, value);
    if ((field == EVENT_SESSION_ID && text.len > LIMIT_ID_BYTES) ||
        (field == EVENT_NAME && text.len > LIMIT_NAME_BYTES))
        return false;
    return event_set_json(take->event, field, value);
}

static bool take_texts(struct take *take, enum event_field field, struct json value)
{
    struct json_iter elements = json_elements(value);
    struct json element;
    if (!json_is_array(value))
        return false;
    while (json_next_element(&elements, &element))
        if (!json_is_string(element))
            return false;
    return take_pack(take, field, value) == PL_OK;
}

bool take_value(struct take *take, enum event_field field, struct json value)
{
    double number;
    uint64_t whole;
    switch (event_fields[field].kind) {
    case EVENT_KIND_STR:
        return take_text(take, field, value);
    case EVENT_KIND_F64:
        if (!json_f64(value, &number))
            return false;
        event_set_f64(take->event, field, number);
        return true;
    case EVENT_KIND_U64:
        if (!json_u64(value, &whole))
            return false;
        event_set_u64(take->event, field, whole);
        return true;
    case EVENT_KIND_PACK:
        return take_texts(take, field, value);
    default:
        return false;
    }
}

enum pl_err take_pack(struct take *take, enum event_field field, struct json value)
{
    const size_t from = take->scratch->len;
    const enum pl_err err = json_to_msgpack(value, take->scratch);
    event_set_pack(take->event, field,
                   pl_span(take->scratch->data + from, take->scratch->len - from));
    return err;
}

enum pl_err take_leave(const struct take *take, struct take_left *left, struct pl_span name,
                       struct json value)
{
    if (left->count == TAKE_LEFT_MAX)
        return take_refuse(take, PL_ELIMIT, name, "is one of too many members without a meaning");
    left->at[left->count++] = (uint32_t)value.index;
    return PL_OK;
}

void take_pack_left(const struct take *take, const struct take_left *left,
                    struct event_packer *packer)
{
    for (unsigned i = 0; i < left->count; i++)
        event_pack_json_member(packer, take_at(take, left->at[i]));
}

enum pl_err take_set_props(struct take *take, const struct take_left *left,
                           const struct take_left *more)
{
    struct event_packer packer = {.out = take->scratch};
    const size_t from = take->scratch->len;
    if (left->count + more->count == 0)
        return PL_OK;
    event_pack_map(&packer, left->count + more->count);
    take_pack_left(take, left, &packer);
    take_pack_left(take, more, &packer);
    event_set_pack(take->event, EVENT_PROPS,
                   pl_span(take->scratch->data + from, take->scratch->len - from));
    return packer.err;
}
