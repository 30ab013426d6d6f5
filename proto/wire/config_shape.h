/*
 * config_shape: what a campaign config may hold, as tables: one row per key. Private to the room.
 *
 * Promise: config_check, config_public and config_schema know nothing of campaigns but these
 * tables, so a new key is a new row. SPEC.md gives the same in words.
 */
#ifndef POLDER_PROTO_WIRE_CONFIG_SHAPE_H
#define POLDER_PROTO_WIRE_CONFIG_SHAPE_H

#include "proto/wire/json.h"

enum config_kind {
    CONFIG_TEXT,
    CONFIG_TIME, /* RFC 3339 date-time; the public form has it in UTC */
    CONFIG_BOOL,
    CONFIG_NUMBER,
    CONFIG_INTEGER,
    CONFIG_TEXTS, /* array of text; the row describes one */
    CONFIG_OBJECT,
    CONFIG_OBJECTS, /* array of objects of one shape */
};

/* What a text must not be or hold, letters in either case. */
enum config_ban_kind {
    CONFIG_BAN_NONE, /* ends a table */
    CONFIG_BAN_IS,
    CONFIG_BAN_BEGIN,
    CONFIG_BAN_HOLD,
    CONFIG_BAN_SCRIPT_URL, /* "javascript:" at its begin, as URL parsers see it */
    CONFIG_BAN_HANDLER,    /* an attribute that begins with "on" within a tag */
};
struct config_ban {
    enum config_ban_kind kind;
    const char *text;
    const char *why; /* what is said of it */
};

struct config_shape;

struct config_row {
    const char *key;   /* NULL ends a table */
    const char *about; /* what it is for, in the schema */
    enum config_kind kind;
    bool required;
    bool hidden; /* for the origin only: browsers do not get it */
    /* Numbers. */
    double min, max;
    bool above_min; /* min itself is too small */
    /* Text: bytes; max 0: no limit of its own. */
    size_t max_bytes, min_bytes;
    const char *const *one_of; /* NULL-terminated; NULL: any */
    const char *const *begins; /* as one_of: one of these stands at the begin */
    const char *chars;         /* made of these; NULL: of any */
    const struct config_ban *bans;
    const char *words; /* what would be right, said when begins, chars or the count are not */
    /* Arrays. */
    size_t min_count, max_count;
    const char *unique; /* key whose text no two elements may share */
    const struct config_shape *shape;
    /* What stands in the public form when the key is absent; NULL: nothing. Objects need none:
     * their own defaults are written. */
    const char *default_json;
};

/* Where the text (or bool) of `key` is one of `is`, these rows hold as well. */
struct config_when {
    const char *key; /* NULL ends a table */
    const char *const *is;
    const struct config_row *rows;
};

struct config_shape {
    const struct config_row *rows;
    const struct config_when *whens;  /* NULL: none */
    const char *const *exactly_one;   /* of these keys, there must be one; NULL: no such rule */
    const char *const *earlier_later; /* two keys of times: the first must be before the second */
    const char *skip_unless;          /* public form: leave out objects where this bool is false */
};

extern const struct config_shape config_document;

/* The first ban that the text breaks; NULL: none. */
const struct config_ban *config_text_ban(const struct config_ban *bans, struct pl_span text);
/* Does it begin as the row says, and hold nothing but its characters? */
bool config_text_fits(const struct config_row *row, struct pl_span text);
bool config_time_parse(struct pl_span text, int64_t *wall_ms);

#endif
