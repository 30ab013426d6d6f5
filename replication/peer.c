/* Pipes and the sessions bound to them. */
#include "replication/receiver_parts.h"

#include <stdlib.h>

/* ---- reading within bounds; nng's threads */

/* Locked. */
static void wait_for_room(struct peer *peer, size_t bytes)
{
    struct receiver *r = peer->r;
    if (peer->waiting || !peer->open)
        return;
    peer->waiting = true;
    peer->wants = bytes;
    peer->next_waiting = NULL;
    *r->waiting_tail = peer;
    r->waiting_tail = &peer->next_waiting;
}

/* Locked. */
static void stop_waiting(struct peer *peer)
{
    struct receiver *r = peer->r;
    struct peer **at = &r->waiting;
    while (peer->waiting && *at != peer)
        at = &(*at)->next_waiting;
    if (!peer->waiting)
        return;
    *at = peer->next_waiting;
    if (r->waiting_tail == &peer->next_waiting)
        r->waiting_tail = at;
    peer->waiting = false;
}

static enum pipe_admission on_admit(void *ctx, size_t len)
{
    struct peer *peer = ctx;
    struct receiver *r = peer->r;
    enum pipe_admission admission = PIPE_READ;
    const bool small = len <= SMALL_BYTES;
    if (small && pipe_queued(peer->pipe) <= STRANGER_UNSENT_MAX)
        return admission;
    pthread_mutex_lock(&r->lock);
    if (!peer->bound) {
        admission = PIPE_BREAK; /* a stranger has nothing long to say, and listens */
    } else if (!small && blocks_room(r, len)) {
        peer->reserved = len;
        r->bytes_reserved += len;
    } else if (!small) {
        wait_for_room(peer, len);
        admission = PIPE_WAIT;
    }
    pthread_mutex_unlock(&r->lock);
    return admission;
}

/* Locked. */
static void release_reserved(struct peer *peer)
{
    peer->r->bytes_reserved -= peer->reserved;
    peer->reserved = 0;
}

static bool on_message(void *ctx, struct pipe_message *message)
{
    struct peer *peer = ctx;
    struct receiver *r = peer->r;
    pthread_mutex_lock(&r->lock);
    release_reserved(peer); /* blocks are counted as out from here on */
    pthread_mutex_unlock(&r->lock);
    bool go_on = call_begin(peer, message);
    pthread_mutex_lock(&r->lock);
    go_on = go_on && peer->asks < PEER_ASKS_MAX;
    if (!go_on)
        wait_for_room(peer, 0);
    pthread_mutex_unlock(&r->lock);
    return go_on;
}

void peer_read_on(struct receiver *r)
{
    for (;;) {
        pthread_mutex_lock(&r->lock);
        struct peer *peer = r->waiting;
        while (peer != NULL && (!blocks_room(r, peer->wants) || peer->asks >= PEER_ASKS_MAX))
            peer = peer->next_waiting;
        if (peer != NULL) {
            stop_waiting(peer);
            peer->refs++; /* so that its pipe stays while we resume it */
        }
        pthread_mutex_unlock(&r->lock);
        if (peer == NULL)
            return;
        pipe_resume(peer->pipe);
        peer_drop(peer);
    }
}

/* ---- coming and going */

static void count_peer(const struct peer *peer, size_t by)
{
    struct receiver *r = peer->r;
    if (peer->bound) {
        r->bound_count += by;
    } else if (peer->open) {
        r->strangers += by;
        r->strangers_of[peer->crowd] += by;
    }
}

void peer_mark(struct peer *peer, bool open, bool bound)
{
    count_peer(peer, (size_t)-1);
    peer->open = open;
    peer->bound = bound;
    peer->challenged = peer->challenged && open;
    count_peer(peer, 1);
}

static void on_sent(void *ctx)
{
    struct peer *peer = ctx;
    struct receiver *r = peer->r;
    pthread_mutex_lock(&r->lock);
    if (r->stopping)
        pthread_cond_broadcast(&r->drained); /* for the last answers */
    pthread_mutex_unlock(&r->lock);
}

void peer_refused(struct peer *peer, const struct pl_id128 *edge, enum pl_err err)
{
    const struct receiver_ops *ops = &peer->r->config.ops;
    if (ops->refused != NULL)
        ops->refused(ops->ctx, edge, err, pl_span(peer->from, peer->from_bytes));
}

static void on_closed(void *ctx, int why)
{
    struct peer *peer = ctx;
    struct receiver *r = peer->r;
    pthread_mutex_lock(&r->lock);
    const bool refused = !peer->greeted && (why == NNG_EPEERAUTH || why == NNG_ECRYPTO);
    peer_mark(peer, false, false);
    stop_waiting(peer);
    release_reserved(peer);
    pthread_mutex_unlock(&r->lock);
    if (refused)
        peer_refused(peer, NULL, PL_EAUTH);
    peer->job.kind = DESK_GONE;
    pl_mailbox_post(&r->desk.box, &peer->job.mail); /* open until no peer is left */
}

