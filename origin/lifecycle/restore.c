#include "origin/lifecycle/restore.h"
#include "origin/accounts/account_states.h"
#include "origin/lifecycle/certificate.h"
#include "proto/base/secret.h"
#include "proto/base/text.h"

#include <stdio.h>
#include <stdlib.h>

#define HOLD_JSON_BYTES 8192

struct restore {
    const struct origin_parts *parts;
    uint64_t applied; /* records */
    uint64_t unknown; /* records of accounts that this database never knew */
};

/* Whether anything may be put back for the account: what goes with it stays gone. */
static bool is_alive(struct restore *r, uint64_t id)
{
    struct account account;
    if (accounts_get(r->parts->accounts, id, &account) != PL_OK) {
        r->unknown++;
        return false;
    }
    return account.state < ACCOUNT_DELETING;
}

/* ---- a function for each kind of record */

static enum pl_err edit_dates(void *ctx, struct account *account, struct pl_why *why)
{
    const struct redo_record *record = ctx;
    (void)why;
    account->state = record->state;
    account->expires_at_ms = record->expires_at_ms;
    account->imported = account->imported && record->state != ACCOUNT_ACTIVE; /* reinstated */
    account->cleared_ms = record->cleared_ms;
    return PL_OK;
}

static enum pl_err apply_account(struct restore *r, const struct redo_record *record,
                                 struct pl_why *why)
{
    struct account account;
    struct redo_record copy = *record;
    if (!is_alive(r, record->account)) {
        return PL_OK;
    }
    if (record->state >= ACCOUNT_DELETING) {
        const int64_t requested_ms =
            record->requested_ms != 0 ? record->requested_ms : record->deletion_started_ms;
        return accounts_delete_again(r->parts->accounts, record->account,
                                     record->on_request ? requested_ms : 0,
                                     record->deletion_started_ms, NULL, why);
    }
    if (accounts_get(r->parts->accounts, record->account, &account) != PL_OK ||
        (account.state == record->state && account.expires_at_ms == record->expires_at_ms &&
         account.cleared_ms == record->cleared_ms)) {
        return PL_OK;
    }
    return accounts_change(r->parts->accounts, record->account, MOVED_BY_RESTORE, edit_dates, &copy,
                           NULL, why);
}

/* Two certificates of one account cannot be; the one that is there was issued by this database. */
static enum pl_err apply_certificate(struct restore *r, const struct redo_record *record,
                                     struct pl_why *why)
{
    enum pl_err err = certificate_put(r->parts->store, record->account, record->row, why);
    if (err == PL_EEXISTS) {
        pl_log(r->parts->log, PL_LOG_ERROR, "restore",
               "the redo log has another certificate of account %016llx than the database",
               (unsigned long long)record->account);
        err = PL_OK;
    }
    return err;
}

static enum pl_err apply_hold(struct restore *r, const struct redo_record *record,
                              struct pl_why *why)
{
    struct json_parser *parser = NULL;
    struct json object;
    struct hold hold = {.account = record->account, .id = record->id};
    if (!is_alive(r, record->account)) {
        return PL_OK;
    }
    enum pl_err err = json_parser_new(&parser, HOLD_JSON_BYTES, 4);
    if (err == PL_OK) {
        err = json_parse(parser, record->row, &object, why);
    }
    if (err == PL_OK) {
        err = hold_read_json(object, &hold, why);
    }
    if (err == PL_OK) {
        err = holds_put(r->parts->holds, &hold, why);
    }
    json_parser_free(parser);
    return err;
}

static enum pl_err apply_optout(struct restore *r, const struct redo_record *record,
                                struct pl_why *why)
{
    struct suppression said;
    uint8_t key[SUPPRESSION_KEY_BYTES];
    if (!is_alive(r, record->account)) {
        return PL_OK;
    }
    pl_store_u64(key, record->account);
    memcpy(key + 8, record->id.bytes, sizeof(record->id.bytes));
    enum pl_err err = suppression_read(pl_span(key, sizeof(key)), record->row, &said);
    return err == PL_OK ? suppressions_record(r->parts->suppressions, &said, why)
                        : pl_fail(why, err, "an opt-out that cannot be read");
}

static enum pl_err apply_erasure(struct restore *r, const struct redo_record *record,
                                 struct pl_why *why)
{
    uint8_t key[ERASURE_KEY_BYTES];
    if (!is_alive(r, record->account)) {
        return PL_OK;
    }
    erasure_key(record->account, &record->id, key);
    return erasures_replay(r->parts->erasures, pl_span(key, sizeof(key)), record->row, why);
}

/* One that this database never knew is refused as it is. */
static enum pl_err apply_token(struct restore *r, const struct redo_record *record,
                               struct pl_why *why)
{
    enum pl_err err = tokens_revoke(r->parts->tokens, &record->id, why);
    return err == PL_ENOTFOUND ? PL_OK : err;
}

static enum pl_err apply_edge(struct restore *r, const struct redo_record *record,
                              struct pl_why *why)
{
    struct edge_record edge;
    enum pl_err err = edges_revoke(r->parts->edges, &record->id, &edge, why);
    return err == PL_ENOTFOUND ? PL_OK : err;
}

