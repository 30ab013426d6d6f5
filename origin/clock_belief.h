/*
 * clock_belief: what time it is by the last clock that was believed: for those that must not lose
 * or misdate anything while it is not.
 *
 * Promise: reading it asks the clock and memory, nothing else: any thread, cheap. One a process;
 * lifecycle/clock_watch.h alone writes it, and says when a clock is believed.
 */
#ifndef POLDER_ORIGIN_CLOCK_BELIEF_H
#define POLDER_ORIGIN_CLOCK_BELIEF_H

#include "proto/base/clock.h"

#include <stdatomic.h>

struct clock_belief {
    const struct pl_clock *clock;
    _Atomic int64_t offset_ms; /* the wall clock's lead over the monotonic one; 0: not known yet */
    _Atomic bool assumed;      /* that is of before this process, which has believed no clock yet */
};

/* What the clock shows, and what it should by what was last believed: the earlier and the later of
 * the two. They are the same, but for moments, while it is believed. belief->clock must be set. */
void clock_belief_range(const struct clock_belief *belief, int64_t *earliest_ms,
                        int64_t *latest_ms);
/* What time it is by what was last believed, and what the clock shows while nothing was. False:
 * only that it is later than this, because the clock is in doubt since a restart. Likewise. */
bool clock_belief_now(const struct clock_belief *belief, int64_t *now_ms);
/* A clock that shows the earlier of the two: for what must not be thrown away too soon. belief must
 * outlive it. */
struct pl_clock clock_belief_cautious(struct clock_belief *belief);
/* The later of the two: for what must not be taken for good too long. */
struct pl_clock clock_belief_strict(struct clock_belief *belief);
/* What was last believed, as clock_belief_now: for when something was done. */
struct pl_clock clock_belief_clock(struct clock_belief *belief);

#endif
