/*
 * take: the members of a JSON object go into the fields of an event that are their homes, for the
 * dialects that speak in JSON.
 *
 * Promise: a value is taken when its type fits the field; otherwise it is left, and what was left
 * of an object is packed when all of it has been looked at: nothing that a client sent is silently
 * lost, and nothing is looked at twice.
 */
#ifndef POLDER_EDGE_DIALECTS_TAKE_H
#define POLDER_EDGE_DIALECTS_TAKE_H

#include "edge/dialects/names.h"
#include "proto/wire/event.h"

/* An object with more members without a home than this is refused. */
#define TAKE_LEFT_MAX 256

/* Members without a home: their values' places in the document. */
struct take_left {
    unsigned count;
    uint32_t at[TAKE_LEFT_MAX];
};

struct take {
    const struct json_document *document;
    struct event *event;
    struct pl_buf *scratch; /* never moves */
    const char *list;       /* for errors: the array that the event stands in; NULL: none */
    size_t index;           /* in it */
    struct pl_why *why;
};

static inline struct json take_at(const struct take *take, uint32_t index)
{
    return (struct json){take->document, index};
}

/* The error, with the member's name in its place in the request. */
enum pl_err take_refuse(const struct take *take, enum pl_err err, struct pl_span name,
                        const char *what);

/* False when the value's type does not fit the field, or an id is too long: it may be left. */
bool take_value(struct take *take, enum event_field field, struct json value);
/* The whole value as the field's msgpack. */
enum pl_err take_pack(struct take *take, enum event_field field, struct json value);

enum pl_err take_leave(const struct take *take, struct take_left *left, struct pl_span name,
                       struct json value);
void take_pack_left(const struct take *take, const struct take_left *left,
                    struct event_packer *packer);
/* What is left of properties, as the event's props; nothing left: none. */
enum pl_err take_set_props(struct take *take, const struct take_left *left,
                           const struct take_left *more);

/* The line items of `products`; false: it is no array. */
bool take_items(struct take *take, struct json products, enum pl_err *err);
/* One line item made of an event's own properties. */
enum pl_err take_item(struct take *take, const struct take_left *product);
/* Whether a property describes the one product that an event is about. */
bool take_is_of_product(struct pl_span name);

#endif
