/* Campaign configs: each version as it was published. */
#include "origin/accounts/account_item.h"
#include "origin/accounts/accounts_state.h"
#include "origin/families.h"

static enum pl_err publish(struct accounts *accounts, struct account *account,
                           struct pl_span config_json, struct pl_why *why)
{
    struct store_batch *batch;
    uint8_t key[16];
    if (account->state >= ACCOUNT_DELETING) {
        return pl_fail(why, PL_EEXPIRED, "account %s is %s", account_called(account).text,
                       account_state_name(account->state));
    }
    enum pl_err err = store_batch_new(&batch);
    if (err != PL_OK) {
        return pl_fail(why, err, "no memory for a change");
    }
    account->config_version++;
    account_config_key(account->id, account->config_version, key);
    store_batch_put(batch, accounts->config.store, FAMILY_CONFIGS, pl_span(key, sizeof(key)),
                    config_json);
    err = accounts_commit(accounts, account, config_json, batch, why);
    store_batch_free(batch);
    return err;
}

enum pl_err accounts_publish(struct accounts *accounts, uint64_t id, struct pl_span config_json,
                             uint64_t *version, struct pl_why *why)
{
    struct account account;
    if (config_json.len > LIMIT_CONFIG_BYTES) {
        return pl_fail(why, PL_ELIMIT, "the config is %zu bytes long, over the limit of %d",
                       config_json.len, LIMIT_CONFIG_BYTES);
    }
    pthread_mutex_lock(&accounts->changing);
    enum pl_err err = accounts_begin(accounts, id, &account, why);
    if (err == PL_OK) {
        err = publish(accounts, &account, config_json, why);
    }
    pthread_mutex_unlock(&accounts->changing);
    if (err == PL_OK) {
        *version = account.config_version;
    }
    return err;
}

enum pl_err accounts_config(struct accounts *accounts, uint64_t id, uint64_t version,
                            struct pl_buf *out, struct pl_why *why)
{
    struct account account;
    uint8_t key[16];
    enum pl_err err = accounts_copy(accounts, id, &account, why);
    if (err != PL_OK) {
        return err;
    }
    account_config_key(id, version == 0 ? account.config_version : version, key);
    err = store_get(accounts->config.store, FAMILY_CONFIGS, pl_span(key, sizeof(key)), out);
    if (err == PL_ENOTFOUND) {
        return pl_fail(why, err, "account %s has published %s", account_called(&account).text,
                       account.config_version == 0 ? "no config yet" : "no such version");
    }
    return err == PL_OK ? err : pl_fail(why, err, "the config cannot be read from the database");
}
