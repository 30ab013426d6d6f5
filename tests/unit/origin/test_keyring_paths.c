/* The keyring's copies: rotten, lost, old, full, or left by a crash. */
#include "keyring_test.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

static void spill(const char *path, struct pl_span bytes)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes.data, bytes.len), (ssize_t)bytes.len);
    close(fd);
}

/* Two data keys, a sealing key, one destroyed key: each kind of record. */
static void fill(struct keyring_fixture *f, uint8_t key[32])
{
    uint8_t pub[32];
    struct keyring *k = open_ok(f);
    assert_int_equal(keyring_new_key(k, 1, NULL), PL_OK);
    assert_int_equal(keyring_new_key(k, 2, NULL), PL_OK);
    assert_int_equal(keyring_destroy(k, 1, "test", NULL, NULL), PL_OK);
    assert_int_equal(keyring_rewrap(k, PL_SPAN_LIT(KEK_A KEK_B), NULL, NULL), PL_OK);
    assert_int_equal(keyring_new_seal_key(k, pub, NULL), PL_OK);
    assert_int_equal(keyring_key(k, 2, key), PL_OK);
    keyring_close(k);
    f->config.kek_text = PL_SPAN_LIT(KEK_A KEK_B);
}

/* Opens; the keys must be right, whatever was done to the files. */
static bool opens_right(struct keyring_fixture *f, const uint8_t key[32], size_t *alarm_count)
{
    struct keyring *k;
    struct pl_why why = {0};
    uint8_t now[32], pub[32];
    if (keyring_open(&k, &f->config, &why) != PL_OK) {
        assert_true(strlen(why.text) > 20);
        return false;
    }
    bool right = keyring_key(k, 1, now) == PL_EEXPIRED && keyring_key(k, 2, now) == PL_OK &&
                 memcmp(now, key, 32) == 0 && keyring_current_seal_key(k, pub) == PL_OK;
    *alarm_count = alarms(k);
    keyring_close(k);
    return right;
}

static void flipped_bytes_of_one_path_are_noticed_and_restored(void **state)
{
    struct keyring_fixture *f = *state;
    struct pl_buf good, now;
    uint8_t key[32];
    fill(f, key);
    slurp(f->paths[0], &good);
    /* each third: what is detected is the same as on both paths, where each byte has its turn */
    for (size_t i = 0; i < good.len; i += 3) {
        size_t alarm_count = 0;
        const char *path = f->paths[i % 2];
        good.data[i] ^= 0x20;
        spill(path, pl_buf_span(&good));
        good.data[i] ^= 0x20;
        if (!opens_right(f, key, &alarm_count)) {
            /* only what does not look like a keyring at all is left alone */
            assert_true(i < KEYRING_HEADER_BYTES);
            spill(path, pl_buf_span(&good));
            continue;
        }
        /* a length that makes the tail look torn is no alarm, but the file is whole again */
        if (alarm_count == 0)
            assert_true(i >= KEYRING_HEADER_BYTES);
        slurp(path, &now);
        assert_true(pl_span_eq(pl_buf_span(&now), pl_buf_span(&good)));
        pl_buf_release(&now);
    }
    pl_buf_release(&good);
}

static void each_byte_flipped_on_both_paths_is_refused(void **state)
{
    struct keyring_fixture *f = *state;
    struct pl_buf good;
    uint8_t key[32];
    fill(f, key);
    slurp(f->paths[0], &good);
    for (size_t i = 0; i < good.len; i++) {
        size_t alarm_count = 0;
        good.data[i] ^= 0x01;
        spill(f->paths[0], pl_buf_span(&good));
        spill(f->paths[1], pl_buf_span(&good));
        good.data[i] ^= 0x01;
        bool right = opens_right(f, key, &alarm_count);
        /* superseded wrappings are wiped anyway; a live one is missed: alarm, not deletion */
        if (right)
            assert_true(alarm_count > 0 || i >= KEYRING_HEADER_BYTES);
        struct pl_span wraps[8];
        size_t n = wraps_of(pl_buf_span(&good), wraps, 8);
        bool in_wrap = false;
        for (size_t w = 0; w < n; w++)
            in_wrap |= good.data + i >= wraps[w].data &&
                       good.data + i < wraps[w].data + KEYRING_WRAP_BYTES;
        assert_true(!right || in_wrap);
    }
    spill(f->paths[0], pl_buf_span(&good));
    spill(f->paths[1], pl_buf_span(&good));
    size_t alarm_count;
    assert_true(opens_right(f, key, &alarm_count));
    pl_buf_release(&good);
}

