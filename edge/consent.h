/*
 * consent: no means no. The signs by which a request says it (the opt-out cookie, Sec-GPC, DNT),
 * and the ways to say it and to take it back.
 *
 * Promise: whoever collects asks consent_refusal first, so that nothing of a visitor who said no
 * is decoded further or written anywhere.
 *
 * GET or POST /v1/optout?write_key=KEY sets the opt-out cookie of that account (without a key one
 * for all accounts) on this edge's host and deletes the visitor cookie. Ids that the client names
 * (visitor_id, user_id) and that of the cookie are suppressed as keyed hashes: here at once,
 * durably before the reply, and in every region. An edge that may not know its accounts yet sets
 * the cookie for all of them, and says that it has to be asked again. A link may have a redirect=
 * to one of the account's own sites. POST /v1/optin takes it back: only pages of the account's own
 * web origins can do so, and they name the opt-out that they undo; neither an image, a link nor
 * somebody else's site says yes in a visitor's name. GET /v1/consent tells such pages how things
 * stand.
 */
#ifndef POLDER_EDGE_CONSENT_H
#define POLDER_EDGE_CONSENT_H

#include "edge/loop.h"

/* What the opt-out cookies of a request say about an account. */
struct consent_choice {
    bool out;           /* said no, and did not take it back */
    bool all;           /* to all accounts */
    struct pl_span own; /* value of the account's own cookie; empty: none */
};
struct consent_choice consent_choice(const struct http_request *request,
                                     const struct pl_id128 *write_key);

/* The opt-outs in a cookie's value, the newest first: a browser may say no again before it takes
 * any of it back, of ids that it did not have before. */
#define CONSENT_IDS_MAX     4
#define CONSENT_VALUE_BYTES (CONSENT_IDS_MAX * PL_ID128_TEXT)
size_t consent_ids(struct pl_span value, struct pl_id128 ids[CONSENT_IDS_MAX]);

/* NULL: collect. Else which sign the visitor gave, for the reply. */
const char *consent_refusal(const struct http_request *request, const struct catalog_entry *entry);

/* The name of the opt-out cookie; write_key NULL: of the one for all accounts. */
#define CONSENT_COOKIE_BYTES 64
void consent_cookie_name(const struct pl_id128 *write_key, char name[CONSENT_COOKIE_BYTES]);

/* Handlers (consent_change.c); arg unused. README.md has their replies. */
void consent_optout(struct http_request *request, void *arg);
void consent_optin(struct http_request *request, void *arg);
void consent_show(struct http_request *request, void *arg);

#endif
