/*
 * clock_watch: whether the wall clock can be trusted with deleting.
 *
 * Promise: a wall clock that moves an hour further or less than the monotonic clock does between
 * two looks, that is behind what was seen before a restart, or that is more than a day past it is
 * suspect, until it agrees again or an operator confirms it. That outlives a restart: what was
 * last believed is kept in the store, and a suspect clock never replaces it.
 *
 * Owned by one thread; clock_watch_confirm may come from any.
 */
#ifndef POLDER_ORIGIN_CLOCK_WATCH_H
#define POLDER_ORIGIN_CLOCK_WATCH_H

#include "proto/base/clock.h"
#include "proto/store/store.h"

#include <stdatomic.h>

#define CLOCK_WATCH_SLACK_MS   PL_HOUR_MS /* between two looks */
#define CLOCK_WATCH_RESTART_MS PL_DAY_MS  /* that an origin may be down */

struct clock_watch {
    struct store *store;
    const struct pl_clock *clock;
    const struct pl_log *log;
    bool begun, suspect;
    int64_t wall_ms, mono_ms; /* when the clock was last believed; mono_ms of this process */
    int64_t ahead_ms;         /* how far ahead of what is expected it may be */
    int64_t kept_ms;          /* the wall_ms that is in the store; 0: none */
    _Atomic bool confirmed;
    char reason[200]; /* "" while it is believed */
};

void clock_watch_init(struct clock_watch *watch, struct store *store, const struct pl_clock *clock,
                      const struct pl_log *log);
/* Whether the clock is to be believed now. Blocks on the disk once an hour. */
bool clock_watch_look(struct clock_watch *watch);
/* The next look believes the clock, whatever it shows. Any thread. */
void clock_watch_confirm(struct clock_watch *watch);

#endif
