/*
 * accounts: who may collect, with which rules, until when; and the campaign configs they publish.
 *
 * Promise: every change is durable, with its changelog item, before the call returns; a refused
 * one changes nothing, and one that the disk failed counts if it turns up when the disk recovers.
 * An account's data key exists before the account does. Memory holds all records; reading never
 * touches the disk. Any thread may call.
 */
#ifndef POLDER_ORIGIN_ACCOUNTS_ACCOUNTS_H
#define POLDER_ORIGIN_ACCOUNTS_ACCOUNTS_H

#include "origin/accounts/account.h"
#include "origin/accounts/account_moves.h"
#include "origin/accounts/changelog.h"
#include "origin/clock_belief.h"
#include "origin/intake/intake.h"
#include "origin/journal/redo.h"
#include "origin/keyring/keyring.h"
#include "proto/base/clock.h"
#include "proto/wire/json.h"

struct accounts;
struct accounts_config {
    struct store *store;
    struct changelog *changelog;
    struct keyring *keyring;
    struct redo *redo; /* NULL: nothing survives a restore */
    const struct pl_clock *clock;
    const struct clock_belief *belief; /* NULL: the clock is believed */
    const struct pl_random *random;
    const struct pl_log *log;
};
enum pl_err accounts_open(struct accounts **out, const struct accounts_config *config,
                          struct pl_why *why);
void accounts_close(struct accounts *accounts); /* NULL is fine */

/* From a request's JSON: name, expires_at, imported (it has expired already), regions, origins,
 * honour_dnt, retention_months, ACCOUNT_RULE_MEMBERS. PL_EINVAL, PL_ELIMIT name the field, so does
 * PL_EEXISTS: another account has that name. Blocks. */
enum pl_err accounts_create(struct accounts *accounts, struct json request, struct account *out,
                            struct pl_why *why);
/* PL_ENOTFOUND. */
enum pl_err accounts_get(struct accounts *accounts, uint64_t id, struct account *out);
/* A copy of all, by id; the caller frees *out. */
enum pl_err accounts_list(struct accounts *accounts, struct account **out, size_t *count);

/* Changes name, regions, origins, honour_dnt, retention_months and ACCOUNT_RULE_MEMBERS, as far as
 * the request has them. PL_EEXPIRED: its deletion has started; others as accounts_create. Blocks.
 */
enum pl_err accounts_update(struct accounts *accounts, uint64_t id, struct json request,
                            struct account *out, struct pl_why *why);
/* For account_states.c, which knows what may become of an account: edit gets a copy, changes it,
 * leaves it and sets was_so, or refuses; what it leaves is durable, and told to edges, before the
 * call returns. A state that no row of account_moves leads to is refused, too. Nobody else can
 * change the account meanwhile; edit must not call this room. out may be NULL. PL_ENOTFOUND,
 * PL_EEXPIRED: there is no such row, what edit gives, or the disk's error. Blocks. */
enum pl_err accounts_change(struct accounts *accounts, uint64_t id, enum account_mover by,
                            enum pl_err (*edit)(void *ctx, struct account *account,
                                                struct pl_why *why),
                            void *ctx, struct account *out, struct pl_why *why);
/* What time it is, at the earliest and at the latest: the same while the clock is believed. While
 * it is not, the latest is what was last believed, gone on; since a restart only, when nobody knows
 * how long that took, it is what the clock shows if that is later. */
void accounts_now_ms(const struct accounts *accounts, int64_t *earliest_ms, int64_t *latest_ms);
/* What was last believed, gone on: by it accounts are shown, for by it they live. */
int64_t accounts_believed_ms(const struct accounts *accounts);
enum pl_err accounts_random_id(const struct accounts *accounts, struct pl_id128 *id);
/* Nobody can change the account while look has it; look must not call this room. */
enum pl_err accounts_during(struct accounts *accounts, uint64_t id,
                            enum pl_err (*look)(void *ctx, const struct account *account,
                                                struct pl_why *why),
                            void *ctx, struct pl_why *why);

/* Checks, stores and announces a campaign config. PL_EINVAL with the first problem. Blocks. */
enum pl_err accounts_publish(struct accounts *accounts, uint64_t id, struct pl_span config_json,
                             uint64_t *version, struct pl_why *why);
/* Appends the config as it was published; version 0: the newest. PL_ENOTFOUND. Blocks. */
enum pl_err accounts_config(struct accounts *accounts, uint64_t id, uint64_t version,
                            struct pl_buf *out, struct pl_why *why);

/* After a failed write, once the store has recovered: reads what turned up. Fails as long as the
 * store does. Blocks. */
enum pl_err accounts_refresh(struct accounts *accounts, struct pl_why *why);

/* For intake_config.account; ctx is the accounts. */
enum intake_fate accounts_fate(void *ctx, uint64_t account, int64_t now_ms, int64_t *expired_ms);

#endif
