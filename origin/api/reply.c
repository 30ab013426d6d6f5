#include "origin/api/call.h"

#include <stdio.h>
#include <stdlib.h>

#define RETRY_AFTER "2"

static const struct {
    enum pl_err err;
    int status;
    bool retry;
    const char *sentence; /* where nobody had a better one */
} answers[] = {
    {PL_EINVAL, 400, false, "the request is malformed"},
    {PL_ELIMIT, 413, false, "the request is larger than is allowed"},
    {PL_ENOTFOUND, 404, false, "there is no such thing"},
    {PL_EEXISTS, 409, false, "it is there already"},
    {PL_EDENIED, 403, false, "this is not permitted"},
    {PL_EAUTH, 409, false, "the keys given do not fit those in use"},
    {PL_EFORK, 409, false, "it contradicts what is recorded"},
    {PL_EEXPIRED, 409, false, "it was valid once and is no more"},
    {PL_EUNSUPPORTED, 501, false, "this version does not know it"},
    {PL_ECORRUPT, 500, false, "stored data is damaged; the origin's log says where"},
    {PL_ENOMEM, 503, true, "the origin is out of memory"},
    {PL_EIO, 503, true, "the origin's disk failed; its log says how"},
    {PL_ENOSPC, 503, true, "the origin's disk is full"},
    {PL_EAGAIN, 503, true, "the origin is busy"},
    {PL_ECLOSED, 503, true, "the origin is stopping"},
    {PL_ETIMEDOUT, 503, true, "the origin took too long"},
};
#define ANSWER_COUNT (sizeof(answers) / sizeof(answers[0]))

static size_t answer_of(enum pl_err err)
{
    for (size_t i = 0; i < ANSWER_COUNT; i++) {
        if (answers[i].err == err) {
            return i;
        }
    }
    return ANSWER_COUNT;
}

int api_status_of(enum pl_err err)
{
    size_t i = answer_of(err);
    return i == ANSWER_COUNT ? 500 : answers[i].status;
}

void api_fail(struct api_worker *worker, struct api_call *call, enum pl_err err,
              const struct pl_why *why)
{
    struct json_writer *w = worker->writer;
    size_t i = answer_of(err);
    bool told = why->text[0] != '\0';
    const char *message = told               ? why->text
                          : i < ANSWER_COUNT ? answers[i].sentence
                                             : "the origin failed; its log says how";
    call->status = api_status_of(err);
    call->retry = i < ANSWER_COUNT && answers[i].retry;
    call->content_type = NULL;
    if (call->status >= 500) {
        pl_log(worker->api->parts->log, PL_LOG_ERROR, "api", "%s: %s", call->route->pattern,
               message);
    }
    pl_buf_reset(&call->reply);
    json_writer_begin(w, &call->reply);
    json_write_object(w);
    json_write_key(w, "error");
    json_write_object(w);
    json_write_pair_text(w, "code", pl_err_word(err));
    json_write_pair_text(w, "field", told ? why->field : "");
    json_write_pair_text(w, "message", message);
    json_write_object_end(w);
    json_write_object_end(w);
    if (json_writer_end(w) != PL_OK) { /* e.g. a name cut within a character */
        pl_buf_reset(&call->reply);
        pl_buf_appendf(
            &call->reply, "{\"error\":{\"code\":\"%s\",\"field\":\"\",\"message\":\"%s\"}}",
            pl_err_word(err), i < ANSWER_COUNT ? answers[i].sentence : "the origin failed");
    }
}

enum pl_err api_check_account(struct api_worker *worker, uint64_t id, struct pl_why *why)
{
    struct account account;
    enum pl_err err = accounts_get(worker->api->parts->accounts, id, &account);
    if (err != PL_OK) {
        return pl_fail_field(why, err, "account", "there is no account %016llx",
                             (unsigned long long)id);
    }
    return account.state == ACCOUNT_DELETING || account.state == ACCOUNT_DELETED
               ? pl_fail(why, PL_EEXPIRED, "the account's data is deleted, or about to be")
               : PL_OK;
}

