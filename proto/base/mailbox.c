#include "proto/base/mailbox.h"

#include <errno.h>
#include <stddef.h>
#include <time.h>

void pl_mailbox_init(struct pl_mailbox *box)
{
    *box = (struct pl_mailbox){.head = NULL};
    box->tail = &box->head;
    pthread_mutex_init(&box->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&box->filled, &attr);
    pthread_condattr_destroy(&attr);
}

void pl_mailbox_release(struct pl_mailbox *box)
{
    pthread_cond_destroy(&box->filled);
    pthread_mutex_destroy(&box->lock);
}

/* Signals are sent under the lock: the reader may release the box as soon as it has seen what it
 * waited for. */
bool pl_mailbox_post(struct pl_mailbox *box, struct pl_mail *mail)
{
    pthread_mutex_lock(&box->lock);
    bool open = !box->closed;
    if (open) {
        if (box->head == NULL) /* else the reader has its signal already */
            pthread_cond_signal(&box->filled);
        mail->next = NULL;
        *box->tail = mail;
        box->tail = &mail->next;
    }
    pthread_mutex_unlock(&box->lock);
    return open;
}

void pl_mailbox_wake(struct pl_mailbox *box)
{
    pthread_mutex_lock(&box->lock);
    box->woken = true;
    pthread_cond_signal(&box->filled);
    pthread_mutex_unlock(&box->lock);
}

void pl_mailbox_close(struct pl_mailbox *box)
{
    pthread_mutex_lock(&box->lock);
    box->closed = true;
    pthread_cond_signal(&box->filled);
    pthread_mutex_unlock(&box->lock);
}

static struct timespec deadline_in(int64_t timeout_ms)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    ts.tv_sec += (time_t)(timeout_ms / 1000);
    ts.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (ts.tv_nsec >= 1000000000) {
        ts.tv_sec++;
        ts.tv_nsec -= 1000000000;
    }
    return ts;
}

struct pl_mail *pl_mailbox_take(struct pl_mailbox *box, int64_t timeout_ms)
{
    struct timespec deadline = {0};
    if (timeout_ms > 0)
        deadline = deadline_in(timeout_ms);
    pthread_mutex_lock(&box->lock);
    int rc = timeout_ms == 0 ? ETIMEDOUT : 0;
    while (box->head == NULL && !box->woken && !box->closed && rc != ETIMEDOUT) {
        if (timeout_ms < 0)
            rc = pthread_cond_wait(&box->filled, &box->lock);
        else
            rc = pthread_cond_timedwait(&box->filled, &box->lock, &deadline);
    }
    struct pl_mail *list = box->head;
    box->head = NULL;
    box->tail = &box->head;
    box->woken = false;
    pthread_mutex_unlock(&box->lock);
    return list;
}

bool pl_mailbox_closed(struct pl_mailbox *box)
{
    pthread_mutex_lock(&box->lock);
    bool closed = box->closed;
    pthread_mutex_unlock(&box->lock);
    return closed;
}
