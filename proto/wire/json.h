/*
 * json: reading JSON (RFC 8259) through simdjson, writing it through yajl, and the way between
 * JSON and msgpack.
 *
 * Promise: a parse validates the whole text, UTF-8 included, before any value can be read; depth
 * and size are limited. Values are small, passed by value, and live until their parser parses
 * again. A parser and a writer are single-owner.
 */
#ifndef POLDER_PROTO_WIRE_JSON_H
#define POLDER_PROTO_WIRE_JSON_H

#include "proto/base/buf.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- reading */

enum json_type {
    JSON_NULL,
    JSON_BOOL,
    JSON_I64,
    JSON_U64, /* only above INT64_MAX */
    JSON_F64,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT,
};

struct json_parser;
struct json_document;
struct json {
    const struct json_document *document;
    size_t index;
};
struct json_iter {
    struct json at;
    size_t end;
};

enum pl_err json_parser_new(struct json_parser **out, size_t max_bytes, unsigned max_depth);
void json_parser_free(struct json_parser *parser);
/* Copies text into padded memory of its own. PL_ELIMIT: too long or too deep; PL_EINVAL: says
 * what is wrong and, where known, at which byte. */
enum pl_err json_parse(struct json_parser *parser, struct pl_span text, struct json *root,
                       struct pl_why *why);

enum json_type json_type(struct json value);
static inline bool json_is_string(struct json value);
static inline bool json_is_object(struct json value);
static inline bool json_is_array(struct json value);
static inline bool json_is_null(struct json value);
/* Unescaped, a view; JSON_TEXT_SLACK bytes behind its end may be read, whatever they hold. */
static inline bool json_string(struct json value, struct pl_span *out);
#define JSON_TEXT_SLACK 32
bool json_bool(struct json value, bool *out);
bool json_i64(struct json value, int64_t *out); /* integers that fit only */
bool json_u64(struct json value, uint64_t *out);
bool json_f64(struct json value, double *out); /* any number */

/* First member of that name; false when absent or not an object. Linear: for a few lookups;
 * walk with an iterator when most members matter. */
bool json_get(struct json object, const char *name, struct json *out);
/* The iterators give false at once on another type. */
static inline struct json_iter json_members(struct json object);
static inline bool json_next_member(struct json_iter *iter, struct pl_span *name,
                                    struct json *value);
static inline struct json_iter json_elements(struct json array);
static inline bool json_next_element(struct json_iter *iter, struct json *value);
/* Elements of an array or members of an object (saturates at 2^24 - 1). */
size_t json_count(struct json value);

/* ---- writing: a streaming generator. Errors stick and are reported once by json_writer_end. */

struct json_writer;
enum pl_err json_writer_new(struct json_writer **out, bool pretty);
void json_writer_free(struct json_writer *w);
/* Starts a document that is appended to out. */
void json_writer_begin(struct json_writer *w, struct pl_buf *out);
/* PL_OK when exactly one complete value was written; strings that are not UTF-8 are PL_EINVAL. */
enum pl_err json_writer_end(struct json_writer *w);
void json_write_object(struct json_writer *w);
void json_write_object_end(struct json_writer *w);
void json_write_array(struct json_writer *w);
void json_write_array_end(struct json_writer *w);
void json_write_key(struct json_writer *w, const char *name);
void json_write_key_span(struct json_writer *w, struct pl_span name);
void json_write_string(struct json_writer *w, struct pl_span text);
void json_write_text(struct json_writer *w, const char *text);
void json_write_i64(struct json_writer *w, int64_t v);
void json_write_u64(struct json_writer *w, uint64_t v);
void json_write_f64(struct json_writer *w, double v); /* shortest that reads back equal; NaN and
                                                         infinities become null */
void json_write_bool(struct json_writer *w, bool v);
void json_write_null(struct json_writer *w);
/* A value that is JSON text already and known to be valid. */
void json_write_raw(struct json_writer *w, struct pl_span text);
/* The value of an already parsed document. */
void json_write_value(struct json_writer *w, struct json value);
/* "key": "text" and so on, the common pairs. */
void json_write_pair_text(struct json_writer *w, const char *name, const char *text);
void json_write_pair_i64(struct json_writer *w, const char *name, int64_t v);
void json_write_pair_u64(struct json_writer *w, const char *name, uint64_t v);
void json_write_pair_bool(struct json_writer *w, const char *name, bool v);

/* ---- msgpack */

/* Appends the value as msgpack. PL_ELIMIT when out is full: less than 48 bytes may be left. */
enum pl_err json_to_msgpack(struct json value, struct pl_buf *out);
/* The same of a member that json_next_member gave: its name, then its value. */
enum pl_err json_member_to_msgpack(struct json value, struct pl_buf *out);
/* One msgpack value, whole span. PL_ECORRUPT when it is not; the document then ends half-way and
 * must be given up. */
enum pl_err json_write_msgpack(struct json_writer *w, struct pl_span msgpack);

#include "proto/wire/json_tape.h"

#ifdef __cplusplus
}
#endif

#endif
