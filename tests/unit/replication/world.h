/*
 * world: both ends of the link in one process over loopback TLS, between a scripted spool and a
 * scripted vault, with everything they were told kept for the test to look at.
 */
#ifndef POLDER_TESTS_REPLICATION_WORLD_H
#define POLDER_TESTS_REPLICATION_WORLD_H

#include "tests/unit/replication/pki.h"
#include "tests/unit/replication/scripted_catalog.h"
#include "tests/unit/replication/scripted_spool.h"
#include "tests/unit/replication/scripted_vault.h"

struct world {
    struct pki pki;
    struct spool spool;
    struct catalog catalog;
    struct vault vault;
    struct pl_log log;
    int port;
    char listen_url[64], origin_url[64], ca[128], origin_cert[128], origin_key[128], edge_cert[128],
        edge_key[128];
    struct receiver_config receiver_config;
    struct uplink_config uplink_config;
    struct receiver *receiver;
    struct uplink *uplink;
};

static inline void world_configure(struct world *w)
{
    snprintf(w->listen_url, sizeof(w->listen_url), "tls+tcp://127.0.0.1:%d", w->port);
    strcpy(w->origin_url, w->listen_url);
    pki_path(&w->pki, "ca.pem", w->ca);
    pki_path(&w->pki, "origin.pem", w->origin_cert);
    pki_path(&w->pki, "origin.key", w->origin_key);
    pki_path(&w->pki, "edge.pem", w->edge_cert);
    pki_path(&w->pki, "edge.key", w->edge_key);
    w->receiver_config = (struct receiver_config){
        .listen_url = w->listen_url,
        .ca_file = w->ca,
        .cert_file = w->origin_cert,
        .key_file = w->origin_key,
        .ops = {.ctx = &w->vault,
                .edge_key = vault_edge_key,
                .blocks = vault_blocks,
                .books = vault_books,
                .feed = vault_feed,
                .session = vault_session,
                .settled = vault_cutoff},
        .clock = pl_clock_system(),
        .random = pl_random_system(),
        .log = &w->log,
    };
    w->uplink_config = (struct uplink_config){
        .origin_url = w->origin_url,
        .server_name = "origin.test",
        .ca_file = w->ca,
        .cert_file = w->edge_cert,
        .key_file = w->edge_key,
        .edge = w->vault.edge,
        .region = "eu",
        .source = {.ctx = &w->spool,
                   .chains = spool_chains,
                   .read = spool_read,
                   .verdict = spool_verdict,
                   .books = spool_books,
                   .settled = spool_cutoff},
        .sink = {.ctx = &w->catalog,
                 .position = catalog_position,
                 .apply = catalog_apply,
                 .heard = catalog_heard},
        .clock = pl_clock_system(),
        .random = pl_random_system(),
        .log = &w->log,
    };
}

static inline struct world *world_new(size_t chains, size_t block_bytes)
{
    struct world *w = calloc(1, sizeof(*w));
    w->log = (struct pl_log){.fd = getenv("LINK_TEST_LOG") == NULL ? -1 : 2,
                             .level = PL_LOG_DEBUG,
                             .clock = pl_clock_system()};
    pki_init(&w->pki);
    pki_issue(&w->pki, "origin", "origin.test");
    pki_issue(&w->pki, "edge", NULL);
    spool_init(&w->spool, chains, block_bytes);
    pthread_mutex_init(&w->catalog.lock, NULL);
    struct vault *v = &w->vault;
    pthread_mutex_init(&v->lock, NULL);
    pthread_cond_init(&v->changed, NULL);
    v->block_bytes = block_bytes;
    v->feed_item_bytes = 20;
    pl_buf_init(&v->edge_spki, 256);
    pki_public(&w->pki, "edge", &v->edge_spki);
    assert_int_equal(pl_id128_random(pl_random_system(), &v->edge), PL_OK);
    assert_int_equal(pl_id128_random(pl_random_system(), &v->epoch), PL_OK);
    v->running = true;
    assert_int_equal(pthread_create(&v->thread, NULL, vault_run, v), 0);
    w->port = free_port();
    world_configure(w);
    return w;
}

static inline void start_receiver(struct world *w)
{
    struct pl_why why = {0};
    if (receiver_new(&w->receiver, &w->receiver_config, &why) != PL_OK ||
        receiver_start(w->receiver, &why) != PL_OK)
        fail_msg("%s", why.text);
}

static inline void stop_receiver(struct world *w)
{
    if (w->receiver == NULL)
        return;
    receiver_stop(w->receiver);
    receiver_free(w->receiver);
    w->receiver = NULL;
}

static inline void start_uplink(struct world *w)
{
    struct pl_why why = {0};
    if (uplink_new(&w->uplink, &w->uplink_config, &why) != PL_OK ||
        uplink_start(w->uplink, &why) != PL_OK)
        fail_msg("%s", why.text);
}

static inline void stop_uplink(struct world *w)
{
    if (w->uplink == NULL)
        return;
    uplink_stop(w->uplink, 0);
    uplink_free(w->uplink);
    w->uplink = NULL;
}

static inline void world_free(struct world *w)
{
    struct vault *v = &w->vault;
    stop_uplink(w);
    vault_mode(v, VAULT_REVERSED); /* lets go of what it holds */
    stop_receiver(w);
    pthread_mutex_lock(&v->lock);
    v->running = false;
    pthread_cond_broadcast(&v->changed);
    pthread_mutex_unlock(&v->lock);
    pthread_join(v->thread, NULL);
    for (size_t i = 0; i < v->chains; i++)
        free(v->seen[i]);
    pl_buf_release(&v->edge_spki);
    spool_release(&w->spool);
    pki_release(&w->pki);
    free(w);
}

static inline struct uplink_status status_of(struct world *w)
{
    struct uplink_status status;
    uplink_status(w->uplink, &status);
    return status;
}

#endif