void peer_drop(struct peer *peer)
{
    struct receiver *r = peer->r;
    pthread_mutex_lock(&r->lock);
    bool last = --peer->refs == 0;
    pthread_mutex_unlock(&r->lock);
    if (!last)
        return;
    peer->job.kind = DESK_BURY;
    pl_mailbox_post(&r->desk.box, &peer->job.mail);
}

/* Both in network order. */
static void find_address(nng_stream *stream, struct peer *peer)
{
    nng_sockaddr at = {.s_family = NNG_AF_UNSPEC};
    if (nng_stream_get_addr(stream, NNG_OPT_REMADDR, &at) != 0)
        return;
    if (at.s_family == NNG_AF_INET) {
        peer->from_bytes = sizeof(at.s_in.sa_addr);
        memcpy(peer->from, &at.s_in.sa_addr, peer->from_bytes);
    } else if (at.s_family == NNG_AF_INET6) {
        peer->from_bytes = sizeof(at.s_in6.sa_addr);
        memcpy(peer->from, at.s_in6.sa_addr, peer->from_bytes);
    }
}

/* One machine shares one: an IPv4 address, or the network part of an IPv6 one. */
static uint8_t crowd_of(const struct peer *peer)
{
    uint64_t where = 0;
    memcpy(&where, peer->from, peer->from_bytes < sizeof(where) ? peer->from_bytes : sizeof(where));
    return (uint8_t)(where * 0x9e3779b97f4a7c15u >> 56);
}

/* Locked: unmarks the stranger that has to go, and keeps it until its pipe is closed. NULL: there
 * is room. The list begins with the newest. */
static struct peer *take_surplus(struct receiver *r)
{
    struct peer *surplus = NULL;
    if (r->strangers <= r->config.strangers_max)
        return NULL;
    for (struct peer *peer = r->peers; peer != NULL; peer = peer->next)
        if (peer->open && !peer->bound &&
            (surplus == NULL || r->strangers_of[peer->crowd] >= r->strangers_of[surplus->crowd]))
            surplus = peer;
    peer_mark(surplus, false, false);
    surplus->refs++;
    return surplus;
}

static struct peer *peer_new(struct receiver *r, nng_stream *stream)
{
    struct peer *peer = calloc(1, sizeof(*peer));
    struct pipe_ops ops = {.ctx = peer,
                           .admit = on_admit,
                           .message = on_message,
                           .sent = on_sent,
                           .closed = on_closed};
    if (peer == NULL) {
        nng_stream_close(stream);
        nng_stream_free(stream);
        return NULL;
    }
    find_address(stream, peer);
    peer->crowd = crowd_of(peer);
    if (pipe_new(&peer->pipe, stream, PIPE_REP, &ops) != PL_OK) {
        free(peer);
        return NULL;
    }
    peer->r = r;
    peer->refs = 1;
    peer->opened_ms = peer->received_ms = receiver_now_ms(r);
    return peer;
}

void peer_open(struct receiver *r, nng_stream *stream)
{
    struct peer *peer = peer_new(r, stream);
    if (peer == NULL)
        return;
    pthread_mutex_lock(&r->lock);
    bool wanted = !r->stopping;
    peer->next = r->peers;
    peer->at = &r->peers;
    if (peer->next != NULL)
        peer->next->at = &peer->next;
    r->peers = peer;
    r->peer_count++;
    peer_mark(peer, true, false);
    struct peer *surplus = take_surplus(r);
    pthread_mutex_unlock(&r->lock);
    if (surplus != NULL) {
        pipe_close(surplus->pipe);
        peer_drop(surplus);
    }
    if (wanted)
        pipe_start(peer->pipe);
    else
        pipe_close(peer->pipe);
}

bool peer_touch(struct peer *peer, struct pl_id128 *edge)
{
    struct receiver *r = peer->r;
    pthread_mutex_lock(&r->lock);
    bool bound = peer->bound;
    if (bound) {
        *edge = peer->session.edge;
        peer->heard_ms = receiver_now_ms(r);
    }
    pthread_mutex_unlock(&r->lock);
    return bound;
}

void peer_close_if(struct receiver *r, bool (*condemn)(const struct peer *peer, const void *arg),
                   const void *arg)
{
    struct peer *condemned[64];
    size_t count;
    do {
        count = 0;
        pthread_mutex_lock(&r->lock);
        for (struct peer *peer = r->peers; peer != NULL && count < 64; peer = peer->next) {
            if (!peer->open || !condemn(peer, arg))
                continue;
            peer_mark(peer, false, false);
            peer->refs++;
            condemned[count++] = peer;
        }
        pthread_mutex_unlock(&r->lock);
        for (size_t i = 0; i < count; i++) {
            pipe_close(condemned[i]->pipe);
            peer_drop(condemned[i]);
        }
    } while (count == 64);
}
