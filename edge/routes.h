/*
 * routes: which path is answered by what.
 *
 * Promise: one table for the edge's own paths; every dialect's routes are added as their tables
 * say; every path that pages use answers preflights.
 */
#ifndef POLDER_EDGE_ROUTES_H
#define POLDER_EDGE_ROUTES_H

#include "edge/edge.h"

struct edge_routes;

enum pl_err edge_routes_new(struct edge_routes **out, int64_t cache_max_age_s, struct pl_why *why);
void edge_routes_free(struct edge_routes *routes); /* NULL is fine */
/* routes must outlive the server. */
void edge_routes_apply(const struct edge_routes *routes, struct http_server_config *config);

#endif
