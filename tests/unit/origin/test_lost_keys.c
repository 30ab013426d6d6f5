/* A keyring that was put back from a copy without its newest sealing key. */
#include "intake_test.h"

static struct pl_why why;

static int64_t shifted_ms;

static int64_t shifted_mono_ms(void *ctx)
{
    (void)ctx;
    return pl_mono_ms(pl_clock_system()) + shifted_ms;
}

static void shell(const struct rig *r, const char *command)
{
    char line[256];
    snprintf(line, sizeof(line), "cd '%s' && %s", r->f.dir, command);
    assert_int_equal(system(line), 0);
}

static void start(struct rig *r)
{
    rig_must(keyring_open(&r->keyring, &r->f.config, &why), &why);
    r->config.keyring = r->keyring;
    rig_open(r);
    intake_stop(r->intake);
    intake_free(r->intake);
    rig_must(lost_keys_open(&r->config.lost_keys, r->store, r->keyring, &r->clock, &why), &why);
    rig_must(intake_new(&r->intake, &r->config, &why), &why);
    rig_must(intake_start(r->intake, &why), &why);
}

static void stop(struct rig *r)
{
    struct lost_keys *lost = r->config.lost_keys;
    r->config.lost_keys = NULL;
    rig_close(r);
    lost_keys_close(lost);
    keyring_close(r->keyring);
}

/* The first edge seals for a key that only the keyring's files in `newer` have. The old one's id.
 */
static void lose_newest_key(struct rig *r, uint8_t kept[BLOCK_KEY_ID_BYTES],
                            uint8_t lost[BLOCK_KEY_ID_BYTES])
{
    rig_close(r);
    block_key_id(r->seal_public, kept);
    shell(r, "mkdir older newer && cp -a 0 1 older");
    rig_must(keyring_new_seal_key(r->keyring, r->seal_public, &why), &why);
    block_key_id(r->seal_public, lost);
    rig_edge_restart(r, 0);
    keyring_close(r->keyring);
    shell(r, "mv 0 1 newer && cp -a older/* .");
    start(r);
}

static void finish(struct rig *r)
{
    stop(r); /* and as the teardown wants it */
    rig_must(keyring_open(&r->keyring, &r->f.config, &why), &why);
    r->config.keyring = r->keyring;
    rig_open(r);
}

static enum block_verdict send_new(struct test *t, int edge, const char *prefix, uint32_t count)
{
    events(t, 1, prefix, count);
    seal(t, edge, count);
    return send(t, edge);
}

static size_t listed(struct rig *r, struct lost_key *out)
{
    return lost_keys_list(r->config.lost_keys, out, out == NULL ? 0 : LOST_KEYS_MAX);
}

static void a_lost_key_s_blocks_wait_until_it_is_given_up(void **state)
{
    struct test *t = *state;
    struct rig *r = &t->rig;
    uint8_t kept[BLOCK_KEY_ID_BYTES], lost[BLOCK_KEY_ID_BYTES];
    struct lost_key waiting[LOST_KEYS_MAX];
    struct given_up_key given_up;
    lose_newest_key(r, kept, lost);
    assert_int_equal(send_new(t, 1, "other", 4), BLOCK_STORED);
    assert_int_equal(listed(r, NULL), 0);

    assert_int_equal(send_new(t, 0, "first", 2), BLOCK_RETRY);
    struct pl_buf first = t->block;
    pl_buf_init(&t->block, 4 * LIMIT_BLOCK_BYTES);
    assert_int_equal(send_new(t, 0, "second", 3), BLOCK_RETRY);
    assert_int_equal(rig_send(r, 0, pl_buf_span(&first)), BLOCK_RETRY);
    assert_int_equal(listed(r, waiting), 1);
    assert_memory_equal(waiting[0].id, lost, sizeof(lost));
    assert_true(pl_id128_eq(&waiting[0].edge, &r->edges[0].id));
    assert_true(waiting[0].first == 0 && waiting[0].last == 1 && waiting[0].since_ms == r->now_ms);
    assert_true(totals(t).events == 4);

    assert_int_equal(lost_keys_give_up(r->config.lost_keys, kept, &why), PL_EEXISTS);
    assert_int_equal(lost_keys_give_up(r->config.lost_keys, (const uint8_t *)"whatever", &why),
                     PL_ENOTFOUND);
    assert_int_equal(rig_send(r, 0, pl_buf_span(&first)), BLOCK_RETRY);
    assert_int_equal(lost_keys_give_up(r->config.lost_keys, lost, &why), PL_OK);
    assert_int_equal(lost_keys_give_up(r->config.lost_keys, lost, &why), PL_OK);
    assert_int_equal(listed(r, NULL), 0);
    assert_int_equal(lost_keys_given_up(r->config.lost_keys, &given_up, 1), 1);
    assert_memory_equal(given_up.id, lost, sizeof(lost));

    /* They are booked, and their chain goes on behind them. */
    assert_int_equal(rig_send(r, 0, pl_buf_span(&first)), BLOCK_STORED);
    assert_int_equal(send(t, 0), BLOCK_STORED);
    assert_int_equal(rig_send(r, 0, pl_buf_span(&first)), BLOCK_REPEAT);
    struct ledger_counts c = totals(t);
    assert_true(c.events == 9 && c.stored == 4 && c.dropped[DROP_KEY_LOST] == 5);
    struct chain_claim claim = {.incarnation = r->edges[0].header.incarnation};
    struct chain_record record;
    ledger_books(r->ledger, &r->edges[0].id, &claim, 1, &record);
    assert_true(record.contiguous == 2 && record.events == 5 && record.dropped == 5);
    pl_buf_release(&first);

    /* Also after a restart; and a newer copy of the keyring counts more. */
    stop(r);
    start(r);
    assert_int_equal(send_new(t, 0, "third", 1), BLOCK_STORED);
    assert_true(totals(t).dropped[DROP_KEY_LOST] == 6);
    stop(r);
    shell(r, "rm -r 0 1 && cp -a newer/* .");
    start(r);
    assert_int_equal(send_new(t, 0, "fourth", 1), BLOCK_STORED);
    c = totals(t);
    assert_true(c.stored == 5 && c.dropped[DROP_KEY_LOST] == 6);
    assert_int_equal(lost_keys_give_up(r->config.lost_keys, lost, &why), PL_EEXISTS);
    finish(r);
}

