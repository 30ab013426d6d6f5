/* Reading, writing, scanning: what a caller sees while nothing breaks. */
#include "fixture.h"

static void put_is_read_back_and_survives_a_restart(void **state)
{
    struct fixture *f = *state;
    struct store *store = fixture_open(f);
    put(store, META, "a", "1");
    put(store, META, "", "empty key");
    put(store, META, "nothing", "");
    put(store, EVENTS, "a", "2"); /* families don't mix */
    assert_value(store, META, "a", "1");
    assert_value(store, EVENTS, "a", "2");
    assert_value(store, META, "", "empty key");
    assert_value(store, META, "nothing", "");
    assert_value(store, META, "b", NULL);
    fixture_close(f);
    store = fixture_open(f);
    assert_value(store, META, "a", "1");
    assert_value(store, EVENTS, "a", "2");
    assert_value(store, META, "nothing", "");
}

static void directory_is_private(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    fixture_open(f);
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
}

static void get_appends_within_the_limit(void **state)
{
    struct store *store = fixture_open(*state);
    struct pl_buf out;
    pl_buf_init(&out, 10);
    put(store, META, "k", "12345");
    assert_int_equal(pl_buf_append_str(&out, ">"), PL_OK);
    assert_int_equal(store_get(store, META, S("k"), &out), PL_OK);
    assert_true(pl_span_eq_str(pl_buf_span(&out), ">12345"));
    assert_int_equal(store_get(store, META, S("k"), &out), PL_ELIMIT);
    assert_true(pl_span_eq_str(pl_buf_span(&out), ">12345"));
    pl_buf_release(&out);
}

static void batch_is_applied_in_order(void **state)
{
    struct store *store = fixture_open(*state);
    struct store_batch *batch;
    put(store, META, "old", "x");
    put(store, EVENTS, "d1", "x");
    put(store, EVENTS, "d2", "x");
    put(store, EVENTS, "d3", "x");
    assert_int_equal(store_batch_new(&batch), PL_OK);
    assert_int_equal(store_batch_bytes(batch), 0);
    store_batch_put(batch, store, META, S("k"), S("first"));
    store_batch_put(batch, store, META, S("k"), S("second"));
    store_batch_delete(batch, store, META, S("old"));
    store_batch_delete_range(batch, store, EVENTS, S("d1"), S("d3"));
    store_batch_delete_range(batch, store, EVENTS, S("e"), S("d")); /* empty: nothing */
    assert_int_equal(store_batch_bytes(batch), 1 + 5 + 1 + 6 + 3 + 4);
    assert_value(store, META, "k", NULL);
    assert_int_equal(store_write(store, batch, true, NULL), PL_OK);
    assert_value(store, META, "k", "second");
    assert_value(store, META, "old", NULL);
    assert_value(store, EVENTS, "d1", NULL);
    assert_value(store, EVENTS, "d2", NULL);
    assert_value(store, EVENTS, "d3", "x");

    store_batch_clear(batch);
    assert_int_equal(store_batch_bytes(batch), 0);
    put(store, META, "k", "third");
    assert_int_equal(store_write(store, batch, false, NULL), PL_OK);
    assert_value(store, META, "k", "third");
    assert_int_equal(store_sync(store, NULL), PL_OK);
    store_batch_free(batch);
    store_batch_free(NULL);
}

static void batch_over_the_limit_changes_nothing(void **state)
{
    struct store *store = fixture_open(*state);
    struct store_batch *batch;
    struct pl_why why = {0};
    char *big = calloc(1, 33 << 20);
    assert_int_equal(store_batch_new(&batch), PL_OK);
    store_batch_put(batch, store, META, S("a"), pl_span(big, 33 << 20));
    store_batch_put(batch, store, META, S("b"), pl_span(big, 33 << 20));
    store_batch_put(batch, store, META, S("c"), S("small"));
    assert_int_equal(store_write(store, batch, true, &why), PL_ELIMIT);
    assert_non_null(strstr(why.text, "67108864"));
    assert_value(store, META, "a", NULL);
    assert_value(store, META, "c", NULL);
    store_batch_clear(batch);
    store_batch_put(batch, store, META, S("c"), S("small"));
    assert_int_equal(store_write(store, batch, true, &why), PL_OK);
    assert_value(store, META, "c", "small");
    store_batch_free(batch);
    free(big);
}

