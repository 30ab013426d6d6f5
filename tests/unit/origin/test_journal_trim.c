/* A journal whose beginning is cut off: what stays, and what a crash or a lost disk leaves. */
#include "tests/unit/origin/journal_test.h"

#include "proto/base/text.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/stat.h>

static int setup_trimmed(void **state)
{
    int rc = setup(state);
    ((struct journal_fixture *)*state)->config.trimmed = true;
    return rc;
}

/* When line n was written. */
static int64_t time_of(int n)
{
    return START_MS + (n - 1) * PL_MINUTE_MS;
}

static uint64_t trim(struct journal_fixture *f, int before_line, uint64_t least)
{
    uint64_t cut;
    if (journal_trim(f->journal, time_of(before_line), least, &cut, &f->why) != PL_OK)
        fail_msg("%s", f->why.text);
    return cut;
}

struct seen {
    uint64_t first, last;
};

static enum pl_err see(void *ctx, uint64_t n, struct pl_span line, struct pl_why *why)
{
    struct seen *seen = ctx;
    char expect[32], text[512];
    (void)why;
    seen->first = seen->first == 0 ? n : seen->first;
    assert_int_equal(n, seen->last == 0 ? n : seen->last + 1);
    seen->last = n;
    snprintf(text, sizeof(text), "%.*s", PL_SPAN_FMT(line));
    snprintf(expect, sizeof(expect), ",\"i\":%d}", (int)n);
    assert_non_null(strstr(text, expect));
    return PL_OK;
}

static void assert_lines(struct journal_fixture *f, uint64_t from, uint64_t first, uint64_t last)
{
    struct seen seen = {0};
    assert_int_equal(journal_visit(f->journal, from, see, &seen, &f->why), PL_OK);
    assert_int_equal(seen.first, first);
    assert_int_equal(seen.last, last);
}

static uint64_t size_of(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return (uint64_t)st.st_size;
}

static void run(struct journal_fixture *f, const char *script)
{
    char command[512];
    snprintf(command, sizeof(command), "cd '%s' && %s", f->dir, script);
    assert_int_equal(system(command), 0);
}

static size_t alarms(struct journal_fixture *f, char text[ALARM_TEXT])
{
    struct journal_status status;
    journal_status(f->journal, &status);
    memcpy(text, status.alarms.text[0], ALARM_TEXT);
    return status.alarms.count;
}

/* ---- */

static void what_is_old_goes_and_the_rest_goes_on(void **state)
{
    struct journal_fixture *f = *state;
    struct journal_mark base, end, again;
    open_it(f);
    add(f, 1, 800);
    const uint64_t before = journal_bytes(f->journal);
    assert_int_equal(trim(f, 256, 1), 0);      /* line 257 is the first that it may begin with */
    assert_int_equal(trim(f, 700, before), 0); /* not worth it */
    const uint64_t cut = trim(f, 700, 1);
    assert_in_range(cut, before / 2, before * 2 / 3);
    assert_int_equal(journal_bytes(f->journal), before - cut);
    journal_base(f->journal, &base);
    assert_int_equal(base.n, 512);
    for (int i = 0; i < 2; i++)
        assert_int_equal(size_of(f->paths[i]), before - cut);
    assert_lines(f, 0, 513, 800);
    assert_lines(f, 5, 513, 800);
    assert_lines(f, 770, 770, 800);
    add(f, 801, 1100);
    assert_lines(f, 1025, 1025, 1100);
    assert_lines(f, 0, 513, 1100);
    journal_end(f->journal, &end);
    close_it(f);
    run(f, "cmp 0.ndjson 1.ndjson && test ! -e 0.ndjson.tmp");
    open_it(f);
    journal_end(f->journal, &again);
    assert_memory_equal(&end, &again, sizeof(end));
    assert_lines(f, 0, 513, 1100);
    assert_lines(f, 1030, 1030, 1100);
    trim(f, 1100, 1); /* and once more */
    assert_lines(f, 0, 1025, 1100);
    add(f, 1101, 1101);
    close_it(f);
    open_it(f);
    assert_lines(f, 0, 1025, 1101);
    journal_base(f->journal, &base);
    assert_int_equal(base.n, 1024);
}

