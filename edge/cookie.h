/*
 * cookie: reading the Cookie header (RFC 6265 section 4.2) and writing the cookies an edge sets.
 *
 * Promise: an edge sets two kinds of cookies and no others: the visitor's id, under the account's
 * policy, for 180 days; and the visitor's no.
 */
#ifndef POLDER_EDGE_COOKIE_H
#define POLDER_EDGE_COOKIE_H

#include "proto/base/span.h"
#include "proto/http/http.h"
#include "proto/wire/catalog.h"

/* Takes the next pair off *rest; views. False at the end. Pairs without "=" have an empty value. */
bool cookie_next(struct pl_span *rest, struct pl_span *name, struct pl_span *value);

/* A visitor's id is a random UUID (pl_uuid4). */

/* The id that came under the policy's name; false: none, or nothing that an edge has set. */
bool cookie_find_visitor(struct pl_span cookies, const struct cookie_policy *policy,
                         struct pl_span *id);

/* Where a cookie is set from. */
struct cookie_site {
    struct pl_span authority; /* as the request has it */
    bool tls;                 /* without it there is no Secure, and hence no SameSite=None */
};
/* A proxy that ends TLS says so by X-Forwarded-Proto: https. Anyone may be believed: who lies about
 * it gets a cookie that browsers do not take. */
struct cookie_site cookie_site_of(const struct http_request *request);
#define COOKIE_LINE_BYTES 512
/* The value of a Set-Cookie line. id NULL: deletes the cookie. */
void cookie_write_visitor(const struct cookie_policy *policy, const struct cookie_site *site,
                          const char *id, char line[COOKIE_LINE_BYTES]);

#endif
