/*
 * json_where: places in JSON text, for people who have to mend it. Private to the room.
 *
 * Promise: slow path only: one yajl pass per question, taken when something is wrong already.
 */
#ifndef POLDER_PROTO_WIRE_JSON_WHERE_H
#define POLDER_PROTO_WIRE_JSON_WHERE_H

#include "proto/base/span.h"

/* Where a value (struct json's index) or its key stands. */
struct json_place {
    size_t index;
    bool key;      /* the key in front of it instead */
    size_t offset; /* out: SIZE_MAX when there is no such value */
};
/* text must be what the indexes were parsed from. */
void json_find_places(struct pl_span text, struct json_place *places, size_t count);

/* The first syntax error and yajl's words for it; false when yajl finds none (out of memory
 * included: it has nothing to say then). */
bool json_find_error(struct pl_span text, size_t *offset, char *words, size_t words_size);

/* Both from 1; columns count characters of UTF-8, not bytes. */
void json_line_column(struct pl_span text, size_t offset, unsigned *line, unsigned *column);

#endif