static void a_wiped_key_without_destruction_is_an_alarm(void **state)
{
    struct keyring_fixture *f = *state;
    struct pl_buf file;
    struct pl_span wrap = pl_span(NULL, 0);
    uint8_t key[32];
    struct keyring *k = open_ok(f);
    assert_int_equal(keyring_new_key(k, 5, NULL), PL_OK);
    keyring_close(k);
    slurp(f->paths[0], &file);
    assert_int_equal(wraps_of(pl_buf_span(&file), &wrap, 1), 1);
    memset(file.data + (wrap.data - file.data), 0, KEYRING_WRAP_BYTES);
    spill(f->paths[0], pl_buf_span(&file));
    k = open_ok(f); /* the other path still has it */
    assert_int_equal(keyring_key(k, 5, key), PL_OK);
    assert_int_equal(alarms(k), 1);
    keyring_close(k);
    spill(f->paths[0], pl_buf_span(&file));
    spill(f->paths[1], pl_buf_span(&file));
    k = open_ok(f);
    assert_int_equal(keyring_key(k, 5, key), PL_ECORRUPT);
    assert_true(alarms(k) > 0);
    keyring_close(k);
    pl_buf_release(&file);
}

static void a_lost_path_comes_back(void **state)
{
    struct keyring_fixture *f = *state;
    struct pl_buf good, now;
    uint8_t key[32];
    size_t alarm_count = 0;
    fill(f, key);
    slurp(f->paths[0], &good);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(unlink(f->paths[i]), 0);
        assert_true(opens_right(f, key, &alarm_count));
        assert_int_equal(alarm_count, 1);
        slurp(f->paths[i], &now);
        assert_true(pl_span_eq(pl_buf_span(&now), pl_buf_span(&good)));
        pl_buf_release(&now);
    }
    pl_buf_release(&good);
}

static void a_path_cut_anywhere_is_brought_up_to_date(void **state)
{
    struct keyring_fixture *f = *state;
    struct pl_buf good, now;
    uint8_t key[32];
    size_t alarm_count;
    fill(f, key);
    slurp(f->paths[0], &good);
    for (size_t len = 0; len < good.len; len += 5) {
        const char *path = f->paths[len % 2];
        spill(path, pl_span(good.data, len));
        assert_true(opens_right(f, key, &alarm_count));
        slurp(path, &now);
        assert_true(pl_span_eq(pl_buf_span(&now), pl_buf_span(&good)));
        pl_buf_release(&now);
    }
    pl_buf_release(&good);
}

static void an_older_copy_on_one_path_cannot_bring_a_key_back(void **state)
{
    struct keyring_fixture *f = *state;
    struct pl_buf old, now;
    struct pl_span wrap = pl_span(NULL, 0);
    uint8_t key[32];
    struct keyring *k = open_ok(f);
    assert_int_equal(keyring_new_key(k, 1, NULL), PL_OK);
    slurp(f->paths[1], &old);
    assert_int_equal(wraps_of(pl_buf_span(&old), &wrap, 1), 1);
    assert_int_equal(keyring_destroy(k, 1, "test", NULL, NULL), PL_OK);
    keyring_close(k);
    spill(f->paths[1], pl_buf_span(&old));
    k = open_ok(f);
    assert_int_equal(keyring_key(k, 1, key), PL_EEXPIRED);
    keyring_close(k);
    slurp(f->paths[1], &now);
    assert_null(memmem(now.data, now.len, wrap.data, wrap.len));
    pl_buf_release(&now);
    pl_buf_release(&old);
}

static void paths_that_diverge_are_refused(void **state)
{
    struct keyring_fixture *f = *state;
    struct pl_why why;
    struct pl_buf base;
    struct keyring *k = open_ok(f);
    assert_int_equal(keyring_new_key(k, 1, NULL), PL_OK);
    slurp(f->paths[1], &base);
    assert_int_equal(keyring_new_key(k, 2, NULL), PL_OK);
    keyring_close(k);
    /* path 1 goes on from the same base with another key */
    char aside[128];
    snprintf(aside, sizeof(aside), "%s.aside", f->paths[0]);
    assert_int_equal(rename(f->paths[0], aside), 0);
    spill(f->paths[1], pl_buf_span(&base));
    k = open_ok(f);
    assert_int_equal(keyring_new_key(k, 3, NULL), PL_OK);
    keyring_close(k);
    assert_int_equal(rename(aside, f->paths[0]), 0);
    assert_int_equal(open_err(f, &why), PL_EFORK);
    assert_non_null(strstr(why.text, f->paths[0]));
    assert_non_null(strstr(why.text, f->paths[1]));
    pl_buf_release(&base);
}

