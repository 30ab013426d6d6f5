#include "origin/account.h"
#include "origin/lifecycle.h"
#include "origin/request.h"

enum account_state account_state_at(const struct account *account, int64_t now_ms)
{
    bool passed = account->expires_at_ms != 0 && account->expires_at_ms <= now_ms;
    return account->state == ACCOUNT_ACTIVE && passed ? ACCOUNT_EXPIRED : account->state;
}

static void write_members(const struct account *account, enum account_state state,
                          struct json_writer *w)
{
    json_write_pair_account(w, "id", account->id);
    json_write_pair_text(w, "name", account->name);
    json_write_pair_text(w, "state", account_state_name(state));
    json_write_pair_hex(w, "write_key",
                        pl_span(account->write_key.bytes, sizeof(account->write_key.bytes)));
    json_write_pair_time(w, "created_at", account->created_ms);
    json_write_pair_time(w, "expires_at", account->expires_at_ms);
    json_write_pair_time(w, "deletion_started_at", account->deletion_started_ms);
    json_write_pair_time(w, "deleted_at", account->deleted_ms);
    json_write_pair_u64(w, "config_version", account->config_version);
    json_write_pair_words(w, "regions", account->regions);
    json_write_pair_words(w, "origins", account->origins);
    json_write_pair_bool(w, "honour_dnt", account->honour_dnt);
}

void account_write_json(const struct account *account, int64_t now_ms, struct json_writer *w)
{
    int64_t due_ms = lifecycle_due_ms(account);
    json_write_object(w);
    write_members(account, account_state_at(account, now_ms), w);
    json_write_pair_time(w, "deletion_due_at",
                         account_state_at(account, now_ms) == ACCOUNT_ACTIVE ? 0 : due_ms);
    json_write_object_end(w);
}

void account_write_record(const struct account *account, struct json_writer *w)
{
    json_write_object(w);
    write_members(account, account->state, w);
    json_write_object_end(w);
}

static enum pl_err read_state(struct json record, enum account_state *state, struct pl_why *why)
{
    char name[32] = "";
    enum pl_err err = request_text(record, "state", name, sizeof(name), why);
    for (int s = ACCOUNT_ACTIVE; err == PL_OK && s <= ACCOUNT_DELETED; s++) {
        if (strcmp(account_state_name((enum account_state)s), name) == 0) {
            *state = (enum account_state)s;
            return PL_OK;
        }
    }
    return err != PL_OK ? err : pl_fail_field(why, PL_ECORRUPT, "state", "unknown state %s", name);
}

/* What requests and records have in common. */
static enum pl_err read_members(struct json object, struct account *account, struct pl_why *why)
{
    enum pl_err err;
    if ((err = request_text(object, "name", account->name, sizeof(account->name), why)) != PL_OK ||
        (err = request_time(object, "expires_at", &account->expires_at_ms, why)) != PL_OK ||
        (err = request_words(object, "regions", account->regions, sizeof(account->regions), why)) !=
            PL_OK ||
        (err = request_words(object, "origins", account->origins, sizeof(account->origins), why)) !=
            PL_OK) {
        return err;
    }
    return request_bool(object, "honour_dnt", &account->honour_dnt, why);
}

enum pl_err account_read_record(struct json record, struct account *account, struct pl_why *why)
{
    enum pl_err err;
    if ((err = read_members(record, account, why)) != PL_OK ||
        (err = read_state(record, &account->state, why)) != PL_OK ||
        (err = request_id128(record, "write_key", &account->write_key, why)) != PL_OK ||
        (err = request_time(record, "created_at", &account->created_ms, why)) != PL_OK ||
        (err = request_time(record, "deletion_started_at", &account->deletion_started_ms, why)) !=
            PL_OK ||
        (err = request_time(record, "deleted_at", &account->deleted_ms, why)) != PL_OK) {
        return err;
    }
    return request_u64(record, "config_version", &account->config_version, why);
}

enum pl_err account_read_rules(struct json request, struct account *account, struct pl_why *why)
{
    return read_members(request, account, why);
}
