#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "edge/dialects/params.h"
#include "proto/wire/limits.h"

static struct params params;
static uint8_t room[4096];

static struct pl_buf scratch_of(size_t bytes)
{
    return (struct pl_buf){.data = room, .cap = bytes, .max_bytes = bytes};
}

static void test_homes(void **state)
{
    static const struct param_home homes[] = {
        {PL_SPAN_INIT("vid"), EVENT_VISITOR_ID},
        {PL_SPAN_INIT("url"), EVENT_PAGE_URL},
        {PL_SPAN_INIT("price"), EVENT_TOTAL},
        {PL_SPAN_INIT("tax"), EVENT_TAX},
        {PL_SPAN_INIT("step"), EVENT_CHECKOUT_STEP_NUMBER},
        {{0}, 0},
    };
    struct pl_buf scratch = scratch_of(sizeof(room));
    struct event event;
    struct pl_why why = {0};
    struct pl_span value;
    (void)state;
    params.count = 0;
    event_clear(&event);
    assert_int_equal(
        params_parse(&params,
                     PL_SPAN_LIT("vid=v%201&url=a%2Bb+c&price=12.50&tax=0x10&step=-1&tax=7&k&x=1"),
                     &scratch, &why),
        PL_OK);
    assert_int_equal(params_take_homes(&params, homes, &event, &why), PL_OK);
    assert_true(pl_span_eq_str(event_str(&event, EVENT_VISITOR_ID), "v 1"));
    assert_true(pl_span_eq_str(event_str(&event, EVENT_PAGE_URL), "a+b c"));
    assert_true(event.value[EVENT_TOTAL].f64 == 12.5);
    assert_false(event_has(&event, EVENT_TAX));
    assert_false(event_has(&event, EVENT_CHECKOUT_STEP_NUMBER));
    assert_true(params_take(&params, "x", &value));
    assert_false(params_take(&params, "x", &value));
    assert_int_equal(params_leave(&params, &scratch, &event), PL_OK);
    assert_true(
        pl_span_eq(event_str(&event, EVENT_PROPS), PL_SPAN_LIT("\x84\xa3tax\xa4"
                                                               "0x10\xa4step\xa2-1\xa6tax[2]\xa1"
                                                               "7\xa1k\xa0")));
}

static void test_refusals(void **state)
{
    static const struct param_home homes[] = {{PL_SPAN_INIT("uid"), EVENT_USER_ID}, {{0}, 0}};
    char text[4 + LIMIT_ID_BYTES + 2] = "uid=";
    struct pl_buf scratch = scratch_of(sizeof(room));
    struct event event;
    struct pl_why why = {0};
    (void)state;
    params.count = 0;
    assert_int_equal(params_parse(&params, PL_SPAN_LIT("a=1&b=%zz"), &scratch, &why), PL_EINVAL);
    assert_string_equal(why.field, "b");
    params.count = 0;
    assert_int_equal(params_parse(&params, PL_SPAN_LIT("b=%ff"), &scratch, &why), PL_EINVAL);
    params.count = 0;
    memset(text + 4, 'a', LIMIT_ID_BYTES + 1);
    event_clear(&event);
    assert_int_equal(params_parse(&params, pl_span_str(text), &scratch, &why), PL_OK);
    assert_int_equal(params_take_homes(&params, homes, &event, &why), PL_ELIMIT);
    assert_string_equal(why.field, "uid");
    scratch = scratch_of(8);
    params.count = 0;
    assert_int_equal(params_parse(&params, pl_span_str(text), &scratch, &why), PL_ELIMIT);
    scratch = scratch_of(sizeof(room));
    params.count = PARAMS_MAX;
    assert_int_equal(params_parse(&params, PL_SPAN_LIT("a=1"), &scratch, &why), PL_ELIMIT);
}

static void test_numbers(void **state)
{
    static const char *const bad[] = {"", "1,5", "inf", "nan", "0x1", " 1", "1 ", "1e999", "--1"};
    double number;
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(param_f64(pl_span_str(bad[i]), &number));
    assert_true(param_f64(PL_SPAN_LIT("-1.5e2"), &number) && number == -150);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_homes),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
