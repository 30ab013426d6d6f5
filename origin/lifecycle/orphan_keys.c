#include "origin/lifecycle/orphan_keys.h"
#include "proto/base/secret.h"
#include "proto/base/text.h"

#include <stdlib.h>

struct orphan_keys {
    struct accounts *accounts;
    struct keyring *keyring;
    struct orphan_key *keys; /* never changed */
    size_t count, room;
    bool failed; /* no memory */
    uint64_t *lost;
    size_t lost_count;
};

static void take(void *ctx, const struct keyring_state *state)
{
    struct orphan_keys *o = ctx;
    if (state->seal_key || state->state == KEYRING_DESTROYED)
        return;
    if (o->count == o->room) {
        size_t room = o->room == 0 ? 64 : 2 * o->room;
        struct orphan_key *more = reallocarray(o->keys, room, sizeof(*more));
        if (more == NULL) {
            o->failed = true;
            return;
        }
        o->keys = more;
        o->room = room;
    }
    o->keys[o->count++] =
        (struct orphan_key){.account = state->account, .created_ms = state->created_ms};
}

/* All keys first: while they are told the keyring is not to be kept waiting. */
static void keep_orphans(struct orphan_keys *o, struct accounts *accounts)
{
    size_t kept = 0;
    for (size_t i = 0; i < o->count; i++) {
        struct account account;
        if (accounts_get(accounts, o->keys[i].account, &account) == PL_ENOTFOUND)
            o->keys[kept++] = o->keys[i];
    }
    o->count = kept;
}

static bool has_lost_key(struct keyring *keyring, const struct account *account)
{
    uint8_t key[KEYRING_DATA_KEY_BYTES];
    const enum pl_err err = keyring_key(keyring, account->id, key);
    pl_wipe(key, sizeof(key));
    return err == PL_ENOTFOUND && account->state < ACCOUNT_DELETING;
}

static enum pl_err find_lost(struct orphan_keys *o)
{
    struct account *all;
    size_t count;
    enum pl_err err = accounts_list(o->accounts, &all, &count);
    if (err != PL_OK)
        return err;
    o->lost = calloc(count + 1, sizeof(*o->lost));
    for (size_t i = 0; o->lost != NULL && i < count; i++)
        if (has_lost_key(o->keyring, &all[i]))
            o->lost[o->lost_count++] = all[i].id;
    free(all);
    return o->lost == NULL ? PL_ENOMEM : PL_OK;
}

enum pl_err orphan_keys_find(struct orphan_keys **out, struct accounts *accounts,
                             struct keyring *keyring, const struct pl_log *log, struct pl_why *why)
{
    struct orphan_keys *o = calloc(1, sizeof(*o));
    if (o == NULL)
        return pl_fail(why, PL_ENOMEM, "no memory for the keyring's keys");
    o->accounts = accounts;
    o->keyring = keyring;
    keyring_states(keyring, take, o);
    if (o->failed || find_lost(o) != PL_OK) {
        orphan_keys_free(o);
        return pl_fail(why, PL_ENOMEM, "no memory for the keyring's keys");
    }
    keep_orphans(o, accounts);
    if (o->count > 0)
        pl_log(log, PL_LOG_WARN, "keyring",
               "%zu %s to no account of this database: polderctl keyring orphans lists and "
               "destroys them",
               o->count, pl_plural(o->count, "data key belongs", "data keys belong"));
    if (o->lost_count > 0)
        pl_log(log, PL_LOG_ERROR, "keyring", "%zu %s made; /ready names them", o->lost_count,
               pl_plural(o->lost_count,
                         "account has no data key in the keyring, which was put back from a copy "
                         "of before it was",
                         "accounts have no data key in the keyring, which was put back from a copy "
                         "of before they were"));
    *out = o;
    return PL_OK;
}

void orphan_keys_free(struct orphan_keys *o)
{
    if (o == NULL)
        return;
    free(o->keys);
    free(o->lost);
    free(o);
}

static bool is_left(const struct orphan_keys *o, size_t i)
{
    struct keyring_destruction destruction;
    return keyring_destruction(o->keyring, o->keys[i].account, &destruction) != PL_OK;
}

size_t orphan_keys_list(const struct orphan_keys *o, struct orphan_key *out, size_t max)
{
    size_t count = 0;
    for (size_t i = 0; i < o->count; i++) {
        if (!is_left(o, i))
            continue;
        if (count < max)
            out[count] = o->keys[i];
        count++;
    }
    return count;
}

size_t orphan_keys_lost(const struct orphan_keys *o, uint64_t *out, size_t max)
{
    struct account account;
    size_t count = 0;
    for (size_t i = 0; i < o->lost_count; i++) {
        if (accounts_get(o->accounts, o->lost[i], &account) != PL_OK ||
            account.state >= ACCOUNT_DELETING)
            continue;
        if (count < max)
            out[count] = o->lost[i];
        count++;
    }
    return count;
}

enum pl_err orphan_keys_destroy(struct orphan_keys *o, const char *reason, size_t *count,
                                struct pl_why *why)
{
    enum pl_err err = PL_OK;
    *count = 0;
    for (size_t i = 0; err == PL_OK && i < o->count; i++) {
        const bool left = is_left(o, i);
        /* also of one that is destroyed: a path may not be scrubbed yet */
        err = keyring_destroy(o->keyring, o->keys[i].account, reason, NULL, why);
        *count += left && !is_left(o, i);
    }
    return err;
}
