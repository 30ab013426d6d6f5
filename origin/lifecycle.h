/*
 * lifecycle: what time does to accounts: active → expired → deletable → deleting → deleted.
 *
 * Promise: an account's deletion never starts before day 45 after its expiry and is spread over
 * days 45–80, so that deletions do not pile up. Every step is idempotent and resumes where a
 * crash left it, and an account takes one step a tick at most. Nothing but a deletion that has
 * begun goes on while the wall clock is not to be believed (clock_watch.h). An account not deleted
 * by day 80 degrades readiness, by day 90 it takes it down; either says which account. Deletion
 * destroys the data key on every path of the keyring first: from then on nothing of the account can
 * be read.
 *
 * One thread of its own, on the injectable clock; lifecycle_tick may be called instead by tests.
 */
#ifndef POLDER_ORIGIN_LIFECYCLE_H
#define POLDER_ORIGIN_LIFECYCLE_H

#include "origin/accounts.h"
#include "origin/suppressions.h"

#define LIFECYCLE_KEEP_DAYS   45 /* reinstatement is possible until here at least */
#define LIFECYCLE_SPREAD_DAYS 36 /* deletions start on days 45..80 */
#define LIFECYCLE_WARN_DAYS   80
#define LIFECYCLE_LIMIT_DAYS  90

struct lifecycle_config {
    struct store *store;
    struct accounts *accounts;
    struct keyring *keyring;
    /* What it took before the account was being deleted is waited for; NULL: there is none. */
    struct intake *intake;
    struct suppressions *suppressions; /* may be NULL */
    const struct pl_clock *clock;
    const struct pl_random *random;
    const struct pl_log *log;
    int64_t tick_ms; /* 0: one second */
};

struct lifecycle;
enum pl_err lifecycle_new(struct lifecycle **out, const struct lifecycle_config *config);
enum pl_err lifecycle_start(struct lifecycle *lifecycle, struct pl_why *why);
void lifecycle_stop(struct lifecycle *lifecycle);
void lifecycle_free(struct lifecycle *lifecycle); /* stopped or never started; NULL is fine */

/* The clock is right whatever it showed before: for the tick after this. Any thread. */
void lifecycle_confirm_clock(struct lifecycle *lifecycle);
/* One look at every account, doing what is due. Blocks for as long as deletions take. Not while
 * the thread runs. */
void lifecycle_tick(struct lifecycle *lifecycle);
/* When an account's deletion is due to start; 0: not expired. */
int64_t lifecycle_due_ms(const struct account *account);

struct lifecycle_status {
    size_t expired, deleting, deleted;
    size_t overdue;   /* past day 80 and not deleted */
    bool past_limit;  /* one is past day 90 */
    char reason[200]; /* names the account and what hinders; "" when all is well */
    char clock[200];  /* why the clock is not believed, and what to do; "" when it is */
};
void lifecycle_status(struct lifecycle *lifecycle, struct lifecycle_status *out); /* any thread */

/* What was done to an account: JSON array of records, oldest first, appended. Blocks. */
enum pl_err lifecycle_records(struct lifecycle *lifecycle, uint64_t account, struct json_writer *w);

#endif
