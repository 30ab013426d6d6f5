/* A vault with a few days' events, and an exporter. */
#ifndef POLDER_TESTS_ORIGIN_EXPORT_TEST_H
#define POLDER_TESTS_ORIGIN_EXPORT_TEST_H

#include "intake_fixture.h"
#include "origin/vault/export.h"
#include "proto/base/text.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct test {
    struct rig rig;
    struct exporter *exporter;
    struct pl_buf out;
};

static inline int setup(void **state)
{
    struct test *t = calloc(1, sizeof(*t));
    rig_init(&t->rig);
    t->rig.now_ms += 10 * PL_DAY_MS; /* the events are of the days before */
    rig_open(&t->rig);
    assert_int_equal(exporter_new(&t->exporter, t->rig.store, t->rig.keyring), PL_OK);
    pl_buf_init(&t->out, 16 << 20);
    *state = t;
    return 0;
}

static inline int teardown(void **state)
{
    struct test *t = *state;
    exporter_free(t->exporter);
    rig_close(&t->rig);
    rig_release(&t->rig);
    pl_buf_release(&t->out);
    free(t);
    return 0;
}

static inline void put(struct test *t, uint64_t account, int64_t day, const char *visitor,
                       const char *message)
{
    rig_put(&t->rig, account, day, visitor, message, message);
}

static inline struct export_cursor begin(uint64_t account, int64_t first, int64_t last)
{
    struct export_cursor c;
    int64_t noon = pl_day_of(NOON_MS);
    struct export_request r = export_request_of(account, noon + first, noon + last);
    assert_int_equal(export_begin(&c, &r, NULL), PL_OK);
    return c;
}

static inline enum pl_err next(struct test *t, struct export_cursor *c, size_t max_bytes)
{
    struct pl_why why;
    return export_next(t->exporter, c, pl_clock_system(), 10000, max_bytes, NULL, &t->out, &why);
}

/* Everything from the cursor on into t->out; the number of lines. */
static inline size_t drain(struct test *t, struct export_cursor *c, size_t max_bytes)
{
    pl_buf_reset(&t->out);
    enum pl_err err;
    while ((err = next(t, c, max_bytes)) == PL_OK)
        ;
    assert_int_equal(err, PL_ENOTFOUND);
    size_t lines = 0;
    for (size_t i = 0; i < t->out.len; i++)
        lines += t->out.data[i] == '\n';
    assert_int_equal(lines, c->events);
    return lines;
}

static inline struct export_cursor begin_as(uint64_t account, enum export_format format)
{
    struct export_cursor c = begin(account, 0, 9);
    c.request.format = format;
    return c;
}

static inline bool has(struct test *t, const char *text)
{
    return memmem(t->out.data, t->out.len, text, strlen(text)) != NULL;
}

static inline void put_typed(struct test *t, const char *visitor, const char *user,
                             enum event_type type, const char *message)
{
    static struct event e;
    event_clear(&e);
    event_set_u64(&e, EVENT_ACCOUNT, 1);
    event_set_u64(&e, EVENT_TYPE, type);
    event_set_i64(&e, EVENT_ACCEPTED_MS, NOON_MS + t->rig.count % 3 * PL_DAY_MS + t->rig.count);
    event_set_str(&e, EVENT_MESSAGE_ID, pl_span_str(message));
    if (visitor != NULL)
        event_set_str(&e, EVENT_VISITOR_ID, pl_span_str(visitor));
    if (user != NULL)
        event_set_str(&e, EVENT_USER_ID, pl_span_str(user));
    assert_int_equal(event_encode(&e, &t->rig.plain), PL_OK);
    t->rig.count++;
}

static inline struct export_cursor begin_visitor(const char *visitor)
{
    struct export_cursor c = begin(1, 0, 9);
    struct export_request r = c.request;
    r.visitor_len = strlen(visitor);
    memcpy(r.visitor, visitor, r.visitor_len);
    assert_int_equal(export_begin(&c, &r, NULL), PL_OK);
    return c;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
