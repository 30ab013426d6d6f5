/* A purged range is gone from the bytes on the disk, not only from what reads return. */
#include "fixture.h"

#include <glob.h>
#include <pthread.h>
#include <stdatomic.h>

#define VISITORS 400

struct hits {
    struct pl_span needle;
    char where[512];
    int count;
};

static void visit(const char *path, void *ctx)
{
    struct hits *hits = ctx;
    struct pl_buf bytes = fixture_read(path);
    if (bytes.len > 0 &&
        memmem(bytes.data, bytes.len, hits->needle.data, hits->needle.len) != NULL) {
        hits->count++;
        snprintf(hits->where, sizeof(hits->where), "%s", path);
    }
    pl_buf_release(&bytes);
}

/* How many files of the store hold these bytes, as they are or in hexadecimal. */
static int files_with(struct fixture *f, const char *needle, char where[512])
{
    char hex[128];
    for (size_t i = 0; needle[i] != '\0'; i++)
        snprintf(hex + 2 * i, sizeof(hex) - 2 * i, "%02X", (unsigned)needle[i]);
    struct hits hits = {.needle = pl_span_str(needle)};
    fixture_each_file(f, "", visit, &hits);
    hits.needle = pl_span_str(hex);
    fixture_each_file(f, "", visit, &hits);
    strcpy(where, hits.where);
    return hits.count;
}

static void assert_gone(struct fixture *f, const char *needle)
{
    char where[512];
    if (files_with(f, needle, where) != 0)
        fail_msg("\"%s\" is still in %s", needle, where);
}

static void assert_there(struct fixture *f, const char *needle)
{
    char where[512];
    assert_int_not_equal(files_with(f, needle, where), 0);
}

/* Uncompressed values with a marker of the account in the middle, and something for every other
 * family between them, so that the logs hold them all. */
static void fill(struct store *store, const char *account, const char *marker)
{
    char key[64], value[400];
    memset(value, '.', sizeof(value));
    memcpy(value + 100, marker, strlen(marker));
    for (int i = 0; i < VISITORS; i++) {
        snprintf(key, sizeof(key), "%s-visitor%04d", account, i);
        assert_int_equal(store_put(store, EVENTS, pl_span_str(key), pl_span(value, sizeof(value)),
                                   i % 50 == 0, NULL),
                         PL_OK);
        put(store, META, "counter", account);
        put(store, DEDUPE, "unrelated", "x");
    }
}

static void purge(struct store *store, const char *from, const char *to)
{
    struct pl_why why = {0};
    if (store_purge_range(store, EVENTS, pl_span_str(from), pl_span_str(to), 5000, &why) != PL_OK)
        fail_msg("purge: %s", why.text);
}

static void assert_kept(struct store *store, const char *account)
{
    struct pl_buf out;
    pl_buf_init(&out, 1024);
    for (int i = 0; i < VISITORS; i++) {
        char key[64];
        snprintf(key, sizeof(key), "%s-visitor%04d", account, i);
        assert_int_equal(store_get(store, EVENTS, pl_span_str(key), &out), PL_OK);
        pl_buf_reset(&out);
    }
    pl_buf_release(&out);
}

static void fill_accounts(struct store *store)
{
    fill(store, "accA", "MARKER-OF-A");
    fill(store, "accB", "MARKER-OF-B");
    fill(store, "accC", "MARKER-OF-C");
}

static void assert_only_b_is_gone(struct fixture *f)
{
    assert_gone(f, "MARKER-OF-B");
    assert_gone(f, "accB-visitor");
    assert_there(f, "MARKER-OF-A");
    assert_kept(f->store, "accA");
    assert_kept(f->store, "accC");
    assert_value(f->store, EVENTS, "accB-visitor0000", NULL);
    assert_value(f->store, DEDUPE, "unrelated", "x");
}

static void range_in_memory_and_logs_is_gone(void **state)
{
    struct fixture *f = *state;
    fill_accounts(fixture_open(f));
    assert_there(f, "MARKER-OF-B"); /* the search finds it while it is there */
    assert_there(f, "accB-visitor");
    purge(f->store, "accB", "accC");
    assert_only_b_is_gone(f);
    fixture_close(f);
    fixture_open(f);
    assert_only_b_is_gone(f);
}

static void range_in_tables_is_gone(void **state)
{
    struct fixture *f = *state;
    struct store *store = fixture_open(f);
    for (int round = 0; round < 3; round++) {
        fill_accounts(store);
        assert_int_equal(store_flush(store, NULL), PL_OK);
        if (round == 0)
            assert_int_equal(store_compact(store, EVENTS), PL_OK);
    }
    fill(store, "accB", "MARKER-OF-B");
    assert_there(f, "MARKER-OF-B");
    purge(store, "accB", "accC");
    assert_only_b_is_gone(f);
    purge(store, "accB", "accC"); /* again: nothing to do */
    assert_only_b_is_gone(f);
}

