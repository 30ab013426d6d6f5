#include "intake_fixture.h"
#include "origin/accounts/day_counts.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define NOON_DAY (NOON_MS / PL_DAY_MS)

struct test {
    struct rig rig;
};

static int setup(void **state)
{
    struct test *t = calloc(1, sizeof(*t));
    rig_init(&t->rig);
    t->rig.now_ms += 5 * PL_DAY_MS; /* the events are of the days before */
    rig_open(&t->rig);
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    struct test *t = *state;
    rig_close(&t->rig);
    rig_release(&t->rig);
    free(t);
    return 0;
}

static void put(struct test *t, uint64_t account, int64_t day, const char *message)
{
    rig_put(&t->rig, account, day, "visitor", message, "name");
}

static struct day_counts_row of(struct test *t, uint64_t account, int64_t first, int64_t last)
{
    struct day_counts_row row;
    assert_int_equal(
        day_counts_total(t->rig.day_counts, account, NOON_DAY + first, NOON_DAY + last, &row),
        PL_OK);
    return row;
}

static struct day_counts_row of_all(struct test *t)
{
    struct day_counts_row row;
    assert_int_equal(day_counts_total(t->rig.day_counts, 0, 0, VAULT_DAY_MAX, &row), PL_OK);
    return row;
}

/* Three accounts, three days, message ids of their own. */
static void send_some(struct test *t)
{
    for (int i = 0; i < 90; i++) {
        char id[16];
        snprintf(id, sizeof(id), "m%d", i);
        put(t, 1 + (uint64_t)i % 3, i / 3 % 3, id);
    }
    rig_store(&t->rig);
}

/* Of an account's day, in order. */
static size_t keys_of(struct test *t, uint64_t account, int64_t day, struct vault_key *keys,
                      size_t max)
{
    struct store_scan *scan;
    struct pl_span key, value;
    struct vault_key from, to;
    size_t n = 0;
    vault_key_first(account, NOON_DAY + day, &from);
    vault_key_first(account, NOON_DAY + day + 1, &to);
    assert_int_equal(store_scan_new(&scan, t->rig.store, FAMILY_VAULT, vault_key_span(&from),
                                    vault_key_span(&to)),
                     PL_OK);
    while (n < max && store_scan_next(scan, &key, &value) == PL_OK)
        memcpy(keys[n++].bytes, key.data, VAULT_KEY_BYTES);
    store_scan_free(scan);
    return n;
}

static size_t remove_keys(struct test *t, const struct vault_key *keys, size_t count,
                          enum day_counts_reason reason)
{
    struct store_batch *batch;
    size_t removed = 99;
    assert_int_equal(store_batch_new(&batch), PL_OK);
    assert_int_equal(
        day_counts_remove(t->rig.day_counts, batch, keys, count, reason, true, &removed, NULL),
        PL_OK);
    store_batch_free(batch);
    return removed;
}

static void what_is_stored_is_counted_by_account_and_day(void **state)
{
    struct test *t = *state;
    struct ledger_counts ledger;
    send_some(t);
    put(t, 2, 1, "m1"); /* sent again: m1 is account 2's */
    put(t, 2, 1, "new");
    rig_store(&t->rig);
    assert_int_equal(of(t, 1, 0, 0).stored.events, 10);
    assert_int_equal(of(t, 2, 1, 1).stored.events, 11);
    assert_int_equal(of(t, 2, 0, 2).stored.events, 31);
    assert_int_equal(of(t, 2, 2, 9).stored.events, 10);
    assert_int_equal(of(t, 2, 3, 9).stored.events, 0);
    assert_int_equal(of(t, 4, 0, 9).stored.events, 0);
    ledger_totals(t->rig.ledger, &ledger);
    assert_int_equal(ledger.duplicate, 1);
    assert_int_equal(of_all(t).stored.events, ledger.stored);
    /* Its bytes are those that stand in the vault. */
    struct store_scan *scan;
    struct pl_span key, value;
    uint64_t bytes = 0;
    assert_int_equal(
        store_scan_new(&scan, t->rig.store, FAMILY_VAULT, pl_span(NULL, 0), pl_span(NULL, 0)),
        PL_OK);
    while (store_scan_next(scan, &key, &value) == PL_OK)
        bytes += key.len + value.len;
    store_scan_free(scan);
    assert_int_equal(of_all(t).stored.bytes, bytes);
}

static void a_restart_counts_on(void **state)
{
    struct test *t = *state;
    send_some(t);
    rig_close(&t->rig);
    rig_open(&t->rig);
    put(t, 1, 0, "later");
    rig_store(&t->rig);
    assert_int_equal(of(t, 1, 0, 0).stored.events, 11);
    assert_int_equal(of_all(t).stored.events, 91);
}

/* The writer's memory of a batch that failed is not what counts. */
static void what_was_not_written_is_read_again(void **state)
{
    struct test *t = *state;
    struct store_batch *batch;
    send_some(t);
    assert_int_equal(store_batch_new(&batch), PL_OK);
    assert_int_equal(day_counts_stored(t->rig.day_counts, batch, 1, NOON_DAY, 1000, 1), PL_OK);
    day_counts_reload(t->rig.day_counts); /* the batch is lost */
    store_batch_clear(batch);
    assert_int_equal(day_counts_stored(t->rig.day_counts, batch, 1, NOON_DAY, 5, 1), PL_OK);
    assert_int_equal(store_write(t->rig.store, batch, true, NULL), PL_OK);
    store_batch_free(batch);
    assert_int_equal(of(t, 1, 0, 0).stored.events, 15);
}

