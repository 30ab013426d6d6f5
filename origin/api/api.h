/*
 * api: the origin's HTTP face: /api/v1 for people and programs with a token, and the probes.
 *
 * Promise: no path is looked at before the token is; an owner's token reaches nothing of another
 * account; a loop never waits for the disk, because the work is done by workers. Every answer
 * under /api/v1 is JSON, errors included: {"error": {"code", "field", "message"}}. What is
 * waiting and what is being exported are bounded; beyond, clients are told when to come again.
 */
#ifndef POLDER_ORIGIN_API_API_H
#define POLDER_ORIGIN_API_API_H

#include "origin/parts.h"

struct api;

/* parts must outlive the api; parts->http is set before api_start. */
enum pl_err api_new(struct api **out, const struct origin_parts *parts, struct pl_why *why);
/* Sets routes and hooks of the server that will serve the api. Pointers into api. */
void api_configure(struct api *api, struct http_server_config *config);
enum pl_err api_start(struct api *api, struct pl_why *why);
/* After the http server was drained. Never started is fine. */
void api_stop(struct api *api);
void api_free(struct api *api); /* stopped; NULL is fine */

struct api_stats {
    uint64_t calls;         /* handed to workers */
    uint64_t refused_auth;  /* 401 */
    uint64_t refused_often; /* 429: wrong tokens, owners' audited calls */
    uint64_t refused_busy;  /* 503, and 429 of exports */
    unsigned waiting, exports;
};
void api_stats(const struct api *api, struct api_stats *out); /* any thread */

#endif
