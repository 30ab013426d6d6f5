/* A disk without room: writes are refused, reads go on, and a recovery in place loses nothing. */
#include "blocks.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>

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
                                     .family_count = FIXTURE_FAMILIES,
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
    if (argc == 4 && strcmp(argv[1], "--full-disk") == 0)
        return run_full_disk(argv[2]);
    const struct CMUnitTest tests[] = {
        T(file_size_limit_fails_writes_until_recovery),
        T(failed_recovery_can_be_repeated),
        T(batch_from_before_a_recovery_is_good),
        T(recovery_waits_for_scans_without_a_deadlock),
        T(full_disk_fails_writes_until_recovery),
    };
    signal(SIGXFSZ, SIG_IGN); /* a write past the limit fails instead */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
