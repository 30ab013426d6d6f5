#include "origin/api/rates.h"

#include <pthread.h>
#include <stdlib.h>

#define SLOTS  4096
#define PROBES 8

struct slot {
    uint8_t key[RATES_KEY_BYTES];
    int64_t clear_ms; /* when nothing of it counts any more, were there no others */
};

struct rates {
    struct rate rate;
    pthread_mutex_t lock;
    struct slot slots[SLOTS];
};

enum pl_err rates_new(struct rates **out, struct rate rate)
{
    struct rates *rates = calloc(1, sizeof(*rates));
    if (rates == NULL) {
        return PL_ENOMEM;
    }
    rates->rate = rate;
    pthread_mutex_init(&rates->lock, NULL);
    *out = rates;
    return PL_OK;
}

void rates_free(struct rates *rates)
{
    if (rates != NULL) {
        pthread_mutex_destroy(&rates->lock);
        free(rates);
    }
}

/* FNV-1a. */
static size_t hash_of(const uint8_t key[RATES_KEY_BYTES])
{
    uint64_t h = 0xcbf29ce484222325u;
    for (int i = 0; i < RATES_KEY_BYTES; i++) {
        h = (h ^ key[i]) * 0x100000001b3u;
    }
    return (size_t)(h ^ (h >> 32));
}

/* The key's slot, else of those it may have the one that counts for the shortest time to come. */
static struct slot *slot_for(struct rates *rates, const uint8_t key[RATES_KEY_BYTES])
{
    size_t at = hash_of(key);
    struct slot *best = &rates->slots[at % SLOTS];
    for (size_t i = 0; i < PROBES; i++) {
        struct slot *slot = &rates->slots[(at + i) % SLOTS];
        if (memcmp(slot->key, key, RATES_KEY_BYTES) == 0) {
            return slot;
        }
        best = slot->clear_ms < best->clear_ms ? slot : best;
    }
    *best = (struct slot){.clear_ms = 0};
    memcpy(best->key, key, RATES_KEY_BYTES);
    return best;
}

int64_t rates_take(struct rates *rates, struct pl_span key, int64_t mono_ms)
{
    const struct rate *rate = &rates->rate;
    uint8_t bytes[RATES_KEY_BYTES] = {0};
    memcpy(bytes, key.data, key.len < sizeof(bytes) ? key.len : sizeof(bytes));
    pthread_mutex_lock(&rates->lock);
    struct slot *slot = slot_for(rates, bytes);
    int64_t clear_ms = slot->clear_ms > mono_ms ? slot->clear_ms : mono_ms;
    int64_t left_ms = clear_ms + rate->every_ms - rate->burst * rate->every_ms - mono_ms;
    if (left_ms <= 0) {
        slot->clear_ms = clear_ms + rate->every_ms;
    }
    pthread_mutex_unlock(&rates->lock);
    return left_ms > 0 ? left_ms : 0;
}