static void a_key_that_has_ended_cannot_be_given_up(void **state)
{
    struct test *t = *state;
    struct rig *r = &t->rig;
    uint8_t kept[BLOCK_KEY_ID_BYTES], lost[BLOCK_KEY_ID_BYTES];
    lose_newest_key(r, kept, lost);
    assert_int_equal(keyring_destroy_seal_key(r->keyring, kept, "test", NULL, &why), PL_OK);
    assert_int_equal(send_new(t, 1, "late", 2), BLOCK_STORED);
    assert_true(totals(t).dropped[DROP_KEY_DESTROYED] == 2);
    assert_int_equal(listed(r, NULL), 0);
    assert_int_equal(lost_keys_give_up(r->config.lost_keys, kept, &why), PL_EEXISTS);
    finish(r);
}

/* A line of the key-encryption keys was taken out too early. */
static void a_locked_key_s_blocks_wait(void **state)
{
    struct test *t = *state;
    struct rig *r = &t->rig;
    uint8_t locked[BLOCK_KEY_ID_BYTES], public_key[PL_X25519_BYTES];
    block_key_id(r->seal_public, locked);
    rig_close(r);
    keyring_close(r->keyring);
    r->f.config.kek_text = PL_SPAN_LIT(KEK_A KEK_B);
    start(r);
    rig_must(keyring_new_seal_key(r->keyring, public_key, &why), &why);
    stop(r);
    r->f.config.kek_text = PL_SPAN_LIT(KEK_B);
    start(r);
    assert_int_equal(send_new(t, 0, "waits", 2), BLOCK_RETRY);
    assert_int_equal(ledger_alarms(r->ledger, NULL, 0), 0);
    assert_int_equal(listed(r, NULL), 0);
    assert_int_equal(lost_keys_give_up(r->config.lost_keys, locked, &why), PL_EEXISTS);
    stop(r);
    r->f.config.kek_text = PL_SPAN_LIT(KEK_A KEK_B);
    start(r);
    assert_int_equal(send(t, 0), BLOCK_STORED);
    assert_true(totals(t).stored == 2);
    finish(r);
}

static void come(struct lost_keys *lost, uint8_t key, uint8_t edge, uint64_t number)
{
    struct block_header header = {.number = number};
    memset(header.seal_key_id, key, sizeof(header.seal_key_id));
    memset(header.edge.bytes, edge, sizeof(header.edge.bytes));
    assert_false(lost_keys_note(lost, &header));
}

static void an_edge_that_errs_hides_no_other(void **state)
{
    struct rig *r = &((struct test *)*state)->rig;
    struct lost_key waiting[LOST_KEYS_MAX];
    struct lost_keys *lost;
    const struct pl_clock clock = {.wall_ms = rig_wall_ms, .mono_ms = shifted_mono_ms, .ctx = r};
    rig_must(lost_keys_open(&lost, r->store, r->keyring, &clock, &why), &why);
    for (unsigned key = 1; key < 100; key++)
        come(lost, (uint8_t)key, 1, key);
    come(lost, 7, 2, 5);
    come(lost, 7, 2, 9);
    assert_int_equal(lost_keys_list(lost, waiting, LOST_KEYS_MAX), LOST_KEYS_OF_EDGE_MAX + 1);
    const struct lost_key *last = &waiting[LOST_KEYS_OF_EDGE_MAX];
    assert_true(last->edge.bytes[0] == 2 && last->first == 5 && last->last == 9);
    for (unsigned edge = 3; edge < 100; edge++)
        come(lost, 7, (uint8_t)edge, 0);
    assert_int_equal(lost_keys_list(lost, waiting, LOST_KEYS_MAX), LOST_KEYS_MAX);

    /* Who is not heard of for an hour is not told of any more, until it comes again. */
    shifted_ms = 61 * PL_MINUTE_MS;
    assert_int_equal(lost_keys_list(lost, waiting, LOST_KEYS_MAX), 0);
    assert_int_equal(lost_keys_give_up(lost, waiting[0].id, &why), PL_ENOTFOUND);
    come(lost, 7, 2, 5);
    assert_int_equal(lost_keys_list(lost, waiting, LOST_KEYS_MAX), 1);
    lost_keys_close(lost);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_lost_key_s_blocks_wait_until_it_is_given_up),
        CASE(a_key_that_has_ended_cannot_be_given_up),
        CASE(a_locked_key_s_blocks_wait),
        CASE(an_edge_that_errs_hides_no_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
