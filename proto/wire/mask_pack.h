/*
 * mask_pack: event_mask's work inside packs. Private to the room.
 */
#ifndef POLDER_PROTO_WIRE_MASK_PACK_H
#define POLDER_PROTO_WIRE_MASK_PACK_H

#include "proto/wire/event_mask.h"

#include "proto/wire/id_hash.h"

struct mask {
    struct event *event;
    const struct event_mask_policy *policy;
    struct pl_buf *scratch; /* never moves */
    unsigned masked;
    struct pl_span email[3]; /* hashes: of the user's id, the visitor's, what traits say */
    char described[2 * ID_HASH_BYTES];
    enum pl_err err; /* the first */
};

static inline void mask_took(struct mask *mask, enum pl_err err)
{
    if (mask->err == PL_OK)
        mask->err = err;
}

enum mask_use {
    MASK_TEXT,       /* "[email]" */
    MASK_ID,         /* "email:" and a hash: still tells one from another */
    MASK_MESSAGE_ID, /* as an id, and its numbers stay: it is full of them */
    MASK_NOT,
};

/* Replaces what is found by a text at the end of scratch, nothing else being there; false: *text
 * stays as it is. */
bool mask_text(struct mask *mask, enum mask_use use, struct pl_span *text);
/* The address by which traits describe the visitor; the first counts. */
void mask_describes(struct mask *mask, struct pl_span address);

/* The same of a msgpack value and its keys; false: *pack stays as it is. */
bool mask_pack(struct mask *mask, bool is_traits, struct pl_span *pack);

#endif
