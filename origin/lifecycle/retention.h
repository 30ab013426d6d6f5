/*
 * retention: what goes by day: events older than their account keeps them, events of an expired
 * account outside the days that a hold keeps, and dedupe entries that no retry can need any more.
 *
 * Promise: an event is dropped when its day (on which its edge took it) is older than the account's
 * retention_months, or when its account's own day of deletion has come but a hold keeps some of its
 * other days, which is recorded first (account.h, cleared_ms): nothing leads back from there. No
 * day that a hold covers is touched. What was dropped is then made physically gone; a crash in
 * between is made up for. Work is bounded in each call.
 *
 * The lifecycle's thread owns it.
 */
#ifndef POLDER_ORIGIN_LIFECYCLE_RETENTION_H
#define POLDER_ORIGIN_LIFECYCLE_RETENTION_H

#include "origin/accounts/account.h"

struct lifecycle_config;
struct retention;
struct store;
enum pl_err retention_new(struct retention **out, const struct lifecycle_config *config);
void retention_free(struct retention *retention); /* NULL is fine */
/* A part of the work, about a quarter of a second of it: accounts as accounts_list gives them. A
 * round over all of them begins every hour. *more: there is more to do at once. Call it with a
 * clock that is believed. Blocks on the disk. */
void retention_go_on(struct retention *retention, const struct account *accounts, size_t count,
                     int64_t now_ms, bool *more);
/* What is remembered of an account that is being deleted goes, durably: its range is made gone as a
 * whole. Again: does nothing. Blocks. */
enum pl_err retention_forget(struct store *store, uint64_t account, struct pl_why *why);
/* The first day whose events are kept by an account that lives. */
int64_t retention_first_day(uint64_t months, int64_t now_ms);

#endif
