#include "origin/accounts/accounts.h"
#include "origin/accounts/account_item.h"
#include "origin/families.h"
#include "origin/request.h"
#include "proto/base/secret.h"

#include <assert.h>
#include <pthread.h>
#include <search.h>
#include <stdlib.h>

#define RECORD_BYTES_MAX (32 * 1024)

struct accounts {
    struct accounts_config config;
    pthread_mutex_t changing; /* one change at a time, over its write too */
    bool stale;               /* under `changing`: a write failed, which may turn up after all */
    pthread_rwlock_t lock;    /* the tree; changed only under `changing` */
    void *tree;               /* tsearch's, of struct account, by id */
    size_t count;
    size_t older; /* records that an earlier version wrote */
};

/* An account begins with its id, so an id alone will do as the key. */
static_assert(offsetof(struct account, id) == 0, "find() looks accounts up by their first member");
static int by_id(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Under lock or changing. */
static struct account *find(struct accounts *accounts, uint64_t id)
{
    struct account **found = tfind(&id, &accounts->tree, by_id);
    return found == NULL ? NULL : *found;
}

static enum pl_err insert(struct accounts *accounts, const struct account *account)
{
    struct account *kept = malloc(sizeof(*kept));
    if (kept == NULL) {
        return PL_ENOMEM;
    }
    *kept = *account;
    if (tsearch(kept, &accounts->tree, by_id) == NULL) {
        free(kept);
        return PL_ENOMEM;
    }
    accounts->count++;
    return PL_OK;
}

static enum pl_err load(void *ctx, struct pl_span key, struct json record, struct pl_why *why)
{
    struct account account = {.id = key.len == 8 ? pl_load_u64(key.data) : 0};
    struct accounts *accounts = ctx;
    struct json rules;
    enum pl_err err = account_read_record(record, &account, why);
    accounts->older += !json_get(record, "cookie", &rules);
    return err == PL_OK ? insert(ctx, &account)
                        : pl_fail_in(why, err, "the record of account %016llx",
                                     (unsigned long long)account.id);
}

/* Under `changing`. */
static enum pl_err catch_up(struct accounts *accounts, struct pl_why *why)
{
    struct accounts fresh = {.config = accounts->config};
    if (!accounts->stale) {
        return PL_OK;
    }
    enum pl_err err = changelog_refresh(accounts->config.changelog, why);
    if (err == PL_OK) {
        err = store_sync(accounts->config.store, why); /* fails until the store has recovered */
    }
    if (err == PL_OK) {
        err = request_each_record(accounts->config.store, FAMILY_ACCOUNTS, load, &fresh, why);
    }
    if (err != PL_OK) {
        tdestroy(fresh.tree, free);
        return err;
    }
    pthread_rwlock_wrlock(&accounts->lock);
    void *old = accounts->tree;
    accounts->tree = fresh.tree;
    accounts->count = fresh.count;
    pthread_rwlock_unlock(&accounts->lock);
    tdestroy(old, free);
    accounts->stale = false;
    return PL_OK;
}

enum pl_err accounts_refresh(struct accounts *accounts, struct pl_why *why)
{
    pthread_mutex_lock(&accounts->changing);
    enum pl_err err = catch_up(accounts, why);
    pthread_mutex_unlock(&accounts->changing);
    return err;
}

void accounts_close(struct accounts *accounts)
{
    if (accounts != NULL) {
        tdestroy(accounts->tree, free);
        pthread_rwlock_destroy(&accounts->lock);
        pthread_mutex_destroy(&accounts->changing);
        free(accounts);
    }
}

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
    const struct account *before = find(w->accounts, w->account->id);
    return before != NULL && before->state >= ACCOUNT_DELETING
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
                   .on_request = w->account->deleted_on_request},
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

/* Writes record, changelog item and what the batch holds already; then memory follows. Under
 * `changing`. */
