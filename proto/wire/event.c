#include "proto/wire/event.h"

#include "proto/wire/limits.h"
#include "proto/wire/msgpack_raw.h"

#include <stdlib.h>

struct event_walk {
    unsigned walk_level;
    struct event *event;
    struct pl_why *why;
    bool started;
    bool skips; /* whatever it is */
    enum pl_err err;
    int64_t last_id;
};
#define WALK_USER struct event_walk
#include "proto/wire/msgpack_walk.h"

/* The parser's stack, kept so that reading an event costs no clearing of 2 KiB. */
struct event_reader {
    struct walk_context context;
};

struct pl_span event_str(const struct event *event, enum event_field field)
{
    return event_has(event, field) ? event->value[field].str : pl_span(NULL, 0);
}

uint64_t event_u64(const struct event *event, enum event_field field)
{
    return event_has(event, field) ? event->value[field].u64 : 0;
}

int64_t event_i64(const struct event *event, enum event_field field)
{
    return event_has(event, field) ? event->value[field].i64 : 0;
}

static enum pl_err put_text(struct msgpack_raw *raw, const struct event *event, unsigned field)
{
    const struct pl_span text = event->value[field].str;
    const enum pl_err err = raw_room(raw, text.len);
    if (err != PL_OK)
        return err;
    raw_u8(raw, field);
    if ((event->parsed[field / 64] >> (field % 64)) & 1) {
        raw_slack_str(raw, text);
        return PL_OK;
    }
    /* One bad string would make the origin refuse the block around it. */
    if (!pl_span_is_utf8(text))
        return PL_EINVAL;
    raw_str_head(raw, text.len);
    raw_bytes(raw, text);
    return PL_OK;
}

static enum pl_err put_pack(struct msgpack_raw *raw, unsigned field, struct pl_span pack)
{
    const enum pl_err err = raw_room(raw, pack.len);
    if (err != PL_OK)
        return err;
    raw_u8(raw, field);
    raw_length(raw, 0xc4, pack.len);
    raw_bytes(raw, pack);
    return PL_OK;
}

static enum pl_err put_number(struct msgpack_raw *raw, unsigned field,
                              const union event_value *value)
{
    const enum pl_err err = raw_room(raw, 0);
    if (err != PL_OK)
        return err;
    raw_u8(raw, field);
    switch (event_fields[field].kind) {
    case EVENT_KIND_U64:
        raw_u64(raw, value->u64);
        return PL_OK;
    case EVENT_KIND_I64:
        raw_i64(raw, value->i64);
        return PL_OK;
    case EVENT_KIND_F64:
        raw_f64(raw, value->f64);
        return PL_OK;
    default:
        return PL_EINVAL;
    }
}

static enum pl_err put_field(struct msgpack_raw *raw, const struct event *event, unsigned field)
{
    switch (event_fields[field].kind) {
    case EVENT_KIND_STR:
        return put_text(raw, event, field);
    case EVENT_KIND_PACK:
        return put_pack(raw, field, event->value[field].str);
    default:
        return put_number(raw, field, &event->value[field]);
    }
}

enum pl_err event_encode(const struct event *event, struct pl_buf *out)
{
    const size_t before = out->len;
    struct msgpack_raw raw = raw_begin(out);
    enum pl_err err = raw_room(&raw, 0);
    if (err == PL_OK)
        raw_map(&raw, (size_t)(__builtin_popcountll(event->present[0]) +
                               __builtin_popcountll(event->present[1])));
    for (unsigned word = 0; word < 2; word++) {
        for (uint64_t left = event->present[word]; left != 0 && err == PL_OK; left &= left - 1)
            err = put_field(&raw, event, word * 64 + (unsigned)__builtin_ctzll(left));
    }
    raw_end(&raw);
    if (err == PL_OK && out->len - before > LIMIT_EVENT_WIRE_BYTES)
        err = PL_ELIMIT;
    if (err != PL_OK)
        out->len = before;
    return err;
}

enum pl_err event_reader_new(struct event_reader **out)
{
    struct event_reader *reader = calloc(1, sizeof(*reader));
    if (reader == NULL)
        return PL_ENOMEM;
    *out = reader;
    return PL_OK;
}

void event_reader_free(struct event_reader *reader)
{
    free(reader);
}

static int refuse(struct event_walk *user, const char *what)
{
    user->err = pl_fail(user->why, PL_ECORRUPT, "%s", what);
    return -1;
}

