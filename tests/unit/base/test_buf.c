#include "proto/base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void grows_up_to_its_limit_and_no_further(void **state)
{
    (void)state;
    struct pl_buf buf;
    pl_buf_init(&buf, 1000);
    assert_null(buf.data);
    for (int i = 0; i < 100; i++)
        assert_int_equal(pl_buf_append(&buf, "0123456789", 10), PL_OK);
    assert_int_equal(buf.len, 1000);
    assert_true(buf.cap <= 1000);
    assert_int_equal(pl_buf_put_u8(&buf, 1), PL_ELIMIT);
    assert_int_equal(pl_buf_terminate(&buf), PL_ELIMIT);
    assert_int_equal(pl_buf_reserve(&buf, SIZE_MAX), PL_ELIMIT);
    assert_int_equal(pl_buf_append_str(&buf, "x"), PL_ELIMIT);
    assert_int_equal(pl_buf_appendf(&buf, "%d", 1), PL_ELIMIT);
    assert_int_equal(buf.len, 1000);
    for (size_t i = 0; i < 1000; i++)
        assert_int_equal(buf.data[i], '0' + i % 10);
    pl_buf_reset(&buf);
    assert_int_equal(pl_buf_append(&buf, "abc", 3), PL_OK);
    pl_buf_release(&buf);
    assert_null(buf.data);
    assert_int_equal(pl_buf_append(&buf, "again", 5), PL_OK); /* usable after a release */
    pl_buf_wipe(&buf);
    assert_null(buf.data);
    struct pl_buf zeroed = {0};
    pl_buf_release(&zeroed);
    pl_buf_wipe(&zeroed);
}

static void text_is_printed_whole_or_not_at_all(void **state)
{
    (void)state;
    struct pl_buf buf;
    pl_buf_init(&buf, 600);
    assert_int_equal(pl_buf_appendf(&buf, "%s=%d", "x", 42), PL_OK);
    assert_true(pl_span_eq_str(pl_buf_span(&buf), "x=42"));
    /* longer than the room that is tried first */
    assert_int_equal(pl_buf_appendf(&buf, "%0500d", 7), PL_OK);
    assert_int_equal(buf.len, 504);
    assert_int_equal(buf.data[503], '7');
    assert_int_equal(pl_buf_appendf(&buf, "%0500d", 7), PL_ELIMIT);
    assert_int_equal(buf.len, 504);
    assert_int_equal(pl_buf_terminate(&buf), PL_OK);
    assert_int_equal(strlen((char *)buf.data), 504);
    assert_int_equal(buf.len, 504);
    assert_int_equal(pl_buf_appendf(&buf, "%096d", 0), PL_OK); /* exactly to the limit */
    pl_buf_release(&buf);
}

static void integers_sort_as_bytes_and_come_back(void **state)
{
    (void)state;
    struct pl_buf buf;
    pl_buf_init(&buf, 64);
    assert_int_equal(pl_buf_put_u8(&buf, 0x01), PL_OK);
    assert_int_equal(pl_buf_put_u16(&buf, 0x0203), PL_OK);
    assert_int_equal(pl_buf_put_u32(&buf, 0x04050607), PL_OK);
    assert_int_equal(pl_buf_put_u64(&buf, UINT64_C(0x08090a0b0c0d0e0f)), PL_OK);
    for (size_t i = 0; i < 15; i++)
        assert_int_equal(buf.data[i], i + 1);
    struct pl_reader r = pl_reader(pl_buf_span(&buf));
    assert_int_equal(pl_get_u8(&r), 0x01);
    assert_int_equal(pl_get_u16(&r), 0x0203);
    assert_int_equal(pl_get_u32(&r), 0x04050607);
    assert_true(pl_get_u64(&r) == UINT64_C(0x08090a0b0c0d0e0f));
    assert_false(r.failed);
    assert_int_equal(r.rest.len, 0);
    pl_buf_release(&buf);
}

