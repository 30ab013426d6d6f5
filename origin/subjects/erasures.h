/*
 * erasures: persons who had what is held of them erased.
 *
 * Promise: from the moment erasures_erase returns, nothing of the person's that an edge accepted up
 * to then, or that claims to have happened up to then, is stored any more, over restarts and
 * restores: it is in the log beside the keyring and in the database before anything is deleted. A
 * thread of its own then deletes what is stored (events and links; of message ids the bare hashes
 * stay as long as retries may come), has it physically compacted away, and lifts the guard when
 * every edge has passed its cut-off and no retry can come any more. Each step may be repeated and
 * is taken up again after a crash. An event that arrives and tells another id of the person's
 * extends the erasure to that id before it is acknowledged.
 *
 * A day's events that a hold covers stay until it ends, and go then; the receipt tells of them.
 * What arrives is dropped all the same: nobody has to keep what was never stored.
 *
 * What an opt-out left, the keyed hash of an id, is not erased: it is what keeps the person out.
 */
#ifndef POLDER_ORIGIN_SUBJECTS_ERASURES_H
#define POLDER_ORIGIN_SUBJECTS_ERASURES_H

#include "origin/accounts/day_counts.h"
#include "origin/clock_belief.h"
#include "origin/lifecycle/cutoffs.h"
#include "origin/subjects/erasure_set.h"
#include "origin/subjects/links.h"
#include "proto/base/log.h"

struct accounts;
struct holds;
struct intake;
struct erasures;

#define ERASURES_MARGIN_MS     PL_MINUTE_MS /* that a clock may be ahead untold */
#define ERASURES_MARGIN_MAX_MS PL_HOUR_MS

struct erasures_config {
    struct store *store;
    struct keyring *keyring;
    /* Notes the row where a restore does not undo it, durably, then calls write, which puts it into
     * the database; the note does not hold if that fails. NULL: nothing survives a restore. */
    enum pl_err (*note)(void *ctx, struct pl_span key, struct pl_span row,
                        enum pl_err (*write)(void *write_ctx, struct pl_why *why), void *write_ctx,
                        struct pl_why *why);
    void *note_ctx;
    struct accounts *accounts; /* whose deletion or hold may come in between; NULL: neither does */
    struct holds *holds;       /* NULL: there are none */
    struct cutoffs *cutoffs;   /* NULL: there are no edges */
    /* How far an edge's clock is ahead of ours, as it told last. Opener threads; memory only. NULL:
     * nobody knows. */
    int64_t (*edge_ahead_ms)(void *ctx, const struct pl_id128 *edge);
    void *edge_ctx;
    struct day_counts *day_counts;
    const struct pl_clock *clock;
    const struct clock_belief *belief; /* NULL: the clock is believed */
    const struct pl_random *random;
    const struct pl_log *log;
    int64_t tick_ms; /* 0: one second */
};
/* Reads those that are not closed. PL_ECORRUPT: a row is damaged. Blocks. */
enum pl_err erasures_open(struct erasures **out, const struct erasures_config *config,
                          struct pl_why *why);
/* Starts the thread. links and intake: of whom it waits that what they took is written. believed:
 * whether the clock can be; without it no guard is lifted. All may be NULL. */
struct erasures_around {
    struct links *links;
    struct intake *intake;
    bool (*believed)(void *ctx);
    void *ctx;
};
enum pl_err erasures_start(struct erasures *erasures, const struct erasures_around *around,
                           struct pl_why *why);
void erasures_stop(struct erasures *erasures);
/* Waits up to wait_ms until nothing that is to be erased can be read any more. False: there still
 * is. For a start, before anything is served. */
bool erasures_wait(struct erasures *erasures, int64_t wait_ms);
void erasures_close(struct erasures *erasures); /* stopped or never started; NULL is fine */

/* ---- whoever is asked to; any thread */

struct erasures_request {
    uint64_t account;
    const struct identities *identities; /* copied */
    bool alone;   /* of these only, not of those that links or late events lead to */
    size_t holds; /* of the account, as many as were asked (holds_of) */
};
/* Begins the erasure of a person's ids, durably; *id is the receipt's. In one step with what may
 * stand against it: PL_EEXPIRED: the account's deletion has started; PL_EAGAIN: a hold was placed
 * since, or the clock is in doubt since a restart, and with it up to when to erase. Blocks. */
enum pl_err erasures_erase(struct erasures *erasures, const struct erasures_request *request,
                           struct pl_id128 *id, struct pl_why *why);
/* The receipt as it stands, one JSON object. PL_ENOTFOUND. Blocks. */
enum pl_err erasures_write(struct erasures *erasures, uint64_t account, const struct pl_id128 *id,
                           struct json_writer *w, struct pl_why *why);
/* An array of an account's receipts without their edges, oldest ids in no order, at most max. */
enum pl_err erasures_write_all(struct erasures *erasures, uint64_t account, size_t max,
                               struct json_writer *w, struct pl_why *why);
/* The account is being deleted: its erasures are over; its rows are the deletion's. What the thread
 * has in hand of it is let go of. Any thread. */
void erasures_forget(struct erasures *erasures, uint64_t account);

/* For the log's replay, before the thread runs: an erasure as it was noted. One that is known stays
 * as it is, but for ids that it lacks. One that the database lacks is made again, whatever holds
 * were placed since, if it was over before them: a note tells when one kept some of it, or when
 * more ids came, and then every hold counts that stands. Blocks. */
enum pl_err erasures_replay(struct erasures *erasures, struct pl_span key, struct pl_span row,
                            struct pl_why *why);

/* ---- intake's */

/* False: nothing is guarded at this account. Any thread, memory only, no lock. */
bool erasures_any(const struct erasures *erasures, uint64_t account);
/* How an edge stands; to be asked once a block, before its events are looked at. Any thread, memory
 * only; without a lock while nothing is guarded. */
struct erasure_edge erasures_edge(const struct erasures *erasures, const struct pl_id128 *edge);
/* Whether the event is of before an erasure of its person: accepted_ms as the edge says, which may
 * be ahead of us: until it has settled, a minute after the erasure, or as much as its clock is
 * known to be ahead, counts as before. hit: what else it tells. Any thread, memory only. */
bool erasures_concern(struct erasures *erasures, const struct event *event,
                      const struct event_ids *ids, int64_t accepted_ms,
                      const struct erasure_edge *edge, struct erasure_hit *hit);
/* Of an event: the earlier of when it was accepted and when it claims to have happened. */
int64_t erasures_time(const struct event *event, int64_t accepted_ms);

/* An id that was learnt from an event that is dropped. */
struct erasure_learned {
    uint64_t account;
    struct pl_id128 erasure;
    struct identity identity;
};
/* Extends the erasure, durably, before the event's block is acknowledged. The writer; blocks. */
enum pl_err erasures_learn(struct erasures *erasures, const struct erasure_learned *learned,
                           struct pl_why *why);

/* ---- probes; any thread, memory only */

struct erasures_status {
    size_t open;                  /* guarded */
    size_t unfinished;            /* of them not physically gone yet */
    int64_t oldest_unfinished_ms; /* wall clock when that one began; 0: there is none */
    char trouble[200];            /* what hinders the thread; "" when nothing does */
};
void erasures_status(struct erasures *erasures, struct erasures_status *out);

#endif