static void get_many_answers_in_the_order_asked(void **state)
{
    struct store *store = fixture_open(*state);
    char text[600][8];
    struct pl_span keys[600];
    struct store_found found[600];
    struct pl_buf values;
    for (int i = 0; i < 1000; i += 2) {
        char key[8];
        snprintf(key, sizeof(key), "%04d", i);
        put(store, DEDUPE, key, key);
        if (i == 500) /* half in tables, half in memory */
            assert_int_equal(store_flush(store, NULL), PL_OK);
    }
    for (int sorted = 0; sorted < 2; sorted++) {
        pl_buf_init(&values, 1 << 20);
        assert_int_equal(pl_buf_append_str(&values, "head"), PL_OK);
        for (int i = 0; i < 600; i++) {
            snprintf(text[i], sizeof(text[i]), "%04d", sorted ? i : (i * 7919) % 1000);
            keys[i] = pl_span_str(text[i]);
        }
        assert_int_equal(store_get_many(store, DEDUPE, keys, 600, found, &values), PL_OK);
        for (int i = 0; i < 600; i++) {
            assert_int_equal(found[i].found, atoi(text[i]) % 2 == 0);
            if (found[i].found)
                assert_true(pl_span_eq(
                    pl_span(values.data + found[i].value_offset, found[i].value_len), keys[i]));
        }
        pl_buf_release(&values);
    }
    assert_int_equal(store_get_many(store, DEDUPE, keys, 600, found, NULL), PL_OK);
    assert_true(found[10].found);
    assert_false(found[11].found);
    assert_int_equal(store_get_many(store, DEDUPE, keys, 0, found, NULL), PL_OK);

    /* values that don't fit leave the buffer as it was */
    pl_buf_init(&values, 100);
    assert_int_equal(pl_buf_append_str(&values, "head"), PL_OK);
    assert_int_equal(store_get_many(store, DEDUPE, keys, 600, found, &values), PL_ELIMIT);
    assert_true(pl_span_eq_str(pl_buf_span(&values), "head"));
    pl_buf_release(&values);
}

/* Everything a scan gives, as "k=v ". */
static void assert_scan(struct store *store, unsigned family, struct pl_span from,
                        struct pl_span to, const char *expected)
{
    struct store_scan *scan;
    struct pl_span key, value;
    struct pl_buf text;
    enum pl_err err;
    pl_buf_init(&text, 4096);
    assert_int_equal(store_scan_new(&scan, store, family, from, to), PL_OK);
    while ((err = store_scan_next(scan, &key, &value)) == PL_OK)
        pl_buf_appendf(&text, "%.*s=%.*s ", PL_SPAN_FMT(key), PL_SPAN_FMT(value));
    assert_int_equal(err, PL_ENOTFOUND);
    assert_int_equal(store_scan_next(scan, &key, &value), PL_ENOTFOUND);
    store_scan_free(scan);
    assert_int_equal(pl_buf_terminate(&text), PL_OK);
    assert_string_equal((char *)text.data, expected);
    pl_buf_release(&text);
}

static void scan_is_ordered_and_bounded(void **state)
{
    struct store *store = fixture_open(*state);
    for (int flushed = 0; flushed < 2; flushed++) {
        put(store, EVENTS, "aaaa2", "2");
        put(store, EVENTS, "aaaa1", "1");
        put(store, EVENTS, "bbbb", "4");
        put(store, EVENTS, "aab", "3"); /* shorter than the prefix */
        put(store, EVENTS, "cccc9", "5");
        assert_scan(store, EVENTS, S(""), S(""), "aaaa1=1 aaaa2=2 aab=3 bbbb=4 cccc9=5 ");
        assert_scan(store, EVENTS, S("aaaa2"), S("bbbb"), "aaaa2=2 aab=3 ");
        assert_scan(store, EVENTS, S("aab"), S(""), "aab=3 bbbb=4 cccc9=5 ");
        /* within one prefix, across prefixes, from a prefix nothing has */
        assert_scan(store, EVENTS, S("aaaa"), S("aaab"), "aaaa1=1 aaaa2=2 ");
        assert_scan(store, EVENTS, S("aaaa1"), S("aaaa2"), "aaaa1=1 ");
        assert_scan(store, EVENTS, S("aaab"), S("cccc"), "aab=3 bbbb=4 ");
        assert_scan(store, EVENTS, S("zzzz"), S("zzz{"), "");
        assert_scan(store, EVENTS, S("bbbz"), S(""), "cccc9=5 ");
        assert_int_equal(store_flush(store, NULL), PL_OK);
        assert_int_equal(store_compact(store, EVENTS), PL_OK);
    }
}

