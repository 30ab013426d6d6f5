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

static int64_t read_wall(void *ctx)
{
    return ((struct manual_clock *)ctx)->wall_ms;
}

static int64_t read_mono(void *ctx)
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

static enum pl_err seal_secret(void *ctx, const uint8_t id[BLOCK_KEY_ID_BYTES], uint8_t secret[32])
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

static enum pl_err edge_public(void *ctx, const struct pl_id128 *edge, uint8_t public_key[32])
{
    struct world *w = ctx;
    if (w->edge_answer != PL_OK)
        return w->edge_answer;
    if (!pl_id128_eq(edge, &w->edge))
        return PL_ENOTFOUND;
    memcpy(public_key, w->edge_public, 32);
    return PL_OK;
}

static struct block_sealer_config config_of(const struct world *w)
{
    return (struct block_sealer_config){
        .edge = w->edge,
        .edge_secret = w->edge_secret,
        .origin_public = w->origin_public,
        .random = pl_random_system(),
        .clock = &w->clock,
    };
}

static int set_up(void **state)
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

static int tear_down(void **state)
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
static struct block_header seal(struct world *w, uint64_t number, struct pl_span plain)
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
static enum pl_err receive(struct world *w)
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

static void a_block_arrives_as_it_was_sealed(void **state)
{
    struct world *w = *state;
    struct block_header sealed = seal(w, 7, EVENTS), header;
    struct pl_span body;
    uint8_t key_id[BLOCK_KEY_ID_BYTES];
    block_key_id(w->origin_public, key_id);
    assert_int_equal(block_parse(pl_buf_span(&w->block), &header, &body, &w->why), PL_OK);
    assert_memory_equal(header.edge.bytes, w->edge.bytes, 16);
    assert_memory_equal(header.incarnation.bytes, sealed.incarnation.bytes, 16);
    assert_int_equal(header.number, 7);
    assert_memory_equal(header.previous_hash, sealed.previous_hash, BLOCK_HASH_BYTES);
    assert_int_equal(header.events, 3);
    assert_int_equal(header.plain_bytes, EVENTS.len);
    assert_int_equal(header.sealed_ms, w->time.wall_ms);
    assert_memory_equal(header.seal_key_id, key_id, sizeof(key_id));
    assert_memory_equal(header.enc, sealed.enc, sizeof(header.enc));
    assert_int_equal(header.sequence, 0);
    assert_int_equal(header.sealed_bytes, body.len);
    assert_int_equal(body.len + BLOCK_HEADER_BYTES, w->block.len);
    assert_int_equal(receive(w), PL_OK);
    assert_true(pl_span_eq(pl_buf_span(&w->plain), EVENTS));

    uint8_t hash[BLOCK_HASH_BYTES];
    block_hash(pl_buf_span(&w->block), hash);
    assert_memory_equal(hash, w->hash, sizeof(hash));
}

/* Bytes as SPEC.md tables them: what is written today must be readable in ten years. */
static void header_bytes_stand_where_the_spec_says(void **state)
{
    struct world *w = *state;
    seal(w, 0x0102030405060708, EVENTS);
    const uint8_t *b = w->block.data;
    assert_memory_equal(b, "PLB1", 4);
    assert_memory_equal(b + 4, w->edge.bytes, 16);
    assert_int_equal(b[20], 0x1c);
    assert_memory_equal(b + 36, "\1\2\3\4\5\6\7\10", 8);
    assert_int_equal(b[44], 0xab);
    assert_int_equal(b[75], 0xab);
    assert_memory_equal(b + 76, "\0\0\0\3", 4);
    assert_int_equal(pl_load_u32(b + 80), EVENTS.len);
    assert_int_equal(pl_load_u64(b + 84), w->time.wall_ms);
    uint8_t key_hash[PL_SHA256_BYTES];
    pl_sha256_one(pl_span(w->origin_public, 32), key_hash);
    assert_memory_equal(b + 92, key_hash, 8);
    assert_int_equal(pl_load_u64(b + 132), 0);
    assert_int_equal(pl_load_u32(b + 140), w->block.len - 144);
}

