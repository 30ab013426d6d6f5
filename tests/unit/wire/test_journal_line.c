/* The lines of a journal: what one says, and that a change shows. */
#include "proto/wire/journal_line.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define AT    INT64_C(1795370400123)
#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"

static struct pl_span line_of(struct pl_buf *lines, const struct journal_mark *mark,
                              const char *object)
{
    size_t from = lines->len;
    assert_int_equal(journal_line_write(mark, AT, pl_span_str(object), lines), PL_OK);
    return pl_span(lines->data + from, lines->len - from - 1);
}

static void a_line_is_what_the_format_says(void **state)
{
    struct journal_mark mark = {0};
    struct pl_buf out;
    (void)state;
    pl_buf_init(&out, 4096);
    struct pl_span line = line_of(&out, &mark, "{\"what\":\"start\"}");
    assert_true(pl_span_eq_str(line,
                               "{\"n\":1,\"at\":\"2026-11-22T18:00:00.123Z\",\"previous\":\"" ZEROS
                               "\",\"what\":\"start\"}"));
    assert_int_equal(out.data[out.len - 1], '\n');
    pl_buf_reset(&out);
    line = line_of(&out, &mark, "{}");
    assert_true(pl_span_eq_str(
        line, "{\"n\":1,\"at\":\"2026-11-22T18:00:00.123Z\",\"previous\":\"" ZEROS "\"}"));
    pl_buf_release(&out);
}

static void lines_follow_each_other(void **state)
{
    struct journal_mark mark = {0}, start;
    struct pl_why why = {0};
    struct pl_buf out;
    uint8_t previous[PL_SHA256_BYTES];
    uint64_t n;
    (void)state;
    pl_buf_init(&out, 65536);
    for (uint64_t i = 1; i <= 12; i++) {
        pl_buf_reset(&out);
        struct pl_span line = line_of(&out, &mark, "{\"a\":1}");
        assert_int_equal(journal_line_next(&mark, line, &why), PL_OK);
        assert_int_equal(mark.n, i);
    }
    /* from within: what the line itself says of the one before it */
    pl_buf_reset(&out);
    struct pl_span line = line_of(&out, &mark, "{\"a\":2}");
    assert_int_equal(journal_line_read(line, &n, previous), PL_OK);
    assert_int_equal(n, 13);
    assert_memory_equal(previous, mark.hash, sizeof(previous));
    start.n = n - 1;
    memcpy(start.hash, previous, sizeof(previous));
    assert_int_equal(journal_line_next(&start, line, &why), PL_OK);
    pl_buf_release(&out);
}

static void every_changed_byte_shows(void **state)
{
    struct journal_mark zero = {0}, one = {0}, two;
    struct pl_buf out;
    (void)state;
    pl_buf_init(&out, 65536);
    struct pl_span first = line_of(&out, &zero, "{\"who\":\"ann\"}");
    const size_t first_len = first.len;
    assert_int_equal(journal_line_next(&one, first, NULL), PL_OK);
    struct pl_span second = line_of(&out, &one, "{\"who\":\"bob\"}");
    for (size_t i = 0; i < first_len; i++) {
        struct journal_mark mark = {0};
        out.data[i] ^= 1;
        enum pl_err err = journal_line_next(&mark, pl_span(out.data, first_len), NULL);
        if (err == PL_OK)
            err = journal_line_next(&mark, second, NULL);
        assert_int_equal(err, PL_ECORRUPT);
        out.data[i] ^= 1;
    }
    /* left out, moved, repeated */
    two = zero;
    assert_int_equal(journal_line_next(&two, second, NULL), PL_ECORRUPT);
    two = one;
    assert_int_equal(journal_line_next(&two, pl_span(out.data, first_len), NULL), PL_ECORRUPT);
    assert_int_equal(journal_line_next(&two, second, NULL), PL_OK);
    assert_int_equal(journal_line_next(&two, second, NULL), PL_ECORRUPT);
    pl_buf_release(&out);
}

static void what_is_no_object_in_one_line_is_refused(void **state)
{
    static const char *const bad[] = {"", "{", "[]", "{\"a\":\n1}", "\"a\""};
    struct journal_mark mark = {0};
    struct pl_buf out;
    (void)state;
    pl_buf_init(&out, 2 * JOURNAL_LINE_BYTES);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(journal_line_write(&mark, AT, pl_span_str(bad[i]), &out), PL_EINVAL);
        assert_int_equal(out.len, 0);
    }
    static uint8_t large[JOURNAL_LINE_BYTES];
    memset(large, ' ', sizeof(large));
    large[0] = '{';
    large[sizeof(large) - 1] = '}';
    assert_int_equal(journal_line_write(&mark, AT, pl_span(large, sizeof(large)), &out), PL_ELIMIT);
    assert_int_equal(out.len, 0);
    pl_buf_release(&out);
}

static void what_is_no_line_is_told(void **state)
{
    static const char *const bad[] = {
        "",
        "{}",
        "{\"n\":01,\"at\":\"2026-11-22T18:00:00.123Z\",\"previous\":\"" ZEROS "\"}",
        "{\"n\":1,\"at\":\"2026-11-22T18:00:00\",\"previous\":\"" ZEROS "\"}",
        "{\"n\":1,\"at\":\"2026-11-22T18:00:00.123Z\",\"previous\":\"" ZEROS "0\"}",
        "{\"n\":1,\"at\":\"2026-11-22T18:00:00.123Z\",\"previous\":\"" ZEROS "\"",
        "{\"n\":99999999999999999999,\"at\":\"2026-11-22T18:00:00.123Z\",\"previous\":\"" ZEROS
        "\"}",
    };
    uint8_t previous[PL_SHA256_BYTES];
    uint64_t n;
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(journal_line_read(pl_span_str(bad[i]), &n, previous), PL_ECORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_is_what_the_format_says),
        cmocka_unit_test(lines_follow_each_other),
        cmocka_unit_test(every_changed_byte_shows),
        cmocka_unit_test(what_is_no_object_in_one_line_is_refused),
        cmocka_unit_test(what_is_no_line_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
