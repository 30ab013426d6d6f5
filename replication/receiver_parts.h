/*
 * receiver_parts: what the receiver is made of. For receiver.c, peer.c, greet.c, call.c, blocks.c
 * and desk.c.
 *
 * A peer is one pipe and the session bound to it. A call is one request, held by whoever has to
 * find the answer; it keeps its peer. The desk is the receiver's own thread: it asks the
 * callbacks that may block, parks polls of the feed, tells of sessions that begin and end, in
 * order, and buries peers.
 */
#ifndef POLDER_REPLICATION_RECEIVER_PARTS_H
#define POLDER_REPLICATION_RECEIVER_PARTS_H

#include "replication/pipe.h"
#include "replication/receiver.h"

#include <stdatomic.h>

/* Sessions. An edge whose path was cut has its old one beside the new one until that is swept. */
#define PEERS_MAX (2 * LIMIT_EDGES)
/* Pipes that have not proved whose they are, unless configured: as many edges may come back at
 * once after an outage, and none of them should have to begin again. Theirs is a budget of their
 * own: what strangers do costs them their own pipes, never an edge's. */
#define STRANGERS_MAX LIMIT_EDGES
#define CROWDS        256
/* Requests of one peer under way, blocks not counted: it asks a few at a time. */
#define PEER_ASKS_MAX 16
/* Answers to a peer that has not proved itself which it has yet to take: it asks twice, and waits
 * for the answers. One that does otherwise is hung up on. */
#define STRANGER_UNSENT_MAX 16
/* Everything but blocks fits in this; it is read whatever else is going on. */
#define SMALL_BYTES (16 * 1024)

enum desk_kind { DESK_PROVE, DESK_PING, DESK_FEED, DESK_GONE, DESK_BURY };

/* First in a peer and in a call, so that either can be posted to the desk. */
struct desk_job {
    struct pl_mail mail;
    enum desk_kind kind;
};

struct peer {
    struct desk_job job; /* GONE, then BURY */
    struct receiver *r;
    struct pipe *pipe; /* lives as long as the peer */

    /* Guarded by the receiver's lock. */
    struct peer *next, **at; /* among all */
    size_t refs;             /* calls, and one for the open pipe until the desk has seen it go */
    size_t asks;
    size_t reserved; /* for the frame being read */
    bool waiting;    /* reads no further for want of room */
    size_t wants;    /* room for so much, then */
    struct peer *next_waiting;
    int64_t opened_ms, heard_ms;
    uint8_t from[16]; /* its address */
    size_t from_bytes;
    uint8_t crowd; /* by it */
    bool greeted;  /* TLS let it in */
    bool open;
    bool challenged;
    uint8_t nonce[FRAME_NONCE_BYTES];
    int64_t nonce_ms;
    bool bound; /* it has proved which edge it is */
    bool books_asked;
    struct receiver_session session;

    /* The desk's. */
    uint64_t received;   /* by the pipe */
    int64_t received_ms; /* when that was last seen to change; at first, when it was opened */
    bool announced;
    struct pl_id128 announced_edge;
    char announced_region[FRAME_REGION_BYTES + 1];
    struct call *parked;
};

struct receiver_frame {
    struct call *call;
    struct pl_span *entries; /* each entry as it stands in the request */
    size_t count;
    size_t bytes;
};

/* Owned by whoever holds it. */
struct call {
    struct desk_job job;
    struct receiver *r;
    struct peer *peer;
    struct pipe_message *request;
    struct frame parsed; /* views into the request */
    struct receiver_frame frame;
    int64_t deadline_ms; /* of a parked poll */
    struct call *next;   /* among the parked */
};

/* The last look at the changelog: edges that are caught up all ask the same. */
struct desk_look {
    bool valid;
    uint64_t from, position;
    struct pl_id128 followed, epoch; /* the asker's, the changelog's */
    bool caught_up;
    enum pl_err err;
    struct pl_buf items;
};

struct desk {
    pthread_t thread;
    struct pl_mailbox box;
    atomic_bool feed_changed;
    struct call *parked;
    struct desk_look look;
    struct pl_buf frame;
    int64_t swept_ms;
    bool feed_failed; /* said so in the log already */
};

struct receiver {
    /* Fixed from receiver_new on. */
    struct receiver_config config;
    char *listen_url;
    nng_tls_config *tls;
    int64_t ends_ms; /* of the certificates */
    nng_stream_listener *listener;
    nng_aio *accept_aio;
    bool started;

    struct desk desk;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t drained;
    bool accepting;
    struct peer *peers;
    size_t peer_count; /* with those not yet buried */
    size_t bound_count;
    size_t strangers, strangers_of[CROWDS]; /* open and not bound */
    struct peer *waiting, **waiting_tail;
    size_t frames_out; /* of blocks, with their taker */
    size_t bytes_out, bytes_reserved;
    size_t finishing; /* threads inside receiver_frame_done */
    int64_t progress_ms;
    bool shedding; /* the takers have stalled: blocks are answered RETRY, so that the rest works */
    bool stopping;
};

static inline int64_t receiver_now_ms(const struct receiver *r)
{
    return pl_mono_ms(r->config.clock);
}

/* ---- peer.c; any thread. Those marked "locked" want the lock held. */
/* Takes the stream of a new connection. Where there are too many strangers, the one that goes
 * is the oldest of the address that most of them come from. */
void peer_open(struct receiver *r, nng_stream *stream);
/* Every change of the two goes through here. Locked. */
void peer_mark(struct peer *peer, bool open, bool bound);
/* Of a bound peer: copies its edge and notes that it was heard. */
bool peer_touch(struct peer *peer, struct pl_id128 *edge);
/* One reference less; the last one sends it to the desk for burial. */
void peer_drop(struct peer *peer);
/* Closes the pipes of all peers for which condemn says yes; they are unbound at once. */
void peer_close_if(struct receiver *r, bool (*condemn)(const struct peer *peer, const void *arg),
                   const void *arg);
/* Tells of one that was turned away; edge may be NULL. */
void peer_refused(struct peer *peer, const struct pl_id128 *edge, enum pl_err err);
/* Lets those read on that waited and for whom there is room. */
void peer_read_on(struct receiver *r);

/* ---- greet.c; nng's threads */
void greet_hello(struct call *call);
/* Verifies, binds, and leaves the welcome to the desk. */
void greet_prove(struct call *call);

/* ---- call.c; any thread */
/* A request came; the message is the call's. False: the peer should wait. */
bool call_begin(struct peer *peer, struct pipe_message *request);
/* Each ends the call. err is the encoder's; the buffer stays the caller's. */
void call_reply(struct call *call, enum pl_err err, const struct pl_buf *frame);
void call_refuse(struct call *call, enum frame_refusal refusal, const char *sentence);
void call_drop(struct call *call); /* nobody waits for an answer */

/* ---- blocks.c */
void blocks_take(struct call *call, const struct pl_id128 *edge);
/* May a frame of this size be read now? */
bool blocks_room(const struct receiver *r, size_t bytes); /* locked */
/* The desk calls this now and then. */
void blocks_watch(struct receiver *r, int64_t now_ms);

/* ---- desk.c */
void desk_init(struct desk *desk);
void desk_release(struct desk *desk);
void *desk_run(void *arg);
void desk_post(struct call *call, enum desk_kind kind);

/* ---- receiver.c; the desk */
/* Accepts again after a failure. */
void receiver_accept(struct receiver *r);

#endif
