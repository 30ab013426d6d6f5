/*
 * clock_watch: whether the wall clock can be trusted with deleting.
 *
 * Promise: a wall clock that moves an hour further or less than the monotonic clock does within a
 * day, be it at once or in steps, that is behind what was seen before a restart, or that is more
 * than a day past it is suspect, until it agrees again, until two edges' clocks and more than half
 * of those that are heard have agreed with it for a while, or until an operator confirms it. That
 * outlives a restart: what was last believed is kept in the store, and a suspect clock never
 * replaces it. From when to when it was not believed is kept, too (clock_freezes.h).
 *
 * While a process runs it can be told by how much the clock was put; over a restart nobody can tell
 * a downtime from a step. So restarts have a budget: what lies between what was kept and what the
 * next process finds adds up, three days of it at most, and goes back by a tenth of the time that
 * processes run. A clock that is put ahead at every restart thus wins a tenth on the true time at
 * most, and three days once; an origin that is often off needs edges or an operator now and then.
 *
 * Owned by one thread; clock_watch_confirm may be called from any.
 */
#ifndef POLDER_ORIGIN_LIFECYCLE_CLOCK_WATCH_H
#define POLDER_ORIGIN_LIFECYCLE_CLOCK_WATCH_H

#include "origin/clock_belief.h"
#include "origin/lifecycle/clock_freezes.h"
#include "proto/base/id.h"

#define CLOCK_WATCH_SLACK_MS     PL_HOUR_MS      /* within CLOCK_WATCH_HOURS */
#define CLOCK_WATCH_HOURS        24              /* of the monotonic clock */
#define CLOCK_WATCH_RESTART_MS   PL_DAY_MS       /* that an origin may be down */
#define CLOCK_WATCH_GAPS_MS      (3 * PL_DAY_MS) /* of all restarts together */
#define CLOCK_WATCH_REGAIN       10              /* a day of them is regained in so many */
#define CLOCK_WATCH_AGREE_MS     PL_MINUTE_MS    /* that edges agree; and within which they do */
#define CLOCK_WITNESSES_MAX      256
#define CLOCK_WATCH_REASON_BYTES 240

/* An edge's clock, as its last PING told it. */
struct clock_witness {
    struct pl_id128 edge;
    int64_t skew_ms; /* its clock minus ours */
};
/* Those that are heard just now; at most max. Memory only. */
typedef size_t (*clock_witnesses_fn)(void *ctx, struct clock_witness *out, size_t max);

/* By how much the wall clock was ahead of the monotonic one, at the least and at the most, whenever
 * it was believed within an hour of the latter. */
struct clock_hour {
    int64_t hour; /* of the monotonic clock, from 1 on; 0: none */
    int64_t least_ms, most_ms;
};

struct clock_watch {
    struct store *store;
    const struct pl_clock *clock;
    const struct pl_log *log;
    struct clock_belief *belief; /* may be NULL */
    clock_witnesses_fn witnesses;
    void *witnesses_ctx;
    int64_t agree_ms;
    bool begun, suspect;
    bool restarted;           /* what was last believed is of an earlier process */
    int64_t now_ms;           /* of the last look: what was read, or what was expected instead */
    int64_t wall_ms, mono_ms; /* when the clock was last believed; mono_ms of this process */
    int64_t ahead_ms;         /* how far ahead of what is expected it may be */
    struct clock_hour hours[CLOCK_WATCH_HOURS + 1];
    int64_t gaps_ms, gaps_mono_ms; /* of restarts, as of then */
    int64_t kept_ms;               /* the wall_ms that is in the store; 0: none */
    bool frozen;                   /* freeze is in the store, without an end */
    bool found_frozen;             /* an earlier process had left one there */
    struct clock_freeze freeze;    /* the last one */
    bool agreed;                   /* edges have agreed at every look since: */
    int64_t agreed_wall_ms, agreed_mono_ms;
    _Atomic bool confirmed;
    char reason[CLOCK_WATCH_REASON_BYTES]; /* "" while it is believed */
};

void clock_watch_init(struct clock_watch *watch, struct store *store, const struct pl_clock *clock,
                      const struct pl_log *log);
/* Before the first look, or never. agree_ms 0: CLOCK_WATCH_AGREE_MS. */
void clock_watch_ask(struct clock_watch *watch, clock_witnesses_fn witnesses, void *ctx,
                     int64_t agree_ms);
/* Before the first look, or never. */
void clock_watch_tell(struct clock_watch *watch, struct clock_belief *belief);
/* Whether the clock is to be believed now. Then it is now_ms that is, and not what another reading
 * of the clock gives: it may have jumped since. Blocks on the disk once an hour. */
bool clock_watch_look(struct clock_watch *watch);
/* The next look believes the clock, whatever it shows. Any thread. */
void clock_watch_confirm(struct clock_watch *watch);

#endif
