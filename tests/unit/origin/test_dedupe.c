/* The dedupe index by itself. */
#include "intake_test.h"
#include "origin/intake/dedupe.h"

static void a_hash_collision_swallows_nothing(void **state)
{
    struct test *t = *state;
    struct dedupe *d;
    struct vault_sealer *sealer;
    struct event_reader *reader;
    struct event *event = calloc(1, sizeof(*event));
    struct dedupe_entry entries[3], *list[3];
    struct pl_buf values[3];
    struct vault_place place = {.index = 0};
    assert_int_equal(vault_sealer_new(&sealer, t->rig.keyring, 0), PL_OK);
    assert_int_equal(dedupe_new(&d, t->rig.store, sealer), PL_OK);
    assert_int_equal(event_reader_new(&reader), PL_OK);
    static const char *const ids[] = {"one", "two", "three"};
    uint64_t hash = 0;
    for (int i = 0; i < 3; i++) {
        pl_buf_reset(&t->plain);
        pl_buf_init(&values[i], 1 << 16);
        put_event(&t->plain, 1, NOON_MS + i, "v", ids[i], "n");
        struct pl_span rest = pl_buf_span(&t->plain);
        assert_int_equal(event_read(reader, &rest, event, NULL, NULL), PL_OK);
        entries[i] = (struct dedupe_entry){.message_id = pl_span_str(ids[i])};
        assert_int_equal(vault_key_of(sealer, event, &place, &entries[i].key), PL_OK);
        if (i == 0)
            hash = vault_key_event_hash(&entries[0].key);
        vault_key_set_event_hash(&entries[i].key, hash); /* as if all three hashed alike */
        assert_int_equal(vault_seal(sealer, &entries[i].key, pl_buf_span(&t->plain), &values[i]),
                         PL_OK);
        entries[i].value = pl_buf_span(&values[i]);
        list[i] = &entries[i];
    }
    struct vault_key originals[3] = {entries[0].key, entries[1].key, entries[2].key};
    /* two at once, the third against what is stored */
    struct store_batch *batch;
    assert_int_equal(store_batch_new(&batch), PL_OK);
    for (int round = 0; round < 2; round++) {
        size_t from = round == 0 ? 0 : 2, count = round == 0 ? 2 : 1;
        assert_int_equal(dedupe_check(d, list + from, count, NULL), PL_OK);
        for (size_t i = from; i < from + count; i++) {
            assert_false(entries[i].duplicate);
            assert_true(vault_key_event_hash(&entries[i].key) == hash + i);
            uint8_t key[DEDUPE_KEY_BYTES], value[DEDUPE_VALUE_BYTES];
            dedupe_key_of(&entries[i].key, key);
            dedupe_value_of(&entries[i].key, value);
            store_batch_put(batch, t->rig.store, FAMILY_VAULT, vault_key_span(&entries[i].key),
                            entries[i].value);
            store_batch_put(batch, t->rig.store, FAMILY_DEDUPE, pl_span(key, sizeof(key)),
                            pl_span(value, sizeof(value)));
        }
        assert_int_equal(store_write(t->rig.store, batch, true, NULL), PL_OK);
        store_batch_clear(batch);
    }
    /* each opens where it went, and each is found again from where it started */
    for (int i = 0; i < 3; i++) {
        pl_buf_reset(&t->plain);
        pl_buf_reset(&t->other);
        assert_int_equal(
            store_get(t->rig.store, FAMILY_VAULT, vault_key_span(&entries[i].key), &t->other),
            PL_OK);
        assert_int_equal(
            vault_open_value(sealer, &entries[i].key, pl_buf_span(&t->other), &t->plain), PL_OK);
        entries[i].key = originals[i];
        entries[i].value = pl_buf_span(&values[i]);
    }
    assert_int_equal(dedupe_check(d, list, 3, NULL), PL_OK);
    assert_true(entries[0].duplicate && entries[1].duplicate && entries[2].duplicate);
    store_batch_free(batch);
    dedupe_free(d);
    vault_sealer_free(sealer);
    event_reader_free(reader);
    free(event);
    for (int i = 0; i < 3; i++)
        pl_buf_release(&values[i]);
}

static void the_window_is_thirty_days(void **state)
{
    struct test *t = *state;
    static const int64_t days[] = {0, 30, 61};
    static const uint64_t stored[] = {1, 1, 2};
    for (int i = 0; i < 3; i++) {
        put_event(&t->plain, 1, NOON_MS + days[i] * PL_DAY_MS, "v", "m", "n");
        __atomic_store_n(&t->rig.now_ms, NOON_MS + days[i] * PL_DAY_MS, __ATOMIC_RELAXED);
        seal(t, 0, 1);
        assert_int_equal(send(t, 0), BLOCK_STORED);
        assert_true(totals(t).stored == stored[i]);
    }
    /* the sweep of the first day leaves the entry that the third event took over */
    struct vault_key cursor = {{0}};
    enum pl_err err;
    while ((err = dedupe_expire(t->rig.store, pl_day_of(NOON_MS), &cursor, 2, NULL)) == PL_EAGAIN)
        ;
    assert_int_equal(err, PL_OK);
    assert_int_equal(rig_count(&t->rig, FAMILY_DEDUPE), 1);
}

