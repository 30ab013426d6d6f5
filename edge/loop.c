#include "edge/loop.h"
#include "proto/wire/event_mask.h"

#include <stdio.h>
#include <stdlib.h>

#define AGE_SILENCE_S    10                /* heard less long ago than this: no Age is sent */
#define EVENTS_MAX_BYTES (2 * 1024 * 1024) /* canonical events of one request */
/* Of an account, by id, on each loop: people say no now and then, each time it is kept for good. */
#define CHOICES_PER_S   50
#define CHOICES_BURST   1000
#define REPLY_MAX_BYTES (256 * 1024)
/* JSON inside of a body, and an account's public config. */
#define NESTED_MAX_BYTES                                                                           \
    (LIMIT_BATCH_BYTES > LIMIT_CONFIG_PUBLIC_BYTES ? LIMIT_BATCH_BYTES : LIMIT_CONFIG_PUBLIC_BYTES)
#define SECOND_MS 1000

/* ---- snapshots */

static void take_incoming(struct edge_loop *loop)
{
    struct catalog_snapshot *incoming = atomic_exchange(&loop->incoming, NULL);
    if (incoming == NULL)
        return;
    catalog_snapshot_unref(loop->snapshot);
    loop->snapshot = incoming;
}

static void tell_passed(struct edge_loop *loop)
{
    collector_pass(loop->edge->collector, loop->index, catalog_snapshot_serial(loop->snapshot));
}

/* Under publish_lock. A snapshot the loop has not taken yet is replaced, its task still comes. */
static void hand_over(struct edge_loop *loop, struct catalog_snapshot *snapshot)
{
    struct catalog_snapshot *passed_over =
        atomic_exchange(&loop->incoming, catalog_snapshot_ref(snapshot));
    if (passed_over != NULL)
        catalog_snapshot_unref(passed_over);
    else
        http_loop_post(loop->http, &loop->incoming_task);
}

void edge_publish(struct edge *edge, struct catalog_snapshot *snapshot)
{
    pthread_mutex_lock(&edge->publish_lock);
    catalog_snapshot_unref(edge->snapshot);
    edge->snapshot = catalog_snapshot_ref(snapshot);
    for (unsigned i = 0; i < edge->loop_count; i++)
        if (edge->loops[i].http != NULL)
            hand_over(&edge->loops[i], snapshot);
    pthread_mutex_unlock(&edge->publish_lock);
}

/* ---- the passing of time */

static void look_at_age(struct edge_loop *loop)
{
    struct catalog_status status;
    catalog_status(loop->edge->catalog, &status);
    int64_t age_s = (http_loop_wall_ms(loop->http) - status.confirmed_ms) / SECOND_MS;
    if (age_s < 0)
        age_s = 0;
    loop->age_s = age_s > AGE_SILENCE_S ? age_s : 0;
    loop->collecting = status.confirmed_ms != 0 &&
                       age_s <= loop->edge->options->catalog_max_age_days * PL_DAY_MS / SECOND_MS;
}

static void on_incoming(struct http_task *task)
{
    struct edge_loop *loop =
        (struct edge_loop *)((char *)task - offsetof(struct edge_loop, incoming_task));
    if (loop->http == NULL)
        return; /* it was posted before the loop stopped, which has let go of everything */
    take_incoming(loop);
    tell_passed(loop);
    look_at_age(loop); /* news is fresh: an edge that waited for its first takes events now */
}

static void every_second(struct http_loop *http, void *arg)
{
    struct edge_loop *loop = arg;
    (void)http;
    look_at_age(loop);
    if (--loop->tally_due_s > 0)
        return;
    loop->tally_due_s = loop->edge->options->tally_interval_s;
    tally_submit(loop);
}

/* ---- start and stop, on the loop's thread */

void edge_loop_start(struct http_loop *http, unsigned index, void *arg)
{
    struct edge *edge = arg;
    struct edge_loop *loop = &edge->loops[index];
    char name[16];
    snprintf(name, sizeof(name), "http-%u", index);
    pthread_setname_np(pthread_self(), name);
    http_loop_set_user(http, loop);
    loop->incoming_task.run = on_incoming;
    pthread_mutex_lock(&edge->publish_lock);
    loop->http = http;
    if (edge->snapshot != NULL)
        loop->snapshot = catalog_snapshot_ref(edge->snapshot);
    pthread_mutex_unlock(&edge->publish_lock);
    collector_lane_open(edge->collector, index, http);
    tell_passed(loop);
    look_at_age(loop);
    if (http_loop_every(http, SECOND_MS, every_second, loop) != PL_OK)
        pl_log(&edge->log, PL_LOG_ERROR, "edge", "no memory for the timer of loop %u", index);
}

