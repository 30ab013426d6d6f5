/* Deletion on request, its progress, and holds. */
#include "origin/accounts/account_states.h"
#include "origin/api/call.h"
#include "origin/request.h"

#include <stdio.h>
#include <stdlib.h>

API_HANDLER(api_deletion_request)
{
    static const char *const members[] = {"reason", "now", NULL};
    const struct origin_parts *parts = worker->api->parts;
    char reason[ACCOUNT_REASON_BYTES] = "";
    bool at_once = false;
    struct json request;
    struct account account;
    enum pl_err err;
    if ((err = api_body(worker, call, &request, why)) != PL_OK ||
        (err = request_only(request, members, why)) != PL_OK ||
        (err = request_text(request, "reason", reason, sizeof(reason), why)) != PL_OK ||
        (err = request_bool(request, "now", &at_once, why)) != PL_OK) {
        return err;
    }
    err = (at_once ? accounts_delete_now : accounts_request_deletion)(
        parts->accounts, parts->holds, call->target.account, reason, &account, why);
    if (err == PL_OK) {
        snprintf(call->noted.detail, sizeof(call->noted.detail), "%s%s: %s",
                 account.was_so ? "already, " : "", at_once ? "now" : "to be confirmed", reason);
        api_write_account(worker, &account);
    }
    return err;
}

API_HANDLER(api_deletion_confirm)
{
    static const char *const members[] = {"request", NULL};
    const struct origin_parts *parts = worker->api->parts;
    struct pl_id128 id = {{0}};
    struct json request;
    struct account account;
    enum pl_err err;
    if ((err = api_body(worker, call, &request, why)) != PL_OK ||
        (err = request_only(request, members, why)) != PL_OK ||
        (err = request_id128(request, "request", &id, why)) != PL_OK ||
        (err = accounts_confirm_deletion(parts->accounts, parts->holds, call->target.account, &id,
                                         &account, why)) != PL_OK) {
        return err;
    }
    api_note_already(call, &account);
    api_write_account(worker, &account);
    return PL_OK;
}

API_HANDLER(api_deletion_withdraw)
{
    struct account account;
    enum pl_err err = accounts_withdraw_deletion(worker->api->parts->accounts, call->target.account,
                                                 &account, why);
    if (err == PL_OK) {
        api_note_already(call, &account);
        api_write_account(worker, &account);
    }
    return err;
}

static enum pl_err find(struct api_worker *worker, struct api_call *call, struct account *account,
                        struct pl_why *why)
{
    enum pl_err err = accounts_get(worker->api->parts->accounts, call->target.account, account);
    return err == PL_OK ? err
                        : pl_fail_field(why, err, "account", "there is no account %016llx",
                                        (unsigned long long)call->target.account);
}

API_HANDLER(api_deletion_get)
{
    struct account account;
    enum pl_err err = find(worker, call, &account, why);
    return err == PL_OK ? lifecycle_write_deletion(worker->api->parts->lifecycle, &account,
                                                   worker->writer, why)
                        : err;
}

/* ---- holds */

/* Who did it, as the record of a hold says. */
static const char *actor_of(const struct api_call *call)
{
    return call->token.name[0] == '\0' ? token_role_name(call->token.role) : call->token.name;
}

static void note_hold(struct api_call *call, const struct hold *hold, const char *reason)
{
    pl_id128_format(&hold->id, call->noted.object);
    snprintf(call->noted.detail, sizeof(call->noted.detail), "%s", reason);
}

/* They end by the earlier time while the clock is in doubt. */
static void write_hold(struct api_worker *worker, const struct hold *hold)
{
    int64_t now_ms, latest_ms;
    accounts_now_ms(worker->api->parts->accounts, &now_ms, &latest_ms);
    hold_write_json(hold, now_ms, worker->writer);
}

API_HANDLER(api_hold_place)
{
    const struct origin_parts *parts = worker->api->parts;
    struct json request;
    struct hold hold;
    enum pl_err err;
    if ((err = api_body(worker, call, &request, why)) != PL_OK ||
        (err = accounts_hold(parts->accounts, parts->holds, call->target.account, request,
                             actor_of(call), &hold, why)) != PL_OK) {
        return err;
    }
    call->status = 201;
    note_hold(call, &hold, hold.reason);
    write_hold(worker, &hold);
    return PL_OK;
}

API_HANDLER(api_hold_list)
{
    struct account account;
    enum pl_err err = find(worker, call, &account, why);
    struct hold *holds = err == PL_OK ? calloc(HOLDS_ACCOUNT_MAX, sizeof(*holds)) : NULL;
    if (holds == NULL) {
        return err == PL_OK ? PL_ENOMEM : err;
    }
    size_t count = holds_of(worker->api->parts->holds, account.id, holds);
    json_write_object(worker->writer);
    json_write_key(worker->writer, "holds");
    json_write_array(worker->writer);
    for (size_t i = 0; i < count; i++) {
        write_hold(worker, &holds[i]);
    }
    json_write_array_end(worker->writer);
    json_write_object_end(worker->writer);
    free(holds);
    return PL_OK;
}

API_HANDLER(api_hold_release)
{
    struct json request;
    struct hold hold;
    enum pl_err err;
    if ((err = api_body(worker, call, &request, why)) != PL_OK ||
        (err = holds_release(worker->api->parts->holds, call->target.account, &call->target.id,
                             request, actor_of(call), &hold, why)) != PL_OK) {
        return err;
    }
    note_hold(call, &hold, hold.was_so ? "already" : hold.release_reason);
    write_hold(worker, &hold);
    return PL_OK;
}
