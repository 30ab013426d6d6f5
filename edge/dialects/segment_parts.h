/*
 * segment_parts: what the decoder of one Segment message hands between its files. Private to
 * them.
 *
 * A value is taken into the field that is its home when its type fits; otherwise it is left, and
 * what was left of an object is packed when all of it has been looked at.
 */
#ifndef POLDER_EDGE_DIALECTS_SEGMENT_PARTS_H
#define POLDER_EDGE_DIALECTS_SEGMENT_PARTS_H

#include "edge/dialects/names.h"
#include "edge/dialects/segment_message.h"

/* An object with more members without a home than this is refused. */
#define SEGMENT_LEFT_MAX 256

/* Members without a home: their values' places in the document. */
struct segment_left {
    unsigned count;
    uint32_t at[SEGMENT_LEFT_MAX];
};

struct segment_work {
    const struct segment_message *as;
    const struct json_document *document;
    struct event *event;
    struct pl_buf *scratch; /* never moves */
    enum segment_type type;
    bool updates;             /* identify changes what is known instead of starting it */
    struct segment_left left; /* of the message itself */
    struct pl_why *why;
};

static inline struct json segment_at(const struct segment_work *work, uint32_t index)
{
    return (struct json){work->document, index};
}

/* The error, with the member's name in its place in the request. */
enum pl_err segment_refuse(const struct segment_work *work, enum pl_err err, struct pl_span name,
                           const char *what);

/* False when the value's type does not fit the field, or an id is too long: it may be left. */
bool segment_take(struct segment_work *work, enum event_field field, struct json value);
/* The whole value as the field's msgpack. */
enum pl_err segment_set_pack(struct segment_work *work, enum event_field field, struct json value);

enum pl_err segment_leave(const struct segment_work *work, struct segment_left *left,
                          struct pl_span name, struct json value);
void segment_pack_members(const struct segment_work *work, const struct segment_left *left,
                          struct event_packer *packer);
/* What is left of properties, as the event's props; nothing left: none. */
enum pl_err segment_set_props(struct segment_work *work, const struct segment_left *left,
                              const struct segment_left *more);

/* Takes the message's context, and what the message itself has left. context NULL: it has none. */
enum pl_err segment_take_context(struct segment_work *work, const struct json *context);

/* The type of one of Segment's e-commerce events, or of our snippet's clicks, with where its
 * properties go; NULL: the event is the site's own. */
struct segment_commerce;
const struct segment_commerce *segment_commerce_find(struct pl_span event_name);
enum event_type segment_commerce_type(const struct segment_commerce *commerce);
enum pl_err segment_take_commerce(struct segment_work *work,
                                  const struct segment_commerce *commerce, struct json properties);

/* The line items of `products`; false: it is no array. */
bool segment_take_items(struct segment_work *work, struct json products, enum pl_err *err);
/* One line item made of an event's own properties. */
enum pl_err segment_set_item(struct segment_work *work, const struct segment_left *product);

#endif
