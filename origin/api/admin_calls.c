/* Edges, tokens, the keyring and the clock. */
#include "origin/api/call.h"
#include "origin/options.h"
#include "origin/request.h"
#include "proto/base/secret.h"

#include <stdio.h>
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
        pl_id128_format(&edge.id, call->noted.object);
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

/* Tokens know nothing of accounts. */
struct new_token {
    struct tokens *tokens;
    struct json request;
    struct token_record record;
    char text[TOKEN_TEXT_BYTES];
};

static enum pl_err create(struct new_token *token, struct pl_why *why)
{
    return tokens_create(token->tokens, token->request, &token->record, token->text, why);
}

/* While nobody can begin its deletion, which takes along the tokens that are there. */
static enum pl_err create_for(void *ctx, const struct account *account, struct pl_why *why)
{
    if (account->state == ACCOUNT_DELETING || account->state == ACCOUNT_DELETED) {
        return pl_fail_field(why, PL_EEXPIRED, "account",
                             "account %016llx is being deleted: it gets no new tokens",
                             (unsigned long long)account->id);
    }
    return create(ctx, why);
}

static enum pl_err create_token(struct api_worker *worker, struct new_token *token,
                                struct pl_why *why)
{
    uint64_t account = 0;
    enum pl_err err = request_account(token->request, "account", &account, why);
    if (err != PL_OK || account == 0) {
        return err != PL_OK ? err : create(token, why);
    }
    err = accounts_during(worker->api->parts->accounts, account, create_for, token, why);
    return err != PL_ENOTFOUND ? err
                               : pl_fail_field(why, err, "account", "there is no account %016llx",
                                               (unsigned long long)account);
}

API_HANDLER(api_token_create)
{
    struct new_token token = {.tokens = worker->api->parts->tokens};
    const struct token_record *record = &token.record;
    enum pl_err err = api_body(worker, call, &token.request, why);
    if (err == PL_OK) {
        err = create_token(worker, &token, why);
    }
    if (err != PL_OK) {
        return err;
    }
    call->status = 201;
    call->noted.account = record->account;
    pl_id128_format(&record->id, call->noted.object);
    snprintf(call->noted.detail, sizeof(call->noted.detail), "role %s",
             token_role_name(record->role));
    token_write_json(record, token.text, worker->writer);
    pl_wipe(token.text, sizeof(token.text));
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
