/* The edge's side of a session: whose pipe this is, and whether it still lives. */
#include "replication/uplink_parts.h"

#include <inttypes.h>
#include <stdio.h>

#define PING_MS        700   /* so that the origin is heard at least once a second */
#define GREETING_MS    10000 /* many edges may be greeting at once after an outage */
#define TURNED_AWAY_MS 5000

void session_reason(struct sender *s, struct pl_span reason)
{
    snprintf(s->status.reason, sizeof(s->status.reason), "%.*s", PL_SPAN_FMT(reason));
}

void session_unmade(struct sender *s, struct pl_span reason)
{
    if (!pl_span_eq_str(reason, s->status.reason))
        pl_log(s->up->config.log, PL_LOG_WARN, "uplink", "no link to %s: %.*s", s->up->origin_url,
               PL_SPAN_FMT(reason));
    session_reason(s, reason);
}

/* ---- becoming live, and ceasing to be */

static void publish(struct sender *s, bool live)
{
    struct uplink *up = s->up;
    pthread_mutex_lock(&up->lock);
    up->live = live ? s->status.connects : 0;
    pthread_mutex_unlock(&up->lock);
    pl_mailbox_wake(&up->follower.box);
}

static void leave(struct sender *s, enum session_state state)
{
    struct session *e = &s->session;
    bool was_live = e->state == SESSION_LIVE;
    e->state = state;
    e->waiting_ms = 0;
    e->greeting_id = 0;
    memset(e->ping_id, 0, sizeof(e->ping_id));
    s->status.connected = false;
    sender_lose(s);
    if (!was_live)
        return;
    publish(s, false);
    pl_log(s->up->config.log, PL_LOG_WARN, "uplink", "link to %s lost: %s", s->up->origin_url,
           s->status.reason);
}

void session_begin(struct sender *s, int64_t now_ms)
{
    s->session.state = SESSION_GREETING;
    session_waits(s, now_ms);
}

/* What nng says, as far as it helps whoever has to put it right. */
static const char *words_for(int why)
{
    switch (why) {
    case NNG_EPEERAUTH:
    case NNG_ECRYPTO:
        return "the TLS handshake failed: the origin's certificate, its CA or origin_name do not "
               "fit";
    case NNG_EPROTO:
        return "what answers at origin_url is no Polder origin";
    default:
        return "the origin closed the connection during the handshake: is this edge's certificate "
               "of its CA, and is origin_url its replication port?";
    }
}

void session_end(struct sender *s, int why)
{
    if (s->session.state == SESSION_DOWN)
        return; /* we hung up ourselves, and have said why */
    if (s->session.state == SESSION_LIVE)
        session_reason(s, PL_SPAN_LIT("the connection was closed"));
    else if (s->session.state != SESSION_TURNED_AWAY) /* which was said in better words */
        session_unmade(s, pl_span_str(words_for(why)));
    leave(s, SESSION_DOWN);
}

void session_break(struct sender *s, const char *because)
{
    session_reason(s, pl_span_str(because));
    leave(s, SESSION_DOWN);
    pipe_close(s->pipe);
}

void session_forgotten(struct sender *s, int64_t now_ms)
{
    session_reason(s, PL_SPAN_LIT("the origin asked for a new proof of identity"));
    leave(s, SESSION_GREETING);
    session_waits(s, now_ms);
}

void session_waits(struct sender *s, int64_t now_ms)
{
    if (s->session.waiting_ms == 0)
        s->session.waiting_ms = now_ms;
}

void session_heard(struct sender *s, int64_t now_ms)
{
    s->session.waiting_ms = sender_busy(s) ? now_ms : 0;
}

static void go_live(struct sender *s, const struct frame *welcome, int64_t now_ms)
{
    struct session *e = &s->session;
    e->state = SESSION_LIVE;
    e->next_ms = now_ms; /* a PING at once: it carries the books and the round trip */
    e->progressed = false;
    s->status.clock_skew_ms = pl_wall_ms(s->up->config.clock) - welcome->wall_ms;
    s->status.connected = true;
    s->status.revoked = false;
    s->status.connects++;
    s->status.reason[0] = '\0';
    publish(s, true);
    pl_log(s->up->config.log, PL_LOG_INFO, "uplink",
           "link to %s is up, our clock is ahead by %" PRId64 " ms", s->up->origin_url,
           s->status.clock_skew_ms);
}

