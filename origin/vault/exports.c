#include "origin/vault/exports.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct exports {
    pthread_mutex_t lock;
    pthread_cond_t left; /* a slice of a cancelled reading; on CLOCK_MONOTONIC */
    struct exports_ticket *first;
};

enum pl_err exports_new(struct exports **out)
{
    pthread_condattr_t attr;
    struct exports *x = calloc(1, sizeof(*x));
    if (x == NULL)
        return PL_ENOMEM;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&x->lock, NULL);
    pthread_cond_init(&x->left, &attr);
    pthread_condattr_destroy(&attr);
    *out = x;
    return PL_OK;
}

void exports_free(struct exports *x)
{
    if (x == NULL)
        return;
    pthread_cond_destroy(&x->left);
    pthread_mutex_destroy(&x->lock);
    free(x);
}

void exports_open(struct exports *x, struct exports_ticket *ticket)
{
    ticket->stop = ticket->reading = false;
    pthread_mutex_lock(&x->lock);
    ticket->next = x->first;
    ticket->link = &x->first;
    if (x->first != NULL)
        x->first->link = &ticket->next;
    x->first = ticket;
    pthread_mutex_unlock(&x->lock);
}

void exports_close(struct exports *x, struct exports_ticket *ticket)
{
    if (ticket->link == NULL)
        return;
    pthread_mutex_lock(&x->lock);
    *ticket->link = ticket->next;
    if (ticket->next != NULL)
        ticket->next->link = ticket->link;
    ticket->link = NULL;
    pthread_mutex_unlock(&x->lock);
}

enum pl_err exports_enter(struct exports *x, struct exports_ticket *ticket, struct pl_why *why)
{
    pthread_mutex_lock(&x->lock);
    ticket->reading = !ticket->stop;
    pthread_mutex_unlock(&x->lock);
    return ticket->reading ? PL_OK
                           : pl_fail(why, PL_EEXPIRED,
                                     "the account's data is being deleted: nothing of it is "
                                     "given out any more");
}

void exports_leave(struct exports *x, struct exports_ticket *ticket)
{
    pthread_mutex_lock(&x->lock);
    ticket->reading = false;
    if (ticket->stop)
        pthread_cond_broadcast(&x->left);
    pthread_mutex_unlock(&x->lock);
}

/* Whether a slice of a cancelled reading is under way. With the lock held. */
static bool is_read(const struct exports *x, uint64_t account)
{
    for (const struct exports_ticket *t = x->first; t != NULL; t = t->next)
        if (t->account == account && t->stop && t->reading)
            return true;
    return false;
}

enum pl_err exports_cancel(struct exports *x, uint64_t account, int64_t timeout_ms)
{
    struct timespec until;
    int timed_out = 0;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / PL_SECOND_MS;
    until.tv_nsec += timeout_ms % PL_SECOND_MS * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&x->lock);
    for (struct exports_ticket *t = x->first; t != NULL; t = t->next)
        if (t->account == account)
            t->stop = true;
    while (is_read(x, account) && timed_out == 0)
        timed_out = pthread_cond_timedwait(&x->left, &x->lock, &until);
    bool read = is_read(x, account);
    pthread_mutex_unlock(&x->lock);
    return read ? PL_ETIMEDOUT : PL_OK;
}
