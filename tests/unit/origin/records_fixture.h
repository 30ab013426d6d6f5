/* A store with a keyring and a clock that the test sets, for the tests of the origin's records. */
#ifndef POLDER_TESTS_ORIGIN_RECORDS_FIXTURE_H
#define POLDER_TESTS_ORIGIN_RECORDS_FIXTURE_H

#include "keyring_fixture.h"
#include "origin/families.h"
#include "proto/wire/json.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/resource.h>

#include <cmocka.h>

#define DAY_ONE_MS INT64_C(1767225600000) /* 2026-01-01T00:00:00Z */

struct records {
    struct keyring_fixture f;
    int64_t now_ms;
    struct pl_clock clock;
    struct keyring *keyring;
    struct store *store;
    struct json_parser *parser;
    struct pl_why why; /* of the last call that took it */
};

static inline int64_t records_time(void *ctx)
{
    return ((struct records *)ctx)->now_ms;
}

static inline void must(enum pl_err err, const struct pl_why *why)
{
    if (err != PL_OK)
        fail_msg("%s: %s", pl_err_word(err), why->text);
}

/* Opens what a restart opens. */
static inline void records_open(struct records *r)
{
    char path[96];
    snprintf(path, sizeof(path), "%s/store", r->f.dir);
    struct store_config config = {.path = path,
                                  .families = origin_families,
                                  .family_count = FAMILY_COUNT,
                                  .cache_bytes = 1u << 20,
                                  .write_buffer_bytes = 8u << 20,
                                  .background_threads = 1,
                                  .log = &r->f.silent};
    must(store_open(&r->store, &config, &r->why), &r->why);
    must(keyring_open(&r->keyring, &r->f.config, &r->why), &r->why);
    r->f.config.create = false;
}

static inline void records_close(struct records *r)
{
    keyring_close(r->keyring);
    store_close(r->store);
}

static inline void records_init(struct records *r)
{
    memset(r, 0, sizeof(*r));
    keyring_fixture_init(&r->f);
    r->now_ms = DAY_ONE_MS;
    r->clock = (struct pl_clock){.wall_ms = records_time, .mono_ms = records_time, .ctx = r};
    must(json_parser_new(&r->parser, 1u << 20, 24), &r->why);
    records_open(r);
}

static inline void records_release(struct records *r)
{
    records_close(r);
    json_parser_free(r->parser);
    keyring_fixture_release(&r->f);
}

/* Valid until the next call. */
static inline struct json parse(struct records *r, const char *text)
{
    struct json root;
    must(json_parse(r->parser, pl_span_str(text), &root, &r->why), &r->why);
    return root;
}

static inline size_t count_rows(struct records *r, unsigned family)
{
    struct store_scan *scan;
    struct pl_span key, value;
    size_t n = 0;
    must(store_scan_new(&scan, r->store, family, pl_span(NULL, 0), pl_span(NULL, 0)), &r->why);
    while (store_scan_next(scan, &key, &value) == PL_OK)
        n++;
    store_scan_free(scan);
    return n;
}

/* The disk takes nothing, or everything again. */
static inline void records_disk(bool works)
{
    struct rlimit limit;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = works ? limit.rlim_max : 0;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static inline void records_recover(struct records *r)
{
    records_disk(true);
    must(store_recover(r->store, &r->why), &r->why);
}

/* Takes a row out of the store, to have it turn up later; the caller releases *row. */
static inline void records_take(struct records *r, unsigned family, struct pl_span key,
                                struct pl_buf *row)
{
    struct store_batch *batch;
    pl_buf_init(row, 1u << 16);
    must(store_get(r->store, family, key, row), &r->why);
    must(store_batch_new(&batch), &r->why);
    store_batch_delete(batch, r->store, family, key);
    must(store_write(r->store, batch, true, &r->why), &r->why);
    store_batch_free(batch);
}

static inline void records_put(struct records *r, unsigned family, struct pl_span key,
                               struct pl_buf *row)
{
    must(store_put(r->store, family, key, pl_buf_span(row), true, &r->why), &r->why);
    pl_buf_release(row);
}

#endif
