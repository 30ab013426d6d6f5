/*
 * tally: how often each account's requests met with which outcome, beside plain success.
 *
 * Promise: a loop counts without a lock and without allocating; once in a while, and at its end, it
 * hands in what it has counted as events of the account, so that they are stored once like all
 * others: what could not be made durable is handed in again, under the same message ids. The table
 * is bounded: when it is nearly full, further outcomes of an account count as OTHER; what does not
 * fit even so stands in /metrics. Requests of nobody known are only there.
 *
 * The loop's own.
 */
#ifndef POLDER_EDGE_TALLY_H
#define POLDER_EDGE_TALLY_H

#include "proto/base/buf.h"
#include "proto/base/id.h"
#include "proto/wire/event.h"

/* Whom the tallies of a day stand under at the origin, so that they are found without reading the
 * rest: not a visitor. */
#define TALLY_VISITOR "polder:tally"

#define TALLY_SLOTS 512 /* a power of two */
#define TALLY_ROWS  384 /* all of them */
#define TALLY_NAMED 288 /* of them for named outcomes; the rest is OTHER's */

/* Whose requests, in which dialect. */
struct tally_who {
    struct pl_id128 write_key;
    uint64_t account; /* 0: nobody known */
    unsigned dialect;
};

struct tally_row {
    struct tally_who who; /* nobody: free */
    uint64_t count;
    const char *outcome; /* static */
};

struct tally {
    unsigned rows;
    struct tally_row slots[TALLY_SLOTS];
    struct pl_buf pending; /* encoded, of the last tally_submit; empty: all is durable */
    unsigned pending_count;
    uint32_t ends[TALLY_ROWS];
    bool away; /* with the collector */
};

void tally_init(struct tally *tally);
void tally_release(struct tally *tally);

/* Counts n. outcome is static. False: there was no room. */
bool tally_note(struct tally *tally, const struct tally_who *who, const char *outcome, uint64_t n);

struct edge_loop;
/* Hands in what is there, unless the last is still under way. On the loop, between requests. */
void tally_submit(struct edge_loop *loop);

#endif
