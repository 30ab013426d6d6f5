#include "tests/unit/wire/block_fixture.h"

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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
