/*
 * span: a borrowed run of bytes. Owns nothing, never NUL-terminated, cheap to pass by value.
 *
 * Promise: whoever hands out a span says how long the bytes behind it live; a span itself never
 * needs a release. A span of length 0 may have a NULL pointer.
 */
#ifndef POLDER_PROTO_BASE_SPAN_H
#define POLDER_PROTO_BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct pl_span {
    const uint8_t *data;
    size_t len;
};

static inline struct pl_span pl_span(const void *data, size_t len)
{
    return (struct pl_span){.data = (const uint8_t *)data, .len = len};
}

/* Of a NUL-terminated string, without the NUL. NULL gives the empty span. */
static inline struct pl_span pl_span_str(const char *text)
{
    return pl_span(text, text == NULL ? 0 : strlen(text));
}

/* Of a string literal; the length is known at compile time. */
#define PL_SPAN_LIT(literal) ((struct pl_span){(const uint8_t *)("" literal), sizeof(literal) - 1})

/* For static initialisers, where a compound literal is not allowed. */
#define PL_SPAN_INIT(literal)                                                                      \
    {                                                                                              \
        (const uint8_t *)("" literal), sizeof(literal) - 1                                         \
    }

static inline bool pl_span_eq(struct pl_span a, struct pl_span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool pl_span_eq_str(struct pl_span a, const char *text)
{
    return pl_span_eq(a, pl_span_str(text));
}

static inline bool pl_span_starts(struct pl_span a, struct pl_span prefix)
{
    return a.len >= prefix.len && (prefix.len == 0 || memcmp(a.data, prefix.data, prefix.len) == 0);
}

/* From offset to the end; the empty span when offset is past it. */
static inline struct pl_span pl_span_from(struct pl_span a, size_t offset)
{
    return offset >= a.len ? pl_span(NULL, 0) : pl_span(a.data + offset, a.len - offset);
}

/* Byte order as in memcmp, shorter first on a tie: <0, 0, >0. */
int pl_span_cmp(struct pl_span a, struct pl_span b);

/* ASCII case folded (HTTP field names, RFC 9110 section 5.1). */
bool pl_span_eq_nocase(struct pl_span a, struct pl_span b);

/* Well-formed UTF-8 per RFC 3629: no overlong forms, surrogates or code points over U+10FFFF. */
bool pl_span_is_utf8(struct pl_span a);
/* How many bytes at its beginning are: a.len when all are. */
size_t pl_span_utf8_prefix(struct pl_span a);

/* Decimal integer, whole span, no sign for the unsigned one, overflow refused. */
bool pl_span_to_u64(struct pl_span a, uint64_t *out);
bool pl_span_to_i64(struct pl_span a, int64_t *out);

/* For "%.*s": PL_SPAN_FMT(s) expands to the two arguments. The length is capped at 512, because
 * what is printed this way is shown to people. */
#define PL_SPAN_FMT(s) ((int)((s).len > 512 ? 512 : (s).len)), ((const char *)(s).data)

#endif
