/* Keys that last for an epoch: what begins and ends one, and how many an opener keeps. */
#include "tests/unit/wire/block_fixture.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
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
