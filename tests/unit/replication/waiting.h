/* Waiting until a condition holds, at most so long; and what other threads change meanwhile. */
#ifndef POLDER_TESTS_REPLICATION_WAITING_H
#define POLDER_TESTS_REPLICATION_WAITING_H

#include "proto/base/clock.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

static inline int64_t now_ms(void)
{
    return pl_mono_ms(pl_clock_system());
}

static inline void pass_ms(long ms)
{
    struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&ts, NULL);
}

#define UNTIL(ms, condition)                                                                       \
    do {                                                                                           \
        int64_t until_ms = now_ms() + (ms);                                                        \
        while (!(condition)) {                                                                     \
            if (now_ms() > until_ms)                                                               \
                fail_msg("not within %d ms: %s", (int)(ms), #condition);                           \
            pass_ms(2);                                                                            \
        }                                                                                          \
    } while (0)

/* What another thread writes, read or changed under its lock. */
#define READ(owner, field)                                                                         \
    __extension__({                                                                                \
        pthread_mutex_lock(&(owner)->lock);                                                        \
        __typeof__((owner)->field) read_value = (owner)->field;                                    \
        pthread_mutex_unlock(&(owner)->lock);                                                      \
        read_value;                                                                                \
    })
#define SET(owner, field, value)                                                                   \
    do {                                                                                           \
        pthread_mutex_lock(&(owner)->lock);                                                        \
        (owner)->field = (value);                                                                  \
        pthread_mutex_unlock(&(owner)->lock);                                                      \
    } while (0)

#endif
