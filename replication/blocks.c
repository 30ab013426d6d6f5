/* Frames of blocks: to their taker and back with verdicts, within a bound of memory. */
#include "replication/receiver_parts.h"

#include <stdlib.h>

/* With room exhausted and no verdict for this long, waiting for room would keep PING and FEED
 * waiting, too: blocks are sent back instead. */
#define STALL_MS 500

/* Frames read to be sent back at once may take so much. */
#define SHED_BYTES ((size_t)16 * 1024 * 1024)

/* Locked. */
static bool crowded(const struct receiver *r, size_t bytes)
{
    size_t held = r->bytes_out + r->bytes_reserved;
    return r->frames_out >= r->config.contexts ||
           (held > 0 && held + bytes > r->config.max_pending_bytes);
}

bool blocks_room(const struct receiver *r, size_t bytes)
{
    if (r->shedding || r->stopping)
        return r->bytes_reserved == 0 || r->bytes_reserved + bytes <= SHED_BYTES;
    return !crowded(r, bytes);
}

/* Locked. */
static bool is_stalled(const struct receiver *r, int64_t now_ms)
{
    if (r->shedding || r->frames_out == 0 || now_ms - r->progress_ms < STALL_MS)
        return false;
    for (const struct peer *peer = r->waiting; peer != NULL; peer = peer->next_waiting)
        if (crowded(r, peer->wants))
            return true;
    return false;
}

void blocks_watch(struct receiver *r, int64_t now_ms)
{
    pthread_mutex_lock(&r->lock);
    bool stalled = is_stalled(r, now_ms);
    r->shedding = r->shedding || stalled;
    pthread_mutex_unlock(&r->lock);
    if (stalled)
        pl_log(r->config.log, PL_LOG_WARN, "receiver",
               "blocks wait for the disk: sending new ones back until it catches up");
    peer_read_on(r);
}

static void answer(struct call *call, const enum block_verdict *verdicts, size_t count)
{
    struct pl_buf frame;
    pl_buf_init(&frame, LIMIT_FRAME_BYTES);
    call_reply(call, frame_put_acks(&frame, verdicts, count), &frame);
    pl_buf_release(&frame);
}

static void send_back(struct call *call)
{
    size_t count = call->parsed.entries;
    enum block_verdict *verdicts = malloc((count + 1) * sizeof(*verdicts));
    if (verdicts == NULL) {
        call_refuse(call, FRAME_REFUSED_BUSY, "the origin is out of memory");
        return;
    }
    for (size_t i = 0; i < count; i++)
        verdicts[i] = BLOCK_RETRY;
    answer(call, verdicts, count);
    free(verdicts);
}

static bool index_entries(struct call *call)
{
    struct receiver_frame *frame = &call->frame;
    struct pl_span rest = call->parsed.entry_bytes, at = rest;
    struct frame_entry entry;
    frame->bytes = call->request->len;
    frame->entries = malloc(call->parsed.entries * sizeof(*frame->entries));
    if (frame->entries == NULL)
        return false;
    while (frame_entry_next(&rest, &entry)) {
        frame->entries[frame->count++] = pl_span(at.data, at.len - rest.len);
        at = rest;
    }
    return true;
}

/* Counts the frame as out; false when it has to go back. */
static bool admit(struct call *call)
{
    struct receiver *r = call->r;
    struct peer *peer = call->peer;
    pthread_mutex_lock(&r->lock);
    bool good = !r->stopping && !(r->shedding && crowded(r, call->frame.bytes));
    if (good) {
        if (r->frames_out == 0)
            r->progress_ms = receiver_now_ms(r);
        r->frames_out++;
        r->bytes_out += call->frame.bytes;
        peer->session.blocks += call->frame.count;
        peer->session.bytes += call->frame.bytes;
    }
    pthread_mutex_unlock(&r->lock);
    return good;
}

void blocks_take(struct call *call, const struct pl_id128 *edge)
{
    struct receiver *r = call->r;
    const struct receiver_ops *ops = &r->config.ops;
    call->frame.call = call;
    pthread_mutex_lock(&r->lock);
    call->peer->asks--; /* bounded by their bytes instead */
    pthread_mutex_unlock(&r->lock);
    if (call->parsed.entries == 0)
        answer(call, NULL, 0);
    else if (!index_entries(call) || !admit(call))
        send_back(call);
    else
        ops->blocks(ops->ctx, edge, &call->frame);
}

size_t receiver_frame_count(const struct receiver_frame *frame)
{
    return frame->count;
}

bool receiver_frame_entry(const struct receiver_frame *frame, size_t i, struct pl_span *block,
                          struct block_loss *loss)
{
    if (i >= frame->count)
        return false;
    struct pl_span bytes = frame->entries[i];
    struct frame_entry entry;
    if (!frame_entry_next(&bytes, &entry))
        return false;
    *block = entry.block;
    *loss = entry.loss;
    return true;
}

void receiver_frame_done(struct receiver_frame *frame, const enum block_verdict *verdicts)
{
    struct call *call = frame->call;
    struct receiver *r = call->r;
    size_t bytes = frame->bytes;
    pthread_mutex_lock(&r->lock);
    r->finishing++; /* receiver_stop waits for this, and so keeps r until the end below */
    pthread_mutex_unlock(&r->lock);

    answer(call, verdicts, frame->count); /* the frame is gone from here on */

    pthread_mutex_lock(&r->lock);
    r->frames_out--;
    r->bytes_out -= bytes;
    r->progress_ms = receiver_now_ms(r);
    if (r->shedding && r->bytes_out <= r->config.max_pending_bytes / 2 &&
        r->frames_out <= r->config.contexts / 2)
        r->shedding = false;
    pthread_mutex_unlock(&r->lock);
    peer_read_on(r);

    pthread_mutex_lock(&r->lock);
    r->finishing--;
    if (r->stopping && r->frames_out == 0 && r->finishing == 0)
        pthread_cond_broadcast(&r->drained);
    pthread_mutex_unlock(&r->lock);
}