static void range_from_an_earlier_run_is_gone(void **state)
{
    struct fixture *f = *state;
    fill_accounts(fixture_open(f));
    for (int i = 0; i < 3; i++) { /* each run leaves a log behind */
        fixture_close(f);
        fixture_open(f);
    }
    purge(f->store, "accB", "accC");
    assert_only_b_is_gone(f);
    fixture_close(f);
    fixture_open(f);
    purge(f->store, "accA", "accB");
    assert_gone(f, "MARKER-OF-A");
}

/* A table that holds nothing but the range and, as its last key, the bound, which is not in the
 * range: its edges are what the MANIFEST names, and it must not be dropped whole. */
static void boundary_keys_are_gone_and_the_upper_bound_stays(void **state)
{
    struct fixture *f = *state;
    struct store *store = fixture_open(f);
    fill(store, "accB", "MARKER-OF-B");
    put(store, EVENTS, "accC", "the bound itself");
    assert_int_equal(store_compact(store, EVENTS), PL_OK);
    fill(store, "accA", "MARKER-OF-A");
    assert_int_equal(store_flush(store, NULL), PL_OK);
    assert_there(f, "accB-visitor0000");
    purge(store, "accB", "accC");
    assert_gone(f, "accB-visitor");
    assert_gone(f, "MARKER-OF-B");
    assert_value(store, EVENTS, "accC", "the bound itself");
    assert_kept(store, "accA");
}

/* The bounds are keys, too. The tombstone's own table names them in the MANIFEST; the engine's
 * LOG loves to tell them. */
static void nothing_tells_the_bounds(void **state)
{
    struct fixture *f = *state;
    struct store *store = fixture_open(f);
    fill(store, "accB", "MARKER-OF-B");
    assert_int_equal(store_compact(store, EVENTS), PL_OK);
    purge(store, "accB-visit", "accB-visits");
    assert_gone(f, "accB-visit");
    assert_gone(f, "MARKER-OF-B");
}

static void open_scan_delays_the_purge(void **state)
{
    struct fixture *f = *state;
    struct store *store = fixture_open(f);
    struct store_scan *scan;
    struct pl_span key, value;
    struct pl_why why = {0};
    fill_accounts(store);
    assert_int_equal(store_flush(store, NULL), PL_OK);
    assert_int_equal(store_scan_new(&scan, store, EVENTS, S("accB"), S("accC")), PL_OK);
    assert_int_equal(store_scan_next(scan, &key, &value), PL_OK);

    enum pl_err err = store_purge_range(store, EVENTS, S("accB"), S("accC"), 200, &why);
    assert_int_equal(err, PL_EAGAIN);
    assert_non_null(strstr(why.text, "scan"));
    assert_value(store, EVENTS, "accB-visitor0000", NULL);
    int seen = 1;
    while (store_scan_next(scan, &key, &value) == PL_OK)
        seen++;
    assert_int_equal(seen, VISITORS);
    store_scan_free(scan);

    purge(store, "accB", "accC");
    assert_only_b_is_gone(f);
}

struct helper {
    struct store *store;
    struct store_scan *scan;
    atomic_bool stop;
};

static void *end_scan(void *arg)
{
    struct helper *helper = arg;
    struct pl_span key, value;
    while (store_scan_next(helper->scan, &key, &value) == PL_OK)
        continue;
    store_scan_free(helper->scan);
    return NULL;
}

static void purge_waits_for_a_scan_that_ends(void **state)
{
    struct fixture *f = *state;
    struct helper helper = {.store = fixture_open(f)};
    pthread_t thread;
    fill_accounts(helper.store);
    assert_int_equal(store_flush(helper.store, NULL), PL_OK);
    assert_int_equal(store_scan_new(&helper.scan, helper.store, EVENTS, S(""), S("")), PL_OK);
    assert_int_equal(pthread_create(&thread, NULL, end_scan, &helper), 0);
    purge(helper.store, "accB", "accC");
    pthread_join(thread, NULL);
    assert_only_b_is_gone(f);
}

static void *write_elsewhere(void *arg)
{
    struct helper *helper = arg;
    char key[32], value[2000];
    memset(value, 'w', sizeof(value));
    for (int i = 0; !atomic_load(&helper->stop); i++) {
        snprintf(key, sizeof(key), "accX-%08d", i);
        if (store_put(helper->store, EVENTS, pl_span_str(key), pl_span(value, sizeof(value)), false,
                      NULL) != PL_OK)
            return helper;
    }
    return NULL;
}

