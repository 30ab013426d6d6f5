/*
 * dialect: what every tracker's way of speaking to an edge has to provide: a constant table of
 * routes, and per route a pure decoder: a request in, canonical events or a named error out.
 *
 * Promise: a decoder reads nothing but its input, keeps nothing between calls, and hands every
 * event to the sink as soon as it is complete. Nothing is collected unless decode returns PL_OK: a
 * request is taken whole or not at all, but for batches whose senders would not send the good
 * events of it again; there those that cannot be taken are passed over, and the sender is told.
 * Decoders run on HTTP loops and must not block.
 */
#ifndef POLDER_EDGE_DIALECT_H
#define POLDER_EDGE_DIALECT_H

#include "proto/base/buf.h"
#include "proto/wire/event.h"
#include "proto/wire/json.h"
#include "proto/wire/limits.h"

/* Room for one request's decoded text and for one event's packed values. */
#define DIALECT_SCRATCH_BYTES (LIMIT_BATCH_BYTES + LIMIT_EVENT_WIRE_BYTES)

enum dialect_method { DIALECT_GET = 1, DIALECT_POST = 2 };

/* One request. Spans live until decode returns; empty where the client sent nothing. Whatever
 * consent says is dealt with before a decoder is called or when it claims; nothing here may be
 * kept beyond the events made of it. */
struct dialect_input {
    enum dialect_method method; /* HEAD never comes here: it collects nothing */
    struct pl_span path;        /* as sent, without the query */
    struct pl_span tail;        /* behind the prefix of a prefix route */
    struct pl_span query;       /* after '?', still encoded */
    struct pl_span body;
    struct pl_span authorization;
    struct pl_span content_type;
    struct pl_span user_agent;
    struct pl_span referer;
    struct pl_span cookie;
    /* Any other request header, name in lowercase; false when absent. May be NULL (tests). */
    bool (*header)(const void *ctx, const char *name, struct pl_span *value);
    const void *header_ctx;
    int64_t now_ms; /* the edge's wall clock: the time of acceptance */

    /* Tools of the loop, for this call. A document dies when its parser parses again, hence two:
     * one for the body, one for JSON found inside it. */
    struct json_parser *json;
    struct json_parser *json_nested;
    struct json_writer *writer; /* for bodies of replies */
    /* Empty, DIALECT_SCRATCH_BYTES reserved in full: it never moves, so spans into it stay good
     * until the decoder resets it, which it may do after each emit. */
    struct pl_buf *scratch;
    /* Where to build events, one at a time: event_clear before each. */
    struct event *event;
};

static inline bool dialect_header(const struct dialect_input *input, const char *name,
                                  struct pl_span *value)
{
    return input->header != NULL && input->header(input->header_ctx, name, value);
}

/* In whose name the client sends. A struct, not arguments: what later dialects need to say or
 * to be told about the account is a member more. */
struct dialect_claim {
    struct pl_span key; /* the write key or an alias; empty: none was sent, so the host says it */
    bool key_is_hint;   /* a word of the site's: an account's own path or host says more */
    bool opted_out;     /* the dialect's own sign of "do not track me" was there */
    bool anonymous;     /* the tracker wants no cookie: none is read or set */
};

/* The way into the edge. A decoder that gets an error from it returns that error, with *why as
 * the sink filled it (it may put the place in front: pl_fail_in). */
struct dialect_sink {
    void *ctx;
    /* Once, before the first emit. PL_ENOTFOUND: key missing or unknown; PL_EEXPIRED; PL_EDENIED:
     * region, web origin or consent; PL_EAGAIN: too many; PL_ECLOSED: not collecting now. */
    enum pl_err (*claim)(void *ctx, const struct dialect_claim *claim, struct pl_why *why);
    /* Adds account, dialect, acceptance time and region, the visitor cookie's id where the client
     * gave none of its own, and encodes at once: nothing the event points at is needed afterwards.
     * An event of somebody who said no is passed over. PL_ELIMIT: event too large, or too many of
     * them. */
    enum pl_err (*emit)(void *ctx, struct event *event, struct pl_why *why);
    /* For batches: one event of it cannot be taken, for the reason in *why, which is cleared.
     * PL_OK: go on with the next one; else the error to return, for it is about more than that
     * event. Where nothing is left of a batch, the first reason is the request's. NULL: a request
     * is taken whole or not at all. */
    enum pl_err (*pass_over)(void *ctx, enum pl_err err, struct pl_why *why);
    /* Whether another claim would be on the account that was claimed: where each event of a request
     * names its own. */
    bool (*is_claimed)(void *ctx, const struct dialect_claim *claim);
    /* What a decoder may ask of the account once it has claimed it. Whether this edge has taken an
     * event with that message id lately (a hint; that it is stored once is the origin's doing); and
     * whether the account's published config has that campaign. */
    bool (*seen)(void *ctx, struct pl_span message_id);
    bool (*has_campaign)(void *ctx, struct pl_span id);
    /* The public form of its config, JSON; lives until decode returns. */
    struct pl_span (*config)(void *ctx);
};

static inline enum pl_err dialect_pass_over(const struct dialect_sink *sink, enum pl_err err,
                                            struct pl_why *why)
{
    return sink->pass_over == NULL ? err : sink->pass_over(sink->ctx, err, why);
}

/* What decode may say about its success or failure beyond the error. */
struct dialect_outcome {
    const char *name;    /* static, e.g. "INVALID_AMOUNT"; NULL: named after the error */
    struct pl_buf *body; /* the reply's body, where the dialect answers with more than a constant;
                            left empty: the reply's ok_body */
};

/* How a route answers. Durable first: ok_* is sent after the events are on disk. */
struct dialect_reply {
    const char *content_type; /* of ok_body */
    struct pl_span ok_body;
    int ok_status;
    /* An image or frame that must load whatever happened: ok_body with every outcome, which stands
     * in X-Polder-Outcome; refusals are sent as ok_status. Only "not now" (429, 503) keeps its
     * status: a 2xx would say that trying again is not needed. */
    bool always_ok;
    bool names_outcome; /* X-Polder-Outcome with other replies, too */
    /* Appends the body of an error reply in the dialect's own form (as error_content_type);
     * NULL: {"error":word,"field":…,"message":…} as application/json. why is complete; outcome is
     * the operator's word. */
    void (*error_body)(const struct pl_why *why, const char *outcome, struct json_writer *writer,
                       struct pl_buf *out);
    const char *error_content_type;
};

/* {"success":true}, as Segment's API answers. */
extern const struct dialect_reply dialect_reply_json;
/* The 43-byte transparent GIF, always. */
extern const struct dialect_reply dialect_reply_gif;
/* "ok", text/plain. */
extern const struct dialect_reply dialect_reply_text;

struct dialect_route {
    unsigned methods; /* DIALECT_GET | DIALECT_POST */
    const char *path; /* exact, or a prefix when it ends in '*' */
    enum pl_err (*decode)(const struct dialect_input *input, const struct dialect_sink *sink,
                          struct dialect_outcome *outcome, struct pl_why *why);
    const struct dialect_reply *reply;
    size_t max_body_bytes; /* 413 beyond; 0: LIMIT_BATCH_BYTES */
};

struct dialect {
    const char *name;
    enum event_dialect id;
    const struct dialect_route *routes;
    size_t route_count;
};

/* Every dialect this build speaks: edge/dialects/dialects.c. */
extern const struct dialect *const dialects[];
extern const size_t dialect_count;

#endif
