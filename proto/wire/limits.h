/*
 * limits: the sizes that both nodes, the snippet and the documents agree on. One place.
 */
#ifndef POLDER_PROTO_WIRE_LIMITS_H
#define POLDER_PROTO_WIRE_LIMITS_H

/* One event as an edge keeps it: encoded, masked. And a body that carries but one. */
#define LIMIT_EVENT_BYTES         (32 * 1024)
#define LIMIT_EVENT_WIRE_BYTES    (48 * 1024)  /* one canonical event that a reader takes */
#define LIMIT_BATCH_BYTES         (500 * 1024) /* one request body that carries events */
#define LIMIT_BATCH_EVENTS        500
#define LIMIT_HEADERS_BYTES       (40 * 1024)   /* a request head; 431 beyond */
#define LIMIT_DRAIN_BYTES         (1024 * 1024) /* a too large body is still read up to here */
#define LIMIT_BLOCK_BYTES         (1024 * 1024) /* one sealed block */
#define LIMIT_BLOCK_PLAIN_BYTES   (4 * 1024 * 1024)
#define LIMIT_BLOCK_EVENTS        65535
#define LIMIT_FRAME_BYTES         (LIMIT_BLOCK_BYTES + 64 * 1024)
#define LIMIT_JSON_DEPTH          24
#define LIMIT_ID_BYTES            256 /* visitor, user, session and message ids */
#define LIMIT_NAME_BYTES          512 /* event names */
#define LIMIT_URL_BYTES           8192
#define LIMIT_CONFIG_BYTES        (256 * 1024) /* one account's campaign config, as JSON */
#define LIMIT_CONFIG_PUBLIC_BYTES (512 * 1024) /* its public form, defaults filled in */
#define LIMIT_ORIGINS             64           /* allowed origins an account may list */
#define LIMIT_EDGES               1024

#endif