static void purge_succeeds_under_load(void **state)
{
    struct fixture *f = *state;
    struct helper helper = {.store = fixture_open(f)};
    pthread_t thread;
    void *failed;
    fill_accounts(helper.store);
    atomic_init(&helper.stop, false);
    assert_int_equal(pthread_create(&thread, NULL, write_elsewhere, &helper), 0);
    purge(helper.store, "accB", "accC");
    atomic_store(&helper.stop, true);
    pthread_join(thread, &failed);
    assert_null(failed);
    assert_only_b_is_gone(f);
}

/* Single keys, deleted from among those that stay. */
static void delete_erased(struct store *store, unsigned family, int count)
{
    struct store_batch *batch;
    assert_int_equal(store_batch_new(&batch), PL_OK);
    for (int i = 0; i < count; i++) {
        char key[64];
        snprintf(key, sizeof(key), "accB-visitor%04d-erased", i);
        store_batch_delete(batch, store, family, pl_span_str(key));
    }
    assert_int_equal(store_write(store, batch, true, NULL), PL_OK);
    store_batch_free(batch);
}

static void settled_range_keeps_what_stands(void **state)
{
    struct fixture *f = *state;
    struct store *store = fixture_open(f);
    struct pl_why why = {0};
    for (int round = 0; round < 2; round++) {
        fill_accounts(store);
        for (int i = 0; i < 100; i++) {
            char key[64];
            snprintf(key, sizeof(key), "accB-visitor%04d-erased", i);
            put(store, EVENTS, key, "MARKER-OF-THE-ERASED");
        }
        assert_int_equal(round == 0 ? store_compact(store, EVENTS) : PL_OK, PL_OK);
    }
    delete_erased(store, EVENTS, 100);
    assert_there(f, "MARKER-OF-THE-ERASED");
    if (store_settle_range(store, EVENTS, S("accB"), S("accC"), 5000, &why) != PL_OK)
        fail_msg("settle: %s", why.text);
    assert_gone(f, "MARKER-OF-THE-ERASED");
    assert_gone(f, "-erased");
    assert_there(f, "MARKER-OF-B");
    assert_kept(store, "accA");
    assert_kept(store, "accB");
    assert_kept(store, "accC");
}

/* Of a family with runs, too: nothing of the range is dropped. */
static void settled_range_begins_as_it_likes(void **state)
{
    struct fixture *f = *state;
    struct store *store = fixture_open(f);
    put(store, RUNS, "accB-visitor0000", "MARKER-OF-B");
    put(store, RUNS, "accB-visitor0000-erased", "MARKER-OF-THE-ERASED");
    assert_int_equal(store_flush(store, NULL), PL_OK);
    delete_erased(store, RUNS, 1);
    assert_int_equal(
        store_purge_range(store, RUNS, S("accB-visitor0"), S("accB-visitor1"), 1000, NULL),
        PL_EINVAL);
    assert_int_equal(
        store_settle_range(store, RUNS, S("accB-visitor0"), S("accB-visitor1"), 5000, NULL), PL_OK);
    assert_gone(f, "MARKER-OF-THE-ERASED");
    assert_value(store, RUNS, "accB-visitor0000", "MARKER-OF-B");
}

static void ranges_of_several_families_go_together(void **state)
{
    struct fixture *f = *state;
    struct store *store = fixture_open(f);
    struct pl_why why = {0};
    const struct store_range ranges[] = {
        {.family = EVENTS, .from = S("accB"), .to = S("accC")},
        {.family = META, .from = S("accA"), .to = S("accB")},
        {.family = RUNS, .from = S("a"), .to = S("b"), .settle = true},
    };
    fill_accounts(store);
    put(store, META, "accA-rules", "MARKER-OF-RULES");
    put(store, META, "accB-rules", "stays");
    put(store, RUNS, "abc", "stays");
    put(store, RUNS, "accB-visitor0000-erased", "MARKER-OF-THE-ERASED");
    assert_int_equal(store_flush(store, NULL), PL_OK);
    delete_erased(store, RUNS, 1);
    if (store_purge(store, ranges, 3, 5000, &why) != PL_OK)
        fail_msg("purge: %s", why.text);
    assert_only_b_is_gone(f);
    assert_gone(f, "MARKER-OF-RULES");
    assert_gone(f, "MARKER-OF-THE-ERASED");
    assert_value(store, META, "accB-rules", "stays");
    assert_value(store, RUNS, "abc", "stays");
}

