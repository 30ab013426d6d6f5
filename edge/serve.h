/*
 * serve: campaign configs and scripts to browsers and their caches.
 *
 * Promise: a reply is chosen, not made: bodies, encodings and headers stand ready in the
 * snapshot. 404 for an unknown key or host (503 where the edge has heard too little to know), 410
 * for an expired account, 304 where the client's copy is current. When the origin has been silent
 * for over ten seconds, replies say how old they may be (Age, RFC 9111 section 5.1).
 */
#ifndef POLDER_EDGE_SERVE_H
#define POLDER_EDGE_SERVE_H

#include "edge/loop.h"

/* The active account of a write key or alias. NULL: it has been answered why not. */
const struct catalog_entry *serve_find_key(struct http_request *request, struct pl_span key);

/* Handlers; arg unused. */
void serve_config(struct http_request *request, void *arg); /* /v1/config/KEY */
void serve_script(struct http_request *request, void *arg); /* /s/KEY.js */
/* The same of the account whose host was asked. */
void serve_own_config(struct http_request *request, void *arg); /* /v1/config */
void serve_own_script(struct http_request *request, void *arg); /* /s.js */

/* /sdk.js, the same for everybody; arg: a struct catalog_reply. */
void serve_sdk(struct http_request *request, void *arg);

#endif