/* ---- what the sender says of its own accord */

static uint32_t say(struct sender *s, unsigned owner, enum pl_err built, int64_t now_ms)
{
    uint32_t id = built == PL_OK ? sender_request(s, owner, true) : 0;
    if (id == 0)
        pl_log(s->up->config.log, PL_LOG_ERROR, "uplink", "cannot build a frame: %s",
               pl_err_word(built == PL_OK ? PL_ENOMEM : built));
    session_waits(s, now_ms); /* failing to ask counts as silence, too */
    return id;
}

static void prove(struct sender *s, int64_t now_ms)
{
    struct uplink *up = s->up;
    struct chain_claim claims[FRAME_CHAINS_MAX];
    uint8_t proof[FRAME_PROOF_BYTES], signature[PL_SIGNATURE_MAX_BYTES];
    size_t signature_len = sizeof(signature);
    frame_proof(s->session.nonce, &up->config.edge, proof);
    enum pl_err err = pl_sign(up->signer, pl_span(proof, sizeof(proof)), signature, &signature_len);
    backlog_refresh(&s->backlog); /* on failure the last list will do */
    size_t count = backlog_claims(&s->backlog, claims);
    struct frame_prove frame = {.edge = up->config.edge,
                                .signature = pl_span(signature, signature_len),
                                .region = pl_span_str(up->region),
                                .wall_ms = pl_wall_ms(up->config.clock)};
    memcpy(frame.nonce, s->session.nonce, sizeof(frame.nonce));
    pl_buf_reset(&s->frame);
    if (err == PL_OK)
        err = frame_put_prove(&s->frame, &frame, claims, count);
    s->session.greeting_id = say(s, OWNER_GREETING, err, now_ms);
}

static void hello(struct sender *s, int64_t now_ms)
{
    pl_buf_reset(&s->frame);
    s->session.greeting_id = say(s, OWNER_GREETING, frame_put_hello(&s->frame), now_ms);
}

static void ping(struct sender *s, int64_t now_ms)
{
    struct session *e = &s->session;
    const struct uplink_source *source = &s->up->config.source;
    struct chain_claim claims[FRAME_CHAINS_MAX];
    unsigned i = 0;
    e->next_ms = now_ms + PING_MS;
    while (i < SENDER_PINGS && e->ping_id[i] != 0)
        i++;
    if (i == SENDER_PINGS)
        return;
    backlog_refresh(&s->backlog);
    size_t count = backlog_claims(&s->backlog, claims);
    struct frame_settled settled = {.position = 0};
    if (source->settled != NULL)
        source->settled(source->ctx, &settled);
    pl_buf_reset(&s->frame);
    enum pl_err err =
        frame_put_ping(&s->frame, pl_wall_ms(s->up->config.clock), &settled, claims, count);
    e->pinged_us[i] = pl_elapsed_us();
    e->ping_id[i] = say(s, OWNER_PING + i, err, now_ms);
}

/* Silence on a live session. A path that is slow rather than cut dies of it, too; so that such a
 * path gets anywhere, the next session sends smaller frames and is given longer. */
static void give_up(struct sender *s)
{
    struct session *e = &s->session;
    if (s->backlog.out_count > 0 && !e->progressed) {
        e->patience_ms *= 2;
        if (e->patience_ms > PATIENCE_MAX_MS)
            e->patience_ms = PATIENCE_MAX_MS;
        s->frame_bytes = 0;
    }
    session_break(s, "no answer: the path to the origin seems cut");
}

static int64_t patience(const struct session *e)
{
    return e->state == SESSION_LIVE ? e->patience_ms : GREETING_MS;
}

void session_drive(struct sender *s, int64_t now_ms)
{
    struct session *e = &s->session;
    /* The follower's answers are signs of life as well. */
    int64_t heard_ms = atomic_load(&s->up->heard_ms);
    if (e->waiting_ms != 0 && heard_ms > e->waiting_ms)
        e->waiting_ms = heard_ms;
    if (e->waiting_ms != 0 && now_ms - e->waiting_ms >= patience(e))
        give_up(s);
    if (e->state == SESSION_TURNED_AWAY && now_ms >= e->next_ms)
        e->state = SESSION_GREETING;
    if (e->state == SESSION_GREETING && e->greeting_id == 0)
        hello(s, now_ms);
    else if (e->state == SESSION_LIVE && now_ms >= e->next_ms)
        ping(s, now_ms);
}

