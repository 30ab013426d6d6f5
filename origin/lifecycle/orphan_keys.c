#include "origin/lifecycle/orphan_keys.h"

#include <stdlib.h>

struct orphan_keys {
    struct keyring *keyring;
    struct orphan_key *keys; /* never changed */
    size_t count, room;
    bool failed; /* no memory */
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

enum pl_err orphan_keys_find(struct orphan_keys **out, struct accounts *accounts,
                             struct keyring *keyring, const struct pl_log *log, struct pl_why *why)
{
    struct orphan_keys *o = calloc(1, sizeof(*o));
    if (o == NULL)
        return pl_fail(why, PL_ENOMEM, "no memory for the keyring's keys");
    o->keyring = keyring;
    keyring_states(keyring, take, o);
    if (o->failed) {
        orphan_keys_free(o);
        return pl_fail(why, PL_ENOMEM, "no memory for the keyring's keys");
    }
    keep_orphans(o, accounts);
    if (o->count > 0)
        pl_log(log, PL_LOG_WARN, "keyring",
               "%zu data keys belong to no account of this database: polderctl keyring orphans "
               "lists and destroys them",
               o->count);
    *out = o;
    return PL_OK;
}

void orphan_keys_free(struct orphan_keys *o)
{
    if (o == NULL)
        return;
    free(o->keys);
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
