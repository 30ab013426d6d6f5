/* How a change of an account becomes durable, known to edges and proof against a restore. */
#include "origin/accounts/account_item.h"
#include "origin/accounts/accounts_state.h"
#include "origin/families.h"
#include "proto/base/secret.h"

#include <stdlib.h>

#define RECORD_BYTES_MAX (32 * 1024)

struct writing {
    struct accounts *accounts;
    const struct account *account;
    const struct catalog_item *item;
    struct store_batch *batch;
};

/* Of an account that is being deleted edges know all there is to know: they get no other item. */
static enum pl_err write_batch(void *ctx, struct pl_why *why)
{
    const struct writing *w = ctx;
    const struct accounts_config *config = &w->accounts->config;
    const struct account *before = accounts_find(w->accounts, w->account->id);
    return w->account->is_ours || (before != NULL && before->state >= ACCOUNT_DELETING)
               ? store_write(config->store, w->batch, true, why)
               : changelog_write(config->changelog, w->batch, w->item, why);
}

/* The batch, with the record in it, and what a restore must not undo of it in the redo log. */
static enum pl_err make(struct writing *w, struct pl_span row, struct pl_why *why)
{
    struct accounts *accounts = w->accounts;
    uint8_t key[8];
    pl_store_u64(key, w->account->id);
    const struct redo_change change = {
        .record = {.kind = REDO_ACCOUNT,
                   .account = w->account->id,
                   .state = w->account->state,
                   .expires_at_ms = w->account->expires_at_ms,
                   .cleared_ms = w->account->cleared_ms,
                   .deletion_started_ms = w->account->deletion_started_ms,
                   .on_request = w->account->deleted_on_request,
                   .requested_ms = w->account->requested_ms},
        .family = FAMILY_ACCOUNTS,
        .key = pl_span(key, sizeof(key)),
        .row = row,
        .write = write_batch,
        .ctx = w,
    };
    store_batch_put(w->batch, accounts->config.store, FAMILY_ACCOUNTS, change.key, row);
    enum pl_err err = redo_make(accounts->config.redo, &change, why);
    accounts->stale = err != PL_OK;
    return err;
}

enum pl_err accounts_commit(struct accounts *accounts, struct account *account,
                            struct pl_span document, struct store_batch *batch, struct pl_why *why)
{
    struct json_writer *w = NULL;
    struct pl_buf record, config;
    struct catalog_item *item = malloc(sizeof(*item));
    pl_buf_init(&record, RECORD_BYTES_MAX);
    pl_buf_init(&config, LIMIT_CONFIG_PUBLIC_BYTES);
    enum pl_err err = item == NULL ? PL_ENOMEM : json_writer_new(&w, false);
    if (err == PL_OK && !account->is_ours) {
        err = account_item(accounts->config.store, account, document, item, &config,
                           accounts->config.log, why);
    }
    if (err == PL_OK && !account->is_ours && item->kind == CATALOG_ACCOUNT &&
        account_id_key(accounts->config.keyring, account->id, item->id_key) != PL_OK) {
        /* An account must be able to end even when its key is lost. */
        pl_log(accounts->config.log, PL_LOG_ERROR, "accounts",
               "edges get no id key of account %016llx: its data key is not at hand",
               (unsigned long long)account->id);
    }
    if (err == PL_OK) {
        json_writer_begin(w, &record);
        account_write_record(account, w);
        err = json_writer_end(w);
        if (err != PL_OK) {
            pl_fail(why, err, "the account cannot be recorded: %s", pl_err_word(err));
        }
    }
    if (err == PL_OK) {
        struct writing writing = {accounts, account, item, batch};
        err = make(&writing, pl_buf_span(&record), why);
    }
    if (err == PL_OK) {
        account->is_ours = false;
        pthread_rwlock_wrlock(&accounts->lock);
        struct account *known = accounts_find(accounts, account->id);
        if (known != NULL) {
            *known = *account;
        } else {
            err = accounts_insert(accounts, account);
            accounts->stale = err != PL_OK;
        }
        pthread_rwlock_unlock(&accounts->lock);
    }
    json_writer_free(w);
    pl_buf_release(&config);
    pl_buf_release(&record);
    if (item != NULL) {
        pl_wipe(item, sizeof(*item));
    }
    free(item);
    return err;
}

enum pl_err accounts_commit_alone(struct accounts *accounts, struct account *account,
                                  struct pl_why *why)
{
    struct store_batch *batch;
    enum pl_err err = store_batch_new(&batch);
    if (err != PL_OK) {
        return pl_fail(why, err, "no memory for a change");
    }
    err = accounts_commit(accounts, account, pl_span(NULL, 0), batch, why);
    store_batch_free(batch);
    return err;
}
