/*
 * segment: Segment's HTTP tracking API, the dialect that Polder's own snippet speaks.
 *
 * Promise: what `@segment/analytics-next` and `@segment/analytics-node` send is understood
 * unchanged; a message is refused only for what would lose or confuse an identity.
 */
#ifndef POLDER_EDGE_DIALECTS_SEGMENT_H
#define POLDER_EDGE_DIALECTS_SEGMENT_H

#include "edge/dialect.h"

extern const struct dialect dialect_segment;

#endif
