/*
 * event_mask: takes personal data out of an event before it reaches a disk. SPEC.md, "Masking".
 *
 * Promise: addresses, card and phone numbers in any text of any field, in what packs hold and in
 * their keys, are replaced; members named as IP addresses go, whatever the policy. What
 * identifies stays an identity: in the fields that hold ids a keyed hash takes the place. A masked
 * event holds nothing that another pass would find.
 */
#ifndef POLDER_PROTO_WIRE_EVENT_MASK_H
#define POLDER_PROTO_WIRE_EVENT_MASK_H

#include "proto/wire/event.h"

struct event_mask_policy {
    unsigned kinds;        /* PII_ bits of catalog.h */
    const uint8_t *id_key; /* CATALOG_ID_KEY_BYTES */
};

/* What a masked event may take of scratch. */
#define EVENT_MASK_SCRATCH_BYTES (4 * LIMIT_EVENT_WIRE_BYTES)

/* Sets what must change of the event to text and packs in scratch, which is reset first and must
 * have EVENT_MASK_SCRATCH_BYTES reserved, so that it does not move. EVENT_MASKED counts the pieces,
 * *masked (may be NULL) too; EVENT_EMAIL_HASH is set where an address identified or described the
 * visitor. PL_ECORRUPT: a pack that is not msgpack; PL_ELIMIT; PL_ENOMEM. A few microseconds. */
enum pl_err event_mask(struct event *event, const struct event_mask_policy *policy,
                       struct pl_buf *scratch, unsigned *masked);

/* The form in which an id is stored when it is an e-mail address, card or phone number: its
 * opt-out must name that. False: as it is. out: EVENT_MASK_ID_BYTES. PL errors are false, too. */
#define EVENT_MASK_ID_BYTES 40
bool event_mask_id(const struct event_mask_policy *policy, struct pl_span id,
                   char out[EVENT_MASK_ID_BYTES]);

/* The form in which any id is stored, also one that an address or a number is a part of: *stored is
 * a view of id itself, or of scratch, which has 2 * EVENT_MASK_SCRATCH_ID_BYTES reserved.
 * PL_ELIMIT.
 */
#define EVENT_MASK_SCRATCH_ID_BYTES 2048
enum pl_err event_mask_stored_id(const struct event_mask_policy *policy, struct pl_span id,
                                 struct pl_buf *scratch, struct pl_span *stored);

#endif
