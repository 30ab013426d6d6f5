#include "proto/wire/event_scan.h"

#include "proto/base/buf.h"
#include "proto/wire/catalog.h"
#include "proto/wire/event.h"
#include "proto/wire/pii.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/*
 * The bytes are looked at 64 at a time, as two sets of bits: bytes from 0x20 to 0x3f, of which
 * numbers are made in whatever notation, and bytes that begin something. The heads of msgpack may
 * be among either; so a run of number bytes may be longer than the number in it, never shorter.
 */
#define BLOCK       64
#define RUN_BYTES   8                    /* of number bytes: shorter ones hold no number */
#define STEP        (BLOCK - RUN_BYTES)  /* each run of RUN_BYTES is whole in one block */
#define LOOK_BACK   (PII_NAME_BYTES + 8) /* a name in front, with what stands between */
#define DIGITS_MIN  8                    /* of a phone number */
#define PHONE_LEAST 10000000
#define CARD_LEAST  UINT64_C(4000000000000) /* thirteen digits that begin with a 4 */
#define STREAM_MAX  96                      /* digits of a run; more are looked at properly */

struct scan {
    struct pl_span in;
    unsigned kinds;
    size_t seen; /* runs up to here have been looked at */
};

/* ---- 64 bytes as bits */

typedef uint8_t vec __attribute__((vector_size(16)));

static inline vec load(const uint8_t *p)
{
    vec v;
    memcpy(&v, p, sizeof(v));
    return v;
}

/* The top bit of every byte, the first one lowest. */
static inline uint64_t bits_of(vec v)
{
#if defined(__SSE2__)
    return (uint64_t)(unsigned)_mm_movemask_epi8((__m128i)v);
#else
    uint64_t half[2];
    memcpy(half, &v, sizeof(half));
    for (int i = 0; i < 2; i++) {
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        half[i] = __builtin_bswap64(half[i]);
#endif
        /* Each byte's bit moves to its place in the top byte. */
        half[i] =
            (half[i] >> 7 & UINT64_C(0x0101010101010101)) * UINT64_C(0x0102040810204080) >> 56;
    }
    return half[0] | half[1] << 8;
#endif
}

static inline vec is_number(vec v)
{
    return (vec)((v & 0xe0) == 0x20);
}

static inline vec is_digit(vec v)
{
    return (vec)((vec)(v - '0') < 10);
}

