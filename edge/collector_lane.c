#include "edge/collector_lane.h"

#include "proto/wire/limits.h"

#include <stdlib.h>

#define KEEP_BYTES (1024 * 1024) /* what a fill may keep of a burst's memory */
#define SAID_MAX   4096          /* opt-outs that one commit takes from one loop */

/* ---- tickets */

static void ticket_list_init(struct ticket_list *list)
{
    list->head = NULL;
    list->tail = &list->head;
    list->count = 0;
}

void ticket_list_add(struct ticket_list *list, struct collector_ticket *ticket)
{
    ticket->next = NULL;
    *list->tail = ticket;
    list->tail = &ticket->next;
    list->count++;
}

/* Moves everything of `from` to the end of `to`. */
static void ticket_list_join(struct ticket_list *to, struct ticket_list *from)
{
    if (from->head == NULL)
        return;
    *to->tail = from->head;
    to->tail = from->tail;
    to->count += from->count;
    ticket_list_init(from);
}

/* ---- fills */

void lane_fill_init(struct lane_fill *fill, size_t max_bytes)
{
    *fill = (struct lane_fill){0};
    pl_buf_init(&fill->bytes, max_bytes);
    pl_buf_init(&fill->said, SAID_MAX * sizeof(struct suppression));
    ticket_list_init(&fill->tickets);
}

void lane_fill_release(struct lane_fill *fill)
{
    pl_buf_release(&fill->bytes);
    pl_buf_release(&fill->said);
    free(fill->ends);
    fill->ends = NULL;
    fill->count = fill->cap = 0;
}

void lane_fill_reset(struct lane_fill *fill)
{
    const size_t max_bytes = fill->bytes.max_bytes;
    if (fill->bytes.cap > KEEP_BYTES && fill->bytes.len < KEEP_BYTES / 4) {
        lane_fill_release(fill);
        lane_fill_init(fill, max_bytes);
        return;
    }
    pl_buf_reset(&fill->bytes);
    pl_buf_reset(&fill->said);
    fill->count = 0;
    ticket_list_init(&fill->tickets);
}

static bool room_for_ends(struct lane_fill *fill, size_t more)
{
    if (fill->count + more <= fill->cap)
        return true;
    size_t cap = fill->cap == 0 ? 256 : fill->cap;
    while (cap < fill->count + more)
        cap *= 2;
    uint32_t *ends = realloc(fill->ends, cap * sizeof(*ends));
    if (ends == NULL)
        return false;
    fill->ends = ends;
    fill->cap = cap;
    return true;
}

enum pl_err lane_fill_add(struct lane_fill *fill, const struct collector_events *events)
{
    /* Bytes bound the count as well: an event has at least one. */
    const uint32_t base = (uint32_t)fill->bytes.len;
    if (fill->bytes.max_bytes - base < events->bytes.len || !room_for_ends(fill, events->count) ||
        pl_buf_append_span(&fill->bytes, events->bytes) != PL_OK)
        return PL_EAGAIN;
    if (events->said_count > 0 &&
        pl_buf_append(&fill->said, events->said, events->said_count * sizeof(*events->said)) !=
            PL_OK) {
        fill->bytes.len = base;
        return PL_EAGAIN;
    }
    for (unsigned i = 0; i < events->count; i++)
        fill->ends[fill->count + i] = base + events->ends[i];
    fill->count += events->count;
    return PL_OK;
}

/* ---- lanes */

void lane_init(struct lane *lane, size_t max_bytes,
               void (*on_done)(struct http_loop *loop, struct collector_ticket *tickets))
{
    *lane = (struct lane){.on_done = on_done};
    pthread_mutex_init(&lane->lock, NULL);
    pthread_cond_init(&lane->idle, NULL);
    lane_fill_init(&lane->active, max_bytes);
    ticket_list_init(&lane->done);
}

void lane_release(struct lane *lane)
{
    lane_fill_release(&lane->active);
    pthread_cond_destroy(&lane->idle);
    pthread_mutex_destroy(&lane->lock);
}

bool lane_take(struct lane *lane, struct lane_fill *fill, uint64_t *passed)
{
    pthread_mutex_lock(&lane->lock);
    *passed = lane->passed;
    const bool any = lane->active.count > 0;
    if (any) {
        struct lane_fill taken = lane->active;
        lane->active = *fill;
        *fill = taken;
        lane->taken = true;
        /* An empty list's tail points into the struct that was copied. */
        ticket_list_init(&lane->active.tickets);
    }
    pthread_mutex_unlock(&lane->lock);
    return any;
}

static void deliver(struct lane *lane)
{
    struct ticket_list done;
    ticket_list_init(&done);
    pthread_mutex_lock(&lane->lock);
    ticket_list_join(&done, &lane->done);
    lane->posted = false;
    struct http_loop *loop = lane->loop;
    pthread_mutex_unlock(&lane->lock);
    if (done.head != NULL)
        lane->on_done(loop, done.head);
}

static void on_task(struct http_task *task)
{
    deliver((struct lane *)((char *)task - offsetof(struct lane, task)));
}

void lane_return(struct lane *lane, struct lane_fill *fill, enum pl_err err)
{
    for (struct collector_ticket *t = fill->tickets.head; t != NULL; t = t->next)
        t->err = err;
    pthread_mutex_lock(&lane->lock);
    ticket_list_join(&lane->done, &fill->tickets);
    if (!lane->posted && !lane->closing) {
        lane->posted = true;
        lane->task.run = on_task;
        http_loop_post(lane->loop, &lane->task);
    }
    lane->taken = false;
    pthread_cond_signal(&lane->idle);
    pthread_mutex_unlock(&lane->lock);
}

void lane_close(struct lane *lane)
{
    pthread_mutex_lock(&lane->lock);
    lane->closing = true;
    while (lane->taken || lane->active.count > 0)
        pthread_cond_wait(&lane->idle, &lane->lock);
    pthread_mutex_unlock(&lane->lock);
    deliver(lane);
}
