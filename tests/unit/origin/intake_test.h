/* One block at a time through an origin's data path, and the books that have to balance after it.
 */
#ifndef POLDER_TESTS_ORIGIN_INTAKE_TEST_H
#define POLDER_TESTS_ORIGIN_INTAKE_TEST_H

#include "intake_fixture.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct test {
    struct rig rig;
    struct pl_buf plain, block, other;
};

static inline int setup(void **state)
{
    struct test *t = calloc(1, sizeof(*t));
    rig_init(&t->rig);
    rig_open(&t->rig);
    pl_buf_init(&t->plain, LIMIT_BLOCK_PLAIN_BYTES);
    pl_buf_init(&t->block, 4 * LIMIT_BLOCK_BYTES);
    pl_buf_init(&t->other, 4 * LIMIT_BLOCK_BYTES);
    *state = t;
    return 0;
}

static inline int teardown(void **state)
{
    struct test *t = *state;
    rig_close(&t->rig);
    rig_release(&t->rig);
    pl_buf_release(&t->plain);
    pl_buf_release(&t->block);
    pl_buf_release(&t->other);
    free(t);
    return 0;
}

/* count events of one account into t->plain, with message ids PREFIX0, PREFIX1 … */
static inline void events(struct test *t, uint64_t account, const char *prefix, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        char id[64];
        snprintf(id, sizeof(id), "%s%u", prefix == NULL ? "" : prefix, i);
        put_event(&t->plain, account, NOON_MS + i, "visitor", prefix == NULL ? NULL : id, "n");
    }
}

/* Seals what stands in t->plain as the edge's next block, into t->block. */
static inline void seal(struct test *t, int edge, uint32_t count)
{
    pl_buf_reset(&t->block);
    rig_seal(&t->rig, edge, pl_buf_span(&t->plain), count, &t->block);
    pl_buf_reset(&t->plain);
}

static inline enum block_verdict send(struct test *t, int edge)
{
    return rig_send(&t->rig, edge, pl_buf_span(&t->block));
}

/* The one equation, from the ledger's side. */
static inline struct ledger_counts totals(struct test *t)
{
    struct ledger_counts c;
    ledger_totals(t->rig.ledger, &c);
    uint64_t dropped = 0;
    for (int i = 0; i < DROP_COUNT; i++)
        dropped += c.dropped[i];
    assert_true(c.events == c.stored + c.duplicate + dropped);
    assert_true(c.stored == rig_count(&t->rig, FAMILY_VAULT));
    return c;
}

#endif
