/*
 * segment_settings: the document that analytics.js asks its CDN for before it sends anything.
 *
 * Promise: a page whose analytics.js has this edge as its cdnURL sends its events here, and
 * nothing anywhere else: no destinations, no metrics of Segment's own.
 */
#ifndef POLDER_EDGE_SEGMENT_SETTINGS_H
#define POLDER_EDGE_SEGMENT_SETTINGS_H

#include "proto/http/http.h"

/* GET /v1/projects/KEY/settings. Handler; arg unused. */
void segment_settings_serve(struct http_request *request, void *arg);

#endif
