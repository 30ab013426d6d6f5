/* The journal: lines that stay, on every path, and what is done about paths that differ. */
#include "tests/unit/origin/journal_test.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>

/* A journal of so many lines, closed. */
static void make(struct journal_fixture *f, int lines)
{
    open_it(f);
    add(f, 1, lines);
    close_it(f);
}

struct seen {
    uint64_t first, last, count, stop_at;
    char text[512];
};

static enum pl_err see(void *ctx, uint64_t n, struct pl_span line, struct pl_why *why)
{
    struct seen *seen = ctx;
    char expect[32];
    (void)why;
    if (n == seen->stop_at)
        return PL_EAGAIN;
    seen->first = seen->count++ == 0 ? n : seen->first;
    seen->last = n;
    snprintf(seen->text, sizeof(seen->text), "%.*s", PL_SPAN_FMT(line));
    snprintf(expect, sizeof(expect), ",\"i\":%d}", (int)n);
    assert_non_null(strstr(seen->text, expect));
    return PL_OK;
}

static struct seen look(struct journal_fixture *f, uint64_t from)
{
    struct seen seen = {0};
    assert_int_equal(journal_visit(f->journal, from, see, &seen, &f->why), PL_OK);
    return seen;
}

static struct pl_buf content(const char *path)
{
    struct pl_buf bytes;
    pl_buf_init(&bytes, 1u << 24);
    assert_int_equal(pl_file_read(path, "journal", true, &bytes, NULL), PL_OK);
    return bytes;
}

static void rewrite(const char *path, struct pl_span bytes)
{
    assert_int_equal(pl_file_replace(path, "journal", 0600, bytes, NULL), PL_OK);
}

static void assert_paths_equal(struct journal_fixture *f)
{
    struct pl_buf a = content(f->paths[0]), b = content(f->paths[1]);
    assert_true(pl_span_eq(pl_buf_span(&a), pl_buf_span(&b)));
    pl_buf_release(&a);
    pl_buf_release(&b);
}

/* Where line n (from 1) begins. */
static size_t place_of(struct pl_span bytes, int n)
{
    size_t at = 0;
    while (--n > 0)
        at += (size_t)((const uint8_t *)memchr(bytes.data + at, '\n', bytes.len - at) -
                       (bytes.data + at)) +
              1;
    return at;
}

/* ---- writing and reading */

static void lines_are_there_after_a_restart(void **state)
{
    struct journal_fixture *f = *state;
    struct journal_mark end, again;
    open_it(f);
    journal_end(f->journal, &end);
    assert_int_equal(end.n, 0);
    assert_int_equal(look(f, 1).count, 0);
    add(f, 1, 3);
    assert_int_equal(journal_append(f->journal, PL_SPAN_LIT("{\"i\":4}"), &end, &f->why), PL_OK);
    assert_int_equal(end.n, 4);
    close_it(f);
    assert_paths_equal(f);
    open_it(f);
    journal_end(f->journal, &again);
    assert_memory_equal(&end, &again, sizeof(end));
    add(f, 5, 5);
    struct seen seen = look(f, 0);
    assert_int_equal(seen.count, 5);
    assert_int_equal(seen.first, 1);
}

/* Enough lines that places are kept and chunks are crossed. */
static void a_reader_begins_anywhere(void **state)
{
    struct journal_fixture *f = *state;
    static const uint64_t froms[] = {1, 2, 255, 256, 257, 258, 511, 512, 513, 514, 520};
    make(f, 520);
    open_it(f);
    for (int round = 0; round < 2; round++) {
        const uint64_t last = round == 0 ? 520 : 780;
        for (size_t i = 0; i < sizeof(froms) / sizeof(froms[0]); i++) {
            struct seen seen = look(f, froms[i]);
            assert_int_equal(seen.first, froms[i]);
            assert_int_equal(seen.last, last);
            assert_int_equal(seen.count, last - froms[i] + 1);
        }
        assert_int_equal(look(f, last + 1).count, 0);
        if (round == 0)
            add(f, 521, 780); /* crosses 769, whose place is kept */
    }
    struct seen seen = {.stop_at = 300};
    assert_int_equal(journal_visit(f->journal, 290, see, &seen, &f->why), PL_EAGAIN);
    assert_int_equal(seen.count, 10);
}