static void blocks_append(void **state)
{
    struct world *w = *state;
    struct block_header header = {.number = 0, .events = 1};
    uint8_t hash[BLOCK_HASH_BYTES];
    assert_int_equal(block_seal(w->sealer, &header, EVENTS, &w->block, hash), PL_OK);
    size_t first = w->block.len;
    header.number = 1;
    assert_int_equal(block_seal(w->sealer, &header, EVENTS, &w->block, hash), PL_OK);
    struct pl_span second = pl_span_from(pl_buf_span(&w->block), first), body;
    uint8_t expect[BLOCK_HASH_BYTES];
    block_hash(second, expect);
    assert_memory_equal(hash, expect, sizeof(hash));
    assert_int_equal(block_parse(second, &header, &body, NULL), PL_OK);
    assert_int_equal(pl_buf_append_str(&w->plain, "before"), PL_OK);
    assert_int_equal(block_open(w->opener, &header, second, &w->plain, NULL), PL_OK);
    assert_int_equal(w->plain.len, 6 + EVENTS.len);
    assert_memory_equal(w->plain.data + 6, events, EVENTS.len);
    /* Two blocks are not one. */
    assert_int_equal(block_parse(pl_buf_span(&w->block), &header, &body, &w->why), PL_ECORRUPT);
}

static void every_changed_bit_is_refused(void **state)
{
    struct world *w = *state;
    seal(w, 7, EVENTS);
    assert_int_equal(receive(w), PL_OK); /* its epoch is known now, so the rest is quick */
    for (size_t i = 0; i < w->block.len; i++)
        for (unsigned bit = 0; bit < 8; bit++) {
            /* An unopenable epoch costs three X25519; one bit of enc per byte is enough. */
            if (i >= 100 && i < 132 && bit != i % 8)
                continue;
            w->block.data[i] ^= (uint8_t)(1u << bit);
            assert_int_not_equal(receive(w), PL_OK);
            w->block.data[i] ^= (uint8_t)(1u << bit);
        }
    assert_int_equal(receive(w), PL_OK);
}

static void every_truncation_is_refused(void **state)
{
    struct world *w = *state;
    seal(w, 7, EVENTS);
    struct block_header header, kept = {.number = 99};
    struct pl_span body;
    for (size_t len = 0; len < w->block.len; len++) {
        uint8_t *copy = malloc(len == 0 ? 1 : len); /* so that a read past the end is seen */
        assert_non_null(copy);
        memcpy(copy, w->block.data, len);
        header = kept;
        assert_int_equal(block_parse(pl_span(copy, len), &header, &body, &w->why), PL_ECORRUPT);
        assert_int_equal(header.number, 99);
        free(copy);
    }
    assert_int_equal(pl_buf_put_u8(&w->block, 0), PL_OK);
    assert_int_equal(receive(w), PL_ECORRUPT);
    assert_string_equal(w->why.field, "sealed_bytes");
}

static void claims_over_the_limits_are_refused_before_any_work(void **state)
{
    struct world *w = *state;
    static const struct {
        size_t offset;
        uint32_t value;
        enum pl_err expect;
        const char *field;
    } row[] = {
        {76, LIMIT_BLOCK_EVENTS + 1, PL_ELIMIT, "events"},
        {76, 0, PL_ECORRUPT, "events"},
        {80, LIMIT_BLOCK_PLAIN_BYTES + 1, PL_ELIMIT, "plain_bytes"},
        {80, UINT32_MAX, PL_ELIMIT, "plain_bytes"},
        {80, 2, PL_ECORRUPT, "events"},
        {140, LIMIT_BLOCK_BYTES, PL_ELIMIT, "sealed_bytes"},
        {140, PL_AEAD_TAG_BYTES, PL_ECORRUPT, "sealed_bytes"},
        {36, 1, PL_EAUTH, ""}, /* a number, so the hash before it stays: only the seal knows */
        {0, 0x504c4232, PL_EUNSUPPORTED, "magic"},
        {0, 0x47494638, PL_ECORRUPT, "magic"},
    };
    for (size_t i = 0; i < COUNT(row); i++) {
        seal(w, 7, EVENTS);
        w->why = (struct pl_why){0};
        pl_store_u32(w->block.data + row[i].offset, row[i].value);
        assert_int_equal(receive(w), row[i].expect);
        assert_string_equal(w->why.field, row[i].field);
    }
    struct block_header header = seal(w, 0, EVENTS);
    assert_int_equal(header.number, 0);
    w->block.data[50] = 1;
    assert_int_equal(receive(w), PL_ECORRUPT);
    assert_string_equal(w->why.field, "previous_hash");
}

