#include "proto/wire/pii.h"

/* ---- the number itself */

/* Issuers by the number's first six digits (ISO/IEC 7812-1), and how long their numbers are. */
static const struct {
    uint32_t first, last;
    uint32_t lengths; /* a bit each */
} issuers[] = {
#define LENGTH(n) (UINT32_C(1) << (n))
    {400000, 499999, LENGTH(13) | LENGTH(16) | LENGTH(19)}, /* Visa */
    {510000, 559999, LENGTH(16)},                           /* Mastercard */
    {222100, 272099, LENGTH(16)},
    {340000, 349999, LENGTH(15)}, /* American Express */
    {370000, 379999, LENGTH(15)},
    {300000, 305999, LENGTH(14)}, /* Diners Club */
    {360000, 369999, LENGTH(14)},
    {380000, 399999, LENGTH(14) | LENGTH(16)},
    {601100, 601199, LENGTH(16) | LENGTH(19)}, /* Discover */
    {644000, 659999, LENGTH(16) | LENGTH(19)},
    {352800, 358999, LENGTH(16) | LENGTH(17) | LENGTH(18) | LENGTH(19)}, /* JCB */
    {620000, 629999, LENGTH(16) | LENGTH(17) | LENGTH(18) | LENGTH(19)}, /* UnionPay */
    {220000, 220499, LENGTH(16)},                                        /* Mir */
    {501800, 501899, LENGTH(13) | LENGTH(15) | LENGTH(16) | LENGTH(19)}, /* Maestro */
    {502000, 503899, LENGTH(13) | LENGTH(15) | LENGTH(16) | LENGTH(19)},
    {589300, 589399, LENGTH(13) | LENGTH(15) | LENGTH(16) | LENGTH(19)},
    {630400, 630499, LENGTH(13) | LENGTH(15) | LENGTH(16) | LENGTH(19)},
    {675900, 676399, LENGTH(13) | LENGTH(15) | LENGTH(16) | LENGTH(19)},
#undef LENGTH
};

static bool has_issuer(const uint8_t *digits, size_t count)
{
    uint32_t six = 0;
    for (size_t i = 0; i < 6; i++)
        six = six * 10 + (uint32_t)(digits[i] - '0');
    for (size_t i = 0; i < sizeof(issuers) / sizeof(issuers[0]); i++)
        if (six >= issuers[i].first && six <= issuers[i].last)
            return (issuers[i].lengths >> count) & 1;
    return false;
}

/* ISO/IEC 7812-1 annex B. */
static bool has_check_digit(const uint8_t *digits, size_t count)
{
    unsigned sum = 0;
    for (size_t i = 0; i < count; i++) {
        const unsigned digit = (unsigned)(digits[count - 1 - i] - '0');
        const unsigned twice = digit * 2;
        sum += i % 2 == 0 ? digit : twice > 9 ? twice - 9 : twice;
    }
    return sum % 10 == 0;
}

/* Thirteen digits that are a European article number's as well (GS1's check digit) are one: they
 * stand in shops' events all the time, and cards of thirteen digits are as good as extinct. */
static bool is_article(const uint8_t *digits, size_t count)
{
    unsigned sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (unsigned)(digits[count - 1 - i] - '0') * (i % 2 == 0 ? 1 : 3);
    return count == 13 && sum % 10 == 0;
}

bool pii_is_card(const uint8_t *digits, size_t count)
{
    return count >= PII_CARD_DIGITS_MIN && count <= PII_CARD_DIGITS_MAX &&
           has_issuer(digits, count) && has_check_digit(digits, count) &&
           !is_article(digits, count);
}

/* ---- in text */

#define GROUPS_MAX 5

/* Runs of digits with the same separator between them. */
struct groups {
    size_t count;
    size_t start[GROUPS_MAX], len[GROUPS_MAX];
    uint8_t separator; /* '%' stands for "%20"; 0: there is but one group */
};

static size_t digits_at(struct pl_span text, size_t at)
{
    size_t end = at;
    while (end < text.len && pii_is_digit(text.data[end]))
        end++;
    return end - at;
}

static size_t separator_at(struct pl_span text, size_t at)
{
    if (at >= text.len)
        return 0;
    if (pii_is_escape_of(text, at, '2', '0'))
        return 3;
    const uint8_t c = text.data[at];
    return c == ' ' || c == '-' || c == '.' || c == '+' ? 1 : 0;
}

static void take_groups(struct pl_span text, size_t at, struct groups *groups)
{
    groups->count = 0;
    groups->separator = 0;
    while (groups->count < GROUPS_MAX) {
        const size_t len = digits_at(text, at);
        if (len == 0)
            return;
        groups->start[groups->count] = at;
        groups->len[groups->count++] = len;
        at += len;
        const size_t separator = separator_at(text, at);
        if (separator == 0 || (groups->separator != 0 && groups->separator != text.data[at]))
            return;
        groups->separator = text.data[at];
        at += separator;
    }
}

/* As they are printed on cards. The longest first. */
static const uint8_t layouts[][GROUPS_MAX + 1] = {
    {5, 4, 4, 4, 4, 3}, {4, 4, 4, 4, 4}, {3, 4, 6, 5}, {3, 4, 6, 4}, {1},
};

static bool fits(const struct groups *groups, const uint8_t *layout)
{
    if (groups->count < layout[0])
        return false;
    for (size_t i = 0; i < layout[0]; i++)
        if (layout[i + 1] != 0 && groups->len[i] != layout[i + 1])
            return false;
    return true;
}

/* Neither in the middle of a word nor of something longer that is held together by hyphens. */
static bool starts_free(struct pl_span text, size_t at)
{
    if (at == 0 || (at >= 3 && pii_is_escape(text, at - 3)))
        return true;
    const uint8_t c = text.data[at - 1];
    if (pii_is_alnum(c))
        return false;
    return !(c == '-' || c == '_' || c == '.') || at < 2 || !pii_is_alnum(text.data[at - 2]);
}

static bool ends_free(struct pl_span text, size_t end)
{
    if (end >= text.len)
        return true;
    const uint8_t c = text.data[end];
    if (pii_is_alnum(c))
        return false;
    return !(c == '-' || c == '_' || c == '.') || end + 1 >= text.len ||
           !pii_is_alnum(text.data[end + 1]);
}

/* The end of the card number that begins at `at`; 0: none does. */
static size_t card_at(struct pl_span text, size_t at)
{
    struct groups groups;
    take_groups(text, at, &groups);
    for (size_t i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++) {
        uint8_t digits[PII_CARD_DIGITS_MAX];
        size_t count = 0;
        const uint8_t *layout = layouts[i];
        if (!fits(&groups, layout) || groups.len[0] > sizeof(digits))
            continue;
        for (size_t g = 0; g < layout[0]; g++) {
            memcpy(digits + count, text.data + groups.start[g], groups.len[g]);
            count += groups.len[g];
        }
        const size_t last = layout[0] - 1u;
        const size_t end = groups.start[last] + groups.len[last];
        if (pii_is_card(digits, count) && ends_free(text, end))
            return end;
    }
    return 0;
}

bool pii_find_card(struct pl_span text, size_t from, struct pii_piece *piece)
{
    size_t at = from;
    while (at < text.len) {
        const size_t digits = digits_at(text, at);
        if (digits == 0) {
            /* The digits of an escape are no part of a number behind it. */
            at += pii_is_escape(text, at) ? 3 : 1;
            continue;
        }
        const size_t end = starts_free(text, at) ? card_at(text, at) : 0;
        if (end != 0) {
            *piece = (struct pii_piece){at, end};
            return true;
        }
        at += digits;
    }
    return false;
}
