/*
 * pixel: conversions as advertising trackers report them: an image, an iframe, or a call from the
 * advertiser's server.
 *
 * Promise: an image and a frame load whatever happened; what happened stands in X-Polder-Outcome,
 * and with the other replies in their status as well. The same transaction told twice is stored
 * once.
 */
#ifndef POLDER_EDGE_DIALECTS_PIXEL_H
#define POLDER_EDGE_DIALECTS_PIXEL_H

#include "edge/dialect.h"

extern const struct dialect dialect_pixel;

#endif
