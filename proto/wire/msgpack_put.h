/*
 * msgpack_put: msgpack-c's packer instantiated over pl_buf. Private to the room.
 *
 * Promise: msgpack_put_map(buf, n), msgpack_put_str(buf, n) and so on append the shortest form,
 * so equal values give equal bytes; they return an enum pl_err as int. The stock packer calls a
 * function pointer for every header byte; this one compiles to a compare and a store.
 */
#ifndef POLDER_PROTO_WIRE_MSGPACK_PUT_H
#define POLDER_PROTO_WIRE_MSGPACK_PUT_H

#include "proto/base/buf.h"

#include <limits.h>
#include <msgpack/sysdep.h>
#include <msgpack/timestamp.h>

static inline int msgpack_put_bytes(struct pl_buf *buf, const void *data, size_t len)
{
    if (len > buf->cap - buf->len) {
        enum pl_err err = pl_buf_reserve(buf, len);
        if (err != PL_OK)
            return (int)err;
    }
    if (len > 0)
        memcpy(buf->data + buf->len, data, len);
    buf->len += len;
    return PL_OK;
}

#define msgpack_pack_inline_func(name)             static inline int msgpack_put##name
#define msgpack_pack_user                          struct pl_buf *
#define msgpack_pack_append_buffer(buf, data, len) return msgpack_put_bytes(buf, data, len)
/* The template's timestamps, which are not used here, name the stock instance. */
#define msgpack_pack_ext msgpack_put_ext
#include <msgpack/pack_template.h>
#undef msgpack_pack_ext

static inline int msgpack_put_text(struct pl_buf *buf, const void *text, size_t len)
{
    int err = msgpack_put_str(buf, len);
    return err != PL_OK ? err : msgpack_put_bytes(buf, text, len);
}

static inline int msgpack_put_blob(struct pl_buf *buf, const void *data, size_t len)
{
    int err = msgpack_put_bin(buf, len);
    return err != PL_OK ? err : msgpack_put_bytes(buf, data, len);
}

#endif