/* Twice where the last tally was still under way when the loop stopped. */
static void close_lane(struct edge_loop *loop)
{
    for (int i = 0; i < 2; i++) {
        tally_submit(loop);
        collector_lane_close(loop->edge->collector, loop->index);
    }
    const unsigned lost = loop->tally.rows + loop->tally.pending_count;
    if (lost > 0)
        pl_log(&loop->edge->log, PL_LOG_WARN, "edge",
               "%u counts of refused requests could not be stored and are lost", lost);
}

void edge_loop_stop(struct http_loop *http, void *arg)
{
    struct edge *edge = arg;
    struct edge_loop *loop = http_loop_user(http);
    close_lane(loop);
    pthread_mutex_lock(&edge->publish_lock);
    loop->http = NULL;
    pthread_mutex_unlock(&edge->publish_lock);
    take_incoming(loop);
    catalog_snapshot_unref(loop->snapshot);
    loop->snapshot = NULL;
}

/* ---- tickets */

struct loop_ticket *edge_ticket_get(struct edge_loop *loop)
{
    struct loop_ticket *ticket = loop->free_tickets;
    if (ticket == NULL)
        return calloc(1, sizeof(*ticket));
    loop->free_tickets = ticket->next_free;
    *ticket = (struct loop_ticket){0};
    return ticket;
}

void edge_ticket_put(struct edge_loop *loop, struct loop_ticket *ticket)
{
    free(ticket->set_cookie);
    free(ticket->refused);
    free(ticket->body);
    ticket->set_cookie = ticket->refused = NULL;
    ticket->body = NULL;
    ticket->next_free = loop->free_tickets;
    loop->free_tickets = ticket;
}

/* ---- making them */

static enum pl_err init_loop(struct edge *edge, unsigned index)
{
    struct edge_loop *loop = &edge->loops[index];
    const struct edge_options *o = edge->options;
    const int64_t share = edge->loop_count;
    loop->edge = edge;
    loop->index = index;
    loop->tally_due_s = o->tally_interval_s;
    atomic_init(&loop->incoming, NULL);
    tally_init(&loop->tally);
    pl_buf_init(&loop->scratch, DIALECT_SCRATCH_BYTES);
    pl_buf_init(&loop->masked, EVENT_MASK_SCRATCH_BYTES);
    pl_buf_init(&loop->events, EVENTS_MAX_BYTES);
    pl_buf_init(&loop->reply, REPLY_MAX_BYTES);
    pl_buf_init(&loop->cookie, LIMIT_HEADERS_BYTES);
    rate_init(&loop->rates,
              o->rate_events_per_s == 0 ? 0 : (o->rate_events_per_s + share - 1) / share,
              (o->rate_burst_events + share - 1) / share);
    rate_init(&loop->choices, CHOICES_PER_S, CHOICES_BURST);
    enum pl_err err = pl_buf_reserve(&loop->scratch, DIALECT_SCRATCH_BYTES);
    if (err == PL_OK)
        err = pl_buf_reserve(&loop->masked, EVENT_MASK_SCRATCH_BYTES);
    if (err == PL_OK)
        err = json_parser_new(&loop->json, LIMIT_BATCH_BYTES, LIMIT_JSON_DEPTH);
    if (err == PL_OK)
        err = json_parser_new(&loop->json_nested, NESTED_MAX_BYTES, LIMIT_JSON_DEPTH);
    if (err == PL_OK)
        err = json_writer_new(&loop->writer, false);
    return err;
}

enum pl_err edge_loops_new(struct edge *edge, struct pl_why *why)
{
    const size_t size = edge->loop_count * sizeof(*edge->loops);
    edge->loops = aligned_alloc(_Alignof(struct edge_loop), size);
    if (edge->loops == NULL)
        return pl_fail(why, PL_ENOMEM, "no memory for %u loops", edge->loop_count);
    memset(edge->loops, 0, size);
    for (unsigned i = 0; i < edge->loop_count; i++) {
        enum pl_err err = init_loop(edge, i);
        if (err != PL_OK)
            return pl_fail(why, err, "no memory for %u loops", edge->loop_count);
    }
    return PL_OK;
}

void edge_loops_free(struct edge *edge)
{
    for (unsigned i = 0; edge->loops != NULL && i < edge->loop_count; i++) {
        struct edge_loop *loop = &edge->loops[i];
        json_parser_free(loop->json);
        json_parser_free(loop->json_nested);
        json_writer_free(loop->writer);
        tally_release(&loop->tally);
        pl_buf_release(&loop->scratch);
        pl_buf_release(&loop->masked);
        pl_buf_release(&loop->events);
        pl_buf_release(&loop->reply);
        pl_buf_release(&loop->cookie);
        while (loop->free_tickets != NULL) {
            struct loop_ticket *next = loop->free_tickets->next_free;
            free(loop->free_tickets);
            loop->free_tickets = next;
        }
    }
    free(edge->loops);
    edge->loops = NULL;
}
