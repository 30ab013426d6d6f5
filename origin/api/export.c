/* Exports: a chunk is made by a worker while the client takes the one before. */
#include "origin/api/call.h"
#include "origin/api/export_query.h"

#include <stdio.h>
#include <stdlib.h>

#define CHUNK_BYTES ((size_t)256 * 1024)
#define SLICE_MS    250

/* The loop's, but for what the worker reads while the call is away. */
struct api_export {
    struct api_call *call;
    struct api_export *next, **link; /* among the loop's that stream; link NULL: not there */
    struct exports_ticket ticket;
    struct export_cursor cursor;
    bool marks;                 /* lines of the export's own are wanted */
    bool may_head;              /* nothing was given yet: CSV has a header */
    struct http_stream *stream; /* NULL: not begun, or gone */
    bool away;                  /* with a worker */
    bool wanted;                /* the client waits for a chunk */
    bool filled;                /* call->reply holds one */
    bool ended;                 /* nothing comes after call->reply */
    bool failed;
    const char *cut; /* why it was cut off; NULL: it was not */
    bool noted;      /* that it was */
};

void api_export_free(struct api_call *call)
{
    if (call->export != NULL)
        exports_close(call->api->parts->exports, &call->export->ticket);
    free(call->export);
}

/* ---- worker */

static enum pl_err slice(struct api_worker *worker, struct api_export *export, struct pl_buf *out,
                         struct pl_why *why)
{
    const struct origin_parts *parts = worker->api->parts;
    enum pl_err err = exports_enter(parts->exports, &export->ticket, why);
    if (err != PL_OK)
        return err;
    err = export_next(worker->exporter, &export->cursor, parts->clock, SLICE_MS, CHUNK_BYTES,
                      &export->ticket.stop, out, why);
    exports_leave(parts->exports, &export->ticket);
    return err;
}

static enum pl_err end_export(struct api_worker *worker, struct api_export *export,
                              struct pl_buf *out)
{
    const struct export_cursor *cursor = &export->cursor;
    struct day_counts_row now;
    export->ended = true;
    if (!export->marks)
        return PL_OK;
    enum pl_err err = day_counts_total(worker->api->parts->day_counts, cursor->request.account,
                                       cursor->request.first_day, cursor->request.last_day, &now);
    return err == PL_OK ? export_put_summary(worker->exporter, cursor, &now, out) : err;
}

/* Fills call->reply. An end without lines is an end. */
static enum pl_err next_chunk(struct api_worker *worker, struct api_call *call, struct pl_why *why)
{
    struct api_export *export = call->export;
    pl_buf_reset(&call->reply);
    enum pl_err err = export->may_head ? export_put_header(&export->cursor, &call->reply) : PL_OK;
    export->may_head = false;
    if (err == PL_OK)
        err = slice(worker, export, &call->reply, why);
    if (err == PL_ENOTFOUND)
        return end_export(worker, export, &call->reply);
    return err == PL_OK && export->marks
               ? export_put_mark(worker->exporter, &export->cursor, &call->reply)
               : err;
}

/* What the days hold now is what the export will be held against. */
static enum pl_err note_counts(struct api_worker *worker, struct export_cursor *cursor)
{
    struct day_counts_row before;
    enum pl_err err =
        day_counts_total(worker->api->parts->day_counts, cursor->request.account,
                         cursor->request.first_day, cursor->request.last_day, &before);
    cursor->stored_before = before.stored.events;
    cursor->removed_before = before.stored.events - day_counts_held(&before);
    return err;
}

/* Which days, and whether it is all of them; never whose. */
static void note_request(struct api_call *call, const struct export_request *request)
{
    char first[PL_TIME_TEXT], last[PL_TIME_TEXT];
    pl_time_format(request->first_day * PL_DAY_MS, first);
    pl_time_format(request->last_day * PL_DAY_MS, last);
    snprintf(call->noted.detail, sizeof(call->noted.detail), "days %.10s to %.10s%s", first, last,
             request->visitor_len > 0 ? ", one visitor" : "");
}

API_HANDLER(api_events_export)
{
    struct api_export *export = call->export;
    struct api_export_query query;
    export->ticket.account = call->target.account;
    exports_open(worker->api->parts->exports, &export->ticket);
    /* From here on a deletion that begins will find it. */
    enum pl_err err = api_check_account(worker, call->target.account, why);
    if (err == PL_OK)
        err = api_export_query(worker, call, &query, why);
    if (err != PL_OK)
        return err;
    if (query.cursor_len > 0)
        err = export_resume(&export->cursor, &query.request,
                            pl_span(query.cursor, query.cursor_len), why);
    else if ((err = export_begin(&export->cursor, &query.request, why)) == PL_OK)
        err = note_counts(worker, &export->cursor);
    if (err != PL_OK)
        return err;
    note_request(call, &query.request);
    export->marks = query.marks;
    export->may_head = query.cursor_len == 0;
    call->content_type = query.request.format == EXPORT_CSV
                             ? "text/csv; charset=utf-8; header=present"
                             : "application/x-ndjson";
    return next_chunk(worker, call, why);
}

