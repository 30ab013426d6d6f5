#include "proto/wire/pii.h"

/* Bytes of the at-sign at `at`: '@', "%40", "%2540", … 0: there is none. */
static size_t at_sign(struct pl_span text, size_t at)
{
    size_t end = at + 1;
    if (text.data[at] == '@')
        return 1;
    if (text.data[at] != '%')
        return 0;
    while (end + 2 <= text.len && text.data[end] == '2' && text.data[end + 1] == '5')
        end += 2;
    const bool is_one = end + 2 <= text.len && text.data[end] == '4' && text.data[end + 1] == '0';
    return is_one ? end + 2 - at : 0;
}

/* Escapes that stand for characters of an address: + - . _ */
static bool is_local_escape(struct pl_span text, size_t at)
{
    return pii_is_escape_of(text, at, '2', 'B') || pii_is_escape_of(text, at, '2', 'D') ||
           pii_is_escape_of(text, at, '2', 'E') || pii_is_escape_of(text, at, '5', 'F');
}

/* Where the local part begins that ends at `at`; `at` itself: there is none. */
static size_t local_start(struct pl_span text, size_t from, size_t at)
{
    size_t start = at;
    for (;;) {
        while (start > from && pii_is_local(text.data[start - 1]))
            start--;
        if (start == from || text.data[start - 1] != '%')
            break;
        if (!is_local_escape(text, start - 1)) {
            /* The escape of some other character ends in what looks like a part of it. */
            start += pii_is_escape(text, start - 1) && start + 2 <= at ? 2 : 0;
            break;
        }
        start--;
    }
    while (start < at && (text.data[start] == '.' || text.data[start] == '\''))
        start++;
    return start;
}

static bool is_label(uint8_t c)
{
    return pii_is_alnum(c) || c == '-';
}

/* A top-level domain has letters only, two at least, or is an internationalised one. */
static bool is_top(struct pl_span label)
{
    if (label.len < 2)
        return false;
    if (label.len > 4 && memcmp(label.data, "xn--", 4) == 0)
        return true;
    for (size_t i = 0; i < label.len; i++)
        if (pii_is_digit(label.data[i]) || label.data[i] == '-')
            return false;
    return true;
}

/* "photo@2x.png" is a file for sharp screens. */
static bool is_scale(struct pl_span label)
{
    return label.len == 2 && pii_is_digit(label.data[0]) && (label.data[1] | 0x20) == 'x';
}

/* Where the domain ends that begins at `at`; `at` itself: there is none. */
static size_t domain_end(struct pl_span text, size_t at)
{
    size_t end = at, start = at;
    for (unsigned labels = 0;; labels++) {
        size_t stop = start;
        while (stop < text.len && is_label(text.data[stop]))
            stop++;
        const struct pl_span label = pl_span(text.data + start, stop - start);
        if (label.len == 0 || (labels == 0 && is_scale(label)))
            break;
        if (labels > 0 && is_top(label))
            end = stop;
        if (stop < text.len && text.data[stop] == '.')
            start = stop + 1;
        else if (pii_is_escape_of(text, stop, '2', 'E'))
            start = stop + 3;
        else
            break;
    }
    return end;
}

/* The next '@' or '%'; the end of the text: there is none. */
static size_t next_mark(struct pl_span text, size_t from)
{
    while (from < text.len && text.data[from] != '@' && text.data[from] != '%')
        from++;
    return from;
}

bool pii_find_email(struct pl_span text, size_t from, struct pii_piece *piece)
{
    for (size_t at = next_mark(text, from); at < text.len; at = next_mark(text, at + 1)) {
        const size_t sign = at_sign(text, at);
        if (sign == 0)
            continue;
        const size_t start = local_start(text, from, at);
        const size_t end = start < at ? domain_end(text, at + sign) : 0;
        if (end > at + sign) {
            *piece = (struct pii_piece){start, end};
            return true;
        }
    }
    return false;
}
