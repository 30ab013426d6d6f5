#include "proto/wire/json.h"

#include "proto/wire/msgpack_raw.h"

/* ---- JSON to msgpack */

_Static_assert(JSON_TEXT_SLACK >= RAW_VECTOR, "text of a document is copied in whole vectors");

/* Above this simdjson's count saturates: members are then counted one by one. */
#define COUNT_SATURATED 0xffffff

static size_t exact_count(struct json value)
{
    size_t count = json_count(value);
    if (count < COUNT_SATURATED)
        return count;
    count = 0;
    struct pl_span name;
    struct json member;
    if (json_is_object(value))
        for (struct json_iter i = json_members(value); json_next_member(&i, &name, &member);)
            count++;
    else
        for (struct json_iter i = json_elements(value); json_next_element(&i, &member);)
            count++;
    return count;
}

static void put_number(struct msgpack_raw *raw, char type, uint64_t bits)
{
    if (type == 'l')
        raw_i64(raw, (int64_t)bits);
    else if (type == 'u')
        raw_u64(raw, bits);
    else
        raw_head64(raw, 0xcb, bits);
}

static void put_word(struct msgpack_raw *raw, struct json at, uint64_t word)
{
    const char type = json_word_type(word);
    switch (type) {
    case '{':
        raw_map(raw, exact_count(at));
        break;
    case '[':
        raw_array(raw, exact_count(at));
        break;
    case 'l':
    case 'u':
    case 'd':
        put_number(raw, type, at.document->tape[at.index + 1]);
        break;
    case 't':
        raw_u8(raw, 0xc3);
        break;
    case 'f':
        raw_u8(raw, 0xc2);
        break;
    case 'n':
        raw_u8(raw, 0xc0);
        break;
    default: /* closing brackets */
        break;
    }
}

/* The tape has keys, values and brackets in msgpack's own order, so one pass without recursion
 * translates any run of it. */
static enum pl_err put_words(struct json at, size_t end, struct pl_buf *out)
{
    const size_t before = out->len;
    struct msgpack_raw raw = raw_begin(out);
    while (at.index < end) {
        const uint64_t word = json_word(at);
        const bool is_text = json_word_type(word) == '"';
        const struct pl_span text = is_text ? json_word_text(at.document, word) : pl_span(NULL, 0);
        const enum pl_err err = raw_room(&raw, text.len);
        if (err != PL_OK) {
            out->len = before;
            return err;
        }
        if (is_text)
            raw_slack_str(&raw, text);
        else
            put_word(&raw, at, word);
        at.index += json_word_words(word);
    }
    raw_end(&raw);
    return PL_OK;
}

enum pl_err json_to_msgpack(struct json value, struct pl_buf *out)
{
    return put_words(value, json_after(value.document, value.index), out);
}

enum pl_err json_member_to_msgpack(struct json value, struct pl_buf *out)
{
    const struct json name = {value.document, value.index - 1};
    return put_words(name, json_after(value.document, value.index), out);
}

/* ---- msgpack to JSON */

struct to_json {
    unsigned walk_level;
    struct json_writer *w;
};
#define WALK_USER struct to_json
#include "proto/wire/msgpack_walk.h"

static int walk_on_value(struct to_json *user, const struct walk_value *value)
{
    switch (value->type) {
    case WALK_NIL:
        json_write_null(user->w);
        return 0;
    case WALK_BOOL:
        json_write_bool(user->w, value->truth);
        return 0;
    case WALK_U64:
        json_write_u64(user->w, value->u64);
        return 0;
    case WALK_I64:
        json_write_i64(user->w, value->i64);
        return 0;
    case WALK_F64:
        json_write_f64(user->w, value->f64);
        return 0;
    case WALK_STR:
        if (!pl_span_is_utf8(value->bytes))
            return -1;
        json_write_string(user->w, value->bytes);
        return 0;
    case WALK_MAP:
        json_write_object(user->w);
        if (value->left == 0)
            json_write_object_end(user->w);
        return 0;
    case WALK_ARRAY:
        json_write_array(user->w);
        if (value->left == 0)
            json_write_array_end(user->w);
        return 0;
    case WALK_BIN:
        return -1;
    }
    return -1;
}

static int walk_on_element(struct to_json *user, const struct walk_value *array,
                           const struct walk_value *value)
{
    (void)value;
    if (array->left == 0)
        json_write_array_end(user->w);
    return 0;
}

static int walk_on_member(struct to_json *user, const struct walk_value *map,
                          const struct walk_value *key, const struct walk_value *value)
{
    (void)value;
    if (key->type != WALK_STR)
        return -1;
    if (map->left == 0)
        json_write_object_end(user->w);
    return 0;
}

enum pl_err json_write_msgpack(struct json_writer *w, struct pl_span msgpack)
{
    struct to_json user = {.w = w};
    struct walk_context context;
    size_t used;
    if (walk(&context, &user, msgpack, &used) != 1 || used != msgpack.len)
        return PL_ECORRUPT;
    return PL_OK;
}
