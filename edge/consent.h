/*
 * consent: no means no. The opt-out cookie, Sec-GPC and DNT, and the two ways to change one's
 * mind.
 *
 * Promise: whoever collects asks consent_refusal first, so that nothing of a visitor who said no
 * is decoded further or written anywhere. GET or POST /v1/optout?write_key=KEY sets the cookie of
 * that account, without a key one for all accounts, on this edge's host; POST
 * /v1/optin?write_key=KEY takes that account's back, and only pages of its own web origins can do
 * so: neither an image, a link nor somebody else's site says yes in a visitor's name.
 */
#ifndef POLDER_EDGE_CONSENT_H
#define POLDER_EDGE_CONSENT_H

#include "edge/loop.h"

/* NULL: collect. Else which sign the visitor gave, for the reply. */
const char *consent_refusal(const struct http_request *request, const struct catalog_entry *entry);

/* Handlers; arg unused. */
void consent_optout(struct http_request *request, void *arg);
void consent_optin(struct http_request *request, void *arg);

#endif
