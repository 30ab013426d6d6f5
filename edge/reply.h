/*
 * reply: how an edge words what it refuses, and lets pages of other origins read it.
 *
 * Promise: every error is JSON that names the field and says what to do; every reply to a page
 * carries the CORS headers that let the page read it, errors too (fetch.spec.whatwg.org, CORS
 * protocol): the exact Origin echoed, Vary: Origin, and which headers of ours it may read.
 */
#ifndef POLDER_EDGE_REPLY_H
#define POLDER_EDGE_REPLY_H

#include "edge/loop.h"

/* The status that an error stands for (see the table in README.md). */
int reply_status_of(enum pl_err err);

/* Appends CORS headers, at most REPLY_CORS_HEADERS; none when there is no Origin. Values view the
 * request. */
#define REPLY_CORS_HEADERS 4
size_t reply_cors(const struct http_request *request, struct http_header *headers);

/* {"error":word,"field":…,"message":…}; retry_after_s 0: no Retry-After. */
void reply_error(struct http_request *request, int status, const struct pl_why *why,
                 int64_t retry_after_s);
/* Appends that body. */
void reply_error_body(struct edge_loop *loop, const struct pl_why *why, struct pl_buf *out);

/* Whether the body stands in some encoding, which no edge undoes: answered 415 then. */
bool reply_coded_body(struct http_request *request);

/* Answers a preflight (OPTIONS) for any route that pages may use. arg: its Allow header, text. */
void reply_preflight(struct http_request *request, void *arg);
/* For http_server_config.refuse. */
void reply_refusal(struct http_request *request, int status, const char *allow, void *arg);

#endif
