/*
 * event_text: what JSON and CSV exports of events have in common: names, and the numbers that they
 * write as text. Private to proto/wire.
 */
#ifndef POLDER_PROTO_WIRE_EVENT_TEXT_H
#define POLDER_PROTO_WIRE_EVENT_TEXT_H

#include "proto/wire/event.h"

#define EVENT_TEXT_BYTES 32

/* A field's name without the _ms of those that are written as times. */
struct pl_span event_text_name(struct pl_span name);
/* An account, an enum or a time as text; false: the value is written as it is. An enum that this
 * build does not know is its number: exports lose nothing. */
bool event_text_value(unsigned field, const union event_value *value, char out[EVENT_TEXT_BYTES]);

#endif
