/*
 * collector_lane: what one loop has handed in and not got back yet. The collector's own.
 */
#ifndef POLDER_EDGE_COLLECTOR_LANE_H
#define POLDER_EDGE_COLLECTOR_LANE_H

#include "edge/collector.h"

#include <pthread.h>

struct ticket_list {
    struct collector_ticket *head, **tail;
    size_t count;
};

void ticket_list_add(struct ticket_list *list, struct collector_ticket *ticket);

/* Events of many requests, back to back. */
struct lane_fill {
    struct pl_buf bytes;
    uint32_t *ends;
    size_t count, cap;
    struct pl_buf said; /* of struct suppression */
    struct ticket_list tickets;
};

void lane_fill_init(struct lane_fill *fill, size_t max_bytes);
void lane_fill_release(struct lane_fill *fill);
/* Empty again; memory that a burst needed is given back once it is over. */
void lane_fill_reset(struct lane_fill *fill);
/* PL_EAGAIN when it does not fit; nothing has changed then. */
enum pl_err lane_fill_add(struct lane_fill *fill, const struct collector_events *events);

struct lane {
    pthread_mutex_t lock; /* held for a copy of one request's events, or to swap the fill */
    pthread_cond_t idle;  /* the committer holds nothing of this lane any more */
    struct lane_fill active;
    struct ticket_list done;
    bool posted;     /* task is on its way to the loop */
    bool taken;      /* the committer holds a fill */
    bool closing;    /* lane_close delivers: the loop runs no more tasks */
    uint64_t passed; /* collector_pass */
    struct http_loop *loop;
    struct http_task task;
    void (*on_done)(struct http_loop *loop, struct collector_ticket *tickets);
} __attribute__((aligned(64)));

void lane_init(struct lane *lane, size_t max_bytes,
               void (*on_done)(struct http_loop *loop, struct collector_ticket *tickets));
void lane_release(struct lane *lane);
/* The committer: takes what is there in exchange for an empty fill. False: nothing is there.
 * *passed: what the loop had passed before it handed in whatever comes next. */
bool lane_take(struct lane *lane, struct lane_fill *fill, uint64_t *passed);
/* The committer: gives the tickets back to the loop with their result. */
void lane_return(struct lane *lane, struct lane_fill *fill, enum pl_err err);
/* The loop, at its end. What is handed in afterwards needs another call. */
void lane_close(struct lane *lane);

#endif
