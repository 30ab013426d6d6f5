/*
 * pipe: one TLS stream that carries requests and replies: the wire format of the scalability
 * protocols' REQ/REP over TCP, on nng's streams.
 *
 * Promise: a pipe may be closed at any moment, by either side, from any thread; `closed` then
 * comes exactly once and last. Messages arrive whole, one at a time, no larger than admitted.
 * What waits to be written is sent in order, urgent ones first.
 *
 * Not nng's own REQ and REP sockets: in nng 1.5.2 a pipe that is closed while a message is half
 * way leaves its operation unfinished for ever, and the thread that waits for it is the one that
 * reaps for the whole process. Measured with nothing but nng: the first or second close under
 * load. Here no operation is started on a closed stream, and closing the stream ends all others.
 *
 * What nng does not promise: an operation started just after the other side has hung up may hear
 * nothing of it (one disconnect in fifty under load). Whoever owns a pipe must therefore close it
 * after a silence that is too long; pipe_received tells silence from slowness.
 */
#ifndef POLDER_REPLICATION_PIPE_H
#define POLDER_REPLICATION_PIPE_H

#include "proto/base/mailbox.h"
#include "replication/link.h"

#define PIPE_HEAD_BYTES 12

/* A message is one allocation, owned by whoever holds it. */
struct pipe_message {
    struct pl_mail mail; /* first, for whoever passes it on */
    struct pipe_message *next;
    uint32_t id;     /* of the request; its highest bit is set */
    size_t len;      /* of the body */
    uint8_t bytes[]; /* head and body, as on the wire */
};
struct pipe_message *pipe_message_new(uint32_t id, struct pl_span body);
static inline struct pl_span pipe_message_body(const struct pipe_message *m)
{
    return pl_span(m->bytes + PIPE_HEAD_BYTES, m->len);
}

enum pipe_role { PIPE_REQ = 0x30, PIPE_REP = 0x31 }; /* what a side says it is */

enum pipe_admission {
    PIPE_READ,
    PIPE_WAIT,  /* ask again after pipe_resume */
    PIPE_BREAK, /* close */
};

/* From nng's threads, one at a time for each pipe, except `sent`; none must block. */
struct pipe_ops {
    void *ctx;
    /* May a body of this length be read now? It is allocated after that. */
    enum pipe_admission (*admit)(void *ctx, size_t len);
    /* The message is the callee's. False: read no further until pipe_resume. */
    bool (*message)(void *ctx, struct pipe_message *message);
    /* One more message has been written out; may be NULL. */
    void (*sent)(void *ctx);
    /* rv is nng's reason, NNG_ECLOSED for pipe_close. May be called inside pipe_close. */
    void (*closed)(void *ctx, int rv);
};

struct pipe;
/* Takes the stream, even when it fails. */
enum pl_err pipe_new(struct pipe **out, nng_stream *stream, enum pipe_role role,
                     const struct pipe_ops *ops);
/* Greets the other side and reads. */
void pipe_start(struct pipe *pipe);
/* Any thread. Takes the message; a closed pipe forgets it. */
void pipe_send(struct pipe *pipe, struct pipe_message *message, bool urgent);
/* Messages not yet written out. Any thread. */
size_t pipe_queued(struct pipe *pipe);
/* Bytes read so far; any thread. */
uint64_t pipe_received(const struct pipe *pipe);
/* Any thread; a resume that comes before the pause is not lost. */
void pipe_resume(struct pipe *pipe);
/* Any thread, any number of times. */
void pipe_close(struct pipe *pipe);
/* Closes it unless it is; `closed` may come inside. Waits for nng: not from its threads. */
void pipe_free(struct pipe *pipe);

#endif
