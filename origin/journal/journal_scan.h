/*
 * journal_scan: what a path of a journal holds, before anything is decided. Private to opening.
 */
#ifndef POLDER_ORIGIN_JOURNAL_JOURNAL_SCAN_H
#define POLDER_ORIGIN_JOURNAL_JOURNAL_SCAN_H

#include "origin/journal/journal_state.h"
#include "proto/wire/json.h"

enum ending { END_ABSENT, END_CLEAN, END_TORN, END_BAD };

/* What a path needs whose lines begin with another one than the best one's: a crash within a trim
 * leaves such, and a disk that was away during one. */
enum beginning {
    BEGIN_SAME,
    BEGIN_OTHER, /* an earlier state of the same story: written anew */
    BEGIN_GONE   /* it ends before the best one begins: nothing tells whose it is */
};

struct scan {
    enum ending ending;
    enum beginning beginning;
    uint64_t size;
    struct journal_mark base;         /* of the line before its first */
    struct journal_mark mark, before; /* of the last line that verifies, and of the one before it */
    uint64_t whole;                   /* where that line ends */
    uint64_t last_at, before_at;      /* where they begin */
    char text[160];                   /* what is wrong behind it */
};

struct loading {
    struct journal *j;
    struct json_parser *parser;
    struct scan scans[JOURNAL_PATH_LIMIT];
};

enum pl_err journal_fail_errno(const struct journal *j, size_t i, const char *doing,
                               struct pl_why *why);
/* Of the file that is to take a path's place; PATH_MAX bytes. */
enum pl_err journal_fresh_name(const struct journal *j, size_t i, char *name, struct pl_why *why);

/* Opens the path and reads it whole, into scans[i]. */
enum pl_err journal_scan_path(struct loading *l, size_t i, struct pl_why *why);

#endif
