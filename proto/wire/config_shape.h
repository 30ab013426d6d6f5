/*
 * config_shape: what a campaign config may hold, as tables: one row per key. Private to the room.
 *
 * Promise: config_check and config_public know nothing of campaigns but these tables, so a new
 * key is a new row. SPEC.md gives the same in words.
 */
#ifndef POLDER_PROTO_WIRE_CONFIG_SHAPE_H
#define POLDER_PROTO_WIRE_CONFIG_SHAPE_H

#include "proto/wire/json.h"

enum config_kind {
    CONFIG_TEXT,
    CONFIG_BOOL,
    CONFIG_NUMBER,
    CONFIG_INTEGER,
    CONFIG_TEXTS, /* array of text; the row describes one */
    CONFIG_OBJECT,
    CONFIG_OBJECTS, /* array of objects of one shape */
};

struct config_shape;

struct config_row {
    const char *key; /* NULL ends a table */
    enum config_kind kind;
    bool required;
    bool hidden; /* for the origin only: browsers do not get it */
    /* Numbers. */
    double min, max;
    bool above_min; /* min itself is too small */
    /* Text: bytes; 0: may be empty. */
    size_t max_bytes, min_bytes;
    const char *const *one_of; /* text: NULL-terminated; NULL: any */
    /* Text: NULL when fine, else what would be right. */
    const char *(*text_is_wrong)(struct pl_span text);
    /* Arrays. */
    size_t min_count, max_count;
    const char *unique; /* key whose text no two elements may share */
    const struct config_shape *shape;
    /* What stands in the public form when the key is absent; NULL: nothing. Objects need none:
     * their own defaults are written. */
    const char *default_json;
};

/* What depends on more than one key: gives the key at fault and, in the return value, what would
 * be right; NULL when fine. Called for objects whose rows are all fine. */
typedef const char *config_object_is_wrong(struct json object, const char **key);

struct config_shape {
    const struct config_row *rows;
    config_object_is_wrong *is_wrong;
    const char *skip_unless; /* public form: leave out objects where this bool is false */
};

extern const struct config_shape config_document;

#endif
