/*
 * edge: one node and what its threads share.
 *
 * Promise: edge_new builds everything or nothing; edge_start begins to serve; edge_stop finishes
 * the requests under way, commits what they brought, and leaves nothing running. Fields are
 * grouped by who may touch them.
 */
#ifndef POLDER_EDGE_EDGE_H
#define POLDER_EDGE_EDGE_H

#include "edge/catalog.h"
#include "edge/collector.h"
#include "edge/cutoff.h"
#include "edge/options.h"
#include "edge/spool.h"
#include "proto/base/address.h"
#include "proto/http/http.h"
#include "replication/uplink.h"

#include <pthread.h>

#define EDGE_NO_LISTENER SIZE_MAX

struct edge_loop;
struct edge_routes;

struct edge {
    /* set before any thread runs, constant since */
    const struct edge_options *options;
    struct pl_log log;
    const struct pl_clock *clock;
    int64_t started_ms; /* wall clock */
    unsigned loop_count;
    struct edge_loop *loops;
    struct store *store;
    struct spool *spool;
    struct suppressions *suppressions;
    struct recent *recent;
    struct collector *collector;
    struct catalog *catalog;
    struct cutoff *cutoff;
    struct uplink *uplink;
    struct http_server *server;
    struct edge_routes *routes;
    struct pl_address addresses[3];
    struct http_listener listeners[3];
    size_t listener_count;
    size_t ops_listener; /* index; EDGE_NO_LISTENER: operators come in as everybody */

    /* the main thread's */
    bool serving, linked;

    /* under publish_lock */
    pthread_mutex_t publish_lock;
    struct catalog_snapshot *snapshot; /* for loops that begin later */
};

/* options outlive the edge. Opens the store, binds the listeners; blocks. */
enum pl_err edge_new(struct edge **out, const struct edge_options *options, struct pl_why *why);
enum pl_err edge_start(struct edge *edge, struct pl_why *why);
/* Reads the certificate files again. PL_EUNSUPPORTED: there are none, https_listen is not set. */
enum pl_err edge_reload(struct edge *edge, struct pl_why *why);
/* Blocks for as long as the options allow. */
void edge_stop(struct edge *edge);
void edge_free(struct edge *edge); /* stopped or never started; NULL is fine */

#endif
