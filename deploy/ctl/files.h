/*
 * files: writing a set of files so that either all of them are there in the end or none is.
 *
 * Promise: nothing is ever overwritten; what a failed call has made is gone when it returns.
 */
#ifndef POLDER_DEPLOY_CTL_FILES_H
#define POLDER_DEPLOY_CTL_FILES_H

#include "proto/base/buf.h"

#define FILES_PATH_BYTES 1024
#define FILES_BYTES_MAX  (16 * 1024) /* of one file */

struct new_file {
    const char *name; /* below the directory */
    const char *what; /* for errors, e.g. "CA key" */
    unsigned mode;
    struct pl_buf bytes;
};

/* Makes the buffers ready / wipes and frees them. */
void files_init(struct new_file *files, size_t count);
void files_release(struct new_file *files, size_t count);

/* The path as it is from everywhere, without a slash at its end. PL_ELIMIT: over 1023 bytes. */
enum pl_err files_absolute(char out[FILES_PATH_BYTES], const char *path, struct pl_why *why);
/* "DIR/NAME". PL_ELIMIT. */
enum pl_err files_path(char out[FILES_PATH_BYTES], const char *dir, const char *name,
                       struct pl_why *why);

/* Creates every file below dir, which exists. PL_EEXISTS names the first that is there already,
 * before any is written. */
enum pl_err files_create(const char *dir, const struct new_file *files, size_t count,
                         struct pl_why *why);
/* Removes those that are there. */
void files_remove(const char *dir, const struct new_file *files, size_t count);

/* Appends text as it stands between the quotes of a double-quoted YAML scalar (YAML 1.2 section
 * 7.3.1), and a NUL that is not counted. */
enum pl_err yaml_escape(struct pl_buf *out, const char *text);

#endif
