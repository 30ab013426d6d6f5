/*
 * segment_message: one message of Segment's API becomes one canonical event.
 *
 * What has a canonical field goes there when its type fits; the rest of `properties` stays under
 * props, the rest of `context` under context, and what a message holds beside those under
 * context.message. Only `context.ip` is left behind: addresses are never kept.
 */
#ifndef POLDER_EDGE_DIALECTS_SEGMENT_MESSAGE_H
#define POLDER_EDGE_DIALECTS_SEGMENT_MESSAGE_H

#include "edge/dialect.h"
#include "edge/dialects/take.h"

enum segment_type {
    SEGMENT_BY_MEMBER, /* the message says so itself, as in a batch */
    SEGMENT_TRACK,
    SEGMENT_PAGE,
    SEGMENT_SCREEN,
    SEGMENT_IDENTIFY,
    SEGMENT_GROUP,
    SEGMENT_ALIAS,
};
/* False for a name that is none of the API's; never gives SEGMENT_BY_MEMBER. */
bool segment_type_parse(struct pl_span name, enum segment_type *type);

struct segment_message {
    const struct dialect_input *input;
    enum segment_type type;
    bool has_sent;
    int64_t sent_ms; /* of the batch; the message's own counts more */
    bool in_batch;
    size_t index;                 /* in the batch, for errors */
    const struct json *context;   /* of the batch, for all its messages; NULL: none */
    const struct take_left *rest; /* what else the batch says; NULL: nothing */
};

/* An RFC 3339 string. */
bool segment_time(struct json value, int64_t *wall_ms);

/* Decodes and emits. Resets the input's scratch and event. PL_EINVAL, PL_ELIMIT: names the field;
 * else as the sink says. */
enum pl_err segment_message_decode(const struct segment_message *as, struct json message,
                                   const struct dialect_sink *sink, struct pl_why *why);

#endif
