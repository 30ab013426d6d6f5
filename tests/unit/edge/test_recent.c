/* What an edge remembers of the ids it has taken. */
#include "edge/recent.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static void an_id_is_known_from_its_first_time_on(void **state)
{
    (void)state;
    uint64_t mark;
    struct recent *recent = recent_new();
    assert_non_null(recent);
    assert_false(recent_note(recent, 1, PL_SPAN_LIT("a"), &mark));
    assert_true(recent_note(recent, 1, PL_SPAN_LIT("a"), &mark));
    assert_false(recent_note(recent, 2, PL_SPAN_LIT("a"), &mark));
    assert_false(recent_note(recent, 1, PL_SPAN_LIT("b"), &mark));
    recent_free(recent);
}

static void what_was_refused_was_not_the_first_time(void **state)
{
    (void)state;
    uint64_t mark, other;
    struct recent *recent = recent_new();
    assert_non_null(recent);
    assert_false(recent_note(recent, 1, PL_SPAN_LIT("a"), &mark));
    assert_false(recent_note(recent, 1, PL_SPAN_LIT("b"), &other));
    recent_forget(recent, mark);
    assert_false(recent_note(recent, 1, PL_SPAN_LIT("a"), &mark));
    assert_true(recent_note(recent, 1, PL_SPAN_LIT("b"), &other));
    recent_forget(recent, mark);
    recent_forget(recent, mark); /* not there any more */
    assert_true(recent_note(recent, 1, PL_SPAN_LIT("b"), &other));
    recent_free(recent);
}

/* A fixed table: it forgets, but not what came last. */
static void the_latest_is_known_among_very_many(void **state)
{
    (void)state;
    uint64_t mark;
    struct recent *recent = recent_new();
    assert_non_null(recent);
    for (int i = 0; i < 300000; i++) {
        char id[16];
        snprintf(id, sizeof(id), "id-%d", i);
        (void)recent_note(recent, 1, pl_span_str(id), &mark);
        assert_true(recent_note(recent, 1, pl_span_str(id), &mark));
    }
    recent_free(recent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_id_is_known_from_its_first_time_on),
        cmocka_unit_test(what_was_refused_was_not_the_first_time),
        cmocka_unit_test(the_latest_is_known_among_very_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