static void sealing_keeps_the_limits(void **state)
{
    struct world *w = *state;
    struct block_header header = {.number = 0, .events = 3};
    const struct block_header before = header;
    uint8_t *noise = malloc(LIMIT_BLOCK_PLAIN_BYTES + 1);
    assert_non_null(noise);
    assert_int_equal(pl_random_fill(pl_random_system(), noise, LIMIT_BLOCK_PLAIN_BYTES + 1), PL_OK);
    struct pl_buf out;
    pl_buf_init(&out, 16 * 1024 * 1024);
    assert_int_equal(pl_buf_append_str(&out, "kept"), PL_OK);
    const struct {
        uint32_t events;
        size_t plain_bytes;
        enum pl_err expect;
    } row[] = {
        {3, LIMIT_BLOCK_PLAIN_BYTES + 1, PL_ELIMIT},
        {3, LIMIT_BLOCK_BYTES, PL_ELIMIT}, /* noise does not shrink */
        {LIMIT_BLOCK_EVENTS + 1, 100 * 1024, PL_ELIMIT},
        {0, 100, PL_EINVAL},
        {3, 0, PL_EINVAL},
        {3, 2, PL_EINVAL},
    };
    for (size_t i = 0; i < COUNT(row); i++) {
        header.events = row[i].events;
        assert_int_equal(
            block_seal(w->sealer, &header, pl_span(noise, row[i].plain_bytes), &out, w->hash),
            row[i].expect);
        assert_int_equal(out.len, 4);
        header.events = before.events;
        assert_memory_equal(&header, &before, sizeof(header));
    }
    /* The largest that is allowed, and room for no more than that. */
    memset(noise, 'x', LIMIT_BLOCK_PLAIN_BYTES);
    seal(w, 1, pl_span(noise, LIMIT_BLOCK_PLAIN_BYTES));
    assert_int_equal(receive(w), PL_OK);
    assert_memory_equal(w->plain.data, noise, LIMIT_BLOCK_PLAIN_BYTES);
    struct pl_buf small;
    pl_buf_init(&small, BLOCK_HEADER_BYTES + 20);
    assert_int_equal(block_seal(w->sealer, &header, EVENTS, &small, w->hash), PL_ELIMIT);
    assert_int_equal(small.len, 0);
    pl_buf_release(&small);
    pl_buf_release(&out);
    free(noise);
}

static void only_the_right_keys_open(void **state)
{
    struct world *w = *state;
    uint8_t secret[32], public_key[32], saved[32];
    assert_int_equal(pl_x25519_keypair(pl_random_system(), secret, public_key), PL_OK);
    seal(w, 7, EVENTS);

    memcpy(saved, w->edge_public, 32); /* another edge's key under this edge's id */
    memcpy(w->edge_public, public_key, 32);
    assert_int_equal(receive(w), PL_EAUTH);
    memcpy(w->edge_public, saved, 32);

    memcpy(saved, w->origin_secret, 32); /* another origin */
    memcpy(w->origin_secret, secret, 32);
    assert_int_equal(receive(w), PL_EAUTH);
    memcpy(w->origin_secret, saved, 32);

    w->key_answer = PL_EEXPIRED;
    assert_int_equal(receive(w), PL_EEXPIRED);
    assert_string_equal(w->why.field, "seal_key_id");
    w->key_answer = PL_ENOTFOUND;
    assert_int_equal(receive(w), PL_ENOTFOUND);
    w->key_answer = PL_OK;
    assert_int_equal(receive(w), PL_OK);
}

static void a_known_edge_cannot_seal_as_another(void **state)
{
    struct world *w = *state;
    struct block_sealer_config config = config_of(w);
    struct block_sealer *other, *mine = w->sealer;
    config.edge.bytes[0] ^= 1; /* this edge's key, but enrolled under another id */
    assert_int_equal(block_sealer_new(&other, &config), PL_OK);
    w->sealer = other;
    seal(w, 7, EVENTS);
    w->sealer = mine;
    block_sealer_free(other);
    assert_int_equal(receive(w), PL_ENOTFOUND);
    assert_string_equal(w->why.field, "edge");
    w->block.data[4] ^= 1;
    assert_int_equal(receive(w), PL_EAUTH);
}

static void a_revoked_edge_is_refused_though_its_epoch_is_known(void **state)
{
    struct world *w = *state;
    seal(w, 7, EVENTS);
    assert_int_equal(receive(w), PL_OK);
    w->edge_answer = PL_EDENIED;
    assert_int_equal(receive(w), PL_EDENIED);
    assert_non_null(strstr(w->why.text, "revoked"));
    w->edge_answer = PL_OK;
    assert_int_equal(receive(w), PL_OK);
    /* Enrolled again with a new key: what the old one sealed no longer counts as the edge's. */
    uint8_t secret[32];
    assert_int_equal(pl_x25519_keypair(pl_random_system(), secret, w->edge_public), PL_OK);
    assert_int_equal(receive(w), PL_EAUTH);
}

