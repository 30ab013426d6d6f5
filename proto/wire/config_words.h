/*
 * config_words: other people's words in our sentences. Private to the room.
 */
#ifndef POLDER_PROTO_WIRE_CONFIG_WORDS_H
#define POLDER_PROTO_WIRE_CONFIG_WORDS_H

#include "proto/base/span.h"

/* Short and printable enough to be quoted: cut between characters, no controls. */
#define CONFIG_QUOTED_BYTES 40
struct config_quoted {
    char text[CONFIG_QUOTED_BYTES + sizeof("...")];
};
struct config_quoted config_quote(struct pl_span text);

struct config_hint {
    char text[64]; /* "; did you mean 'variants'?", or nothing where best is NULL */
};
struct config_hint config_hint(const char *best);

#endif
