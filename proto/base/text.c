#include "proto/base/text.h"

#include <stdio.h>

void pl_hex_encode(struct pl_span in, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < in.len; i++) {
        *out++ = digits[in.data[i] >> 4];
        *out++ = digits[in.data[i] & 15];
    }
    *out = '\0';
}

/* The value in the low four bits; above, whether it is a digit and whether a lowercase one. */
#define DIGIT 0x10
#define LOWER (DIGIT | 0x20)
static const uint8_t HEX[256] = {
    ['0'] = LOWER | 0,  ['1'] = LOWER | 1,  ['2'] = LOWER | 2,  ['3'] = LOWER | 3,
    ['4'] = LOWER | 4,  ['5'] = LOWER | 5,  ['6'] = LOWER | 6,  ['7'] = LOWER | 7,
    ['8'] = LOWER | 8,  ['9'] = LOWER | 9,  ['a'] = LOWER | 10, ['b'] = LOWER | 11,
    ['c'] = LOWER | 12, ['d'] = LOWER | 13, ['e'] = LOWER | 14, ['f'] = LOWER | 15,
    ['A'] = DIGIT | 10, ['B'] = DIGIT | 11, ['C'] = DIGIT | 12, ['D'] = DIGIT | 13,
    ['E'] = DIGIT | 14, ['F'] = DIGIT | 15,
};

/* Every edge request names a write key: no branch a digit. */
static bool decode_digits(struct pl_span text, uint8_t *out, size_t out_len, uint8_t wanted)
{
    uint8_t common = wanted;
    if (text.len % 2 != 0 || text.len / 2 != out_len)
        return false;
    for (size_t i = 0; i < text.len; i++)
        common &= HEX[text.data[i]];
    if (common != wanted)
        return false;
    for (size_t i = 0; i < out_len; i++)
        out[i] = (uint8_t)(HEX[text.data[2 * i]] << 4 | (HEX[text.data[2 * i + 1]] & 15));
    return true;
}

bool pl_hex_decode(struct pl_span text, uint8_t *out, size_t out_len)
{
    return decode_digits(text, out, out_len, DIGIT);
}

bool pl_hex_decode_lower(struct pl_span text, uint8_t *out, size_t out_len)
{
    return decode_digits(text, out, out_len, LOWER);
}

enum pl_err pl_base64_encode(struct pl_span in, struct pl_buf *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if (in.len > SIZE_MAX / 4)
        return PL_ELIMIT;
    size_t out_len = (in.len + 2) / 3 * 4;
    enum pl_err err = pl_buf_reserve(out, out_len);
    if (err != PL_OK || out_len == 0)
        return err;
    uint8_t *p = out->data + out->len;
    for (size_t i = 0; i < in.len; i += 3) {
        size_t left = in.len - i;
        uint32_t bits = (uint32_t)in.data[i] << 16;
        if (left > 1)
            bits |= (uint32_t)in.data[i + 1] << 8;
        if (left > 2)
            bits |= in.data[i + 2];
        *p++ = (uint8_t)digits[bits >> 18];
        *p++ = (uint8_t)digits[(bits >> 12) & 63];
        *p++ = left > 1 ? (uint8_t)digits[(bits >> 6) & 63] : '=';
        *p++ = left > 2 ? (uint8_t)digits[bits & 63] : '=';
    }
    out->len += out_len;
    return PL_OK;
}

