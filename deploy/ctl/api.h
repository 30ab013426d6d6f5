/*
 * api: the origin's HTTP API, through libcurl.
 *
 * Promise: a call ends in a parsed answer or in one sentence that says what to do. Certificates
 * are verified, redirects are not followed, and the token goes to the named origin only. Every
 * call blocks, until its time is up at the latest.
 */
#ifndef POLDER_DEPLOY_CTL_API_H
#define POLDER_DEPLOY_CTL_API_H

#include "deploy/ctl/ctl.h"
#include "proto/wire/json.h"

#define API_ANSWER_BYTES_MAX (64u << 20)
#define API_PATH_BYTES       1536

/* What the API said. Zeroed before use; released whatever came of it. */
struct api_answer {
    struct pl_buf body;
    struct json_parser *parser;
    struct json root;
    long status; /* HTTP's */
};
void api_answer_release(struct api_answer *answer);

/* method on /api/v1 + path; an empty body sends none. PL_OK for 2xx only, with the answer parsed;
 * an empty one has status 204 and no root. PL_ECLOSED: the request never left, PL_ETIMEDOUT and
 * PL_EIO: it may have been carried out; PL_EAUTH 401, PL_EDENIED 403, PL_ENOTFOUND 404. */
enum pl_err api_call(struct ctl *ctl, const char *method, const char *path, struct pl_span body,
                     struct api_answer *answer, struct pl_why *why);

/* The same for an answer that is no JSON document: as it comes, appended to out. */
enum pl_err api_fetch(struct ctl *ctl, const char *method, const char *path, struct pl_span body,
                      struct pl_buf *out, struct pl_why *why);

/* GET of the same kind, or, with a body, POST, handing on what comes as it comes. sink's error ends
 * it and is given back. PL_EIO: it broke off. */
enum pl_err api_stream(struct ctl *ctl, const char *path, struct pl_span body,
                       enum pl_err (*sink)(void *ctx, struct pl_span bytes, struct pl_why *why),
                       void *ctx, struct pl_why *why);

/* GET of any URL, without a token. PL_OK for every HTTP status; answer->parser is NULL when the
 * body is not JSON. */
enum pl_err api_look(const char *url, struct api_answer *answer, struct pl_why *why);

/* The answer to standard output as it is, for --json. */
void api_print(const struct api_answer *answer);
/* The same with --json, else what `show` makes of it. */
enum pl_err api_show(const struct ctl *ctl, const struct api_answer *answer,
                     enum pl_err (*show)(struct json root, struct pl_why *why), struct pl_why *why);
/* Ends a command with its only call, which came to err: shows the answer and releases it. */
enum ctl_exit api_end(const struct ctl *ctl, enum pl_err err, struct api_answer *answer,
                      enum pl_err (*show)(struct json root, struct pl_why *why),
                      struct pl_why *why);

#endif
