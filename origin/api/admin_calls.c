/* Edges, tokens, the keyring and the clock. */
#include "origin/api/call.h"
#include "origin/options.h"
#include "origin/request.h"
#include "proto/base/secret.h"

#include <stdlib.h>

API_HANDLER(api_edge_enroll)
{
    struct json request;
    struct edge_record edge;
    enum pl_err err = api_body(worker, call, &request, why);
    if (err == PL_OK) {
        err = edges_enroll(worker->api->parts->edges, request, &edge, why);
    }
    if (err == PL_OK) {
        call->status = 201;
        edge_write_json(&edge, worker->writer);
    }
    return err;
}

API_HANDLER(api_edge_list)
{
    struct edge_record *edges;
    size_t count;
    (void)call;
    (void)why;
    enum pl_err err = edges_list(worker->api->parts->edges, &edges, &count);
    if (err != PL_OK) {
        return err;
    }
    json_write_object(worker->writer);
    json_write_key(worker->writer, "edges");
    json_write_array(worker->writer);
    for (size_t i = 0; i < count; i++) {
        edge_write_json(&edges[i], worker->writer);
    }
    json_write_array_end(worker->writer);
    json_write_object_end(worker->writer);
    free(edges);
    return PL_OK;
}

API_HANDLER(api_edge_revoke)
{
    struct edge_record edge;
    enum pl_err err = edges_revoke(worker->api->parts->edges, &call->target.id, &edge, why);
    if (err == PL_OK) {
        edge_write_json(&edge, worker->writer);
    }
    return err;
}

/* Account ids in tokens are checked here: tokens know nothing of accounts. */
static enum pl_err check_account(struct api_worker *worker, struct json request, struct pl_why *why)
{
    struct account account;
    uint64_t id = 0;
    enum pl_err err = request_account(request, "account", &id, why);
    if (err == PL_OK && id != 0 &&
        accounts_get(worker->api->parts->accounts, id, &account) != PL_OK) {
        err = pl_fail_field(why, PL_ENOTFOUND, "account", "there is no account %016llx",
                            (unsigned long long)id);
    }
    return err;
}

API_HANDLER(api_token_create)
{
    struct json request;
    struct token_record token;
    char text[TOKEN_TEXT_BYTES];
    enum pl_err err;
    if ((err = api_body(worker, call, &request, why)) != PL_OK ||
        (err = check_account(worker, request, why)) != PL_OK ||
        (err = tokens_create(worker->api->parts->tokens, request, &token, text, why)) != PL_OK) {
        return err;
    }
    call->status = 201;
    token_write_json(&token, text, worker->writer);
    pl_wipe(text, sizeof(text));
    return PL_OK;
}

API_HANDLER(api_token_list)
{
    struct token_record *tokens;
    size_t count;
    (void)call;
    (void)why;
    enum pl_err err = tokens_list(worker->api->parts->tokens, &tokens, &count);
    if (err != PL_OK) {
        return err;
    }
    json_write_object(worker->writer);
    json_write_key(worker->writer, "tokens");
    json_write_array(worker->writer);
    for (size_t i = 0; i < count; i++) {
        token_write_json(&tokens[i], NULL, worker->writer);
    }
    json_write_array_end(worker->writer);
    json_write_object_end(worker->writer);
    free(tokens);
    return PL_OK;
}

API_HANDLER(api_token_revoke)
{
    enum pl_err err = tokens_revoke(worker->api->parts->tokens, &call->target.id, why);
    call->status = 204;
    return err;
}

API_HANDLER(api_keyring_rewrap)
{
    const struct origin_options *options = worker->api->parts->options;
    struct pl_buf kek;
    size_t count = 0;
    (void)call;
    pl_buf_init(&kek, KEYRING_KEK_TEXT_LIMIT);
    enum pl_err err = keyring_kek_load(options->kek_file, options->kek_command, &kek, why);
    if (err == PL_OK) {
        err = keyring_rewrap(worker->api->parts->keyring, pl_buf_span(&kek), &count, why);
    }
    pl_buf_wipe(&kek);
    if (err == PL_OK) {
        json_write_object(worker->writer);
        json_write_pair_u64(worker->writer, "rewrapped", count);
        json_write_object_end(worker->writer);
    }
    return err;
}

API_HANDLER(api_clock_confirm)
{
    (void)why;
    lifecycle_confirm_clock(worker->api->parts->lifecycle);
    call->status = 204;
    return PL_OK;
}