/* Whichever is longer. */
static void of_paths_that_diverge_the_one_with_an_end_is_named(void **state)
{
    struct keyring_fixture *f = *state;
    struct pl_why why;
    struct pl_buf base, other;
    char words[160];
    for (int longer = 0; longer < 2; longer++) {
        struct keyring *k = open_ok(f);
        const uint64_t first = 10 * (uint64_t)longer + 1;
        assert_int_equal(keyring_new_key(k, first, NULL), PL_OK);
        slurp(f->paths[0], &base);
        assert_int_equal(keyring_new_key(k, first + 1, NULL), PL_OK);
        if (longer)
            assert_int_equal(keyring_new_key(k, first + 2, NULL), PL_OK);
        keyring_close(k);
        slurp(f->paths[0], &other);
        for (int i = 0; i < 2; i++)
            spill(f->paths[i], pl_buf_span(&base));
        k = open_ok(f);
        assert_int_equal(keyring_destroy(k, first, "test", NULL, NULL), PL_OK);
        keyring_close(k);
        spill(f->paths[0], pl_buf_span(&other));
        assert_int_equal(open_err(f, &why), PL_EFORK);
        snprintf(words, sizeof(words), "keep %s", f->paths[1]);
        if (strstr(why.text, words) == NULL)
            fail_msg("%s", why.text);
        assert_int_equal(unlink(f->paths[0]), 0); /* which is what an operator then does */
        pl_buf_release(&base);
        pl_buf_release(&other);
    }
    struct keyring *k = open_ok(f);
    uint8_t key[32];
    assert_int_equal(keyring_key(k, 1, key), PL_EEXPIRED);
    keyring_close(k);
}

static void a_stranger_s_file_is_left_alone(void **state)
{
    struct keyring_fixture *f = *state;
    struct pl_why why;
    struct pl_buf now;
    keyring_close(open_ok(f));
    static const char other[] = "this file belongs to somebody else and is long enough";
    spill(f->paths[1], PL_SPAN_LIT("this file belongs to somebody else and is long enough"));
    assert_int_equal(open_err(f, &why), PL_ECORRUPT);
    slurp(f->paths[1], &now);
    assert_true(pl_span_eq_str(pl_buf_span(&now), other));
    pl_buf_release(&now);
}

/* A path whose directory goes away while the keyring is open. */
static void a_path_that_fails_holds_changes_up(void **state)
{
    struct keyring_fixture *f = *state;
    char dir[80], gone[96];
    struct pl_why why = {0};
    struct pl_buf before, a, b;
    uint8_t key[32];
    snprintf(dir, sizeof(dir), "%s/1", f->dir);
    snprintf(gone, sizeof(gone), "%s/gone", f->dir);
    struct keyring *k = open_ok(f);
    assert_int_equal(keyring_new_key(k, 1, NULL), PL_OK);
    assert_int_equal(rename(dir, gone), 0);
    slurp(f->paths[0], &before);
    assert_int_not_equal(keyring_new_key(k, 2, &why), PL_OK);
    assert_non_null(strstr(why.text, f->paths[1]));
    /* What the first path took is taken off it at once: should it fail now, and the other one get a
     * key's end, the two would differ for good. */
    slurp(f->paths[0], &a);
    assert_true(pl_span_eq(pl_buf_span(&a), pl_buf_span(&before)));
    pl_buf_release(&a);
    pl_buf_release(&before);
    assert_int_equal(keyring_key(k, 2, key), PL_ENOTFOUND);
    assert_int_equal(keyring_key(k, 1, key), PL_OK);
    /* a destruction takes hold, but says that a copy is still out there */
    assert_int_not_equal(keyring_destroy(k, 1, "test", NULL, &why), PL_OK);
    assert_non_null(strstr(why.text, "copy"));
    assert_int_equal(keyring_key(k, 1, key), PL_EEXPIRED);
    assert_int_equal(rename(gone, dir), 0);
    assert_int_equal(keyring_destroy(k, 1, "test", NULL, &why), PL_OK);
    assert_int_equal(keyring_new_key(k, 2, &why), PL_OK);
    keyring_close(k);
    slurp(f->paths[0], &a);
    slurp(f->paths[1], &b);
    assert_true(pl_span_eq(pl_buf_span(&a), pl_buf_span(&b)));
    pl_buf_release(&a);
    pl_buf_release(&b);
    k = open_ok(f);
    assert_int_equal(keyring_key(k, 1, key), PL_EEXPIRED);
    assert_int_equal(keyring_key(k, 2, key), PL_OK);
    keyring_close(k);
}

