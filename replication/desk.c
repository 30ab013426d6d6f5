/* The receiver's own thread: what may block, what is parked, and what is told in order. */
#include "replication/receiver_parts.h"

#include <stdlib.h>

#define TICK_MS     250
#define SWEEP_MS    1000
#define UNPROVED_MS 10000 /* a pipe that does not say whose it is, nor asks again */
#define SILENT_MS   10000 /* without a byte: an edge PINGs each second */
#define OUTLIVED_MS 3000  /* silence after which a new session of the same edge replaces it */

void desk_init(struct desk *desk)
{
    pl_mailbox_init(&desk->box);
    atomic_init(&desk->feed_changed, false);
    pl_buf_init(&desk->look.items, FRAME_ITEMS_BYTES);
    pl_buf_init(&desk->frame, LIMIT_FRAME_BYTES);
}

void desk_release(struct desk *desk)
{
    pl_buf_release(&desk->look.items);
    pl_buf_release(&desk->frame);
    pl_mailbox_release(&desk->box);
}

void desk_post(struct call *call, enum desk_kind kind)
{
    call->job.kind = kind;
    pl_mailbox_post(&call->r->desk.box, &call->job.mail); /* open until no peer is left */
}

/* Still bound, and to which edge. */
static bool is_bound(struct call *call, struct pl_id128 *edge)
{
    struct receiver *r = call->r;
    pthread_mutex_lock(&r->lock);
    bool bound = call->peer->bound;
    if (bound)
        *edge = call->peer->session.edge;
    pthread_mutex_unlock(&r->lock);
    return bound;
}

/* ---- sessions */

static void announce_end(struct receiver *r, struct peer *peer)
{
    const struct receiver_ops *ops = &r->config.ops;
    if (peer->announced && ops->session != NULL)
        ops->session(ops->ctx, &peer->announced_edge, peer->announced_region, false,
                     pl_wall_ms(r->config.clock));
    peer->announced = false;
}

static void announce(struct receiver *r, struct peer *peer, const struct frame_prove *prove)
{
    const struct receiver_ops *ops = &r->config.ops;
    announce_end(r, peer);
    peer->announced = true;
    peer->announced_edge = prove->edge;
    memset(peer->announced_region, 0, sizeof(peer->announced_region));
    memcpy(peer->announced_region, prove->region.data, prove->region.len);
    if (ops->session != NULL)
        ops->session(ops->ctx, &prove->edge, peer->announced_region, true, prove->wall_ms);
}

static bool is_unproved(const struct peer *peer, const void *arg)
{
    int64_t now_ms = *(const int64_t *)arg;
    int64_t asked_ms = peer->nonce_ms > peer->opened_ms ? peer->nonce_ms : peer->opened_ms;
    return !peer->bound && now_ms - asked_ms >= UNPROVED_MS;
}

/* Waiting for room is our silence, not the peer's. */
static bool is_silent(const struct peer *peer, const void *arg)
{
    return !peer->waiting && *(const int64_t *)arg - peer->received_ms >= SILENT_MS;
}

struct successor {
    const struct peer *peer;
    struct pl_id128 edge;
    int64_t now_ms;
};

static bool is_outlived(const struct peer *peer, const void *arg)
{
    const struct successor *by = arg;
    return peer->bound && peer != by->peer && pl_id128_eq(&peer->session.edge, &by->edge) &&
           by->now_ms - peer->heard_ms >= OUTLIVED_MS;
}

static void sweep(struct receiver *r, int64_t now_ms)
{
    if (now_ms - r->desk.swept_ms < SWEEP_MS)
        return;
    r->desk.swept_ms = now_ms;
    pthread_mutex_lock(&r->lock);
    for (struct peer *peer = r->peers; peer != NULL; peer = peer->next) {
        uint64_t received = pipe_received(peer->pipe);
        if (received != peer->received || peer->waiting)
            peer->received_ms = now_ms;
        peer->received = received;
    }
    pthread_mutex_unlock(&r->lock);
    peer_close_if(r, is_unproved, &now_ms);
    peer_close_if(r, is_silent, &now_ms);
}

/* ---- books */

