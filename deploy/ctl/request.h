/*
 * request: the JSON bodies of calls that are made of texts.
 */
#ifndef POLDER_DEPLOY_CTL_REQUEST_H
#define POLDER_DEPLOY_CTL_REQUEST_H

#include "proto/base/buf.h"

/* text NULL: the request does not have it, unless it is `set`, which makes it true. */
struct request_member {
    const char *name, *text;
    bool set;
};

/* An object of those members, up to a NULL name, appended to out. what: "reasons", for the sentence
 * about text that cannot be sent. */
enum pl_err request_write(const struct request_member *members, const char *what,
                          struct pl_buf *out, struct pl_why *why);

#endif
