/*
 * denials: who was refused, kept until it is written, in a number of lines that no flood can raise.
 * Part of audit.
 *
 * Promise: while the process lives, every denial is either told by itself or counted in a line of
 * its source, or in the one line for sources that there was no room for. A window is a minute, and
 * an hour after one in which something was only counted: at its worst, a flood makes some 850 lines
 * an hour. Edges that are refused come again every few seconds for as long as nobody looks: theirs
 * is a window of its own, in which an edge that is left running makes three lines an hour. Memory
 * is fixed. What is only counted is in memory until its window ends: a process that is killed takes
 * with it the counts of an hour at most, never a denial that was told by itself and written. Counts
 * written each minute would be up to 9000 lines an hour.
 *
 * Not thread-safe: under audit's lock.
 */
#ifndef POLDER_ORIGIN_JOURNAL_DENIALS_H
#define POLDER_ORIGIN_JOURNAL_DENIALS_H

#include "origin/journal/audit.h"

/* One line to come. Own copies; action and detail are literals. */
struct denial {
    bool known; /* token is somebody's */
    bool link;  /* at the link, not at the API */
    struct token_record token;
    const char *action, *detail;
    uint64_t account;
    char object[PL_ID128_TEXT]; /* the edge that it said it was; "": none */
    uint64_t count;             /* 0: told by itself; else of how many this is the last */
    uint8_t from[16];
    size_t from_bytes; /* 0: sources without room of their own */
};

struct denials;
enum pl_err denials_new(struct denials **out);
void denials_free(struct denials *denials); /* NULL is fine */

/* Whether it will be told by itself. denial->count is 0. */
bool denials_take(struct denials *denials, const struct denial *denial, int64_t mono_ms);
/* The oldest line that is to be written; NULL: none. It stays until denials_written, which is to
 * follow before any other is taken. */
const struct denial *denials_next(struct denials *denials, int64_t mono_ms);
void denials_written(struct denials *denials);
/* Whatever is counted becomes lines now: before the end. */
void denials_close_windows(struct denials *denials);

/* Lines of a window. Who has a token is somebody, and may be told at greater length. */
#define DENIALS_STRANGER_LINES  20 /* of one address; IPv6 counts by /64 */
#define DENIALS_STRANGERS_LINES 100
#define DENIALS_TOKEN_LINES     200 /* of one token */
#define DENIALS_TOKENS_LINES    500
#define DENIALS_LINK_LINES      2 /* of one edge, or of one address that does not say which it is */
#define DENIALS_LINKS_LINES     20
#define DENIALS_SOURCES         50 /* that are counted apart, of each kind */
#define DENIALS_MINUTE_MS       INT64_C(60000)
#define DENIALS_HOUR_MS         (60 * DENIALS_MINUTE_MS)

#endif
