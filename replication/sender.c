/* The sender thread: blocks out, verdicts in. */
#include "replication/uplink_parts.h"

#include <stdlib.h>

#define FRAME_MIN_BYTES (64 * 1024)
#define FRAME_MAX_BYTES LIMIT_BLOCK_BYTES
#define SLOW_MS         1000
#define FAST_MS         300

enum pl_err sender_init(struct sender *s, struct uplink *up, struct pl_why *why)
{
    s->up = up;
    s->frame_bytes = FRAME_MAX_BYTES;
    s->session.patience_ms = PATIENCE_MIN_MS;
    session_reason(s, PL_SPAN_LIT("connecting for the first time"));
    up->status = s->status;
    pl_mailbox_init(&s->box);
    atomic_init(&s->woken, true);
    pl_buf_init(&s->frame, LIMIT_FRAME_BYTES);
    backlog_init(&s->backlog, &up->config.source, up->config.log);
    return dial_init(s, why);
}

static void free_mail(struct pl_mail *mail)
{
    while (mail != NULL) {
        struct pl_mail *next = mail->next;
        free(mail);
        mail = next;
    }
}

void sender_release(struct sender *s)
{
    dial_release(s);
    free_mail(pl_mailbox_take(&s->box, 0));
    for (size_t i = 0; i < SENDER_SLOTS; i++)
        free(s->slots[i].entries);
    backlog_release(&s->backlog);
    pl_buf_release(&s->frame);
    pl_mailbox_release(&s->box);
}

bool sender_busy(const struct sender *s)
{
    bool busy = s->session.greeting_id != 0 || s->backlog.out_count > 0;
    for (size_t i = 0; i < SENDER_PINGS; i++)
        busy = busy || s->session.ping_id[i] != 0;
    return busy;
}

/* ---- out */

uint32_t sender_request(struct sender *s, unsigned owner, bool urgent)
{
    uint32_t id = 0x80000000u | (++s->sequence & 0x7fffff) << 8 | owner;
    struct pipe_message *m = pipe_message_new(id, pl_buf_span(&s->frame));
    if (m == NULL)
        return 0;
    pipe_send(s->pipe, m, urgent);
    return id;
}

static struct slot *idle_slot(struct sender *s)
{
    for (size_t i = 0; i < SENDER_SLOTS; i++)
        if (s->slots[i].id == 0)
            return &s->slots[i];
    return NULL;
}

static bool room_for_entry(struct slot *slot)
{
    if (slot->count < slot->cap)
        return true;
    size_t cap = slot->cap == 0 ? 32 : slot->cap * 2;
    if (cap > FRAME_ENTRIES_MAX)
        cap = FRAME_ENTRIES_MAX;
    if (slot->count == cap)
        return false;
    struct backlog_entry *grown = realloc(slot->entries, cap * sizeof(*grown));
    if (grown == NULL)
        return false;
    slot->entries = grown;
    slot->cap = cap;
    return true;
}

/* Whether what is on offer still fits into the window. One that waits after a RETRY has kept its
 * share. */
static bool window_open(const struct sender *s)
{
    const struct backlog *b = &s->backlog;
    return b->offer_is_again || b->out_bytes + b->offer.bytes <= s->up->window_bytes;
}

/* As many blocks as there are, up to the size that suits the path. */
static void fill_frame(struct sender *s, struct slot *slot, int64_t now_ms)
{
    struct backlog *b = &s->backlog;
    slot->count = 0;
    pl_buf_reset(&s->frame);
    if (frame_put_blocks(&s->frame) != PL_OK)
        return;
    while (backlog_offer(b, now_ms) && window_open(s) && room_for_entry(slot)) {
        if (slot->count > 0 && s->frame.len + b->offer.bytes > s->frame_bytes)
            break;
        if (backlog_take(b, &s->frame, &slot->entries[slot->count]) != PL_OK)
            break;
        slot->count++;
    }
}

static void lose_slot(struct sender *s, struct slot *slot)
{
    for (size_t i = 0; i < slot->count; i++)
        backlog_lose(&s->backlog, &slot->entries[i]);
    slot->count = 0;
    slot->id = 0;
}

void sender_lose(struct sender *s)
{
    for (size_t i = 0; i < SENDER_SLOTS; i++)
        lose_slot(s, &s->slots[i]);
}

static void send_blocks(struct sender *s, int64_t now_ms)
{
    struct slot *slot;
    while (s->session.state == SESSION_LIVE && (slot = idle_slot(s)) != NULL &&
           pipe_queued(s->pipe) < SENDER_QUEUED) {
        fill_frame(s, slot, now_ms);
        if (slot->count == 0)
            return;
        slot->id = sender_request(s, (unsigned)(slot - s->slots), false);
        if (slot->id == 0) {
            lose_slot(s, slot);
            return;
        }
        s->status.blocks_sent += slot->count;
        s->status.bytes_sent += s->frame.len;
        session_waits(s, now_ms);
    }
}

