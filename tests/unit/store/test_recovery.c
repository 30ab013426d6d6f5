/* What survives: kill -9, torn and rotten logs, rotten tables. */
#include "blocks.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>

/* The child: writes blocks, a byte to fd 1 for each one that is durable, until it has written
 * count (then it dies without closing) or is killed. */
static int run_writer(const char *path, int count)
{
    struct store *store;
    struct pl_log log = {.fd = -1};
    struct store_config config = {.path = path,
                                  .families = fixture_families,
                                  .family_count = FIXTURE_FAMILIES,
                                  .cache_bytes = 1 << 20,
                                  .write_buffer_bytes = 1 << 20, /* flushes on the way */
                                  .background_threads = 2,
                                  .log = &log};
    if (count > 0)
        config.write_buffer_bytes = 64 << 20; /* everything stays in the log */
    if (store_open(&store, &config, NULL) != PL_OK)
        return 1;
    for (int i = 0; count == 0 || i < count; i++)
        if (put_block(store, i, NULL) != PL_OK || write(STDOUT_FILENO, "+", 1) != 1)
            return 1;
    _exit(0);
}

static int read_some(int fd, int count)
{
    char c;
    int got = 0;
    while (got < count && read(fd, &c, 1) == 1)
        got++;
    return got;
}

static void synced_batches_survive_kill_9(void **state)
{
    struct fixture *f = *state;
    for (int round = 0; round < 4; round++) {
        int fd, status;
        pid_t pid = spawn("--writer", f->path, "0", &fd);
        int reported = read_some(fd, 100 + 377 * round);
        kill(pid, SIGKILL);
        reported += read_some(fd, 1 << 30);
        close(fd);
        waitpid(pid, &status, 0);
        assert_true(WIFSIGNALED(status));
        assert_true(reported >= 100);
        fixture_open(f);
        for (int i = 0; i < reported; i++)
            if (get_block(f->store, i) != PL_OK)
                fail_msg("round %d: block %d of %d is lost", round, i, reported);
        fixture_close(f);
    }
}

/* The engine's calls end up here: kill -9 does not tell a synced write from a cached one. */
static atomic_int log_syncs;

int fdatasync(int fd)
{
    char link[64], path[512];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof(path));
    if (len > 4 && memcmp(path + len - 4, ".log", 4) == 0)
        atomic_fetch_add(&log_syncs, 1);
    return (int)syscall(SYS_fdatasync, fd);
}

static void synced_means_synced(void **state)
{
    struct fixture *f = *state;
    fixture_open(f);
    int before = atomic_load(&log_syncs);
    put(f->store, META, "lazy", "1");
    assert_int_equal(atomic_load(&log_syncs), before);
    assert_int_equal(put_block(f->store, 1, NULL), PL_OK);
    assert_int_equal(atomic_load(&log_syncs), before + 1);
    assert_int_equal(store_put(f->store, META, S("k"), S("v"), true, NULL), PL_OK);
    assert_int_equal(atomic_load(&log_syncs), before + 2);
    put(f->store, META, "lazy", "2");
    assert_int_equal(store_sync(f->store, NULL), PL_OK);
    assert_int_equal(atomic_load(&log_syncs), before + 3);
}

