/*
 * hold_ends: tells the audit log of holds that end by their date, which nobody does.
 *
 * Promise: each is told once, soon after; one that ended while the origin was off, after its start.
 * Where it cannot be noted it is tried again; a crash in between may have it told twice.
 */
#ifndef POLDER_ORIGIN_LIFECYCLE_HOLD_ENDS_H
#define POLDER_ORIGIN_LIFECYCLE_HOLD_ENDS_H

#include "origin/accounts/holds.h"
#include "origin/journal/audit.h"

struct hold_ends {
    bool read;       /* the below, from the store */
    int64_t told_ms; /* those that ended up to then are */
    bool unkept;     /* the store would not take that */
};
/* As of now_ms, which is believed. Zeros to begin with. One thread; blocks if there is any. */
void hold_ends_tell(struct hold_ends *ends, struct store *store, struct holds *holds,
                    struct audit *audit, int64_t now_ms);

#endif
