/* What survives: kill -9, torn and rotten logs, rotten tables, a full disk. Children are the
 * program run again, because the engine's threads do not survive a fork. */
#include "fixture.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define BLOCK_BYTES 3000

/* "blockNNNNNN" and BLOCK_BYTES of which every one tells the number. */
static void make_block(int number, char key[16], char value[BLOCK_BYTES])
{
    snprintf(key, 16, "block%06d", number);
    for (int at = 0; at < BLOCK_BYTES; at += 10) {
        char text[16];
        snprintf(text, sizeof(text), "%09d|", number);
        memcpy(value + at, text, 10);
    }
}

static enum pl_err put_block(struct store *store, int number, struct pl_why *why)
{
    char key[16], value[BLOCK_BYTES];
    struct store_batch *batch;
    make_block(number, key, value);
    assert_int_equal(store_batch_new(&batch), PL_OK);
    store_batch_put(batch, store, BLOCKS, pl_span_str(key), pl_span(value, sizeof(value)));
    store_batch_put(batch, store, META, pl_span_str(key), pl_span_str("count"));
    enum pl_err err = store_write(store, batch, true, why);
    store_batch_free(batch);
    return err;
}

/* PL_OK only when the batch is there whole; PL_ENOTFOUND only when all of it is missing. */
static enum pl_err get_block(struct store *store, int number)
{
    char key[16], value[BLOCK_BYTES];
    struct pl_buf out;
    make_block(number, key, value);
    pl_buf_init(&out, 1 << 20);
    enum pl_err err = store_get(store, BLOCKS, pl_span_str(key), &out);
    if (err == PL_OK)
        assert_true(pl_span_eq(pl_buf_span(&out), pl_span(value, sizeof(value))));
    pl_buf_reset(&out);
    assert_int_equal(store_get(store, META, pl_span_str(key), &out), err);
    pl_buf_release(&out);
    return err;
}

/* The child: writes blocks, a byte to fd 1 for each one that is durable, until it has written
 * count (then it dies without closing) or is killed. */
static int run_writer(const char *path, int count)
{
    struct store *store;
    struct pl_log log = {.fd = -1};
    struct store_config config = {.path = path,
                                  .families = fixture_families,
                                  .family_count = 4,
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

/* Runs this program again with two arguments; its output is *out_fd. */
static pid_t spawn(const char *role, const char *arg, const char *count, int *out_fd)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fds[1], STDOUT_FILENO);
        close(fds[0]);
        close(fds[1]);
        execl("/proc/self/exe", "test", role, arg, count, (char *)NULL);
        _exit(127);
    }
    assert_true(pid > 0);
    close(fds[1]);
    *out_fd = fds[0];
    return pid;
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
                                  .family_count = 4,
                                  .cache_bytes = 1 << 20,
                                  .write_buffer_bytes = 1 << 20,
                                  .background_threads = 1};
    enum pl_err err = store_open(&store, &config, &why);
    return err == PL_EEXISTS && strstr(why.text, "another process has it open") != NULL ? 0 : 1;
}

/* No file may grow past this. */
static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* Writes until it fails; how many blocks are durable. */
static int fill_disk(struct store *store)
{
    struct pl_why why = {0};
    enum pl_err err;
    int count = 0;
    while ((err = put_block(store, count, &why)) == PL_OK)
        count++;
    assert_int_equal(err, PL_ENOSPC);
    assert_non_null(strstr(why.text, "free room"));
    return count;
}

static void assert_refuses_writes(struct store *store, int count)
{
    struct pl_why why = {0};
    struct store_usage usage;
    assert_int_equal(put_block(store, count, &why), PL_ENOSPC);
    assert_non_null(strstr(why.text, "refused"));
    assert_int_equal(store_put(store, META, S("k"), S("v"), false, NULL), PL_ENOSPC);
    assert_int_equal(store_sync(store, NULL), PL_ENOSPC);
    assert_int_equal(store_flush(store, NULL), PL_ENOSPC);
    assert_int_equal(store_purge_range(store, META, S("a"), S("b"), 1000, NULL), PL_ENOSPC);
    store_usage(store, &usage);
    assert_true(usage.failed);
    for (int i = 0; i < count; i++)
        assert_int_equal(get_block(store, i), PL_OK);
}

