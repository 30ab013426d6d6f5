#include "proto/base/log.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

/* Below PIPE_BUF, so that lines from several processes on one pipe do not mix. */
#define LINE_BYTES 2048

static const char *const level_words[] = {"error", "warn", "info", "debug"};
#define LEVEL_COUNT (sizeof(level_words) / sizeof(level_words[0]))

static bool can_write(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    return poll(&p, 1, 0) == 1 && (p.revents & POLLOUT) != 0;
}

void pl_log(const struct pl_log *log, enum pl_log_level level, const char *room, const char *format,
            ...)
{
    if (log == NULL || log->fd < 0 || level > log->level)
        return;
    int saved_errno = errno;
    char time[PL_TIME_TEXT], line[LINE_BYTES];
    pl_time_format(pl_wall_ms(log->clock), time);
    int head = snprintf(line, sizeof(line), "%s %s %.64s ", time, level_words[level], room);
    if (head < 0)
        goto out;
    va_list args;
    va_start(args, format);
    errno = saved_errno; /* for %m */
    int body = vsnprintf(line + head, sizeof(line) - (size_t)head, format, args);
    va_end(args);
    if (body < 0)
        goto out;
    size_t len = (size_t)head + (size_t)body;
    if (len >= sizeof(line)) {
        len = sizeof(line) - 1;
        memcpy(line + len - 3, "...", 3);
    }
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    line[len++] = '\n';
    /* A line that cannot be written now, or only in part, is gone: its caller has work to do. */
    if (can_write(log->fd)) {
        ssize_t written = write(log->fd, line, len);
        (void)written;
    }
out:
    errno = saved_errno;
}

bool pl_log_level_parse(const char *text, enum pl_log_level *out)
{
    for (size_t i = 0; i < LEVEL_COUNT; i++)
        if (strcmp(text, level_words[i]) == 0) {
            *out = (enum pl_log_level)i;
            return true;
        }
    return false;
}