static void scan_sees_its_start_and_seeks(void **state)
{
    struct store *store = fixture_open(*state);
    struct store_scan *scan;
    struct pl_span key, value;
    put(store, BLOCKS, "b", "1");
    put(store, BLOCKS, "d", "2");
    put(store, BLOCKS, "f", "3");
    assert_int_equal(store_scan_new(&scan, store, BLOCKS, S("b"), S("g")), PL_OK);
    put(store, BLOCKS, "c", "late");
    assert_int_equal(store_scan_next(scan, &key, &value), PL_OK);
    assert_true(pl_span_eq_str(key, "b"));
    assert_int_equal(store_scan_next(scan, &key, &value), PL_OK);
    assert_true(pl_span_eq_str(key, "d"));
    store_scan_seek(scan, S("e"));
    assert_int_equal(store_scan_next(scan, &key, &value), PL_OK);
    assert_true(pl_span_eq_str(key, "f"));
    assert_int_equal(store_scan_next(scan, &key, &value), PL_ENOTFOUND);
    store_scan_seek(scan, S("a")); /* before the range: its start */
    assert_int_equal(store_scan_next(scan, &key, &value), PL_OK);
    assert_true(pl_span_eq_str(key, "b"));
    store_scan_seek(scan, S("x"));
    assert_int_equal(store_scan_next(scan, &key, &value), PL_ENOTFOUND);
    store_scan_free(scan);
    store_scan_free(NULL);
}

static void prefix_end_is_the_next_key(void **state)
{
    static const struct {
        struct pl_span prefix, end;
    } cases[] = {
        {PL_SPAN_INIT("a"), PL_SPAN_INIT("b")},
        {PL_SPAN_INIT("a\xff"), PL_SPAN_INIT("b")},
        {PL_SPAN_INIT("a\xff\xff"), PL_SPAN_INIT("b")},
        {PL_SPAN_INIT("a\xff\x01"), PL_SPAN_INIT("a\xff\x02")},
        {PL_SPAN_INIT("\x00"), PL_SPAN_INIT("\x01")},
        {PL_SPAN_INIT("\xfe\xff"), PL_SPAN_INIT("\xff")},
    };
    struct pl_buf out;
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        pl_buf_init(&out, 64);
        assert_int_equal(store_prefix_end(cases[i].prefix, &out), PL_OK);
        assert_true(pl_span_eq(pl_buf_span(&out), cases[i].end));
        pl_buf_release(&out);
    }
    pl_buf_init(&out, 64);
    assert_int_equal(store_prefix_end(S(""), &out), PL_ENOTFOUND);
    assert_int_equal(store_prefix_end(S("\xff\xff"), &out), PL_ENOTFOUND);
    assert_int_equal(out.len, 0);
    pl_buf_release(&out);
}

static void checkpoint_is_a_store_of_its_own(void **state)
{
    struct fixture *f = *state;
    struct store *store = fixture_open(f);
    struct pl_why why = {0};
    char copy[96];
    snprintf(copy, sizeof(copy), "%s/copy", f->dir);
    put(store, META, "k", "then");
    put(store, BLOCKS, "b", "then");
    assert_int_equal(store_checkpoint(store, copy, &why), PL_OK);
    put(store, META, "k", "now");
    assert_int_equal(store_checkpoint(store, copy, &why), PL_EEXISTS);
    assert_non_null(strstr(why.text, copy));
    struct store_config config = f->config;
    struct store *other;
    config.path = copy;
    assert_int_equal(store_open(&other, &config, &why), PL_OK);
    assert_value(other, META, "k", "then");
    assert_value(other, BLOCKS, "b", "then");
    assert_value(store, META, "k", "now");
    store_close(other);
}

static void usage_counts_memory_and_disk(void **state)
{
    struct store *store = fixture_open(*state);
    struct store_usage before, written, flushed;
    char value[100001];
    memset(value, 'v', sizeof(value));
    value[100000] = '\0';
    store_usage(store, &before);
    for (int i = 0; i < 20; i++) {
        char key[8];
        snprintf(key, sizeof(key), "%d", i);
        put(store, BLOCKS, key, value);
    }
    store_usage(store, &written);
    assert_true(written.memory_bytes > before.memory_bytes + 2000000);
    assert_true(written.disk_bytes > before.disk_bytes + 2000000); /* the log */
    assert_int_equal(store_flush(store, NULL), PL_OK);
    store_usage(store, &flushed);
    assert_true(flushed.memory_bytes < written.memory_bytes);
    assert_true(flushed.disk_bytes > 2000000); /* the table */
    assert_false(flushed.failed);
}

static void wrong_config_is_told(void **state)
{
    struct fixture *f = *state;
    struct pl_why why = {0};
    struct store *store;
    struct store_family own = {.name = "default"};
    struct store_config config = f->config;
    config.families = &own;
    config.family_count = 1;
    assert_int_equal(store_open(&store, &config, &why), PL_EINVAL);
    assert_non_null(strstr(why.text, "default"));
    config = f->config;
    config.background_threads = 0;
    assert_int_equal(store_open(&store, &config, &why), PL_EINVAL);
    config = f->config;
    config.write_buffer_bytes = 0;
    assert_int_equal(store_open(&store, &config, &why), PL_EINVAL);
    config = f->config;
    config.path = "/proc/polder-store";
    assert_int_not_equal(store_open(&store, &config, &why), PL_OK);
    assert_non_null(strstr(why.text, "/proc/polder-store"));
}