static void assert_recovered(struct store *store, int count)
{
    struct store_usage usage;
    for (int i = 0; i < count; i++)
        assert_int_equal(get_block(store, i), PL_OK);
    assert_int_equal(put_block(store, count, NULL), PL_OK);
    assert_int_equal(get_block(store, count), PL_OK);
    store_usage(store, &usage);
    assert_false(usage.failed);
}

static void file_size_limit_fails_writes_until_recovery(void **state)
{
    struct fixture *f = *state;
    signal(SIGXFSZ, SIG_IGN);
    fixture_open(f);
    assert_int_equal(store_recover(f->store, NULL), PL_OK); /* nothing to do */
    limit_files(2 << 20);
    int count = fill_disk(f->store);
    assert_true(count > 100);
    assert_refuses_writes(f->store, count);
    limit_files(RLIM_INFINITY);
    assert_int_equal(store_recover(f->store, NULL), PL_OK);
    assert_recovered(f->store, count);
    fixture_close(f);
    fixture_open(f);
    for (int i = 0; i <= count; i++)
        assert_int_equal(get_block(f->store, i), PL_OK);
}

/* Reopening fails too: nothing works, nothing is lost, and a later recovery mends it. */
static void failed_recovery_can_be_repeated(void **state)
{
    struct fixture *f = *state;
    struct store_scan *scan;
    struct store_batch *batch;
    struct pl_why why = {0};
    struct pl_buf out;
    fixture_open(f);
    limit_files(2 << 20);
    int count = fill_disk(f->store);
    limit_files(4096);
    assert_int_equal(store_recover(f->store, &why), PL_ENOSPC);

    pl_buf_init(&out, 1 << 20);
    assert_int_equal(store_get(f->store, META, S("block000000"), &out), PL_ECLOSED);
    assert_int_equal(store_scan_new(&scan, f->store, META, S(""), S("")), PL_ECLOSED);
    assert_int_equal(put_block(f->store, count, &why), PL_ECLOSED);
    assert_non_null(strstr(why.text, f->path));
    assert_int_equal(store_batch_new(&batch), PL_OK);
    store_batch_put(batch, f->store, META, S("k"), S("v"));

    limit_files(RLIM_INFINITY);
    assert_int_equal(store_recover(f->store, &why), PL_OK);
    assert_int_equal(store_write(f->store, batch, true, &why), PL_ECLOSED); /* it lacks the put */
    assert_recovered(f->store, count);
    store_batch_free(batch);
    pl_buf_release(&out);
}

static void batch_from_before_a_recovery_is_good(void **state)
{
    struct fixture *f = *state;
    struct store_batch *batch;
    fixture_open(f);
    assert_int_equal(store_batch_new(&batch), PL_OK);
    store_batch_put(batch, f->store, META, S("before"), S("1"));
    limit_files(1 << 20);
    fill_disk(f->store);
    limit_files(RLIM_INFINITY);
    assert_int_equal(store_recover(f->store, NULL), PL_OK);
    store_batch_put(batch, f->store, META, S("after"), S("2"));
    assert_int_equal(store_write(f->store, batch, true, NULL), PL_OK);
    store_batch_free(batch);
    assert_value(f->store, META, "before", "1");
    assert_value(f->store, META, "after", "2");
}

static void *recover_thread(void *arg)
{
    struct store *store = arg;
    return store_recover(store, NULL) == PL_OK ? NULL : arg;
}

