/*
 * parts: what an origin is made of, for those that look at or act on all of it: the API and the
 * probes. The node owns every one of them and outlives nobody.
 */
#ifndef POLDER_ORIGIN_PARTS_H
#define POLDER_ORIGIN_PARTS_H

#include "origin/accounts/accounts.h"
#include "origin/accounts/changelog.h"
#include "origin/accounts/day_counts.h"
#include "origin/accounts/edges.h"
#include "origin/accounts/holds.h"
#include "origin/accounts/suppressions.h"
#include "origin/accounts/tokens.h"
#include "origin/intake/books.h"
#include "origin/intake/intake.h"
#include "origin/intake/ledger.h"
#include "origin/intake/lost_keys.h"
#include "origin/journal/audit.h"
#include "origin/journal/redo.h"
#include "origin/keyring/keyring.h"
#include "origin/lifecycle/cutoffs.h"
#include "origin/lifecycle/lifecycle.h"
#include "origin/lifecycle/orphan_keys.h"
#include "origin/subjects/erasures.h"
#include "origin/subjects/links.h"
#include "origin/vault/exports.h"
#include "proto/http/http.h"
#include "replication/receiver.h"

struct origin_parts {
    const struct origin_options *options;
    const struct pl_clock *clock;
    const struct pl_log *log;
    struct store *store;
    struct keyring *keyring;
    struct redo *redo;
    struct audit *audit;
    struct changelog *changelog;
    struct edges *edges;
    struct cutoffs *cutoffs;
    struct tokens *tokens;
    struct holds *holds;
    struct accounts *accounts;
    struct suppressions *suppressions;
    struct ledger *ledger;
    struct books *books;
    struct day_counts *day_counts;
    struct exports *exports;
    struct links *links;
    struct erasures *erasures;
    struct orphan_keys *orphan_keys;
    struct lost_keys *lost_keys;
    struct intake *intake;
    struct receiver *receiver;
    struct lifecycle *lifecycle;
    struct http_server *http;
    int64_t started_mono_ms;
};

#endif
