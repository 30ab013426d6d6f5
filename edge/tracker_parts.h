/*
 * tracker_parts: what the files behind a dialect's route share. Nobody else includes it.
 */
#ifndef POLDER_EDGE_TRACKER_PARTS_H
#define POLDER_EDGE_TRACKER_PARTS_H

#include "edge/admit.h"
#include "edge/tracker.h"

/* One request on its way through a decoder. */
struct passage {
    struct edge_loop *loop;
    const struct http_request *request;
    const struct tracker_route *tracker;
    struct pl_span cookies;
    struct admission admission;
    int64_t began_us;
    bool claimed, anonymous;
    unsigned events, suppressed, masked;
    unsigned malformed, too_large; /* passed over; the first one's reason: */
    struct pl_why refusal;
    bool full;                      /* no room for more events of one request */
    uint64_t noted;                 /* the mark of a message id that was not known yet; 0: none */
    struct pl_span visitor;         /* the cookie's id, once it was asked for */
    char new_visitor[PL_UUID_TEXT]; /* given to this visitor now; "": not */
};

/* What the decoder of this request hands its claims and events to (tracker_sink.c). Borrows p. */
struct dialect_sink tracker_sink(struct passage *p);

#endif
