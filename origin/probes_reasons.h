/*
 * probes_reasons: why a probe's verdict is not the good one. Private to the probes.
 *
 * Promise: the verdict is the worst of those added, and of reasons that no longer fit their number
 * is told.
 */
#ifndef POLDER_ORIGIN_PROBES_REASONS_H
#define POLDER_ORIGIN_PROBES_REASONS_H

#include "origin/probes_view.h"

#define REASONS_MAX  48
#define REASON_BYTES 400 /* with the zero; a longer one is cut */

struct reasons { /* zeros: none yet */
    enum probes_verdict verdict;
    size_t count, dropped;
    char text[REASONS_MAX][REASON_BYTES];
};

void reasons_add(struct reasons *reasons, enum probes_verdict verdict, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Each of them degrades. */
void reasons_add_alarms(struct reasons *reasons, const struct alarms *alarms);
/* As a member of the object that is being written: an array of texts. */
void reasons_write(const struct reasons *reasons, const char *name, struct json_writer *w);

/* ---- probes_ready.c */

/* All that ready looks at but the edges' books. Both may be the same. */
void reasons_check_ready(const struct view *view, struct reasons *reasons,
                         struct reasons *warnings);

#endif
