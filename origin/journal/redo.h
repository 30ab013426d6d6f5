/*
 * redo: what a restored database must not undo: a log beside the keyring, outside the database and
 * its backups (journal.h; SPEC.md, "Redo log").
 *
 * Promise: whoever changes what must stay changed does it through redo_make: the record is on every
 * path before the change is in the database. A database that lacks the log's last records is a
 * restored one: that is found at the next start, the changelog gets a new epoch, and the records
 * are applied before anything is served. Records are also noted of changes that are not redone (a
 * config, an edge's enrolment, a start): so a restore shows whatever happened since. Applying is
 * idempotent: a copy that was made between a note and its write lacks a change that it has seen the
 * note of, so some records before those that it lacks are applied, too.
 *
 * A change that the database refused is withdrawn in the log, and a withdrawn record is not
 * applied. A write that failed may have been made all the same (store.h), so that is decided when
 * the database takes writes again, by what it then holds; until then nothing is noted, nor made.
 * Whoever is told of an error has been refused, and may find it made; a process that dies in
 * between leaves a record that a restore makes.
 *
 * Records go when no copy of the database may need them any more: backup_days and one after they
 * were written, if they make half of the log. Three quarters of the room are for opt-outs, which
 * anybody may send; the rest is for what operators decide, and for erasures. An opt-out that finds
 * no room is made, and noted later; until then redo_status says since when.
 *
 * Any thread may call; noting blocks on every disk. NULL may be given for redo, as in tests of
 * other parts: nothing is noted.
 */
#ifndef POLDER_ORIGIN_JOURNAL_REDO_H
#define POLDER_ORIGIN_JOURNAL_REDO_H

#include "origin/journal/journal.h"
#include "proto/base/id.h"
#include "proto/store/store.h"
#include "proto/wire/catalog.h"

#define REDO_AGAIN      256       /* more than threads can be between their note and their write */
#define REDO_TOLD_MS    PL_DAY_MS /* that a restore is told of in the probes */
#define REDO_PULSE_MS   (10 * PL_MINUTE_MS)
#define REDO_STORED_MS  PL_MINUTE_MS /* a pulse comes so soon when something was stored */
#define REDO_TRIM_MS    PL_HOUR_MS   /* between two looks at what can go */
#define REDO_TRIM_BYTES (1u << 20)   /* less is left alone */
#define REDO_KEY_BYTES  64           /* of a row that is changed */

enum redo_kind {
    REDO_PULSE,       /* START, STOP, or some minutes went by: nothing to redo */
    REDO_CHANGE,      /* of something that is not redone: account and id say of what */
    REDO_ACCOUNT,     /* state, expires_at_ms, cleared_ms; deletion_started_ms, on_request and
                       * requested_ms from then on */
    REDO_CERTIFICATE, /* of a deletion; row: its bytes */
    REDO_HOLD,        /* account, id; row: as the database keeps it */
    REDO_OPTOUT,      /* account, id: the consent's; row */
    REDO_ERASURE,     /* account, id; row */
    REDO_TOKEN,       /* revoked; id */
    REDO_EDGE,        /* revoked; id */
    REDO_WITHDRAWN,   /* of the line whose change was refused: the log's own */
    REDO_KINDS
};

/* A view: nothing in it is owned. */
struct redo_record {
    enum redo_kind kind;
    const char *what; /* PULSE, CHANGE: a word for people, e.g. "config" */
    uint64_t account; /* 0: none */
    struct pl_id128 id;
    enum account_state state;
    int64_t expires_at_ms, cleared_ms, deletion_started_ms;
    int64_t requested_ms; /* if on_request; 0: an earlier version did not note it */
    bool on_request;
    uint64_t line;          /* WITHDRAWN */
    uint64_t feed_position; /* OPTOUT, not in the log: where the changelog stood before it */
    struct pl_span row;
};

/* A change of the database, with its record. All are views. */
struct redo_change {
    struct redo_record record;
    struct store *store;
    unsigned family; /* the row that is there once it is made */
    struct pl_span key, row;
    /* Makes it, synced; NULL: the row is put. */
    enum pl_err (*write)(void *ctx, struct pl_why *why);
    void *ctx;
};

struct redo;
struct redo_config {
    struct store *store;
    const char *const *paths;
    size_t path_count;
    uint64_t max_bytes;
    int64_t backup_days; /* no older copy of the database is ever restored; 0: nothing is cut off */
    const struct pl_clock *clock;
    const struct pl_log *log;
};
/* Opens the log, or makes it for a database that never had one, and compares the two. PL_ECORRUPT:
 * the log ends before what the database has seen of it, or begins after it; PL_EFORK: they are not
 * of one origin; others as journal_open. Blocks. */
enum pl_err redo_open(struct redo **out, const struct redo_config *config, struct pl_why *why);
void redo_close(struct redo *redo); /* NULL is fine */

/* Whether edges may have heard of what this database does not hold: it lacks records, for it was
 * restored from a copy, or the log is empty and nobody can tell. Until redo_replay, before which
 * the changelog is to have its new epoch. */
bool redo_is_restored(const struct redo *redo);
/* Applies what the database may lack, oldest first, and notes the start. Until it is done nothing
 * is noted, so that applying may use what otherwise notes. What apply gives other than PL_OK ends
 * it. Once, before anything is served. Blocks. */
enum pl_err redo_replay(struct redo *redo,
                        enum pl_err (*apply)(void *ctx, const struct redo_record *record,
                                             struct pl_why *why),
                        void *ctx, struct pl_why *why);

/* Notes the change, and makes it. PL_ENOSPC: the log has no room for it. After an error it was
 * refused, see above. Of one row only one thread at a time. Blocks. */
enum pl_err redo_make(struct redo *redo, const struct redo_change *change, struct pl_why *why);
/* For what is not redone, or stands in the database already: durable when it is PL_OK. Blocks. */
enum pl_err redo_note(struct redo *redo, const struct redo_record *record, struct pl_why *why);
/* redo_make for erasures_config.note; redo is the redo. */
enum pl_err redo_make_erasure(void *redo, struct pl_span key, struct pl_span row,
                              enum pl_err (*write)(void *write_ctx, struct pl_why *why),
                              void *write_ctx, struct pl_why *why);
/* Every second or so, from one thread that may block: notes a pulse, so that a restore shows even
 * if nothing else was noted since the copy was made; notes opt-outs that found no room; cuts off
 * what can go. stored: a count of whatever is stored and not noted. believed_ms: the wall clock; 0:
 * it is not to be believed, and nothing goes. */
void redo_pulse(struct redo *redo, uint64_t stored, int64_t believed_ms);

struct redo_status {
    bool restored;       /* within the last day */
    int64_t restored_ms; /* wall clock */
    uint64_t lacked;     /* records, when it was found */
    int64_t late_ms;     /* since when opt-outs are not noted; 0: all are */
    bool nearly_full;    /* over four fifths of what opt-outs may fill */
    struct journal_status journal;
};
void redo_status(struct redo *redo, struct redo_status *out); /* memory only; NULL: all zeros */

#endif
