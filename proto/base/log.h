/*
 * log: one line per event to a file descriptor, for operators and their collectors.
 *
 * Promise: a line is `TIME LEVEL ROOM message key=value …`, written with one write(2), never
 * with visitor data or secrets in it. A full pipe drops the line; logging never blocks and never
 * fails its caller (errno survives it). Programs that log to a pipe ignore SIGPIPE. Any thread may
 * call.
 */
#ifndef POLDER_PROTO_BASE_LOG_H
#define POLDER_PROTO_BASE_LOG_H

#include "proto/base/clock.h"
#include "proto/base/err.h"

#include <stdbool.h>

enum pl_log_level { PL_LOG_ERROR, PL_LOG_WARN, PL_LOG_INFO, PL_LOG_DEBUG };

struct pl_log {
    int fd; /* -1: silent */
    enum pl_log_level level;
    const struct pl_clock *clock;
};

/* room: a short noun, e.g. "spool". The format is a sentence; control bytes in it become '?',
 * lines over 2 KiB end in "...". */
void pl_log(const struct pl_log *log, enum pl_log_level level, const char *room, const char *format,
            ...) __attribute__((format(printf, 4, 5)));

bool pl_log_level_parse(const char *text, enum pl_log_level *out);

#endif
