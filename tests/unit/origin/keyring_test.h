/* A keyring that is opened, spoilt and opened again. */
#ifndef POLDER_TESTS_ORIGIN_KEYRING_TEST_H
#define POLDER_TESTS_ORIGIN_KEYRING_TEST_H

#include "keyring_fixture.h"
#include "origin/keyring/keyring_file.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <fcntl.h>
#include <unistd.h>

static inline int setup(void **state)
{
    struct keyring_fixture *f = calloc(1, sizeof(*f));
    keyring_fixture_init(f);
    *state = f;
    return 0;
}

static inline int teardown(void **state)
{
    keyring_fixture_release(*state);
    free(*state);
    return 0;
}

static inline struct keyring *open_ok(struct keyring_fixture *f)
{
    struct keyring *k = NULL;
    struct pl_why why = {0};
    if (keyring_open(&k, &f->config, &why) != PL_OK)
        fail_msg("%s", why.text);
    f->config.create = false;
    return k;
}

static inline enum pl_err open_err(struct keyring_fixture *f, struct pl_why *why)
{
    struct keyring *k = NULL;
    memset(why, 0, sizeof(*why));
    enum pl_err err = keyring_open(&k, &f->config, why);
    if (err == PL_OK)
        keyring_close(k);
    return err;
}

static inline void slurp(const char *path, struct pl_buf *out)
{
    pl_buf_init(out, 1 << 20);
    assert_int_equal(pl_file_read(path, "file", false, out, NULL), PL_OK);
}

static inline size_t alarms(struct keyring *k)
{
    struct keyring_status *s = malloc(sizeof(*s));
    keyring_status(k, s);
    size_t n = s->alarms.count;
    free(s);
    return n;
}

/* The wrapped bytes of every key in a file, as they stand. */
static inline size_t wraps_of(struct pl_span file, struct pl_span *out, size_t max)
{
    struct keyring_walk walk;
    struct keyring_record record;
    size_t n = 0;
    assert_int_equal(keyring_walk_begin(&walk, file), PL_OK);
    while (keyring_walk_next(&walk, &record) == PL_OK)
        if (record.kind != KEYRING_DESTROY && n < max)
            out[n++] = pl_span(file.data + record.wrap_offset, KEYRING_WRAP_BYTES);
    return n;
}

#endif
