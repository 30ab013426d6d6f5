#include "origin/accounts/accounts_state.h"
#include "origin/families.h"
#include "origin/request.h"

#include <assert.h>
#include <search.h>
#include <stdlib.h>

/* An account begins with its id, so an id alone will do as the key. */
static_assert(offsetof(struct account, id) == 0,
              "accounts_find() looks accounts up by their first member");
static int by_id(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

struct account *accounts_find(struct accounts *accounts, uint64_t id)
{
    struct account **found = tfind(&id, &accounts->tree, by_id);
    return found == NULL ? NULL : *found;
}

enum pl_err accounts_insert(struct accounts *accounts, const struct account *account)
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
    return err == PL_OK ? accounts_insert(ctx, &account)
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
            err = accounts_commit_alone(accounts, &all[i], &why);
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
    int64_t earliest_ms;
    enum pl_err err;
    account_init(&account);
    if ((err = request_only(request, members, why)) != PL_OK ||
        (err = account_read_rules(request, &account, why)) != PL_OK ||
        (err = request_bool(request, "imported", &account.imported, why)) != PL_OK) {
        return err;
    }
    accounts_now_ms(accounts, &earliest_ms, &account.created_ms);
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
        err = accounts_commit_alone(accounts, &account, why);
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
    const struct account *account = accounts_find(accounts, id);
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

enum pl_err accounts_copy(struct accounts *accounts, uint64_t id, struct account *account,
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

enum pl_err accounts_begin(struct accounts *accounts, uint64_t id, struct account *account,
                           struct pl_why *why)
{
    enum pl_err err = catch_up(accounts, why);
    return err == PL_OK ? accounts_copy(accounts, id, account, why) : err;
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
    err = accounts_begin(accounts, id, &account, why);
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
        err = accounts_commit_alone(accounts, &account, why);
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
    enum pl_err err = accounts_begin(accounts, id, &before, why);
    if (err == PL_OK) {
        account = before;
        err = edit(ctx, &account, why);
    }
    if (err == PL_OK) {
        err = check_move(&before, &account, by, why);
    }
    if (err == PL_OK && !account.was_so) {
        err = accounts_commit_alone(accounts, &account, why);
    }
    pthread_mutex_unlock(&accounts->changing);
    if (err == PL_OK && out != NULL) {
        *out = account;
    }
    return err;
}

void accounts_now_ms(const struct accounts *accounts, int64_t *earliest_ms, int64_t *latest_ms)
{
    int64_t believed_ms;
    if (accounts->config.belief != NULL) {
        clock_belief_range(accounts->config.belief, earliest_ms, latest_ms);
        if (clock_belief_now(accounts->config.belief, &believed_ms)) {
            *latest_ms = believed_ms;
        }
    } else {
        *earliest_ms = *latest_ms = pl_wall_ms(accounts->config.clock);
    }
}

int64_t accounts_believed_ms(const struct accounts *accounts)
{
    int64_t now_ms = pl_wall_ms(accounts->config.clock);
    if (accounts->config.belief != NULL) {
        (void)clock_belief_now(accounts->config.belief, &now_ms);
    }
    return now_ms;
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
    enum pl_err err = accounts_begin(accounts, id, &account, why);
    if (err == PL_OK) {
        err = look(ctx, &account, why);
    }
    pthread_mutex_unlock(&accounts->changing);
    return err;
}

enum intake_fate accounts_fate(void *ctx, uint64_t id, int64_t now_ms, int64_t *expired_ms)
{
    struct accounts *accounts = ctx;
    enum intake_fate fate = INTAKE_UNKNOWN;
    pthread_rwlock_rdlock(&accounts->lock);
    const struct account *account = accounts_find(accounts, id);
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
