/*
 * options_file: one flat YAML file read against an option table, with libcyaml. Private to this
 * room.
 *
 * Promise: every option comes out as text, one row per row of the table, so that absent differs
 * from zero and the same code parses file, environment and defaults. Errors name file and line.
 */
#ifndef POLDER_PROTO_BASE_OPTIONS_FILE_H
#define POLDER_PROTO_BASE_OPTIONS_FILE_H

#include "proto/base/options.h"

struct pl_option_row {
    char *text;   /* NULL: absent, or a list */
    char **items; /* of a list */
    uint32_t count;
    size_t line; /* where the key stands; 0: not in the file, or in a place that cannot be told */
};

/* *rows: as many as the table has, or NULL when the file holds nothing but comments. */
enum pl_err pl_option_rows_read(const struct pl_option *table, size_t count, const char *path,
                                struct pl_option_row **rows, struct pl_why *why);
void pl_option_rows_free(struct pl_option_row *rows, size_t count);

#endif
