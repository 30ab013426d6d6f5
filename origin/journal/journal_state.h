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
    uint64_t begin;  /* where its file begins: before the journal does, if it could not be cut */
    bool failed;     /* an append failed there: half a line may stand behind `bytes` */
    bool renamed;    /* and whether that would survive a crash is not known */
};

struct journal {
    /* set when it is opened */
    char what[32];
    const struct pl_clock *clock;
    const struct pl_log *log;
    bool trimmed;
    uint64_t max_bytes;
    size_t path_count;

    /* by whoever appends */
    pthread_mutex_t writing;
    struct pl_buf line;

    /* by everybody, for a few instructions; changed only with `writing` held as well */
    pthread_mutex_t state;
    struct journal_path paths[JOURNAL_PATH_LIMIT];
    struct journal_mark base, end;
    /* Places, as if nothing had been cut off since it was opened: a path's file has them `begin` of
     * the path further up. */
    uint64_t begin, bytes; /* of its first line, and behind the last that every path holds */
    uint64_t *places;      /* of lines base.n + 1, base.n + 1 + JOURNAL_STEP, … */
    size_t place_count, place_room;
    struct alarms alarms;
    char trouble[JOURNAL_TROUBLE_TEXT];
};

/* Keeps the place of the line that stands at `at`, if it is one to be kept. */
enum pl_err journal_keep_place(struct journal *j, uint64_t n, uint64_t at);
#define journal_alarm(j, ...)                                                                      \
    alarms_raise(&(j)->alarms, &(j)->state, (j)->log, "journal", __VA_ARGS__)

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

/* Copies [from, to) of a path's file to another one's, at to_at, and syncs that. */
enum pl_err journal_copy(const struct journal *j, size_t path, uint64_t from, uint64_t to,
                         int to_fd, uint64_t to_at, struct pl_why *why);
/* A new empty file that is to take the path's place; name (PATH_MAX) is its own until then. */
enum pl_err journal_make_file(const struct journal *j, size_t path, char *name, int *fd,
                              struct pl_why *why);
/* Takes what failed appends left off every path; an error when that cannot be done. Under
 * `writing`. */
enum pl_err journal_cut_back(struct journal *j, struct pl_why *why);

/* Reads, verifies and restores the paths; the files are locked. */
enum pl_err journal_load(struct journal *j, const struct journal_config *config,
                         struct pl_why *why);

#endif
