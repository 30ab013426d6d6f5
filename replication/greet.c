/* Who is on a pipe: the origin's side of HELLO and PROVE. */
#include "replication/receiver_parts.h"

#define NONCE_MS 30000

void greet_hello(struct call *call)
{
    struct receiver *r = call->r;
    struct peer *peer = call->peer;
    uint8_t nonce[FRAME_NONCE_BYTES];
    if (pl_random_fill(r->config.random, nonce, sizeof(nonce)) != PL_OK) {
        call_refuse(call, FRAME_REFUSED_BUSY, "the origin has no random numbers now");
        return;
    }
    pthread_mutex_lock(&r->lock);
    peer->challenged = peer->greeted = true;
    peer->nonce_ms = receiver_now_ms(r);
    memcpy(peer->nonce, nonce, sizeof(nonce));
    pthread_mutex_unlock(&r->lock);
    struct pl_buf frame;
    pl_buf_init(&frame, 64);
    call_reply(call, frame_put_challenge(&frame, nonce), &frame);
    pl_buf_release(&frame);
}

/* The nonce this pipe was given: good once, and for a while. */
static bool use_nonce(struct receiver *r, const struct call *call)
{
    const struct frame_prove *prove = &call->parsed.prove;
    struct peer *peer = call->peer;
    pthread_mutex_lock(&r->lock);
    bool good = peer->challenged && receiver_now_ms(r) - peer->nonce_ms <= NONCE_MS &&
                memcmp(peer->nonce, prove->nonce, FRAME_NONCE_BYTES) == 0;
    peer->challenged = false;
    pthread_mutex_unlock(&r->lock);
    return good;
}

/* With signed_too: whether the edge's key signed the nonce; else only whether it is enrolled. */
static enum pl_err verify(struct receiver *r, const struct frame_prove *prove, bool signed_too)
{
    struct pl_buf key;
    uint8_t proof[FRAME_PROOF_BYTES];
    pl_buf_init(&key, PL_PUBLIC_KEY_MAX_BYTES);
    enum pl_err err = r->config.ops.edge_key(r->config.ops.ctx, &prove->edge, &key);
    if (err == PL_OK && signed_too) {
        frame_proof(prove->nonce, &prove->edge, proof);
        if (pl_verify(pl_buf_span(&key), pl_span(proof, sizeof(proof)), prove->signature) != PL_OK)
            err = PL_EAUTH;
    }
    pl_buf_release(&key);
    return err;
}

static void refuse(struct call *call, enum pl_err err)
{
    struct receiver *r = call->r;
    if (err == PL_ENOTFOUND || err == PL_EDENIED || err == PL_EAUTH)
        peer_refused(call->peer, &call->parsed.prove.edge, err);
    switch (err) {
    case PL_ENOTFOUND:
        call_refuse(call, FRAME_REFUSED_UNKNOWN,
                    "this edge is not enrolled at the origin: enroll it with polderctl");
        break;
    case PL_EDENIED:
        call_refuse(call, FRAME_REFUSED_REVOKED,
                    "this edge was revoked at the origin: enroll it anew to use it again");
        break;
    case PL_EAUTH:
        call_refuse(call, FRAME_REFUSED_SIGNATURE,
                    "the proof does not verify: this edge's key is not the one enrolled");
        break;
    default:
        pl_log(r->config.log, PL_LOG_WARN, "receiver", "an edge cannot be looked up: %s",
               pl_err_word(err));
        call_refuse(call, FRAME_REFUSED_BUSY, "the origin cannot look up this edge now");
    }
}

/* False: so many sessions cannot be right. */
static bool bind_peer(struct call *call)
{
    struct receiver *r = call->r;
    struct peer *peer = call->peer;
    const struct frame_prove *prove = &call->parsed.prove;
    int64_t now_ms = receiver_now_ms(r), wall_ms = pl_wall_ms(r->config.clock);
    pthread_mutex_lock(&r->lock);
    bool room = peer->bound || r->bound_count < PEERS_MAX;
    peer_mark(peer, peer->open, peer->open && room);
    peer->books_asked = false;
    peer->heard_ms = now_ms;
    peer->session = (struct receiver_session){
        .edge = prove->edge, .since_wall_ms = wall_ms, .clock_skew_ms = prove->wall_ms - wall_ms};
    memcpy(peer->session.region, prove->region.data, prove->region.len);
    pthread_mutex_unlock(&r->lock);
    return room;
}

static void unbind_peer(struct call *call)
{
    struct receiver *r = call->r;
    pthread_mutex_lock(&r->lock);
    peer_mark(call->peer, call->peer->open, false);
    pthread_mutex_unlock(&r->lock);
}

void greet_prove(struct call *call)
{
    struct receiver *r = call->r;
    enum pl_err err = use_nonce(r, call) ? verify(r, &call->parsed.prove, true) : PL_EAUTH;
    if (err != PL_OK) {
        refuse(call, err);
        return;
    }
    if (!bind_peer(call)) {
        call_refuse(call, FRAME_REFUSED_BUSY, "the origin has too many sessions now");
        return;
    }
    /* Asked again, because whoever revoked it in between found no session to end. */
    err = verify(r, &call->parsed.prove, false);
    if (err != PL_OK) {
        unbind_peer(call);
        refuse(call, err);
        return;
    }
    desk_post(call, DESK_PROVE);
}