static int refuse_field(struct event_walk *user, unsigned field, const char *what)
{
    const char *name = event_fields[field].name;
    user->err =
        pl_fail_field(user->why, PL_ECORRUPT, name, "event field %u (%s) %s", field, name, what);
    return -1;
}

static int walk_on_value(struct event_walk *user, const struct walk_value *value)
{
    if (!user->started && !user->skips && value->type != WALK_MAP)
        return refuse(user, "an event that is not a map");
    user->started = true;
    return 0;
}

static int walk_on_element(struct event_walk *user, const struct walk_value *array,
                           const struct walk_value *value)
{
    (void)user, (void)array, (void)value;
    return 0;
}

/* Whole numbers come in whichever form is shortest, so both kinds take both as long as they fit. */
static int take_field(struct event_walk *user, unsigned field, const struct walk_value *value)
{
    switch (event_fields[field].kind) {
    case EVENT_KIND_STR:
        if (value->type != WALK_STR)
            return refuse_field(user, field, "is not text");
        if (!pl_span_is_utf8(value->bytes))
            return refuse_field(user, field, "is not UTF-8");
        event_set_str(user->event, field, value->bytes);
        return 0;
    case EVENT_KIND_U64:
        if (value->type != WALK_U64)
            return refuse_field(user, field, "is not an unsigned integer");
        event_set_u64(user->event, field, value->u64);
        return 0;
    case EVENT_KIND_I64:
        if (value->type != WALK_I64 && !(value->type == WALK_U64 && value->u64 <= INT64_MAX))
            return refuse_field(user, field, "is not an integer of 64 bits");
        event_set_i64(user->event, field, value->i64);
        return 0;
    case EVENT_KIND_F64:
        if (value->type != WALK_F64)
            return refuse_field(user, field, "is not a double");
        event_set_f64(user->event, field, value->f64);
        return 0;
    case EVENT_KIND_PACK:
        if (value->type != WALK_BIN)
            return refuse_field(user, field, "is not packed bytes");
        event_set_pack(user->event, field, value->bytes);
        return 0;
    case EVENT_KIND_NONE:
        break;
    }
    return 0;
}

static int walk_on_member(struct event_walk *user, const struct walk_value *map,
                          const struct walk_value *key, const struct walk_value *value)
{
    if (map->level > 0 || user->skips)
        return 0; /* inside a field that is not known here */
    if (key->type != WALK_U64 || key->u64 > INT64_MAX)
        return refuse(user, "an event with a field id that is not a number");
    if ((int64_t)key->u64 <= user->last_id)
        return refuse(user, "an event with its field ids out of order");
    user->last_id = (int64_t)key->u64;
    return key->u64 < EVENT_FIELD_LIMIT ? take_field(user, (unsigned)key->u64, value) : 0;
}

enum pl_err event_read(struct event_reader *reader, struct pl_span *rest, struct event *event,
                       struct pl_span *encoded, struct pl_why *why)
{
    if (rest->len == 0)
        return PL_ENOTFOUND;
    struct event_walk user = {.event = event, .why = why, .last_id = -1};
    bool cut = rest->len > LIMIT_EVENT_WIRE_BYTES;
    struct pl_span in = pl_span(rest->data, cut ? LIMIT_EVENT_WIRE_BYTES : rest->len);
    size_t used;
    event_clear(event);
    int got = walk(&reader->context, &user, in, &used);
    if (got == 1) {
        if (encoded != NULL)
            *encoded = pl_span(in.data, used);
        *rest = pl_span_from(*rest, used);
        return PL_OK;
    }
    event_clear(event);
    if (user.err != PL_OK)
        return user.err;
    if (got == 0 && cut)
        return pl_fail(why, PL_ECORRUPT, "an event of more than %d bytes", LIMIT_EVENT_WIRE_BYTES);
    return pl_fail(why, PL_ECORRUPT, "%s",
                   got == 0 ? "an event that ends too early" : "an event that is not msgpack");
}

enum pl_err event_skip(struct event_reader *reader, struct pl_span *rest)
{
    struct event_walk user = {.skips = true};
    size_t used;
    if (rest->len == 0 || walk(&reader->context, &user, *rest, &used) != 1)
        return PL_ECORRUPT;
    *rest = pl_span_from(*rest, used);
    return PL_OK;
}