static enum pl_err commit(struct accounts *accounts, struct account *account,
                          struct pl_span document, struct store_batch *batch, struct pl_why *why)
{
    struct json_writer *w = NULL;
    struct pl_buf record, config;
    struct catalog_item *item = malloc(sizeof(*item));
    pl_buf_init(&record, RECORD_BYTES_MAX);
    pl_buf_init(&config, LIMIT_CONFIG_PUBLIC_BYTES);
    enum pl_err err = item == NULL ? PL_ENOMEM : json_writer_new(&w, false);
    if (err == PL_OK) {
        err = account_item(accounts->config.store, account, document, item, &config, why);
    }
    if (err == PL_OK && item->kind == CATALOG_ACCOUNT &&
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
        pthread_rwlock_wrlock(&accounts->lock);
        struct account *known = find(accounts, account->id);
        if (known != NULL) {
            *known = *account;
        } else {
            err = insert(accounts, account);
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

/* As commit, with a batch of its own. */
static enum pl_err commit_alone(struct accounts *accounts, struct account *account,
                                struct pl_why *why)
{
    struct store_batch *batch;
    enum pl_err err = store_batch_new(&batch);
    if (err != PL_OK) {
        return pl_fail(why, err, "no memory for a change");
    }
    err = commit(accounts, account, pl_span(NULL, 0), batch, why);
    store_batch_free(batch);
    return err;
}

/* ---- opening */

/* Records of an earlier version are written anew, and edges told what it could not tell them. Where
 * that fails the records stand as they were, and it is done at the next start. */
static enum pl_err tell_again(struct accounts *accounts)
{
    struct account *all;
    struct pl_why why = {0};
    size_t count;
    enum pl_err err = accounts_list(accounts, &all, &count);
    if (err != PL_OK) {
        return err;
    }
    for (size_t i = 0; i < count && err == PL_OK; i++) {
        if (all[i].state < ACCOUNT_DELETING) {
            err = commit_alone(accounts, &all[i], &why);
        }
    }
    if (err != PL_OK) {
        pl_log(accounts->config.log, PL_LOG_WARN, "accounts",
               "edges do not know all rules of all accounts yet; the next start tells them: %s",
               why.text);
    }
    free(all);
    return PL_OK;
}

enum pl_err accounts_open(struct accounts **out, const struct accounts_config *config,
                          struct pl_why *why)
{
    struct accounts *accounts = calloc(1, sizeof(*accounts));
    if (accounts == NULL) {
        return pl_fail(why, PL_ENOMEM, "no memory for the accounts");
    }
    accounts->config = *config;
    pthread_mutex_init(&accounts->changing, NULL);
    pthread_rwlock_init(&accounts->lock, NULL);
    enum pl_err err = request_each_record(config->store, FAMILY_ACCOUNTS, load, accounts, why);
    if (err == PL_OK && accounts->older > 0) {
        err = tell_again(accounts);
    }
    if (err != PL_OK) {
        accounts_close(accounts);
        return err;
    }
    *out = accounts;
    return PL_OK;
}

/* ---- changes */

struct comparison {
    const struct account *mine;
    struct pl_why *why;
    enum pl_err err;
};

static void compare_node(const void *node, VISIT visit, void *ctx)
{
    struct comparison *c = ctx;
    if ((visit != postorder && visit != leaf) || c->err != PL_OK) {
        return;
    }
    const struct account *other = *(struct account *const *)node;
    if (other->id != c->mine->id && other->state < ACCOUNT_DELETING) {
        c->err = account_rules_clash(&c->mine->rules, &other->rules, &other->write_key, other->name,
                                     c->why);
    }
}

/* No two accounts may be known by the same name. Under `changing`. */
static enum pl_err check_unique(struct accounts *accounts, const struct account *account,
                                struct pl_why *why)
{
    struct comparison comparison = {account, why, PL_OK};
    twalk_r(accounts->tree, compare_node, &comparison);
    return comparison.err;
}

/* Of a new account. Who writes a wrong year must not see an account deleted at once. */
static enum pl_err check_expiry(const struct account *account, struct pl_why *why)
{
    bool passed = account->expires_at_ms != 0 && account->expires_at_ms <= account->created_ms;
    if (passed && !account->imported) {
        return pl_fail_field(why, PL_EINVAL, "expires_at",
                             "expires_at has passed already; an account that had ended before it "
                             "came here must say imported: true");
    }
    if (!passed && account->imported) {
        return pl_fail_field(why, PL_EINVAL, "imported",
                             "imported is for accounts whose expires_at has passed already");
    }
    return PL_OK;
}

enum pl_err accounts_create(struct accounts *accounts, struct json request, struct account *out,
                            struct pl_why *why)
{
    static const char *const members[] = {
        "name",       "expires_at",       "imported",           "regions", "origins",
        "honour_dnt", "retention_months", ACCOUNT_RULE_MEMBERS, NULL};
    struct account account;
    enum pl_err err;
    account_init(&account);
    if ((err = request_only(request, members, why)) != PL_OK ||
        (err = account_read_rules(request, &account, why)) != PL_OK ||
        (err = request_bool(request, "imported", &account.imported, why)) != PL_OK) {
        return err;
    }
    account.created_ms = pl_wall_ms(accounts->config.clock);
    if ((err = check_expiry(&account, why)) != PL_OK) {
        return err;
    }
    account.state = account.imported ? ACCOUNT_EXPIRED : ACCOUNT_ACTIVE;
    pthread_mutex_lock(&accounts->changing);
    if ((err = catch_up(accounts, why)) == PL_OK &&
        (err = check_unique(accounts, &account, why)) == PL_OK &&
        (err = pl_id128_random(accounts->config.random, &account.write_key)) == PL_OK &&
        (err = pl_account_random(accounts->config.random, &account.id)) == PL_OK &&
        (err = keyring_new_key(accounts->config.keyring, account.id, why)) == PL_OK) {
        err = commit_alone(accounts, &account, why);
    }
    pthread_mutex_unlock(&accounts->changing);
    if (err == PL_OK) {
        *out = account;
    }
    return err;
}

enum pl_err accounts_get(struct accounts *accounts, uint64_t id, struct account *out)
{
    pthread_rwlock_rdlock(&accounts->lock);
    const struct account *account = find(accounts, id);
    if (account != NULL) {
        *out = *account;
    }
    pthread_rwlock_unlock(&accounts->lock);
    return account == NULL ? PL_ENOTFOUND : PL_OK;
}

struct listing {
    struct account *out;
    size_t count;
};

static void list_node(const void *node, VISIT visit, void *ctx)
{
    struct listing *listing = ctx;
    if (visit == postorder || visit == leaf) {
        listing->out[listing->count++] = **(struct account *const *)node;
    }
}

enum pl_err accounts_list(struct accounts *accounts, struct account **out, size_t *count)
{
    pthread_rwlock_rdlock(&accounts->lock);
    struct listing listing = {.out = calloc(accounts->count + 1, sizeof(struct account))};
    if (listing.out != NULL) {
        twalk_r(accounts->tree, list_node, &listing);
        *out = listing.out;
        *count = listing.count;
    }
    pthread_rwlock_unlock(&accounts->lock);
    return listing.out == NULL ? PL_ENOMEM : PL_OK;
}

static enum pl_err copy(struct accounts *accounts, uint64_t id, struct account *account,
                        struct pl_why *why)
{
    if (accounts_get(accounts, id, account) != PL_OK) {
        return pl_fail(why, PL_ENOTFOUND,
                       "there is no account %016llx; polderctl account list "
                       "shows them",
                       (unsigned long long)id);
    }
    return PL_OK;
}

/* Copies the account for a change. Under `changing`. */
static enum pl_err begin(struct accounts *accounts, uint64_t id, struct account *account,
                         struct pl_why *why)
{
    enum pl_err err = catch_up(accounts, why);
    return err == PL_OK ? copy(accounts, id, account, why) : err;
}

enum pl_err accounts_update(struct accounts *accounts, uint64_t id, struct json request,
                            struct account *out, struct pl_why *why)
{
    static const char *const members[] = {
        "name", "regions", "origins", "honour_dnt", "retention_months", ACCOUNT_RULE_MEMBERS, NULL};
    struct account account;
    enum pl_err err = request_only(request, members, why);
    if (err != PL_OK) {
        return err;
    }
    pthread_mutex_lock(&accounts->changing);
    err = begin(accounts, id, &account, why);
    if (err == PL_OK && account.state >= ACCOUNT_DELETING) {
        err = pl_fail(why, PL_EEXPIRED, "account %s is %s", account_called(&account).text,
                      account_state_name(account.state));
    }
    if (err == PL_OK) {
        err = account_read_rules(request, &account, why);
    }
    if (err == PL_OK) {
        err = check_unique(accounts, &account, why);
    }
    if (err == PL_OK) {
        err = commit_alone(accounts, &account, why);
    }
    pthread_mutex_unlock(&accounts->changing);
    if (err == PL_OK) {
        *out = account;
    }
    return err;
}

static enum pl_err check_move(const struct account *before, const struct account *after,
                              enum account_mover by, struct pl_why *why)
{
    const bool moves =
        before->state != after->state || (before->cleared_ms == 0 && after->cleared_ms != 0);
    if (!moves || account_may_move(before->state, after->state, by)) {
        return PL_OK;
    }
    return pl_fail(why, PL_EEXPIRED, "account %s is %s, and does not become %s by %s",
                   account_called(before).text, account_state_name(before->state),
                   account_state_name(after->state), account_mover_name(by));
}

enum pl_err accounts_change(struct accounts *accounts, uint64_t id, enum account_mover by,
                            enum pl_err (*edit)(void *ctx, struct account *account,
                                                struct pl_why *why),
                            void *ctx, struct account *out, struct pl_why *why)
{
    struct account before, account;
    pthread_mutex_lock(&accounts->changing);
    enum pl_err err = begin(accounts, id, &before, why);
    if (err == PL_OK) {
        account = before;
        err = edit(ctx, &account, why);
    }
    if (err == PL_OK) {
        err = check_move(&before, &account, by, why);
    }
    if (err == PL_OK) {
        err = commit_alone(accounts, &account, why);
    }
    pthread_mutex_unlock(&accounts->changing);
    if (err == PL_OK && out != NULL) {
        *out = account;
    }
    return err;
}

void accounts_now_ms(const struct accounts *accounts, int64_t *earliest_ms, int64_t *latest_ms)
{
    if (accounts->config.belief != NULL) {
        clock_belief_range(accounts->config.belief, earliest_ms, latest_ms);
    } else {
        *earliest_ms = *latest_ms = pl_wall_ms(accounts->config.clock);
    }
}

enum pl_err accounts_random_id(const struct accounts *accounts, struct pl_id128 *id)
{
    return pl_id128_random(accounts->config.random, id);
}

enum pl_err accounts_during(struct accounts *accounts, uint64_t id,
                            enum pl_err (*look)(void *ctx, const struct account *account,
                                                struct pl_why *why),
                            void *ctx, struct pl_why *why)
{
    struct account account;
    pthread_mutex_lock(&accounts->changing);
    enum pl_err err = begin(accounts, id, &account, why);
    if (err == PL_OK) {
        err = look(ctx, &account, why);
    }
    pthread_mutex_unlock(&accounts->changing);
    return err;
}

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
    err = commit(accounts, account, config_json, batch, why);
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
    enum pl_err err = begin(accounts, id, &account, why);
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
    enum pl_err err = copy(accounts, id, &account, why);
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

enum intake_fate accounts_fate(void *ctx, uint64_t id, int64_t now_ms, int64_t *expired_ms)
{
    struct accounts *accounts = ctx;
    enum intake_fate fate = INTAKE_UNKNOWN;
    pthread_rwlock_rdlock(&accounts->lock);
    const struct account *account = find(accounts, id);
    if (account != NULL) {
        enum account_state state = account_state_at(account, now_ms);
        fate = state == ACCOUNT_ACTIVE     ? INTAKE_ALIVE
               : state >= ACCOUNT_DELETING ? INTAKE_DELETED
                                           : INTAKE_EXPIRED;
        *expired_ms = account->expires_at_ms;
    }
    pthread_rwlock_unlock(&accounts->lock);
    return fate;
}
