#include "proto/wire/mask_pack.h"

#include "proto/wire/catalog.h"
#include "proto/wire/msgpack_put.h"
#include "proto/wire/pii.h"

#include <stdio.h>

#define DEPTH_MAX 32

/* ---- reading: what masking must tell apart, and the rest as bytes */

enum head_kind { HEAD_OTHER, HEAD_UINT, HEAD_STR, HEAD_ARRAY, HEAD_MAP };
struct head {
    enum head_kind kind;
    uint64_t n;           /* the number, or how many of what follows */
    struct pl_span bytes; /* STR: the text; OTHER and UINT: the whole value */
};

/* Bytes behind a head that stands for itself: numbers, literals, binary and extensions' data. */
static size_t other_bytes(struct pl_reader *r, uint8_t head)
{
    static const uint8_t fixed[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 8, 1,
                                    2, 4, 8, 1, 2, 4, 8, 2, 3, 5, 9, 17}; /* 0xc0 to 0xd8 */
    switch (head) {
    case 0xc4:
        return pl_get_u8(r);
    case 0xc5:
        return pl_get_u16(r);
    case 0xc6:
        return pl_get_u32(r);
    case 0xc7:
        return (size_t)pl_get_u8(r) + 1;
    case 0xc8:
        return (size_t)pl_get_u16(r) + 1;
    case 0xc9:
        return (size_t)pl_get_u32(r) + 1;
    default:
        return head >= 0xc0 && head <= 0xd8 ? fixed[head - 0xc0] : 0;
    }
}

/* before: what was left when `first` was still to come. */
static void take_other(struct pl_reader *r, uint8_t first, struct pl_span before, struct head *head)
{
    const struct pl_span data = pl_get_span(r, other_bytes(r, first));
    head->kind = first < 0x80 || (first >= 0xcc && first <= 0xcf) ? HEAD_UINT : HEAD_OTHER;
    head->n = first < 0x80 ? first : 0;
    for (size_t i = 0; head->kind == HEAD_UINT && i < data.len; i++)
        head->n = head->n << 8 | data.data[i];
    head->bytes = pl_span(before.data, before.len - r->rest.len);
}

static struct head take_head(struct pl_reader *r)
{
    struct head head = {.kind = HEAD_OTHER};
    const struct pl_span before = r->rest;
    const uint8_t first = pl_get_u8(r);
    if (first >= 0xa0 && first <= 0xbf) {
        head = (struct head){HEAD_STR, first & 0x1f, {NULL, 0}};
    } else if (first >= 0x80 && first <= 0x9f) {
        head = (struct head){first < 0x90 ? HEAD_MAP : HEAD_ARRAY, first & 0x0f, {NULL, 0}};
    } else if (first >= 0xd9 && first <= 0xdb) {
        head.kind = HEAD_STR;
        head.n = first == 0xd9 ? pl_get_u8(r) : first == 0xda ? pl_get_u16(r) : pl_get_u32(r);
    } else if (first >= 0xdc && first <= 0xdf) {
        head.kind = first < 0xde ? HEAD_ARRAY : HEAD_MAP;
        head.n = (first & 1) == 0 ? pl_get_u16(r) : pl_get_u32(r);
    } else {
        take_other(r, first, before, &head);
    }
    if (head.kind == HEAD_STR)
        head.bytes = pl_get_span(r, (size_t)head.n);
    return head;
}

static void skip_value(struct pl_reader *r)
{
    for (uint64_t left = 1; left > 0 && !r->failed; left--) {
        const struct head head = take_head(r);
        if (head.kind == HEAD_ARRAY)
            left += head.n;
        else if (head.kind == HEAD_MAP)
            left += 2 * head.n;
    }
}

/* Addresses of machines are not kept under any policy. A whole number below 128, which has no head,
 * is none. */
static bool is_address(const struct pl_reader *value, struct pl_span name)
{
    return value->rest.len > 0 && value->rest.data[0] >= 0x80 && pii_is_address_name(name);
}

static uint64_t count_addresses(struct pl_reader r, uint64_t members)
{
    uint64_t count = 0;
    for (; members > 0 && !r.failed; members--) {
        const struct head key = take_head(&r);
        count += key.kind == HEAD_STR && is_address(&r, key.bytes);
        skip_value(&r);
    }
    return count;
}

/* ---- writing */

struct walk {
    struct mask *mask;
    struct pl_reader in;
    bool is_traits;
    bool changed;
};

