/* The follower thread: the changelog, page by page, to the sink. */
#include "replication/uplink_parts.h"

#include <stdlib.h>

#define WAIT_MS  20000 /* how long the origin may park a poll */
#define GRACE_MS 20000 /* beyond it, for a slow path; silence is noticed by the sender */
/* After the sink failed or the origin would not answer. */
#define BACK_OFF_MIN_MS 500
#define BACK_OFF_MAX_MS 15000

void follower_init(struct follower *f, struct uplink *up)
{
    f->up = up;
    f->back_off_ms = BACK_OFF_MIN_MS;
    pl_mailbox_init(&f->box);
}

void follower_release(struct follower *f)
{
    struct pl_mail *mail = pl_mailbox_take(&f->box, 0);
    while (mail != NULL) {
        struct pl_mail *next = mail->next;
        free(mail);
        mail = next;
    }
    pl_mailbox_release(&f->box);
}

static void ask(struct follower *f, uint64_t session, int64_t now_ms)
{
    struct uplink *up = f->up;
    struct frame_feed poll = {.wait_ms = WAIT_MS};
    up->config.sink.position(up->config.sink.ctx, &poll.epoch, &poll.position);
    f->asked_epoch = poll.epoch;
    f->asked_ms = now_ms;
    f->session = session;
    pthread_mutex_lock(&up->lock);
    up->poll = poll;
    up->poll_wanted = session;
    up->poll_id = 0;
    pthread_mutex_unlock(&up->lock);
    pl_mailbox_wake(&up->sender.box);
}

static enum pl_err take_page(struct follower *f, const struct frame_page *page)
{
    const struct uplink *up = f->up;
    const struct uplink_sink *sink = &up->config.sink;
    if (!page->restart && !pl_id128_eq(&page->epoch, &f->asked_epoch)) {
        pl_log(up->config.log, PL_LOG_ERROR, "uplink",
               "the origin changed its changelog epoch without saying so; asking again");
        return PL_EINVAL;
    }
    enum pl_err err = PL_OK;
    if (page->restart || page->items.len > 0)
        err = sink->apply(sink->ctx, &page->epoch, page->restart, page->position, page->caught_up,
                          page->items);
    if (err == PL_OK)
        sink->heard(sink->ctx, page->wall_ms, page->caught_up);
    else
        pl_log(up->config.log, PL_LOG_ERROR, "uplink",
               "cannot take in what the origin changed: %s; asking again", pl_err_word(err));
    return err;
}

/* An origin that is busy is asked again: until the next session, which may be weeks away, the
 * edge would serve what it has. */
static enum pl_err take_refusal(struct follower *f, const struct frame *frame)
{
    pl_log(f->up->config.log, PL_LOG_WARN, "uplink",
           "the origin does not say what has changed: %.*s; asking again in %d ms",
           PL_SPAN_FMT(frame->sentence), (int)f->back_off_ms);
    return PL_EAGAIN;
}

static void come_back(struct follower *f, enum pl_err err)
{
    if (err == PL_OK) {
        f->back_off_ms = BACK_OFF_MIN_MS;
        return;
    }
    f->retry_ms = uplink_now_ms(f->up) + f->back_off_ms;
    f->back_off_ms = f->back_off_ms < BACK_OFF_MAX_MS / 2 ? f->back_off_ms * 2 : BACK_OFF_MAX_MS;
}

static void take(struct follower *f, const struct pipe_message *m)
{
    struct uplink *up = f->up;
    pthread_mutex_lock(&up->lock);
    bool asked = m->id == up->poll_id;
    pthread_mutex_unlock(&up->lock);
    if (!asked || f->session == 0)
        return;
    struct frame frame;
    struct pl_why why;
    enum pl_err err = frame_parse(pipe_message_body(m), &frame, &why);
    if (err != PL_OK)
        pl_log(up->config.log, PL_LOG_ERROR, "uplink", "%s", why.text);
    else if (frame.type == FRAME_PAGE)
        err = take_page(f, &frame.page);
    else if (frame.type == FRAME_REFUSED)
        err = take_refusal(f, &frame);
    else
        f->shunned = f->session; /* the sender hears of it at its next PING */
    come_back(f, err);
    f->session = 0;
}

static void take_all(struct follower *f, struct pl_mail *mail)
{
    while (mail != NULL) {
        struct pipe_message *m = (struct pipe_message *)mail;
        mail = mail->next;
        atomic_fetch_sub(&f->up->unread, 1);
        take(f, m);
        free(m);
    }
}

/* The PONGs: the sink is called by this thread only. */
static void pass_on_heard(struct follower *f)
{
    struct uplink *up = f->up;
    pthread_mutex_lock(&up->lock);
    bool heard = up->heard, caught_up = up->heard_caught_up;
    int64_t wall_ms = up->heard_wall_ms;
    up->heard = false;
    pthread_mutex_unlock(&up->lock);
    if (heard)
        up->config.sink.heard(up->config.sink.ctx, wall_ms, caught_up);
}

void *follower_run(void *arg)
{
    struct follower *f = arg;
    struct uplink *up = f->up;
    int64_t wait_ms = -1;
    for (;;) {
        take_all(f, pl_mailbox_take(&f->box, wait_ms));
        if (uplink_stopping(up))
            return NULL;
        pass_on_heard(f);

        pthread_mutex_lock(&up->lock);
        uint64_t live = up->live;
        pthread_mutex_unlock(&up->lock);
        int64_t now_ms = uplink_now_ms(up);
        wait_ms = -1;
        if (f->session != live || now_ms - f->asked_ms >= WAIT_MS + GRACE_MS)
            f->session = 0; /* no answer will come */
        if (f->session != 0)
            wait_ms = f->asked_ms + WAIT_MS + GRACE_MS - now_ms;
        else if (live != 0 && live != f->shunned && now_ms >= f->retry_ms)
            ask(f, live, now_ms);
        else if (live != 0 && live != f->shunned)
            wait_ms = f->retry_ms - now_ms;
    }
}
