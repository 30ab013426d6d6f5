/*
 * crobox: the events that Crobox' tags and apps send as an image's query, and the promotions that
 * they ask for.
 *
 * Promise: `GET /socket.gif` always gets its pixel; a checksum that does not fit is noted on the
 * event, not held against it. `POST /promotions` is answered from the account's own campaigns, and
 * what was offered is recorded before it is told.
 */
#ifndef POLDER_EDGE_DIALECTS_CROBOX_H
#define POLDER_EDGE_DIALECTS_CROBOX_H

#include "edge/dialect.h"
#include "edge/dialects/params.h"

extern const struct dialect dialect_crobox;

/* ---- what the dialect's files share */

/* Parses the query and claims its container; notes whether the checksum fits. */
enum pl_err crobox_begin(const struct dialect_input *input, const struct dialect_sink *sink,
                         struct params *params, bool *wrong_checksum, struct pl_why *why);
/* The parameters that every request has. */
enum pl_err crobox_common(struct params *params, struct event *event, struct pl_why *why);
/* Custom properties lose their prefix: under props they are what the site called them. Last of all,
 * for what is named so may be called like a parameter of the protocol. */
void crobox_name_custom(struct params *params);

enum pl_err crobox_decode_promotions(const struct dialect_input *input,
                                     const struct dialect_sink *sink,
                                     struct dialect_outcome *outcome, struct pl_why *why);

#endif
