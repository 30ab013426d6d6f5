/* Tallies among an account's events, as sums and in exports. */
#include "intake_fixture.h"
#include "origin/accounts/outcomes.h"
#include "origin/vault/export.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct test {
    struct rig rig;
    struct outcomes *outcomes;
    struct exporter *exporter;
    struct json_writer *writer;
    struct pl_buf out;
};

static int setup(void **state)
{
    struct test *t = calloc(1, sizeof(*t));
    rig_init(&t->rig);
    t->rig.now_ms += 10 * PL_DAY_MS;
    rig_open(&t->rig);
    assert_int_equal(outcomes_new(&t->outcomes, t->rig.store, t->rig.keyring), PL_OK);
    assert_int_equal(exporter_new(&t->exporter, t->rig.store, t->rig.keyring), PL_OK);
    assert_int_equal(json_writer_new(&t->writer, false), PL_OK);
    pl_buf_init(&t->out, 16 << 20);
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    struct test *t = *state;
    outcomes_free(t->outcomes);
    exporter_free(t->exporter);
    json_writer_free(t->writer);
    rig_close(&t->rig);
    rig_release(&t->rig);
    pl_buf_release(&t->out);
    free(t);
    return 0;
}

static void put_tally(struct test *t, uint64_t account, int64_t day, enum event_dialect dialect,
                      const char *outcome, uint64_t count, const char *message)
{
    struct event *e = calloc(1, sizeof(*e));
    event_set_u64(e, EVENT_ACCOUNT, account);
    event_set_u64(e, EVENT_TYPE, EVENT_TALLY);
    event_set_u64(e, EVENT_DIALECT, dialect);
    event_set_i64(e, EVENT_ACCEPTED_MS, NOON_MS + day * PL_DAY_MS + t->rig.count);
    event_set_str(e, EVENT_REGION, PL_SPAN_LIT("eu"));
    event_set_str(e, EVENT_MESSAGE_ID, pl_span_str(message));
    event_set_str(e, EVENT_VISITOR_ID, PL_SPAN_LIT("polder:tally"));
    event_set_str(e, EVENT_NAME, pl_span_str(outcome));
    event_set_u64(e, EVENT_COUNT, count);
    assert_int_equal(event_encode(e, &t->rig.plain), PL_OK);
    free(e);
    t->rig.count++;
}

static void put_custom(struct test *t, uint64_t account, int64_t day, const char *visitor,
                       const char *message)
{
    rig_put(&t->rig, account, day, visitor, message, message);
}

/* The answer for days that count from the fixture's noon. */
static void assert_outcomes(struct test *t, uint64_t account, int64_t first, int64_t last,
                            const char *json)
{
    const int64_t noon = pl_day_of(NOON_MS);
    struct pl_why why = {0};
    pl_buf_reset(&t->out);
    json_writer_begin(t->writer, &t->out);
    if (outcomes_write(t->outcomes, account, noon + first, noon + last, t->writer, &why) != PL_OK)
        fail_msg("%s", why.text);
    assert_int_equal(json_writer_end(t->writer), PL_OK);
    assert_int_equal(pl_buf_put_u8(&t->out, 0), PL_OK);
    assert_string_equal((const char *)t->out.data, json);
}

static void sums_by_day_dialect_and_outcome(void **state)
{
    struct test *t = *state;
    put_tally(t, 1, 0, EVENT_DIALECT_PIXEL, "DUPLICATE", 3, "t1");
    put_tally(t, 1, 0, EVENT_DIALECT_PIXEL, "DUPLICATE", 4, "t2");
    put_tally(t, 1, 0, EVENT_DIALECT_PIXEL, "DUPLICATE", 4, "t2"); /* handed in again */
    put_tally(t, 1, 0, EVENT_DIALECT_SEGMENT, "MALFORMED", 1, "t3");
    put_tally(t, 1, 2, EVENT_DIALECT_PIXEL, "DUPLICATE", 10, "t4");
    put_tally(t, 2, 0, EVENT_DIALECT_PIXEL, "DUPLICATE", 99, "t1");
    put_custom(t, 1, 0, "visitor", "m1");
    put_custom(t, 1, 1, "visitor", "m2");
    put_custom(t, 1, 2, NULL, "m3");
    put_custom(t, 1, 2, "polder:tally", "m4"); /* a client that calls itself so */
    rig_store(&t->rig);
    assert_outcomes(
        t, 1, 0, 5,
        "{\"outcomes\":["
        "{\"day\":\"2024-10-04\",\"dialect\":\"segment\",\"outcome\":\"MALFORMED\",\"count\":1},"
        "{\"day\":\"2024-10-04\",\"dialect\":\"pixel\",\"outcome\":\"DUPLICATE\",\"count\":7},"
        "{\"day\":\"2024-10-06\",\"dialect\":\"pixel\",\"outcome\":\"DUPLICATE\",\"count\":10}],"
        "\"damaged\":0}");
    assert_outcomes(t, 1, 1, 1, "{\"outcomes\":[],\"damaged\":0}");
    assert_outcomes(t, 3, 0, 5, "{\"outcomes\":[],\"damaged\":0}");
    assert_int_equal(outcomes_write(t->outcomes, 1, 5, 4, t->writer, NULL), PL_EINVAL);
    assert_int_equal(outcomes_write(t->outcomes, 1, 0, VAULT_DAY_MAX + 1, t->writer, NULL),
                     PL_EINVAL);
}