/* What SPEC.md tells people to do. */
static void sha256sum_follows_the_chain(void **state)
{
    struct journal_fixture *f = *state;
    char command[512];
    make(f, 5);
    snprintf(command, sizeof(command),
             "cd %s && for n in 1 2 3 4; do "
             "test \"$(sed -n ${n}p 0.ndjson | tr -d '\\n' | sha256sum | cut -d' ' -f1)\" = "
             "\"$(sed -n $((n+1))p 0.ndjson | sed 's/.*\"previous\":\"\\([0-9a-f]*\\)\".*/\\1/')\" "
             "|| exit 1; done",
             f->dir);
    assert_int_equal(system(command), 0);
}

static void a_line_of_the_largest_size_is_read_back(void **state)
{
    struct journal_fixture *f = *state;
    struct pl_buf object;
    pl_buf_init(&object, JOURNAL_LINE_BYTES);
    open_it(f);
    for (int i = 1; i <= 3; i++) {
        pl_buf_reset(&object);
        assert_int_equal(pl_buf_append_str(&object, "{\"long\":\""), PL_OK);
        while (object.len < JOURNAL_LINE_BYTES - 140)
            assert_int_equal(pl_buf_put_u8(&object, 'x'), PL_OK);
        assert_int_equal(pl_buf_appendf(&object, "\",\"i\":%d}", i), PL_OK);
        assert_int_equal(journal_append(f->journal, pl_buf_span(&object), NULL, &f->why), PL_OK);
    }
    close_it(f);
    open_it(f);
    struct journal_status status;
    journal_status(f->journal, &status);
    assert_int_equal(status.lines, 3);
    assert_int_equal(status.alarms.count, 0);
    assert_int_equal(journal_append(f->journal, PL_SPAN_LIT("[1]"), NULL, &f->why), PL_EINVAL);
    pl_buf_release(&object);
}

static void a_full_journal_says_so_in_time(void **state)
{
    struct journal_fixture *f = *state;
    struct journal_status status;
    f->config.max_bytes = 2000;
    open_it(f);
    enum pl_err err = PL_OK;
    bool warned = false;
    while (err == PL_OK) {
        journal_status(f->journal, &status);
        warned |= status.nearly_full;
        err = journal_append(f->journal, PL_SPAN_LIT("{\"i\":1}"), NULL, &f->why);
    }
    assert_int_equal(err, PL_ENOSPC);
    assert_true(warned);
    assert_non_null(strstr(f->why.text, "is full (2000 bytes"));
    journal_status(f->journal, &status);
    assert_true(status.bytes <= 2000);
    const uint64_t lines = status.lines;
    close_it(f);
    f->config.max_bytes = 4000;
    open_it(f);
    assert_int_equal(journal_append(f->journal, PL_SPAN_LIT("{\"i\":1}"), NULL, &f->why), PL_OK);
    journal_status(f->journal, &status);
    assert_int_equal(status.lines, lines + 1);
}

/* ---- opening */

static void one_that_went_missing_is_not_made_anew(void **state)
{
    struct journal_fixture *f = *state;
    f->config.create = false;
    assert_int_equal(journal_open(&f->journal, &f->config, &f->why), PL_ENOTFOUND);
    assert_non_null(strstr(f->why.text, f->paths[0]));
    f->config.create = true;
    make(f, 2);
    unlink(f->paths[0]);
    unlink(f->paths[1]);
    assert_int_equal(journal_open(&f->journal, &f->config, &f->why), PL_ENOTFOUND);
    /* what the message says an operator may do */
    rewrite(f->paths[1], pl_span(NULL, 0));
    open_it(f);
    struct journal_status status;
    journal_status(f->journal, &status); /* nor does it go without saying */
    assert_non_null(strstr(status.alarms.text[status.alarms.count - 1], "begins anew"));
    add(f, 1, 1);
    close_it(f);
    open_it(f);
    journal_status(f->journal, &status);
    assert_int_equal(status.alarms.count, 0);
}