/* What the ledger says about the chains named; none when it cannot say. */
static size_t look_up_books(struct receiver *r, const struct pl_id128 *edge,
                            const struct frame_list *list,
                            struct chain_record records[FRAME_CHAINS_MAX])
{
    struct chain_claim claims[FRAME_CHAINS_MAX];
    size_t count = list->count;
    for (size_t i = 0; i < count; i++)
        claims[i] = frame_claim(list, i);
    if (count == 0)
        return 0;
    enum pl_err err = r->config.ops.books(r->config.ops.ctx, edge, claims, count, records);
    if (err == PL_OK)
        return count;
    pl_log(r->config.log, PL_LOG_ERROR, "receiver", "cannot look up the books of an edge: %s",
           pl_err_word(err));
    return 0;
}

static void welcome(struct receiver *r, struct call *call)
{
    struct chain_record records[FRAME_CHAINS_MAX];
    struct pl_id128 edge;
    if (!is_bound(call, &edge)) {
        call_drop(call);
        return;
    }
    struct successor by = {.peer = call->peer, .edge = edge, .now_ms = receiver_now_ms(r)};
    peer_close_if(r, is_outlived, &by);
    announce(r, call->peer, &call->parsed.prove);
    size_t count = look_up_books(r, &edge, &call->parsed.list, records);
    pl_buf_reset(&r->desk.frame);
    enum pl_err err =
        frame_put_welcome(&r->desk.frame, pl_wall_ms(r->config.clock), records, count);
    call_reply(call, err, &r->desk.frame);
}

static void pong(struct receiver *r, struct call *call)
{
    struct chain_record records[FRAME_CHAINS_MAX];
    struct pl_id128 edge;
    if (!is_bound(call, &edge)) {
        call_drop(call);
        return;
    }
    if (r->config.ops.settled != NULL)
        r->config.ops.settled(r->config.ops.ctx, &edge, &call->parsed.settled);
    size_t count = look_up_books(r, &edge, &call->parsed.list, records);
    pthread_mutex_lock(&r->lock);
    call->peer->books_asked = false;
    pthread_mutex_unlock(&r->lock);
    /* A parked poll: there was nothing newer than what the edge has. */
    bool caught_up = call->peer->parked != NULL && !atomic_load(&r->desk.feed_changed);
    pl_buf_reset(&r->desk.frame);
    enum pl_err err =
        frame_put_pong(&r->desk.frame, pl_wall_ms(r->config.clock), caught_up, records, count);
    call_reply(call, err, &r->desk.frame);
}

/* ---- the feed */

static void look(struct receiver *r, struct pl_id128 followed, uint64_t from)
{
    struct desk_look *l = &r->desk.look;
    if (l->valid && l->from == from && pl_id128_eq(&l->followed, &followed))
        return;
    pl_buf_reset(&l->items);
    l->from = l->position = from;
    l->followed = l->epoch = followed;
    l->caught_up = true;
    l->err = r->config.ops.feed(r->config.ops.ctx, &l->epoch, &l->position, FRAME_ITEMS_BYTES,
                                &l->items, &l->caught_up);
    bool failed = l->err != PL_OK && l->err != PL_ENOTFOUND;
    if (failed && !r->desk.feed_failed)
        pl_log(r->config.log, PL_LOG_ERROR, "receiver", "cannot read the changelog: %s",
               pl_err_word(l->err));
    r->desk.feed_failed = failed;
    l->valid = !failed;
}

/* Answers the poll if there is anything to tell, or if it must be answered anyway. */
static bool answer_poll(struct receiver *r, struct call *call, bool anyway)
{
    const struct frame_feed *feed = &call->parsed.feed;
    const struct desk_look *l = &r->desk.look;
    look(r, feed->epoch, feed->position);
    bool restart = l->valid && !pl_id128_eq(&l->epoch, &feed->epoch);
    if (restart && feed->position != 0)
        look(r, l->epoch, 0);
    bool found = l->err == PL_OK;
    if (!found && !anyway && !(restart && l->err == PL_ENOTFOUND))
        return false;
    struct frame_page page = {.epoch = feed->epoch,
                              .position = feed->position,
                              .wall_ms = pl_wall_ms(r->config.clock),
                              .caught_up = l->err == PL_ENOTFOUND};
    if (l->valid && restart) {
        page.epoch = l->epoch;
        page.restart = true;
        page.position = 0;
    }
    if (found) {
        page.position = l->position;
        page.caught_up = l->caught_up;
        page.items = pl_buf_span(&l->items);
    }
    pl_buf_reset(&r->desk.frame);
    enum pl_err err = frame_put_page(&r->desk.frame, &page);
    if (err != PL_OK)
        r->desk.look.valid = false; /* the next one is built from another look */
    call_reply(call, err, &r->desk.frame);
    return true;
}

