/*
 * options: a node's configuration: one YAML file, every key also an environment variable.
 *
 * Promise: a node declares a constant table of options; pl_options_load fills its struct from
 * defaults, then the file, then POLDER_<KEY IN CAPITALS>. An unknown key, a wrong type or a
 * number out of range is PL_EINVAL with the key, the file and line where known, and what is
 * allowed. Keys are flat snake_case, units in their names. Start-up only; single thread.
 */
#ifndef POLDER_PROTO_BASE_OPTIONS_H
#define POLDER_PROTO_BASE_OPTIONS_H

#include "proto/base/buf.h"

enum pl_option_type {
    PL_OPTION_TEXT, /* char *; owned by the struct */
    PL_OPTION_INT,  /* int64_t, within [min, max] */
    PL_OPTION_BOOL, /* bool */
    PL_OPTION_LIST, /* struct pl_text_list; in the environment: comma-separated */
};

struct pl_text_list {
    char **items;
    size_t count;
};

struct pl_option {
    const char *key; /* "spool_dir" */
    enum pl_option_type type;
    size_t offset;            /* offsetof(struct node_options, spool_dir) */
    const char *default_text; /* NULL: required. "": empty is fine */
    int64_t min, max;         /* PL_OPTION_INT only */
    const char *help;         /* one line, for --help and the reference */
};

/* path NULL: environment and defaults only. Unknown POLDER_ variables are left alone: other
 * programs of the house read theirs. */
enum pl_err pl_options_load(const struct pl_option *table, size_t count, const char *path,
                            void *out, struct pl_why *why);
void pl_options_release(const struct pl_option *table, size_t count, void *options);
/* The table as YAML comments with defaults, for --print-config. */
enum pl_err pl_options_describe(const struct pl_option *table, size_t count, struct pl_buf *out);

#endif
