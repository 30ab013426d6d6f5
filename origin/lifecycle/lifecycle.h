/*
 * lifecycle: what time does to accounts: active → expired → deletable → deleting → deleted; the
 * table is in account_moves.h, the steps of a deletion in deletion.h.
 *
 * Promise: an account's deletion never starts before day 45 after its expiry, unless it was
 * requested and confirmed, and is spread over days 45 to 80, so that deletions do not pile up;
 * those that are late start first. None starts under a hold. Every step is idempotent and resumes
 * where a crash left it; an account takes one step a tick at most, and one that waits keeps no
 * other from going on. Nothing but a deletion that has begun goes on while the wall clock is not to
 * be believed (clock_watch.h). An account not deleted by day 80 degrades readiness, by day 90 it
 * takes it down; either says which account. What goes by day goes with it (retention.h).
 *
 * One thread of its own, on the injectable clock; lifecycle_tick may be called instead by tests.
 */
#ifndef POLDER_ORIGIN_LIFECYCLE_LIFECYCLE_H
#define POLDER_ORIGIN_LIFECYCLE_LIFECYCLE_H

#include "origin/accounts/accounts.h"
#include "origin/accounts/day_counts.h"
#include "origin/accounts/holds.h"
#include "origin/accounts/suppressions.h"
#include "origin/accounts/tokens.h"
#include "origin/journal/audit.h"
#include "origin/journal/redo.h"
#include "origin/lifecycle/clock_watch.h"
#include "origin/lifecycle/cutoffs.h"
#include "origin/lifecycle/deletion.h"
#include "origin/subjects/erasures.h"
#include "origin/subjects/links.h"
#include "origin/vault/exports.h"

#define LIFECYCLE_WARN_DAYS 80 /* by when those that ended are deleted */

/* Of a deletion on request, after its start, and of one that could start late only, after the
 * reason for that had gone: an import, or a hold. */
#define LIFECYCLE_REQUEST_WARN_DAYS 30
#define LIFECYCLE_LATE_WARN_DAYS    6
#define LIFECYCLE_LATE_LIMIT_DAYS   10

struct lifecycle_config {
    struct store *store;
    struct accounts *accounts;
    struct keyring *keyring;
    /* What a deletion has to do with; each may be NULL where a test has none. */
    struct intake *intake; /* what it took before is waited for */
    struct ledger *ledger; /* what it keeps aside may be the account's */
    struct holds *holds;
    struct suppressions *suppressions;
    struct erasures *erasures;
    struct links *links;
    struct exports *exports;
    struct tokens *tokens;
    struct day_counts *day_counts; /* without them no event is dropped by its day */
    struct cutoffs *cutoffs;       /* without them there are no edges */
    struct redo *redo;
    struct audit *audit;
    const struct pl_clock *clock;
    struct clock_belief *belief;        /* is told what time is believed; may be NULL */
    clock_witnesses_fn clock_witnesses; /* edges' clocks; NULL: there are none */
    void *clock_witnesses_ctx;
    int64_t backup_days;    /* that copies of the keyring are kept at most, for certificates */
    int64_t clock_agree_ms; /* that they agree before the clock is believed; 0: a minute */
    const struct pl_log *log;
    int64_t tick_ms; /* 0: one second */
};

struct lifecycle;
enum pl_err lifecycle_new(struct lifecycle **out, const struct lifecycle_config *config);
/* The first look at the clock. Before lifecycle_start, and before whatever else goes by the time
 * that is believed: until then none is. Blocks. */
void lifecycle_first_look(struct lifecycle *lifecycle);
enum pl_err lifecycle_start(struct lifecycle *lifecycle, struct pl_why *why);
void lifecycle_stop(struct lifecycle *lifecycle);
void lifecycle_free(struct lifecycle *lifecycle); /* stopped or never started; NULL is fine */

/* The clock is right whatever it showed before: for the tick after this. Any thread. */
void lifecycle_confirm_clock(struct lifecycle *lifecycle);
/* One look at every account, doing what is due. True: there is more to do at once. Blocks for
 * seconds, if something is purged. Not while the thread runs. */
bool lifecycle_tick(struct lifecycle *lifecycle);

struct lifecycle_status {
    size_t expired, deleting, deleted;
    size_t held;      /* would be deleted, or being deleted, by now but for a hold */
    size_t overdue;   /* past day 80 and not deleted */
    bool past_limit;  /* one is past day 90 */
    char reason[200]; /* names the account and what hinders; "" when all is well */
    char clock[CLOCK_WATCH_REASON_BYTES]; /* why the clock is not believed, and what to do; "" when
                                             it is */
};
void lifecycle_status(struct lifecycle *lifecycle, struct lifecycle_status *out); /* any thread */

/* What holds keep of the account, and whether readiness counts it as overdue. Any thread. NULL for
 * lifecycle: nothing. */
struct account_standing lifecycle_standing(const struct lifecycle *lifecycle,
                                           const struct account *account, int64_t now_ms);
/* How far an account's deletion is, one JSON object. Any thread; blocks. */
enum pl_err lifecycle_write_deletion(struct lifecycle *lifecycle, const struct account *account,
                                     struct json_writer *w, struct pl_why *why);
/* What was done to an account: JSON array of records, appended. Blocks. */
enum pl_err lifecycle_records(struct lifecycle *lifecycle, uint64_t account, struct json_writer *w);

#endif
