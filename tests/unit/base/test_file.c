#include "proto/base/file.h"

#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char root[] = "/tmp/polder-test-file-XXXXXX";

static int setup(void **state)
{
    (void)state;
    return mkdtemp(root) == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    char line[128];
    snprintf(line, sizeof(line), "rm -rf %s", root);
    return system(line);
}

static const char *at(const char *name)
{
    static char paths[4][256];
    static unsigned next;
    char *path = paths[next++ % 4];
    assert_int_equal(pl_path_join(path, sizeof(paths[0]), root, name), PL_OK);
    return path;
}

static unsigned mode_of(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return (unsigned)st.st_mode & 07777;
}

static void what_is_written_is_read(void **state)
{
    (void)state;
    struct pl_buf buf;
    mode_t umask_before = umask(0077);
    pl_buf_init(&buf, 64);
    assert_int_equal(pl_file_replace(at("a"), "note", 0644, PL_SPAN_LIT("one"), NULL), PL_OK);
    assert_int_equal(mode_of(at("a")), 0644); /* whatever the umask */
    assert_int_equal(pl_file_replace(at("a"), "note", 0600, PL_SPAN_LIT("second"), NULL), PL_OK);
    assert_int_equal(mode_of(at("a")), 0600);
    assert_int_equal(pl_file_read(at("a"), "note", true, &buf, NULL), PL_OK);
    assert_true(pl_span_eq_str(pl_buf_span(&buf), "second"));
    assert_int_equal(pl_file_read(at("a"), "note", true, &buf, NULL), PL_OK);
    assert_true(pl_span_eq_str(pl_buf_span(&buf), "secondsecond")); /* appends */
    assert_false(pl_file_exists(at("a.tmp")));
    pl_buf_release(&buf);
    umask(umask_before);
}

static void a_leftover_of_a_crash_is_no_obstacle(void **state)
{
    (void)state;
    int fd = open(at("b.tmp"), O_WRONLY | O_CREAT, 0666);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "torn", 4), 4);
    close(fd);
    assert_int_equal(pl_file_replace(at("b"), "note", 0600, PL_SPAN_LIT("x"), NULL), PL_OK);
    assert_int_equal(mode_of(at("b")), 0600);
    assert_false(pl_file_exists(at("b.tmp")));
}

static void creating_never_replaces(void **state)
{
    (void)state;
    struct pl_why why;
    struct pl_buf buf;
    pl_buf_init(&buf, 64);
    assert_int_equal(pl_file_create(at("c"), "key file", 0600, PL_SPAN_LIT("first"), &why), PL_OK);
    assert_int_equal(pl_file_create(at("c"), "key file", 0600, PL_SPAN_LIT("second"), &why),
                     PL_EEXISTS);
    assert_non_null(strstr(why.text, at("c")));
    assert_int_equal(pl_file_read(at("c"), "key file", true, &buf, NULL), PL_OK);
    assert_true(pl_span_eq_str(pl_buf_span(&buf), "first"));
    assert_false(pl_file_exists(at("c.tmp")));
    pl_buf_release(&buf);
}

static void private_files_must_be_private(void **state)
{
    (void)state;
    struct pl_why why;
    struct pl_buf buf;
    pl_buf_init(&buf, 64);
    assert_int_equal(pl_file_replace(at("d"), "key file", 0640, PL_SPAN_LIT("k"), NULL), PL_OK);
    assert_int_equal(pl_file_read(at("d"), "key file", true, &buf, &why), PL_EDENIED);
    assert_non_null(strstr(why.text, "key file"));
    assert_non_null(strstr(why.text, "0640"));
    assert_non_null(strstr(why.text, "chmod 600"));
    assert_int_equal(buf.len, 0);
    assert_int_equal(pl_file_read(at("d"), "key file", false, &buf, &why), PL_OK);
    pl_buf_release(&buf);
}

static void reading_refuses_what_it_should(void **state)
{
    (void)state;
    struct pl_why why;
    struct pl_buf buf;
    pl_buf_init(&buf, 10);
    assert_int_equal(pl_buf_append_str(&buf, "ab"), PL_OK);
    assert_int_equal(pl_file_read(at("absent"), "key file", false, &buf, &why), PL_ENOTFOUND);
    assert_non_null(strstr(why.text, at("absent")));
    assert_int_equal(pl_file_read(root, "key file", false, &buf, &why), PL_EINVAL);
    assert_int_equal(mkfifo(at("fifo"), 0600), 0);
    assert_int_equal(pl_file_read(at("fifo"), "key file", false, &buf, &why), PL_EINVAL);

    assert_int_equal(pl_file_replace(at("e"), "note", 0600, PL_SPAN_LIT("12345678"), NULL), PL_OK);
    assert_int_equal(pl_file_read(at("e"), "note", false, &buf, &why), PL_OK); /* just fits */
    buf.len = 2;
    assert_int_equal(pl_file_replace(at("e"), "note", 0600, PL_SPAN_LIT("123456789"), NULL), PL_OK);
    assert_int_equal(pl_file_read(at("e"), "note", false, &buf, &why), PL_ELIMIT);
    assert_non_null(strstr(why.text, "8 bytes"));
    assert_int_equal(buf.len, 2);
    pl_buf_release(&buf);
}