static void unpark(struct receiver *r, struct peer *peer)
{
    struct call **at = &r->desk.parked;
    while (*at != peer->parked)
        at = &(*at)->next;
    *at = peer->parked->next;
    peer->parked = NULL;
}

static void poll_feed(struct receiver *r, struct call *call)
{
    struct pl_id128 edge;
    struct peer *peer = call->peer;
    if (!is_bound(call, &edge)) {
        call_drop(call);
        return;
    }
    if (peer->parked != NULL) { /* asked anew: nobody waits for the earlier answer */
        struct call *earlier = peer->parked;
        unpark(r, peer);
        call_drop(earlier);
    }
    if (answer_poll(r, call, call->parsed.feed.wait_ms == 0))
        return;
    call->deadline_ms = receiver_now_ms(r) + call->parsed.feed.wait_ms;
    call->next = r->desk.parked;
    r->desk.parked = call;
    peer->parked = call;
}

/* Every parked poll that has something to hear now, or whose time is up. */
static void serve_parked(struct receiver *r, bool all, int64_t now_ms)
{
    struct call **at = &r->desk.parked;
    while (*at != NULL) {
        struct call *call = *at, *next = call->next;
        struct peer *peer = call->peer; /* which outlives the call: the desk buries it */
        bool late = call->deadline_ms <= now_ms;
        if ((!all && !late) || !answer_poll(r, call, late)) {
            at = &call->next;
            continue;
        }
        *at = next;
        peer->parked = NULL;
    }
}

/* ---- the loop */

static void see_off(struct receiver *r, struct peer *peer)
{
    if (peer->parked != NULL) {
        struct call *call = peer->parked;
        unpark(r, peer);
        call_drop(call);
    }
    announce_end(r, peer);
    peer_drop(peer); /* the open pipe's share */
}

static void bury(struct receiver *r, struct peer *peer)
{
    pipe_free(peer->pipe);
    pthread_mutex_lock(&r->lock);
    *peer->at = peer->next;
    if (peer->next != NULL)
        peer->next->at = peer->at;
    r->peer_count--;
    pthread_cond_broadcast(&r->drained);
    pthread_mutex_unlock(&r->lock);
    free(peer);
}

static void do_job(struct receiver *r, struct desk_job *job)
{
    switch (job->kind) {
    case DESK_PROVE:
        welcome(r, (struct call *)job);
        break;
    case DESK_PING:
        pong(r, (struct call *)job);
        break;
    case DESK_FEED:
        poll_feed(r, (struct call *)job);
        break;
    case DESK_GONE:
        see_off(r, (struct peer *)job);
        break;
    case DESK_BURY:
        bury(r, (struct peer *)job);
        break;
    }
}

void *desk_run(void *arg)
{
    struct receiver *r = arg;
    struct desk *desk = &r->desk;
    for (;;) {
        bool closed = pl_mailbox_closed(&desk->box); /* then what comes now is the last */
        struct pl_mail *mail = pl_mailbox_take(&desk->box, TICK_MS);
        bool changed = atomic_exchange(&desk->feed_changed, false);
        if (changed)
            desk->look.valid = false;
        while (mail != NULL) {
            struct desk_job *job = (struct desk_job *)mail;
            mail = mail->next; /* the job may be gone, or posted anew, after it is done */
            do_job(r, job);
        }
        int64_t now_ms = receiver_now_ms(r);
        serve_parked(r, changed, now_ms);
        blocks_watch(r, now_ms);
        sweep(r, now_ms);
        receiver_accept(r);
        if (closed)
            return NULL;
    }
}
