#include "proto/base/buf.h"

#include "proto/base/secret.h"

#include <stdio.h>
#include <stdlib.h>

#define FIRST_BYTES 64

void pl_buf_init(struct pl_buf *buf, size_t max_bytes)
{
    *buf = (struct pl_buf){.max_bytes = max_bytes};
}

void pl_buf_release(struct pl_buf *buf)
{
    free(buf->data);
    *buf = (struct pl_buf){.max_bytes = buf->max_bytes};
}

void pl_buf_wipe(struct pl_buf *buf)
{
    pl_wipe(buf->data, buf->cap);
    pl_buf_release(buf);
}

enum pl_err pl_buf_reserve(struct pl_buf *buf, size_t more)
{
    if (more <= buf->cap - buf->len)
        return PL_OK;
    if (buf->len > buf->max_bytes || more > buf->max_bytes - buf->len)
        return PL_ELIMIT;
    size_t need = buf->len + more;
    size_t cap = buf->cap > buf->max_bytes / 2 ? buf->max_bytes : buf->cap * 2;
    if (cap < FIRST_BYTES)
        cap = buf->max_bytes < FIRST_BYTES ? buf->max_bytes : FIRST_BYTES;
    if (cap < need)
        cap = need;
    /* Not realloc: it may leave a copy of a key behind, where pl_buf_wipe cannot reach it. */
    uint8_t *data = malloc(cap);
    if (data == NULL)
        return PL_ENOMEM;
    if (buf->cap > 0) {
        memcpy(data, buf->data, buf->len);
        pl_wipe(buf->data, buf->cap);
        free(buf->data);
    }
    buf->data = data;
    buf->cap = cap;
    return PL_OK;
}

enum pl_err pl_buf_append(struct pl_buf *buf, const void *data, size_t len)
{
    enum pl_err err = pl_buf_reserve(buf, len);
    if (err != PL_OK)
        return err;
    if (len > 0) {
        memcpy(buf->data + buf->len, data, len);
        buf->len += len;
    }
    return PL_OK;
}

enum pl_err pl_buf_append_span(struct pl_buf *buf, struct pl_span span)
{
    return pl_buf_append(buf, span.data, span.len);
}

enum pl_err pl_buf_append_str(struct pl_buf *buf, const char *text)
{
    return pl_buf_append(buf, text, strlen(text));
}

enum pl_err pl_buf_appendf(struct pl_buf *buf, const char *format, ...)
{
    char small[256];
    va_list args;
    va_start(args, format);
    int wanted = vsnprintf(small, sizeof(small), format, args);
    va_end(args);
    if (wanted < 0)
        return PL_EINVAL;
    size_t len = (size_t)wanted;
    if (len < sizeof(small))
        return pl_buf_append(buf, small, len);

    /* vsnprintf insists on a NUL, which must not count against the limit: print into a copy. */
    char *large = malloc(len + 1);
    if (large == NULL)
        return PL_ENOMEM;
    va_start(args, format);
    wanted = vsnprintf(large, len + 1, format, args);
    va_end(args);
    enum pl_err err = wanted < 0 ? PL_EINVAL : pl_buf_append(buf, large, len);
    pl_wipe(large, len);
    free(large);
    return err;
}

enum pl_err pl_buf_put_u8(struct pl_buf *buf, uint8_t v)
{
    return pl_buf_append(buf, &v, sizeof(v));
}

enum pl_err pl_buf_put_u16(struct pl_buf *buf, uint16_t v)
{
    uint8_t bytes[sizeof(v)];
    pl_store_u16(bytes, v);
    return pl_buf_append(buf, bytes, sizeof(bytes));
}

enum pl_err pl_buf_put_u32(struct pl_buf *buf, uint32_t v)
{
    uint8_t bytes[sizeof(v)];
    pl_store_u32(bytes, v);
    return pl_buf_append(buf, bytes, sizeof(bytes));
}

enum pl_err pl_buf_put_u64(struct pl_buf *buf, uint64_t v)
{
    uint8_t bytes[sizeof(v)];
    pl_store_u64(bytes, v);
    return pl_buf_append(buf, bytes, sizeof(bytes));
}

enum pl_err pl_buf_put_varint(struct pl_buf *buf, uint64_t v)
{
    uint8_t bytes[10];
    size_t n = 0;
    for (; v >= 0x80; v >>= 7)
        bytes[n++] = (uint8_t)(v | 0x80);
    bytes[n++] = (uint8_t)v;
    return pl_buf_append(buf, bytes, n);
}

enum pl_err pl_buf_terminate(struct pl_buf *buf)
{
    enum pl_err err = pl_buf_reserve(buf, 1);
    if (err == PL_OK)
        buf->data[buf->len] = '\0';
    return err;
}

/* The next len bytes, or NULL after which nothing more can be had. */
static const uint8_t *take(struct pl_reader *r, size_t len)
{
    if (r->failed || r->rest.len < len) {
        r->failed = true;
        return NULL;
    }
    const uint8_t *p = r->rest.data;
    r->rest = pl_span_from(r->rest, len);
    return p;
}

uint8_t pl_get_u8(struct pl_reader *r)
{
    const uint8_t *p = take(r, 1);
    return p == NULL ? 0 : *p;
}

uint16_t pl_get_u16(struct pl_reader *r)
{
    const uint8_t *p = take(r, 2);
    return p == NULL ? 0 : pl_load_u16(p);
}

uint32_t pl_get_u32(struct pl_reader *r)
{
    const uint8_t *p = take(r, 4);
    return p == NULL ? 0 : pl_load_u32(p);
}

uint64_t pl_get_u64(struct pl_reader *r)
{
    const uint8_t *p = take(r, 8);
    return p == NULL ? 0 : pl_load_u64(p);
}

struct pl_span pl_get_span(struct pl_reader *r, size_t len)
{
    const uint8_t *p = take(r, len);
    return pl_span(p, p == NULL ? 0 : len);
}

void pl_get_bytes(struct pl_reader *r, void *out, size_t len)
{
    const uint8_t *p = take(r, len);
    if (len == 0)
        return;
    if (p != NULL)
        memcpy(out, p, len);
    else
        memset(out, 0, len);
}

uint64_t pl_get_varint(struct pl_reader *r)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t byte = pl_get_u8(r);
        bool fits = shift < 63 || byte <= 1;
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80 && fits && (byte != 0 || shift == 0))
            return r->failed ? 0 : v;
        if (byte < 0x80 || !fits)
            break;
    }
    r->failed = true;
    return 0;
}
