#include "proto/wire/pii.h"

/* Digits of a number with its country's (ITU-T E.164: 15 at most), or as people dial at home. */
#define DIGITS_MIN     8
#define DIGITS_MAX     15
#define TEXT_MAX       63 /* bytes of one that is all of a text */
#define SEPARATORS_MAX 4  /* bytes between two digits, as in "+31 (0)6" */

/* ---- names */

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

static bool ends_in(struct pl_span name, const char *tail)
{
    const size_t len = strlen(tail);
    return name.len >= len && memcmp(name.data + name.len - len, tail, len) == 0;
}

bool pii_is_phone_name(struct pl_span name)
{
    static const char *const parts[] = {"phone", "mobile", "telef", "msisdn", "whatsapp"};
    static const char *const whole[] = {"tel", "mobiel", "handy", "gsm", "sms", "fax", "cell"};
    uint8_t text[PII_NAME_BYTES];
    const size_t len = name.len < sizeof(text) ? name.len : sizeof(text);
    for (size_t i = 0; i < len; i++)
        text[i] = lower(name.data[name.len - len + i]);
    const struct pl_span low = pl_span(text, len);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        if (len > 0 && memmem(text, len, parts[i], strlen(parts[i])) != NULL)
            return true;
    for (size_t i = 0; i < sizeof(whole) / sizeof(whole[0]); i++)
        if (ends_in(low, whole[i]) &&
            (len == strlen(whole[i]) || !pii_is_alnum(text[len - strlen(whole[i]) - 1])))
            return true;
    return false;
}

/* ---- numbers */

/* Bytes of what may stand between two digits, one piece of it. */
static size_t separator_at(struct pl_span text, size_t at)
{
    if (at >= text.len)
        return 0;
    if (pii_is_escape_of(text, at, '2', '0') || pii_is_escape_of(text, at, '2', '8') ||
        pii_is_escape_of(text, at, '2', '9'))
        return 3;
    const uint8_t c = text.data[at];
    return c == ' ' || c == '-' || c == '.' || c == '/' || c == '(' || c == ')' || c == '+' ? 1 : 0;
}

struct number {
    size_t end; /* behind its last digit */
    unsigned digits, points, separators;
};

/* Digits and what separates them, from `at` on; whole groups of them, as many as a number has. */
static struct number number_at(struct pl_span text, size_t at)
{
    struct number number = {.end = at}, group = number;
    size_t gap = 0;
    while (at < text.len && gap <= SEPARATORS_MAX) {
        const size_t separator = separator_at(text, at);
        if (pii_is_digit(text.data[at])) {
            gap = 0;
            group.digits++;
            group.end = ++at;
            if (group.digits > DIGITS_MAX)
                return number;
        } else if (separator > 0) {
            if (gap++ == 0)
                number = group;
            group.points += text.data[at] == '.';
            group.separators++;
            at += separator;
        } else {
            break;
        }
    }
    if (gap == 0)
        number = group;
    return number;
}

static bool has_length(const struct number *number)
{
    return number->digits >= DIGITS_MIN && number->digits <= DIGITS_MAX;
}

/* "+1234567.89" is a price. */
static bool is_decimal(const struct number *number)
{
    return number->points == 1 && number->separators == 1;
}

static size_t plus_at(struct pl_span text, size_t at)
{
    return text.data[at] == '+' ? 1 : pii_is_escape_of(text, at, '2', 'B') ? 3 : 0;
}

bool pii_is_phone(struct pl_span text)
{
    size_t at = 0, end = text.len;
    while (at < end && (text.data[at] == ' ' || text.data[at] == '('))
        at++;
    while (end > at && text.data[end - 1] == ' ')
        end--;
    text.len = end;
    const size_t plus = at < end ? plus_at(text, at) : 0;
    at += plus;
    if (at >= end || text.len > TEXT_MAX || !pii_is_digit(text.data[at]) ||
        (plus > 0 && text.data[at] == '0'))
        return false;
    const struct number number = number_at(text, at);
    return has_length(&number) && number.end == end;
}

/* ---- in text */

/* "+31 6 12345678" with its plus at `at`; 0: it is none. */
static size_t international_at(struct pl_span text, size_t at)
{
    const size_t plus = plus_at(text, at), first = at + plus;
    if (plus == 0 ||
        (at > 0 && pii_is_alnum(text.data[at - 1]) && !(at >= 3 && pii_is_escape(text, at - 3))))
        return 0;
    if (first >= text.len || text.data[first] < '1' || text.data[first] > '9')
        return 0;
    const struct number number = number_at(text, first);
    if (!has_length(&number) || is_decimal(&number) ||
        (number.end < text.len && pii_is_alnum(text.data[number.end])))
        return 0;
    return number.end;
}

static bool ends_value(uint8_t c)
{
    return c == '&' || c == '#' || c == ';' || c == '"' || c == '\'' || c == '<' || c == '>';
}

static bool is_name(uint8_t c)
{
    return pii_is_alnum(c) || c == '_' || c == '-' || c == '.' || c == '[' || c == ']';
}

/* "phone=0612345678", "tel:0612345678": the value's end, when what stands before `at` ('=' or ':')
 * names a phone and all of it is one. */
static size_t named_at(struct pl_span text, size_t at)
{
    size_t name = at, end = at + 1;
    const bool scheme = text.data[at] == ':';
    if (text.data[at] != '=' && !scheme)
        return 0;
    while (name > 0 && is_name(text.data[name - 1]) && at - name < PII_NAME_BYTES)
        name--;
    const struct pl_span before = pl_span(text.data + name, at - name);
    if (scheme ? !pl_span_eq_nocase(before, PL_SPAN_LIT("tel")) &&
                     !pl_span_eq_nocase(before, PL_SPAN_LIT("sms"))
               : !pii_is_phone_name(before))
        return 0;
    while (end < text.len && !ends_value(text.data[end]))
        end++;
    return pii_is_phone(pl_span(text.data + at + 1, end - at - 1)) ? end : 0;
}

bool pii_find_phone(struct pl_span text, size_t from, struct pii_piece *piece)
{
    for (size_t at = from; at < text.len; at++) {
        const uint8_t c = text.data[at];
        if (c != '+' && c != '%' && c != '=' && c != ':')
            continue;
        size_t start = at, end = international_at(text, at);
        if (end == 0) {
            end = named_at(text, at);
            start = at + 1;
        }
        if (end != 0) {
            *piece = (struct pii_piece){start, end};
            return true;
        }
    }
    return false;
}
