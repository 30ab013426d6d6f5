/*
 * snowplow_parts: what the decoder of one Snowplow event hands between its files. Private to them.
 *
 * An event is a flat set of parameters, two of which hold JSON of their own: the self-describing
 * event and its entities, each `{"schema":"iglu:VENDOR/NAME/jsonschema/VERSION","data":…}`.
 */
#ifndef POLDER_EDGE_DIALECTS_SNOWPLOW_PARTS_H
#define POLDER_EDGE_DIALECTS_SNOWPLOW_PARTS_H

#include "edge/dialect.h"
#include "edge/dialects/params.h"
#include "edge/dialects/take.h"

struct snowplow_work {
    struct take take; /* its document is whichever was parsed last */
    const struct dialect_input *input;
    bool anonymous;
    struct pl_span schema; /* of a self-describing event, in scratch; empty: none */
    struct params params;
};

/* ---- one event (snowplow_event.c) */

/* The parameters of one element of `data`, as views into the document or in scratch. */
enum pl_err snowplow_collect(struct take *take, struct json element, struct params *params);
/* Makes the event of work->params. */
enum pl_err snowplow_event(struct snowplow_work *work);

/* params_take_homes, with errors in their place in the request. */
enum pl_err snowplow_take_homes(struct snowplow_work *work, const struct param_home *table);

/* ---- what becomes of properties and items (snowplow_order.c) */

/* All parameters that are left, as the event's props. */
enum pl_err snowplow_set_props(struct snowplow_work *work);
enum pl_err snowplow_take_order(struct snowplow_work *work);
/* An item is an event of its own, for it is sent, and sent again, apart from its order. */
enum pl_err snowplow_take_item(struct snowplow_work *work);

/* ---- JSON inside parameters (snowplow_described.c) */

/* Parses the JSON that stands plain in one parameter or base64 in the other, and takes them.
 * *found is false where neither came. The document lives until the next call. */
enum pl_err snowplow_nested(struct snowplow_work *work, const char *plain, const char *encoded,
                            struct json *root, bool *found);
/* "iglu:VENDOR/NAME/FORMAT/VERSION"; false: it is not that. */
bool snowplow_schema(struct pl_span schema, struct pl_span *vendor, struct pl_span *name);
/* The field that is a member's home in a table that ends with an empty name; 0: none. */
enum event_field snowplow_home(const struct param_home *homes, struct pl_span name);
/* One line item of an object that describes a product. */
void snowplow_pack_item(struct event_packer *packer, struct json product);

/* Takes a self-describing event: its type, its fields, its props. */
enum pl_err snowplow_take_described(struct snowplow_work *work);

/* ---- entities (snowplow_entities.c) */

/* Takes the entities and sets the event's context: what is left of them, the schema of a
 * self-describing event, and `tracker`, parameters that are about the tracker and its device. */
enum pl_err snowplow_take_entities(struct snowplow_work *work, const struct params *tracker);

#endif
