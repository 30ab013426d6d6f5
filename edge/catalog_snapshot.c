#include "edge/catalog_parts.h"

#include <stdlib.h>

/* Open addressing by the write key, whose bytes are random; at most half full. */
struct catalog_snapshot {
    _Atomic size_t references;
    size_t count;
    size_t mask; /* slots - 1 */
    struct catalog_node *slots[];
};

static size_t slot_of(const struct catalog_snapshot *snapshot, const struct pl_id128 *write_key)
{
    uint64_t hash;
    memcpy(&hash, write_key->bytes, sizeof(hash));
    return (size_t)hash & snapshot->mask;
}

enum pl_err catalog_snapshot_new(struct catalog_snapshot **out, struct catalog_node *const *nodes,
                                 size_t count)
{
    size_t slots = 16;
    while (slots < 2 * count) {
        slots *= 2;
    }
    struct catalog_snapshot *snapshot =
        calloc(1, sizeof(*snapshot) + slots * sizeof(snapshot->slots[0]));
    if (snapshot == NULL) {
        return PL_ENOMEM;
    }
    snapshot->references = 1;
    snapshot->count = count;
    snapshot->mask = slots - 1;
    for (size_t i = 0; i < count; i++) {
        size_t slot = slot_of(snapshot, &nodes[i]->entry.write_key);
        while (snapshot->slots[slot] != NULL) {
            slot = (slot + 1) & snapshot->mask;
        }
        snapshot->slots[slot] = catalog_node_ref(nodes[i]);
    }
    *out = snapshot;
    return PL_OK;
}

struct catalog_snapshot *catalog_snapshot_ref(struct catalog_snapshot *snapshot)
{
    snapshot->references++;
    return snapshot;
}

void catalog_snapshot_unref(struct catalog_snapshot *snapshot)
{
    if (snapshot == NULL || --snapshot->references > 0) {
        return;
    }
    for (size_t slot = 0; slot <= snapshot->mask; slot++) {
        catalog_node_unref(snapshot->slots[slot]);
    }
    free(snapshot);
}

const struct catalog_entry *catalog_find(const struct catalog_snapshot *snapshot,
                                         const struct pl_id128 *write_key)
{
    size_t slot = slot_of(snapshot, write_key);
    while (snapshot->slots[slot] != NULL) {
        if (pl_id128_eq(&snapshot->slots[slot]->entry.write_key, write_key)) {
            return &snapshot->slots[slot]->entry;
        }
        slot = (slot + 1) & snapshot->mask;
    }
    return NULL;
}

size_t catalog_count(const struct catalog_snapshot *snapshot)
{
    return snapshot->count;
}
