/* How far a deletion is, as it is kept: JSON in FAMILY_RECORDS. */
#include "origin/families.h"
#include "origin/lifecycle/deletion_state.h"
#include "origin/lifecycle/lifecycle.h"
#include "origin/request.h"

#include <stdlib.h>

#define RECORD_BYTES_MAX (16 * 1024)

/* An account's id is never used again, so there is one deletion to tell of: its only record. */
static void record_key(uint64_t account, uint8_t key[16])
{
    pl_store_u64(key, account);
    pl_store_u64(key + 8, 0);
}

/* ---- writing */

static void write_count(const struct certificate_count *count, struct json_writer *w)
{
    json_write_object(w);
    json_write_pair_text(w, "kind", count->kind);
    json_write_pair_bool(w, "counted", count->counted);
    json_write_pair_u64(w, "items", count->items);
    json_write_pair_u64(w, "bytes", count->bytes);
    json_write_object_end(w);
}

static void write_counts(const struct deletion *deletion, bool cleared, struct json_writer *w)
{
    json_write_key(w, "counts");
    json_write_array(w);
    for (size_t i = 0; i < deletion_kind_count; i++) {
        write_count(&deletion->counts[i], w);
    }
    if (cleared) {
        write_count(&deletion->cleared, w);
    }
    json_write_array_end(w);
}

static void write_key(const struct lifecycle_config *config, uint64_t account,
                      struct json_writer *w)
{
    struct keyring_destruction key;
    if (keyring_destruction(config->keyring, account, &key) == PL_OK) {
        json_write_pair_time(w, "key_destroyed_at", key.wall_ms);
        json_write_pair_hex(w, "keyring_record", pl_span(key.chain_hash, sizeof(key.chain_hash)));
    }
}

/* Members of the object at hand. */
static void write_progress(const struct deletion *deletion, const struct lifecycle_config *config,
                           const struct account *account, struct json_writer *w)
{
    json_write_pair_text(w, "step", deletion_step_name(deletion->done));
    json_write_pair_time(w, "expired_at", account->expires_at_ms);
    json_write_key(w, "steps");
    json_write_object(w);
    for (unsigned i = 0; i <= deletion->done; i++) {
        json_write_pair_time(w, deletion_step_name(i), deletion->done_ms[i]);
    }
    json_write_object_end(w);
    write_key(config, account->id, w);
    json_write_pair_hex(w, "epoch", pl_span(deletion->epoch.bytes, sizeof(deletion->epoch.bytes)));
    json_write_pair_u64(w, "position", deletion->position);
    if (deletion->done >= DELETION_COUNTED) {
        write_counts(deletion, account->cleared_ms != 0, w);
    }
    if (deletion->kept_before_ms != 0) {
        json_write_pair_time(w, "kept_aside_before", deletion->kept_before_ms);
    }
}

enum pl_err deletion_record(const struct deletion *deletion, const struct lifecycle_config *config,
                            const struct account *account, struct pl_why *why)
{
    struct json_writer *w = NULL;
    struct pl_buf bytes;
    uint8_t key[16];
    bool done = deletion->done == DELETION_CERTIFIED;
    record_key(account->id, key);
    pl_buf_init(&bytes, RECORD_BYTES_MAX);
    enum pl_err err = json_writer_new(&w, false);
    if (err == PL_OK) {
        json_writer_begin(w, &bytes);
        json_write_object(w);
        json_write_pair_text(w, "what", done ? "deleted" : "deleting");
        write_progress(deletion, config, account, w);
        json_write_object_end(w);
        err = json_writer_end(w);
    }
    if (err == PL_OK) {
        err = store_put(config->store, FAMILY_RECORDS, pl_span(key, sizeof(key)),
                        pl_buf_span(&bytes), true, why);
    } else {
        pl_fail(why, err, "what was done cannot be recorded: %s", pl_err_word(err));
    }
    json_writer_free(w);
    pl_buf_release(&bytes);
    return err;
}

/* ---- reading */

/* NULL: a kind that is not known. */
static struct certificate_count *find_count(struct deletion *deletion, const char *kind)
{
    for (size_t k = 0; k < deletion_kind_count; k++) {
        if (strcmp(kind, deletion->counts[k].kind) == 0) {
            return &deletion->counts[k];
        }
    }
    return strcmp(kind, deletion->cleared.kind) == 0 ? &deletion->cleared : NULL;
}

static enum pl_err read_counts(struct json record, struct deletion *deletion)
{
    struct json list, item;
    if (!json_get(record, "counts", &list)) {
        return PL_OK;
    }
    for (struct json_iter i = json_elements(list); json_next_element(&i, &item);) {
        char kind[32] = "";
        enum pl_err err = request_text(item, "kind", kind, sizeof(kind), NULL);
        struct certificate_count *count = err == PL_OK ? find_count(deletion, kind) : NULL;
        if (count != NULL &&
            (err = request_bool(item, "counted", &count->counted, NULL)) == PL_OK &&
            (err = request_u64(item, "items", &count->items, NULL)) == PL_OK) {
            err = request_u64(item, "bytes", &count->bytes, NULL);
        }
        if (err != PL_OK) {
            return err;
        }
    }
    return PL_OK;
}

static enum pl_err read_steps(struct json record, struct deletion *deletion)
{
    char name[32] = "";
    struct json steps;
    enum pl_err err = request_text(record, "step", name, sizeof(name), NULL);
    if (err != PL_OK || !json_get(record, "steps", &steps)) {
        return PL_ECORRUPT;
    }
    for (unsigned i = 0; i < DELETION_STEPS && err == PL_OK; i++) {
        const char *known = deletion_step_name(i);
        err = request_time(steps, known, &deletion->done_ms[i], NULL);
        if (strcmp(known, name) == 0) {
            deletion->done = i;
            return err;
        }
    }
    return PL_ECORRUPT;
}

