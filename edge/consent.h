/*
 * consent: no means no. The opt-out cookie, Sec-GPC and DNT, and the two ways to change one's
 * mind.
 *
 * Promise: whoever collects asks consent_refusal first, so that nothing of a visitor who said no
 * is decoded further or written anywhere. GET or POST /v1/optout sets the cookie for this edge's
 * host; POST /v1/optin?write_key=KEY takes it off again, for pages of the account's own web
 * origins only: an image or a link cannot say yes in a visitor's name.
 */
#ifndef POLDER_EDGE_CONSENT_H
#define POLDER_EDGE_CONSENT_H

#include "edge/loop.h"

/* NULL: collect. Else which sign the visitor gave, for the reply. honour_dnt: the account's. */
const char *consent_refusal(const struct http_request *request, bool honour_dnt);

/* Handlers; arg unused. */
void consent_optout(struct http_request *request, void *arg);
void consent_optin(struct http_request *request, void *arg);

#endif