static void one_process_at_a_time(void **state)
{
    struct journal_fixture *f = *state;
    struct journal *other;
    open_it(f);
    const char *second[] = {f->paths[1]};
    struct journal_config config = f->config;
    config.paths = second;
    config.path_count = 1;
    assert_int_equal(journal_open(&other, &config, &f->why), PL_EEXISTS);
    assert_non_null(strstr(f->why.text, "another process"));
}

/* Cut within the last line, on the first path, the second or both. */
static void a_torn_last_line_is_cut_or_restored(void **state)
{
    struct journal_fixture *f = *state;
    make(f, 3);
    struct pl_buf whole = content(f->paths[0]);
    const size_t third = place_of(pl_buf_span(&whole), 3);
    for (int which = 1; which <= 3; which++) {
        for (size_t len = third; len<whole.len; len += len> third && len + 6 < whole.len ? 5 : 1) {
            for (int i = 0; i < 2; i++)
                rewrite(f->paths[i], pl_span(whole.data, which & (1 << i) ? len : whole.len));
            open_it(f);
            assert_int_equal(look(f, 1).count, which == 3 ? 2 : 3);
            close_it(f);
            assert_paths_equal(f);
        }
    }
    pl_buf_release(&whole);
}

/* Its end is on the disk, and not its middle. */
static void a_last_line_with_a_hole_is_cut(void **state)
{
    struct journal_fixture *f = *state;
    make(f, 3);
    struct pl_buf whole = content(f->paths[0]);
    memset(whole.data + place_of(pl_buf_span(&whole), 3) + 118, 0, 3);
    rewrite(f->paths[0], pl_buf_span(&whole));
    rewrite(f->paths[1], pl_buf_span(&whole));
    open_it(f);
    assert_int_equal(look(f, 1).count, 2);
    add(f, 3, 3);
    pl_buf_release(&whole);
}

static void a_missing_path_is_restored(void **state)
{
    struct journal_fixture *f = *state;
    struct journal_status status;
    make(f, 300);
    for (int i = 0; i < 2; i++) {
        unlink(f->paths[i]);
        open_it(f);
        assert_int_equal(look(f, 1).count, 300);
        journal_status(f->journal, &status);
        assert_int_equal(status.alarms.count, 1);
        assert_non_null(strstr(status.alarms.text[0], f->paths[i]));
        close_it(f);
        assert_paths_equal(f);
    }
}

static void a_path_that_is_behind_is_brought_up(void **state)
{
    struct journal_fixture *f = *state;
    make(f, 10);
    struct pl_buf whole = content(f->paths[0]);
    for (int lines = 0; lines < 10; lines++) {
        rewrite(f->paths[lines % 2], pl_span(whole.data, place_of(pl_buf_span(&whole), lines + 1)));
        open_it(f);
        assert_int_equal(look(f, 1).count, 10);
        close_it(f);
        assert_paths_equal(f);
    }
    pl_buf_release(&whole);
}

