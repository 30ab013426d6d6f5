/*
 * msgpack_raw: msgpack written where room for it is known to be. Private to the room.
 *
 * Promise: the same bytes as msgpack_put.h, the shortest form of everything, for the two loops that
 * every stored event goes through. raw_room is asked once a value; the rest is stores. Text comes
 * with MSGPACK_SLACK to spare on both sides, so that it is copied in whole vectors.
 */
#ifndef POLDER_PROTO_WIRE_MSGPACK_RAW_H
#define POLDER_PROTO_WIRE_MSGPACK_RAW_H

#include "proto/base/buf.h"

/* What raw_room adds: the longest head, a field's number, and a vector more than asked for. */
#define MSGPACK_SLACK 48
#define RAW_VECTOR    32

struct msgpack_raw {
    uint8_t *at, *end;
    struct pl_buf *out;
};

static inline struct msgpack_raw raw_begin(struct pl_buf *out)
{
    struct msgpack_raw raw = {NULL, NULL, out};
    if (out->data != NULL) {
        raw.at = out->data + out->len;
        raw.end = out->data + out->cap;
    }
    return raw;
}

static inline void raw_end(struct msgpack_raw *raw)
{
    raw->out->len = (size_t)(raw->at - raw->out->data);
}

/* Room for a value of len bytes of text. The buffer may move. */
static inline enum pl_err raw_room(struct msgpack_raw *raw, size_t len)
{
    if ((size_t)(raw->end - raw->at) >= len + MSGPACK_SLACK)
        return PL_OK;
    raw_end(raw);
    const enum pl_err err = pl_buf_reserve(raw->out, len + MSGPACK_SLACK);
    *raw = raw_begin(raw->out);
    return err;
}

static inline void raw_u8(struct msgpack_raw *raw, unsigned v)
{
    *raw->at++ = (uint8_t)v;
}

static inline void raw_head16(struct msgpack_raw *raw, unsigned head, uint16_t v)
{
    raw->at[0] = (uint8_t)head;
    pl_store_u16(raw->at + 1, v);
    raw->at += 3;
}

static inline void raw_head32(struct msgpack_raw *raw, unsigned head, uint32_t v)
{
    raw->at[0] = (uint8_t)head;
    pl_store_u32(raw->at + 1, v);
    raw->at += 5;
}

static inline void raw_head64(struct msgpack_raw *raw, unsigned head, uint64_t v)
{
    raw->at[0] = (uint8_t)head;
    pl_store_u64(raw->at + 1, v);
    raw->at += 9;
}

static inline void raw_u64(struct msgpack_raw *raw, uint64_t v)
{
    if (v < 0x80) {
        raw_u8(raw, (unsigned)v);
    } else if (v <= UINT8_MAX) {
        raw_u8(raw, 0xcc);
        raw_u8(raw, (unsigned)v);
    } else if (v <= UINT16_MAX) {
        raw_head16(raw, 0xcd, (uint16_t)v);
    } else if (v <= UINT32_MAX) {
        raw_head32(raw, 0xce, (uint32_t)v);
    } else {
        raw_head64(raw, 0xcf, v);
    }
}

static inline void raw_i64(struct msgpack_raw *raw, int64_t v)
{
    if (v >= 0) {
        raw_u64(raw, (uint64_t)v);
    } else if (v >= -32) {
        raw_u8(raw, (unsigned)v & 0xff);
    } else if (v >= INT8_MIN) {
        raw_u8(raw, 0xd0);
        raw_u8(raw, (unsigned)v & 0xff);
    } else if (v >= INT16_MIN) {
        raw_head16(raw, 0xd1, (uint16_t)v);
    } else if (v >= INT32_MIN) {
        raw_head32(raw, 0xd2, (uint32_t)v);
    } else {
        raw_head64(raw, 0xd3, (uint64_t)v);
    }
}

static inline void raw_f64(struct msgpack_raw *raw, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof(bits));
    raw_head64(raw, 0xcb, bits);
}

/* Of arrays (0x90, 0xdc) and maps (0x80, 0xde). */
static inline void raw_count(struct msgpack_raw *raw, unsigned fix, unsigned head, size_t count)
{
    if (count < 16)
        raw_u8(raw, fix | (unsigned)count);
    else if (count <= UINT16_MAX)
        raw_head16(raw, head, (uint16_t)count);
    else
        raw_head32(raw, head + 1, (uint32_t)count);
}

static inline void raw_map(struct msgpack_raw *raw, size_t count)
{
    raw_count(raw, 0x80, 0xde, count);
}

static inline void raw_array(struct msgpack_raw *raw, size_t count)
{
    raw_count(raw, 0x90, 0xdc, count);
}

static inline void raw_length(struct msgpack_raw *raw, unsigned head, size_t len)
{
    if (len <= UINT8_MAX) {
        raw_u8(raw, head);
        raw_u8(raw, (unsigned)len);
    } else if (len <= UINT16_MAX) {
        raw_head16(raw, head + 1, (uint16_t)len);
    } else {
        raw_head32(raw, head + 2, (uint32_t)len);
    }
}

static inline void raw_str_head(struct msgpack_raw *raw, size_t len)
{
    if (len < 32)
        raw_u8(raw, 0xa0 | (unsigned)len);
    else
        raw_length(raw, 0xd9, len);
}

static inline void raw_bytes(struct msgpack_raw *raw, struct pl_span bytes)
{
    if (bytes.len > 0)
        memcpy(raw->at, bytes.data, bytes.len);
    raw->at += bytes.len;
}

/* RAW_VECTOR bytes behind the text may be read. */
static inline void raw_slack_str(struct msgpack_raw *raw, struct pl_span text)
{
    raw_str_head(raw, text.len);
    for (size_t done = 0;; done += RAW_VECTOR) {
        memcpy(raw->at + done, text.data + done, RAW_VECTOR);
        if (text.len <= done + RAW_VECTOR)
            break;
    }
    raw->at += text.len;
}

#endif
