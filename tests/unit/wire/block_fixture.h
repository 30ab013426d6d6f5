/* One edge and one origin, and blocks that go from the one to the other. */
#ifndef POLDER_TESTS_WIRE_BLOCK_FIXTURE_H
#define POLDER_TESTS_WIRE_BLOCK_FIXTURE_H

#include "proto/wire/block.h"
#include "proto/wire/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct manual_clock {
    int64_t wall_ms, mono_ms;
};

static inline int64_t read_wall(void *ctx)
{
    return ((struct manual_clock *)ctx)->wall_ms;
}

static inline int64_t read_mono(void *ctx)
{
    return ((struct manual_clock *)ctx)->mono_ms;
}

/* One edge, one origin, and what the origin knows of them. */
struct world {
    struct manual_clock time;
    struct pl_clock clock;
    struct pl_id128 edge;
    uint8_t edge_secret[32], edge_public[32];
    uint8_t origin_secret[32], origin_public[32];
    uint8_t old_secret[32], old_public[32]; /* an earlier key of the origin */
    enum pl_err edge_answer, key_answer;
    size_t secrets_asked;
    struct block_sealer *sealer;
    struct block_opener *opener;
    struct pl_buf block, plain;
    uint8_t hash[BLOCK_HASH_BYTES];
    struct pl_why why;
};

static inline enum pl_err seal_secret(void *ctx, const uint8_t id[BLOCK_KEY_ID_BYTES],
                                      uint8_t secret[32])
{
    struct world *w = ctx;
    uint8_t current[BLOCK_KEY_ID_BYTES], old[BLOCK_KEY_ID_BYTES];
    w->secrets_asked++;
    if (w->key_answer != PL_OK)
        return w->key_answer;
    block_key_id(w->origin_public, current);
    block_key_id(w->old_public, old);
    if (memcmp(id, current, sizeof(current)) == 0)
        memcpy(secret, w->origin_secret, 32);
    else if (memcmp(id, old, sizeof(old)) == 0)
        memcpy(secret, w->old_secret, 32);
    else
        return PL_ENOTFOUND;
    return PL_OK;
}

static inline enum pl_err edge_public(void *ctx, const struct pl_id128 *edge,
                                      uint8_t public_key[32])
{
    struct world *w = ctx;
    if (w->edge_answer != PL_OK)
        return w->edge_answer;
    if (!pl_id128_eq(edge, &w->edge))
        return PL_ENOTFOUND;
    memcpy(public_key, w->edge_public, 32);
    return PL_OK;
}

static inline struct block_sealer_config config_of(const struct world *w)
{
    return (struct block_sealer_config){
        .edge = w->edge,
        .edge_secret = w->edge_secret,
        .origin_public = w->origin_public,
        .random = pl_random_system(),
        .clock = &w->clock,
    };
}

static inline int set_up(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    if (w == NULL)
        return -1;
    w->time = (struct manual_clock){.wall_ms = INT64_C(1795000000123), .mono_ms = 5000};
    w->clock = (struct pl_clock){.wall_ms = read_wall, .mono_ms = read_mono, .ctx = &w->time};
    const struct pl_random *random = pl_random_system();
    struct block_opener_keys keys = {seal_secret, edge_public, w};
    assert_int_equal(pl_id128_random(random, &w->edge), PL_OK);
    assert_int_equal(pl_x25519_keypair(random, w->edge_secret, w->edge_public), PL_OK);
    assert_int_equal(pl_x25519_keypair(random, w->origin_secret, w->origin_public), PL_OK);
    assert_int_equal(pl_x25519_keypair(random, w->old_secret, w->old_public), PL_OK);
    struct block_sealer_config config = config_of(w);
    assert_int_equal(block_sealer_new(&w->sealer, &config), PL_OK);
    assert_int_equal(block_opener_new(&w->opener, &keys), PL_OK);
    pl_buf_init(&w->block, LIMIT_BLOCK_BYTES);
    pl_buf_init(&w->plain, LIMIT_BLOCK_PLAIN_BYTES);
    *state = w;
    return 0;
}

static inline int tear_down(void **state)
{
    struct world *w = *state;
    block_sealer_free(w->sealer);
    block_opener_free(w->opener);
    pl_buf_release(&w->block);
    pl_buf_release(&w->plain);
    free(w);
    return 0;
}

static const char events[] = "\x81\x01\xa3one\x81\x01\xa3one\x81\x01\xa3one and what visitors do";
#define EVENTS pl_span(events, sizeof(events) - 1)

/* Seals into w->block, replacing what was there. */
static inline struct block_header seal(struct world *w, uint64_t number, struct pl_span plain)
{
    struct block_header header = {.number = number, .events = 3};
    memset(header.incarnation.bytes, 0x1c, sizeof(header.incarnation.bytes));
    if (number > 0)
        memset(header.previous_hash, 0xab, sizeof(header.previous_hash));
    pl_buf_reset(&w->block);
    assert_int_equal(block_seal(w->sealer, &header, plain, &w->block, w->hash), PL_OK);
    return header;
}

/* Parses and opens w->block as a receiver would. */
static inline enum pl_err receive(struct world *w)
{
    struct block_header header;
    struct pl_span body;
    pl_buf_reset(&w->plain);
    enum pl_err err = block_parse(pl_buf_span(&w->block), &header, &body, &w->why);
    if (err == PL_OK)
        err = block_open(w->opener, &header, pl_buf_span(&w->block), &w->plain, &w->why);
    if (err != PL_OK) {
        assert_int_equal(w->plain.len, 0);
        assert_int_equal(w->why.err, err);
        assert_true(strlen(w->why.text) > 10);
    }
    return err;
}
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

#endif
