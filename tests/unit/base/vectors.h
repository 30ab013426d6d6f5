/* Test vectors as their standards print them: in hexadecimal. Include after cmocka.h. */
#ifndef POLDER_TESTS_UNIT_BASE_VECTORS_H
#define POLDER_TESTS_UNIT_BASE_VECTORS_H

#include "proto/base/text.h"

struct bytes {
    uint8_t data[256];
    size_t len;
};

static inline struct bytes unhex(const char *text)
{
    struct bytes b = {.len = strlen(text) / 2};
    assert_true(b.len <= sizeof(b.data) && pl_hex_decode(pl_span_str(text), b.data, b.len));
    return b;
}

static inline struct pl_span view(const struct bytes *b)
{
    return pl_span(b->data, b->len);
}

static inline void assert_hex(const uint8_t *data, size_t len, const char *expected)
{
    char text[2 * 256 + 1];
    assert_true(len <= 256);
    pl_hex_encode(pl_span(data, len), text);
    assert_string_equal(text, expected);
}

#endif
