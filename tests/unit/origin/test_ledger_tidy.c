/* What the ledger does not keep for ever: rows, chains, what it has put aside. */
#include "ledger_test.h"

static void what_is_kept_aside_is_dropped_in_time(void **state)
{
    struct test *t = *state;
    struct ledger_alarm alarm;
    for (uint64_t n = 0; n < 2; n++) {
        assert_int_equal(ledger_quarantine(t->ledger, t->batch, block(t, n), LEDGER_REFUSED,
                                           PL_SPAN_LIT("personal data"), "refused"),
                         PL_OK);
        commit(t);
        t->now_ms += PL_DAY_MS;
    }
    t->now_ms += (LEDGER_KEEP_DAYS - 2) * PL_DAY_MS;
    assert_int_equal(ledger_tidy(t->ledger, NULL), PL_OK);
    assert_int_equal(rows(t, FAMILY_QUARANTINE), 2); /* not a moment before */
    t->now_ms += 1;
    assert_int_equal(ledger_tidy(t->ledger, NULL), PL_OK);
    assert_int_equal(rows(t, FAMILY_QUARANTINE), 1);
    assert_int_equal(ledger_alarms(t->ledger, &alarm, 1), 1);
    assert_true(alarm.number == 1);
    t->now_ms += PL_DAY_MS;
    assert_int_equal(ledger_tidy(t->ledger, NULL), PL_OK);
    assert_int_equal(rows(t, FAMILY_QUARANTINE), 0);
    assert_int_equal(ledger_alarms(t->ledger, NULL, 0), 0);
    struct ledger_kept kept;
    ledger_kept(t->ledger, &kept);
    assert_true(kept.blocks == 0 && kept.bytes == 0 && kept.oldest_ms == 0);
}

/* Nobody can tell of when it is, and a deletion that waits for it would wait for ever. */
static void what_is_kept_aside_and_damaged_is_dropped(void **state)
{
    struct test *t = *state;
    static const uint8_t key[48] = {1}, row[] = {1, 3, 0};
    assert_int_equal(ledger_quarantine(t->ledger, t->batch, block(t, 0), LEDGER_REFUSED,
                                       PL_SPAN_LIT("personal data"), "refused"),
                     PL_OK);
    commit(t);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(store_put(t->store, FAMILY_QUARANTINE, pl_span(key, sizeof(key)),
                                   pl_span(row, sizeof(row)), true, NULL),
                         PL_OK);
        if (round == 1) { /* nor does it stop a start */
            close_all(t);
            open_all(t);
        }
        assert_int_equal(ledger_tidy(t->ledger, NULL), PL_OK);
        assert_int_equal(rows(t, FAMILY_QUARANTINE), 1);
        assert_true(ledger_let_go_kept(t->ledger, t->now_ms));
        assert_int_equal(ledger_alarms(t->ledger, NULL, 0), 1);
    }
}

static void old_rows_go_and_their_sums_stay(void **state)
{
    struct test *t = *state;
    struct ledger_counts totals;
    for (uint64_t n = 0; n < 6; n++) {
        record(t, n);
        t->now_ms += PL_DAY_MS;
    }
    record(t, 8); /* above a hole: it is still needed to close it */
    t->now_ms += (LEDGER_KEEP_DAYS - 3) * PL_DAY_MS + 1;
    assert_int_equal(ledger_tidy(t->ledger, NULL), PL_OK);
    assert_int_equal(rows(t, FAMILY_LEDGER), 3); /* 4, 5 and 8 */
    t->now_ms += 100 * PL_DAY_MS;
    assert_int_equal(ledger_tidy(t->ledger, NULL), PL_OK);
    assert_int_equal(rows(t, FAMILY_LEDGER), 1);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(check(t, block(t, 2)), BLOCK_REPEAT);
        assert_true(books(t).contiguous == 6 && books(t).highest == 9 && books(t).events == 60);
        ledger_totals(t->ledger, &totals);
        assert_true(totals.blocks == 7 && totals.events == 70);
        close_all(t);
        open_all(t);
    }
    record(t, 6);
    record(t, 7);
    assert_true(books(t).contiguous == 9);
}

