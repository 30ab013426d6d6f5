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
    struct erasure erasure; /* under the lock; its id, account and at_ms never change */
    _Atomic uint64_t dropped;
    uint64_t dropped_saved;
    bool fresh;     /* begun by this process: whatever is found goes, of whatever time */
    bool again;     /* more ids came while the thread was at it */
    bool forgotten; /* its account is being deleted */
    uint64_t tried; /* the tick that tried it last; the thread's, as all that follows */
    /* what is to be compacted; the whole account where that is not known */
    bool whole; /* an earlier process deleted some of it, nobody knows where */
    bool bounds_known;
    struct vault_key first, last;
};

struct erasures {
    struct erasures_config config;
    struct erasures_around around;
    struct erasure_set *set;
    pthread_mutex_t lock;
    pthread_cond_t moved; /* one was erased or forgotten; on CLOCK_MONOTONIC */
    struct open_erasure *open;
    struct open_erasure *in_hand; /* the thread's */
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

/* Writes the row; with the lock held. PL_ECLOSED: it was forgotten. */
enum pl_err erasures_save(struct erasures *erasures, const struct open_erasure *open, bool sync,
                          struct pl_why *why);
/* Notes it where restores do not reach; with the lock held. */
enum pl_err erasures_note(struct erasures *erasures, const struct erasure *erasure,
                          struct pl_why *why);
/* Adds ids to it and has them erased, too; with the lock held. noted: the log has them. */
enum pl_err erasures_extend(struct erasures *erasures, struct open_erasure *open,
                            const struct identities *more, bool noted, struct pl_why *why);
/* Takes it off the list and frees it; with the lock held. */
void erasures_drop(struct erasures *erasures, struct open_erasure *open);
/* The set of what is guarded, anew. With the lock held. */
enum pl_err erasures_refill(struct erasures *erasures);

/* ---- eraser.c */
void *erasures_run(void *erasures);
/* One look at all that is open; the thread's, or a test's. */
void erasures_tick(struct erasures *erasures);

#endif
