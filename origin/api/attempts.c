#include "origin/api/attempts.h"

#include <pthread.h>
#include <stdlib.h>

#define SLOTS  4096
#define PROBES 8

struct slot {
    uint8_t peer[8];
    int64_t began_ms;
    unsigned failures; /* 0: free */
};

struct attempts {
    pthread_mutex_t lock;
    struct slot slots[SLOTS];
};

enum pl_err attempts_new(struct attempts **out)
{
    struct attempts *attempts = calloc(1, sizeof(*attempts));
    if (attempts == NULL) {
        return PL_ENOMEM;
    }
    pthread_mutex_init(&attempts->lock, NULL);
    *out = attempts;
    return PL_OK;
}

void attempts_free(struct attempts *attempts)
{
    if (attempts != NULL) {
        pthread_mutex_destroy(&attempts->lock);
        free(attempts);
    }
}

/* FNV-1a. */
static size_t hash_of(const uint8_t peer[8])
{
    uint64_t h = 0xcbf29ce484222325u;
    for (int i = 0; i < 8; i++) {
        h = (h ^ peer[i]) * 0x100000001b3u;
    }
    return (size_t)(h ^ (h >> 32));
}

static bool stale(const struct slot *slot, int64_t mono_ms)
{
    return slot->failures == 0 || mono_ms - slot->began_ms >= ATTEMPTS_WINDOW_MS;
}

/* The peer's slot, else a free or stale one, else the oldest of those it may have. */
static struct slot *slot_for(struct attempts *attempts, const uint8_t peer[8], int64_t mono_ms)
{
    size_t at = hash_of(peer);
    struct slot *best = &attempts->slots[at % SLOTS];
    for (size_t i = 0; i < PROBES; i++) {
        struct slot *slot = &attempts->slots[(at + i) % SLOTS];
        if (slot->failures > 0 && memcmp(slot->peer, peer, sizeof(slot->peer)) == 0) {
            best = slot;
            break;
        }
        bool better =
            !stale(best, mono_ms) && (stale(slot, mono_ms) || slot->began_ms < best->began_ms);
        best = better ? slot : best;
    }
    if (stale(best, mono_ms) || memcmp(best->peer, peer, sizeof(best->peer)) != 0) {
        *best = (struct slot){.began_ms = mono_ms};
        memcpy(best->peer, peer, sizeof(best->peer));
    }
    return best;
}

int64_t attempts_failed(struct attempts *attempts, struct pl_span address, int64_t mono_ms)
{
    uint8_t peer[8] = {0};
    memcpy(peer, address.data, address.len < sizeof(peer) ? address.len : sizeof(peer));
    pthread_mutex_lock(&attempts->lock);
    struct slot *slot = slot_for(attempts, peer, mono_ms);
    slot->failures += slot->failures <= ATTEMPTS_MAX;
    int64_t left_ms =
        slot->failures > ATTEMPTS_MAX ? slot->began_ms + ATTEMPTS_WINDOW_MS - mono_ms : 0;
    pthread_mutex_unlock(&attempts->lock);
    return left_ms;
}