int64_t session_due_ms(const struct sender *s)
{
    const struct session *e = &s->session;
    int64_t due_ms = INT64_MAX;
    if (e->state == SESSION_TURNED_AWAY || e->state == SESSION_LIVE)
        due_ms = e->next_ms;
    if (e->waiting_ms != 0 && e->waiting_ms + patience(e) < due_ms)
        due_ms = e->waiting_ms + patience(e);
    return due_ms;
}

/* ---- what it is told */

static void turned_away(struct sender *s, const struct frame *f, int64_t now_ms)
{
    struct session *e = &s->session;
    bool known = s->status.revoked && f->refusal == FRAME_REFUSED_REVOKED;
    session_reason(s, f->sentence);
    s->status.revoked = f->refusal == FRAME_REFUSED_REVOKED;
    if (!known)
        pl_log(s->up->config.log, PL_LOG_ERROR, "uplink", "the origin refuses this edge: %.*s",
               PL_SPAN_FMT(f->sentence));
    leave(s, SESSION_TURNED_AWAY);
    e->next_ms = now_ms + TURNED_AWAY_MS;
}

static void take_books(struct sender *s, const struct frame *f)
{
    const struct uplink_source *source = &s->up->config.source;
    struct chain_record records[FRAME_CHAINS_MAX];
    for (size_t i = 0; i < f->list.count; i++)
        records[i] = frame_record(&f->list, i);
    if (f->list.count > 0 && source->books != NULL)
        source->books(source->ctx, records, f->list.count);
}

static void pong(struct sender *s, unsigned i, const struct frame *f)
{
    struct uplink *up = s->up;
    s->session.ping_id[i] = 0;
    s->status.round_trip_us = pl_elapsed_us() - s->session.pinged_us[i];
    s->status.clock_skew_ms = pl_wall_ms(up->config.clock) - f->wall_ms;
    take_books(s, f);
    pthread_mutex_lock(&up->lock);
    up->heard = true;
    up->heard_wall_ms = f->wall_ms;
    up->heard_caught_up = f->caught_up;
    pthread_mutex_unlock(&up->lock);
    pl_mailbox_wake(&up->follower.box);
}

static void greeted(struct sender *s, const struct frame *f, int64_t now_ms)
{
    struct session *e = &s->session;
    e->greeting_id = 0;
    if (f->type == FRAME_CHALLENGE && e->state == SESSION_GREETING) {
        e->state = SESSION_PROVING;
        memcpy(e->nonce, f->nonce, sizeof(e->nonce));
        prove(s, now_ms);
    } else if (f->type == FRAME_WELCOME && e->state == SESSION_PROVING) {
        go_live(s, f, now_ms);
        take_books(s, f);
    } else if (f->type == FRAME_REFUSED) {
        turned_away(s, f, now_ms);
    } else {
        session_break(s, "the origin gave an answer that does not belong to the greeting");
    }
}

void session_take(struct sender *s, uint32_t id, struct pl_span body, int64_t now_ms)
{
    struct session *e = &s->session;
    unsigned i = (id & 0xff) - OWNER_PING; /* of a PING */
    bool greeting = id == e->greeting_id;
    if (!greeting && (i >= SENDER_PINGS || id != e->ping_id[i]))
        return; /* of a session that is over */
    struct frame f;
    struct pl_why why;
    if (frame_parse(body, &f, &why) != PL_OK)
        session_break(s, why.text);
    else if (greeting)
        greeted(s, &f, now_ms);
    else if (f.type == FRAME_PONG)
        pong(s, i, &f);
    else if (f.type == FRAME_HELLO_FIRST)
        session_forgotten(s, now_ms);
    else if (f.type == FRAME_REFUSED)
        turned_away(s, &f, now_ms);
    else
        session_break(s, "the origin gave an answer that does not belong to a PING");
    if (e->waiting_ms != 0)
        session_heard(s, now_ms);
}
