/* What golden files cannot say: the checksum covers the write key, which differs in each run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "edge/dialects/crobox.h"

static struct {
    char warning[16];
    unsigned events;
    bool opted_out;
} got;

static enum pl_err claim(void *ctx, const struct dialect_claim *claim, struct pl_why *why)
{
    (void)ctx, (void)why;
    got.opted_out = claim->opted_out;
    assert_true(pl_span_eq_str(claim->key, "key"));
    return PL_OK;
}

static enum pl_err emit(void *ctx, struct event *event, struct pl_why *why)
{
    (void)ctx, (void)why;
    const struct pl_span warning = event_str(event, EVENT_WARNING);
    snprintf(got.warning, sizeof(got.warning), "%.*s", PL_SPAN_FMT(warning));
    got.events++;
    return PL_OK;
}

static const char *warning_of(const char *query)
{
    static struct event event;
    struct pl_buf scratch;
    struct pl_why why = {0};
    struct dialect_outcome outcome = {0};
    const struct dialect_sink sink = {.claim = claim, .emit = emit};
    pl_buf_init(&scratch, DIALECT_SCRATCH_BYTES);
    assert_int_equal(pl_buf_reserve(&scratch, DIALECT_SCRATCH_BYTES), PL_OK);
    const struct dialect_input input = {
        .method = DIALECT_GET, .query = pl_span_str(query), .scratch = &scratch, .event = &event};
    got.events = 0;
    assert_int_equal(dialect_crobox.routes[0].decode(&input, &sink, &outcome, &why), PL_OK);
    assert_int_equal(got.events, 1);
    pl_buf_release(&scratch);
    return got.warning;
}

static void test_checksums(void **state)
{
    (void)state;
    assert_string_equal(warning_of("cid=key&t=click&pid=v&z=jf7pt0"), "");
    assert_string_equal(warning_of("cid=key&t=click&pid=w%20w&z=-k5w4hx"), "");
    assert_string_equal(warning_of("cid=key&t=click&pid=v"), "");
    assert_string_equal(warning_of("cid=key&t=click&pid=v&z=jf7pt1"), "checksum");
    assert_string_equal(warning_of("cid=key&t=click&pid=x&z=jf7pt0"), "checksum");
    assert_string_equal(warning_of("cid=key&t=click&pid=v&z="), "checksum");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_checksums)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
