#include "export_test.h"

static void every_line_is_the_event(void **state)
{
    struct test *t = *state;
    struct json_parser *parser;
    struct json root, value;
    struct pl_span text = {0};
    put(t, 1, 0, "visitor", "message-1");
    rig_store(&t->rig);
    struct export_cursor c = begin(1, 0, 0);
    assert_int_equal(drain(t, &c, 1 << 20), 1);
    assert_int_equal(json_parser_new(&parser, 1 << 20, 24), PL_OK);
    assert_int_equal(json_parse(parser, pl_span(t->out.data, t->out.len - 1), &root, NULL), PL_OK);
    assert_true(json_get(root, "message_id", &value) && json_string(value, &text));
    assert_true(pl_span_eq_str(text, "message-1"));
    assert_true(json_get(root, "visitor_id", &value) && json_string(value, &text));
    assert_true(pl_span_eq_str(text, "visitor"));
    assert_true(json_get(root, "account", &value) && json_string(value, &text));
    assert_true(pl_span_eq_str(text, "0000000000000001"));
    assert_true(json_get(root, "accepted", &value) && json_string(value, &text));
    assert_true(pl_span_eq_str(text, "2024-10-04T12:00:00.000Z"));
    json_parser_free(parser);
}

static void only_the_account_s_days(void **state)
{
    struct test *t = *state;
    for (int64_t day = 0; day < 5; day++)
        for (uint64_t account = 1; account <= 3; account++) {
            char id[32];
            snprintf(id, sizeof(id), "a%d-d%d", (int)account, (int)day);
            put(t, account, day, "v", id);
        }
    rig_store(&t->rig);
    struct export_cursor c = begin(2, 1, 3);
    assert_int_equal(drain(t, &c, 1 << 20), 3);
    assert_true(has(t, "a2-d1") && has(t, "a2-d2") && has(t, "a2-d3"));
    assert_false(has(t, "a1-") || has(t, "a3-") || has(t, "-d0") || has(t, "-d4"));
    c = begin(2, 4, 400);
    assert_int_equal(drain(t, &c, 1 << 20), 1);
    c = begin(2, 5, 400);
    assert_int_equal(drain(t, &c, 1 << 20), 0);
    struct export_request all = export_request_of(2, 0, VAULT_DAY_MAX);
    assert_int_equal(export_begin(&c, &all, NULL), PL_OK);
    assert_int_equal(drain(t, &c, 1 << 20), 5);
}

static void slices_resume_where_they_stopped(void **state)
{
    struct test *t = *state;
    for (int i = 0; i < 300; i++) {
        char visitor[16], id[16];
        snprintf(visitor, sizeof(visitor), "v%d", i % 17);
        snprintf(id, sizeof(id), "id-%d.", i);
        put(t, 1, i % 3, visitor, id);
    }
    rig_store(&t->rig);
    struct export_cursor c = begin(1, 0, 2);
    pl_buf_reset(&t->out);
    size_t calls = 0;
    enum pl_err err;
    /* one line a call, through text each time, new events coming in meanwhile */
    while ((err = next(t, &c, 1)) == PL_OK) {
        char text[EXPORT_CURSOR_TEXT];
        struct export_cursor again;
        export_cursor_format(&c, text);
        assert_int_equal(export_resume(&again, &c.request, pl_span_str(text), NULL), PL_OK);
        assert_memory_equal(&again, &c, sizeof(c));
        c = again;
        calls++;
    }
    assert_int_equal(err, PL_ENOTFOUND);
    assert_int_equal(calls, 300);
    for (int i = 0; i < 300; i++) {
        char id[24];
        snprintf(id, sizeof(id), "\"id-%d.\"", i);
        assert_true(has(t, id));
    }
    assert_int_equal(c.events, 300);
}

static void nothing_of_the_store_stays_pinned(void **state)
{
    struct test *t = *state;
    uint8_t from[8], to[8];
    for (int i = 0; i < 50; i++) {
        char id[16];
        snprintf(id, sizeof(id), "id%d", i);
        put(t, 1, 0, "v", id);
    }
    rig_store(&t->rig);
    struct export_cursor c = begin(1, 0, 0);
    assert_int_equal(next(t, &c, 1), PL_OK);
    pl_store_u64(from, 1);
    pl_store_u64(to, 2);
    assert_int_equal(store_purge_range(t->rig.store, FAMILY_VAULT, pl_span(from, sizeof(from)),
                                       pl_span(to, sizeof(to)), 5000, NULL),
                     PL_OK);
    assert_int_equal(next(t, &c, 1 << 20), PL_ENOTFOUND);
}

