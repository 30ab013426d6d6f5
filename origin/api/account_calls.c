/* Accounts and their configs. */
#include "origin/accounts/account_states.h"
#include "origin/api/call.h"
#include "origin/request.h"
#include "proto/base/text.h"
#include "proto/wire/limits.h"

#include <stdio.h>
#include <stdlib.h>

void api_write_account(struct api_worker *worker, const struct account *account)
{
    const struct origin_parts *parts = worker->api->parts;
    const int64_t now_ms = accounts_believed_ms(parts->accounts);
    const struct account_standing standing = lifecycle_standing(parts->lifecycle, account, now_ms);
    account_write_json(account, now_ms, &standing, worker->writer);
}

API_HANDLER(api_account_create)
{
    struct json request;
    struct account account;
    enum pl_err err = api_body(worker, call, &request, why);
    if (err == PL_OK) {
        err = accounts_create(worker->api->parts->accounts, request, &account, why);
    }
    if (err != PL_OK) {
        return err;
    }
    call->status = 201;
    call->noted.account = account.id;
    snprintf(call->location, sizeof(call->location), "/api/v1/accounts/%016llx",
             (unsigned long long)account.id);
    api_write_account(worker, &account);
    return PL_OK;
}

API_HANDLER(api_account_list)
{
    struct account *accounts;
    size_t count;
    const bool own_only = call->token.role == ROLE_OWNER;
    (void)why;
    enum pl_err err = accounts_list(worker->api->parts->accounts, &accounts, &count);
    if (err != PL_OK) {
        return err;
    }
    json_write_object(worker->writer);
    json_write_key(worker->writer, "accounts");
    json_write_array(worker->writer);
    for (size_t i = 0; i < count; i++) {
        if (!own_only || accounts[i].id == call->token.account) {
            api_write_account(worker, &accounts[i]);
        }
    }
    json_write_array_end(worker->writer);
    json_write_object_end(worker->writer);
    free(accounts);
    return PL_OK;
}

static enum pl_err find(struct api_worker *worker, uint64_t id, struct account *account,
                        struct pl_why *why)
{
    enum pl_err err = accounts_get(worker->api->parts->accounts, id, account);
    return err == PL_OK ? err
                        : pl_fail_field(why, err, "account", "there is no account %016llx",
                                        (unsigned long long)id);
}

API_HANDLER(api_account_get)
{
    struct account account;
    enum pl_err err = find(worker, call->target.account, &account, why);
    if (err == PL_OK) {
        api_write_account(worker, &account);
    }
    return err;
}

API_HANDLER(api_account_update)
{
    struct json request;
    struct account account;
    enum pl_err err = api_body(worker, call, &request, why);
    if (err == PL_OK) {
        err = accounts_update(worker->api->parts->accounts, call->target.account, request, &account,
                              why);
    }
    if (err == PL_OK) {
        api_write_account(worker, &account);
    }
    return err;
}

API_HANDLER(api_account_outcomes)
{
    static const char *const names[] = {"from", "to", NULL};
    struct account account;
    int64_t first_day = 0, last_day = VAULT_DAY_MAX;
    enum pl_err err = find(worker, call->target.account, &account, why);
    if (err != PL_OK || (err = api_query_only(call, names, why)) != PL_OK ||
        (err = api_read_day(call, "from", &first_day, why)) != PL_OK ||
        (err = api_read_day(call, "to", &last_day, why)) != PL_OK) {
        return err;
    }
    return outcomes_write(worker->outcomes, account.id, first_day, last_day, worker->writer, why);
}

API_HANDLER(api_account_expire)
{
    static const char *const members[] = {"at", NULL};
    struct json request;
    struct account account;
    int64_t at_ms = 0;
    enum pl_err err;
    if ((err = api_body(worker, call, &request, why)) != PL_OK ||
        (err = request_only(request, members, why)) != PL_OK ||
        (err = request_time(request, "at", &at_ms, why)) != PL_OK ||
        (err = accounts_expire(worker->api->parts->accounts, call->target.account, at_ms, &account,
                               why)) != PL_OK) {
        return err;
    }
    api_note_already(call, &account);
    api_write_account(worker, &account);
    return PL_OK;
}

API_HANDLER(api_account_reinstate)
{
    static const char *const members[] = {"expires_at", NULL};
    struct json request;
    struct account account;
    int64_t expires_at_ms = 0;
    enum pl_err err;
    if ((err = api_body(worker, call, &request, why)) != PL_OK ||
        (err = request_only(request, members, why)) != PL_OK ||
        (err = request_time(request, "expires_at", &expires_at_ms, why)) != PL_OK ||
        (err = accounts_reinstate(worker->api->parts->accounts, call->target.account, expires_at_ms,
                                  &account, why)) != PL_OK) {
        return err;
    }
    api_note_already(call, &account);
    api_write_account(worker, &account);
    return PL_OK;
}

API_HANDLER(api_account_records)
{
    struct account account;
    enum pl_err err = find(worker, call->target.account, &account, why);
    if (err != PL_OK) {
        return err;
    }
    json_write_object(worker->writer);
    json_write_key(worker->writer, "records");
    err = lifecycle_records(worker->api->parts->lifecycle, account.id, worker->writer);
    json_write_object_end(worker->writer);
    return err;
}

API_HANDLER(api_config_put)
{
    uint64_t version;
    enum pl_err err = accounts_publish(worker->api->parts->accounts, call->target.account,
                                       pl_buf_span(&call->body), &version, why);
    if (err == PL_OK) {
        json_write_object(worker->writer);
        json_write_pair_u64(worker->writer, "version", version);
        json_write_object_end(worker->writer);
    }
    return err;
}

/* The only parameter; 0 when absent. */
static enum pl_err read_version(struct api_call *call, uint64_t *version, struct pl_why *why)
{
    struct pl_span text;
    *version = 0;
    if (!pl_form_find(pl_buf_span(&call->query), "version", &text)) {
        return PL_OK;
    }
    if (!pl_span_to_u64(text, version) || *version == 0) {
        return pl_fail_field(why, PL_EINVAL, "version", "version must be a whole number from 1 up");
    }
    return PL_OK;
}

API_HANDLER(api_config_get)
{
    static const char *const names[] = {"version", NULL};
    uint64_t version;
    enum pl_err err = api_query_only(call, names, why);
    if (err == PL_OK && (err = read_version(call, &version, why)) == PL_OK) {
        err = accounts_config(worker->api->parts->accounts, call->target.account, version,
                              &call->reply, why);
    }
    if (err == PL_OK) {
        call->content_type = "application/json";
    }
    return err;
}