/* The follower's poll, which it cannot send itself: the pipe is this thread's. */
static void send_poll(struct sender *s)
{
    struct uplink *up = s->up;
    pthread_mutex_lock(&up->lock);
    bool wanted = up->poll_wanted != 0 && up->poll_wanted == up->live;
    struct frame_feed poll = up->poll;
    pthread_mutex_unlock(&up->lock);
    if (!wanted || s->session.state != SESSION_LIVE)
        return;
    pl_buf_reset(&s->frame);
    if (frame_put_feed(&s->frame, &poll) != PL_OK)
        return;
    /* The answer may come before pipe_send returns: the follower must know the id by then. */
    pthread_mutex_lock(&up->lock);
    up->poll_wanted = 0;
    up->poll_id = sender_request(s, OWNER_FEED, true);
    pthread_mutex_unlock(&up->lock);
}

/* ---- in */

/* How long the path takes for a frame decides how large the next ones are, and how much silence
 * is still normal. */
static void learn_pace(struct sender *s, int64_t gap_ms)
{
    struct session *e = &s->session;
    if (gap_ms > SLOW_MS)
        s->frame_bytes /= 2;
    else if (gap_ms < FAST_MS)
        s->frame_bytes *= 2;
    if (s->frame_bytes < FRAME_MIN_BYTES)
        s->frame_bytes = FRAME_MIN_BYTES;
    if (s->frame_bytes > FRAME_MAX_BYTES)
        s->frame_bytes = FRAME_MAX_BYTES;
    e->progressed = true;
    e->patience_ms = gap_ms * 3;
    if (e->patience_ms < PATIENCE_MIN_MS)
        e->patience_ms = PATIENCE_MIN_MS;
    if (e->patience_ms > PATIENCE_MAX_MS)
        e->patience_ms = PATIENCE_MAX_MS;
}

static void take_acks(struct sender *s, struct slot *slot, const struct frame *f, int64_t now_ms)
{
    int64_t waiting_ms = s->session.waiting_ms;
    for (size_t i = 0; i < slot->count; i++)
        backlog_settle(&s->backlog, &slot->entries[i], frame_verdict(&f->list, i), now_ms);
    slot->count = 0;
    slot->id = 0;
    session_heard(s, now_ms);
    learn_pace(s, waiting_ms == 0 ? 0 : now_ms - waiting_ms);
}

static void take_answer(struct sender *s, struct slot *slot, struct pl_span body, int64_t now_ms)
{
    struct frame f;
    struct pl_why why;
    if (frame_parse(body, &f, &why) != PL_OK)
        session_break(s, why.text);
    else if (f.type == FRAME_ACKS && f.list.count == slot->count)
        take_acks(s, slot, &f, now_ms);
    else if (f.type == FRAME_HELLO_FIRST)
        session_forgotten(s, now_ms);
    else
        session_break(s, "the origin gave an answer that does not belong to blocks");
}

void sender_take_all(struct sender *s, struct pl_mail *mail, int64_t now_ms)
{
    while (mail != NULL) {
        struct pipe_message *m = (struct pipe_message *)mail;
        mail = mail->next;
        atomic_fetch_sub(&s->up->unread, 1);
        unsigned owner = m->id & 0xff;
        if (owner >= SENDER_SLOTS)
            session_take(s, m->id, pipe_message_body(m), now_ms);
        else if (s->slots[owner].id == m->id) /* else of a session that is over */
            take_answer(s, &s->slots[owner], pipe_message_body(m), now_ms);
        free(m);
    }
}

/* ---- the loop */

static void publish_status(struct sender *s)
{
    const struct backlog *b = &s->backlog;
    struct uplink *up = s->up;
    s->status.blocks_acked = b->acked;
    s->status.repeats = b->repeats;
    s->status.forks = b->forks;
    s->status.refused = b->refused;
    s->status.losses = b->losses;
    s->status.in_flight_bytes = b->out_bytes;
    pthread_mutex_lock(&up->lock);
    /* Under the lock: uplink_stop wakes first, then forgets what was settled before. */
    bool settled =
        s->session.state == SESSION_LIVE && !atomic_load(&s->woken) && backlog_settled(b);
    up->status = s->status;
    if (settled != up->settled) {
        up->settled = settled;
        pthread_cond_broadcast(&up->settled_changed);
    }
    pthread_mutex_unlock(&up->lock);
}

static int64_t timeout_ms(const struct sender *s, int64_t now_ms)
{
    int64_t due_ms = session_due_ms(s);
    if (dial_due_ms(s) < due_ms)
        due_ms = dial_due_ms(s);
    int64_t blocks_ms = backlog_due_ms(&s->backlog);
    /* One that is past waits for a slot or a session: for mail, that is. */
    if (blocks_ms > now_ms && blocks_ms < due_ms)
        due_ms = blocks_ms;
    if (due_ms == INT64_MAX)
        return -1;
    return due_ms > now_ms ? due_ms - now_ms : 0;
}

void *sender_run(void *arg)
{
    struct sender *s = arg;
    int64_t wait_ms = 0;
    for (;;) {
        struct pl_mail *mail = pl_mailbox_take(&s->box, wait_ms);
        int64_t now_ms = uplink_now_ms(s->up);
        sender_take_all(s, mail, now_ms);
        if (uplink_stopping(s->up))
            return NULL;
        dial_drive(s, now_ms);
        session_drive(s, now_ms);
        if (atomic_exchange(&s->woken, false))
            backlog_wake(&s->backlog);
        send_poll(s);
        send_blocks(s, now_ms);
        publish_status(s);
        /* Its wake may have been taken by dial_drive. */
        wait_ms = uplink_stopping(s->up) ? 0 : timeout_ms(s, now_ms);
    }
}
