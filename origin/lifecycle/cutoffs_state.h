/*
 * cutoffs_state: what the files of cutoffs share. Private to them.
 */
#ifndef POLDER_ORIGIN_LIFECYCLE_CUTOFFS_STATE_H
#define POLDER_ORIGIN_LIFECYCLE_CUTOFFS_STATE_H

#include "origin/lifecycle/cutoffs.h"

#include <pthread.h>

/* An edge that has had a session. Positions are the changelog's. */
struct cutoffs_row {
    struct pl_id128 edge;
    uint64_t first;     /* when it was first seen: it holds nothing from before */
    uint64_t settled;   /* what it said last */
    int64_t settled_ms; /* when it said so first */
    uint64_t revoked;   /* when its revocation was noticed; 0: it is not */
    uint64_t closed; /* when every key that it knew was found destroyed, after that; 0: not yet */
    bool unsaved;    /* the disk would not take it */
};

#define CUTOFFS_OLD_KEYS 16 /* destroyed in one go; more wait for the next */

struct cutoffs_key {
    uint8_t id[BLOCK_KEY_ID_BYTES];
    uint64_t position; /* at which edges were told of it; 0: not yet, or an earlier version was */
    int64_t made_ms;
};

struct cutoffs_keys {
    struct cutoffs_key current;
    struct cutoffs_key old[CUTOFFS_OLD_KEYS]; /* by position */
    size_t old_count;                         /* alive beside it, those that did not fit included */
    int64_t destroyed_ms;                     /* the last destruction; 0: none yet */
    bool unsaved;                             /* the disk would not take the positions */
};

struct cutoffs {
    struct cutoffs_config config;
    pthread_mutex_t changing; /* one change of keys at a time; taken before `lock` */
    pthread_mutex_t lock;     /* what follows */
    struct cutoffs_row *rows;
    size_t count;
    struct cutoffs_keys keys;
    uint64_t heard_too_much;
    char trouble[200];
};

/* Under lock. NULL: there is none; no memory. */
struct cutoffs_row *cutoffs_find(const struct cutoffs *cutoffs, const struct pl_id128 *edge);
struct cutoffs_row *cutoffs_add(struct cutoffs *cutoffs, const struct cutoffs_row *row);
/* Under lock. A row that is not on disk is written again the next time its edge is heard. */
void cutoffs_save(struct cutoffs *cutoffs, struct cutoffs_row *row, bool sync);
/* Whether the rows are of the changelog's epoch; if not, puts them right. Before anything else. */
enum pl_err cutoffs_look_at_epoch(struct cutoffs *cutoffs, struct pl_why *why);
/* Under lock. Of an edge whose keys are closed, what stands here goes. False: it is needed yet. */
bool cutoffs_let_go(struct cutoffs *cutoffs, const struct pl_id128 *edge);
/* Reads from the keyring what it holds. */
void cutoffs_look_at_keys(struct cutoffs *cutoffs);
/* The same at the start, with the positions as they were saved. */
void cutoffs_load_keys(struct cutoffs *cutoffs);
/* Under lock, or `changing`. Of every key that edges were told of before this position nothing is
 * left, whatever was made since. */
uint64_t cutoffs_closed_position(const struct cutoffs *cutoffs);

#endif