static void a_body_does_not_open_under_another_header(void **state)
{
    struct world *w = *state;
    struct pl_buf first;
    pl_buf_init(&first, LIMIT_BLOCK_BYTES);
    seal(w, 7, EVENTS);
    assert_int_equal(pl_buf_append_span(&first, pl_buf_span(&w->block)), PL_OK);
    seal(w, 8, EVENTS);
    assert_int_equal(first.len, w->block.len);

    /* Header of 8, body of 7; then with the sequence of 7, too. */
    memcpy(w->block.data + BLOCK_HEADER_BYTES, first.data + BLOCK_HEADER_BYTES,
           first.len - BLOCK_HEADER_BYTES);
    assert_int_equal(receive(w), PL_EAUTH);
    memcpy(w->block.data + 132, first.data + 132, 8);
    assert_int_equal(receive(w), PL_EAUTH);

    /* What is opened is what the caller holds in its hand. */
    struct block_header header;
    struct pl_span body;
    assert_int_equal(block_parse(pl_buf_span(&first), &header, &body, NULL), PL_OK);
    header.number++;
    assert_int_equal(block_open(w->opener, &header, pl_buf_span(&first), &w->plain, NULL),
                     PL_EINVAL);
    pl_buf_release(&first);
}

/* An authentic body that says another size than its header: an edge gone wrong, not an attacker. */
static void a_body_of_another_size_is_corrupt(void **state)
{
    struct world *w = *state;
    const uint8_t label[] = "polder block v1";
    uint8_t info[39];
    memcpy(info, label, 15);
    memcpy(info + 15, w->edge.bytes, 16);
    block_key_id(w->origin_public, info + 31);
    for (int delta = -1; delta <= 1; delta++) {
        struct block_header header = seal(w, 0, EVENTS);
        struct hpke_context *context;
        uint64_t sequence;
        /* Unseal by hand, change plain_bytes, seal again as the edge. */
        assert_int_equal(hpke_setup_auth_receiver(&context, HPKE_AES_256_GCM, header.enc,
                                                  w->origin_secret, w->edge_public,
                                                  pl_span(info, sizeof(info))),
                         PL_OK);
        uint8_t *b = w->block.data;
        struct pl_span body = pl_span(b + 144, w->block.len - 144), aad = pl_span(b, 144);
        assert_int_equal(hpke_open(context, header.sequence, aad, body, b + 144), PL_OK);
        hpke_free(context);
        assert_int_equal(hpke_setup_auth_sender(&context, HPKE_AES_256_GCM, pl_random_system(),
                                                w->origin_public, w->edge_secret,
                                                pl_span(info, sizeof(info)), b + 100),
                         PL_OK);
        pl_store_u32(b + 80, (uint32_t)((int)EVENTS.len + delta));
        pl_store_u64(b + 132, 0);
        assert_int_equal(
            hpke_seal(context, aad, pl_span(b + 144, body.len - 16), b + 144, &sequence), PL_OK);
        hpke_free(context);
        assert_int_equal(receive(w), delta == 0 ? PL_OK : PL_ECORRUPT);
    }
}

static void no_room_for_the_events_is_told(void **state)
{
    struct world *w = *state;
    struct block_header header = seal(w, 0, EVENTS);
    struct pl_buf small;
    pl_buf_init(&small, EVENTS.len - 1);
    assert_int_equal(block_open(w->opener, &header, pl_buf_span(&w->block), &small, &w->why),
                     PL_ELIMIT);
    assert_int_equal(small.len, 0);
    pl_buf_release(&small);
}

static void an_epoch_ends_with_its_time(void **state)
{
    struct world *w = *state;
    struct block_header first = seal(w, 0, EVENTS);
    w->time.mono_ms += 10 * PL_MINUTE_MS - 1;
    w->time.wall_ms -= PL_DAY_MS; /* a wall clock that jumps changes no epoch */
    struct block_header second = seal(w, 1, EVENTS);
    assert_memory_equal(second.enc, first.enc, sizeof(first.enc));
    assert_int_equal(second.sequence, 1);
    assert_int_equal(second.sealed_ms, w->time.wall_ms);
    w->time.mono_ms += 1;
    struct block_header third = seal(w, 2, EVENTS);
    assert_memory_not_equal(third.enc, first.enc, sizeof(first.enc));
    assert_int_equal(third.sequence, 0);
    assert_int_equal(receive(w), PL_OK);
}

