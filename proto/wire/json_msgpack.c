#include "proto/wire/json.h"

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
