#include "origin/api/places.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

struct places {
    pthread_mutex_t lock;
    size_t max, own_max, count;
    uint64_t keys[]; /* the first count are taken */
};

enum pl_err places_new(struct places **out, size_t max, size_t own_max)
{
    struct places *p = calloc(1, sizeof(*p) + max * sizeof(p->keys[0]));
    if (p == NULL) {
        return PL_ENOMEM;
    }
    pthread_mutex_init(&p->lock, NULL);
    p->max = max;
    p->own_max = own_max;
    *out = p;
    return PL_OK;
}

void places_free(struct places *p)
{
    if (p != NULL) {
        pthread_mutex_destroy(&p->lock);
        free(p);
    }
}

enum places_answer places_take(struct places *p, uint64_t key)
{
    size_t own = 0;
    pthread_mutex_lock(&p->lock);
    for (size_t i = 0; i < p->count; i++) {
        own += p->keys[i] == key;
    }
    const enum places_answer answer = own >= p->own_max    ? PLACES_OWN_FULL
                                      : p->count >= p->max ? PLACES_FULL
                                                           : PLACES_TAKEN;
    if (answer == PLACES_TAKEN) {
        p->keys[p->count++] = key;
    }
    pthread_mutex_unlock(&p->lock);
    return answer;
}

void places_leave(struct places *p, uint64_t key)
{
    pthread_mutex_lock(&p->lock);
    size_t at = 0;
    while (at < p->count && p->keys[at] != key) {
        at++;
    }
    if (at < p->count) {
        p->keys[at] = p->keys[--p->count];
    }
    pthread_mutex_unlock(&p->lock);
}

size_t places_count(struct places *p)
{
    pthread_mutex_lock(&p->lock);
    const size_t count = p->count;
    pthread_mutex_unlock(&p->lock);
    return count;
}
