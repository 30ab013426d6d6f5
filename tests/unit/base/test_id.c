#include "proto/base/id.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* Counts up, first bytes zero, so that what must never be zero is tried. */
static enum pl_err counting(void *ctx, void *out, size_t len)
{
    uint8_t *next = ctx, *p = out;
    for (size_t i = 0; i < len; i++)
        p[i] = *next;
    (*next)++;
    return PL_OK;
}

static enum pl_err broken(void *ctx, void *out, size_t len)
{
    (void)ctx;
    memset(out, 0xee, len);
    return PL_EIO;
}

static void ids_print_and_parse(void **state)
{
    (void)state;
    struct pl_id128 id, back;
    for (size_t i = 0; i < sizeof(id.bytes); i++)
        id.bytes[i] = (uint8_t)(0x11 * i);
    char text[PL_ID128_TEXT];
    pl_id128_format(&id, text);
    assert_string_equal(text, "00112233445566778899aabbccddeeff");
    assert_true(pl_id128_parse(pl_span_str(text), &back));
    assert_true(pl_id128_eq(&id, &back));
    back.bytes[15] ^= 1;
    assert_false(pl_id128_eq(&id, &back));

    static const char *const bad[] = {
        "",
        "00112233445566778899aabbccddeef",
        "00112233445566778899aabbccddeeff0",
        "00112233445566778899AABBCCDDEEFF", /* not what format prints */
        "00112233445566778899aabbccddeefg",
        "0x112233445566778899aabbccddeeff",
        "00112233-4455-6677-8899-aabbccdd",
    };
    struct pl_id128 kept = back;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (pl_id128_parse(pl_span_str(bad[i]), &back))
            fail_msg("accepted %s", bad[i]);
    assert_true(pl_id128_eq(&kept, &back));
}

static void accounts_print_and_parse_and_are_never_zero(void **state)
{
    (void)state;
    char text[PL_ACCOUNT_TEXT];
    uint64_t account = 0;
    pl_account_format(UINT64_C(0x0123456789abcdef), text);
    assert_string_equal(text, "0123456789abcdef");
    assert_true(pl_account_parse(pl_span_str(text), &account));
    assert_true(account == UINT64_C(0x0123456789abcdef));
    assert_false(pl_account_parse(PL_SPAN_LIT("0000000000000000"), &account));
    assert_false(pl_account_parse(PL_SPAN_LIT("0123456789ABCDEF"), &account));
    assert_false(pl_account_parse(PL_SPAN_LIT("123"), &account));

    uint8_t next = 0;
    struct pl_random random = {.fill = counting, .ctx = &next};
    assert_int_equal(pl_account_random(&random, &account), PL_OK);
    assert_true(account == UINT64_C(0x0101010101010101));
}

static void uuids_are_version_4(void **state)
{
    (void)state;
    uint8_t next = 0xff;
    struct pl_random random = {.fill = counting, .ctx = &next};
    char text[PL_UUID_TEXT];
    assert_int_equal(pl_uuid4(&random, text), PL_OK);
    assert_string_equal(text, "ffffffff-ffff-4fff-bfff-ffffffffffff");
    next = 0;
    assert_int_equal(pl_uuid4(&random, text), PL_OK);
    assert_string_equal(text, "00000000-0000-4000-8000-000000000000");
}

static void a_failing_source_changes_nothing(void **state)
{
    (void)state;
    struct pl_random random = {.fill = broken};
    struct pl_id128 id = {.bytes = {1}}, before = id;
    uint64_t account = 5;
    assert_int_equal(pl_id128_random(&random, &id), PL_EIO);
    assert_true(pl_id128_eq(&id, &before));
    assert_int_equal(pl_account_random(&random, &account), PL_EIO);
    assert_int_equal(account, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_print_and_parse),
        cmocka_unit_test(accounts_print_and_parse_and_are_never_zero),
        cmocka_unit_test(uuids_are_version_4),
        cmocka_unit_test(a_failing_source_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
