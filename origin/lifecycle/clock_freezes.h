/*
 * clock_freezes: when the wall clock was not believed, so that nothing expired and nothing was
 * deleted: kept, because a certificate has to say why a deletion was late.
 *
 * Promise: a freeze is on disk before anything waits for its end, and a restart goes on with the
 * one that it found open. Freezes that follow each other within an hour are one, with the reason of
 * the last. They are kept for two years after their end.
 *
 * One thread writes; any may read. Blocks on the disk.
 */
#ifndef POLDER_ORIGIN_LIFECYCLE_CLOCK_FREEZES_H
#define POLDER_ORIGIN_LIFECYCLE_CLOCK_FREEZES_H

#include "proto/base/clock.h"
#include "proto/store/store.h"

#define CLOCK_FREEZE_REASON_BYTES 200 /* with the NUL */
#define CLOCK_FREEZE_JOIN_MS      PL_HOUR_MS
#define CLOCK_FREEZE_KEEP_MS      (730 * PL_DAY_MS)

struct clock_freeze {
    int64_t from_ms;                        /* by the time that was believed until then */
    int64_t until_ms;                       /* by the time that is believed since; 0: it lasts */
    char reason[CLOCK_FREEZE_REASON_BYTES]; /* what was found, and what ended it */
};

/* Opens one, or goes on with one that lasts or has just ended. *freeze is it. */
enum pl_err clock_freeze_begin(struct store *store, int64_t from_ms, const char *reason,
                               struct clock_freeze *freeze, struct pl_why *why);
/* The one that an earlier process left open; PL_ENOTFOUND when there is none. */
enum pl_err clock_freeze_open(struct store *store, struct clock_freeze *freeze);
/* Closes it, with a word on what ended it, and forgets those that are old. */
enum pl_err clock_freeze_end(struct store *store, struct clock_freeze *freeze, int64_t until_ms,
                             const char *ended_by, struct pl_why *why);

/* Those that touch [from_ms, until_ms], oldest first, at most max; *count may be larger than that:
 * there were more. */
enum pl_err clock_freezes_between(struct store *store, int64_t from_ms, int64_t until_ms,
                                  struct clock_freeze *out, size_t max, size_t *count);

#endif
