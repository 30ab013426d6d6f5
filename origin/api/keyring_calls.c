/* The keys: what an operator may want done with them before its time. */
#include "origin/api/call.h"
#include "origin/request.h"
#include "proto/base/text.h"

#include <inttypes.h>
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
    snprintf(call->noted.detail, sizeof(call->noted.detail), "%zu %s", count,
             pl_plural(count, "key", "keys"));
    if (err == PL_OK) {
        json_write_object(worker->writer);
        json_write_pair_u64(worker->writer, "destroyed", count);
        json_write_object_end(worker->writer);
    }
    return err;
}

/* ---- sealing keys that the keyring has lost */

static void write_waiting(const struct lost_key *key, const struct edge_record *edges, size_t count,
                          struct json_writer *w)
{
    json_write_object(w);
    json_write_pair_hex(w, "key", pl_span(key->id, sizeof(key->id)));
    json_write_pair_hex(w, "edge", pl_span(key->edge.bytes, sizeof(key->edge.bytes)));
    for (size_t i = 0; i < count; i++) {
        if (pl_id128_eq(&edges[i].id, &key->edge)) {
            json_write_pair_text(w, "name", edges[i].name);
        }
    }
    json_write_pair_hex(w, "incarnation",
                        pl_span(key->incarnation.bytes, sizeof(key->incarnation.bytes)));
    json_write_pair_u64(w, "first", key->first);
    json_write_pair_u64(w, "last", key->last);
    json_write_pair_time(w, "since", key->since_ms);
    json_write_object_end(w);
}

static enum pl_err write_all_waiting(struct api_worker *worker)
{
    const struct origin_parts *parts = worker->api->parts;
    struct lost_key keys[LOST_KEYS_MAX];
    struct edge_record *edges;
    size_t edge_count;
    enum pl_err err = edges_list(parts->edges, &edges, &edge_count);
    if (err == PL_OK) {
        const size_t count = lost_keys_list(parts->lost_keys, keys, LOST_KEYS_MAX);
        json_write_key(worker->writer, "lost");
        json_write_array(worker->writer);
        for (size_t i = 0; i < count; i++) {
            write_waiting(&keys[i], edges, edge_count, worker->writer);
        }
        json_write_array_end(worker->writer);
        free(edges);
    }
    return err;
}

API_HANDLER(api_lost_key_list)
{
    struct given_up_key keys[LOST_KEYS_GIVEN_UP_MAX];
    const size_t count =
        lost_keys_given_up(worker->api->parts->lost_keys, keys, LOST_KEYS_GIVEN_UP_MAX);
    (void)call;
    json_write_object(worker->writer);
    if (write_all_waiting(worker) != PL_OK) {
        return pl_fail(why, PL_ENOMEM, "no memory for a list of keys");
    }
    json_write_key(worker->writer, "given_up");
    json_write_array(worker->writer);
    for (size_t i = 0; i < count; i++) {
        json_write_object(worker->writer);
        json_write_pair_hex(worker->writer, "key", pl_span(keys[i].id, sizeof(keys[i].id)));
        json_write_pair_time(worker->writer, "given_up_at", keys[i].at_ms);
        json_write_object_end(worker->writer);
    }
    json_write_array_end(worker->writer);
    json_write_object_end(worker->writer);
    return PL_OK;
}

/* What is known to wait for it now goes with it. */
static uint64_t count_waiting(struct lost_keys *lost, const uint8_t id[BLOCK_KEY_ID_BYTES])
{
    struct lost_key keys[LOST_KEYS_MAX];
    const size_t count = lost_keys_list(lost, keys, LOST_KEYS_MAX);
    uint64_t blocks = 0;
    for (size_t i = 0; i < count; i++) {
        if (memcmp(keys[i].id, id, BLOCK_KEY_ID_BYTES) == 0) {
            blocks += keys[i].last - keys[i].first + 1;
        }
    }
    return blocks;
}

API_HANDLER(api_lost_key_give_up)
{
    static const char *const members[] = {"key", "reason", NULL};
    struct lost_keys *lost = worker->api->parts->lost_keys;
    char reason[ACCOUNT_REASON_BYTES] = "";
    uint8_t id[BLOCK_KEY_ID_BYTES] = {0};
    struct json request;
    enum pl_err err;
    if ((err = api_body(worker, call, &request, why)) != PL_OK ||
        (err = request_only(request, members, why)) != PL_OK ||
        (err = request_hex(request, "key", id, sizeof(id), why)) != PL_OK ||
        (err = request_text(request, "reason", reason, sizeof(reason), why)) != PL_OK) {
        return err;
    }
    if (reason[0] == '\0') {
        return pl_fail_field(why, PL_EINVAL, "reason",
                             "reason is missing: say why no newer copy of the keyring will come");
    }
    const uint64_t blocks = count_waiting(lost, id);
    pl_hex_encode(pl_span(id, sizeof(id)), call->noted.object);
    snprintf(call->noted.detail, sizeof(call->noted.detail), "blocks that wait: %" PRIu64 "; %s",
             blocks, reason);
    err = lost_keys_give_up(lost, id, why);
    if (err == PL_OK) {
        json_write_object(worker->writer);
        json_write_pair_hex(worker->writer, "key", pl_span(id, sizeof(id)));
        json_write_pair_u64(worker->writer, "blocks", blocks);
        json_write_object_end(worker->writer);
    }
    return err;
}
