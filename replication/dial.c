/* Getting a pipe to the origin, and saying why there is none. */
#include "replication/uplink_parts.h"

#include <stdio.h>
#include <stdlib.h>

#define DIAL_MS         5000 /* the kernel's own back-off of SYN would grow to minutes */
#define UNREAD_MAX      256
#define BACK_OFF_MIN_MS 100
#define BACK_OFF_MAX_MS 2000

/* ---- from nng's threads */

static void on_dialed(void *arg)
{
    struct sender *s = arg;
    pthread_mutex_lock(&s->up->lock);
    s->up->dialed = true;
    pthread_mutex_unlock(&s->up->lock);
    pl_mailbox_wake(&s->box);
}

static bool on_message(void *ctx, struct pipe_message *message)
{
    struct sender *s = ctx;
    struct uplink *up = s->up;
    bool of_feed = (message->id & 0xff) == OWNER_FEED;
    atomic_store(&up->heard_ms, uplink_now_ms(up));
    unsigned unread = atomic_fetch_add(&up->unread, 1);
    if (!pl_mailbox_post(of_feed ? &up->follower.box : &s->box, &message->mail))
        free(message);
    /* There are no more answers than questions; whoever sends more is not read any further, and
     * so found silent. */
    return unread < UNREAD_MAX;
}

static void on_sent(void *ctx)
{
    struct sender *s = ctx;
    pl_mailbox_wake(&s->box);
}

static void on_closed(void *ctx, int why)
{
    struct sender *s = ctx;
    pthread_mutex_lock(&s->up->lock);
    s->up->closed = true;
    s->up->closed_why = why;
    pthread_mutex_unlock(&s->up->lock);
    pl_mailbox_wake(&s->box);
}

/* ---- the sender thread */

enum pl_err dial_init(struct sender *s, struct pl_why *why)
{
    struct dialing *d = &s->dialing;
    struct uplink *up = s->up;
    int rv = nng_stream_dialer_alloc(&d->dialer, up->origin_url);
    if (rv == 0)
        rv = nng_stream_dialer_set_ptr(d->dialer, NNG_OPT_TLS_CONFIG, up->tls);
    if (rv == 0)
        rv = nng_aio_alloc(&d->aio, on_dialed, s);
    if (rv != 0)
        return link_fail(why, rv, "dial", up->origin_url);
    nng_aio_set_timeout(d->aio, DIAL_MS);
    d->back_off_ms = BACK_OFF_MIN_MS;
    return PL_OK;
}

void dial_release(struct sender *s)
{
    struct dialing *d = &s->dialing;
    if (d->dialer != NULL)
        nng_stream_dialer_close(d->dialer);
    if (d->aio != NULL) {
        nng_aio_stop(d->aio);
        if (d->busy && nng_aio_result(d->aio) == 0) {
            nng_stream *stream = nng_aio_get_output(d->aio, 0);
            nng_stream_close(stream);
            nng_stream_free(stream);
        }
        nng_aio_free(d->aio);
    }
    if (d->dialer != NULL)
        nng_stream_dialer_free(d->dialer);
    pipe_free(s->pipe);
    *d = (struct dialing){.dialer = NULL};
    s->pipe = NULL;
}

/* A little of it random, so that edges do not return from an outage in step. */
static void back_off(struct sender *s, int64_t now_ms)
{
    struct dialing *d = &s->dialing;
    uint16_t chance = 0;
    pl_random_fill(s->up->config.random, &chance, sizeof(chance));
    d->next_ms = now_ms + d->back_off_ms * (75 + chance % 26) / 100;
    if (d->back_off_ms < BACK_OFF_MAX_MS)
        d->back_off_ms =
            d->back_off_ms * 2 < BACK_OFF_MAX_MS ? d->back_off_ms * 2 : BACK_OFF_MAX_MS;
}

static void say_why(struct sender *s, int rv)
{
    char text[LINK_REASON_BYTES];
    const char *hint = "";
    if (rv == NNG_ECONNREFUSED)
        hint = " (is the origin running, and is origin_url right?)";
    else if (rv == NNG_ETIMEDOUT || rv == NNG_EUNREACHABLE)
        hint = " (the network path is cut or filtered)";
    else if (rv == NNG_EADDRINVAL)
        hint = " (does the name resolve?)";
    snprintf(text, sizeof(text), "cannot reach the origin: %s%s", nng_strerror(rv), hint);
    session_unmade(s, pl_span_str(text));
}

static void connect_pipe(struct sender *s, nng_stream *stream, int64_t now_ms)
{
    struct pipe_ops ops = {.ctx = s, .message = on_message, .sent = on_sent, .closed = on_closed};
    if (pipe_new(&s->pipe, stream, PIPE_REQ, &ops) != PL_OK) {
        session_reason(s, PL_SPAN_LIT("out of memory for a connection"));
        back_off(s, now_ms);
        return;
    }
    pipe_start(s->pipe);
    session_begin(s, now_ms);
}

static void take_dialed(struct sender *s, int64_t now_ms)
{
    struct dialing *d = &s->dialing;
    int rv = nng_aio_result(d->aio);
    d->busy = false;
    if (rv == 0) {
        connect_pipe(s, nng_aio_get_output(d->aio, 0), now_ms);
        return;
    }
    say_why(s, rv);
    back_off(s, now_ms);
}

static void take_closed(struct sender *s, int why, int64_t now_ms)
{
    /* Whatever it brought has been posted by now, and still counts. */
    sender_take_all(s, pl_mailbox_take(&s->box, 0), now_ms);
    session_end(s, why);
    pipe_free(s->pipe);
    s->pipe = NULL;
    back_off(s, now_ms);
}

void dial_drive(struct sender *s, int64_t now_ms)
{
    struct dialing *d = &s->dialing;
    struct uplink *up = s->up;
    pthread_mutex_lock(&up->lock);
    bool dialed = up->dialed, closed = up->closed;
    int why = up->closed_why;
    up->dialed = up->closed = false;
    pthread_mutex_unlock(&up->lock);
    if (closed)
        take_closed(s, why, now_ms);
    if (dialed)
        take_dialed(s, now_ms);
    if (s->session.state == SESSION_LIVE)
        d->back_off_ms = BACK_OFF_MIN_MS;
    if (s->pipe == NULL && !d->busy && now_ms >= d->next_ms) {
        d->busy = true;
        nng_stream_dialer_dial(d->dialer, d->aio);
    }
}

int64_t dial_due_ms(const struct sender *s)
{
    return s->pipe == NULL && !s->dialing.busy ? s->dialing.next_ms : INT64_MAX;
}
