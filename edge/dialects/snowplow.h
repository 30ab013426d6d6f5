/*
 * snowplow: Snowplow's tracker protocol, version 2: batches of events as JSON, single ones as an
 * image's query.
 *
 * Promise: what Snowplow's own trackers send is understood unchanged. The protocol's parameters
 * and the entities of Snowplow's own schemas go to canonical fields; everything else is kept as it
 * came. Only `ip` is left behind, and who somebody is when the tracker asks for anonymity.
 */
#ifndef POLDER_EDGE_DIALECTS_SNOWPLOW_H
#define POLDER_EDGE_DIALECTS_SNOWPLOW_H

#include "edge/dialect.h"

/* Where trackers POST to; an account may have one more such path. */
#define SNOWPLOW_POST_PATH "/com.snowplowanalytics.snowplow/tp2"

extern const struct dialect dialect_snowplow;

#endif
