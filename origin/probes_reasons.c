#include "origin/probes_reasons.h"
#include "proto/base/text.h"

#include <stdio.h>

void reasons_add(struct reasons *reasons, enum probes_verdict verdict, const char *format, ...)
{
    va_list args;
    reasons->verdict = verdict > reasons->verdict ? verdict : reasons->verdict;
    if (reasons->count == REASONS_MAX) {
        reasons->dropped++;
        return;
    }
    va_start(args, format);
    pl_text_print_v(reasons->text[reasons->count++], REASON_BYTES, format, args);
    va_end(args);
}

void reasons_add_alarms(struct reasons *reasons, const struct alarms *alarms)
{
    for (size_t i = 0; i < alarms->count; i++) {
        reasons_add(reasons, PROBES_DEGRADED, "%s", alarms->text[i]);
    }
}

void reasons_write(const struct reasons *reasons, const char *name, struct json_writer *w)
{
    json_write_key(w, name);
    json_write_array(w);
    for (size_t i = 0; i < reasons->count; i++) {
        json_write_text(w, reasons->text[i]);
    }
    if (reasons->dropped > 0) {
        char more[48];
        snprintf(more, sizeof(more), "and %zu more", reasons->dropped);
        json_write_text(w, more);
    }
    json_write_array_end(w);
}