/* Any byte of a line that is not the last, on one path: the other one has it. */
static void damage_on_one_path_is_restored(void **state)
{
    struct journal_fixture *f = *state;
    struct journal_status status;
    char aside[128];
    make(f, 4);
    struct pl_buf whole = content(f->paths[0]);
    const size_t second = place_of(pl_buf_span(&whole), 2),
                 third = place_of(pl_buf_span(&whole), 3);
    for (size_t at = second; at < third; at += 3) {
        const int i = at % 2;
        whole.data[at] ^= 1;
        rewrite(f->paths[i], pl_buf_span(&whole));
        whole.data[at] ^= 1;
        open_it(f);
        assert_int_equal(look(f, 1).count, 4);
        journal_status(f->journal, &status);
        assert_int_equal(status.alarms.count, 1);
        assert_non_null(strstr(status.alarms.text[0], f->paths[i]));
        close_it(f);
        assert_paths_equal(f);
        snprintf(aside, sizeof(aside), "%s.damaged", f->paths[i]);
        assert_true(pl_file_exists(aside));
        unlink(aside);
    }
    pl_buf_release(&whole);
}

static void damage_on_every_path_names_file_and_line(void **state)
{
    struct journal_fixture *f = *state;
    make(f, 4);
    struct pl_buf whole = content(f->paths[0]);
    whole.data[place_of(pl_buf_span(&whole), 3) - 3] ^= 1; /* in line 2 */
    rewrite(f->paths[0], pl_buf_span(&whole));
    rewrite(f->paths[1], pl_buf_span(&whole));
    assert_int_equal(journal_open(&f->journal, &f->config, &f->why), PL_ECORRUPT);
    assert_non_null(strstr(f->why.text, f->paths[0]));
    assert_non_null(strstr(f->why.text, "line 2"));
    assert_non_null(strstr(f->why.text, "restore a copy"));
    pl_buf_release(&whole);
}

/* The last line but one of the only path: the last one must not be taken for a torn one. */
static void a_change_before_the_last_line_is_no_torn_line(void **state)
{
    struct journal_fixture *f = *state;
    f->config.path_count = 1;
    make(f, 3);
    struct pl_buf whole = content(f->paths[0]);
    whole.data[place_of(pl_buf_span(&whole), 3) - 3] ^= 1;
    rewrite(f->paths[0], pl_buf_span(&whole));
    assert_int_equal(journal_open(&f->journal, &f->config, &f->why), PL_ECORRUPT);
    pl_buf_release(&whole);
}

static void paths_that_diverge_are_refused(void **state)
{
    struct journal_fixture *f = *state;
    make(f, 2);
    struct pl_buf two = content(f->paths[0]);
    open_it(f);
    add(f, 3, 5);
    close_it(f);
    struct pl_buf five = content(f->paths[0]);
    rewrite(f->paths[0], pl_buf_span(&two));
    rewrite(f->paths[1], pl_buf_span(&two));
    open_it(f);
    assert_int_equal(journal_append(f->journal, PL_SPAN_LIT("{\"i\":33}"), NULL, &f->why), PL_OK);
    close_it(f);
    rewrite(f->paths[1], pl_buf_span(&five));
    assert_int_equal(journal_open(&f->journal, &f->config, &f->why), PL_EFORK);
    assert_non_null(strstr(f->why.text, f->paths[0]));
    assert_non_null(strstr(f->why.text, f->paths[1]));
    pl_buf_release(&two);
    pl_buf_release(&five);
}

static void somebody_elses_file_is_left_alone(void **state)
{
    struct journal_fixture *f = *state;
    rewrite(f->paths[0], PL_SPAN_LIT("dear diary\n"));
    assert_int_equal(journal_open(&f->journal, &f->config, &f->why), PL_ECORRUPT);
    assert_non_null(strstr(f->why.text, "move it away"));
    struct pl_buf bytes = content(f->paths[0]);
    assert_true(pl_span_eq_str(pl_buf_span(&bytes), "dear diary\n"));
    pl_buf_release(&bytes);
}

/* ---- failing disks */

