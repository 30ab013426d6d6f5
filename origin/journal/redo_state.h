/*
 * redo_state: the open redo log, as its files share it. Private to redo.
 */
#ifndef POLDER_ORIGIN_JOURNAL_REDO_STATE_H
#define POLDER_ORIGIN_JOURNAL_REDO_STATE_H

#include "origin/journal/redo.h"
#include "proto/wire/json.h"

#include <pthread.h>
#include <stdatomic.h>

/* A change between its note and the end of its write, or one whose write failed. */
struct redo_open {
    struct redo_open *next;
    uint64_t line; /* of its record; 0: none */
    bool late;     /* it found no room */
    unsigned family;
    uint8_t key[REDO_KEY_BYTES];
    size_t key_bytes;
    uint8_t row_hash[PL_SHA256_BYTES];
};

struct redo {
    struct redo_config config;
    struct journal *journal;
    struct journal_mark mark; /* of the database, when it was opened */
    uint64_t lacked;
    bool anew; /* the log is empty, and the database has seen one that was not */

    pthread_mutex_t lock; /* over a record and its mark: marks never go back */
    bool noting;          /* since redo_replay */
    bool stale;           /* the database refused a mark */
    struct json_writer *writer;
    struct pl_buf line;
    struct redo_open *failed; /* writes failed: what became of them is not known, oldest first */
    int64_t restored_ms;      /* 0: never */
    uint64_t restored_lacked;
    /* opt-outs that found no room */
    _Atomic int64_t late_ms; /* since when; 0: there are none */
    uint64_t late_position;  /* in the changelog, from where on they stand there */
    uint64_t late_begun;     /* a count of them */
    size_t late_writing;     /* between redo_make's begin and its end */

    /* the pulse's */
    int64_t pulse_mono_ms; /* of the last line */
    int64_t trim_mono_ms;  /* of the last look; 0: none */
    uint64_t stored;       /* of the last line */
};

/* ---- redo_record.c */

extern const struct pl_id128 redo_no_id;
/* Into redo->line. Under lock. */
enum pl_err redo_encode(struct redo *redo, const struct redo_record *record);
/* row holds what record->row views. PL_EUNSUPPORTED: of a newer build. */
enum pl_err redo_decode(struct json object, struct redo_record *record, struct pl_buf *row,
                        struct pl_why *why);

/* ---- redo_note.c; under lock */

enum pl_err redo_put_mark(struct redo *redo, const struct journal_mark *mark, bool sync,
                          struct pl_why *why);
enum pl_err redo_get_mark(struct redo *redo, struct journal_mark *mark, bool *found,
                          struct pl_why *why);
/* Finds out what became of writes that failed, first. *line (may be NULL): the record's number, 0
 * where it is not in the log. */
enum pl_err redo_append(struct redo *redo, const struct redo_record *record, bool sync,
                        uint64_t *line, struct pl_why *why);
/* Withdraws what was not made; an error while that cannot be told or written. */
enum pl_err redo_settle(struct redo *redo, struct pl_why *why);

/* ---- redo_late.c */

/* Whether the log takes an opt-out of so many bytes. Any thread. */
bool redo_has_room(struct redo *redo, uint64_t bytes);
uint64_t redo_room_of_optouts(const struct redo *redo); /* in bytes, used or not */
enum pl_err redo_late_load(struct redo *redo, struct pl_why *why);
/* An opt-out is about to be written without having been noted. Under lock. */
enum pl_err redo_late_begin(struct redo *redo, const struct redo_record *record,
                            struct pl_why *why);
/* Notes some of those that were not, if there is room. The pulse's; not under lock. */
void redo_late_go_on(struct redo *redo);

/* ---- redo.c */

/* That it was restored is known before its mark is that of a database that never was. */
enum pl_err redo_keep_restored(struct redo *redo, struct pl_why *why);
/* A value of the family of one-off facts, of exactly so many bytes. */
enum pl_err redo_get_fact(struct redo *redo, struct pl_span key, uint8_t *out, size_t len,
                          bool *found, struct pl_why *why);

#endif