/* The child makes keys, destroys each second one, rotates, and says through the pipe what it was
 * told is done; it is killed in the middle. What was said must be true afterwards. */
static void child_works(struct keyring_fixture *f, int out)
{
    struct keyring *k;
    if (keyring_open(&k, &f->config, NULL) != PL_OK)
        _exit(3);
    struct keyring_status *s = malloc(sizeof(*s));
    keyring_status(k, s);
    for (uint64_t a = 1000 * (s->records + 1);; a++) {
        struct {
            uint64_t account;
            uint8_t key[32];
            uint8_t destroyed;
        } said = {.account = a};
        if (keyring_new_key(k, a, NULL) != PL_OK || keyring_key(k, a, said.key) != PL_OK)
            _exit(4);
        if (write(out, &said, sizeof(said)) != sizeof(said))
            _exit(5);
        if (a % 3 == 0 &&
            keyring_rewrap(k, a % 2 ? PL_SPAN_LIT(KEK_B KEK_A) : PL_SPAN_LIT(KEK_A KEK_B), NULL,
                           NULL) != PL_OK)
            _exit(6);
        said.destroyed = 1;
        if (a % 2 == 0 && (keyring_destroy(k, a, "test", NULL, NULL) != PL_OK ||
                           write(out, &said, sizeof(said)) != sizeof(said)))
            _exit(7);
    }
}

static void killed_at_any_moment(void **state)
{
    struct keyring_fixture *f = *state;
    f->config.kek_text = PL_SPAN_LIT(KEK_A KEK_B);
    keyring_close(open_ok(f));
    for (int round = 0; round < 25; round++) {
        int ends[2];
        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        assert_true(fcntl(ends[1], F_SETPIPE_SZ, 1 << 20) > 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            child_works(f, ends[1]);
            _exit(1);
        }
        close(ends[1]);
        uint8_t byte[41];
        uint16_t draw;
        assert_int_equal(pl_random_fill(pl_random_system(), &draw, sizeof(draw)), PL_OK);
        struct timespec pause = {.tv_nsec = (long)(draw % 30000) * 1000};
        nanosleep(&pause, NULL); /* a random moment: the point of the test */
        kill(child, SIGKILL);
        int status;
        waitpid(child, &status, 0);
        assert_true(WIFSIGNALED(status));
        (void)byte;

        struct keyring *k = open_ok(f);
        struct {
            uint64_t account;
            uint8_t key[32];
            uint8_t destroyed;
        } said;
        uint8_t now[32];
        while (read(ends[0], &said, sizeof(said)) == sizeof(said)) {
            enum pl_err err = keyring_key(k, said.account, now);
            if (said.destroyed) {
                assert_int_equal(err, PL_EEXPIRED);
            } else if (err == PL_OK) {
                assert_memory_equal(now, said.key, 32);
            } else { /* killed between the destruction and its word */
                assert_int_equal(err, PL_EEXPIRED);
                assert_true(said.account % 2 == 0);
            }
        }
        close(ends[0]);
        struct keyring_status *s = malloc(sizeof(*s));
        keyring_status(k, s);
        assert_int_equal(s->missing + s->locked, 0);
        assert_int_equal(s->paths_behind, 0);
        free(s);
        keyring_close(k);
        char name[128];
        for (int i = 0; i < 2; i++) {
            snprintf(name, sizeof(name), "%s.old", f->paths[i]);
            assert_false(pl_file_exists(name));
            snprintf(name, sizeof(name), "%s.tmp", f->paths[i]);
            assert_false(pl_file_exists(name));
        }
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(flipped_bytes_of_one_path_are_noticed_and_restored),
        CASE(each_byte_flipped_on_both_paths_is_refused),
        CASE(a_wiped_key_without_destruction_is_an_alarm),
        CASE(a_lost_path_comes_back),
        CASE(a_path_cut_anywhere_is_brought_up_to_date),
        CASE(an_older_copy_on_one_path_cannot_bring_a_key_back),
        CASE(paths_that_diverge_are_refused),
        CASE(of_paths_that_diverge_the_one_with_an_end_is_named),
        CASE(a_stranger_s_file_is_left_alone),
        CASE(a_path_that_fails_holds_changes_up),
        CASE(killed_at_any_moment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
