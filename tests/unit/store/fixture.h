/* What the tests of this room share: a store in a directory of its own, and its files. */
#ifndef POLDER_TESTS_STORE_FIXTURE_H
#define POLDER_TESTS_STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "proto/base/file.h"
#include "proto/store/store.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define S(literal) PL_SPAN_LIT(literal)

enum { EVENTS, DEDUPE, BLOCKS, META, RUNS, FIXTURE_FAMILIES };
static const struct store_family fixture_families[] = {
    [EVENTS] = {.name = "events", .prefix_bytes = 4},
    [DEDUPE] = {.name = "dedupe", .point_reads = true},
    [BLOCKS] = {.name = "blocks", .short_lived = true},
    [META] = {.name = "meta", .compress = true},
    [RUNS] = {.name = "runs", .run_bytes = 4},
};

struct fixture {
    char dir[64];
    char path[96]; /* of the store */
    struct store_config config;
    struct store *store;
};

static inline void fixture_shell(const char *format, const char *path)
{
    char command[256];
    snprintf(command, sizeof(command), format, path);
    assert_int_equal(system(command), 0);
}

static inline int fixture_setup(void **state)
{
    static const struct pl_log silent = {.fd = -1};
    struct fixture *f = calloc(1, sizeof(*f));
    snprintf(f->dir, sizeof(f->dir), "/tmp/polder-store-XXXXXX");
    if (f == NULL || mkdtemp(f->dir) == NULL)
        return -1;
    snprintf(f->path, sizeof(f->path), "%s/db", f->dir);
    f->config = (struct store_config){.path = f->path,
                                      .families = fixture_families,
                                      .family_count = FIXTURE_FAMILIES,
                                      .recovery = STORE_RECOVER_TORN_TAIL,
                                      .cache_bytes = 2 << 20,
                                      .write_buffer_bytes = 8 << 20,
                                      .background_threads = 2,
                                      .log = &silent};
    *state = f;
    return 0;
}

static inline int fixture_teardown(void **state)
{
    struct fixture *f = *state;
    store_close(f->store);
    fixture_shell("rm -rf '%s'", f->dir);
    free(f);
    return 0;
}

static inline struct store *fixture_open(struct fixture *f)
{
    struct pl_why why = {0};
    if (store_open(&f->store, &f->config, &why) != PL_OK)
        fail_msg("cannot open: %s", why.text);
    return f->store;
}

static inline void fixture_close(struct fixture *f)
{
    store_close(f->store);
    f->store = NULL;
}

static inline void put(struct store *store, unsigned family, const char *key, const char *value)
{
    struct pl_why why = {0};
    if (store_put(store, family, pl_span_str(key), pl_span_str(value), false, &why) != PL_OK)
        fail_msg("cannot put %s: %s", key, why.text);
}

/* The value of a key is exactly this; NULL: there is none. */
static inline void assert_value(struct store *store, unsigned family, const char *key,
                                const char *value)
{
    struct pl_buf out;
    pl_buf_init(&out, 4 << 20);
    enum pl_err err = store_get(store, family, pl_span_str(key), &out);
    if (value == NULL) {
        assert_int_equal(err, PL_ENOTFOUND);
    } else {
        assert_int_equal(err, PL_OK);
        assert_true(pl_span_eq_str(pl_buf_span(&out), value));
    }
    pl_buf_release(&out);
}

/* The whole file. */
static inline struct pl_buf fixture_read(const char *path)
{
    struct pl_buf out;
    uint8_t block[65536];
    ssize_t n;
    pl_buf_init(&out, 256 << 20);
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    while ((n = read(fd, block, sizeof(block))) > 0)
        assert_int_equal(pl_buf_append(&out, block, (size_t)n), PL_OK);
    close(fd);
    return out;
}

static inline int fixture_each_in(const char *folder, const char *ending,
                                  void (*visit)(const char *path, void *ctx), void *ctx)
{
    int count = 0;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        size_t len = strlen(e->d_name), end = strlen(ending);
        char path[PATH_MAX];
        struct stat st;
        assert_int_equal(pl_path_join(path, sizeof(path), folder, e->d_name), PL_OK);
        if (e->d_name[0] == '.' || stat(path, &st) != 0)
            continue;
        if (S_ISDIR(st.st_mode))
            count += fixture_each_in(path, ending, visit, ctx);
        if (!S_ISREG(st.st_mode) || len < end || strcmp(e->d_name + len - end, ending) != 0)
            continue;
        count++;
        if (visit != NULL)
            visit(path, ctx);
    }
    closedir(dir);
    return count;
}

/* Calls visit with every file of the store whose name has this ending, those in its folders too;
 * how many there were. */
static inline int fixture_each_file(struct fixture *f, const char *ending,
                                    void (*visit)(const char *path, void *ctx), void *ctx)
{
    return fixture_each_in(f->path, ending, visit, ctx);
}

/* Flips a bit in the middle of the only place where the needle stands in the file. */
struct rot {
    struct pl_span needle;
    int hits;
};
static inline void fixture_rot_file(const char *path, void *ctx)
{
    struct rot *rot = ctx;
    struct pl_buf bytes = fixture_read(path);
    uint8_t *at = memmem(bytes.data, bytes.len, rot->needle.data, rot->needle.len);
    if (at != NULL) {
        off_t offset = at - bytes.data + (off_t)(rot->needle.len / 2);
        uint8_t flipped = bytes.data[offset] ^ 0x10;
        int fd = open(path, O_WRONLY);
        assert_int_equal(pwrite(fd, &flipped, 1, offset), 1);
        close(fd);
        rot->hits++;
    }
    pl_buf_release(&bytes);
}

static inline void fixture_rot(struct fixture *f, const char *ending, struct pl_span needle)
{
    struct rot rot = {.needle = needle};
    fixture_each_file(f, ending, fixture_rot_file, &rot);
    assert_int_equal(rot.hits, 1);
}

#endif
