#include "proto/base/nearest.h"

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Optimal string alignment distance: inserted, lost, changed and swapped letters. */
static size_t distance(struct pl_span a, const char *b)
{
    enum { WORD_MAX = 48 };
    size_t d[3][WORD_MAX + 1], b_len = strlen(b);
    if (a.len > WORD_MAX || b_len > WORD_MAX)
        return SIZE_MAX;
    for (size_t j = 0; j <= b_len; j++)
        d[0][j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        size_t *now = d[i % 3], *last = d[(i - 1) % 3], *older = d[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t same = a.data[i - 1] == (uint8_t)b[j - 1] ? 0 : 1;
            now[j] = min_size(min_size(last[j], now[j - 1]) + 1, last[j - 1] + same);
            if (i > 1 && j > 1 && a.data[i - 1] == (uint8_t)b[j - 2] &&
                a.data[i - 2] == (uint8_t)b[j - 1])
                now[j] = min_size(now[j], older[j - 2] + 1);
        }
    }
    return d[a.len % 3][b_len];
}

void pl_nearest_consider(struct pl_span typed, const char *word, const char **best, size_t *best_at)
{
    size_t at = distance(typed, word);
    if (at > 2 || at >= strlen(word) || at >= *best_at)
        return;
    *best = word;
    *best_at = at;
}
