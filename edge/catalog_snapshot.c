#include "edge/catalog_parts.h"

#include <stdlib.h>

/* By what an account may be named beside its write key. */
enum naming { BY_ALIAS, BY_HOST, BY_PATH };

struct named {
    struct pl_span name;
    const struct catalog_entry *entry; /* NULL: the slot is free */
    enum naming naming;
};

/* Two tables with open addressing, at most half full: by the write key, whose bytes are random,
 * and by all other names. */
struct catalog_snapshot {
    _Atomic size_t references;
    uint64_t serial;
    size_t count;
    size_t mask; /* slots - 1 */
    size_t name_mask;
    struct named *names;
    struct catalog_node *slots[];
};

static size_t slots_for(size_t count)
{
    size_t slots = 16;
    while (slots < 2 * count) {
        slots *= 2;
    }
    return slots;
}

static size_t slot_of(const struct catalog_snapshot *snapshot, const struct pl_id128 *write_key)
{
    uint64_t hash;
    memcpy(&hash, write_key->bytes, sizeof(hash));
    return (size_t)hash & snapshot->mask;
}

/* ---- names */

/* FNV-1a: the names are few and the operators' own, what is looked for cannot make chains longer.
 */
static uint64_t hash_of(enum naming naming, struct pl_span name)
{
    uint64_t hash = (UINT64_C(0xcbf29ce484222325) ^ naming) * UINT64_C(0x100000001b3);
    for (size_t i = 0; i < name.len; i++) {
        hash = (hash ^ name.data[i]) * UINT64_C(0x100000001b3);
    }
    return hash ^ (hash >> 32);
}

/* The slot that has the name, or the free one where it would stand. */
static struct named *seek(const struct catalog_snapshot *snapshot, enum naming naming,
                          struct pl_span name)
{
    size_t slot = (size_t)hash_of(naming, name) & snapshot->name_mask;
    while (snapshot->names[slot].entry != NULL && (snapshot->names[slot].naming != naming ||
                                                   !pl_span_eq(snapshot->names[slot].name, name))) {
        slot = (slot + 1) & snapshot->name_mask;
    }
    return &snapshot->names[slot];
}

/* The origin sees to it that no two accounts have one name. */
static void add_name(struct catalog_snapshot *snapshot, enum naming naming, struct pl_span name,
                     const struct catalog_entry *entry)
{
    *seek(snapshot, naming, name) = (struct named){name, entry, naming};
}

static void add_names(struct catalog_snapshot *snapshot, const struct catalog_entry *entry)
{
    for (unsigned i = 0; i < entry->alias_count; i++) {
        add_name(snapshot, BY_ALIAS, entry->aliases[i], entry);
    }
    for (unsigned i = 0; i < entry->host_count; i++) {
        add_name(snapshot, BY_HOST, entry->hosts[i], entry);
    }
    if (entry->snowplow_path.len > 0) {
        add_name(snapshot, BY_PATH, entry->snowplow_path, entry);
    }
}

static size_t count_names(struct catalog_node *const *nodes, size_t count)
{
    size_t names = 0;
    for (size_t i = 0; i < count; i++) {
        const struct catalog_entry *entry = &nodes[i]->entry;
        names += entry->alias_count + entry->host_count + (entry->snowplow_path.len > 0);
    }
    return names;
}

/* ---- snapshots */

enum pl_err catalog_snapshot_new(struct catalog_snapshot **out, struct catalog_node *const *nodes,
                                 size_t count, uint64_t serial)
{
    const size_t slots = slots_for(count), name_slots = slots_for(count_names(nodes, count));
    struct catalog_snapshot *snapshot =
        calloc(1, sizeof(*snapshot) + slots * sizeof(snapshot->slots[0]));
    if (snapshot == NULL || (snapshot->names = calloc(name_slots, sizeof(struct named))) == NULL) {
        free(snapshot);
        return PL_ENOMEM;
    }
    snapshot->references = 1;
    snapshot->serial = serial;
    snapshot->count = count;
    snapshot->mask = slots - 1;
    snapshot->name_mask = name_slots - 1;
    for (size_t i = 0; i < count; i++) {
        size_t slot = slot_of(snapshot, &nodes[i]->entry.write_key);
        while (snapshot->slots[slot] != NULL) {
            slot = (slot + 1) & snapshot->mask;
        }
        snapshot->slots[slot] = catalog_node_ref(nodes[i]);
        add_names(snapshot, &nodes[i]->entry);
    }
    *out = snapshot;
    return PL_OK;
}

uint64_t catalog_snapshot_serial(const struct catalog_snapshot *snapshot)
{
    return snapshot == NULL ? 0 : snapshot->serial;
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
    free(snapshot->names);
    free(snapshot);
}

/* ---- looking up */

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

const struct catalog_entry *catalog_find_key(const struct catalog_snapshot *snapshot,
                                             struct pl_span key)
{
    struct pl_id128 write_key;
    const struct catalog_entry *entry =
        pl_id128_parse(key, &write_key) ? catalog_find(snapshot, &write_key) : NULL;
    if (entry != NULL || key.len > CATALOG_ALIAS_BYTES) {
        return entry;
    }
    return seek(snapshot, BY_ALIAS, key)->entry;
}

const struct catalog_entry *catalog_find_host(const struct catalog_snapshot *snapshot,
                                              struct pl_span authority)
{
    uint8_t host[CATALOG_HOST_BYTES + 1];
    size_t len = 0;
    while (len < authority.len && len < sizeof(host) && authority.data[len] != ':') {
        const uint8_t c = authority.data[len];
        host[len++] = c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
    }
    if (len > 0 && host[len - 1] == '.') {
        len--; /* a name that is written out to the root is the same name */
    }
    return len > CATALOG_HOST_BYTES ? NULL : seek(snapshot, BY_HOST, pl_span(host, len))->entry;
}

const struct catalog_entry *catalog_find_path(const struct catalog_snapshot *snapshot,
                                              struct pl_span path)
{
    return path.len > CATALOG_PATH_BYTES ? NULL : seek(snapshot, BY_PATH, path)->entry;
}
