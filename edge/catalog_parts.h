/*
 * catalog_parts: what the files of the catalog share. Private to edge/catalog*.c.
 */
#ifndef POLDER_EDGE_CATALOG_PARTS_H
#define POLDER_EDGE_CATALOG_PARTS_H

#include "edge/catalog.h"

/* An entry and what it keeps alive; shared by all snapshots that list it. */
struct catalog_node {
    struct catalog_entry entry;
    _Atomic size_t references;
    uint8_t *item; /* the entry's views are of it */
    size_t item_bytes;
};

/* Makes the node of a decoded CATALOG_ACCOUNT item (bytes: its encoding, copied). packed:
 * the compressed bodies as an earlier call appended them to its packed_out; where they are empty
 * or of another document, compresses, which takes milliseconds. */
enum pl_err catalog_node_new(struct catalog_node **out, struct pl_span bytes,
                             int64_t max_age_seconds, struct pl_span packed,
                             struct pl_buf *packed_out, struct pl_why *why);
struct catalog_node *catalog_node_ref(struct catalog_node *node);
void catalog_node_unref(struct catalog_node *node); /* NULL is fine */

/* Takes a reference to each node. */
enum pl_err catalog_snapshot_new(struct catalog_snapshot **out, struct catalog_node *const *nodes,
                                 size_t count, uint64_t serial);

#endif
