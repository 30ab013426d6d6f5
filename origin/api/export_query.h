/*
 * export_query: what a request for an export asks for. Private to the api.
 *
 * from, to: days like 2026-11-22; type: names of events' types with commas between them; include:
 * tally; format: ndjson or csv; cursor: where an earlier export of the same request
 * broke off; marks: true for lines of the export's own. visitor: an id, in the body of a POST, for
 * addresses are written into logs.
 */
#ifndef POLDER_ORIGIN_API_EXPORT_QUERY_H
#define POLDER_ORIGIN_API_EXPORT_QUERY_H

#include "origin/api/call.h"

struct api_export_query {
    struct export_request request;
    bool marks;
    char cursor[EXPORT_CURSOR_TEXT];
    size_t cursor_len; /* 0: none */
};
/* PL_EINVAL, PL_ELIMIT name the field. */
enum pl_err api_export_query(struct api_worker *worker, struct api_call *call,
                             struct api_export_query *out, struct pl_why *why);

#endif
