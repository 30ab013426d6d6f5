/*
 * buf: a growable byte buffer with a limit, and a reader that cannot run past its end.
 *
 * Promise: a buf never grows past the max_bytes it was made with; the append that would fails
 * with PL_ELIMIT (or PL_ENOMEM) and changes nothing. Integers are big-endian, so that encoded
 * numbers sort as bytes. Not thread-safe; one owner at a time.
 */
#ifndef POLDER_PROTO_BASE_BUF_H
#define POLDER_PROTO_BASE_BUF_H

#include "proto/base/err.h"
#include "proto/base/span.h"

struct pl_buf {
    uint8_t *data;
    size_t len;
    size_t cap;
    size_t max_bytes;
};

/* No allocation until the first append. max_bytes must be > 0. */
void pl_buf_init(struct pl_buf *buf, size_t max_bytes);
/* Frees; the buf may be initialised again. Safe on a zeroed struct. */
void pl_buf_release(struct pl_buf *buf);
/* Overwrite every byte ever held, then release. For keys and plaintext. */
void pl_buf_wipe(struct pl_buf *buf);
/* Keep the memory, forget the content. */
static inline void pl_buf_reset(struct pl_buf *buf)
{
    buf->len = 0;
}
static inline struct pl_span pl_buf_span(const struct pl_buf *buf)
{
    return pl_span(buf->data, buf->len);
}

/* Room for `more` bytes past len; on success data + len may be written and len advanced. */
enum pl_err pl_buf_reserve(struct pl_buf *buf, size_t more);
/* What is appended must not lie inside the buf itself: growing moves it. */
enum pl_err pl_buf_append(struct pl_buf *buf, const void *data, size_t len);
enum pl_err pl_buf_append_span(struct pl_buf *buf, struct pl_span span);
enum pl_err pl_buf_append_str(struct pl_buf *buf, const char *text);
/* printf-style text, without the NUL. */
enum pl_err pl_buf_appendf(struct pl_buf *buf, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
enum pl_err pl_buf_put_u8(struct pl_buf *buf, uint8_t v);
enum pl_err pl_buf_put_u16(struct pl_buf *buf, uint16_t v);
enum pl_err pl_buf_put_u32(struct pl_buf *buf, uint32_t v);
enum pl_err pl_buf_put_u64(struct pl_buf *buf, uint64_t v);
/* As many bytes as it needs: 7 bits each, low ones first, the top bit set on all but the last. */
enum pl_err pl_buf_put_varint(struct pl_buf *buf, uint64_t v);
/* NUL-terminate without counting the NUL, so that (char *)data is a C string. */
enum pl_err pl_buf_terminate(struct pl_buf *buf);

/* Big-endian loads and stores on raw memory. */
static inline void pl_store_u16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}
static inline void pl_store_u32(uint8_t *p, uint32_t v)
{
    pl_store_u16(p, (uint16_t)(v >> 16));
    pl_store_u16(p + 2, (uint16_t)v);
}
static inline void pl_store_u64(uint8_t *p, uint64_t v)
{
    pl_store_u32(p, (uint32_t)(v >> 32));
    pl_store_u32(p + 4, (uint32_t)v);
}
static inline uint16_t pl_load_u16(const uint8_t *p)
{
    return (uint16_t)((p[0] << 8) | p[1]);
}
static inline uint32_t pl_load_u32(const uint8_t *p)
{
    return ((uint32_t)pl_load_u16(p) << 16) | pl_load_u16(p + 2);
}
static inline uint64_t pl_load_u64(const uint8_t *p)
{
    return ((uint64_t)pl_load_u32(p) << 32) | pl_load_u32(p + 4);
}

/* Reads from a span; after the first short read `failed` stays set and every get gives zeros, so
 * a decoder may check once at its end. */
struct pl_reader {
    struct pl_span rest;
    bool failed;
};
static inline struct pl_reader pl_reader(struct pl_span span)
{
    return (struct pl_reader){.rest = span, .failed = false};
}
uint8_t pl_get_u8(struct pl_reader *r);
uint16_t pl_get_u16(struct pl_reader *r);
uint32_t pl_get_u32(struct pl_reader *r);
uint64_t pl_get_u64(struct pl_reader *r);
/* What pl_buf_put_varint wrote, and nothing else: a longer form of the same number fails. */
uint64_t pl_get_varint(struct pl_reader *r);
/* A view into the underlying bytes; empty when short. */
struct pl_span pl_get_span(struct pl_reader *r, size_t len);
/* Copies len bytes to out (zeros when short). */
void pl_get_bytes(struct pl_reader *r, void *out, size_t len);

#endif