/* No instruction of every x86-64. */
static inline unsigned count_bits(uint64_t v)
{
    v -= v >> 1 & UINT64_C(0x5555555555555555);
    v = (v & UINT64_C(0x3333333333333333)) + (v >> 2 & UINT64_C(0x3333333333333333));
    v = (v + (v >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    return (unsigned)(v * UINT64_C(0x0101010101010101) >> 56);
}

/* '@', '%', the heads of long integers, and "ip" in any case. */
static inline vec is_mark(vec v, vec next)
{
    return (vec)(v == '@') | (vec)(v == '%') | (vec)((v & 0xfe) == 0xce) |
           ((vec)((v & 0xdf) == 'I') & (vec)((next & 0xdf) == 'P'));
}

static inline uint64_t join(vec a, vec b, vec c, vec d)
{
    return bits_of(a) | bits_of(b) << 16 | bits_of(c) << 32 | bits_of(d) << 48;
}

/* Reads BLOCK + 1 bytes. */
static inline void look(const uint8_t *p, uint64_t *numbers, uint64_t *marks)
{
    const vec a = load(p), b = load(p + 16), c = load(p + 32), d = load(p + 48);
    *numbers = join(is_number(a), is_number(b), is_number(c), is_number(d));
    const vec in_a = is_mark(a, load(p + 1)), in_b = is_mark(b, load(p + 17));
    const vec in_c = is_mark(c, load(p + 33)), in_d = is_mark(d, load(p + 49));
    *marks = bits_of(in_a | in_b | in_c | in_d) != 0 ? join(in_a, in_b, in_c, in_d) : 0;
}

/* ---- marks */

static uint8_t byte_at(const struct scan *scan, size_t at)
{
    return at < scan->in.len ? scan->in.data[at] : 0;
}

static unsigned digits_from(const struct scan *scan, size_t at)
{
    unsigned digits = 0;
    for (; (byte_at(scan, at) & 0xe0) == 0x20; at++)
        digits += pii_is_digit(scan->in.data[at]);
    return digits;
}

static bool may_be_phone(const struct scan *scan, size_t first)
{
    const uint8_t c = byte_at(scan, first);
    return (scan->kinds & PII_PHONE) != 0 && c >= '1' && c <= '9' &&
           digits_from(scan, first) >= DIGITS_MIN;
}

/* Does a label of a domain begin at `at`, and another one follow it? Heads of msgpack and numbers
 * are soon no UTF-8. */
static bool may_be_domain(const struct scan *scan, size_t at)
{
    const size_t start = at;
    for (;;) {
        const uint8_t c = byte_at(scan, at);
        if (c != '-' && !pii_is_alnum(c))
            return at > start && (c == '.' || c == '%');
        at++;
        if (c < 0x80)
            continue;
        if (c < 0xc2 || (byte_at(scan, at) & 0xc0) != 0x80)
            return false;
        while ((byte_at(scan, at) & 0xc0) == 0x80)
            at++;
    }
}

/* The at-sign from `at` to `behind`. What stands before it may be the head of a string that begins
 * with it, which looks like the end of a character. */
static bool may_be_email(const struct scan *scan, size_t at, size_t behind)
{
    const uint8_t *data = scan->in.data;
    if ((scan->kinds & PII_EMAIL) == 0 || at < 2)
        return false;
    const bool is_local = data[at - 1] >= 0x80 ? data[at - 1] < 0xc0 && data[at - 2] >= 0x80
                                               : pii_is_local(data[at - 1]);
    return is_local && may_be_domain(scan, behind);
}

/* "%40", "%2540", "%2B6…" */
static bool may_be_escaped(const struct scan *scan, size_t at)
{
    size_t code = at + 1;
    if (byte_at(scan, code) == '2' && (byte_at(scan, code + 1) | 0x20) == 'b')
        return may_be_phone(scan, at + 3);
    while (byte_at(scan, code) == '2' && byte_at(scan, code + 1) == '5')
        code += 2;
    return byte_at(scan, code) == '4' && byte_at(scan, code + 1) == '0' &&
           may_be_email(scan, at, code + 2);
}

/* Does something that names a phone stand in front of `at`? Any of the names, anywhere. */
static bool names_phone(const struct scan *scan, size_t at)
{
    /* by the low bits of their first letters */
    static const char *const words[32][2] = {
        ['p' & 31] = {"phone"}, ['m' & 31] = {"mobi", "msisdn"},
        ['t' & 31] = {"tel"},   ['w' & 31] = {"whatsapp"},
        ['h' & 31] = {"handy"}, ['g' & 31] = {"gsm"},
        ['s' & 31] = {"sms"},   ['f' & 31] = {"fax"},
        ['c' & 31] = {"cell"},
    };
    uint8_t text[LOOK_BACK + 8] = {0}; /* the longest word may be read behind it */
    const size_t len = at < LOOK_BACK ? at : LOOK_BACK;
    memcpy(text, scan->in.data + at - len, len);
    for (size_t i = 0; i < LOOK_BACK; i++) /* of one length, so that it is done in vectors */
        text[i] |= 0x20;
    for (size_t i = 0; i < len; i++) {
        const char *const *word = words[text[i] & 31];
        for (size_t w = 0; w < 2 && word[w] != NULL; w++)
            if (text[i + 1] == (uint8_t)word[w][1] &&
                strncmp((const char *)text + i, word[w], strlen(word[w])) == 0)
                return true;
    }
    return false;
}

/* The same of the key whose value begins at `at`: any text there with a head that fits. */
static bool key_names_phone(const struct scan *scan, size_t at)
{
    const uint8_t *data = scan->in.data;
    bool fits = false;
    for (size_t len = 3; len < 32 && len < at; len++) {
        if (data[at - len - 1] != (0xa0 | len))
            continue;
        if (pii_is_phone_name(pl_span(data + at - len, len)))
            return true;
        fits = true;
    }
    return !fits && names_phone(scan, at); /* a longer key */
}

static bool is_card_number(uint64_t number)
{
    uint8_t digits[20];
    size_t at = sizeof(digits);
    for (; number > 0; number /= 10)
        digits[--at] = (uint8_t)('0' + number % 10);
    return pii_is_card(digits + at, sizeof(digits) - at);
}

/* An integer of 32 or 64 bits may be a card's number, or a phone's behind the end of a name. */
static inline bool may_be_number(const struct scan *scan, size_t at)
{
    const uint8_t *p = scan->in.data + at;
    const uint64_t number = p[0] == 0xcf ? pl_load_u64(p + 1) : pl_load_u32(p + 1);
    if (number < CARD_LEAST && (p[-1] < ' ' || number < PHONE_LEAST))
        return false;
    return ((scan->kinds & PII_CARD) != 0 && number >= CARD_LEAST && is_card_number(number)) ||
           ((scan->kinds & PII_PHONE) != 0 && p[-1] >= ' ' && key_names_phone(scan, at));
}

/* Behind the "ip" of a name is its end, where a value's head stands, or one of these. */
static inline bool may_end_address(uint8_t c)
{
    return c >= 0x80 || (c | 0x20) == 'a' || (c | 0x20) == 'v' || (c | 0x20) == 's' || c == '-' ||
           c == '_' || c == '[';
}

/* Names have ASCII only: the first other byte before the mark is a name's head, if it is one. */
static bool may_be_address(const struct scan *scan, size_t at)
{
    const uint8_t *data = scan->in.data;
    size_t start = at;
    if (!may_end_address(byte_at(scan, at + 2)))
        return false;
    while (start > 0 && at - start < PII_ADDRESS_NAME_BYTES && data[start - 1] < 0x80)
        start--;
    const uint8_t head = start > 0 ? data[start - 1] : 0;
    const struct pl_span name = pl_span(data + start, head & 0x1f);
    return (head & 0xe0) == 0xa0 && start + name.len >= at + 2 &&
           start + name.len <= scan->in.len && pii_is_address_name(name);
}

static inline bool is_bad_mark(const struct scan *scan, size_t at)
{
    const uint8_t mark = scan->in.data[at];
    if (mark >= 0x80)
        return may_be_number(scan, at);
    if (mark == '@')
        return may_be_email(scan, at, at + 1);
    if (mark == '%')
        return may_be_escaped(scan, at);
    return may_be_address(scan, at);
}

/* ---- runs of number bytes */

/* Is a card's number anywhere in these digits, however they are grouped? */
static bool may_be_card(const uint8_t *digits, size_t count)
{
    for (size_t from = 0; from + PII_CARD_DIGITS_MIN <= count; from++)
        for (size_t len = PII_CARD_DIGITS_MIN; len <= PII_CARD_DIGITS_MAX && from + len <= count;
             len++)
            if (pii_is_card(digits + from, len))
                return true;
    return false;
}

/* A number counts by its name when it is all of a string, which begins behind a head, or all of a
 * parameter, which begins behind one of these. */
static bool may_have_name(const struct scan *scan, size_t start, bool has_sign)
{
    return has_sign || start == 0 || scan->in.data[start - 1] >= 0x80;
}

static bool is_bad_run(struct scan *scan, size_t at)
{
    const uint8_t *data = scan->in.data;
    uint8_t digits[STREAM_MAX];
    size_t start = at, count = 0;
    bool has_sign = false;
    while (start > scan->seen && (data[start - 1] & 0xe0) == 0x20)
        start--;
    for (at = start; (byte_at(scan, at) & 0xe0) == 0x20; at++) {
        if (data[at] == '+' && may_be_phone(scan, at + 1))
            return true;
        if (pii_is_digit(data[at]))
            digits[count < STREAM_MAX ? count++ : 0] = data[at];
        else if (pii_is_escape_of(scan->in, at, '2', '0'))
            at += 2;
        else
            has_sign |= data[at] == '=' || data[at] == ':';
    }
    scan->seen = at;
    if (count < DIGITS_MIN)
        return false;
    return count == STREAM_MAX || ((scan->kinds & PII_CARD) != 0 && may_be_card(digits, count)) ||
           ((scan->kinds & PII_PHONE) != 0 && may_have_name(scan, start, has_sign) &&
            names_phone(scan, start));
}

static inline uint64_t runs_of(uint64_t numbers)
{
    numbers &= numbers >> 1;
    numbers &= numbers >> 2;
    return numbers & (numbers >> 4);
}

static inline uint64_t digits_of(const uint8_t *p)
{
    return join(is_digit(load(p)), is_digit(load(p + 16)), is_digit(load(p + 32)),
                is_digit(load(p + 48)));
}

/* Does the run at bit `at` end in the block, and hold too few digits? at is not 0. */
static inline bool is_short_run(uint64_t numbers, uint64_t digits, unsigned at)
{
    const uint64_t behind = ~numbers >> at;
    const uint64_t run = (behind ^ (behind - 1)) >> 1; /* below the first that is none */
    return behind != 0 && ((numbers >> (at - 1)) & 1) == 0 &&
           count_bits(digits >> at & run) < DIGITS_MIN;
}

static bool is_bad_block(struct scan *scan, size_t from)
{
    const uint8_t *bytes = scan->in.data + from;
    const size_t left = scan->in.len - from;
    const uint64_t inside = left >= BLOCK ? UINT64_MAX : (UINT64_C(1) << left) - 1;
    uint64_t numbers, marks;
    look(bytes, &numbers, &marks);
    numbers &= inside;
    for (marks &= inside; marks != 0; marks &= marks - 1)
        if (is_bad_mark(scan, from + (size_t)__builtin_ctzll(marks)))
            return true;
    uint64_t runs = runs_of(numbers);
    if (runs == 0)
        return false;
    const uint64_t digits = digits_of(bytes);
    /* Where each begins: bits behind the first of one stand for the same. */
    for (runs &= ~(runs << 1); runs != 0; runs &= runs - 1) {
        const unsigned bit = (unsigned)__builtin_ctzll(runs);
        if (bit > 0 && is_short_run(numbers, digits, bit))
            continue;
        if (from + bit >= scan->seen && is_bad_run(scan, from + bit))
            return true;
    }
    return false;
}

/* How many bytes the value at `at` takes, of what stands in the first fields: whole numbers and
 * text. 0: something else. */
static size_t head_bytes(struct pl_span in, size_t at)
{
    const uint8_t head = in.data[at];
    if (head < 0x80)
        return 1;
    if (head >= 0xa0 && head <= 0xbf)
        return 1u + (head & 0x1f);
    if (head >= 0xcc && head <= 0xcf)
        return 1 + ((size_t)1 << (head - 0xcc));
    if (in.len - at < 3)
        return 0;
    return head == 0xd9   ? 2u + in.data[at + 1]
           : head == 0xda ? 3u + pl_load_u16(in.data + at + 1)
                          : 0;
}

/* Behind the message id, in which only addresses are looked for: it is full of digits. */
static size_t skip_head(struct pl_span in)
{
    size_t at = in.len > 0 && in.data[0] == 0xde ? 3 : 1;
    while (at + 1 < in.len && in.data[at] <= EVENT_MESSAGE_ID) {
        const size_t bytes = head_bytes(in, at + 1);
        if (bytes == 0)
            break;
        at += 1 + bytes;
    }
    return at < in.len ? at : in.len;
}

bool event_scan(struct pl_span encoded, unsigned kinds)
{
    struct scan scan = {.in = encoded, .kinds = kinds};
    const size_t head = skip_head(encoded);
    if ((kinds & PII_EMAIL) != 0 &&
        (memchr(encoded.data, '@', head) != NULL || memchr(encoded.data, '%', head) != NULL))
        return true;
    scan.seen = head;
    for (size_t at = head; at < encoded.len; at += STEP)
        if (is_bad_block(&scan, at))
            return true;
    return false;
}