static size_t export_lines(struct test *t, bool tallies)
{
    struct export_request request = export_request_of(1, 0, VAULT_DAY_MAX);
    struct export_cursor c;
    size_t lines = 0;
    if (tallies)
        request.types |= UINT64_C(1) << EVENT_TALLY;
    assert_int_equal(export_begin(&c, &request, NULL), PL_OK);
    pl_buf_reset(&t->out);
    while (export_next(t->exporter, &c, pl_clock_system(), 10000, 1 << 20, NULL, &t->out, NULL) ==
           PL_OK)
        ;
    for (size_t i = 0; i < t->out.len; i++)
        lines += t->out.data[i] == '\n';
    assert_int_equal(lines, c.events);
    return lines;
}

static void exports_hold_tallies_only_when_asked(void **state)
{
    struct test *t = *state;
    put_tally(t, 1, 0, EVENT_DIALECT_PIXEL, "DUPLICATE", 3, "t1");
    put_custom(t, 1, 0, "visitor", "m1");
    put_tally(t, 1, 1, EVENT_DIALECT_PIXEL, "DUPLICATE", 3, "t2");
    rig_store(&t->rig);
    assert_int_equal(export_lines(t, false), 1);
    assert_int_equal(export_lines(t, true), 3);
}

static void a_damaged_tally_is_counted(void **state)
{
    struct test *t = *state;
    struct store_scan *scan;
    struct store_batch *batch;
    struct pl_span key, value;
    struct vault_key at;
    uint8_t bytes[1024];
    put_tally(t, 1, 0, EVENT_DIALECT_PIXEL, "DUPLICATE", 3, "t1");
    rig_store(&t->rig);
    assert_int_equal(
        store_scan_new(&scan, t->rig.store, FAMILY_VAULT, pl_span(NULL, 0), pl_span(NULL, 0)),
        PL_OK);
    assert_int_equal(store_scan_next(scan, &key, &value), PL_OK);
    memcpy(at.bytes, key.data, sizeof(at.bytes));
    assert_true(value.len <= sizeof(bytes));
    memcpy(bytes, value.data, value.len);
    bytes[value.len - 1] ^= 1;
    assert_int_equal(store_batch_new(&batch), PL_OK);
    store_batch_put(batch, t->rig.store, FAMILY_VAULT, vault_key_span(&at),
                    pl_span(bytes, value.len));
    store_scan_free(scan);
    assert_int_equal(store_write(t->rig.store, batch, true, NULL), PL_OK);
    store_batch_free(batch);
    assert_outcomes(t, 1, 0, 0, "{\"outcomes\":[],\"damaged\":1}");
}

static void a_destroyed_key_shows_nothing(void **state)
{
    struct test *t = *state;
    struct pl_why why = {0};
    put_tally(t, 1, 0, EVENT_DIALECT_PIXEL, "DUPLICATE", 3, "t1");
    rig_store(&t->rig);
    assert_int_equal(keyring_destroy(t->rig.keyring, 1, "test", NULL, NULL), PL_OK);
    assert_int_equal(outcomes_write(t->outcomes, 1, 0, VAULT_DAY_MAX, t->writer, &why),
                     PL_EEXPIRED);
    assert_non_null(strstr(why.text, "destroyed"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sums_by_day_dialect_and_outcome, setup, teardown),
        cmocka_unit_test_setup_teardown(exports_hold_tallies_only_when_asked, setup, teardown),
        cmocka_unit_test_setup_teardown(a_damaged_tally_is_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(a_destroyed_key_shows_nothing, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
