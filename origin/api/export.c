/* Exports: a chunk is made by a worker while the client takes the one before. */
#include "origin/api/call.h"
#include "proto/base/text.h"

#include <stdlib.h>

#define CHUNK_BYTES ((size_t)256 * 1024)
#define SLICE_MS    250

/* The loop's, but for cursor, reply and failed while the call is away. */
struct api_export {
    struct export_cursor cursor;
    struct http_stream *stream; /* NULL: not begun, or gone */
    bool away;                  /* with a worker */
    bool wanted;                /* the client waits for a chunk */
    bool filled;                /* call->reply holds one */
    bool ended;                 /* nothing comes after call->reply */
    bool failed;
};

void api_export_free(struct api_call *call)
{
    free(call->export);
}

/* ---- worker */

enum pl_err api_read_day(struct api_call *call, const char *name, int64_t *day, struct pl_why *why)
{
    struct pl_span text;
    struct pl_buf plain;
    int64_t wall_ms;
    if (!pl_form_find(pl_buf_span(&call->query), name, &text)) {
        return PL_OK;
    }
    pl_buf_init(&plain, 64);
    bool parsed = pl_form_decode(text, &plain) == PL_OK && plain.len == strlen("2026-11-22") &&
                  pl_time_parse(pl_buf_span(&plain), &wall_ms);
    pl_buf_release(&plain);
    if (!parsed) {
        return pl_fail_field(why, PL_EINVAL, name, "%s must be a day like 2026-11-22", name);
    }
    *day = pl_day_of(wall_ms);
    return PL_OK;
}

static enum pl_err read_include(struct api_call *call, bool *tallies, struct pl_why *why)
{
    struct pl_span text;
    *tallies = pl_form_find(pl_buf_span(&call->query), "include", &text);
    return !*tallies || pl_span_eq_str(text, "tally")
               ? PL_OK
               : pl_fail_field(why, PL_EINVAL, "include", "include can be tally only");
}

/* Fills call->reply. An end without lines is an end. */
static enum pl_err next_chunk(struct api_worker *worker, struct api_call *call, struct pl_why *why)
{
    struct api_export *export = call->export;
    pl_buf_reset(&call->reply);
    enum pl_err err = export_next(worker->exporter, &export->cursor, worker->api->parts->clock,
                                  SLICE_MS, CHUNK_BYTES, &call->reply, why);
    if (err == PL_ENOTFOUND) {
        export->ended = true;
        err = PL_OK;
    }
    return err;
}

API_HANDLER(api_events_export)
{
    struct account account;
    int64_t first_day = 0, last_day = VAULT_DAY_MAX;
    enum pl_err err = accounts_get(worker->api->parts->accounts, call->target.account, &account);
    if (err != PL_OK) {
        return pl_fail_field(why, err, "account", "there is no account %016llx",
                             (unsigned long long)call->target.account);
    }
    if ((err = api_read_day(call, "from", &first_day, why)) != PL_OK ||
        (err = api_read_day(call, "to", &last_day, why)) != PL_OK ||
        (err = export_begin(&call->export->cursor, account.id, first_day, last_day, why)) !=
            PL_OK ||
        (err = read_include(call, &call->export->cursor.tallies, why)) != PL_OK) {
        return err;
    }
    call->content_type = "application/x-ndjson";
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
        api_work(worker, call);
    }
}

/* ---- loop */

static void on_chunk(struct api_call *call);

/* The client waits and the chunk is there. The stream copies, so the next can be made at once.
 * While the stream is written to, the client may turn out to be gone. */
static void give_chunk(struct api_call *call)
{
    struct api_export *export = call->export;
    struct pl_span chunk = pl_buf_span(&call->reply);
    export->wanted = export->filled = false;
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
    if (!call->export->away) {
        api_call_free(call);
    }
}

static const struct http_stream_ops stream_ops = {.ready = on_ready, .gone = on_gone};

static void on_chunk(struct api_call *call)
{
    struct api_export *export = call->export;
    export->away = false;
    if (export->stream == NULL) {
        api_call_free(call);
    } else if (export->failed) {
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
    static const struct http_header headers[] = {
        {PL_SPAN_INIT("content-type"), PL_SPAN_INIT("application/x-ndjson")},
        {PL_SPAN_INIT("cache-control"), PL_SPAN_INIT("no-store")},
        {PL_SPAN_INIT("x-content-type-options"), PL_SPAN_INIT("nosniff")},
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
    http_stream_start(request, 200, headers, sizeof(headers) / sizeof(headers[0]), &stream_ops,
                      call, &call->export->stream);
}
