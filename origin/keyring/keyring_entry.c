/* The keys an open keyring knows, by subject and id, and the memory they live in. */
#include "origin/keyring/keyring_state.h"

#include "proto/base/secret.h"

#include <stdio.h>
#include <stdlib.h>

static int compare(const struct keyring_entry *e, enum keyring_subject subject, const uint8_t id[8])
{
    if (e->subject != subject)
        return e->subject < subject ? -1 : 1;
    return memcmp(e->id, id, 8);
}

/* Where the entry is, or belongs. */
static size_t position_of(const struct keyring *k, enum keyring_subject subject,
                          const uint8_t id[8])
{
    size_t low = 0, high = k->entry_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(&k->entries[middle], subject, id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct keyring_entry *keyring_find(struct keyring *k, enum keyring_subject subject,
                                   const uint8_t id[8])
{
    size_t at = position_of(k, subject, id);
    return at < k->entry_count && compare(&k->entries[at], subject, id) == 0 ? &k->entries[at]
                                                                             : NULL;
}

enum pl_err keyring_insert(struct keyring *k, const struct keyring_record *record,
                           struct keyring_entry **out)
{
    size_t at = position_of(k, record->subject, record->id);
    if (at < k->entry_count && compare(&k->entries[at], record->subject, record->id) == 0)
        return PL_EEXISTS;
    if (k->entry_count == k->entry_room) {
        size_t room = k->entry_room == 0 ? 64 : 2 * k->entry_room;
        struct keyring_entry *more = realloc(k->entries, room * sizeof(*more));
        if (more == NULL)
            return PL_ENOMEM;
        k->entries = more;
        k->entry_room = room;
    }
    struct keyring_entry *e = &k->entries[at];
    memmove(e + 1, e, (k->entry_count++ - at) * sizeof(*e));
    *e = (struct keyring_entry){.subject = record->subject,
                                .state = KEYRING_MISSING,
                                .created_ms = record->wall_ms,
                                .made_offset = record->end_offset,
                                .wrap_offset = record->wrap_offset};
    memcpy(e->id, record->id, sizeof(e->id));
    memcpy(e->kek_id, record->kek_id, sizeof(e->kek_id));
    memcpy(e->public_key, record->public_key, sizeof(e->public_key));
    *out = e;
    return PL_OK;
}

enum pl_err keyring_hold(struct keyring *k, struct keyring_entry *entry, const uint8_t key[32])
{
    if (k->page_count == 0 || k->keys_in_last == KEYRING_PAGE_BYTES / 32) {
        uint8_t **more = realloc(k->pages, (k->page_count + 1) * sizeof(*more));
        if (more == NULL)
            return PL_ENOMEM;
        k->pages = more;
        void *page;
        enum pl_err err = pl_secret_new(&page, KEYRING_PAGE_BYTES);
        if (err != PL_OK)
            return err;
        k->pages[k->page_count++] = page;
        k->keys_in_last = 0;
    }
    entry->key = k->pages[k->page_count - 1] + 32 * k->keys_in_last++;
    memcpy(entry->key, key, 32);
    entry->state = KEYRING_LIVE;
    return PL_OK;
}

void keyring_mark_destroyed(struct keyring *k, struct keyring_entry *entry,
                            struct keyring_destruction *destruction)
{
    entry->destruction = destruction;
    entry->state = KEYRING_DESTROYED;
    if (entry->key != NULL)
        pl_wipe(entry->key, 32);
    entry->key = NULL;
    atomic_fetch_add(&k->generation, 1);
}

void keyring_pick_seal_key(struct keyring *k)
{
    size_t newest = 0;
    k->has_seal_key = false;
    for (size_t i = 0; i < k->entry_count; i++) {
        const struct keyring_entry *e = &k->entries[i];
        if (e->subject != KEYRING_SEAL_KEY || e->state != KEYRING_LIVE || e->made_offset < newest)
            continue;
        newest = e->made_offset;
        memcpy(k->seal_id, e->id, sizeof(k->seal_id));
        k->has_seal_key = true;
    }
}
