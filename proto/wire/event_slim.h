/*
 * event_slim: an encoded event without what its keeper knows anyway, in a form that compresses
 * better: the account and the time of acceptance, which stand in the storage key, are left out;
 * the client's times become distances; UUIDs at the end of ids become 16 bytes each, because as
 * hexadecimal text they cost a compressor more than that. SPEC.md, "Vault value", gives the bytes.
 *
 * Promise: restoring gives back the very bytes. What could not be given back is not slimmed.
 */
#ifndef POLDER_PROTO_WIRE_EVENT_SLIM_H
#define POLDER_PROTO_WIRE_EVENT_SLIM_H

#include "proto/base/buf.h"

/* What was taken out; the sum of these begins a head. */
enum event_slim_part {
    EVENT_SLIM_KEY = 1,     /* account and acceptance time; all others come only with it */
    EVENT_SLIM_MESSAGE = 2, /* the UUID at the end of the message id */
    EVENT_SLIM_VISITOR = 4,
    EVENT_SLIM_USER = 8,
    EVENT_SLIM_TIMES = 16, /* the client's time, the time sent, and the corrected time */
    EVENT_SLIM_ALL = 31
};
/* Of a head: parts, three UUIDs, two numbers. */
#define EVENT_SLIM_HEAD_BYTES_MAX (1 + 3 * 16 + 2 * 10)

/* Appends what was taken out to head (not meant for a compressor), the rest to body. An event
 * that names another account or time, or is written in another way than event_encode does it,
 * goes to body as it is. */
enum pl_err event_slim(struct pl_span encoded, uint64_t account, int64_t accepted_ms,
                       struct pl_buf *head, struct pl_buf *body);

/* A head, read back. */
struct event_slim_head {
    unsigned parts;
    const uint8_t *uuids[3]; /* of message, visitor, user; views */
    int64_t client_ms, sent_ms, corrected_ms;
};
/* Takes the head off *rest. PL_ECORRUPT. */
enum pl_err event_slim_read(struct pl_span *rest, int64_t accepted_ms,
                            struct event_slim_head *head);
/* Appends the event as it was. PL_ECORRUPT: these do not belong together. */
enum pl_err event_slim_restore(struct pl_span body, const struct event_slim_head *head,
                               uint64_t account, int64_t accepted_ms, struct pl_buf *out);

#endif
