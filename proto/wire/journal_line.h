/*
 * journal_line: one line of an append-only journal: a JSON object that names the line before it by
 * its hash, so that anybody can follow the chain with sha256sum. SPEC.md, "Journals".
 *
 * Promise: a line that follows another one is told from one that was changed, moved, left out or
 * put in. What else stands in it is the writer's. Nothing here blocks or allocates but out.
 */
#ifndef POLDER_PROTO_WIRE_JOURNAL_LINE_H
#define POLDER_PROTO_WIRE_JOURNAL_LINE_H

#include "proto/base/buf.h"
#include "proto/base/crypto.h"

#define JOURNAL_LINE_BYTES (2u << 20) /* with the newline */

/* Where a journal ends: {0, zeros} before its first line. */
struct journal_mark {
    uint64_t n;                    /* of the last line; the first is 1 */
    uint8_t hash[PL_SHA256_BYTES]; /* of it, without its newline */
};

/* Appends a line with its newline: n, at and previous, then the object's members, which must not be
 * named so. object: one JSON object without a newline, as json_writer gives it; PL_EINVAL.
 * PL_ELIMIT: it would be too long. */
enum pl_err journal_line_write(const struct journal_mark *before, int64_t wall_ms,
                               struct pl_span object, struct pl_buf *out);

/* What a line (without its newline) says of itself. PL_ECORRUPT: it does not begin as one. */
enum pl_err journal_line_read(struct pl_span line, uint64_t *n, uint8_t previous[PL_SHA256_BYTES]);
/* Its number, and when it was written. The line's first bytes do; PL_ECORRUPT: they are no line's.
 */
#define JOURNAL_HEAD_BYTES 64
enum pl_err journal_line_time(struct pl_span head, uint64_t *n, int64_t *wall_ms);
/* Moves the mark behind the line; PL_ECORRUPT and why when it is not the one that follows. To begin
 * within a journal, take n - 1 and previous of the line to begin with. */
enum pl_err journal_line_next(struct journal_mark *mark, struct pl_span line, struct pl_why *why);

#endif
