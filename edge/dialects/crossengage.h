/*
 * crossengage: the events API of CrossEngage: one customer's events, up to 50 in a request.
 *
 * Promise: whoever is known by nothing but an e-mail address becomes a keyed hash before anything
 * is stored; errors have that API's form, {"field", "type"}. It knows no message ids: a client that
 * repeats a request without one is stored twice.
 */
#ifndef POLDER_EDGE_DIALECTS_CROSSENGAGE_H
#define POLDER_EDGE_DIALECTS_CROSSENGAGE_H

#include "edge/dialect.h"

extern const struct dialect dialect_crossengage;

#endif