static void a_short_read_sticks_and_gives_zeros(void **state)
{
    (void)state;
    struct pl_reader r = pl_reader(PL_SPAN_LIT("\x01\x02\x03"));
    assert_int_equal(pl_get_u16(&r), 0x0102);
    assert_int_equal(pl_get_u32(&r), 0);
    assert_true(r.failed);
    assert_int_equal(pl_get_u8(&r), 0); /* though one byte is left */
    assert_int_equal(pl_get_span(&r, 1).len, 0);
    uint8_t out[4] = {9, 9, 9, 9};
    pl_get_bytes(&r, out, sizeof(out));
    for (size_t i = 0; i < sizeof(out); i++)
        assert_int_equal(out[i], 0);

    r = pl_reader(PL_SPAN_LIT("abc"));
    assert_true(pl_span_eq_str(pl_get_span(&r, 2), "ab"));
    assert_int_equal(pl_get_span(&r, 0).len, 0);
    assert_false(r.failed);
    assert_int_equal(pl_get_span(&r, SIZE_MAX).len, 0);
    assert_true(r.failed);

    r = pl_reader(pl_span(NULL, 0));
    assert_int_equal(pl_get_span(&r, 0).len, 0);
    assert_false(r.failed);
    assert_true(pl_get_u64(&r) == 0);
    assert_true(r.failed);
}

static void varints_come_back_in_one_form_only(void **state)
{
    (void)state;
    static const uint64_t values[] = {0,     1,     127,        128,       300,
                                      16383, 16384, UINT32_MAX, INT64_MAX, UINT64_MAX};
    struct pl_buf buf;
    pl_buf_init(&buf, 64);
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        pl_buf_reset(&buf);
        assert_int_equal(pl_buf_put_varint(&buf, values[i]), PL_OK);
        struct pl_reader r = pl_reader(pl_buf_span(&buf));
        assert_true(pl_get_varint(&r) == values[i]);
        assert_true(!r.failed && r.rest.len == 0);
        r = pl_reader(pl_span(buf.data, buf.len - 1));
        assert_true(pl_get_varint(&r) == 0 && r.failed);
    }
    static const char *const bad[] = {"\x80", "\x80\x80",
                                      "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
                                      "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct pl_reader r = pl_reader(pl_span_str(bad[i]));
        assert_true(pl_get_varint(&r) == 0 && r.failed);
    }
    struct pl_reader r = pl_reader(PL_SPAN_LIT("\x81\x00")); /* 1, with a byte too many */
    assert_true(pl_get_varint(&r) == 0 && r.failed);
    pl_buf_release(&buf);
}

/* Under AddressSanitizer malloc ends the process when it cannot serve, unless told otherwise. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

/* It warns all the same, and tests/run takes whatever stands in a report file for a finding. The
 * last test of this program says so here; a finding still shows in its exit code. */
void __sanitizer_set_report_path(const char *path) __attribute__((weak));

static void without_memory_nothing_changes(void **state)
{
    (void)state;
    struct pl_buf buf;
    if (__sanitizer_set_report_path != NULL)
        __sanitizer_set_report_path("stderr");
    pl_buf_init(&buf, SIZE_MAX);
    assert_int_equal(pl_buf_append_str(&buf, "kept"), PL_OK);
    assert_int_equal(pl_buf_reserve(&buf, SIZE_MAX / 4), PL_ENOMEM);
    assert_int_equal(pl_buf_reserve(&buf, SIZE_MAX), PL_ELIMIT); /* len + more would wrap */
    assert_true(pl_span_eq_str(pl_buf_span(&buf), "kept"));
    assert_int_equal(pl_buf_append_str(&buf, "!"), PL_OK);
    assert_true(pl_span_eq_str(pl_buf_span(&buf), "kept!"));
    pl_buf_release(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_up_to_its_limit_and_no_further),
        cmocka_unit_test(text_is_printed_whole_or_not_at_all),
        cmocka_unit_test(integers_sort_as_bytes_and_come_back),
        cmocka_unit_test(a_short_read_sticks_and_gives_zeros),
        cmocka_unit_test(varints_come_back_in_one_form_only),
        cmocka_unit_test(without_memory_nothing_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