static void a_destroyed_key_ends_it(void **state)
{
    struct test *t = *state;
    struct pl_why why = {.err = PL_OK};
    put(t, 1, 0, "v", "one");
    put(t, 1, 0, "v", "two");
    rig_store(&t->rig);
    struct export_cursor c = begin(1, 0, 0);
    assert_int_equal(next(t, &c, 1), PL_OK);
    assert_int_equal(keyring_destroy(t->rig.keyring, 1, "test", NULL, NULL), PL_OK);
    pl_buf_reset(&t->out);
    assert_int_equal(
        export_next(t->exporter, &c, pl_clock_system(), 0, 1 << 20, NULL, &t->out, &why),
        PL_EEXPIRED);
    assert_int_equal(t->out.len, 0);
    assert_non_null(strstr(why.text, "deleted"));
    c = begin(77, 0, 0);
    assert_int_equal(
        export_next(t->exporter, &c, pl_clock_system(), 0, 1 << 20, NULL, &t->out, &why),
        PL_ECORRUPT); /* not the end: without its key nobody knows what there is */
    assert_non_null(strstr(why.text, "not in the keyring"));
}

/* With the header. */
static size_t drain_records(struct test *t, struct export_cursor *c)
{
    size_t records = 0;
    pl_buf_reset(&t->out);
    assert_int_equal(export_put_header(c, &t->out), PL_OK);
    while (next(t, c, 1 << 20) == PL_OK)
        ;
    for (size_t i = 0; i < t->out.len; i++)
        records += t->out.data[i] == '\n';
    return records;
}

static void damaged_values_are_named_and_the_rest_goes_on(void **state)
{
    struct test *t = *state;
    struct store_scan *scan;
    struct pl_span key, value;
    struct pl_buf bad;
    uint8_t keys[3][VAULT_KEY_BYTES];
    size_t n = 0;
    for (int i = 0; i < 3; i++) {
        char id[16];
        snprintf(id, sizeof(id), "id%d", i);
        put(t, 1, 0, "v", id);
    }
    rig_store(&t->rig);
    assert_int_equal(
        store_scan_new(&scan, t->rig.store, FAMILY_VAULT, pl_span(NULL, 0), pl_span(NULL, 0)),
        PL_OK);
    while (store_scan_next(scan, &key, &value) == PL_OK)
        memcpy(keys[n++], key.data, VAULT_KEY_BYTES);
    store_scan_free(scan);
    assert_int_equal(n, 3);
    /* the second: one byte rotten */
    pl_buf_init(&bad, 1 << 16);
    assert_int_equal(store_get(t->rig.store, FAMILY_VAULT, pl_span(keys[1], VAULT_KEY_BYTES), &bad),
                     PL_OK);
    bad.data[40] ^= 1;
    assert_int_equal(store_put(t->rig.store, FAMILY_VAULT, pl_span(keys[1], VAULT_KEY_BYTES),
                               pl_buf_span(&bad), true, NULL),
                     PL_OK);
    pl_buf_release(&bad);
    struct export_cursor c = begin(1, 0, 0);
    assert_int_equal(drain(t, &c, 1 << 20), 3);
    assert_int_equal(c.damaged, 1);
    char hex[2 * VAULT_KEY_BYTES + 1];
    pl_hex_encode(pl_span(keys[1], VAULT_KEY_BYTES), hex);
    assert_true(has(t, hex) && has(t, "polder_error"));
    assert_true(has(t, "id0") + has(t, "id1") + has(t, "id2") == 2);
    c = begin_as(1, EXPORT_CSV);
    assert_int_equal(drain_records(t, &c), 4);
    assert_int_equal(c.damaged, 1);
    assert_true(has(t, hex) && has(t, ",this event is damaged and cannot be read,"));
}

/* Flips a byte of every so many in the store's largest file. */
static void rot(struct test *t, size_t every)
{
    char path[160], command[200];
    snprintf(command, sizeof(command), "ls -S '%s'/*.sst | head -1", t->rig.store_path);
    FILE *list = popen(command, "r");
    assert_non_null(list);
    assert_non_null(fgets(path, sizeof(path), list));
    pclose(list);
    path[strcspn(path, "\n")] = '\0';
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    long size = ftell(file);
    /* the end is index and footer, without which nothing opens */
    for (long at = (long)every; at < size - size / 4; at += (long)every) {
        assert_int_equal(fseek(file, at, SEEK_SET), 0);
        int byte = fgetc(file);
        assert_int_equal(fseek(file, at, SEEK_SET), 0);
        fputc(byte ^ 0x55, file);
    }
    fclose(file);
}

