/*
 * table: results for people: aligned columns, short times, nothing that moves a cursor.
 *
 * Promise: what comes from elsewhere is printed with its control bytes and malformed UTF-8 as
 * '?'. Cells are copied.
 */
#ifndef POLDER_DEPLOY_CTL_TABLE_H
#define POLDER_DEPLOY_CTL_TABLE_H

#include "proto/wire/json.h"

#define TABLE_COLUMNS_MAX 8

/* Titles are literals; one that begins with '>' stands, like its cells, to the right. */
struct table {
    const char *const *titles; /* NULL-terminated; NULL: no head line */
    size_t columns;
    char **cells; /* row by row */
    size_t count, room;
    bool failed; /* out of memory: told by table_print */
};
void table_init(struct table *table, const char *const *titles, size_t columns);
void table_release(struct table *table);
/* The next cell, left to right, row by row. */
void table_text(struct table *table, const char *text);
void table_format(struct table *table, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* To standard output. */
enum pl_err table_print(const struct table *table, struct pl_why *why);

/* A member of a JSON object as a cell: text, numbers and flags as they are, lists joined by
 * spaces, null and absent ones as `absent`. */
void table_member(struct table *table, struct json object, const char *name, const char *absent);
/* An RFC 3339 time as "2026-11-22 13:03". */
void table_time(struct table *table, struct json object, const char *name, const char *absent);

/* What of an object is shown, and under which title: a member as table_member or, `time`, as
 * table_time shows it. An array of them ends with a NULL title. */
struct table_field {
    const char *title, *member, *absent;
    bool time;
};

/* The objects of a list, which is a member of root, as rows to standard output, fields as columns;
 * the sentence `none` where there are none. PL_ECORRUPT: root has no such member. */
enum pl_err table_list(struct json root, const char *list, const struct table_field *fields,
                       const char *none, struct pl_why *why);
/* One object, a field a row, into a table of two columns; a field whose absent is NULL is left out
 * where it has no value. Times say that they are UTC. */
void table_fields(struct table *table, struct json object, const struct table_field *fields);

/* The member "edges", each with how far it is: what a deletion or an erasure waits for; nothing
 * where there are none. */
enum pl_err table_edges(struct json root, struct pl_why *why);

/* Whether a member is true. */
bool member_is_true(struct json object, const char *name);
/* The text of a member; the empty span when it has none. */
struct pl_span member_text(struct json object, const char *name);

#define SHORT_TIME_TEXT 17
/* "2026-11-22 13:03" of a member, in UTC; false when it has no time. */
bool member_short_time(struct json object, const char *name, char out[SHORT_TIME_TEXT]);

/* Writes text to standard output with '?' for what could move a cursor. */
void print_clean(struct pl_span text);
/* A member that is a list of sentences, below a title; nothing where there are none. */
void print_sentences(struct json root, const char *name, const char *title);

#endif
