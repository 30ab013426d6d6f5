#include "proto/wire/config_words.h"

#include <stdio.h>

struct config_quoted config_quote(struct pl_span text)
{
    struct config_quoted q = {{0}};
    size_t len = text.len;
    if (len > CONFIG_QUOTED_BYTES)
        for (len = CONFIG_QUOTED_BYTES; len > 0 && (text.data[len] & 0xc0) == 0x80;)
            len--;
    for (size_t i = 0; i < len; i++)
        q.text[i] = text.data[i] < ' ' || text.data[i] == 0x7f ? '?' : (char)text.data[i];
    if (len < text.len)
        memcpy(q.text + len, "...", 3);
    return q;
}

struct config_hint config_hint(const char *best)
{
    struct config_hint hint = {{0}};
    if (best != NULL)
        snprintf(hint.text, sizeof(hint.text), "; did you mean '%s'?", best);
    return hint;
}
