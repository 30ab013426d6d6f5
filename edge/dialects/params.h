/*
 * params: the parameters of a query string or form, for the dialects that speak in them.
 *
 * Promise: each parameter is decoded and checked once; a decoder takes those it knows into the
 * fields that are their homes, by a table, and what nobody took is kept whole under props: nothing
 * that a client sent is silently lost.
 */
#ifndef POLDER_EDGE_DIALECTS_PARAMS_H
#define POLDER_EDGE_DIALECTS_PARAMS_H

#include "proto/wire/event.h"

#define PARAMS_MAX 256

struct param {
    struct pl_span name, value; /* decoded, views into the scratch */
    bool taken;
};
struct params {
    size_t count;
    struct param list[PARAMS_MAX];
};

/* A parameter and the field it goes to. A table ends with a row whose name is empty. */
struct param_home {
    struct pl_span name;
    enum event_field field;
};

/* Decodes a=1&b=2 into scratch (which must not move afterwards) and adds it to what params holds:
 * call it for the query, then for a form body. Start with count 0. PL_EINVAL names the parameter
 * with a bad escape or text that is not UTF-8; PL_ELIMIT: over PARAMS_MAX, or scratch is full. */
enum pl_err params_parse(struct params *params, struct pl_span encoded, struct pl_buf *scratch,
                         struct pl_why *why);

/* The first of that name, not empty, and marks it taken; false when absent, empty or taken. */
bool params_take(struct params *params, const char *name, struct pl_span *value);
/* The same without taking it. */
bool params_peek(const struct params *params, const char *name, struct pl_span *value);

/* Sets fields from the parameters that homes lists. A value that does not fit its field's kind (a
 * number that is none) is left for props; an id over LIMIT_ID_BYTES is PL_ELIMIT, named. Fields
 * already set keep their value, and the parameter is left for props. */
enum pl_err params_take_homes(struct params *params, const struct param_home *homes,
                              struct event *event, struct pl_why *why);

/* How many are left, and their pairs name → text into a map that the caller has opened. */
size_t params_left(const struct params *params);
void params_pack_left(const struct params *params, struct event_packer *packer);
/* All that is left as the event's props, built in scratch; nothing left: no props. Repeated names
 * become name, name[2], … so that none hides another. */
enum pl_err params_leave(const struct params *params, struct pl_buf *scratch, struct event *event);

/* Whole text only: finite, decimal, plain or scientific; a '.' whatever the locale. */
bool param_f64(struct pl_span text, double *out);

#endif
