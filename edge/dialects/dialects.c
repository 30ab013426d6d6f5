#include "edge/dialects/crobox.h"
#include "edge/dialects/crossengage.h"
#include "edge/dialects/pixel.h"
#include "edge/dialects/segment.h"
#include "edge/dialects/snowplow.h"

const struct dialect *const dialects[] = {
    &dialect_segment, &dialect_snowplow, &dialect_crobox, &dialect_crossengage, &dialect_pixel,
};
const size_t dialect_count = sizeof(dialects) / sizeof(dialects[0]);
