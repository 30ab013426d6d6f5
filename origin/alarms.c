#include "origin/alarms.h"
#include "proto/base/text.h"

void alarms_raise(struct alarms *alarms, pthread_mutex_t *lock, const struct pl_log *log,
                  const char *part, const char *format, ...)
{
    char text[ALARM_TEXT];
    va_list args;
    va_start(args, format);
    pl_text_print_v(text, sizeof(text), format, args);
    va_end(args);
    pl_log(log, PL_LOG_ERROR, part, "%s", text);
    pthread_mutex_lock(lock);
    if (alarms->count < ALARMS_MAX)
        memcpy(alarms->text[alarms->count++], text, sizeof(text));
    pthread_mutex_unlock(lock);
}
