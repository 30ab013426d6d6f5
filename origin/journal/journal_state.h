/*
 * journal_state: the open journal, as journal.c and journal_open.c share it. Private to the
 * journal.
 */
#ifndef POLDER_ORIGIN_JOURNAL_JOURNAL_STATE_H
#define POLDER_ORIGIN_JOURNAL_JOURNAL_STATE_H

#include "origin/journal/journal.h"

#include <pthread.h>

#define JOURNAL_STEP 256 /* lines between two whose places are kept */

struct journal_path {
    char *path;
    int fd, lock_fd; /* -1: none */
    bool failed;     /* an append failed there: half a line may stand behind `bytes` */
};

struct journal {
    /* set when it is opened */
    char what[32];
    const struct pl_clock *clock;
    const struct pl_log *log;
    uint64_t max_bytes;
    size_t path_count;

    /* by whoever appends */
    pthread_mutex_t writing;
    struct pl_buf line;

    /* by everybody, for a few instructions; changed only with `writing` held as well */
    pthread_mutex_t state;
    struct journal_path paths[JOURNAL_PATH_LIMIT];
    struct journal_mark end;
    uint64_t bytes;   /* that every path holds */
    uint64_t *places; /* of lines 1, 1 + JOURNAL_STEP, … */
    size_t place_count, place_room;
    size_t alarm_count;
    char alarms[JOURNAL_ALARM_LIMIT][JOURNAL_ALARM_TEXT];
};

/* Keeps the place of the line that stands at `at`, if it is one to be kept. */
enum pl_err journal_keep_place(struct journal *j, uint64_t n, uint64_t at);
void journal_alarm(struct journal *j, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Lines of a file, one after the other. */
struct journal_reader {
    int fd;
    uint64_t at, to; /* the next line begins at `at`; what stands at `to` is not read */
    struct pl_buf chunk;
    uint64_t chunk_at;
};
void journal_reader_init(struct journal_reader *r, int fd, uint64_t at, uint64_t to);
void journal_reader_release(struct journal_reader *r);
/* A view without the newline, valid until the next call. PL_ENOTFOUND: the end; PL_EAGAIN: what is
 * left has no newline; PL_ELIMIT: a line too long; PL_EIO, errno says why. */
enum pl_err journal_reader_next(struct journal_reader *r, struct pl_span *line);

/* Reads, verifies and restores the paths; the files are locked. */
enum pl_err journal_load(struct journal *j, const struct journal_config *config,
                         struct pl_why *why);

#endif