/* SPEC.md: a part verifies by itself, from its first line's number and hash on. */
static void the_rest_names_what_is_gone(void **state)
{
    struct journal_fixture *f = *state;
    struct journal_mark base;
    char hash[2 * PL_SHA256_BYTES + 1];
    open_it(f);
    add(f, 1, 300);
    run(f, "sed -n 256p 0.ndjson | tr -d '\\n' | sha256sum | cut -c1-64 > hash");
    trim(f, 300, 1);
    journal_base(f->journal, &base);
    pl_hex_encode(pl_span(base.hash, sizeof(base.hash)), hash);
    run(f, "sed -n 1p 0.ndjson | grep -q '^{\"n\":257,' && "
           "sed -n 1p 0.ndjson | grep -q '\"previous\":\"'$(cat hash)'\"'");
    struct pl_buf known;
    char path[96];
    pl_buf_init(&known, 128);
    pl_path_join(path, sizeof(path), f->dir, "hash");
    assert_int_equal(pl_file_read(path, "hash", false, &known, NULL), PL_OK);
    assert_memory_equal(known.data, hash, 64);
    pl_buf_release(&known);
}

static void a_journal_that_is_never_trimmed_does_not_begin_later(void **state)
{
    struct journal_fixture *f = *state;
    uint64_t cut;
    open_it(f);
    add(f, 1, 300);
    trim(f, 300, 1);
    close_it(f);
    f->config.trimmed = false;
    assert_int_equal(journal_open(&f->journal, &f->config, &f->why), PL_ECORRUPT);
    run(f, "rm *.ndjson");
    f->config.create = true;
    open_it(f);
    add(f, 1, 1);
    assert_int_equal(journal_trim(f->journal, INT64_MAX, 0, &cut, &f->why), PL_EINVAL);
}

/* Each path has the file of before or of after: all that a crash can leave. */
static void a_crash_within_a_trim_loses_nothing(void **state)
{
    struct journal_fixture *f = *state;
    for (int which = 0; which < 2; which++) {
        char text[ALARM_TEXT], script[128];
        const int last = which == 0 ? 600 : 1601;
        open_it(f);
        add(f, which == 0 ? 1 : 602, last);
        snprintf(script, sizeof(script), "cp %d.ndjson old && cp old %d.ndjson.tmp", which, which);
        run(f, script);
        assert_true(trim(f, last, 1) > 0);
        close_it(f);
        snprintf(script, sizeof(script),
                 "cp %d.ndjson short && mv old %d.ndjson && echo > %d.ndjson.tmp", 1 - which, which,
                 which);
        run(f, script);
        open_it(f);
        assert_int_equal(alarms(f, text), 0);
        assert_lines(f, 0, which == 0 ? 513 : 1537, (uint64_t)last);
        run(f, "cmp 0.ndjson short && cmp 1.ndjson short && test ! -e 0.ndjson.tmp -a ! -e "
               "1.ndjson.tmp");
        add(f, last + 1, last + 1);
        close_it(f);
        run(f, "cmp 0.ndjson 1.ndjson");
    }
}

/* A path that was away during a trim and came back: behind, or from before all that is left. */
static void a_disk_that_comes_back_is_brought_up(void **state)
{
    struct journal_fixture *f = *state;
    char text[ALARM_TEXT];
    open_it(f);
    add(f, 1, 300);
    run(f, "cp 1.ndjson early");
    add(f, 301, 600);
    run(f, "cp 1.ndjson late");
    add(f, 601, 620);
    trim(f, 620, 1);
    close_it(f);
    run(f, "cp late 1.ndjson");
    open_it(f);
    assert_int_equal(alarms(f, text), 0);
    assert_lines(f, 0, 513, 620);
    close_it(f);
    run(f, "cmp 0.ndjson 1.ndjson && cp early 1.ndjson");
    open_it(f);
    assert_int_equal(alarms(f, text), 1);
    assert_non_null(strstr(text, "1.ndjson.outdated"));
    close_it(f);
    run(f, "cmp 0.ndjson 1.ndjson && cmp 1.ndjson.outdated early && : > 1.ndjson");
    open_it(f); /* an empty one is filled */
    assert_lines(f, 0, 513, 620);
    close_it(f);
    run(f, "cmp 0.ndjson 1.ndjson && rm 1.ndjson");
    open_it(f);
    assert_int_equal(alarms(f, text), 1);
    close_it(f);
    run(f, "cmp 0.ndjson 1.ndjson");
}

