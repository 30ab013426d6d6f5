/*
 * visitor_optouts: a person's opt-outs, said to whoever keeps the account instead of to an edge: by
 * mail, at a counter (GDPR article 21).
 *
 * Promise: all of the person's ids are opted out, each by an opt-out of its own, durably and on its
 * way to every edge; taking back ends every opt-out that names one of them, whoever said it. Asked
 * for again, neither does anything. Any thread. Blocks on the disk.
 */
#ifndef POLDER_ORIGIN_SUBJECTS_VISITOR_OPTOUTS_H
#define POLDER_ORIGIN_SUBJECTS_VISITOR_OPTOUTS_H

#include "origin/accounts/suppressions.h"
#include "origin/subjects/identities.h"
#include "proto/base/random.h"
#include "proto/store/store.h"

/* Events accepted from since_ms on are concerned. *said: how many ids nobody had said no for. Those
 * that were recorded before an error stay so. */
enum pl_err visitor_optouts_say(struct suppressions *suppressions, const struct pl_random *random,
                                uint64_t account, const struct identities *identities,
                                int64_t since_ms, size_t *said, struct pl_why *why);
/* *ended: how many opt-outs stood. */
enum pl_err visitor_optouts_take_back(struct suppressions *suppressions, uint64_t account,
                                      const struct identities *identities, size_t *ended,
                                      struct pl_why *why);

/* Reads all opt-outs of the account. Calls visit for each opt-out of the person's, those that were
 * taken back too. visit's error ends it and is given back. PL_ECORRUPT. */
enum pl_err visitor_optouts_each(struct store *store, uint64_t account,
                                 const struct identities *identities,
                                 enum pl_err (*visit)(void *ctx, const struct suppression *said),
                                 void *ctx);

#endif
