/* An origin's data path on a store of its own, and edges that seal blocks for it. */
#ifndef POLDER_TESTS_ORIGIN_INTAKE_FIXTURE_H
#define POLDER_TESTS_ORIGIN_INTAKE_FIXTURE_H

#include "event_fixture.h"
#include "keyring_fixture.h"
#include "origin/intake/intake.h"

#include <pthread.h>

#define RIG_EDGES    2
#define RIG_ACCOUNTS 8

struct rig_edge {
    struct pl_id128 id;
    uint8_t secret[32], public_key[32];
    struct block_sealer *sealer;
    struct block_header header; /* of the chain's next block */
    bool revoked;
};

struct rig {
    struct keyring_fixture f;
    struct keyring *keyring;
    uint8_t seal_public[32];
    char store_dir[64], store_path[96];
    struct store *store;
    struct ledger *ledger;
    struct day_counts *day_counts;
    struct intake *intake;
    struct intake_config config;
    struct ledger_config ledger_config;
    struct rig_edge edges[RIG_EDGES];
    enum intake_fate fates[RIG_ACCOUNTS]; /* account n has fates[n] */
    int64_t expired_ms;                   /* those that are INTAKE_EXPIRED */
    uint64_t keyless;                     /* alive as well */
    struct pl_clock clock;
    int64_t now_ms;
    /* Events to be stored next, as a block of the first edge's. */
    struct pl_buf plain, block;
    uint32_t count;
};

static inline int64_t rig_wall_ms(void *ctx)
{
    struct rig *r = ctx;
    return __atomic_load_n(&r->now_ms, __ATOMIC_RELAXED);
}

static inline int64_t rig_mono_ms(void *ctx)
{
    (void)ctx;
    return pl_mono_ms(pl_clock_system());
}

static inline enum pl_err rig_edge_public(void *ctx, const struct pl_id128 *id, uint8_t out[32])
{
    struct rig *r = ctx;
    for (int i = 0; i < RIG_EDGES; i++)
        if (pl_id128_eq(&r->edges[i].id, id)) {
            memcpy(out, r->edges[i].public_key, 32);
            return r->edges[i].revoked ? PL_EDENIED : PL_OK;
        }
    return PL_ENOTFOUND;
}

static inline enum intake_fate rig_fate(void *ctx, uint64_t account, int64_t now_ms,
                                        int64_t *expired_ms)
{
    struct rig *r = ctx;
    (void)now_ms;
    *expired_ms = r->expired_ms;
    if (account == r->keyless)
        return INTAKE_ALIVE;
    return account < RIG_ACCOUNTS ? __atomic_load_n(&r->fates[account], __ATOMIC_RELAXED)
                                  : INTAKE_UNKNOWN;
}

static inline void rig_must(enum pl_err err, const struct pl_why *why)
{
    if (err == PL_OK)
        return;
    fprintf(stderr, "rig: %s %s\n", pl_err_word(err), why->text);
    abort();
}

static inline void rig_open(struct rig *r)
{
    struct pl_why why = {.err = PL_OK};
    struct store_config store = {.path = r->store_path,
                                 .families = origin_families,
                                 .family_count = FAMILY_COUNT,
                                 .recovery = STORE_RECOVER_TORN_TAIL,
                                 .cache_bytes = 64u << 20,
                                 .write_buffer_bytes = 64u << 20,
                                 .background_threads = 2,
                                 .log = &r->f.silent};
    rig_must(store_open(&r->store, &store, &why), &why);
    r->ledger_config.store = r->config.store = r->store;
    rig_must(ledger_new(&r->ledger, &r->ledger_config, &why), &why);
    r->config.ledger = r->ledger;
    rig_must(day_counts_new(&r->day_counts, r->store), &(struct pl_why){.text = "day counts"});
    r->config.day_counts = r->day_counts;
    rig_must(intake_new(&r->intake, &r->config, &why), &why);
    rig_must(intake_start(r->intake, &why), &why);
}

static inline void rig_close(struct rig *r)
{
    intake_stop(r->intake);
    intake_free(r->intake);
    day_counts_free(r->day_counts);
    ledger_free(r->ledger);
    store_close(r->store);
}

/* A new process of the edge: a new chain. */
static inline void rig_edge_restart(struct rig *r, int i)
{
    struct rig_edge *e = &r->edges[i];
    struct block_sealer_config config = {.edge = e->id,
                                         .edge_secret = e->secret,
                                         .origin_public = r->seal_public,
                                         .random = pl_random_system(),
                                         .clock = &r->clock};
    block_sealer_free(e->sealer);
    rig_must(block_sealer_new(&e->sealer, &config), &(struct pl_why){.text = "sealer"});
    memset(&e->header, 0, sizeof(e->header));
    rig_must(pl_id128_random(pl_random_system(), &e->header.incarnation), NULL);
}