/* Gives the text as it was written. */
static struct pl_span put_text(struct walk *walk, struct pl_span text)
{
    struct pl_buf *out = walk->mask->scratch;
    const size_t start = out->len;
    walk->changed |= mask_text(walk->mask, MASK_TEXT, &text);
    /* The masked text stands where its head belongs. */
    const size_t masked = out->len - start;
    if (masked == 0) {
        mask_took(walk->mask, (enum pl_err)msgpack_put_text(out, text.data, text.len));
        return text;
    }
    mask_took(walk->mask, (enum pl_err)msgpack_put_str(out, masked));
    const size_t head = out->len - start - masked;
    if (walk->mask->err != PL_OK)
        return text;
    uint8_t bytes[8];
    memcpy(bytes, out->data + start + masked, head);
    memmove(out->data + start + head, out->data + start, masked);
    memcpy(out->data + start, bytes, head);
    return pl_span(out->data + start + head, masked);
}

static void put_word(struct walk *walk, const char *word)
{
    walk->mask->masked++;
    walk->changed = true;
    mask_took(walk->mask, (enum pl_err)msgpack_put_text(walk->mask->scratch, word, strlen(word)));
}

/* What is a card or phone number only as a whole, and only because of its name. */
static bool put_number(struct walk *walk, const struct head *head, struct pl_span name)
{
    char digits[24];
    const int len = head->kind == HEAD_UINT
                        ? snprintf(digits, sizeof(digits), "%llu", (unsigned long long)head->n)
                        : 0;
    const struct pl_span text = head->kind == HEAD_STR ? head->bytes : pl_span(digits, (size_t)len);
    const unsigned kinds = walk->mask->policy->kinds;
    if ((kinds & PII_CARD) != 0 && head->kind == HEAD_UINT && pii_is_card(text.data, text.len))
        put_word(walk, "[card]");
    else if ((kinds & PII_PHONE) != 0 && pii_is_phone(text) && pii_is_phone_name(name))
        put_word(walk, "[phone]");
    else
        return false;
    return true;
}

static void put_value(struct walk *walk, struct pl_span name, unsigned depth);

static void put_map(struct walk *walk, uint64_t members, unsigned depth)
{
    const uint64_t dropped = count_addresses(walk->in, members);
    walk->changed |= dropped > 0;
    mask_took(walk->mask,
              (enum pl_err)msgpack_put_map(walk->mask->scratch, (size_t)(members - dropped)));
    for (; members > 0 && walk->mask->err == PL_OK && !walk->in.failed; members--) {
        const struct head key = take_head(&walk->in);
        if (key.kind != HEAD_STR) {
            walk->in.failed = true;
        } else if (is_address(&walk->in, key.bytes)) {
            skip_value(&walk->in);
        } else {
            put_value(walk, put_text(walk, key.bytes), depth + 1);
        }
    }
}

static void put_array(struct walk *walk, uint64_t elements, unsigned depth)
{
    mask_took(walk->mask, (enum pl_err)msgpack_put_array(walk->mask->scratch, (size_t)elements));
    for (; elements > 0 && walk->mask->err == PL_OK && !walk->in.failed; elements--)
        put_value(walk, pl_span(NULL, 0), depth + 1);
}

static void put_value(struct walk *walk, struct pl_span name, unsigned depth)
{
    const struct head head = take_head(&walk->in);
    if (walk->in.failed || depth > DEPTH_MAX) {
        walk->in.failed = true;
        return;
    }
    switch (head.kind) {
    case HEAD_MAP:
        put_map(walk, head.n, depth);
        break;
    case HEAD_ARRAY:
        put_array(walk, head.n, depth);
        break;
    case HEAD_STR:
        if (walk->is_traits && depth == 1 && pl_span_eq(name, PL_SPAN_LIT("email")))
            mask_describes(walk->mask, head.bytes);
        if (!put_number(walk, &head, name))
            put_text(walk, head.bytes);
        break;
    case HEAD_UINT:
        if (put_number(walk, &head, name))
            break;
        /* fall through */
    case HEAD_OTHER:
        mask_took(walk->mask, pl_buf_append_span(walk->mask->scratch, head.bytes));
    }
}

bool mask_pack(struct mask *mask, bool is_traits, struct pl_span *pack)
{
    struct walk walk = {.mask = mask, .in = pl_reader(*pack), .is_traits = is_traits};
    const size_t start = mask->scratch->len;
    put_value(&walk, pl_span(NULL, 0), 0);
    if (walk.in.failed || walk.in.rest.len > 0)
        mask_took(mask, PL_ECORRUPT);
    if (mask->err != PL_OK || !walk.changed) {
        mask->scratch->len = start;
        return false;
    }
    *pack = pl_span(mask->scratch->data + start, mask->scratch->len - start);
    return true;
}
