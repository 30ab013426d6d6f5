#include "proto/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static int64_t fixed(void *ctx)
{
    (void)ctx;
    return 1795352613123;
}

static const struct pl_clock clock_2026 = {.wall_ms = fixed, .mono_ms = fixed};

struct pipe_log {
    int ends[2];
    struct pl_log log;
    char text[8192];
};

static int setup(void **state)
{
    static struct pipe_log p;
    p = (struct pipe_log){.log = {.level = PL_LOG_INFO, .clock = &clock_2026}};
    if (pipe2(p.ends, O_CLOEXEC) != 0 || fcntl(p.ends[0], F_SETFL, O_NONBLOCK) != 0)
        return -1;
    p.log.fd = p.ends[1];
    *state = &p;
    return 0;
}

static int teardown(void **state)
{
    struct pipe_log *p = *state;
    close(p->ends[0]);
    close(p->ends[1]);
    return 0;
}

static const char *written(struct pipe_log *p)
{
    ssize_t len = read(p->ends[0], p->text, sizeof(p->text) - 1);
    p->text[len < 0 ? 0 : len] = '\0';
    return p->text;
}

static void a_line_has_time_level_room_and_sentence(void **state)
{
    struct pipe_log *p = *state;
    pl_log(&p->log, PL_LOG_WARN, "spool", "disk is at %d%% free_bytes=%d", 91, 512);
    assert_string_equal(written(p),
                        "2026-11-22T13:03:33.123Z warn spool disk is at 91% free_bytes=512\n");
}

static void quieter_levels_and_silent_logs_write_nothing(void **state)
{
    struct pipe_log *p = *state;
    pl_log(&p->log, PL_LOG_DEBUG, "spool", "detail");
    pl_log(NULL, PL_LOG_ERROR, "spool", "no log at all");
    struct pl_log silent = p->log;
    silent.fd = -1;
    pl_log(&silent, PL_LOG_ERROR, "spool", "silent");
    assert_string_equal(written(p), "");
    p->log.level = PL_LOG_DEBUG;
    pl_log(&p->log, PL_LOG_DEBUG, "spool", "detail");
    assert_string_equal(written(p), "2026-11-22T13:03:33.123Z debug spool detail\n");
}

static void nothing_in_a_line_can_start_another(void **state)
{
    struct pipe_log *p = *state;
    pl_log(&p->log, PL_LOG_ERROR, "http", "bad name '%s'", "a\nb\r\t\x1b[31m\x7f");
    assert_string_equal(written(p), "2026-11-22T13:03:33.123Z error http bad name 'a?b???[31m?'\n");
}

static void a_long_line_is_cut_and_says_so(void **state)
{
    struct pipe_log *p = *state;
    char longer[5000];
    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    pl_log(&p->log, PL_LOG_INFO, "http", "%s", longer);
    const char *line = written(p);
    assert_int_equal(strlen(line), 2048);
    assert_string_equal(line + 2048 - 5, "x...\n");
}

static void a_full_pipe_drops_the_line_and_nothing_else(void **state)
{
    struct pipe_log *p = *state;
    for (int i = 0; i < 5000; i++) { /* more than a pipe holds; the writing end may block */
        errno = ENOENT;
        pl_log(&p->log, PL_LOG_INFO, "http", "line %d %064d", i, 0);
        assert_int_equal(errno, ENOENT);
    }
    const char *text = written(p);
    assert_memory_equal(text, "2026-11-22T13:03:33.123Z info http line 0 ", 41);
    while (written(p)[0] != '\0')
        ;
    pl_log(&p->log, PL_LOG_INFO, "http", "room again");
    assert_string_equal(written(p), "2026-11-22T13:03:33.123Z info http room again\n");
}

static void levels_have_names(void **state)
{
    (void)state;
    enum pl_log_level level = PL_LOG_ERROR;
    assert_true(pl_log_level_parse("debug", &level));
    assert_int_equal(level, PL_LOG_DEBUG);
    assert_true(pl_log_level_parse("error", &level));
    assert_int_equal(level, PL_LOG_ERROR);
    assert_false(pl_log_level_parse("verbose", &level));
    assert_false(pl_log_level_parse("", &level));
    assert_int_equal(level, PL_LOG_ERROR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_line_has_time_level_room_and_sentence, setup, teardown),
        cmocka_unit_test_setup_teardown(quieter_levels_and_silent_logs_write_nothing, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(nothing_in_a_line_can_start_another, setup, teardown),
        cmocka_unit_test_setup_teardown(a_long_line_is_cut_and_says_so, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_pipe_drops_the_line_and_nothing_else, setup,
                                        teardown),
        cmocka_unit_test(levels_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