static inline void rig_init(struct rig *r)
{
    struct pl_why why = {.err = PL_OK};
    memset(r, 0, sizeof(*r));
    r->now_ms = NOON_MS;
    r->clock = (struct pl_clock){.wall_ms = rig_wall_ms, .mono_ms = rig_mono_ms, .ctx = r};
    keyring_fixture_init(&r->f);
    pl_buf_init(&r->plain, LIMIT_BLOCK_PLAIN_BYTES);
    pl_buf_init(&r->block, 2 * LIMIT_BLOCK_BYTES);
    rig_must(keyring_open(&r->keyring, &r->f.config, &why), &why);
    rig_must(keyring_new_seal_key(r->keyring, r->seal_public, &why), &why);
    for (uint64_t a = 1; a < RIG_ACCOUNTS; a++)
        rig_must(keyring_new_key(r->keyring, a, &why), &why);
    for (int i = 0; i < RIG_EDGES; i++) {
        memset(r->edges[i].id.bytes, 0xe0 + i, 16);
        rig_must(pl_x25519_keypair(pl_random_system(), r->edges[i].secret, r->edges[i].public_key),
                 &why);
        rig_edge_restart(r, i);
    }
    snprintf(r->store_dir, sizeof(r->store_dir), "/tmp/polder-intake-XXXXXX");
    if (mkdtemp(r->store_dir) == NULL)
        abort();
    snprintf(r->store_path, sizeof(r->store_path), "%s/store", r->store_dir);
    r->ledger_config = (struct ledger_config){.clock = &r->clock, .log = &r->f.silent};
    r->config = (struct intake_config){.keyring = r->keyring,
                                       .edge_public = rig_edge_public,
                                       .edge_ctx = r,
                                       .account = rig_fate,
                                       .account_ctx = r,
                                       .clock = &r->clock,
                                       .log = &r->f.silent};
}

static inline void rig_release(struct rig *r)
{
    for (int i = 0; i < RIG_EDGES; i++)
        block_sealer_free(r->edges[i].sealer);
    keyring_close(r->keyring);
    keyring_fixture_release(&r->f);
    pl_buf_release(&r->plain);
    pl_buf_release(&r->block);
    char command[96];
    snprintf(command, sizeof(command), "rm -rf '%s'", r->store_dir);
    if (system(command) != 0)
        fprintf(stderr, "%s is left behind\n", r->store_dir);
}

/* Seals the next block of an edge's chain; appends it to out. */
static inline void rig_seal(struct rig *r, int edge, struct pl_span plain, uint32_t events,
                            struct pl_buf *out)
{
    struct rig_edge *e = &r->edges[edge];
    uint8_t hash[BLOCK_HASH_BYTES];
    e->header.events = events;
    rig_must(block_seal(e->sealer, &e->header, plain, out, hash),
             &(struct pl_why){.text = "block_seal"});
    e->header.number++;
    memcpy(e->header.previous_hash, hash, BLOCK_HASH_BYTES);
}

/* ---- lots made by hand, and their verdicts */

struct rig_lot {
    size_t count;
    struct pl_span blocks[64];
    struct block_loss losses[64];
    enum block_verdict verdicts[64];
    bool done;
    pthread_mutex_t lock;
    pthread_cond_t finished;
};

static inline bool rig_lot_entry(void *ctx, size_t i, struct pl_span *block,
                                 struct block_loss *loss)
{
    const struct rig_lot *lot = ctx;
    *block = lot->blocks[i];
    *loss = lot->losses[i];
    return true;
}

static inline void rig_lot_done(void *ctx, const enum block_verdict *verdicts)
{
    struct rig_lot *lot = ctx;
    pthread_mutex_lock(&lot->lock);
    memcpy(lot->verdicts, verdicts, lot->count * sizeof(*verdicts));
    lot->done = true;
    pthread_cond_signal(&lot->finished);
    pthread_mutex_unlock(&lot->lock);
}

static inline void rig_lot_send(struct rig *r, int edge, struct rig_lot *lot)
{
    pthread_mutex_init(&lot->lock, NULL);
    pthread_cond_init(&lot->finished, NULL);
    lot->done = false;
    const struct intake_lot take = {.edge = r->edges[edge].id,
                                    .count = lot->count,
                                    .entry = rig_lot_entry,
                                    .done = rig_lot_done,
                                    .ctx = lot};
    intake_take(r->intake, &take);
}

static inline void rig_lot_wait(struct rig_lot *lot)
{
    pthread_mutex_lock(&lot->lock);
    while (!lot->done)
        pthread_cond_wait(&lot->finished, &lot->lock);
    pthread_mutex_unlock(&lot->lock);
    pthread_mutex_destroy(&lot->lock);
    pthread_cond_destroy(&lot->finished);
}

/* One block, its verdict. */
static inline enum block_verdict rig_send(struct rig *r, int edge, struct pl_span block)
{
    struct rig_lot *lot = calloc(1, sizeof(*lot));
    lot->count = 1;
    lot->blocks[0] = block;
    rig_lot_send(r, edge, lot);
    rig_lot_wait(lot);
    enum block_verdict verdict = lot->verdicts[0];
    free(lot);
    return verdict;
}

static inline size_t rig_count(struct rig *r, unsigned family)
{
    struct store_scan *scan;
    struct pl_span key, value;
    size_t n = 0;
    rig_must(store_scan_new(&scan, r->store, family, pl_span(NULL, 0), pl_span(NULL, 0)),
             &(struct pl_why){.text = "scan"});
    while (store_scan_next(scan, &key, &value) == PL_OK)
        n++;
    store_scan_free(scan);
    return n;
}

/* One more event to be stored, so many days after NOON_MS; each a millisecond after the last. */
static inline void rig_put(struct rig *r, uint64_t account, int64_t day, const char *visitor,
                           const char *message, const char *name)
{
    put_event(&r->plain, account, NOON_MS + day * PL_DAY_MS + r->count, visitor, message, name);
    r->count++;
}

static inline void rig_store(struct rig *r)
{
    pl_buf_reset(&r->block);
    rig_seal(r, 0, pl_buf_span(&r->plain), r->count, &r->block);
    rig_must(rig_send(r, 0, pl_buf_span(&r->block)) == BLOCK_STORED ? PL_OK : PL_EIO,
             &(struct pl_why){.text = "not stored"});
    pl_buf_reset(&r->plain);
    r->count = 0;
}

#endif
