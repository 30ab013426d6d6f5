/* The catalog that follows the feed. */
#ifndef POLDER_TESTS_REPLICATION_SCRIPTED_CATALOG_H
#define POLDER_TESTS_REPLICATION_SCRIPTED_CATALOG_H

#include "tests/unit/replication/waiting.h"

#include "replication/uplink.h"

struct catalog {
    pthread_mutex_t lock;
    struct pl_id128 epoch;
    uint64_t position, items, pages, restarts, heard;
    bool caught_up, heard_caught_up;
    int64_t applied_ms, heard_wall_ms;
    enum pl_err fails;
};

static inline void catalog_position(void *ctx, struct pl_id128 *epoch, uint64_t *position)
{
    struct catalog *c = ctx;
    pthread_mutex_lock(&c->lock);
    *epoch = c->epoch;
    *position = c->position;
    pthread_mutex_unlock(&c->lock);
}

static inline enum pl_err catalog_apply(void *ctx, const struct pl_id128 *epoch, bool restart,
                                        uint64_t position, bool caught_up, struct pl_span items)
{
    struct catalog *c = ctx;
    pthread_mutex_lock(&c->lock);
    enum pl_err err = c->fails;
    c->fails = PL_OK;
    if (err == PL_OK) {
        c->pages++;
        c->restarts += restart;
        c->items = restart ? 0 : c->items;
        struct pl_reader r = pl_reader(items);
        while (r.rest.len > 0) {
            pl_get_span(&r, pl_get_u32(&r));
            c->items++;
        }
        c->epoch = *epoch;
        c->position = position;
        c->caught_up = caught_up;
        c->applied_ms = now_ms();
    }
    pthread_mutex_unlock(&c->lock);
    return err;
}

static inline void catalog_heard(void *ctx, int64_t origin_wall_ms, bool caught_up)
{
    struct catalog *c = ctx;
    pthread_mutex_lock(&c->lock);
    c->heard++;
    c->heard_wall_ms = origin_wall_ms;
    c->heard_caught_up = caught_up;
    pthread_mutex_unlock(&c->lock);
}

static inline uint64_t catalog_items(struct catalog *c)
{
    return READ(c, items);
}

#endif
