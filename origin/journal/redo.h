/*
 * redo: what a restored database must not undo: a log beside the keyring, outside the database and
 * its backups (journal.h; SPEC.md, "Redo log").
 *
 * Promise: whoever changes what must stay changed calls redo_note before its own write; the record
 * is on every path when that returns. A database that lacks the log's last records is a restored
 * one: that is found at the next start, the changelog gets a new epoch, and the records are applied
 * before anything is served. Records are also noted of changes that are not redone (a config, an
 * edge's enrolment, a start): so a restore shows whatever happened since. Applying is idempotent:
 * a copy that was made between a note and its write lacks a change that it has seen the note of, so
 * some records before those that it lacks are applied, too. A change that was noted and that the
 * database then refused is made when the log is replayed: it was refused, not undone.
 *
 * Any thread may call; noting blocks on every disk. redo_note takes NULL for redo, as in tests of
 * other parts: nothing is noted.
 */
#ifndef POLDER_ORIGIN_JOURNAL_REDO_H
#define POLDER_ORIGIN_JOURNAL_REDO_H

#include "origin/journal/journal.h"
#include "proto/base/id.h"
#include "proto/store/store.h"
#include "proto/wire/catalog.h"

#define REDO_AGAIN    256       /* more than threads can be between their note and their write */
#define REDO_TOLD_MS  PL_DAY_MS /* that a restore is told of in the probes */
#define REDO_PULSE_MS (10 * PL_MINUTE_MS)

enum redo_kind {
    REDO_PULSE,       /* START, STOP, or some minutes went by: nothing to redo */
    REDO_CHANGE,      /* of something that is not redone: account and id say of what */
    REDO_ACCOUNT,     /* state, expires_at_ms; deletion_started_ms and on_request from then on */
    REDO_CERTIFICATE, /* of a deletion; row: its bytes */
    REDO_HOLD,        /* account, id; row: as the database keeps it */
    REDO_OPTOUT,      /* account, id: the consent's; row */
    REDO_ERASURE,     /* account, id; row */
    REDO_TOKEN,       /* revoked; id */
    REDO_EDGE,        /* revoked; id */
    REDO_KINDS
};

/* A view: nothing in it is owned. */
struct redo_record {
    enum redo_kind kind;
    const char *what; /* PULSE, CHANGE: a word for people, e.g. "config" */
    uint64_t account; /* 0: none */
    struct pl_id128 id;
    enum account_state state;
    int64_t expires_at_ms, deletion_started_ms;
    bool on_request;
    struct pl_span row;
};

struct redo;
struct redo_config {
    struct store *store;
    const char *const *paths;
    size_t path_count;
    uint64_t max_bytes;
    const struct pl_clock *clock;
    const struct pl_log *log;
};
/* Opens the log, or makes it for a database that never had one, and compares the two. PL_ECORRUPT:
 * the log ends before what the database has seen of it; PL_EFORK: they are not of one origin;
 * others as journal_open. Blocks. */
enum pl_err redo_open(struct redo **out, const struct redo_config *config, struct pl_why *why);
void redo_close(struct redo *redo); /* NULL is fine */

/* Whether the database lacks records: it was restored from a copy. Until redo_replay. */
bool redo_is_restored(const struct redo *redo);
/* Applies what the database may lack, oldest first, and notes the start. Until it is done redo_note
 * notes nothing, so that applying may use what otherwise notes. What apply gives other than PL_OK
 * ends it. Once, before anything is served. Blocks. */
enum pl_err redo_replay(struct redo *redo,
                        enum pl_err (*apply)(void *ctx, const struct redo_record *record,
                                             struct pl_why *why),
                        void *ctx, struct pl_why *why);

/* Durable when it is PL_OK; then write, synced. After an error do not. Blocks. */
enum pl_err redo_note(struct redo *redo, const struct redo_record *record, struct pl_why *why);
/* For erasures_config.note; redo is the redo. */
enum pl_err redo_note_erasure(void *redo, struct pl_span key, struct pl_span row,
                              struct pl_why *why);
/* Now and then, from a thread that may block: so that a restore shows even if nothing else was
 * noted since the copy was made. */
void redo_pulse(struct redo *redo);

struct redo_status {
    bool restored;       /* within the last day */
    int64_t restored_ms; /* wall clock */
    uint64_t lacked;     /* records, when it was found */
    struct journal_status journal;
};
void redo_status(struct redo *redo, struct redo_status *out); /* memory only; NULL: all zeros */

#endif