/* A store with 100 blocks, all of them in one log. */
static void leave_log(struct fixture *f)
{
    int fd, status;
    pid_t pid = spawn("--writer", f->path, "100", &fd);
    assert_int_equal(read_some(fd, 1000), 100);
    close(fd);
    waitpid(pid, &status, 0);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void cut_tail(const char *path, void *ctx)
{
    struct stat st;
    (void)ctx;
    assert_int_equal(stat(path, &st), 0);
    if (st.st_size > 0)
        assert_int_equal(truncate(path, st.st_size - 50), 0);
}

static void assert_blocks_but(struct store *store, int missing)
{
    for (int i = 0; i < 100; i++)
        assert_int_equal(get_block(store, i), i == missing ? PL_ENOTFOUND : PL_OK);
}

static void torn_tail_loses_the_torn_record_only(void **state)
{
    struct fixture *f = *state;
    for (int skip = 0; skip < 2; skip++) {
        leave_log(f);
        fixture_each_file(f, ".log", cut_tail, NULL);
        f->config.recovery = skip ? STORE_RECOVER_SKIP_CORRUPT : STORE_RECOVER_TORN_TAIL;
        fixture_open(f);
        assert_blocks_but(f->store, 99);
        fixture_close(f);
        fixture_shell("rm -r '%s'", f->path);
    }
}

static void rotten_log_is_refused_or_skipped(void **state)
{
    struct fixture *f = *state;
    struct pl_why why = {0};
    leave_log(f);
    fixture_rot(f, ".log", S("000000042|000000042|000000042|"));
    assert_int_equal(store_open(&f->store, &f->config, &why), PL_ECORRUPT);
    assert_non_null(strstr(why.text, f->path));
    assert_non_null(strstr(why.text, ".log"));
    assert_non_null(strstr(why.text, "backup"));
    f->config.recovery = STORE_RECOVER_SKIP_CORRUPT;
    fixture_open(f);
    assert_blocks_but(f->store, 42);
    fixture_close(f);
    f->config.recovery = STORE_RECOVER_TORN_TAIL;
    fixture_open(f);
    assert_blocks_but(f->store, 42);
}

/* The last record whole in length but wrong in content is not a torn one. */
static void rotten_last_record_is_refused(void **state)
{
    struct fixture *f = *state;
    leave_log(f);
    fixture_rot(f, ".log", S("000000099|000000099|000000099|"));
    assert_int_equal(store_open(&f->store, &f->config, NULL), PL_ECORRUPT);
}

static void rotten_table_block_is_not_the_end(void **state)
{
    struct fixture *f = *state;
    struct store_scan *scan;
    struct pl_span key, value;
    enum pl_err err;
    fixture_open(f);
    for (int i = 0; i < 100; i++)
        assert_int_equal(put_block(f->store, i, NULL), PL_OK);
    assert_int_equal(store_flush(f->store, NULL), PL_OK);
    fixture_close(f);
    fixture_rot(f, ".sst", S("000000042|000000042|000000042|"));
    fixture_open(f);

    int seen = 0, next = -1;
    assert_int_equal(store_scan_new(&scan, f->store, BLOCKS, S(""), S("")), PL_OK);
    while ((err = store_scan_next(scan, &key, &value)) == PL_OK)
        seen++;
    assert_int_equal(err, PL_ECORRUPT);
    assert_int_equal(store_scan_next(scan, &key, &value), PL_ECORRUPT); /* until it is moved on */
    assert_in_range(seen, 30, 42);
    store_scan_seek(scan, S("block000050"));
    while ((err = store_scan_next(scan, &key, &value)) == PL_OK)
        next++;
    assert_int_equal(err, PL_ENOTFOUND);
    assert_int_equal(next, 49);
    store_scan_free(scan);

    struct pl_buf out;
    pl_buf_init(&out, 1 << 20);
    struct store_found found[2];
    const struct pl_span keys[] = {PL_SPAN_LIT("block000010"), PL_SPAN_LIT("block000042")};
    assert_int_equal(store_get(f->store, BLOCKS, keys[1], &out), PL_ECORRUPT);
    assert_int_equal(store_get_many(f->store, BLOCKS, keys, 2, found, &out), PL_ECORRUPT);
    assert_int_equal(out.len, 0);
    pl_buf_release(&out);
    assert_int_equal(get_block(f->store, 10), PL_OK);
    assert_int_equal(get_block(f->store, 60), PL_OK);
}

/* A table with a rotten block that a compaction has met. */
static void compact_rotten_table(struct fixture *f)
{
    fixture_open(f);
    for (int i = 0; i < 100; i++)
        assert_int_equal(put_block(f->store, i, NULL), PL_OK);
    assert_int_equal(store_flush(f->store, NULL), PL_OK);
    fixture_close(f);
    fixture_rot(f, ".sst", S("000000042|000000042|000000042|"));
    fixture_open(f);
    assert_int_equal(put_block(f->store, 100, NULL), PL_OK);
    assert_int_equal(put_block(f->store, 0, NULL), PL_OK); /* overlaps: no mere move */
    assert_int_not_equal(store_compact(f->store, BLOCKS), PL_OK);
}

static void rotten_table_stops_writes_where_holes_are_not_coped_with(void **state)
{
    struct fixture *f = *state;
    struct pl_why why = {0};
    compact_rotten_table(f);
    assert_int_equal(put_block(f->store, 101, &why), PL_ECORRUPT);
    assert_non_null(strstr(why.text, ".sst"));
    assert_int_equal(get_block(f->store, 41), PL_OK);
    assert_int_equal(get_block(f->store, 100), PL_OK);
}

static void rotten_table_stops_nothing_in_skipping_mode(void **state)
{
    struct fixture *f = *state;
    struct pl_buf out;
    struct pl_why why = {0};
    f->config.recovery = STORE_RECOVER_SKIP_CORRUPT;
    compact_rotten_table(f);
    assert_int_equal(put_block(f->store, 101, &why), PL_ECORRUPT);
    assert_int_equal(store_recover(f->store, &why), PL_OK);
    assert_int_equal(store_compact(f->store, BLOCKS), PL_ECORRUPT);
    assert_int_equal(store_purge_range(f->store, BLOCKS, S("a"), S("c"), 1000, &why), PL_ECORRUPT);
    assert_non_null(strstr(why.text, "rotten"));
    for (int i = 101; i < 201; i++) {
        assert_int_equal(put_block(f->store, i, NULL), PL_OK);
        if (i % 2 == 0) /* far more tables than start a compaction */
            assert_int_equal(store_flush(f->store, NULL), PL_OK);
    }
    for (int i = 0; i < 201; i++)
        if (i < 40 || i > 44) /* its neighbours share its fate */
            assert_int_equal(get_block(f->store, i), PL_OK);
    pl_buf_init(&out, 1 << 20);
    assert_int_equal(store_get(f->store, BLOCKS, S("block000042"), &out), PL_ECORRUPT);
    pl_buf_release(&out);
}

static void remove_file(const char *path, void *ctx)
{
    (void)ctx;
    assert_int_equal(unlink(path), 0);
}

static void missing_table_is_corruption(void **state)
{
    struct fixture *f = *state;
    struct pl_why why = {0};
    fixture_open(f);
    assert_int_equal(put_block(f->store, 1, NULL), PL_OK);
    assert_int_equal(store_flush(f->store, NULL), PL_OK);
    fixture_close(f);
    fixture_each_file(f, ".sst", remove_file, NULL);
    assert_int_equal(store_open(&f->store, &f->config, &why), PL_ECORRUPT);
    assert_non_null(strstr(why.text, "No such file"));
    assert_non_null(strstr(why.text, "backup"));
}

static void second_opener_is_told(void **state)
{
    struct fixture *f = *state;
    struct pl_why why = {0};
    struct store *other;
    int fd, status;
    fixture_open(f);
    assert_int_equal(store_open(&other, &f->config, &why), PL_EEXISTS);
    assert_non_null(strstr(why.text, f->path));
    pid_t pid = spawn("--second", f->path, "0", &fd);
    close(fd);
    waitpid(pid, &status, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(put_block(f->store, 1, NULL), PL_OK);
}

static int run_second(const char *path)
{
    struct store *store;
    struct pl_why why = {0};
    struct store_config config = {.path = path,
                                  .families = fixture_families,
                                  .family_count = FIXTURE_FAMILIES,
                                  .cache_bytes = 1 << 20,
                                  .write_buffer_bytes = 1 << 20,
                                  .background_threads = 1};
    enum pl_err err = store_open(&store, &config, &why);
    return err == PL_EEXISTS && strstr(why.text, "another process has it open") != NULL ? 0 : 1;
}

#define T(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "--writer") == 0)
        return run_writer(argv[2], atoi(argv[3]));
    if (argc == 4 && strcmp(argv[1], "--second") == 0)
        return run_second(argv[2]);
    const struct CMUnitTest tests[] = {
        T(synced_batches_survive_kill_9),
        T(synced_means_synced),
        T(torn_tail_loses_the_torn_record_only),
        T(rotten_log_is_refused_or_skipped),
        T(rotten_last_record_is_refused),
        T(rotten_table_block_is_not_the_end),
        T(rotten_table_stops_writes_where_holes_are_not_coped_with),
        T(rotten_table_stops_nothing_in_skipping_mode),
        T(missing_table_is_corruption),
        T(second_opener_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
