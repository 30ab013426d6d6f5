/*
 * uplink_parts: what the uplink's two threads share with each other and with whoever asks, and
 * what is each one's own. For uplink.c, dial.c, session.c, sender.c and follower.c.
 *
 * The sender owns the connection: it dials, proves the edge's identity, moves blocks, pings, and
 * gives up on a pipe that has gone silent; it also sends the follower's polls. The follower gets
 * the answers to those, and calls the sink.
 */
#ifndef POLDER_REPLICATION_UPLINK_PARTS_H
#define POLDER_REPLICATION_UPLINK_PARTS_H

#include "replication/backlog.h"
#include "replication/pipe.h"

#include <stdatomic.h>

#define SENDER_SLOTS 64
/* Frames of blocks handed to the pipe beside the one being written: enough to keep it busy. */
#define SENDER_QUEUED 2
/* Two, so that a PING goes out each second even where a round trip takes longer. */
#define SENDER_PINGS 2

/* Silence that a live session bears: three times what the last frame took, within these. With a
 * PING every 700 ms the lower one makes a cut path noticed within 3 s; the upper one is for paths
 * so slow that one block takes that long. */
#define PATIENCE_MIN_MS 1900
#define PATIENCE_MAX_MS 60000

/* The lowest byte of a request's id says whose it is: a slot's number, or one of these. */
enum request_owner {
    OWNER_GREETING = SENDER_SLOTS,
    OWNER_PING,
    OWNER_FEED = OWNER_PING + SENDER_PINGS,
};

/* A frame of blocks under way. */
struct slot {
    uint32_t id; /* of its request; 0: idle */
    struct backlog_entry *entries;
    size_t count, cap;
};

enum session_state {
    SESSION_DOWN, /* no pipe, or one that is closing */
    SESSION_GREETING,
    SESSION_PROVING,
    SESSION_LIVE,
    SESSION_TURNED_AWAY, /* refused; asks again later */
};

/* The sender thread's. */
struct session {
    enum session_state state;
    uint32_t greeting_id; /* HELLO or PROVE under way; 0: none */
    uint32_t ping_id[SENDER_PINGS];
    int64_t pinged_us[SENDER_PINGS];
    uint8_t nonce[FRAME_NONCE_BYTES];
    int64_t next_ms;     /* the next PING; in TURNED_AWAY the next HELLO */
    int64_t waiting_ms;  /* since when an answer is due; 0: none is */
    int64_t patience_ms; /* how long a live session may go without one */
    bool progressed;     /* ACKS came since the session began */
};

/* The sender thread's. */
struct dialing {
    nng_stream_dialer *dialer;
    nng_aio *aio;
    bool busy;
    int64_t next_ms;
    int64_t back_off_ms;
};

struct sender {
    struct uplink *up;
    pthread_t thread;
    struct pl_mailbox box; /* of messages from the pipe */
    atomic_bool woken;
    struct dialing dialing;
    struct pipe *pipe;
    uint32_t sequence; /* of requests */
    struct session session;
    struct backlog backlog;
    struct slot slots[SENDER_SLOTS];
    size_t frame_bytes; /* how large a frame may grow: less where the path is slow */
    struct pl_buf frame;
    struct uplink_status status; /* published once a turn */
};

struct follower {
    struct uplink *up;
    pthread_t thread;
    struct pl_mailbox box;
    uint64_t session; /* the one the poll under way belongs to; 0: none is under way */
    int64_t asked_ms;
    uint64_t shunned;    /* a session that answered HELLO_FIRST: wait for the next */
    int64_t retry_ms;    /* not before */
    int64_t back_off_ms; /* the next one */
    struct pl_id128 asked_epoch;
};

struct uplink {
    /* Fixed from uplink_new on. */
    struct uplink_config config;
    char *origin_url, *server_name, *region;
    size_t window_bytes;
    nng_tls_config *tls;
    struct pl_signer *signer; /* the sender's */
    int64_t ends_ms;          /* of the certificates */
    bool started;

    struct sender sender;
    struct follower follower;
    _Atomic int64_t heard_ms; /* when the last message came, of any kind */
    atomic_uint unread;       /* messages in either mailbox */

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t settled_changed;
    bool dialed, closed; /* news from nng for the sender */
    int closed_why;
    uint64_t live;        /* counts sessions; 0 while there is none */
    uint64_t poll_wanted; /* the session a poll is to be sent in; 0: none */
    struct frame_feed poll;
    uint32_t poll_id; /* the request the follower waits for */
    struct uplink_status status;
    bool settled; /* nothing left to send */
    bool stopping;
    bool heard; /* a PONG for the sink, which the follower delivers */
    int64_t heard_wall_ms;
    bool heard_caught_up;
};

static inline int64_t uplink_now_ms(const struct uplink *up)
{
    return pl_mono_ms(up->config.clock);
}
bool uplink_stopping(struct uplink *up);

/* ---- dial.c; the sender thread */
/* PL_EINVAL: the URL cannot be one. */
enum pl_err dial_init(struct sender *s, struct pl_why *why);
/* After the sender has ended. Frees the pipe as well: after the dialer, whose last reference a
 * stream may hold. */
void dial_release(struct sender *s);
/* Dials, takes what comes of it, and buries pipes that have ended. */
void dial_drive(struct sender *s, int64_t now_ms);
int64_t dial_due_ms(const struct sender *s);

/* ---- session.c; the sender thread */
/* Why the link is not connected, in words. */
void session_reason(struct sender *s, struct pl_span reason);
/* The same for a link that did not come about; the log has it, too, until it changes. */
void session_unmade(struct sender *s, struct pl_span reason);
/* There is a pipe; it is closed; the latter with what nng says about it. */
void session_begin(struct sender *s, int64_t now_ms);
void session_end(struct sender *s, int why);
/* Does what is due: greets, pings, gives up. */
void session_drive(struct sender *s, int64_t now_ms);
/* The answer to HELLO, PROVE or PING. */
void session_take(struct sender *s, uint32_t id, struct pl_span body, int64_t now_ms);
/* An answer of any kind came. */
void session_heard(struct sender *s, int64_t now_ms);
/* An answer is due from now on. */
void session_waits(struct sender *s, int64_t now_ms);
/* The answer says that the origin does not know this pipe. */
void session_forgotten(struct sender *s, int64_t now_ms);
/* The answer makes no sense: nothing good can come of this pipe. */
void session_break(struct sender *s, const char *because);
int64_t session_due_ms(const struct sender *s);

/* ---- sender.c */
void *sender_run(void *arg);
enum pl_err sender_init(struct sender *s, struct uplink *up, struct pl_why *why);
void sender_release(struct sender *s);
/* Takes every message that has come. */
void sender_take_all(struct sender *s, struct pl_mail *mail, int64_t now_ms);
/* The session has ended: what is under way is lost. */
void sender_lose(struct sender *s);
bool sender_busy(const struct sender *s);
/* Sends what s->frame holds; 0 when it cannot. */
uint32_t sender_request(struct sender *s, unsigned owner, bool urgent);

/* ---- follower.c */
void *follower_run(void *arg);
void follower_init(struct follower *f, struct uplink *up);
void follower_release(struct follower *f);

#endif