/* 0 to 63, or -1. The table holds one more than the digit, so that what it leaves out is 0. */
static int base64_digit(uint8_t c)
{
    static const uint8_t table[256] = {
        ['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,
        ['H'] = 8,  ['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14,
        ['O'] = 15, ['P'] = 16, ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21,
        ['V'] = 22, ['W'] = 23, ['X'] = 24, ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28,
        ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32, ['g'] = 33, ['h'] = 34, ['i'] = 35,
        ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40, ['o'] = 41, ['p'] = 42,
        ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48, ['w'] = 49,
        ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
        ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['+'] = 63,
        ['-'] = 63, ['/'] = 64, ['_'] = 64,
    };
    return table[c] - 1;
}

/* Cuts off the padding; false when it is there but not as RFC 4648 section 4 has it. */
static bool base64_unpad(struct pl_span *text)
{
    size_t padding = 0;
    while (padding < 2 && padding < text->len && text->data[text->len - 1 - padding] == '=')
        padding++;
    if (padding > 0 && text->len % 4 != 0)
        return false;
    text->len -= padding;
    return true;
}

static bool base64_alphabet(struct pl_span text)
{
    bool standard = false, url = false;
    for (size_t i = 0; i < text.len; i++) {
        if (base64_digit(text.data[i]) < 0)
            return false;
        standard |= text.data[i] == '+' || text.data[i] == '/';
        url |= text.data[i] == '-' || text.data[i] == '_';
    }
    return !(standard && url);
}

static uint32_t base64_bits(uint8_t digit, unsigned shift)
{
    return (uint32_t)base64_digit(digit) << shift;
}

enum pl_err pl_base64_decode(struct pl_span text, struct pl_buf *out)
{
    if (!base64_unpad(&text) || text.len % 4 == 1 || !base64_alphabet(text))
        return PL_EINVAL;
    size_t tail = text.len % 4;
    /* Bits of the last digit that belong to no byte must be zero (RFC 4648 section 3.5). */
    if (tail != 0 && (base64_digit(text.data[text.len - 1]) & (tail == 2 ? 15 : 3)) != 0)
        return PL_EINVAL;
    size_t out_len = text.len / 4 * 3 + (tail == 0 ? 0 : tail - 1);
    enum pl_err err = pl_buf_reserve(out, out_len);
    if (err != PL_OK || out_len == 0)
        return err;
    uint8_t *p = out->data + out->len;
    const uint8_t *digits = text.data, *last = text.data + text.len - tail;
    for (; digits < last; digits += 4) {
        const uint32_t quad = base64_bits(digits[0], 18) | base64_bits(digits[1], 12) |
                              base64_bits(digits[2], 6) | base64_bits(digits[3], 0);
        *p++ = (uint8_t)(quad >> 16);
        *p++ = (uint8_t)(quad >> 8);
        *p++ = (uint8_t)quad;
    }
    if (tail >= 2)
        *p++ = (uint8_t)(base64_bits(digits[0], 2) | base64_bits(digits[1], 0) >> 4);
    if (tail == 3)
        *p++ = (uint8_t)(base64_bits(digits[1], 4) | base64_bits(digits[2], 0) >> 2);
    out->len += out_len;
    return PL_OK;
}

/* Whether it is what a cut may leave of one character. */
static bool is_cut_off(struct pl_span a)
{
    for (size_t i = 1; i < a.len; i++)
        if ((a.data[i] & 0xc0) != 0x80)
            return false;
    return a.len < 4 && a.data[0] >= 0xc2;
}

void pl_text_print_v(char *out, size_t out_bytes, const char *format, va_list args)
{
    if (vsnprintf(out, out_bytes, format, args) < 0)
        out[0] = '\0';
    struct pl_span rest = pl_span_str(out);
    while ((rest = pl_span_from(rest, pl_span_utf8_prefix(rest))).len > 0) {
        char *at = out + (rest.data - (const uint8_t *)out);
        *at = is_cut_off(rest) ? '\0' : '?';
        rest = pl_span_str(at);
    }
}

void pl_text_print(char *out, size_t out_bytes, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    pl_text_print_v(out, out_bytes, format, args);
    va_end(args);
}

enum pl_err pl_form_decode(struct pl_span text, struct pl_buf *out)
{
    enum pl_err err = pl_buf_reserve(out, text.len);
    if (err != PL_OK)
        return err;
    size_t used = out->len;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c == '+') {
            c = ' ';
        } else if (c == '%') {
            if (text.len - i < 3 || !pl_hex_decode(pl_span(text.data + i + 1, 2), &c, 1))
                return PL_EINVAL;
            i += 2;
        }
        out->data[used++] = c;
    }
    out->len = used;
    return PL_OK;
}

enum pl_err pl_form_encode(struct pl_span text, struct pl_buf *out)
{
    enum pl_err err = PL_OK;
    for (size_t i = 0; i < text.len && err == PL_OK; i++) {
        uint8_t c = text.data[i], letter = c | 0x20;
        bool plain = (letter >= 'a' && letter <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
                     c == '.' || c == '_' || c == '~';
        err = plain ? pl_buf_put_u8(out, c) : pl_buf_appendf(out, "%%%02X", c);
    }
    return err;
}

bool pl_form_next(struct pl_span *rest, struct pl_span *name, struct pl_span *value)
{
    while (rest->len > 0 && rest->data[0] == '&')
        *rest = pl_span_from(*rest, 1);
    if (rest->len == 0)
        return false;
    const uint8_t *end = memchr(rest->data, '&', rest->len);
    size_t len = end == NULL ? rest->len : (size_t)(end - rest->data);
    const uint8_t *equals = memchr(rest->data, '=', len);
    size_t name_len = equals == NULL ? len : (size_t)(equals - rest->data);
    *name = pl_span(rest->data, name_len);
    *value = pl_span_from(pl_span(rest->data, len), name_len + 1);
    *rest = pl_span_from(*rest, len);
    return true;
}

bool pl_form_find(struct pl_span query, const char *name, struct pl_span *value)
{
    struct pl_span n, v;
    while (pl_form_next(&query, &n, &v))
        if (pl_span_eq_str(n, name)) {
            *value = v;
            return true;
        }
    return false;
}