static void a_newer_store_is_refused_with_its_family(void **state)
{
    struct fixture *f = *state;
    struct pl_why why = {0};
    fixture_open(f);
    fixture_close(f);
    f->config.family_count = 2;
    assert_int_equal(store_open(&f->store, &f->config, &why), PL_EUNSUPPORTED);
    assert_non_null(strstr(why.text, "newer version"));
    assert_non_null(strstr(why.text, "blocks"));
}

static void put_run(struct store *store, const char *account, int from, int to)
{
    struct store_batch *batch;
    char key[16];
    assert_int_equal(store_batch_new(&batch), PL_OK);
    for (int i = from; i < to; i++) {
        snprintf(key, sizeof(key), "%s:%04d", account, i);
        store_batch_put(batch, store, RUNS, pl_span_str(key), pl_span_str(key));
    }
    assert_int_equal(store_write(store, batch, false, NULL), PL_OK);
    store_batch_free(batch);
}

static void delete_run(struct store *store, struct pl_span from, struct pl_span to,
                       enum pl_err wanted)
{
    struct store_batch *batch;
    assert_int_equal(store_batch_new(&batch), PL_OK);
    store_batch_delete_range(batch, store, RUNS, from, to);
    assert_int_equal(store_write(store, batch, false, NULL), wanted);
    store_batch_free(batch);
}

/* In order, none missing, none twice. */
static void assert_run(struct store *store, const char *account, int count)
{
    struct store_scan *scan;
    struct pl_span key, value, from = pl_span_str(account);
    char end[16], wanted[16];
    snprintf(end, sizeof(end), "%s;", account);
    assert_int_equal(store_scan_new(&scan, store, RUNS, from, pl_span_str(end)), PL_OK);
    for (int i = 0; i < count; i++) {
        snprintf(wanted, sizeof(wanted), "%s:%04d", account, i);
        assert_int_equal(store_scan_next(scan, &key, &value), PL_OK);
        assert_true(pl_span_eq(key, pl_span_str(wanted)) && pl_span_eq(value, key));
        assert_value(store, RUNS, wanted, wanted);
    }
    assert_int_equal(store_scan_next(scan, &key, &value), PL_ENOTFOUND);
    store_scan_free(scan);
}

static void runs_and_deleted_ranges_keep_apart(void **state)
{
    struct store *store = fixture_open(*state);
    put_run(store, "acA", 0, 300);
    put_run(store, "acB", 0, 300);
    delete_run(store, S("acA"), S("acB"), PL_OK);
    put_run(store, "acC", 500, 1000);
    put_run(store, "acB", 300, 600);
    delete_run(store, S("acD"), S("acE"), PL_OK);
    put_run(store, "acC", 0, 500); /* a run of the past, between others */
    put_run(store, "acA", 0, 200);
    for (int flushed = 0; flushed < 2; flushed++) {
        assert_run(store, "acA", 200);
        assert_run(store, "acB", 600);
        assert_run(store, "acC", 1000);
        assert_run(store, "acD", 0);
        assert_int_equal(store_flush(store, NULL), PL_OK);
    }
}

static void ranges_that_begin_like_a_run_are_refused(void **state)
{
    struct store *store = fixture_open(*state);
    put_run(store, "acA", 0, 10);
    delete_run(store, S("acA:"), S("acB"), PL_EINVAL);
    assert_int_equal(store_purge_range(store, RUNS, S("acA:"), S("acB"), 1000, NULL), PL_EINVAL);
    assert_run(store, "acA", 10);
    assert_int_equal(store_purge_range(store, RUNS, S("acA"), S("acB"), 1000, NULL), PL_OK);
    assert_run(store, "acA", 0);
}

#define T(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(put_is_read_back_and_survives_a_restart),
        T(directory_is_private),
        T(get_appends_within_the_limit),
        T(batch_is_applied_in_order),
        T(batch_over_the_limit_changes_nothing),
        T(get_many_answers_in_the_order_asked),
        T(scan_is_ordered_and_bounded),
        T(scan_sees_its_start_and_seeks),
        T(prefix_end_is_the_next_key),
        T(checkpoint_is_a_store_of_its_own),
        T(usage_counts_memory_and_disk),
        T(wrong_config_is_told),
        T(a_newer_store_is_refused_with_its_family),
        T(runs_and_deleted_ranges_keep_apart),
        T(ranges_that_begin_like_a_run_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