static void an_idle_sealer_lets_its_epoch_go(void **state)
{
    struct world *w = *state;
    block_sealer_tick(w->sealer);
    struct block_header first = seal(w, 0, EVENTS);
    block_sealer_tick(w->sealer);
    struct block_header second = seal(w, 1, EVENTS);
    assert_memory_equal(second.enc, first.enc, sizeof(first.enc));
    w->time.mono_ms += 10 * PL_MINUTE_MS;
    block_sealer_tick(w->sealer);
    w->time.mono_ms -= 10 * PL_MINUTE_MS; /* so that only the tick can have ended it */
    struct block_header third = seal(w, 2, EVENTS);
    assert_memory_not_equal(third.enc, first.enc, sizeof(first.enc));
}

static void an_epoch_ends_with_its_seals(void **state)
{
    struct world *w = *state;
    struct block_sealer_config config = config_of(w);
    config.epoch_seals = 3;
    config.epoch_ms = 1000;
    block_sealer_free(w->sealer);
    assert_int_equal(block_sealer_new(&w->sealer, &config), PL_OK);
    uint8_t enc[3][HPKE_ENC_BYTES];
    for (uint64_t i = 0; i < 9; i++) {
        struct block_header header = seal(w, i, EVENTS);
        assert_int_equal(header.sequence, i % 3);
        if (i % 3 == 0)
            memcpy(enc[i / 3], header.enc, HPKE_ENC_BYTES);
        assert_memory_equal(enc[i / 3], header.enc, HPKE_ENC_BYTES);
        assert_int_equal(receive(w), PL_OK);
    }
    assert_memory_not_equal(enc[0], enc[1], HPKE_ENC_BYTES);
    assert_memory_not_equal(enc[1], enc[2], HPKE_ENC_BYTES);
}

static void a_number_is_never_used_twice(void **state)
{
    struct world *w = *state;
    /* The writes of these fail: their blocks are dropped and sealed again. */
    for (uint64_t i = 0; i < 5; i++)
        assert_int_equal(seal(w, 0, EVENTS).sequence, i);
    /* A seal that is refused must not hand out the number of the one before. */
    struct block_header header = {.number = 0, .events = 3};
    static const uint8_t too_many[LIMIT_BLOCK_PLAIN_BYTES + 1];
    assert_int_equal(
        block_seal(w->sealer, &header, pl_span(too_many, sizeof(too_many)), &w->block, w->hash),
        PL_ELIMIT);
    assert_int_equal(block_seal(w->sealer, &header, pl_span(too_many, 0), &w->block, w->hash),
                     PL_EINVAL);
    assert_true(seal(w, 0, EVENTS).sequence >= 5);
    assert_int_equal(receive(w), PL_OK);
}

static void a_new_key_of_the_origin_begins_an_epoch(void **state)
{
    struct world *w = *state;
    struct block_header first = seal(w, 0, EVENTS);
    assert_int_equal(block_sealer_set_origin(w->sealer, w->origin_public), PL_OK);
    struct block_header same = seal(w, 1, EVENTS);
    assert_memory_equal(same.enc, first.enc, sizeof(first.enc));
    assert_int_equal(block_sealer_set_origin(w->sealer, w->old_public), PL_OK);
    struct block_header other = seal(w, 2, EVENTS);
    uint8_t id[BLOCK_KEY_ID_BYTES];
    block_key_id(w->old_public, id);
    assert_memory_equal(other.seal_key_id, id, sizeof(id));
    assert_memory_not_equal(other.enc, first.enc, sizeof(first.enc));
    assert_int_equal(other.sequence, 0);
    assert_int_equal(receive(w), PL_OK);
}

static enum pl_err fill_sometimes(void *ctx, void *out, size_t len)
{
    int *failures = ctx;
    if (*failures > 0) {
        (*failures)--;
        return PL_EIO;
    }
    return pl_random_fill(pl_random_system(), out, len);
}

