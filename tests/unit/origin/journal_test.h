/* A journal on two paths, in a folder of its own, with a clock that stands still. */
#ifndef POLDER_TESTS_ORIGIN_JOURNAL_TEST_H
#define POLDER_TESTS_ORIGIN_JOURNAL_TEST_H

#include "origin/journal/journal.h"
#include "proto/base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define START_MS INT64_C(1767225600000)

struct journal_fixture {
    char dir[64];
    char paths[2][96];
    const char *list[2];
    int64_t now_ms; /* a minute goes by with each line */
    struct pl_clock clock;
    struct pl_log silent;
    struct journal_config config;
    struct journal *journal;
    struct pl_why why;
};

static inline int64_t journal_now(void *ctx)
{
    return ((struct journal_fixture *)ctx)->now_ms;
}

static inline int setup(void **state)
{
    struct journal_fixture *f = calloc(1, sizeof(*f));
    snprintf(f->dir, sizeof(f->dir), "/dev/shm/polder-journal-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    for (int i = 0; i < 2; i++) {
        pl_path_join(f->paths[i], sizeof(f->paths[i]), f->dir, i == 0 ? "0.ndjson" : "1.ndjson");
        f->list[i] = f->paths[i];
    }
    f->now_ms = START_MS;
    f->clock = (struct pl_clock){.wall_ms = journal_now, .mono_ms = journal_now, .ctx = f};
    f->silent = (struct pl_log){.fd = -1, .level = PL_LOG_ERROR, .clock = pl_clock_system()};
    f->config = (struct journal_config){.paths = f->list,
                                        .path_count = 2,
                                        .what = "redo log",
                                        .create = true,
                                        .max_bytes = 16u << 20,
                                        .clock = &f->clock,
                                        .log = &f->silent};
    *state = f;
    return 0;
}

static inline int teardown(void **state)
{
    struct journal_fixture *f = *state;
    char command[128];
    journal_close(f->journal);
    snprintf(command, sizeof(command), "rm -rf '%s'", f->dir);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

static inline void open_it(struct journal_fixture *f)
{
    if (journal_open(&f->journal, &f->config, &f->why) != PL_OK)
        fail_msg("%s", f->why.text);
    f->config.create = false;
}

static inline void close_it(struct journal_fixture *f)
{
    journal_close(f->journal);
    f->journal = NULL;
}

static inline void add(struct journal_fixture *f, int from, int to)
{
    char object[64];
    for (int i = from; i <= to; i++) {
        snprintf(object, sizeof(object), "{\"i\":%d}", i);
        if (journal_append(f->journal, pl_span_str(object), NULL, &f->why) != PL_OK)
            fail_msg("%s", f->why.text);
        f->now_ms += PL_MINUTE_MS;
    }
}

#endif
