/*
 * account_item: what edges are told of an account: its state, its rules and its config as browsers
 * get it.
 *
 * Promise: equal accounts and configs give equal items; of an account whose deletion has begun
 * edges are told nothing but that.
 */
#ifndef POLDER_ORIGIN_ACCOUNTS_ACCOUNT_ITEM_H
#define POLDER_ORIGIN_ACCOUNTS_ACCOUNT_ITEM_H

#include "origin/accounts/account.h"
#include "origin/keyring/keyring.h"
#include "proto/store/store.h"

void account_config_key(uint64_t account, uint64_t version, uint8_t key[16]);

/* What the hashes of an account's visitor ids and e-mail addresses are keyed with, here and at
 * edges. As keyring_key; the caller wipes. Memory only. */
enum pl_err account_id_key(struct keyring *keyring, uint64_t account,
                           uint8_t id_key[CATALOG_ID_KEY_BYTES]);

/* Fills item but for the id key; its views are of account and *config, to which the public config
 * is appended. document is the config being published; empty: the stored one. PL_EINVAL, PL_ELIMIT
 * say what is wrong with it. An account that has ended has no need of its config: where the disk
 * does not give it back, the item is without one. Blocks on the disk. */
enum pl_err account_item(struct store *store, const struct account *account,
                         struct pl_span document, struct catalog_item *item, struct pl_buf *config,
                         const struct pl_log *log, struct pl_why *why);

#endif
