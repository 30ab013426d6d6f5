/*
 * msgpack_walk: msgpack-c's parser, calling back instead of building objects. Private to the
 * room.
 *
 * Promise: nothing is allocated, whatever counts the input claims; nesting ends at 32 levels;
 * text and bytes are views of the input. A file that includes this defines, before it does,
 * `#define WALK_USER struct NAME` for a struct with a member `unsigned walk_level`, and after it
 * the three walk_on_ functions. Each returns 0, or a negative number to stop the walk.
 */
#ifndef POLDER_PROTO_WIRE_MSGPACK_WALK_H
#define POLDER_PROTO_WIRE_MSGPACK_WALK_H

#include "proto/base/span.h"

#include <msgpack/unpack.h>
#include <msgpack/unpack_define.h>

enum walk_type {
    WALK_NIL,
    WALK_BOOL,
    WALK_U64,
    WALK_I64, /* negative ones only */
    WALK_F64,
    WALK_STR,
    WALK_BIN,
    WALK_ARRAY,
    WALK_MAP,
};

struct walk_value {
    enum walk_type type;
    unsigned level; /* containers: 0 for the outermost */
    union {
        bool truth;
        uint64_t u64;
        int64_t i64;
        double f64;
        struct pl_span bytes; /* STR and BIN */
        size_t left;          /* containers: members or elements still to come */
    };
};

/* A value begins: scalars, map keys and containers (before what they hold). */
static int walk_on_value(WALK_USER *user, const struct walk_value *value);
/* An element or member is complete; container->left is already one less. */
static int walk_on_element(WALK_USER *user, const struct walk_value *array,
                           const struct walk_value *value);
static int walk_on_member(WALK_USER *user, const struct walk_value *map,
                          const struct walk_value *key, const struct walk_value *value);

#define WALK_SCALAR(name, ctype, kind, member)                                                     \
    static inline int walk_got##name(WALK_USER **user, ctype v, struct walk_value *out)            \
    {                                                                                              \
        *out = (struct walk_value){.type = kind, .member = v};                                     \
        return walk_on_value(*user, out);                                                          \
    }
#define WALK_SIGNED(name, ctype)                                                                   \
    static inline int walk_got##name(WALK_USER **user, ctype v, struct walk_value *out)            \
    {                                                                                              \
        if (v < 0)                                                                                 \
            *out = (struct walk_value){.type = WALK_I64, .i64 = v};                                \
        else                                                                                       \
            *out = (struct walk_value){.type = WALK_U64, .u64 = (uint64_t)v};                      \
        return walk_on_value(*user, out);                                                          \
    }
#define WALK_FIXED(name, kind, v)                                                                  \
    static inline int walk_got##name(WALK_USER **user, struct walk_value *out)                     \
    {                                                                                              \
        *out = (struct walk_value){.type = kind, .truth = v};                                      \
        return walk_on_value(*user, out);                                                          \
    }
#define WALK_BYTES(name, kind)                                                                     \
    static inline int walk_got##name(WALK_USER **user, const char *base, const char *data,         \
                                     unsigned len, struct walk_value *out)                         \
    {                                                                                              \
        (void)base;                                                                                \
        *out = (struct walk_value){.type = kind, .bytes = pl_span(len == 0 ? NULL : data, len)};   \
        return walk_on_value(*user, out);                                                          \
    }
#define WALK_CONTAINER(name, kind)                                                                 \
    static inline int walk_got##name(WALK_USER **user, unsigned n, struct walk_value *out)         \
    {                                                                                              \
        *out = (struct walk_value){.type = kind, .level = (*user)->walk_level, .left = n};         \
        if (n > 0)                                                                                 \
            (*user)->walk_level++;                                                                 \
        return walk_on_value(*user, out);                                                          \
    }

WALK_SCALAR(_uint8, uint8_t, WALK_U64, u64)
WALK_SCALAR(_uint16, uint16_t, WALK_U64, u64)
WALK_SCALAR(_uint32, uint32_t, WALK_U64, u64)
WALK_SCALAR(_uint64, uint64_t, WALK_U64, u64)
WALK_SIGNED(_int8, int8_t)
WALK_SIGNED(_int16, int16_t)
WALK_SIGNED(_int32, int32_t)
WALK_SIGNED(_int64, int64_t)
WALK_SCALAR(_double, double, WALK_F64, f64)
WALK_FIXED(_nil, WALK_NIL, false)
WALK_FIXED(_true, WALK_BOOL, true)
WALK_FIXED(_false, WALK_BOOL, false)
WALK_BYTES(_str, WALK_STR)
WALK_BYTES(_bin, WALK_BIN)
WALK_CONTAINER(_array, WALK_ARRAY)
WALK_CONTAINER(_map, WALK_MAP)

/* Written by none of ours. */
static inline int walk_got_float(WALK_USER **user, float v, struct walk_value *out)
{
    (void)user, (void)v, (void)out;
    return -1;
}

static inline int walk_got_ext(WALK_USER **user, const char *base, const char *data, unsigned len,
                               struct walk_value *out)
{
    (void)user, (void)base, (void)data, (void)len, (void)out;
    return -1;
}

static inline int walk_got_array_item(WALK_USER **user, struct walk_value *array,
                                      struct walk_value value)
{
    if (--array->left == 0)
        (*user)->walk_level--;
    return walk_on_element(*user, array, &value);
}

static inline int walk_got_map_item(WALK_USER **user, struct walk_value *map, struct walk_value key,
                                    struct walk_value value)
{
    if (--map->left == 0)
        (*user)->walk_level--;
    return walk_on_member(*user, map, &key, &value);
}

static inline struct walk_value walk_got_root(WALK_USER **user)
{
    (void)user;
    return (struct walk_value){.type = WALK_NIL};
}

#define msgpack_unpack_struct(name)     struct walk##name
#define msgpack_unpack_func(type, name) static inline type walk##name
#define msgpack_unpack_callback(name)   walk_got##name
#define msgpack_unpack_object           struct walk_value
#define msgpack_unpack_user             WALK_USER *
#include <msgpack/unpack_template.h>

/* Reads one value off the front of in. 1: done, *used bytes of it; 0: the input ends too early;
 * negative: not msgpack, too deep, or what a walk_on_ function returned. The context is scratch,
 * 2 KiB and more: reuse it where walks are many. */
static inline int walk(struct walk_context *context, WALK_USER *user, struct pl_span in,
                       size_t *used)
{
    size_t at = 0;
    user->walk_level = 0;
    context->user = user;
    walk_init(context);
    int got = in.len == 0 ? 0 : walk_execute(context, (const char *)in.data, in.len, &at);
    *used = at;
    return got;
}

#endif
