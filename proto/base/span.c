#include "proto/base/span.h"

int pl_span_cmp(struct pl_span a, struct pl_span b)
{
    size_t common = a.len < b.len ? a.len : b.len;
    int order = common == 0 ? 0 : memcmp(a.data, b.data, common);
    if (order != 0)
        return order;
    return (a.len > b.len) - (a.len < b.len);
}

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

bool pl_span_eq_nocase(struct pl_span a, struct pl_span b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (lower(a.data[i]) != lower(b.data[i]))
            return false;
    return true;
}

/* Length of the well-formed multi-byte sequence at p, 0 if there is none (RFC 3629 section 4). */
static size_t utf8_sequence(const uint8_t *p, size_t left)
{
    uint8_t first_low = 0x80, first_high = 0xbf;
    size_t len;
    if (p[0] >= 0xc2 && p[0] <= 0xdf)
        len = 2;
    else if (p[0] >= 0xe0 && p[0] <= 0xef)
        len = 3;
    else if (p[0] >= 0xf0 && p[0] <= 0xf4)
        len = 4;
    else
        return 0;
    if (p[0] == 0xe0)
        first_low = 0xa0; /* shorter would do */
    else if (p[0] == 0xed)
        first_high = 0x9f; /* surrogates */
    else if (p[0] == 0xf0)
        first_low = 0x90; /* shorter would do */
    else if (p[0] == 0xf4)
        first_high = 0x8f; /* over U+10FFFF */
    if (left < len || p[1] < first_low || p[1] > first_high)
        return 0;
    for (size_t i = 2; i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return len;
}

size_t pl_span_utf8_prefix(struct pl_span a)
{
    size_t i = 0;
    while (i < a.len) {
        uint64_t eight;
        if (a.len - i >= sizeof(eight)) {
            memcpy(&eight, a.data + i, sizeof(eight));
            if ((eight & UINT64_C(0x8080808080808080)) == 0) {
                i += sizeof(eight);
                continue;
            }
        }
        if (a.data[i] < 0x80) {
            i++;
            continue;
        }
        size_t len = utf8_sequence(a.data + i, a.len - i);
        if (len == 0)
            return i;
        i += len;
    }
    return a.len;
}

bool pl_span_is_utf8(struct pl_span a)
{
    return pl_span_utf8_prefix(a) == a.len;
}

bool pl_span_to_u64(struct pl_span a, uint64_t *out)
{
    if (a.len == 0)
        return false;
    uint64_t value = 0;
    for (size_t i = 0; i < a.len; i++) {
        if (a.data[i] < '0' || a.data[i] > '9')
            return false;
        if (__builtin_mul_overflow(value, (uint64_t)10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(a.data[i] - '0'), &value))
            return false;
    }
    *out = value;
    return true;
}

bool pl_span_to_i64(struct pl_span a, int64_t *out)
{
    bool negative = a.len > 0 && a.data[0] == '-';
    uint64_t magnitude;
    if (!pl_span_to_u64(pl_span_from(a, negative ? 1 : 0), &magnitude))
        return false;
    if (magnitude > (uint64_t)INT64_MAX + (negative ? 1 : 0))
        return false;
    *out = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return true;
}