/* Its tables are the same files under other names. */
static void a_copy_keeps_what_is_purged_here(void **state)
{
    struct fixture *f = *state;
    struct store *store = fixture_open(f), *opened;
    char copy[512];
    fill_accounts(store);
    assert_int_equal(store_flush(store, NULL), PL_OK);
    snprintf(copy, sizeof(copy), "%s/copy", f->dir);
    assert_int_equal(store_checkpoint(store, copy, NULL), PL_OK);
    purge(store, "accB", "accC");
    assert_only_b_is_gone(f);
    fixture_close(f);
    struct store_config config = f->config;
    config.path = copy;
    assert_int_equal(store_open(&opened, &config, NULL), PL_OK);
    assert_kept(opened, "accA");
    assert_kept(opened, "accB");
    store_close(opened);
}

/* Second names, as a purge gives them that a crash ends: of a table that is gone, and of one that
 * is in use. */
static void what_a_crash_leaves_of_a_purge_goes_at_the_next_start(void **state)
{
    struct fixture *f = *state;
    fill_accounts(fixture_open(f));
    assert_int_equal(store_flush(f->store, NULL), PL_OK);
    fixture_close(f);
    fixture_shell("cd '%s' && mkdir -p remains && echo MARKER-OF-THE-GONE >remains/000001.sst && "
                  "ln *.sst remains/",
                  f->path);
    assert_there(f, "MARKER-OF-THE-GONE");
    fixture_open(f);
    assert_gone(f, "MARKER-OF-THE-GONE");
    fixture_shell("test -z \"$(ls '%s/remains')\"", f->path);
    assert_kept(f->store, "accA");
    assert_kept(f->store, "accB");
}

static void *purge_b(void *store)
{
    purge(store, "accB", "accC");
    return NULL;
}

static int tables_that_remain(const struct fixture *f)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/remains/*.sst", f->path);
    glob_t found;
    const int count = glob(path, 0, NULL, &found) == 0 ? (int)found.gl_pathc : 0;
    globfree(&found);
    return count;
}

/* What it is to free bit by bit would else be removed at once. */
static void who_ends_first_leaves_another_purge_its_second_names(void **state)
{
    struct fixture *f = *state;
    struct store *store = fixture_open(f);
    struct store_scan *scan;
    struct pl_span key, value;
    pthread_t thread;
    fill_accounts(store);
    assert_int_equal(store_flush(store, NULL), PL_OK);
    assert_int_equal(store_scan_new(&scan, store, EVENTS, S("accB"), S("accC")), PL_OK);
    assert_int_equal(store_scan_next(scan, &key, &value), PL_OK);
    assert_int_equal(pthread_create(&thread, NULL, purge_b, store), 0);
    for (int i = 0; i < 4000 && tables_that_remain(f) == 0; i++)
        usleep(1000);
    const enum pl_err first = store_purge_range(store, EVENTS, S("accA"), S("accB"), 0, NULL);
    const int left = tables_that_remain(f);
    store_scan_free(scan);
    pthread_join(thread, NULL);
    assert_int_equal(first, PL_EAGAIN);
    assert_true(left > 0);
    assert_int_equal(tables_that_remain(f), 0);
    assert_gone(f, "MARKER-OF-B");
}

static void inverted_range_is_refused(void **state)
{
    struct store *store = fixture_open(*state);
    put(store, EVENTS, "k", "v");
    assert_int_equal(store_purge_range(store, EVENTS, S("z"), S("a"), 1000, NULL), PL_EINVAL);
    assert_int_equal(store_purge_range(store, EVENTS, S("a"), S("a"), 1000, NULL), PL_EINVAL);
    assert_int_equal(store_purge_range(store, EVENTS, S("a"), S(""), 1000, NULL), PL_EINVAL);
    assert_value(store, EVENTS, "k", "v");
}

#define T(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(range_in_memory_and_logs_is_gone),
        T(range_in_tables_is_gone),
        T(range_from_an_earlier_run_is_gone),
        T(boundary_keys_are_gone_and_the_upper_bound_stays),
        T(nothing_tells_the_bounds),
        T(open_scan_delays_the_purge),
        T(purge_waits_for_a_scan_that_ends),
        T(purge_succeeds_under_load),
        T(settled_range_keeps_what_stands),
        T(settled_range_begins_as_it_likes),
        T(ranges_of_several_families_go_together),
        T(a_copy_keeps_what_is_purged_here),
        T(what_a_crash_leaves_of_a_purge_goes_at_the_next_start),
        T(who_ends_first_leaves_another_purge_its_second_names),
        T(inverted_range_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
