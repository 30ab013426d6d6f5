/*
 * segment_parts: what the decoder of one Segment message hands between its files. Private to
 * them.
 */
#ifndef POLDER_EDGE_DIALECTS_SEGMENT_PARTS_H
#define POLDER_EDGE_DIALECTS_SEGMENT_PARTS_H

#include "edge/dialects/segment_message.h"
#include "edge/dialects/take.h"

struct segment_work {
    struct take take;
    const struct segment_message *as;
    enum segment_type type;
    bool updates;          /* identify changes what is known instead of starting it */
    struct take_left left; /* of the message itself */
};

/* Takes the message's context, and what the message itself has left. context NULL: it has none. */
enum pl_err segment_take_context(struct segment_work *work, const struct json *context);

/* The type of one of Segment's e-commerce events, or of our snippet's clicks, with where its
 * properties go; NULL: the event is the site's own. */
struct segment_commerce;
const struct segment_commerce *segment_commerce_find(struct pl_span event_name);
enum event_type segment_commerce_type(const struct segment_commerce *commerce);
enum pl_err segment_take_commerce(struct segment_work *work,
                                  const struct segment_commerce *commerce, struct json properties);

#endif
