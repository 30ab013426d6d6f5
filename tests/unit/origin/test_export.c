#include "intake_fixture.h"
#include "origin/export.h"
#include "proto/base/text.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct test {
    struct rig rig;
    struct exporter *exporter;
    struct pl_buf plain, block, out;
    uint32_t count;
};

static int setup(void **state)
{
    struct test *t = calloc(1, sizeof(*t));
    rig_init(&t->rig);
    t->rig.now_ms += 10 * PL_DAY_MS; /* the events are of the days before */
    rig_open(&t->rig);
    assert_int_equal(exporter_new(&t->exporter, t->rig.store, t->rig.keyring), PL_OK);
    pl_buf_init(&t->plain, LIMIT_BLOCK_PLAIN_BYTES);
    pl_buf_init(&t->block, 2 * LIMIT_BLOCK_BYTES);
    pl_buf_init(&t->out, 16 << 20);
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    struct test *t = *state;
    exporter_free(t->exporter);
    rig_close(&t->rig);
    rig_release(&t->rig);
    pl_buf_release(&t->plain);
    pl_buf_release(&t->block);
    pl_buf_release(&t->out);
    free(t);
    return 0;
}

static void put(struct test *t, uint64_t account, int64_t day, const char *visitor,
                const char *message)
{
    put_event(&t->plain, account, NOON_MS + day * PL_DAY_MS + t->count, visitor, message, message);
    t->count++;
}

static void store_all(struct test *t)
{
    pl_buf_reset(&t->block);
    rig_seal(&t->rig, 0, pl_buf_span(&t->plain), t->count, &t->block);
    assert_int_equal(rig_send(&t->rig, 0, pl_buf_span(&t->block)), BLOCK_STORED);
    pl_buf_reset(&t->plain);
    t->count = 0;
}

static struct export_cursor begin(uint64_t account, int64_t first, int64_t last)
{
    struct export_cursor c;
    int64_t noon = pl_day_of(NOON_MS);
    assert_int_equal(export_begin(&c, account, noon + first, noon + last, NULL), PL_OK);
    return c;
}

static enum pl_err next(struct test *t, struct export_cursor *c, size_t max_bytes)
{
    struct pl_why why;
    return export_next(t->exporter, c, pl_clock_system(), 10000, max_bytes, &t->out, &why);
}

/* Everything from the cursor on into t->out; the number of lines. */
static size_t drain(struct test *t, struct export_cursor *c, size_t max_bytes)
{
    pl_buf_reset(&t->out);
    enum pl_err err;
    while ((err = next(t, c, max_bytes)) == PL_OK)
        ;
    assert_int_equal(err, PL_ENOTFOUND);
    size_t lines = 0;
    for (size_t i = 0; i < t->out.len; i++)
        lines += t->out.data[i] == '\n';
    assert_int_equal(lines, c->events);
    return lines;
}

static bool has(struct test *t, const char *text)
{
    return memmem(t->out.data, t->out.len, text, strlen(text)) != NULL;
}

static void every_line_is_the_event(void **state)
{
    struct test *t = *state;
    struct json_parser *parser;
    struct json root, value;
    struct pl_span text = {0};
    put(t, 1, 0, "visitor", "message-1");
    store_all(t);
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
    store_all(t);
    struct export_cursor c = begin(2, 1, 3);
    assert_int_equal(drain(t, &c, 1 << 20), 3);
    assert_true(has(t, "a2-d1") && has(t, "a2-d2") && has(t, "a2-d3"));
    assert_false(has(t, "a1-") || has(t, "a3-") || has(t, "-d0") || has(t, "-d4"));
    c = begin(2, 4, 400);
    assert_int_equal(drain(t, &c, 1 << 20), 1);
    c = begin(2, 5, 400);
    assert_int_equal(drain(t, &c, 1 << 20), 0);
    assert_int_equal(export_begin(&c, 2, 0, VAULT_DAY_MAX, NULL), PL_OK);
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
    store_all(t);
    struct export_cursor c = begin(1, 0, 2);
    pl_buf_reset(&t->out);
    size_t calls = 0;
    enum pl_err err;
    /* one line a call, through text each time, new events coming in meanwhile */
    while ((err = next(t, &c, 1)) == PL_OK) {
        char text[EXPORT_CURSOR_TEXT];
        struct export_cursor again;
        export_cursor_format(&c, text);
        assert_int_equal(export_cursor_parse(pl_span_str(text), &again, NULL), PL_OK);
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
    store_all(t);
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
    store_all(t);
    struct export_cursor c = begin(1, 0, 0);
    assert_int_equal(next(t, &c, 1), PL_OK);
    assert_int_equal(keyring_destroy(t->rig.keyring, 1, "test", NULL, NULL), PL_OK);
    pl_buf_reset(&t->out);
    assert_int_equal(export_next(t->exporter, &c, pl_clock_system(), 0, 1 << 20, &t->out, &why),
                     PL_EEXPIRED);
    assert_int_equal(t->out.len, 0);
    assert_non_null(strstr(why.text, "deleted"));
    c = begin(77, 0, 0);
    assert_int_equal(export_next(t->exporter, &c, pl_clock_system(), 0, 1 << 20, &t->out, &why),
                     PL_ENOTFOUND);
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
    store_all(t);
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
    store_all(t);
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

static void bad_ranges_and_cursors_are_refused(void **state)
{
    struct test *t = *state;
    struct export_cursor c;
    struct pl_why why;
    (void)t;
    assert_int_equal(export_begin(&c, 1, 5, 4, &why), PL_EINVAL);
    assert_int_equal(export_begin(&c, 1, -1, 4, &why), PL_EINVAL);
    assert_int_equal(export_begin(&c, 1, 0, VAULT_DAY_MAX + 1, &why), PL_EINVAL);
    c = begin(1, 0, 1);
    char text[EXPORT_CURSOR_TEXT];
    export_cursor_format(&c, text);
    for (size_t i = 0; text[i] != '\0'; i++) {
        char broken[EXPORT_CURSOR_TEXT];
        memcpy(broken, text, sizeof(broken));
        broken[i] = 'x';
        assert_int_equal(export_cursor_parse(pl_span_str(broken), &c, &why), PL_EINVAL);
        assert_int_equal(export_cursor_parse(pl_span(text, i), &c, &why), PL_EINVAL);
    }
    assert_string_equal(why.field, "cursor");
    assert_int_equal(export_cursor_parse(PL_SPAN_LIT(""), &c, &why), PL_EINVAL);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

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
        CASE(bad_ranges_and_cursors_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
