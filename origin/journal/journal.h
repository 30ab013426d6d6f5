/*
 * journal: an append-only file of JSON lines on one or more paths, beside the keyring and outside
 * the database and its backups. SPEC.md, "Journals", gives the form of a line.
 *
 * Promise: a line is durable on every path before journal_append returns. Each line names the hash
 * of the one before it, so the chain can be followed with sha256sum. On open a torn last line is
 * cut, a path that is behind or damaged is restored from the longest whole one, and paths that tell
 * different stories are refused. Nothing is ever rewritten; what was written longest ago may be cut
 * off, in a journal that is opened for it, and nothing else is ever removed: a journal that reaches
 * its limit takes no more, and says so long before.
 *
 * A line that an append failed with may turn up after a crash: it was refused, not undone. One
 * process at a time. Any thread may call; memory does not grow with the lines (8 bytes for every
 * 256 of them).
 */
#ifndef POLDER_ORIGIN_JOURNAL_JOURNAL_H
#define POLDER_ORIGIN_JOURNAL_JOURNAL_H

#include "origin/alarms.h"
#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/wire/journal_line.h"

#define JOURNAL_PATH_LIMIT   8
#define JOURNAL_TROUBLE_TEXT 512

struct journal;
struct journal_config {
    const char *const *paths; /* files, best on different disks; their folders exist */
    size_t path_count;
    const char *what; /* in messages: "audit log" */
    /* Make new files where no path holds one. Only for a database that never had this journal: one
     * that went missing must not be replaced by an empty one. */
    bool create;
    /* journal_trim may cut lines off its beginning, and may have before. Else line 1 is its first,
     * or it is not opened. */
    bool trimmed;
    uint64_t max_bytes;
    const struct pl_clock *clock;
    const struct pl_log *log;
};

/* PL_ENOTFOUND: no file on any path and create is not set. PL_EFORK: the paths diverge. PL_ECORRUPT
 * names file and line: the chain is broken there and no path is whole. PL_EEXISTS: another process
 * has it. Reads every path once; blocks. */
enum pl_err journal_open(struct journal **out, const struct journal_config *config,
                         struct pl_why *why);
void journal_close(struct journal *journal); /* NULL is fine */

/* Adds a line: n, at, previous, and the object's members (JSON in one line, as json_writer gives
 * it; none of them named so). end (may be NULL): where the journal ends then. PL_ELIMIT: the line
 * is too long; PL_ENOSPC: the journal is full, or a disk; PL_EIO: a path could not be written.
 * After an error nothing changed. Blocks until it is on every disk. */
enum pl_err journal_append(struct journal *journal, struct pl_span object, struct journal_mark *end,
                           struct pl_why *why);

/* Where it ends, and the line before its first one: {0, zeros} unless something was cut off. Memory
 * only. */
void journal_end(struct journal *journal, struct journal_mark *out);
void journal_base(struct journal *journal, struct journal_mark *out);
uint64_t journal_bytes(struct journal *journal); /* of all its lines; memory only */

/* Cuts off the lines that were written before before_ms, if they are least_bytes or more: as many
 * of them as is easily done, 256 at a time. *cut_bytes: how much went; 0: it was not worth it. Each
 * path gets a new file in the place of the old, so that a crash leaves the one or the other; a path
 * on which that fails keeps what it has, and the next trim tries again. Appends go on meanwhile,
 * but while what they added is copied. A line counts as written before another one that stands
 * before it, whatever the clock showed: where it went back, nothing is cut off until later lines
 * are old enough, too. One thread at a time; blocks. */
enum pl_err journal_trim(struct journal *journal, int64_t before_ms, uint64_t least_bytes,
                         uint64_t *cut_bytes, struct pl_why *why);

/* Calls visit for the lines from number `from` on (0: all) that are there now, without their
 * newlines. What visit gives other than PL_OK ends the visit and is returned; visiting again from
 * a later number is cheap, so that a reader may stop whenever it has to. visit may append. Blocks
 * on the disk. */
enum pl_err journal_visit(struct journal *journal, uint64_t from,
                          enum pl_err (*visit)(void *ctx, uint64_t n, struct pl_span line,
                                               struct pl_why *why),
                          void *ctx, struct pl_why *why);

struct journal_status {
    uint64_t lines, bytes, max_bytes;
    bool nearly_full;                   /* over four fifths of max_bytes */
    char trouble[JOURNAL_TROUBLE_TEXT]; /* why the last line is not on every path; "": it is */
    struct alarms alarms;
};
void journal_status(struct journal *journal, struct journal_status *out);

#endif