static void a_forbidden_file_names_the_user(void **state)
{
    (void)state;
    if (geteuid() == 0) /* root is refused nothing: act as nobody for a while */
        assert_int_equal(seteuid(65534), 0);
    struct pl_why why;
    struct pl_buf buf;
    pl_buf_init(&buf, 64);
    enum pl_err err = pl_file_read("/etc/shadow", "key file", false, &buf, &why);
    enum pl_err write_err = pl_file_replace("/etc/polder-x", "note", 0600, PL_SPAN_LIT("x"), NULL);
    if (getuid() == 0)
        assert_int_equal(seteuid(0), 0);
    assert_int_equal(err, PL_EDENIED);
    assert_int_equal(write_err, PL_EDENIED);
    assert_non_null(strstr(why.text, "cannot open key file /etc/shadow"));
    assert_non_null(strstr(why.text, "user "));
    pl_buf_release(&buf);
}

static void directories_are_made_with_their_parents(void **state)
{
    (void)state;
    struct pl_why why;
    mode_t umask_before = umask(0027);
    assert_int_equal(pl_dir_make(at("x/y//z/"), 0750, NULL), PL_OK);
    assert_int_equal(pl_dir_make(at("x/y/z"), 0700, NULL), PL_OK);
    assert_int_equal(mode_of(at("x/y/z")), 0750); /* those already there stay as they are */
    assert_int_equal(pl_dir_sync(at("x/y"), NULL), PL_OK);
    assert_int_equal(pl_dir_sync(at("x/q"), &why), PL_ENOTFOUND);
    assert_int_equal(pl_file_replace(at("x/f"), "note", 0600, PL_SPAN_LIT("x"), NULL), PL_OK);
    assert_int_equal(pl_dir_make(at("x/f"), 0700, &why), PL_EINVAL);
    assert_non_null(strstr(why.text, "a file is in its place"));
    assert_int_not_equal(pl_dir_make(at("x/f/g"), 0700, &why), PL_OK);
    assert_int_equal(pl_dir_make("", 0700, &why), PL_EINVAL);
    umask(umask_before);
}

static void free_space_is_told(void **state)
{
    (void)state;
    uint64_t free_bytes = 0;
    assert_int_equal(pl_disk_free(root, &free_bytes, NULL), PL_OK);
    assert_true(free_bytes > 1000);
    assert_int_equal(pl_disk_free(at("absent"), &free_bytes, NULL), PL_ENOTFOUND);
}

static void commands_give_output_or_their_status(void **state)
{
    (void)state;
    struct pl_why why;
    struct pl_buf buf;
    pl_buf_init(&buf, 16);
    assert_int_equal(pl_command_output("printf 'a b'", "key command", &buf, &why), PL_OK);
    assert_true(pl_span_eq_str(pl_buf_span(&buf), "a b"));
    assert_int_equal(pl_command_output("printf half; exit 3", "key command", &buf, &why), PL_EIO);
    assert_non_null(strstr(why.text, "status 3"));
    assert_true(pl_span_eq_str(pl_buf_span(&buf), "a b"));
    assert_int_equal(pl_command_output("kill -9 $$", "key command", &buf, &why), PL_EIO);
    assert_non_null(strstr(why.text, "killed"));
    assert_int_equal(
        pl_command_output("no-such-command-here 2>/dev/null", "key command", &buf, &why), PL_EIO);
    assert_int_equal(pl_command_output("yes", "key command", &buf, &why), PL_ELIMIT);
    assert_true(pl_span_eq_str(pl_buf_span(&buf), "a b"));
    pl_buf_release(&buf);
}

static void paths_join_or_do_not_fit(void **state)
{
    (void)state;
    char out[8];
    assert_int_equal(pl_path_join(out, sizeof(out), "ab", "cdef"), PL_OK);
    assert_string_equal(out, "ab/cdef");
    assert_int_equal(pl_path_join(out, sizeof(out), "ab/", "cdef"), PL_OK);
    assert_string_equal(out, "ab/cdef");
    assert_int_equal(pl_path_join(out, sizeof(out), "ab", "cdefg"), PL_ELIMIT);
    assert_string_equal(out, "ab/cdef");
    char longest[PATH_MAX + 10];
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    assert_int_equal(pl_file_replace(longest, "note", 0600, PL_SPAN_LIT("x"), NULL), PL_EINVAL);
    assert_int_equal(pl_dir_make(longest, 0700, NULL), PL_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(a_leftover_of_a_crash_is_no_obstacle),
        cmocka_unit_test(creating_never_replaces),
        cmocka_unit_test(private_files_must_be_private),
        cmocka_unit_test(reading_refuses_what_it_should),
        cmocka_unit_test(a_forbidden_file_names_the_user),
        cmocka_unit_test(directories_are_made_with_their_parents),
        cmocka_unit_test(free_space_is_told),
        cmocka_unit_test(commands_give_output_or_their_status),
        cmocka_unit_test(paths_join_or_do_not_fit),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
