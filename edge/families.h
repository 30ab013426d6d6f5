/*
 * families: what an edge keeps in its store, and how that store is opened.
 *
 * Promise: one store a node, in data_dir/store. Corrupt log records are skipped on opening; who
 * reads a family finds and tells its own holes.
 */
#ifndef POLDER_EDGE_FAMILIES_H
#define POLDER_EDGE_FAMILIES_H

#include "proto/store/store.h"

enum edge_family {
    EDGE_BLOCKS,       /* incarnation | number -> sealed block */
    EDGE_MARKS,        /* incarnation | number -> its hash, sizes and running totals */
    EDGE_CHAINS,       /* incarnation -> how far it is acked; two names beside */
    EDGE_QUARANTINE,   /* incarnation | number -> verdict and block that the origin won't
                        * take; the verdict alone when the block was dropped for its age */
    EDGE_CATALOG,      /* accounts, their compressed documents, the feed's position */
    EDGE_SUPPRESSIONS, /* account | consent id -> one opt-out: proto/wire/suppression.h */
    EDGE_FAMILY_COUNT
};

enum pl_err edge_store_open(struct store **out, const char *data_dir, const struct pl_log *log,
                            struct pl_why *why);

#endif