static enum pl_err apply(void *ctx, const struct redo_record *record, struct pl_why *why)
{
    static enum pl_err (*const by_kind[REDO_KINDS])(
        struct restore * r, const struct redo_record *record, struct pl_why *why) = {
        [REDO_ACCOUNT] = apply_account, [REDO_CERTIFICATE] = apply_certificate,
        [REDO_HOLD] = apply_hold,       [REDO_OPTOUT] = apply_optout,
        [REDO_ERASURE] = apply_erasure, [REDO_TOKEN] = apply_token,
        [REDO_EDGE] = apply_edge,
    };
    ((struct restore *)ctx)->applied++;
    return by_kind[record->kind] == NULL ? PL_OK : by_kind[record->kind](ctx, record, why);
}

/* ---- keys */

/* A data key that the keyring has destroyed is a deletion that has begun, whatever the database
 * remembers of it. */
static enum pl_err delete_keyless(const struct origin_parts *parts, const struct account *account,
                                  struct pl_why *why)
{
    struct keyring_destruction destruction;
    if (keyring_destruction(parts->keyring, account->id, &destruction) != PL_OK) {
        return PL_OK;
    }
    pl_log(parts->log, PL_LOG_WARN, "restore",
           "account %016llx is deleted again: its data key was destroyed, and the database takes "
           "it for %s",
           (unsigned long long)account->id, account_state_name(account->state));
    return accounts_delete_again(parts->accounts, account->id, 0, destruction.wall_ms, NULL, why);
}

/* Whether its deletion is past its key's end. */
static bool key_has_ended(const struct origin_parts *parts, const struct account *account)
{
    const struct lifecycle_config config = {.store = parts->store};
    struct deletion *deletion;
    if (account->state == ACCOUNT_DELETED) {
        return true;
    }
    if (deletion_load(&deletion, &config, account, NULL) != PL_OK) {
        return false;
    }
    const bool ended = deletion->done >= DELETION_KEY;
    deletion_free(deletion);
    return ended;
}

/* A keyring that was put back from a copy has keys again that were destroyed and certified to be.
 */
static enum pl_err end_key_again(const struct origin_parts *parts, const struct account *account,
                                 struct pl_why *why)
{
    struct keyring_destruction destruction;
    uint8_t key[KEYRING_DATA_KEY_BYTES];
    const enum pl_err known = keyring_key(parts->keyring, account->id, key);
    pl_wipe(key, sizeof(key));
    if (known == PL_EEXPIRED || (known == PL_ENOTFOUND && account->state == ACCOUNT_DELETED) ||
        !key_has_ended(parts, account)) {
        return PL_OK;
    }
    enum pl_err err = deletion_end_key(parts->keyring, account, why);
    if (keyring_destruction(parts->keyring, account->id, &destruction) != PL_OK) {
        return err;
    }
    pl_log(parts->log, PL_LOG_WARN, "restore",
           "the data key of account %016llx is destroyed again: the keyring was put back from a "
           "copy",
           (unsigned long long)account->id);
    const struct audit_entry entry = {
        .actor = "origin",
        .action = "deletion.key_destroyed",
        .account = account->id,
        .detail = "again: the keyring was put back from a copy",
        .outcome = AUDIT_DONE,
    };
    audit_tell(parts->audit, &entry);
    return PL_OK; /* a path that could not be written to is seen to later */
}

static enum pl_err compare_keys(const struct origin_parts *parts, struct pl_why *why)
{
    struct account *all;
    size_t count;
    enum pl_err err = accounts_list(parts->accounts, &all, &count);
    if (err != PL_OK) {
        return pl_fail(why, err, "no memory for the accounts");
    }
    for (size_t i = 0; err == PL_OK && i < count; i++) {
        err = all[i].state < ACCOUNT_DELETING ? delete_keyless(parts, &all[i], why)
                                              : end_key_again(parts, &all[i], why);
    }
    free(all);
    return err;
}

static void note_restore(const struct restore *r)
{
    char detail[96];
    if (r->applied > 0) {
        snprintf(detail, sizeof(detail), "%llu %s of the redo log applied again",
                 (unsigned long long)r->applied, pl_plural(r->applied, "line", "lines"));
    } else {
        snprintf(detail, sizeof(detail), "nothing in the redo log to apply again");
    }
    const struct audit_entry entry = {
        .actor = "origin", .action = "database.restored", .detail = detail, .outcome = AUDIT_DONE};
    audit_tell(r->parts->audit, &entry);
}

enum pl_err restore_apply(const struct origin_parts *parts, struct pl_why *why)
{
    struct restore r = {.parts = parts};
    const bool restored = redo_is_restored(parts->redo);
    enum pl_err err = redo_replay(parts->redo, apply, &r, why);
    if (err == PL_OK && restored) {
        note_restore(&r);
    }
    if (err == PL_OK && r.unknown > 0) {
        pl_log(parts->log, PL_LOG_WARN, "restore",
               "%llu %s of accounts that were made after this copy of the database",
               (unsigned long long)r.unknown, pl_plural(r.unknown, "record is", "records are"));
    }
    return err == PL_OK ? compare_keys(parts, why) : err;
}
