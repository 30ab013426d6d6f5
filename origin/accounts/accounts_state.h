/*
 * accounts_state: what the files of accounts share. Private to them.
 */
#ifndef POLDER_ORIGIN_ACCOUNTS_ACCOUNTS_STATE_H
#define POLDER_ORIGIN_ACCOUNTS_ACCOUNTS_STATE_H

#include "origin/accounts/accounts.h"

#include <pthread.h>

struct accounts {
    struct accounts_config config;
    pthread_mutex_t changing; /* one change at a time, over its write too */
    bool stale;               /* under `changing`: a write failed, which may turn up after all */
    pthread_rwlock_t lock;    /* the tree; changed only under `changing` */
    void *tree;               /* tsearch's, of struct account, by id */
    size_t count;
    size_t older; /* records that an earlier version wrote */
};

/* NULL: there is none. Under lock or changing. */
struct account *accounts_find(struct accounts *accounts, uint64_t id);
/* A copy of it. Under lock. */
enum pl_err accounts_insert(struct accounts *accounts, const struct account *account);
/* Copies the account, or says in words that there is none. */
enum pl_err accounts_copy(struct accounts *accounts, uint64_t id, struct account *account,
                          struct pl_why *why);
/* The same, for a change. Under `changing`. */
enum pl_err accounts_begin(struct accounts *accounts, uint64_t id, struct account *account,
                           struct pl_why *why);

/* ---- accounts_write.c */

/* Writes record, changelog item and what the batch holds already; then memory follows. document:
 * the config that is being published; empty: none is. Under `changing`. */
enum pl_err accounts_commit(struct accounts *accounts, struct account *account,
                            struct pl_span document, struct store_batch *batch, struct pl_why *why);
/* The same, with a batch of its own. */
enum pl_err accounts_commit_alone(struct accounts *accounts, struct account *account,
                                  struct pl_why *why);

#endif
