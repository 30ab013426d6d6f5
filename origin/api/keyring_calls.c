/* The keys: what an operator may want done with them before its time. */
#include "origin/api/call.h"
#include "origin/request.h"

#include <stdio.h>
#include <stdlib.h>

API_HANDLER(api_keyring_rotate)
{
    struct cutoffs *cutoffs = worker->api->parts->cutoffs;
    struct cutoffs_status status;
    (void)call;
    enum pl_err err = cutoffs_rotate(cutoffs, why);
    if (err == PL_OK) {
        cutoffs_status(cutoffs, &status);
        json_write_object(worker->writer);
        json_write_pair_hex(worker->writer, "seal_key_id",
                            pl_span(status.seal_key_id, sizeof(status.seal_key_id)));
        json_write_pair_u64(worker->writer, "position", status.seal_key_position);
        json_write_object_end(worker->writer);
    }
    return err;
}

/* ---- keys of accounts that this database does not know */

API_HANDLER(api_orphan_key_list)
{
    const struct orphan_keys *orphans = worker->api->parts->orphan_keys;
    const size_t there = orphan_keys_list(orphans, NULL, 0);
    struct orphan_key *keys = calloc(there + 1, sizeof(*keys));
    (void)call;
    if (keys == NULL) {
        return pl_fail(why, PL_ENOMEM, "no memory for a list of keys");
    }
    const size_t found = orphan_keys_list(orphans, keys, there); /* they only become fewer */
    json_write_object(worker->writer);
    json_write_key(worker->writer, "orphans");
    json_write_array(worker->writer);
    for (size_t i = 0; i < found; i++) {
        json_write_object(worker->writer);
        json_write_pair_account(worker->writer, "account", keys[i].account);
        json_write_pair_time(worker->writer, "created_at", keys[i].created_ms);
        json_write_object_end(worker->writer);
    }
    json_write_array_end(worker->writer);
    json_write_object_end(worker->writer);
    free(keys);
    return PL_OK;
}

API_HANDLER(api_orphan_key_destroy)
{
    static const char *const members[] = {"reason", NULL};
    char reason[KEYRING_REASON_BYTES] = "";
    struct json request;
    size_t count = 0;
    enum pl_err err;
    if ((err = api_body(worker, call, &request, why)) != PL_OK ||
        (err = request_only(request, members, why)) != PL_OK ||
        (err = request_text(request, "reason", reason, sizeof(reason), why)) != PL_OK) {
        return err;
    }
    if (reason[0] == '\0') {
        return pl_fail_field(why, PL_EINVAL, "reason",
                             "reason is missing: the keyring keeps why a key was destroyed");
    }
    err = orphan_keys_destroy(worker->api->parts->orphan_keys, reason, &count, why);
    snprintf(call->noted.detail, sizeof(call->noted.detail), "%zu keys", count);
    if (err == PL_OK) {
        json_write_object(worker->writer);
        json_write_pair_u64(worker->writer, "destroyed", count);
        json_write_object_end(worker->writer);
    }
    return err;
}
