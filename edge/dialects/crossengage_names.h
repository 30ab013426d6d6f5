/*
 * crossengage_names: the events that CrossEngage's catalogue knows, and where their properties go.
 * Private to its decoder.
 */
#ifndef POLDER_EDGE_DIALECTS_CROSSENGAGE_NAMES_H
#define POLDER_EDGE_DIALECTS_CROSSENGAGE_NAMES_H

#include "edge/dialects/names.h"
#include "proto/wire/event.h"

/* Among the homes: the whole cart as it stands. */
#define CROSSENGAGE_CART EVENT_FIELD_LIMIT

struct crossengage_kind {
    const char *words; /* in lower case, in alphabetical order */
    enum event_type type;
    const struct name *homes; /* NULL: properties are the person's traits */
    bool one_product;
};

/* "Completed Order", "orderCompleted" and "ORDER_COMPLETED" are one. NULL: the site's own event. */
const struct crossengage_kind *crossengage_kind_find(struct pl_span name);

#endif
