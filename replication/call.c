/* Requests, from their arrival to their answer. */
#include "replication/receiver_parts.h"

#include <stdlib.h>

static void end(struct call *call)
{
    struct receiver *r = call->r;
    struct peer *peer = call->peer;
    pthread_mutex_lock(&r->lock);
    bool blocks = call->frame.call != NULL;
    bool waits = !blocks && --peer->asks < PEER_ASKS_MAX && peer->waiting;
    pthread_mutex_unlock(&r->lock);
    free(call->frame.entries);
    free(call->request);
    free(call);
    if (waits)
        peer_read_on(r);
    peer_drop(peer);
}

void call_drop(struct call *call)
{
    end(call);
}

static void send(struct call *call, const struct pl_buf *frame)
{
    struct pipe_message *m = pipe_message_new(call->request->id, pl_buf_span(frame));
    if (m != NULL)
        pipe_send(call->peer->pipe, m, call->parsed.type != FRAME_BLOCKS);
    else
        pipe_close(call->peer->pipe); /* no memory for an answer: the edge asks again */
    end(call);
}

void call_refuse(struct call *call, enum frame_refusal refusal, const char *sentence)
{
    struct pl_buf frame;
    pl_buf_init(&frame, 2 * FRAME_SENTENCE_BYTES);
    if (frame_put_refused(&frame, refusal, sentence) == PL_OK)
        send(call, &frame);
    else
        end(call);
    pl_buf_release(&frame);
}

void call_reply(struct call *call, enum pl_err err, const struct pl_buf *frame)
{
    if (err == PL_OK)
        send(call, frame);
    else
        call_refuse(call, FRAME_REFUSED_BUSY, "the origin cannot build an answer now");
}

/* Answered without the books where an earlier PING still waits for them: a slow disk must not
 * look like a cut path. */
static void take_ping(struct call *call)
{
    struct receiver *r = call->r;
    struct peer *peer = call->peer;
    int64_t wall_ms = pl_wall_ms(r->config.clock);
    pthread_mutex_lock(&r->lock);
    bool asked = peer->books_asked;
    peer->books_asked = true;
    peer->session.clock_skew_ms = call->parsed.wall_ms - wall_ms;
    pthread_mutex_unlock(&r->lock);
    if (!asked) {
        desk_post(call, DESK_PING);
        return;
    }
    struct pl_buf frame;
    pl_buf_init(&frame, 64);
    call_reply(call, frame_put_pong(&frame, wall_ms, false, NULL, 0), &frame);
    pl_buf_release(&frame);
}

static void hello_first(struct call *call)
{
    struct pl_buf frame;
    pl_buf_init(&frame, 64);
    call_reply(call, frame_put_hello_first(&frame), &frame);
    pl_buf_release(&frame);
}

/* True for blocks. The call is somebody else's afterwards. */
static bool handle(struct call *call)
{
    struct pl_why why;
    struct pl_id128 edge;
    enum pl_err err = frame_parse(pipe_message_body(call->request), &call->parsed, &why);
    enum frame_type type = call->parsed.type; /* zero when it did not parse */
    if (err != PL_OK)
        call_refuse(call, err == PL_EUNSUPPORTED ? FRAME_REFUSED_VERSION : FRAME_REFUSED_MALFORMED,
                    why.text);
    else if (type == FRAME_HELLO)
        greet_hello(call);
    else if (type == FRAME_PROVE)
        greet_prove(call);
    else if (!peer_touch(call->peer, &edge))
        hello_first(call);
    else if (type == FRAME_BLOCKS)
        blocks_take(call, &edge);
    else if (type == FRAME_FEED)
        desk_post(call, DESK_FEED);
    else if (type == FRAME_PING)
        take_ping(call);
    else
        call_refuse(call, FRAME_REFUSED_MALFORMED, "type: an answer where a question is due");
    return err == PL_OK && type == FRAME_BLOCKS;
}

bool call_begin(struct peer *peer, struct pipe_message *request)
{
    struct receiver *r = peer->r;
    struct call *call = calloc(1, sizeof(*call));
    if (call == NULL) {
        free(request);
        pipe_close(peer->pipe);
        return false;
    }
    call->r = r;
    call->peer = peer;
    call->request = request;
    pthread_mutex_lock(&r->lock);
    peer->refs++;
    peer->asks++;
    pthread_mutex_unlock(&r->lock);
    if (!handle(call))
        return true;
    pthread_mutex_lock(&r->lock);
    bool room = blocks_room(r, 0);
    pthread_mutex_unlock(&r->lock);
    return room;
}
