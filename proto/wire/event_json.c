#include "proto/wire/event_text.h"

/* name is what follows the dot, if there is one. */
static enum pl_err write_field(struct json_writer *w, unsigned field, struct pl_span name,
                               const union event_value *value)
{
    char text[EVENT_TEXT_BYTES];
    json_write_key_span(w, event_text_name(name));
    if (event_text_value(field, value, text)) {
        json_write_text(w, text);
        return PL_OK;
    }
    switch (event_fields[field].kind) {
    case EVENT_KIND_STR:
        json_write_string(w, value->str);
        return PL_OK;
    case EVENT_KIND_U64:
        json_write_u64(w, value->u64);
        return PL_OK;
    case EVENT_KIND_I64:
        json_write_i64(w, value->i64);
        return PL_OK;
    case EVENT_KIND_F64:
        json_write_f64(w, value->f64);
        return PL_OK;
    case EVENT_KIND_PACK:
        return json_write_msgpack(w, value->str);
    case EVENT_KIND_NONE:
        break;
    }
    return PL_EINVAL;
}

/* The fields left to write, and the lowest of them. */
struct left {
    uint64_t bits[EVENT_FIELD_LIMIT / 64];
};
static unsigned lowest(const struct left *left)
{
    if (left->bits[0] != 0)
        return (unsigned)__builtin_ctzll(left->bits[0]);
    return left->bits[1] != 0 ? 64 + (unsigned)__builtin_ctzll(left->bits[1]) : EVENT_FIELD_LIMIT;
}
static void done(struct left *left, unsigned field)
{
    left->bits[field / 64] &= ~(UINT64_C(1) << (field % 64));
}

/* Writes first and every later field that shares its "group." (its first group_len bytes): ids
 * added in years to come need not stand beside their kin. */
static enum pl_err write_group(const struct event *event, struct json_writer *w, struct left *left,
                               unsigned first, size_t group_len)
{
    const char *group = event_fields[first].name;
    struct left later = *left;
    enum pl_err err = PL_OK;
    json_write_key_span(w, pl_span(group, group_len - 1));
    json_write_object(w);
    for (unsigned f = first; f < EVENT_FIELD_LIMIT && err == PL_OK; f = lowest(&later)) {
        const char *name = event_fields[f].name;
        if (name != NULL && strncmp(name, group, group_len) == 0) {
            err = write_field(w, f, pl_span_str(name + group_len), &event->value[f]);
            done(left, f);
        }
        done(&later, f);
    }
    json_write_object_end(w);
    return err;
}

enum pl_err event_write_json(const struct event *event, struct json_writer *w, struct pl_buf *out)
{
    size_t before = out->len;
    struct left left = {.bits = {event->present[0], event->present[1]}};
    enum pl_err err = PL_OK;
    json_writer_begin(w, out);
    json_write_object(w);
    for (unsigned f = lowest(&left); f < EVENT_FIELD_LIMIT && err == PL_OK; f = lowest(&left)) {
        const char *name = event_fields[f].name;
        const char *dot = name == NULL ? NULL : strchr(name, '.');
        if (dot != NULL) {
            err = write_group(event, w, &left, f, (size_t)(dot - name) + 1);
        } else {
            err = write_field(w, f, pl_span_str(name), &event->value[f]);
            done(&left, f);
        }
    }
    json_write_object_end(w);
    enum pl_err end = json_writer_end(w);
    err = err != PL_OK ? err : end;
    if (err != PL_OK)
        out->len = before;
    return err;
}
