/*
 * admit: who may send. The account behind a write key, an alias or the host that was asked, whether
 * it lives, whether this region and the page's origin may send for it, what the visitor said, how
 * fast.
 *
 * Promise: asked before the first event of a request is taken; whatever is refused leaves no
 * trace but a counter.
 */
#ifndef POLDER_EDGE_ADMIT_H
#define POLDER_EDGE_ADMIT_H

#include "edge/loop.h"

struct admission {
    const struct catalog_entry *entry; /* of the loop's snapshot */
    const char *outcome;               /* static; why it was refused, for X-Polder-Outcome */
    enum metric metric;                /* which counter that is */
    int64_t retry_after_s;             /* with PL_EAGAIN and PL_ECLOSED */
};

/* By the claim's key; where it has none, or one that nobody is known by and that is but a hint, by
 * the path that was asked for, else by the host. NULL: nobody's. */
const struct catalog_entry *admit_account(const struct edge_loop *loop,
                                          const struct http_request *request,
                                          const struct dialect_claim *claim);

/* The errors of dialect_sink.claim. */
enum pl_err admit(struct edge_loop *loop, const struct http_request *request,
                  const struct dialect_claim *claim, struct admission *out, struct pl_why *why);

#endif