static void another_story_is_refused_wherever_it_begins(void **state)
{
    struct journal_fixture *f = *state;
    open_it(f);
    add(f, 1, 600);
    close_it(f);
    run(f, "mkdir other && mv *.ndjson other");
    f->config.create = true;
    f->now_ms = START_MS + 1;
    open_it(f);
    add(f, 1, 610);
    trim(f, 610, 1);
    close_it(f);
    run(f, "cp other/1.ndjson 1.ndjson");
    assert_int_equal(journal_open(&f->journal, &f->config, &f->why), PL_EFORK);
    assert_non_null(strstr(f->why.text, "1.ndjson"));
}

static void damage_is_restored_from_a_trimmed_path(void **state)
{
    struct journal_fixture *f = *state;
    char text[ALARM_TEXT];
    open_it(f);
    add(f, 1, 600);
    run(f, "cp 0.ndjson old");
    trim(f, 600, 1);
    close_it(f);
    run(f, "cp 0.ndjson whole && sed -i '1s/\"i\":513/\"i\":999/' 0.ndjson");
    open_it(f); /* its first line */
    assert_int_equal(alarms(f, text), 1);
    assert_lines(f, 0, 513, 600);
    close_it(f);
    run(f, "cmp 0.ndjson whole && sed -i '1s/n/m/' 0.ndjson");
    assert_int_equal(journal_open(&f->journal, &f->config, &f->why), PL_ECORRUPT);
    run(f, "cp old 0.ndjson && sed -i '560s/\"i\":560/\"i\":999/' 0.ndjson");
    open_it(f); /* and of one that begins earlier */
    assert_int_equal(alarms(f, text), 1);
    assert_lines(f, 0, 513, 600);
    close_it(f);
    run(f, "cmp 0.ndjson whole && cmp 1.ndjson whole");
}

/* Where the clock went back nothing is cut: its lines look older than they are. */
static void lines_of_a_wrong_clock_stay(void **state)
{
    struct journal_fixture *f = *state;
    open_it(f);
    add(f, 1, 300);
    const int64_t right_ms = f->now_ms;
    f->now_ms -= 365 * PL_DAY_MS;
    add(f, 301, 900);
    assert_true(trim(f, 250, 1) == 0);
    trim(f, 300, 1);
    assert_lines(f, 0, 257, 900); /* lines 301 and after are not known to be older than 300 */
    f->now_ms = right_ms + PL_DAY_MS;
    add(f, 901, 1400);
    uint64_t cut;
    assert_int_equal(journal_trim(f->journal, f->now_ms, 1, &cut, &f->why), PL_OK);
    assert_lines(f, 0, 1281, 1400); /* what came after is in order again, and old */
}

static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes == RLIM_INFINITY ? limit.rlim_max : bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_trim_without_room_leaves_all_as_it_was(void **state)
{
    struct journal_fixture *f = *state;
    uint64_t cut;
    open_it(f);
    add(f, 1, 600);
    limit_files(4096);
    assert_int_not_equal(journal_trim(f->journal, time_of(600), 1, &cut, &f->why), PL_OK);
    limit_files(RLIM_INFINITY);
    assert_int_equal(cut, 0);
    assert_lines(f, 0, 1, 600);
    run(f, "test ! -e 0.ndjson.tmp -a ! -e 1.ndjson.tmp");
    add(f, 601, 610);
    trim(f, 610, 1);
    assert_lines(f, 0, 513, 610);
    close_it(f);
    run(f, "cmp 0.ndjson 1.ndjson");
}

/* A path that cannot be replaced keeps its beginning; everything else works, and the next trim cuts
 * it, too. */
static void a_path_that_cannot_be_replaced_goes_on(void **state)
{
    struct journal_fixture *f = *state;
    uint64_t cut;
    open_it(f);
    add(f, 1, 600);
    /* a folder of that name in which something is: a rename over the path would work, so the file
     * that is to take its place cannot be made */
    run(f, "mkdir -p 1.ndjson.tmp/full");
    assert_int_not_equal(journal_trim(f->journal, time_of(600), 1, &cut, &f->why), PL_OK);
    assert_non_null(strstr(f->why.text, "1.ndjson"));
    assert_int_equal(cut, 0);
    assert_lines(f, 0, 1, 600);
    add(f, 601, 601);
    run(f, "rm -r 1.ndjson.tmp");
    assert_true(trim(f, 601, 1) > 0);
    assert_lines(f, 0, 513, 601);
}

struct looks {
    struct journal_fixture *f;
    atomic_bool over;
    atomic_int failed;
};

