/*
 * account_states: what may become of an account, and who decides it.
 *
 * Promise: an account's state changes along the rows of account_moves.h. A deletion that has
 * started cannot be taken back. None starts while a hold stands, and a hold cannot be placed once
 * one has started: both are decided while nobody else can change the account. Every change is
 * durable, with what edges have to learn, before the call returns. Any thread; all block.
 */
#ifndef POLDER_ORIGIN_ACCOUNTS_ACCOUNT_STATES_H
#define POLDER_ORIGIN_ACCOUNTS_ACCOUNT_STATES_H

#include "origin/accounts/accounts.h"
#include "origin/accounts/holds.h"

#define ACCOUNT_CONFIRM_DAYS 7 /* that a request for deletion waits to be confirmed */

/* Whoever asks for what is so already is not refused: out->was_so says it, and nothing changes. */

/* Expires at at_ms (0: now); a date in the future only sets it. PL_EEXPIRED: it has expired at
 * another time, or its deletion has started. */
enum pl_err accounts_expire(struct accounts *accounts, uint64_t id, int64_t at_ms,
                            struct account *out, struct pl_why *why);
/* Back to active, with a new date (0: none); a request for its deletion is forgotten. PL_EEXPIRED:
 * its deletion has started, be it of some of its days only. */
enum pl_err accounts_reinstate(struct accounts *accounts, uint64_t id, int64_t expires_at_ms,
                               struct account *out, struct pl_why *why);

/* ---- deletion on request, in two steps. holds may be NULL. */

/* Asks for it; *out has the request's id. A second request takes the place of the first. PL_EINVAL
 * without a reason; PL_EEXPIRED: its deletion has started; PL_EEXISTS: a hold stands. */
enum pl_err accounts_request_deletion(struct accounts *accounts, struct holds *holds, uint64_t id,
                                      const char *reason, struct account *out, struct pl_why *why);
/* Starts it. PL_ENOTFOUND: no such request, or it was made more than ACCOUNT_CONFIRM_DAYS ago;
 * others as above. */
enum pl_err accounts_confirm_deletion(struct accounts *accounts, struct holds *holds, uint64_t id,
                                      const struct pl_id128 *request, struct account *out,
                                      struct pl_why *why);
/* Both at once; whose deletion has started already is deleted. */
enum pl_err accounts_delete_now(struct accounts *accounts, struct holds *holds, uint64_t id,
                                const char *reason, struct account *out, struct pl_why *why);
/* Takes a request back, if there is one. PL_EEXPIRED: its deletion has started. */
enum pl_err accounts_withdraw_deletion(struct accounts *accounts, uint64_t id, struct account *out,
                                       struct pl_why *why);

/* ---- holds. PL_EEXPIRED: the account's deletion has started; others as holds_place. */
enum pl_err accounts_hold(struct accounts *accounts, struct holds *holds, uint64_t id,
                          struct json request, const char *actor, struct hold *out,
                          struct pl_why *why);

/* ---- the lifecycle's */

/* Moves along a row if it is still due when nobody else can change the account. PL_EAGAIN: it is
 * not, or the account is not in `from` any more. */
enum pl_err accounts_move(struct accounts *accounts, uint64_t id, enum account_state from,
                          enum account_state to,
                          bool (*due)(void *ctx, const struct account *account, int64_t now_ms),
                          void *ctx, int64_t now_ms, struct account *out, struct pl_why *why);
/* Starts the deletion of an account that the database takes for alive although it had started, or
 * its key is destroyed, as after a restore. Nothing stands against it any more. requested_ms: when
 * it was asked for; 0: it was not. */
enum pl_err accounts_delete_again(struct accounts *accounts, uint64_t id, int64_t requested_ms,
                                  int64_t started_ms, struct account *out, struct pl_why *why);
/* An account that is being deleted keeps its id and its times; its name, hosts and rules go. Again:
 * does nothing. */
enum pl_err accounts_forget(struct accounts *accounts, uint64_t id, struct pl_why *why);

#endif
