/*
 * parts: what an origin is made of, for those that look at or act on all of it: the API and the
 * probes. The node owns every one of them and outlives nobody.
 */
#ifndef POLDER_ORIGIN_PARTS_H
#define POLDER_ORIGIN_PARTS_H

#include "origin/accounts.h"
#include "origin/audit.h"
#include "origin/books.h"
#include "origin/changelog.h"
#include "origin/cutoffs.h"
#include "origin/day_counts.h"
#include "origin/edges.h"
#include "origin/erasures.h"
#include "origin/exports.h"
#include "origin/holds.h"
#include "origin/intake.h"
#include "origin/keyring.h"
#include "origin/ledger.h"
#include "origin/lifecycle.h"
#include "origin/links.h"
#include "origin/redo.h"
#include "origin/suppressions.h"
#include "origin/tokens.h"
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
    struct intake *intake;
    struct receiver *receiver;
    struct lifecycle *lifecycle;
    struct http_server *http;
    int64_t started_mono_ms;
};

#endif
