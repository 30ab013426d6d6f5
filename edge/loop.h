/*
 * loop: what one HTTP loop of an edge works with: its reference to the catalog, its tools for
 * decoding, its counters.
 *
 * Promise: everything here is the loop thread's own, `incoming` apart. Locks that a request takes
 * are held by others for a copy or a look into a table: its lane's (collector_lane.h), that of the
 * ids taken lately (recent.h), that of the opt-outs (suppressions.h). Buffers are made beforehand
 * and tickets used again; what a reply needs beyond them (a body, a cookie's line, the suspended
 * request) is allocated.
 */
#ifndef POLDER_EDGE_LOOP_H
#define POLDER_EDGE_LOOP_H

#include "edge/dialect.h"
#include "edge/edge.h"
#include "edge/metrics.h"
#include "edge/rate.h"
#include "edge/tally.h"
#include "proto/base/histogram.h"

#include <stdatomic.h>

struct edge_loop;

/* A request that waits for its events to be on disk, or the loop's own events. */
struct loop_ticket {
    struct collector_ticket base;
    struct loop_ticket *next_free;
    struct http_suspended *suspended; /* NULL: nobody waits */
    /* Answers; base.err says what became of the events. request NULL: the client has gone. */
    void (*finish)(struct edge_loop *loop, struct loop_ticket *ticket,
                   struct http_request *request);
    const struct dialect_reply *reply;
    const char *outcome;
    struct tally_who who;
    int64_t began_us; /* pl_elapsed_us when the request was here */
    char *set_cookie; /* of the reply, NULL: none; owned */
    char *refused;    /* what of a batch was passed over, and why; NULL: nothing; owned */
    uint8_t *body;    /* of the reply where the dialect made one; owned */
    size_t body_len;
    unsigned events, suppressed, masked;
    unsigned malformed, too_large; /* of a batch, passed over */
    uint64_t noted;                /* recent's mark of its message id; 0: none */
};

struct edge_loop {
    struct edge *edge;
    unsigned index;
    struct http_loop *http; /* NULL before it starts and after it stops; under publish_lock */
    struct catalog_snapshot *snapshot;

    /* recomputed once a second */
    int64_t age_s;   /* since the origin last said that this is all; 0 while recent */
    bool collecting; /* the catalog is young enough */

    struct tally tally;
    int64_t tally_due_s; /* until it is handed in */

    struct json_parser *json, *json_nested;
    struct json_writer *writer;
    struct pl_buf scratch; /* DIALECT_SCRATCH_BYTES, reserved in full */
    struct pl_buf masked;  /* EVENT_MASK_SCRATCH_BYTES, reserved in full */
    struct pl_buf events;  /* encoded, of the request at hand */
    struct pl_buf reply;   /* bodies made for one reply */
    struct pl_buf cookie;  /* one request's cookies in one piece */
    uint32_t ends[LIMIT_BATCH_EVENTS];
    struct event event;
    struct loop_ticket *free_tickets;
    struct rate_table rates, choices; /* of events; of opt-outs and opt-ins */
    struct metrics_shard metrics;
    struct pl_histogram durable_us; /* from a request's arrival to its events' fsync */

    /* any thread */
    _Atomic(struct catalog_snapshot *) incoming; /* newer than `snapshot`; NULL: none */
    struct http_task incoming_task;
};

enum pl_err edge_loops_new(struct edge *edge, struct pl_why *why);
void edge_loops_free(struct edge *edge);

/* For http_server_config. arg: the edge. */
void edge_loop_start(struct http_loop *http, unsigned index, void *arg);
void edge_loop_stop(struct http_loop *http, void *arg);

static inline struct edge_loop *edge_loop_of(const struct http_request *request)
{
    return http_loop_user(http_request_loop(request));
}

/* Hands a new snapshot to every loop and keeps it for those to come. Any thread. */
void edge_publish(struct edge *edge, struct catalog_snapshot *snapshot);

/* NULL: no memory. */
struct loop_ticket *edge_ticket_get(struct edge_loop *loop);
void edge_ticket_put(struct edge_loop *loop, struct loop_ticket *ticket);

#endif
