/* What the audit log says of calls: routes with an action, and those who were refused. */
#include "origin/api/call.h"
#include "origin/journal/audit.h"

#include <stdio.h>

static bool changes(const struct api_route *route)
{
    return route->method != HTTP_GET && !api_streams(route);
}

static enum pl_err note(struct api_worker *worker, struct api_call *call,
                        enum audit_outcome outcome, const char *detail, struct pl_why *why)
{
    static const struct pl_id128 none;
    if (call->noted.object[0] == '\0' && !pl_id128_eq(&call->target.id, &none)) {
        pl_id128_format(&call->target.id, call->noted.object);
    }
    const struct audit_entry entry = {
        .token = &call->token,
        .action = api_denied_action(call->route),
        .account = call->noted.account != 0 ? call->noted.account : call->target.account,
        .object = call->noted.object,
        .detail = detail,
        .outcome = outcome,
    };
    return audit_note(worker->api->parts->audit, &entry, why);
}

enum pl_err api_audit_begin(struct api_worker *worker, struct api_call *call, struct pl_why *why)
{
    if (call->route->action == NULL) {
        return PL_OK;
    }
    enum pl_err err = audit_room_for(worker->api->parts->audit, &call->token, why);
    if (err != PL_OK || !changes(call->route)) {
        return err;
    }
    err = note(worker, call, AUDIT_BEGUN, NULL, why);
    return err == PL_OK ? err : pl_fail_in(why, err, "nothing was done, for it cannot be noted");
}

void api_note_already(struct api_call *call, const struct account *account)
{
    if (account->was_so) {
        snprintf(call->noted.detail, sizeof(call->noted.detail), "already");
    }
}

void api_audit_cut(struct api_worker *worker, struct api_call *call, const char *why_text)
{
    struct pl_why failure = {0};
    if (note(worker, call, AUDIT_DENIED, why_text, &failure) != PL_OK) {
        pl_log(worker->api->parts->log, PL_LOG_ERROR, "api", "%s was cut off (%s), unnoted: %s",
               call->route->action, why_text, failure.text);
    }
}

enum pl_err api_audit_end(struct api_worker *worker, struct api_call *call, enum pl_err err,
                          struct pl_why *why)
{
    struct pl_why failure = {0};
    enum audit_outcome outcome = err == PL_OK        ? AUDIT_DONE
                                 : err == PL_EDENIED ? AUDIT_DENIED
                                                     : AUDIT_FAILED;
    if (call->route->action == NULL && outcome != AUDIT_DENIED) {
        return err;
    }
    /* A sentence may quote the request: the word has to do. */
    enum pl_err noted =
        note(worker, call, outcome, err == PL_OK ? call->noted.detail : pl_err_word(err), &failure);
    if (noted != PL_OK && err == PL_OK && !changes(call->route)) {
        return pl_fail(why, noted, "nothing is given out, for it cannot be noted: %s",
                       failure.text);
    }
    return err; /* that a change was begun is noted already */
}