static void the_sweep_takes_one_day_of_every_account(void **state)
{
    struct test *t = *state;
    for (uint64_t account = 1; account < RIG_ACCOUNTS; account++)
        for (int64_t day = 0; day < 3; day++)
            for (int i = 0; i < 100; i++) {
                char id[32];
                snprintf(id, sizeof(id), "%d-%d", (int)day, i);
                put_event(&t->plain, account, NOON_MS + day * PL_DAY_MS, "v", id, "n");
            }
    uint32_t count = (RIG_ACCOUNTS - 1) * 300;
    __atomic_store_n(&t->rig.now_ms, NOON_MS + 2 * PL_DAY_MS, __ATOMIC_RELAXED);
    seal(t, 0, count);
    assert_int_equal(send(t, 0), BLOCK_STORED);
    assert_int_equal(rig_count(&t->rig, FAMILY_DEDUPE), count);
    struct vault_key cursor = {{0}};
    enum pl_err err;
    int calls = 0;
    while ((err = dedupe_expire(t->rig.store, pl_day_of(NOON_MS) + 1, &cursor, 150, NULL)) ==
           PL_EAGAIN)
        calls++;
    assert_int_equal(err, PL_OK);
    assert_true(calls > 1 && calls < 30);
    assert_int_equal(rig_count(&t->rig, FAMILY_DEDUPE), count / 3 * 2);
    assert_int_equal(rig_count(&t->rig, FAMILY_VAULT), count);
}

/* Flips a byte in the middle of every table that is large enough to lose only a part. */
static void rot(struct test *t)
{
    char path[160], command[200];
    snprintf(command, sizeof(command), "find '%s' -name '*.sst' -size +40k", t->rig.store_path);
    FILE *list = popen(command, "r");
    assert_non_null(list);
    while (fgets(path, sizeof(path), list) != NULL) {
        path[strcspn(path, "\n")] = '\0';
        FILE *file = fopen(path, "r+b");
        assert_non_null(file);
        assert_int_equal(fseek(file, 0, SEEK_END), 0);
        long at = ftell(file) / 2;
        assert_int_equal(fseek(file, at, SEEK_SET), 0);
        int byte = fgetc(file);
        assert_int_equal(fseek(file, at, SEEK_SET), 0);
        fputc(byte ^ 0x55, file);
        fclose(file);
    }
    pclose(list);
}

static void rot_does_not_stop_the_sweep(void **state)
{
    struct test *t = *state;
    enum { EACH = 800, ALL = EACH * (RIG_ACCOUNTS - 1) };
    for (uint64_t account = 1; account < RIG_ACCOUNTS; account++)
        events(t, account, "id", EACH);
    seal(t, 0, ALL);
    assert_int_equal(send(t, 0), BLOCK_STORED);
    assert_int_equal(store_flush(t->rig.store, NULL), PL_OK);
    rig_close(&t->rig);
    rot(t);
    rig_open(&t->rig);
    struct vault_key cursor = {{0}};
    enum pl_err err;
    while ((err = dedupe_expire(t->rig.store, pl_day_of(NOON_MS), &cursor, 150, NULL)) == PL_EAGAIN)
        ;
    assert_int_equal(err, PL_OK);
    /* of the accounts behind the rot nothing is left; what the scan of the rotten index meets first
     * is an error, so ask for each */
    struct vault_sealer *sealer;
    struct pl_buf value;
    size_t left = 0;
    pl_buf_init(&value, 1 << 20);
    assert_int_equal(vault_sealer_new(&sealer, t->rig.keyring, 0), PL_OK);
    for (uint32_t i = 0; i < EACH; i++) {
        char id[32];
        uint8_t key[DEDUPE_KEY_BYTES];
        struct vault_key at;
        struct vault_place place = {.number = 0};
        struct event *e = calloc(1, sizeof(*e));
        snprintf(id, sizeof(id), "id%u", i);
        event_set_u64(e, EVENT_ACCOUNT, RIG_ACCOUNTS - 1);
        event_set_i64(e, EVENT_ACCEPTED_MS, NOON_MS);
        event_set_str(e, EVENT_MESSAGE_ID, pl_span_str(id));
        assert_int_equal(vault_key_of(sealer, e, &place, &at), PL_OK);
        dedupe_key_of(&at, key);
        left += store_get(t->rig.store, FAMILY_DEDUPE, pl_span(key, sizeof(key)), &value) == PL_OK;
        free(e);
    }
    assert_int_equal(left, 0);
    vault_sealer_free(sealer);
    pl_buf_release(&value);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_hash_collision_swallows_nothing),
        CASE(the_window_is_thirty_days),
        CASE(the_sweep_takes_one_day_of_every_account),
        CASE(rot_does_not_stop_the_sweep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