static enum pl_err parse(struct pl_span bytes, struct deletion *deletion)
{
    struct json_parser *parser = NULL;
    struct json record;
    enum pl_err err = json_parser_new(&parser, RECORD_BYTES_MAX, 8);
    if (err == PL_OK) {
        err = json_parse(parser, bytes, &record, NULL);
    }
    if (err == PL_OK) {
        err = read_steps(record, deletion);
    }
    if (err == PL_OK) {
        err = request_id128(record, "epoch", &deletion->epoch, NULL);
    }
    if (err == PL_OK) {
        err = request_u64(record, "position", &deletion->position, NULL);
    }
    if (err == PL_OK) {
        err = request_time(record, "kept_aside_before", &deletion->kept_before_ms, NULL);
    }
    if (err == PL_OK) {
        err = read_counts(record, deletion);
    }
    json_parser_free(parser);
    return err;
}

static void start_over(struct deletion *deletion, const struct account *account)
{
    memset(deletion->done_ms, 0, sizeof(deletion->done_ms));
    deletion->done = DELETION_BEGUN;
    deletion->done_ms[DELETION_BEGUN] = account->deletion_started_ms;
    deletion->epoch = (struct pl_id128){{0}};
    deletion->position = 0;
    deletion->kept_before_ms = 0;
    for (size_t i = 0; i < deletion_kind_count; i++) {
        deletion->counts[i] = (struct certificate_count){.kind = deletion_kinds[i].name};
    }
    deletion->cleared = (struct certificate_count){.kind = DELETION_CLEARED_KIND};
}

enum pl_err deletion_load(struct deletion **out, const struct lifecycle_config *config,
                          const struct account *account, struct pl_why *why)
{
    struct deletion *deletion = calloc(1, sizeof(*deletion));
    struct pl_buf bytes;
    uint8_t key[16];
    if (deletion == NULL) {
        return pl_fail(why, PL_ENOMEM, "no memory for a deletion");
    }
    deletion->account = account->id;
    pl_buf_init(&deletion->at, 256);
    pl_buf_init(&bytes, RECORD_BYTES_MAX);
    start_over(deletion, account);
    record_key(account->id, key);
    enum pl_err err = store_get(config->store, FAMILY_RECORDS, pl_span(key, sizeof(key)), &bytes);
    if (err == PL_OK) {
        err = parse(pl_buf_span(&bytes), deletion);
    }
    pl_buf_release(&bytes);
    if (err == PL_ENOMEM) {
        deletion_free(deletion);
        return pl_fail(why, err, "no memory for a deletion");
    }
    /* Every step may be done again: what the disk does not give back hinders nothing. */
    if (err != PL_OK) {
        start_over(deletion, account);
    }
    *out = deletion;
    return PL_OK;
}

void deletion_free(struct deletion *deletion)
{
    if (deletion != NULL) {
        pl_buf_release(&deletion->at);
        free(deletion);
    }
}

/* ---- for people */

static enum pl_err write_edges(const struct deletion *deletion,
                               const struct lifecycle_config *config, struct json_writer *w)
{
    struct cutoff_edge *edges = NULL;
    size_t count = 0;
    bool done;
    enum pl_err err = PL_OK;
    if (config->cutoffs != NULL && deletion->done >= DELETION_KEY) {
        err = cutoffs_of(config->cutoffs, deletion->position, &edges, &count, &done);
    }
    json_write_key(w, "edges");
    json_write_array(w);
    for (size_t i = 0; err == PL_OK && i < count; i++) {
        json_write_object(w);
        json_write_pair_hex(w, "id", pl_span(edges[i].id.bytes, sizeof(edges[i].id.bytes)));
        json_write_pair_text(w, "name", edges[i].name);
        json_write_pair_text(w, "region", edges[i].region);
        json_write_pair_text(w, "state", cutoff_state_name(edges[i].state));
        json_write_pair_time(w, "at", edges[i].at_ms);
        json_write_pair_text(w, "reason", edges[i].reason);
        json_write_object_end(w);
    }
    json_write_array_end(w);
    free(edges);
    return err;
}

enum pl_err deletion_write_json(const struct lifecycle_config *config,
                                const struct account *account, struct json_writer *w,
                                struct pl_why *why)
{
    struct deletion *deletion = NULL;
    enum pl_err err = PL_OK;
    const int64_t now_ms = accounts_believed_ms(config->accounts);
    const struct account_standing standing = {
        .held = holds_stand(config->holds, account->id, false, now_ms, NULL),
        .held_whole = holds_stand(config->holds, account->id, true, now_ms, NULL)};
    json_write_object(w);
    json_write_pair_account(w, "account", account->id);
    json_write_pair_text(w, "state", account_state_name(account_state_at(account, now_ms)));
    account_write_held(&standing, w);
    json_write_pair_time(w, "due_at",
                         account->state < ACCOUNT_DELETING ? account_due_ms(account) : 0);
    json_write_pair_bool(w, "on_request", account->deleted_on_request);
    json_write_pair_time(w, "requested_at", account->requested_ms);
    if (account->request_reason[0] != '\0') {
        json_write_pair_text(w, "reason", account->request_reason);
    }
    json_write_pair_time(w, "cleared_at", account->cleared_ms);
    if (account->state >= ACCOUNT_DELETING) {
        err = deletion_load(&deletion, config, account, why);
        json_write_pair_time(w, "limit_at", deletion_limit_ms(account));
    }
    if (err == PL_OK && deletion != NULL) {
        write_progress(deletion, config, account, w);
        err = write_edges(deletion, config, w);
    }
    json_write_object_end(w);
    deletion_free(deletion);
    return err;
}
