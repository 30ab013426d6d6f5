/*
 * probes: what an edge tells those who watch it.
 *
 * Promise: answers come from memory and do not wait for disk, origin or each other. Every verdict
 * names its reason in words an operator can act on.
 *
 *   GET /health       200 while the process lives
 *   GET /ready        200 while it can keep its promises, else 503
 *   GET /replication  200 healthy or degraded, 503 down
 *   GET /metrics      Prometheus text
 */
#ifndef POLDER_EDGE_PROBES_H
#define POLDER_EDGE_PROBES_H

#include "edge/loop.h"

/* Handlers; arg unused. */
void probe_health(struct http_request *request, void *arg);
void probe_ready(struct http_request *request, void *arg);
void probe_replication(struct http_request *request, void *arg);
void probe_metrics(struct http_request *request, void *arg);

#endif
