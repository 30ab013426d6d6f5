#include "origin/accounts/account_item.h"
#include "origin/families.h"
#include "proto/base/secret.h"
#include "proto/wire/config.h"
#include "proto/wire/limits.h"

static enum pl_err split_words(const char *words, struct catalog_item *item, bool regions,
                               struct pl_why *why)
{
    for (size_t len; *words != '\0'; words += len + (words[len] == ' ')) {
        len = strcspn(words, " ");
        if (!regions) {
            if (item->origin_count == LIMIT_ORIGINS) {
                return pl_fail_field(why, PL_ELIMIT, "origins", "there are more than %d origins",
                                     LIMIT_ORIGINS);
            }
            item->origins[item->origin_count++] = pl_span(words, len);
        } else if (item->region_count == CATALOG_REGIONS_MAX || len >= CATALOG_REGION_BYTES) {
            return pl_fail_field(why, PL_ELIMIT, "regions",
                                 "at most %d regions of at most %d bytes each", CATALOG_REGIONS_MAX,
                                 CATALOG_REGION_BYTES - 1);
        } else {
            memcpy(item->regions[item->region_count], words, len);
            item->regions[item->region_count++][len] = '\0';
        }
    }
    return PL_OK;
}

void account_config_key(uint64_t account, uint64_t version, uint8_t key[16])
{
    pl_store_u64(key, account);
    pl_store_u64(key + 8, version);
}

/* Whether Do Not Track counts is a rule of the account, which edges follow; browsers must not
 * follow another. The public form names the setting once, and quotes within its strings are
 * escaped. */
static enum pl_err set_honour_dnt(struct pl_buf *config, bool honour)
{
    static const char name[] = "\"honour_dnt\":";
    uint8_t *at = memmem(config->data, config->len, name, sizeof(name) - 1);
    if (at == NULL) {
        return PL_ECORRUPT;
    }
    size_t value = (size_t)(at - config->data) + sizeof(name) - 1;
    size_t old_len = config->data[value] == 't' ? 4 : 5, new_len = honour ? 4 : 5;
    enum pl_err err = pl_buf_reserve(config, 1);
    if (err != PL_OK) {
        return err;
    }
    at = config->data + value;
    memmove(at + new_len, at + old_len, config->len - value - old_len);
    memcpy(at, honour ? "true" : "false", new_len);
    config->len = config->len - old_len + new_len;
    return PL_OK;
}

/* The config as browsers get it. */
static enum pl_err public_config(struct store *store, const struct account *account,
                                 struct pl_span document, struct pl_buf *out, struct pl_why *why)
{
    struct pl_buf stored;
    uint8_t key[16];
    enum pl_err err = PL_OK;
    if (account->config_version == 0) {
        return PL_OK;
    }
    pl_buf_init(&stored, LIMIT_CONFIG_BYTES);
    if (document.len == 0) {
        account_config_key(account->id, account->config_version, key);
        err = store_get(store, FAMILY_CONFIGS, pl_span(key, sizeof(key)), &stored);
        document = pl_buf_span(&stored);
        if (err != PL_OK) {
            pl_fail(why, err, "the account's config cannot be read from the database: %s",
                    pl_err_word(err));
        }
    }
    if (err == PL_OK) {
        err = config_public(document, account->config_version, out, why);
        if (err == PL_OK && (err = set_honour_dnt(out, account->honour_dnt)) != PL_OK) {
            pl_fail(why, err, "the config's public form has no room for the account's rules");
        }
    }
    pl_buf_release(&stored);
    return err;
}

enum pl_err account_id_key(struct keyring *keyring, uint64_t account,
                           uint8_t id_key[CATALOG_ID_KEY_BYTES])
{
    static const char label[] = "polder id v1";
    uint8_t data_key[KEYRING_DATA_KEY_BYTES];
    enum pl_err err = keyring_key(keyring, account, data_key);
    if (err == PL_OK) {
        err = pl_hkdf_expand(pl_span(data_key, sizeof(data_key)), pl_span(label, sizeof(label)),
                             id_key, CATALOG_ID_KEY_BYTES);
    }
    pl_wipe(data_key, sizeof(data_key));
    return err;
}

enum pl_err account_item(struct store *store, const struct account *account,
                         struct pl_span document, struct catalog_item *item, struct pl_buf *config,
                         const struct pl_log *log, struct pl_why *why)
{
    const bool needed = account->state == ACCOUNT_ACTIVE || document.len > 0;
    const size_t before = config->len;
    struct pl_why lost = {.err = PL_OK};
    enum pl_err err;
    memset(item, 0, sizeof(*item));
    item->account = account->id;
    item->state = account->state;
    if (account->state >= ACCOUNT_DELETING) {
        item->kind = CATALOG_TOMBSTONE;
        return PL_OK;
    }
    item->kind = CATALOG_ACCOUNT;
    item->write_key = account->write_key;
    item->expires_at_ms = account->expires_at_ms;
    item->honour_dnt = account->honour_dnt;
    account_rules_tell(&account->rules, item);
    if ((err = split_words(account->regions, item, true, why)) != PL_OK ||
        (err = split_words(account->origins, item, false, why)) != PL_OK) {
        return err;
    }
    err = public_config(store, account, document, config, needed ? why : &lost);
    if (err != PL_OK && !needed) {
        pl_log(log, PL_LOG_ERROR, "accounts",
               "edges hear that account %016llx is %s, and get no config of it: %s",
               (unsigned long long)account->id, account_state_name(account->state), lost.text);
        config->len = before;
        return PL_OK;
    }
    if (err != PL_OK) {
        return err;
    }
    item->config_version = account->config_version;
    item->config_json = pl_buf_span(config);
    return PL_OK;
}
