#include "edge/recent.h"

#include <pthread.h>
#include <stdlib.h>

#define SLOTS      65536u /* a power of two; 512 KiB */
#define NEIGHBOURS 4u     /* where an id may stand */

struct recent {
    pthread_mutex_t lock;
    unsigned turn;
    uint64_t slots[SLOTS]; /* 0: free */
};

struct recent *recent_new(void)
{
    struct recent *recent = calloc(1, sizeof(*recent));
    if (recent != NULL)
        pthread_mutex_init(&recent->lock, NULL);
    return recent;
}

void recent_free(struct recent *recent)
{
    if (recent == NULL)
        return;
    pthread_mutex_destroy(&recent->lock);
    free(recent);
}

/* FNV-1a, then mixed. Whoever makes two ids meet makes one be called a repeat of the other, which
 * loses nothing. */
static uint64_t hash_of(uint64_t account, struct pl_span id)
{
    uint64_t hash = account * UINT64_C(0x9e3779b97f4a7c15) ^ UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < id.len; i++)
        hash = (hash ^ id.data[i]) * UINT64_C(0x100000001b3);
    hash ^= hash >> 32;
    hash *= UINT64_C(0x9e3779b97f4a7c15);
    return (hash ^ (hash >> 29)) | 1;
}

static size_t home_of(uint64_t hash)
{
    return (size_t)(hash >> 32) & (SLOTS - 1) & ~(size_t)(NEIGHBOURS - 1);
}

bool recent_note(struct recent *recent, uint64_t account, struct pl_span id, uint64_t *mark)
{
    const uint64_t hash = *mark = hash_of(account, id);
    const size_t home = home_of(hash);
    bool known = false;
    pthread_mutex_lock(&recent->lock);
    for (unsigned i = 0; i < NEIGHBOURS; i++)
        known |= recent->slots[home + i] == hash;
    if (!known)
        recent->slots[home + recent->turn++ % NEIGHBOURS] = hash;
    pthread_mutex_unlock(&recent->lock);
    return known;
}

void recent_forget(struct recent *recent, uint64_t mark)
{
    const size_t home = home_of(mark);
    pthread_mutex_lock(&recent->lock);
    for (unsigned i = 0; i < NEIGHBOURS; i++)
        if (recent->slots[home + i] == mark)
            recent->slots[home + i] = 0;
    pthread_mutex_unlock(&recent->lock);
}