static void a_rotten_block_is_named_and_passed(void **state)
{
    struct test *t = *state;
    enum { EVENTS = 6000 };
    for (int i = 0; i < EVENTS; i++) {
        char visitor[16], id[16];
        snprintf(visitor, sizeof(visitor), "v%d", i / 3);
        snprintf(id, sizeof(id), "id-%d.", i);
        put(t, 1, i % 2, visitor, id);
    }
    rig_store(&t->rig);
    assert_int_equal(store_flush(t->rig.store, NULL), PL_OK);
    exporter_free(t->exporter);
    rig_close(&t->rig);
    rot(t, 100000);
    rig_open(&t->rig);
    assert_int_equal(exporter_new(&t->exporter, t->rig.store, t->rig.keyring), PL_OK);
    struct export_cursor c = begin(1, 0, 1);
    size_t lines = drain(t, &c, 1 << 20);
    size_t lost = EVENTS - (lines - c.damaged);
    assert_true(c.damaged > 0 && c.damaged < 20);
    assert_true(lost > 0 && lost < c.damaged * 200); /* a block's worth each */
    assert_true(has(t, "readable_from"));
}

static void assert_summary(struct test *t, const struct export_cursor *c, const char *expected)
{
    struct day_counts_row now;
    assert_int_equal(
        day_counts_total(t->rig.day_counts, 1, c->request.first_day, c->request.last_day, &now),
        PL_OK);
    pl_buf_reset(&t->out);
    assert_int_equal(export_put_summary(t->exporter, c, &now, &t->out), PL_OK);
    assert_int_equal(pl_buf_terminate(&t->out), PL_OK);
    assert_string_equal((char *)t->out.data, expected);
}

static void the_summary_is_held_against_the_counts(void **state)
{
    struct test *t = *state;
    for (int i = 0; i < 9; i++) {
        char id[16];
        snprintf(id, sizeof(id), "m%d", i);
        put_typed(t, "v", NULL, i == 0 ? EVENT_TALLY : EVENT_CUSTOM, id);
    }
    rig_store(&t->rig);
    struct export_cursor c = begin(1, 0, 9);
    c.stored_before = 9;
    drain(t, &c, 1 << 20);
    assert_summary(t, &c,
                   "{\"polder_summary\":{\"events\":8,\"damaged\":0,\"left_out\":1,\"held\":9,"
                   "\"agrees\":true}}\n");
    c.events--; /* one was lost on the way */
    assert_summary(t, &c,
                   "{\"polder_summary\":{\"events\":7,\"damaged\":0,\"left_out\":1,\"held\":9,"
                   "\"agrees\":false}}\n");
    /* One comes in meanwhile: it may be in the export, or not. */
    c.events++;
    put_typed(t, "v", NULL, EVENT_CUSTOM, "late");
    rig_store(&t->rig);
    for (int i = 0; i < 2; i++, c.events++)
        assert_summary(t, &c,
                       i == 0 ? "{\"polder_summary\":{\"events\":8,\"damaged\":0,\"left_out\":1,"
                                "\"held\":10,\"agrees\":true}}\n"
                              : "{\"polder_summary\":{\"events\":9,\"damaged\":0,\"left_out\":1,"
                                "\"held\":10,\"agrees\":true}}\n");
    assert_summary(t, &c,
                   "{\"polder_summary\":{\"events\":10,\"damaged\":0,\"left_out\":1,\"held\":10,"
                   "\"agrees\":false}}\n");
    /* Of one visitor nobody knows how many there should be. */
    c = begin_visitor("v");
    drain(t, &c, 1 << 20);
    assert_summary(t, &c, "{\"polder_summary\":{\"events\":9,\"damaged\":0,\"left_out\":1}}\n");
}

static void a_slice_that_is_stopped_ends(void **state)
{
    struct test *t = *state;
    const _Atomic bool stop = true;
    for (int i = 0; i < 10; i++) {
        char id[16];
        snprintf(id, sizeof(id), "m%d", i);
        put(t, 1, 0, "v", id);
    }
    rig_store(&t->rig);
    struct export_cursor c = begin(1, 0, 0);
    assert_int_equal(
        export_next(t->exporter, &c, pl_clock_system(), 10000, 1 << 20, &stop, &t->out, NULL),
        PL_OK);
    assert_int_equal(c.events, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(every_line_is_the_event),
        CASE(only_the_account_s_days),
        CASE(slices_resume_where_they_stopped),
        CASE(nothing_of_the_store_stays_pinned),
        CASE(a_destroyed_key_ends_it),
        CASE(damaged_values_are_named_and_the_rest_goes_on),
        CASE(a_rotten_block_is_named_and_passed),
        CASE(the_summary_is_held_against_the_counts),
        CASE(a_slice_that_is_stopped_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
