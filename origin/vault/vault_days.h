/*
 * vault_days: on which days an account has events. Blocks on the disk; any thread.
 */
#ifndef POLDER_ORIGIN_VAULT_VAULT_DAYS_H
#define POLDER_ORIGIN_VAULT_VAULT_DAYS_H

#include "origin/families.h"
#include "origin/vault/vault.h"

/* Moves *day on to the first one from it up to last_day that holds anything. PL_ENOTFOUND: none. */
enum pl_err vault_next_day(struct store *store, uint64_t account, int64_t last_day, int64_t *day);

#endif
