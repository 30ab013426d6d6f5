/*
 * holds: what the law, or a dispute, forbids to delete: a whole account, or a range of its days.
 *
 * Promise: a hold is durable before it is said to be placed, and so is its release. One that is
 * over (released, or past its date) stays known until its account is deleted, so that the
 * certificate can say why that came late. Memory holds all of them: asking never touches the disk.
 * Any thread may call; changes block.
 */
#ifndef POLDER_ORIGIN_ACCOUNTS_HOLDS_H
#define POLDER_ORIGIN_ACCOUNTS_HOLDS_H

#include "origin/accounts/hold.h"
#include "proto/base/clock.h"
#include "proto/store/store.h"

#define HOLDS_ACCOUNT_MAX 64 /* of one account, those that are over among them */
#define HOLDS_MAX         65536

struct holds;
struct redo;
/* redo may be NULL: then a restored database forgets holds. clock dates them, and says whether an
 * `until` has passed already: one that errs is to be behind. */
enum pl_err holds_open(struct holds **out, struct store *store, struct redo *redo,
                       const struct pl_clock *clock, const struct pl_random *random,
                       struct pl_why *why);
void holds_close(struct holds *holds); /* NULL is fine */

/* From a request's JSON: reason, from and to (days, both or none), until. The caller sees to it
 * that the account's deletion cannot start meanwhile (accounts_during). PL_EINVAL, PL_ELIMIT name
 * the member. */
enum pl_err holds_place(struct holds *holds, uint64_t account, struct json request,
                        const char *actor, struct hold *out, struct pl_why *why);
/* From a request's JSON: reason. One that is released already stays so. PL_ENOTFOUND. */
enum pl_err holds_release(struct holds *holds, uint64_t account, const struct pl_id128 *id,
                          struct json request, const char *actor, struct hold *out,
                          struct pl_why *why);
/* Puts it there as it is, in the place of one with its id: what a restored database has lost. */
enum pl_err holds_put(struct holds *holds, const struct hold *hold, struct pl_why *why);
/* An account's, once its certificate tells of them. Again: does nothing. */
enum pl_err holds_forget(struct holds *holds, uint64_t account, struct pl_why *why);

/* The functions below take NULL for holds: there are none. */

/* A copy of an account's, oldest first; *out has room for HOLDS_ACCOUNT_MAX, or is NULL. How many
 * there are only grows while the account lives: as many as before means that none was placed. */
size_t holds_of(struct holds *holds, uint64_t account, struct hold *out);
/* Whether any hold stands, and one of them. whole: on all of the account. out may be NULL. */
bool holds_stand(struct holds *holds, uint64_t account, bool whole, int64_t now_ms,
                 struct hold *out);
/* A number that tells which holds of an account stand: another one, other holds; 0: none. */
uint64_t holds_standing(struct holds *holds, uint64_t account, int64_t now_ms);
/* Whether the day's events must stay. */
bool holds_keep_day(struct holds *holds, uint64_t account, int64_t day, int64_t now_ms);
/* The same, by holds alone that were placed by then. */
bool holds_kept_day(struct holds *holds, uint64_t account, int64_t day, int64_t now_ms,
                    int64_t placed_by_ms);
/* Those that stand: on whole accounts, on days, and how many days those are, a day counted for each
 * hold on it. */
struct holds_count {
    uint64_t accounts, ranges, days;
};
void holds_count(struct holds *holds, int64_t now_ms, struct holds_count *out);
/* Copies of those that ended by their date, after after_ms and at now_ms at the latest; the caller
 * frees *out, which is NULL where there are none, or no memory (PL_ENOMEM). */
enum pl_err holds_ended(struct holds *holds, int64_t after_ms, int64_t now_ms, struct hold **out,
                        size_t *count);
/* When the last hold of the account ended that does not stand any more; 0: there was none. */
int64_t holds_ended_ms(struct holds *holds, uint64_t account, int64_t now_ms);

#endif
