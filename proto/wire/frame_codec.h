/*
 * frame_codec: what writing and reading a frame have in common. For frame.c and frame_parse.c.
 */
#ifndef POLDER_PROTO_WIRE_FRAME_CODEC_H
#define POLDER_PROTO_WIRE_FRAME_CODEC_H

#include "proto/wire/frame.h"

#define FRAME_WALL_MAX_MS INT64_C(253402300799999) /* the end of the year 9999 */
#define CLAIM_BYTES       (16 + 3 * 8 + 1)
#define RECORD_BYTES      (16 + 6 * 8)

enum { ENTRY_BLOCK = 1, ENTRY_LOSS = 2 };
enum { FLAG_RESTART = 1, FLAG_CAUGHT_UP = 2 };

bool frame_region_ok(struct pl_span region);
bool frame_signature_ok(struct pl_span signature);
/* Every item is whole and none is empty. */
bool frame_items_ok(struct pl_span items);

#endif
