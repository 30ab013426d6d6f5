/*
 * tracker: a dialect's route as an HTTP handler: request in, decoder, admission, collector, and
 * once the events are on disk the dialect's reply.
 *
 * Promise: no success status leaves before the events are durable, and nothing is counted or
 * remembered of events that are not; a request is taken whole or not at all, but for batches whose
 * dialect passes over what cannot be taken (dialect.h); every refusal has its code, its reason and
 * its counter.
 */
#ifndef POLDER_EDGE_TRACKER_H
#define POLDER_EDGE_TRACKER_H

#include "edge/loop.h"

struct tracker_route {
    const struct dialect *dialect;
    const struct dialect_route *route;
};

/* arg: a struct tracker_route. */
void tracker_handle(struct http_request *request, void *arg);
/* For collector_config.done. */
void tracker_done(struct http_loop *http, struct collector_ticket *tickets);

#endif