/* A start of an edge is a chain: those of long ago must not stay for ever. */
static void chains_that_their_edge_has_let_go_of_are_dropped_in_time(void **state)
{
    struct test *t = *state;
    struct ledger_counts totals;
    struct ledger_chain chains[3];
    const struct pl_id128 old = t->incarnation, live = {{7}};
    for (uint64_t n = 0; n < 3; n++)
        record(t, n);
    t->incarnation = live;
    record(t, 0);
    t->now_ms += LEDGER_KEEP_DAYS * PL_DAY_MS;
    record(t, 1);
    t->now_ms += PL_DAY_MS;
    assert_int_equal(ledger_tidy(t->ledger, NULL), PL_OK);
    assert_int_equal(rows(t, FAMILY_CHAINS), 2); /* the edge was not heard */
    tell(t, &old);
    assert_int_equal(ledger_tidy(t->ledger, NULL), PL_OK);
    assert_int_equal(rows(t, FAMILY_CHAINS), 2); /* it still has the old one */
    tell(t, &live);
    assert_int_equal(ledger_tidy(t->ledger, NULL), PL_OK);
    t->incarnation = old;
    for (int round = 0; round < 2; round++) {
        assert_int_equal(rows(t, FAMILY_CHAINS), 2); /* the live one and the sum of the others */
        assert_int_equal(ledger_chains(t->ledger, chains, 3), 2);
        assert_int_equal(books(t).contiguous, 0);
        assert_int_equal(chains[0].record.events + chains[1].record.events, 50);
        ledger_totals(t->ledger, &totals);
        assert_true(totals.blocks == 5 && totals.events == 50);
        close_all(t);
        open_all(t);
    }
    t->incarnation = live;
    tell(t, &live);
    t->now_ms += 100 * PL_DAY_MS;
    assert_int_equal(ledger_tidy(t->ledger, NULL), PL_OK);
    assert_true(books(t).contiguous == 2); /* named: however old */
    record(t, 2);
}

static void the_quarantine_is_bounded(void **state)
{
    struct test *t = *state;
    close_all(t);
    t->config.quarantine_bytes_max = 4096;
    open_all(t);
    char *bytes = calloc(1, 1500);
    struct pl_buf out;
    pl_buf_init(&out, 1 << 20);
    for (uint64_t n = 0; n < 100; n++)
        assert_int_equal(ledger_quarantine(t->ledger, t->batch, block(t, n), LEDGER_REFUSED,
                                           pl_span(bytes, 1500), "refused"),
                         PL_OK);
    commit(t);
    size_t total = 0;
    struct store_scan *scan;
    struct pl_span key, value;
    assert_int_equal(
        store_scan_new(&scan, t->store, FAMILY_QUARANTINE, pl_span(NULL, 0), pl_span(NULL, 0)),
        PL_OK);
    while (store_scan_next(scan, &key, &value) == PL_OK)
        total += key.len + value.len;
    store_scan_free(scan);
    assert_true(total > 3000 && total <= 4096);
    assert_int_equal(ledger_alarms(t->ledger, NULL, 0), 100); /* told all the same */
    struct ledger_kept kept;
    for (int round = 0; round < 2; round++) {
        ledger_kept(t->ledger, &kept);
        assert_int_equal(kept.bytes, total);
        assert_int_equal(kept.blocks, rows(t, FAMILY_QUARANTINE));
        assert_true(kept.oldest_ms == t->now_ms);
        assert_int_equal(ledger_reload(t->ledger, NULL), PL_OK);
    }
    free(bytes);
    pl_buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(what_is_kept_aside_is_dropped_in_time),
        CASE(what_is_kept_aside_and_damaged_is_dropped),
        CASE(old_rows_go_and_their_sums_stay),
        CASE(chains_that_their_edge_has_let_go_of_are_dropped_in_time),
        CASE(the_quarantine_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