static void what_is_removed_is_counted_once(void **state)
{
    struct test *t = *state;
    struct vault_key keys[64];
    send_some(t);
    assert_int_equal(keys_of(t, 1, 0, keys, 4), 4);
    assert_int_equal(remove_keys(t, keys, 3, DAY_COUNTS_ERASED), 3);
    assert_int_equal(remove_keys(t, keys, 4, DAY_COUNTS_RETIRED), 1);
    assert_int_equal(remove_keys(t, keys, 4, DAY_COUNTS_ERASED), 0);
    struct day_counts_row row = of(t, 1, 0, 0);
    assert_int_equal(row.stored.events, 10);
    assert_int_equal(row.erased.events, 3);
    assert_int_equal(row.retired.events, 1);
    assert_int_equal(day_counts_held(&row), 6);
    assert_int_equal(keys_of(t, 1, 0, keys, 64), 6);
    /* Days and accounts in one call, and all that there is: no bytes are left over. */
    size_t n = 6;
    n += keys_of(t, 1, 1, keys + n, 64 - n);
    n += keys_of(t, 2, 0, keys + n, 64 - n);
    assert_int_equal(remove_keys(t, keys, n, DAY_COUNTS_RETIRED), 26);
    row = of(t, 1, 0, 1);
    assert_int_equal(day_counts_held(&row), 0);
    assert_int_equal(row.stored.bytes, row.erased.bytes + row.retired.bytes);
    row = of_all(t);
    assert_int_equal(day_counts_held(&row), rig_count(&t->rig, FAMILY_VAULT));
}

/* The caller's own deletes go with it, or not at all. */
static void what_must_go_with_it_goes(void **state)
{
    struct test *t = *state;
    struct store_batch *batch;
    struct vault_key key;
    send_some(t);
    assert_int_equal(keys_of(t, 1, 0, &key, 1), 1);
    assert_int_equal(
        store_put(t->rig.store, FAMILY_META, PL_SPAN_LIT("m"), PL_SPAN_LIT("v"), true, NULL),
        PL_OK);
    assert_int_equal(store_batch_new(&batch), PL_OK);
    store_batch_delete(batch, t->rig.store, FAMILY_META, PL_SPAN_LIT("m"));
    assert_int_equal(
        day_counts_remove(t->rig.day_counts, batch, &key, 1, DAY_COUNTS_ERASED, false, NULL, NULL),
        PL_OK);
    assert_int_equal(store_batch_bytes(batch), 0);
    store_batch_free(batch);
    assert_int_equal(rig_count(&t->rig, FAMILY_META), 0);
    assert_int_equal(rig_count(&t->rig, FAMILY_VAULT), 89);
}

static void a_deleted_account_s_figures_stay_in_the_sum(void **state)
{
    struct test *t = *state;
    struct vault_key keys[2];
    struct ledger_counts ledger;
    send_some(t);
    assert_int_equal(keys_of(t, 2, 0, keys, 2), 2);
    assert_int_equal(remove_keys(t, keys, 2, DAY_COUNTS_ERASED), 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(day_counts_forget(t->rig.day_counts, 2, NULL), PL_OK);
        assert_int_equal(of(t, 2, 0, 9).stored.events, 0);
        ledger_totals(t->rig.ledger, &ledger);
        assert_int_equal(of_all(t).stored.events, ledger.stored);
        assert_int_equal(of_all(t).erased.events, 2);
    }
    assert_int_equal(of(t, 1, 0, 9).stored.events, 30);
    assert_int_equal(of(t, 3, 0, 9).stored.events, 30);
    assert_int_equal(day_counts_forget(t->rig.day_counts, 3, NULL), PL_OK);
    assert_int_equal(of_all(t).stored.events, 90);
}

static void a_row_of_a_newer_version_is_not_misread(void **state)
{
    struct test *t = *state;
    struct day_counts_row row;
    static const uint8_t key[] = {0, 0, 0, 0, 0, 0, 0, 7, 0, 1, 0}, newer[] = {2, 1, 1, 1},
                         torn[] = {1, 0x80};
    assert_int_equal(store_put(t->rig.store, FAMILY_DAYS, pl_span(key, sizeof(key)),
                               pl_span(newer, sizeof(newer)), true, NULL),
                     PL_OK);
    assert_int_equal(day_counts_total(t->rig.day_counts, 7, 0, 9, &row), PL_EUNSUPPORTED);
    assert_int_equal(store_put(t->rig.store, FAMILY_DAYS, pl_span(key, sizeof(key)),
                               pl_span(torn, sizeof(torn)), true, NULL),
                     PL_OK);
    assert_int_equal(day_counts_total(t->rig.day_counts, 7, 0, 9, &row), PL_ECORRUPT);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(what_is_stored_is_counted_by_account_and_day),
        CASE(a_restart_counts_on),
        CASE(what_was_not_written_is_read_again),
        CASE(what_is_removed_is_counted_once),
        CASE(what_must_go_with_it_goes),
        CASE(a_deleted_account_s_figures_stay_in_the_sum),
        CASE(a_row_of_a_newer_version_is_not_misread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
