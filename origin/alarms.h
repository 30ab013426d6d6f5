/*
 * alarms: what people must be told of a part of the origin, since it was opened.
 *
 * Promise: each alarm is logged at once, and the first ALARMS_MAX are kept for /ready. The struct
 * is a plain value; whoever copies it holds the lock that alarms_raise is given.
 */
#ifndef POLDER_ORIGIN_ALARMS_H
#define POLDER_ORIGIN_ALARMS_H

#include "proto/base/log.h"

#include <pthread.h>
#include <stddef.h>

#define ALARMS_MAX 32
#define ALARM_TEXT 320 /* bytes with the zero; a longer one is cut */

struct alarms {
    size_t count;
    char text[ALARMS_MAX][ALARM_TEXT];
};

/* The caller does not hold the lock; `part` is who says it in the log. */
void alarms_raise(struct alarms *alarms, pthread_mutex_t *lock, const struct pl_log *log,
                  const char *part, const char *format, ...) __attribute__((format(printf, 5, 6)));

#endif
