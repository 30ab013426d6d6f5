/*
 * erasures_state: what the public calls of erasures and its thread share. Private to erasures.
 */
#ifndef POLDER_ORIGIN_SUBJECTS_ERASURES_STATE_H
#define POLDER_ORIGIN_SUBJECTS_ERASURES_STATE_H

#include "origin/subjects/erasures.h"
#include "origin/subjects/visitors.h"
#include "proto/base/mailbox.h"

#include <stdatomic.h>

/* One that is not closed. */
struct open_erasure {
    struct open_erasure *next;
    struct erasure erasure; /* its id, account, alone and at_ms never change */
    _Atomic uint64_t dropped;
    uint64_t dropped_saved;
    bool fresh;     /* begun by this process: whatever is found goes, of whatever time */
    bool replayed;  /* the database lacked it, no hold had kept any of it, nor have ids come since:
                       what is found had gone before any hold of after it */
    bool again;     /* more ids came while the thread was at it */
    bool forgotten; /* its account is being deleted */
    uint64_t held_by; /* holds_standing when it was looked at what is held; the thread's */
    uint64_t tried;   /* the tick that tried it last; the thread's, as all that follows */
    /* what is to be compacted; the whole account where that is not known */
    bool whole; /* an earlier process deleted some of it, nobody knows where */
    bool bounds_known;
    struct vault_key first, last;
};

struct erasures {
    struct erasures_config config;
    struct erasures_around around;
    struct erasure_set *set;
    /* The list and what is in it change with both held, and may be read with either: so that who
     * waits for a disk holds up others that change something, but neither intake nor probes. */
    pthread_mutex_t changing; /* one change at a time, over its writes; taken before `lock` */
    pthread_mutex_t lock;     /* memory only; alone it is enough for what follows */
    pthread_cond_t moved;     /* one was erased or forgotten; on CLOCK_MONOTONIC */
    struct open_erasure *open;
    struct open_erasure *in_hand; /* the thread's */
    /* Where edges have settled past every erasure; UINT64_MAX: nowhere yet; 0: none is open. */
    _Atomic uint64_t newest;
    char trouble[200];
    struct pl_mailbox wake;
    pthread_t thread;
    bool running;
    _Atomic bool stopping;
    /* the thread's */
    struct visitors *visitors;
    uint64_t tick;
    int64_t settle_at_mono_ms; /* not before */
    int64_t closed_mono_ms;    /* when it last looked for what can be closed */
};

/* ---- the list; with `lock` held, and `changing` but for finding */

struct open_erasure *erasures_find(struct erasures *e, uint64_t account, const struct pl_id128 *id);
/* Guards it, as it stands by now. */
enum pl_err erasures_guard(struct erasures *e, const struct erasure *erasure);
/* It takes over what the erasure holds, unless it fails. */
enum pl_err erasures_add(struct erasures *e, struct erasure *erasure, struct open_erasure **out);
/* Takes it off the list and frees it. */
void erasures_drop(struct erasures *e, struct open_erasure *open);
/* The set of what is guarded, anew. */
enum pl_err erasures_refill(struct erasures *e);

/* What time it is by the clock that is believed; at the earliest: what must not end too soon. */
int64_t erasures_now_ms(const struct erasures *e);
int64_t erasures_earliest_ms(const struct erasures *e);

/* ---- changes; with `changing` held, and not `lock` */

/* Writes the row. */
enum pl_err erasures_save(struct erasures *e, const struct erasure *erasure, bool sync,
                          struct pl_why *why);
/* Writes what is to become of it but for its ids, which then is so, and notes when a hold begins to
 * keep some of it; the thread's. PL_ECLOSED: it was forgotten. */
enum pl_err erasures_become(struct erasures *e, struct open_erasure *open,
                            const struct erasure *next, bool sync, struct pl_why *why);
/* Adds ids to it, durably, and has them erased, too. */
enum pl_err erasures_extend(struct erasures *e, struct open_erasure *open,
                            const struct identities *more, struct pl_why *why);

/* ---- the thread's, or a test's */

void *erasures_run(void *erasures);
/* One look at all that is open. */
void erasures_tick(struct erasures *erasures);
/* The next in that state that this round has not tried; it is in hand until let go of. */
struct open_erasure *erasures_take(struct erasures *e, enum erasure_state state);
void erasures_let_go(struct erasures *e);
/* What hinders. */
void erasures_trouble(struct erasures *e, enum pl_err err, const struct pl_why *why);
/* Whether the account's end has come in between: lifecycle sees to the rest. */
bool erasures_is_over(enum pl_err err);
/* Has what was erased compacted away. False: something hinders. */
bool erasures_settle(struct erasures *e);
/* Lifts the guard where its time is over. False: something hinders. */
bool erasures_lift(struct erasures *e);
static inline int erasures_key_order(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct vault_key));
}

#endif
