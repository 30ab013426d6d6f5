/* What the tests of this room share: a data directory, an edge's store in it, and sealed blocks. */
#ifndef POLDER_TESTS_EDGE_FIXTURE_H
#define POLDER_TESTS_EDGE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "edge/families.h"
#include "edge/spool.h"
#include "proto/http/http.h"
#include "proto/wire/block.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define S(literal) PL_SPAN_LIT(literal)

static const struct pl_log fixture_silent = {.fd = -1};

struct fixture {
    char dir[64];
    struct store *store;
    uint8_t origin_secret[PL_X25519_BYTES], origin_public[PL_X25519_BYTES];
    uint8_t edge_secret[PL_X25519_BYTES], edge_public[PL_X25519_BYTES];
    struct block_sealer *sealer;
};

static inline void fixture_store_open(struct fixture *f)
{
    struct pl_why why = {0};
    if (edge_store_open(&f->store, f->dir, &fixture_silent, &why) != PL_OK)
        fail_msg("%s", why.text);
}

static inline void fixture_store_close(struct fixture *f)
{
    store_close(f->store);
    f->store = NULL;
}

static inline int fixture_setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    snprintf(f->dir, sizeof(f->dir), "/tmp/polder-edge-XXXXXX");
    if (mkdtemp(f->dir) == NULL)
        return -1;
    assert_int_equal(pl_x25519_keypair(pl_random_system(), f->origin_secret, f->origin_public),
                     PL_OK);
    assert_int_equal(pl_x25519_keypair(pl_random_system(), f->edge_secret, f->edge_public), PL_OK);
    struct block_sealer_config config = {
        .edge_secret = f->edge_secret,
        .origin_public = f->origin_public,
        .random = pl_random_system(),
        .clock = pl_clock_system(),
    };
    assert_int_equal(block_sealer_new(&f->sealer, &config), PL_OK);
    *state = f;
    return 0;
}

static inline int fixture_teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];
    store_close(f->store);
    block_sealer_free(f->sealer);
    snprintf(command, sizeof(command), "rm -rf %s", f->dir);
    int rc = system(command);
    free(f);
    return rc;
}

/* The largest that this process may make a file: a disk that is full, for whoever ignores SIGXFSZ.
 */
static inline void fixture_file_limit(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* What is NULL or 0 in more is as everywhere. */
static inline struct spool *fixture_spool_open(struct fixture *f, struct spool_config more)
{
    struct spool *spool;
    struct pl_why why = {0};
    more.store = f->store;
    more.data_dir = f->dir;
    more.random = pl_random_system();
    more.log = &fixture_silent;
    if (more.max_bytes == 0)
        more.max_bytes = UINT64_MAX / 2;
    if (more.clock == NULL)
        more.clock = pl_clock_system();
    if (spool_new(&spool, &more, &why) != PL_OK)
        fail_msg("%s", why.text);
    return spool;
}

/* Loops on a port of their own, which nobody asks. */
static inline struct http_server *
fixture_serve(unsigned loops, void (*start)(struct http_loop *loop, unsigned index, void *arg),
              void (*stop)(struct http_loop *loop, void *arg), void *arg)
{
    struct http_server *server;
    struct pl_why why = {0};
    struct http_server_config config;
    const struct http_listener listener = {.address = "127.0.0.1"};
    http_server_config_init(&config);
    config.listeners = &listener;
    config.listener_count = 1;
    config.loops = loops;
    config.loop_start = start;
    config.loop_stop = stop;
    config.loop_arg = arg;
    config.log = &fixture_silent;
    config.clock = pl_clock_system();
    if (http_server_new(&server, &config, &why) != PL_OK ||
        http_server_start(server, &why) != PL_OK)
        fail_msg("%s", why.text);
    return server;
}

#endif