/* What was gathered is not given to a token that has ended meanwhile, nor visitors' data, which are
 * those that the audit log tells of, once the account's deletion has begun. */
static enum pl_err check_again(struct api_worker *worker, const struct api_call *call,
                               struct pl_why *why)
{
    const struct api_route *route = call->route;
    const bool gives =
        route->method == HTTP_GET || (route->how & API_GIVES) != 0 || api_streams(route);
    if (route->roles == API_ANYONE || !gives) {
        return PL_OK;
    }
    if (!tokens_stand(worker->api->parts->tokens, &call->token)) {
        return pl_fail(why, PL_EDENIED, "the token was revoked, or has expired, meanwhile");
    }
    return route->action == NULL ? PL_OK : api_check_account(worker, call->target.account, why);
}

void api_work(struct api_worker *worker, struct api_call *call)
{
    struct pl_why why = {0};
    call->status = 200;
    json_writer_begin(worker->writer, &call->reply);
    enum pl_err err = api_audit_begin(worker, call, &why);
    if (err == PL_OK) {
        err = call->route->handle(worker, call, &why);
        if (err == PL_OK && call->content_type == NULL && call->status != 204) {
            err = json_writer_end(worker->writer);
        }
        if (err == PL_OK) {
            err = check_again(worker, call, &why);
        }
        err = api_audit_end(worker, call, err, &why);
    }
    if (err != PL_OK) {
        api_fail(worker, call, err, &why);
    }
}

enum pl_err api_body(struct api_worker *worker, struct api_call *call, struct json *root,
                     struct pl_why *why)
{
    struct pl_span text = pl_buf_span(&call->body);
    return json_parse(worker->parser, text.len == 0 ? PL_SPAN_LIT("{}") : text, root, why);
}

static const struct http_header common[] = {
    {PL_SPAN_INIT("cache-control"), PL_SPAN_INIT("no-store")},
    {PL_SPAN_INIT("x-content-type-options"), PL_SPAN_INIT("nosniff")},
};

void api_reply(struct api_call *call, struct http_request *request)
{
    struct http_header headers[6] = {common[0], common[1]};
    size_t count = 2;
    if (call->status != 204) {
        headers[count++] = (struct http_header){
            PL_SPAN_LIT("content-type"),
            pl_span_str(call->content_type == NULL ? "application/json" : call->content_type)};
    }
    if (call->location[0] != '\0') {
        headers[count++] =
            (struct http_header){PL_SPAN_LIT("location"), pl_span_str(call->location)};
    }
    if (call->link[0] != '\0') {
        headers[count++] = (struct http_header){PL_SPAN_LIT("link"), pl_span_str(call->link)};
    }
    if (call->retry) {
        headers[count++] =
            (struct http_header){PL_SPAN_LIT("retry-after"), PL_SPAN_LIT(RETRY_AFTER)};
    }
    http_reply(request, call->status, headers, count, pl_buf_span(&call->reply));
}

void api_refuse(struct http_request *request, int status, const char *code, const char *message,
                const struct http_header *extra, size_t extra_count)
{
    char body[512];
    struct http_header headers[6] = {
        common[0], common[1], {PL_SPAN_LIT("content-type"), PL_SPAN_LIT("application/json")}};
    size_t count = 3;
    for (size_t i = 0; i < extra_count && count < 6; i++) {
        headers[count++] = extra[i];
    }
    int len =
        snprintf(body, sizeof(body),
                 "{\"error\":{\"code\":\"%s\",\"field\":\"\",\"message\":\"%s\"}}", code, message);
    http_reply(request, status, headers, count, pl_span(body, (size_t)len));
}

void api_call_free(struct api_call *call)
{
    if (api_streams(call->route)) {
        api_export_free(call);
        places_leave(call->api->exports, call->target.account);
    }
    pl_buf_release(&call->query);
    pl_buf_wipe(&call->body);
    pl_buf_wipe(&call->reply); /* may hold a token */
    free(call);
}