static void log_broken(struct api_worker *worker, struct api_call *call, enum pl_err err,
                       const struct pl_why *why)
{
    pl_log(worker->api->parts->log, PL_LOG_ERROR, "api",
           "an export broke off: %s account=%016llx events=%llu",
           why->text[0] == '\0' ? pl_err_word(err) : why->text,
           (unsigned long long)call->target.account,
           (unsigned long long)call->export->cursor.events);
}

static void work_on_next(struct api_worker *worker, struct api_call *call)
{
    struct pl_why why = {0};
    enum pl_err err = next_chunk(worker, call, &why);
    if (err != PL_OK) {
        call->export->failed = true;
        log_broken(worker, call, err, &why);
    }
}

void api_export_work(struct api_worker *worker, struct api_call *call)
{
    call->export = calloc(1, sizeof(*call->export));
    if (call->export == NULL) {
        struct pl_why why = {0};
        api_fail(worker, call, PL_ENOMEM, &why);
    } else {
        call->export->call = call;
        api_work(worker, call);
    }
}

static void work_on_cut(struct api_worker *worker, struct api_call *call)
{
    api_audit_cut(worker, call, call->export->cut);
}

/* ---- loop */

static void on_chunk(struct api_call *call);

static void join_loop(struct api_export *export)
{
    struct api_export **first = &export->call->api->streams[http_loop_index(export->call->loop)];
    export->next = *first;
    export->link = first;
    if (export->next != NULL) {
        export->next->link = &export->next;
    }
    *first = export;
}

static void leave_loop(struct api_export *export)
{
    *export->link = export->next;
    if (export->next != NULL) {
        export->next->link = export->link;
    }
    export->link = NULL;
}

static void on_noted(struct api_call *call)
{
    call->export->away = false;
    if (call->export->stream == NULL) {
        api_call_free(call);
    }
}

static void note_cut(struct api_call *call)
{
    call->export->noted = call->export->away = true;
    call->work = work_on_cut;
    call->done = on_noted;
    api_send(call);
}

/* Once. The stream may be gone at once, or when its client takes what is on its way. */
static void cut_off(struct api_call *call, const char *because)
{
    struct api_export *export = call->export;
    const bool here = !export->away;
    if (export->cut != NULL) {
        return;
    }
    export->cut = because;
    export->away = true; /* so that it is not freed meanwhile */
    http_stream_cut(export->stream);
    if (here) {
        note_cut(call);
    } /* else when it comes back */
}

void api_export_look(struct http_loop *loop, void *arg)
{
    struct api *api = arg;
    struct api_export *next;
    for (struct api_export *at = api->streams[http_loop_index(loop)]; at != NULL; at = next) {
        next = at->next;
        if (at->ticket.stop) {
            cut_off(at->call, "the account is being deleted");
        } else if (!tokens_stand(api->parts->tokens, &at->call->token)) {
            cut_off(at->call, "its token was revoked, or has expired");
        }
    }
}

/* The client waits and the chunk is there. The stream copies, so the next can be made at once.
 * While the stream is written to, the client may turn out to be gone. */
static void give_chunk(struct api_call *call)
{
    struct api_export *export = call->export;
    struct pl_span chunk = pl_buf_span(&call->reply);
    export->wanted = export->filled = false;
    if (export->ticket.stop) { /* made before its account's deletion began */
        cut_off(call, "the account is being deleted");
        return;
    }
    if (export->ended) {
        http_stream_write(export->stream, chunk, true);
        return;
    }
    export->away = true;
    http_stream_write(export->stream, chunk, false);
    if (export->stream == NULL) {
        api_call_free(call);
        return;
    }
    call->work = work_on_next;
    call->done = on_chunk;
    api_send(call);
}

static void on_ready(void *arg)
{
    struct api_call *call = arg;
    call->export->wanted = true;
    if (call->export->filled) {
        give_chunk(call);
    }
}

static void on_gone(void *arg)
{
    struct api_call *call = arg;
    call->export->stream = NULL;
    leave_loop(call->export);
    if (!call->export->away) {
        api_call_free(call);
    }
}

static const struct http_stream_ops stream_ops = {.ready = on_ready, .gone = on_gone};

static void on_chunk(struct api_call *call)
{
    struct api_export *export = call->export;
    export->away = false;
    if (export->cut != NULL && !export->noted) {
        note_cut(call);
    } else if (export->stream == NULL) {
        api_call_free(call);
    } else if (export->failed) {
        pl_buf_wipe(&call->reply);
        http_stream_abort(export->stream);
    } else {
        export->filled = true;
        if (export->wanted) {
            give_chunk(call);
        }
    }
}

/* The first chunk decides: an answer with an error, or a stream. */
void api_export_done(struct api_call *call)
{
    const struct http_header headers[] = {
        {PL_SPAN_LIT("content-type"), pl_span_str(call->content_type)},
        {PL_SPAN_LIT("cache-control"), PL_SPAN_LIT("no-store")},
        {PL_SPAN_LIT("x-content-type-options"), PL_SPAN_LIT("nosniff")},
    };
    struct http_request *request = http_resume(call->suspended);
    if (request == NULL) {
        api_call_free(call);
        return;
    }
    if (call->status != 200) {
        api_reply(call, request);
        api_call_free(call);
        return;
    }
    call->export->filled = true;
    join_loop(call->export);
    http_stream_start(request, 200, headers, sizeof(headers) / sizeof(headers[0]), &stream_ops,
                      call, &call->export->stream);
}