static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes == RLIM_INFINITY ? limit.rlim_max : bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_line_that_failed_leaves_nothing(void **state)
{
    struct journal_fixture *f = *state;
    struct journal_mark before, after;
    open_it(f);
    add(f, 1, 256); /* the next line's place would be kept */
    journal_end(f->journal, &before);
    struct pl_buf bytes = content(f->paths[0]);
    limit_files(bytes.len + 50); /* within the line */
    for (int i = 0; i < 3; i++)
        assert_int_not_equal(journal_append(f->journal, PL_SPAN_LIT("{\"i\":0}"), NULL, &f->why),
                             PL_OK);
    limit_files(RLIM_INFINITY);
    assert_non_null(strstr(f->why.text, f->paths[0]));
    journal_end(f->journal, &after);
    assert_memory_equal(&before, &after, sizeof(before));
    assert_int_equal(look(f, 1).count, 256);
    add(f, 257, 520);
    assert_int_equal(look(f, 513).first, 513);
    close_it(f);
    assert_paths_equal(f);
    open_it(f);
    assert_int_equal(look(f, 1).count, 520);
    pl_buf_release(&bytes);
}

/* What probes tell of it. */
static const char *trouble(struct journal_fixture *f)
{
    static struct journal_status status;
    journal_status(f->journal, &status);
    return status.trouble;
}

/* The second path is gone or was written by somebody else: nothing is promised, nothing stays. */
static void a_path_that_was_changed_is_told(void **state)
{
    struct journal_fixture *f = *state;
    char aside[128];
    open_it(f);
    add(f, 1, 2);
    assert_string_equal(trouble(f), "");
    snprintf(aside, sizeof(aside), "%s.aside", f->paths[1]);
    assert_int_equal(rename(f->paths[1], aside), 0);
    assert_int_equal(journal_append(f->journal, PL_SPAN_LIT("{\"i\":3}"), NULL, &f->why),
                     PL_ECORRUPT);
    assert_non_null(strstr(f->why.text, f->paths[1]));
    assert_non_null(strstr(f->why.text, "move the file that stood there back"));
    assert_string_equal(trouble(f), f->why.text);
    assert_int_equal(look(f, 1).count, 2);
    struct pl_buf bytes = content(f->paths[0]);
    rewrite(f->paths[1], pl_buf_span(&bytes)); /* the same bytes, but not the file that is open */
    assert_int_equal(journal_append(f->journal, PL_SPAN_LIT("{\"i\":3}"), NULL, &f->why),
                     PL_ECORRUPT);
    assert_string_equal(trouble(f), f->why.text);
    assert_int_equal(rename(aside, f->paths[1]), 0);
    add(f, 3, 3);
    assert_string_equal(trouble(f), "");
    close_it(f);
    assert_paths_equal(f);
    pl_buf_release(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lines_are_there_after_a_restart, setup, teardown),
        cmocka_unit_test_setup_teardown(a_reader_begins_anywhere, setup, teardown),
        cmocka_unit_test_setup_teardown(sha256sum_follows_the_chain, setup, teardown),
        cmocka_unit_test_setup_teardown(a_line_of_the_largest_size_is_read_back, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_journal_says_so_in_time, setup, teardown),
        cmocka_unit_test_setup_teardown(one_that_went_missing_is_not_made_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(one_process_at_a_time, setup, teardown),
        cmocka_unit_test_setup_teardown(a_torn_last_line_is_cut_or_restored, setup, teardown),
        cmocka_unit_test_setup_teardown(a_last_line_with_a_hole_is_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(a_missing_path_is_restored, setup, teardown),
        cmocka_unit_test_setup_teardown(a_path_that_is_behind_is_brought_up, setup, teardown),
        cmocka_unit_test_setup_teardown(damage_on_one_path_is_restored, setup, teardown),
        cmocka_unit_test_setup_teardown(damage_on_every_path_names_file_and_line, setup, teardown),
        cmocka_unit_test_setup_teardown(a_change_before_the_last_line_is_no_torn_line, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(paths_that_diverge_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(somebody_elses_file_is_left_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(a_line_that_failed_leaves_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_path_that_was_changed_is_told, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