static enum pl_err see_one(void *ctx, uint64_t n, struct pl_span line, struct pl_why *why)
{
    char expect[32];
    (void)ctx, (void)why;
    snprintf(expect, sizeof(expect), "{\"n\":%d,", (int)n);
    const bool right = line.len > strlen(expect) && memcmp(line.data, expect, strlen(expect)) == 0;
    return right ? PL_EAGAIN : PL_ECORRUPT; /* one is enough */
}

static void *look_all_the_time(void *ctx)
{
    struct looks *looks = ctx;
    while (!looks->over)
        looks->failed += journal_visit(looks->f->journal, 0, see_one, NULL, NULL) != PL_EAGAIN;
    return NULL;
}

/* Between one path's new file and the next. */
static void no_look_falls_between_two_paths(void **state)
{
    struct looks looks = {.f = *state};
    pthread_t thread;
    open_it(looks.f);
    add(looks.f, 1, 300);
    assert_int_equal(pthread_create(&thread, NULL, look_all_the_time, &looks), 0);
    for (int n = 300; n < 30000; n += 256) {
        add(looks.f, n + 1, n + 256);
        trim(looks.f, n + 1, 1);
    }
    looks.over = true;
    pthread_join(thread, NULL);
    assert_int_equal(looks.failed, 0);
}

static void *add_many(void *ctx)
{
    add(ctx, 601, 1400);
    return NULL;
}

static void appends_and_readers_go_on_meanwhile(void **state)
{
    struct journal_fixture *f = *state;
    pthread_t thread;
    open_it(f);
    add(f, 1, 600);
    assert_int_equal(pthread_create(&thread, NULL, add_many, f), 0);
    for (int line = 257; line <= 600; line += 256) {
        struct seen seen = {0};
        assert_true(trim(f, line + 1, 1) > 0);
        assert_int_equal(journal_visit(f->journal, 0, see, &seen, &f->why), PL_OK);
        assert_int_equal(seen.first, line);
        assert_in_range(seen.last, 600, 1400);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_lines(f, 0, 513, 1400);
    close_it(f);
    run(f, "cmp 0.ndjson 1.ndjson");
    open_it(f);
    assert_lines(f, 0, 513, 1400);
}

/* A trim makes room in a full journal. */
static void a_full_journal_has_room_again(void **state)
{
    struct journal_fixture *f = *state;
    f->config.max_bytes = 100000;
    open_it(f);
    int n = 0;
    while (journal_append(f->journal, PL_SPAN_LIT("{\"i\":0}"), NULL, &f->why) == PL_OK) {
        f->now_ms += PL_MINUTE_MS;
        n++;
    }
    assert_int_equal(f->why.err, PL_ENOSPC);
    struct journal_status status;
    journal_status(f->journal, &status);
    assert_true(status.nearly_full);
    assert_true(trim(f, n, 1) > 0);
    journal_status(f->journal, &status);
    assert_false(status.nearly_full);
    assert_int_equal(status.lines, n);
    assert_int_equal(journal_append(f->journal, PL_SPAN_LIT("{\"i\":0}"), NULL, &f->why), PL_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_old_goes_and_the_rest_goes_on, setup_trimmed,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_rest_names_what_is_gone, setup_trimmed, teardown),
        cmocka_unit_test_setup_teardown(a_journal_that_is_never_trimmed_does_not_begin_later,
                                        setup_trimmed, teardown),
        cmocka_unit_test_setup_teardown(a_crash_within_a_trim_loses_nothing, setup_trimmed,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_disk_that_comes_back_is_brought_up, setup_trimmed,
                                        teardown),
        cmocka_unit_test_setup_teardown(another_story_is_refused_wherever_it_begins, setup_trimmed,
                                        teardown),
        cmocka_unit_test_setup_teardown(damage_is_restored_from_a_trimmed_path, setup_trimmed,
                                        teardown),
        cmocka_unit_test_setup_teardown(lines_of_a_wrong_clock_stay, setup_trimmed, teardown),
        cmocka_unit_test_setup_teardown(a_trim_without_room_leaves_all_as_it_was, setup_trimmed,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_path_that_cannot_be_replaced_goes_on, setup_trimmed,
                                        teardown),
        cmocka_unit_test_setup_teardown(no_look_falls_between_two_paths, setup_trimmed, teardown),
        cmocka_unit_test_setup_teardown(appends_and_readers_go_on_meanwhile, setup_trimmed,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_full_journal_has_room_again, setup_trimmed, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
