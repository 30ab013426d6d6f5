/*
 * export_sink: where an export's bytes go: its records to standard output or a file, what it says
 * of itself to who asked for it.
 *
 * Promise: only whole records are written. Of a file it is known at every moment, in FILE.resume
 * beside it, from where an export that breaks off can go on; the file is cut back to that place.
 */
#ifndef POLDER_DEPLOY_CTL_EXPORT_SINK_H
#define POLDER_DEPLOY_CTL_EXPORT_SINK_H

#include "deploy/ctl/api.h"
#include "deploy/ctl/files.h"

#include <stdio.h>

#define EXPORT_CURSOR_BYTES  512
#define EXPORT_VISITOR_BYTES 1024

struct export_sink {
    FILE *out;
    const char *file; /* NULL: standard output */
    char state_file[FILES_PATH_BYTES];
    char path[API_PATH_BYTES];          /* of the request, without a cursor */
    char visitor[EXPORT_VISITOR_BYTES]; /* whose events; "": everybody's */
    char cursor[EXPORT_CURSOR_BYTES];   /* the last that came; "": from the beginning */
    uint64_t cursor_bytes;              /* in out, up to there */
    bool csv;

    struct pl_buf held; /* of a record that is not whole, and what is to be written */
    size_t looked_at;   /* of it, for line ends */
    bool quoted;        /* the place looked at lies between quotes */
    struct json_parser *parser;
    uint64_t bytes; /* in out */
    uint64_t records;
    bool reader_left;
    int64_t saved_mono_ms;
    const struct pl_clock *clock;

    bool ended; /* the summary has come */
    bool judged, agrees;
    uint64_t events, damaged, left_out, counted;
};

/* path, visitor (NULL: everybody's): of a new export. file NULL: standard output. resume: where
 * FILE.resume is there, goes on with what it says, path and visitor included. PL_EEXISTS: file is
 * there, and there is nothing to resume. The caller releases sink whatever came of it. */
enum pl_err export_sink_open(struct export_sink *sink, const char *path, const char *visitor,
                             const char *file, bool resume, const struct pl_clock *clock,
                             struct pl_why *why);
void export_sink_release(struct export_sink *sink);
/* For api_stream; ctx is the sink. */
enum pl_err export_sink_write(void *ctx, struct pl_span bytes, struct pl_why *why);
/* After the stream's end, err as it ended. PL_EIO: it broke off; the file can be resumed. */
enum pl_err export_sink_finish(struct export_sink *sink, enum pl_err err, struct pl_why *why);

#endif