static void recovery_waits_for_scans_without_a_deadlock(void **state)
{
    struct fixture *f = *state;
    struct store *store = fixture_open(f);
    struct store_scan *scan, *other = NULL;
    struct pl_span key, value;
    pthread_t thread;
    void *failed;
    enum pl_err err;
    limit_files(1 << 20);
    int count = fill_disk(store);
    limit_files(RLIM_INFINITY);
    assert_int_equal(store_scan_new(&scan, store, BLOCKS, S(""), S("")), PL_OK);
    assert_int_equal(store_scan_next(scan, &key, &value), PL_OK);
    assert_int_equal(pthread_create(&thread, NULL, recover_thread, store), 0);
    /* Another scan is refused from the moment the recovery waits for this one. */
    while ((err = store_scan_new(&other, store, META, S(""), S(""))) == PL_OK)
        store_scan_free(other);
    assert_int_equal(err, PL_EAGAIN);
    assert_int_equal(get_block(store, 0), PL_OK); /* the holder of the scan reads on */
    assert_int_equal(store_scan_next(scan, &key, &value), PL_OK);
    store_scan_free(scan);
    pthread_join(thread, &failed);
    assert_null(failed);
    assert_recovered(store, count);
}

/* The child, in a mount namespace of its own: a disk of 12 MiB. Its exit code: 0, or 77 when
 * mounting is not allowed. */
static char *full_disk_dir;

static void a_full_disk(void **state)
{
    struct fixture f = {0};
    struct pl_why why = {0};
    char ballast[128];
    static const struct pl_log silent = {.fd = -1};
    (void)state;
    snprintf(f.path, sizeof(f.path), "%s/db", full_disk_dir);
    snprintf(ballast, sizeof(ballast), "%s/ballast", full_disk_dir);
    f.config = (struct store_config){.path = f.path,
                                     .families = fixture_families,
                                     .family_count = 4,
                                     .cache_bytes = 1 << 20,
                                     .write_buffer_bytes = 2 << 20,
                                     .background_threads = 2,
                                     .log = &silent};
    int fd = open(ballast, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_int_equal(posix_fallocate(fd, 0, 6 << 20), 0);
    close(fd);
    fixture_open(&f);
    int count = fill_disk(f.store);
    assert_refuses_writes(f.store, count);
    assert_int_equal(store_recover(f.store, &why), PL_ENOSPC);
    assert_non_null(strstr(why.text, "room"));
    assert_refuses_writes(f.store, count); /* reads go on, too */
    assert_int_equal(unlink(ballast), 0);
    if (store_recover(f.store, &why) != PL_OK)
        fail_msg("%s", why.text);
    assert_recovered(f.store, count);
    fixture_close(&f);
    fixture_open(&f);
    assert_recovered(f.store, count);
    fixture_close(&f);
}

static int run_full_disk(char *dir)
{
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", dir, "tmpfs", 0, "size=12m") != 0)
        return 77;
    dup2(STDOUT_FILENO, STDERR_FILENO);
    full_disk_dir = dir;
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_full_disk)};
    return cmocka_run_group_tests(tests, NULL, NULL) == 0 ? 0 : 1;
}

static void full_disk_fails_writes_until_recovery(void **state)
{
    struct fixture *f = *state;
    char text[4096] = "";
    int fd, status;
    size_t len = 0;
    ssize_t n;
    pid_t pid = spawn("--full-disk", f->dir, "0", &fd);
    while (len < sizeof(text) - 1 && (n = read(fd, text + len, sizeof(text) - 1 - len)) > 0)
        len += (size_t)n;
    close(fd);
    waitpid(pid, &status, 0);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) {
        print_message("not allowed to mount a small file system: skipped\n");
        skip();
    }
    if (WEXITSTATUS(status) != 0)
        fail_msg("%s", text);
}

#define T(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "--writer") == 0)
        return run_writer(argv[2], atoi(argv[3]));
    if (argc == 4 && strcmp(argv[1], "--second") == 0)
        return run_second(argv[2]);
    if (argc == 4 && strcmp(argv[1], "--full-disk") == 0)
        return run_full_disk(argv[2]);
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
        T(file_size_limit_fails_writes_until_recovery),
        T(failed_recovery_can_be_repeated),
        T(batch_from_before_a_recovery_is_good),
        T(recovery_waits_for_scans_without_a_deadlock),
        T(full_disk_fails_writes_until_recovery),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
