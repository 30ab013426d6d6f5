/*
 * names: the words of a client's vocabulary, each found in one step.
 *
 * Promise: a table is a perfect hash that the compiler checks: two words in one slot are two
 * initialisers of one element, which -Wextra refuses. Then other factors in NAME_SLOT must be
 * found. A word stands with its second and its last character in front, because C cannot read them
 * out of the literal; a wrong one makes the word unknown, which the golden files notice.
 */
#ifndef POLDER_EDGE_DIALECTS_NAMES_H
#define POLDER_EDGE_DIALECTS_NAMES_H

#include "proto/base/span.h"

#define NAME_SLOTS                   128
#define NAME_SLOT(second, last, len) ((1u * (second) + 2u * (last) + 9u * (len)) % NAME_SLOTS)
#define NAME(second, last, text, what)                                                             \
    [NAME_SLOT(second, last, sizeof(text) - 1)] = {text, sizeof(text) - 1, what}

struct name {
    const char *text;
    uint8_t len;
    uint8_t what; /* not 0 */
};

static inline uint64_t name_eight(const void *text)
{
    uint64_t eight;
    memcpy(&eight, text, sizeof(eight));
    return eight;
}

static inline uint32_t name_four(const void *text)
{
    uint32_t four;
    memcpy(&four, text, sizeof(four));
    return four;
}

/* Words are short: two overlapping loads instead of a call. len is at least 2. */
static inline bool name_eq(const uint8_t *a, const char *b, size_t len)
{
    if (len > 16)
        return memcmp(a, b, len) == 0;
    if (len >= 8)
        return ((name_eight(a) ^ name_eight(b)) |
                (name_eight(a + len - 8) ^ name_eight(b + len - 8))) == 0;
    if (len >= 4)
        return ((name_four(a) ^ name_four(b)) |
                (name_four(a + len - 4) ^ name_four(b + len - 4))) == 0;
    return a[0] == (uint8_t)b[0] && a[1] == (uint8_t)b[1] && a[len - 1] == (uint8_t)b[len - 1];
}

/* What the table says of the word; 0: nothing. */
static inline unsigned name_find(const struct name table[NAME_SLOTS], struct pl_span word)
{
    if (word.len < 2)
        return 0;
    const struct name *row = &table[NAME_SLOT(word.data[1], word.data[word.len - 1], word.len)];
    return row->len == word.len && name_eq(word.data, row->text, word.len) ? row->what : 0;
}

#endif
