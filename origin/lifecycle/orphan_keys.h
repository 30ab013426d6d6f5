/*
 * orphan_keys: data keys in the keyring of accounts that this database does not know: of accounts
 * that were made after the copy that it was restored from, or whose making failed half way.
 *
 * Promise: what is listed was nobody's when the process began, before anything was served, and will
 * not be anybody's: an account's id is random and is made once. Nothing is destroyed but when an
 * operator says so: a newer copy of the database might need the keys. The other way round, accounts
 * that live and whose key the keyring never held are told: it was put back from a copy of before
 * they were made.
 *
 * Any thread, once it is made.
 */
#ifndef POLDER_ORIGIN_LIFECYCLE_ORPHAN_KEYS_H
#define POLDER_ORIGIN_LIFECYCLE_ORPHAN_KEYS_H

#include "origin/accounts/accounts.h"
#include "origin/keyring/keyring.h"

struct orphan_key {
    uint64_t account;
    int64_t created_ms;
};

struct orphan_keys;
/* Looks for them: when all accounts are there, and none can be made yet. Both outlive it. */
enum pl_err orphan_keys_find(struct orphan_keys **out, struct accounts *accounts,
                             struct keyring *keyring, const struct pl_log *log, struct pl_why *why);
void orphan_keys_free(struct orphan_keys *orphans); /* NULL is fine */

/* Those that are not destroyed by now, at most max; gives how many there are. Memory only. */
size_t orphan_keys_list(const struct orphan_keys *orphans, struct orphan_key *out, size_t max);
/* Accounts without a key that are not being deleted by now; as above. */
size_t orphan_keys_lost(const struct orphan_keys *orphans, uint64_t *out, size_t max);
/* Destroys them all; *count: how many were, also after an error. Blocks. */
enum pl_err orphan_keys_destroy(struct orphan_keys *orphans, const char *reason, size_t *count,
                                struct pl_why *why);

#endif