static void an_epoch_that_cannot_begin_seals_nothing(void **state)
{
    struct world *w = *state;
    int failures = 2;
    const struct pl_random random = {.fill = fill_sometimes, .ctx = &failures};
    struct block_sealer_config config = config_of(w);
    config.random = &random;
    block_sealer_free(w->sealer);
    assert_int_equal(block_sealer_new(&w->sealer, &config), PL_OK);
    struct block_header header = {.number = 0, .events = 3};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(block_seal(w->sealer, &header, EVENTS, &w->block, w->hash), PL_EIO);
        assert_int_equal(w->block.len, 0);
    }
    assert_int_equal(block_seal(w->sealer, &header, EVENTS, &w->block, w->hash), PL_OK);
    assert_int_equal(receive(w), PL_OK);
}

/* Setting up an epoch is what asks for the secret, so asking tells what is kept. */
static void the_opener_keeps_sixteen_epochs(void **state)
{
    struct world *w = *state;
    struct block_sealer_config config = config_of(w);
    config.epoch_seals = 1;
    block_sealer_free(w->sealer);
    assert_int_equal(block_sealer_new(&w->sealer, &config), PL_OK);
    struct pl_buf kept[17];
    for (size_t i = 0; i < COUNT(kept); i++) {
        struct block_header header = {.number = i, .events = 3};
        pl_buf_init(&kept[i], LIMIT_BLOCK_BYTES);
        assert_int_equal(block_seal(w->sealer, &header, EVENTS, &kept[i], w->hash), PL_OK);
    }
    const struct {
        size_t block;
        size_t asked; /* in all, after it */
    } step[] = {{0, 17}, {16, 17}, {15, 17}, {2, 17}, {1, 18}, {2, 18}, {16, 18}, {3, 19}};
    struct block_header header;
    struct pl_span body;
    for (size_t i = 0; i < COUNT(kept); i++) {
        assert_int_equal(block_parse(pl_buf_span(&kept[i]), &header, &body, NULL), PL_OK);
        /* Touch the first each time: it is used, so the second is the oldest. */
        assert_int_equal(block_open(w->opener, &header, pl_buf_span(&kept[i]), &w->plain, NULL),
                         PL_OK);
        assert_int_equal(block_parse(pl_buf_span(&kept[0]), &header, &body, NULL), PL_OK);
        assert_int_equal(block_open(w->opener, &header, pl_buf_span(&kept[0]), &w->plain, NULL),
                         PL_OK);
    }
    for (size_t i = 0; i < COUNT(step); i++) {
        struct pl_span block = pl_buf_span(&kept[step[i].block]);
        assert_int_equal(block_parse(block, &header, &body, NULL), PL_OK);
        assert_int_equal(block_open(w->opener, &header, block, &w->plain, NULL), PL_OK);
        assert_int_equal(w->secrets_asked, step[i].asked);
    }
    for (size_t i = 0; i < COUNT(kept); i++)
        pl_buf_release(&kept[i]);
}

static void blocks_that_do_not_open_push_out_no_epoch(void **state)
{
    struct world *w = *state;
    seal(w, 7, EVENTS);
    assert_int_equal(receive(w), PL_OK);
    for (uint8_t i = 1; i <= 40; i++) {
        w->block.data[100] ^= i;
        assert_int_equal(receive(w), PL_EAUTH);
        w->block.data[100] ^= i;
    }
    size_t asked = w->secrets_asked;
    assert_int_equal(receive(w), PL_OK);
    assert_int_equal(w->secrets_asked, asked);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_block_arrives_as_it_was_sealed),
        TEST(header_bytes_stand_where_the_spec_says),
        TEST(blocks_append),
        TEST(every_changed_bit_is_refused),
        TEST(every_truncation_is_refused),
        TEST(claims_over_the_limits_are_refused_before_any_work),
        TEST(sealing_keeps_the_limits),
        TEST(only_the_right_keys_open),
        TEST(a_known_edge_cannot_seal_as_another),
        TEST(a_revoked_edge_is_refused_though_its_epoch_is_known),
        TEST(a_body_does_not_open_under_another_header),
        TEST(a_body_of_another_size_is_corrupt),
        TEST(no_room_for_the_events_is_told),
        TEST(an_epoch_ends_with_its_time),
        TEST(an_idle_sealer_lets_its_epoch_go),
        TEST(an_epoch_ends_with_its_seals),
        TEST(a_number_is_never_used_twice),
        TEST(a_new_key_of_the_origin_begins_an_epoch),
        TEST(an_epoch_that_cannot_begin_seals_nothing),
        TEST(the_opener_keeps_sixteen_epochs),
        TEST(blocks_that_do_not_open_push_out_no_epoch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
