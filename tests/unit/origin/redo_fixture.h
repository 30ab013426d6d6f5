/* A redo log on two paths beside a store that can be copied, restored, and made to fail. */
#ifndef POLDER_TESTS_ORIGIN_REDO_FIXTURE_H
#define POLDER_TESTS_ORIGIN_REDO_FIXTURE_H

#include "origin/journal/redo.h"
#include "records_fixture.h"

struct fixture {
    struct records r;
    char paths[2][96];
    const char *list[2];
    struct redo_config config;
    struct redo *redo;
    /* what apply saw */
    struct redo_record seen[1024];
    char rows[1024][64];
    size_t seen_count;
    size_t fail_at; /* the number of the record that cannot be applied; 0: all can */
};

static inline int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    records_init(&f->r);
    for (int i = 0; i < 2; i++) {
        pl_path_join(f->paths[i], sizeof(f->paths[i]), f->r.f.dir,
                     i == 0 ? "redo-1.ndjson" : "redo-2.ndjson");
        f->list[i] = f->paths[i];
    }
    f->config = (struct redo_config){.paths = f->list,
                                     .path_count = 2,
                                     .max_bytes = 16u << 20,
                                     .clock = &f->r.clock,
                                     .log = &f->r.f.silent};
    *state = f;
    return 0;
}

static inline int teardown(void **state)
{
    struct fixture *f = *state;
    redo_close(f->redo);
    records_release(&f->r);
    free(f);
    return 0;
}

static inline enum pl_err apply(void *ctx, const struct redo_record *record, struct pl_why *why)
{
    struct fixture *f = ctx;
    if (f->seen_count + 1 == f->fail_at)
        return pl_fail(why, PL_EIO, "this one cannot be applied");
    f->seen[f->seen_count] = *record;
    snprintf(f->rows[f->seen_count++], sizeof(f->rows[0]), "%.*s", PL_SPAN_FMT(record->row));
    return PL_OK;
}

static inline enum pl_err try_open(struct fixture *f)
{
    f->config.store = f->r.store;
    return redo_open(&f->redo, &f->config, &f->r.why);
}

/* As a start does. Gives whether the database was found to be restored. */
static inline bool start(struct fixture *f)
{
    must(try_open(f), &f->r.why);
    bool restored = redo_is_restored(f->redo);
    f->seen_count = 0;
    must(redo_replay(f->redo, apply, f, &f->r.why), &f->r.why);
    return restored;
}

static inline void stop(struct fixture *f)
{
    redo_close(f->redo);
    f->redo = NULL;
}

/* As kill -9 does: nothing is noted at the end. The store's own log has what was written. */
static inline void crash(struct fixture *f)
{
    struct redo *redo = f->redo;
    f->redo = NULL;
    records_disk(false);
    redo_close(redo);
    records_disk(true);
}

static inline void note_token(struct fixture *f, uint8_t id)
{
    struct redo_record record = {.kind = REDO_TOKEN, .id = {.bytes = {id}}};
    must(redo_note(f->redo, &record, &f->r.why), &f->r.why);
    must(store_sync(f->r.store, &f->r.why), &f->r.why); /* the change itself */
}

static inline void copy_store(struct fixture *f)
{
    char path[96];
    pl_path_join(path, sizeof(path), f->r.f.dir, "copy");
    must(store_checkpoint(f->r.store, path, &f->r.why), &f->r.why);
}

static inline void restore_store(struct fixture *f)
{
    char command[256];
    records_close(&f->r);
    snprintf(command, sizeof(command), "cd %s && rm -rf store && cp -a copy store", f->r.f.dir);
    assert_int_equal(system(command), 0);
    records_open(&f->r);
}

static inline void restart_store(struct fixture *f)
{
    records_close(&f->r);
    records_open(&f->r);
}

#endif
