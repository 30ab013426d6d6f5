/*
 * mailbox: how threads hand work to each other. Many senders, one reader, intrusive, FIFO.
 *
 * Promise: posting never allocates and never fails; it takes a lock for a few instructions. The
 * reader takes everything at once. Closing wakes the reader; what was posted before the close is
 * still delivered.
 */
#ifndef POLDER_PROTO_BASE_MAILBOX_H
#define POLDER_PROTO_BASE_MAILBOX_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct pl_mail {
    struct pl_mail *next;
};

struct pl_mailbox {
    pthread_mutex_t lock;
    pthread_cond_t filled; /* on CLOCK_MONOTONIC */
    struct pl_mail *head;
    struct pl_mail **tail;
    bool woken;
    bool closed;
};

void pl_mailbox_init(struct pl_mailbox *box);
void pl_mailbox_release(struct pl_mailbox *box);
/* Any thread. False when closed: the mail stays the caller's. */
bool pl_mailbox_post(struct pl_mailbox *box, struct pl_mail *mail);
/* Any thread. Wakes the reader with nothing in hand. */
void pl_mailbox_wake(struct pl_mailbox *box);
/* Any thread. */
void pl_mailbox_close(struct pl_mailbox *box);
/* The reader only; blocks up to timeout_ms (-1: for ever, 0: not at all) until there is mail, a
 * wake or a close. Gives the whole list in posting order, or NULL. */
struct pl_mail *pl_mailbox_take(struct pl_mailbox *box, int64_t timeout_ms);
bool pl_mailbox_closed(struct pl_mailbox *box);

#endif
