#include "proto/wire/event.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

struct fixture {
    struct json_writer *writer;
    struct pl_buf out, pack;
    struct event event;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_int_equal(json_writer_new(&f->writer, false), PL_OK);
    pl_buf_init(&f->out, 1 << 16);
    pl_buf_init(&f->pack, 1 << 16);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    json_writer_free(f->writer);
    pl_buf_release(&f->out);
    pl_buf_release(&f->pack);
    free(f);
    return 0;
}

/* The text of the n-th cell, as a reader of RFC 4180 takes it. */
static void cell(struct fixture *f, size_t n, char out[256])
{
    size_t at = 0, len = 0;
    for (bool quoted = false; at < f->out.len; at++) {
        char c = (char)f->out.data[at];
        if (c == '"' && quoted && at + 1 < f->out.len && f->out.data[at + 1] == '"') {
            at++; /* a quote itself */
        } else if (c == '"') {
            quoted = !quoted;
            continue;
        } else if (c == ',' && !quoted) {
            if (n-- == 0)
                break;
            len = 0;
            continue;
        }
        assert_true(len < 255);
        out[len++] = c;
    }
    out[len] = '\0';
}

static size_t column(const char *name)
{
    size_t n = 0;
    struct pl_buf header;
    pl_buf_init(&header, 1 << 16);
    assert_int_equal(event_write_csv_header(&header), PL_OK);
    for (size_t at = 0; at < header.len; n++) {
        const uint8_t *comma = memchr(header.data + at, ',', header.len - at);
        size_t len = comma == NULL ? header.len - at : (size_t)(comma - header.data) - at;
        if (pl_span_eq_str(pl_span(header.data + at, len), name)) {
            pl_buf_release(&header);
            return n;
        }
        at += len + 1;
    }
    pl_buf_release(&header);
    fail_msg("there is no column %s", name);
    return 0;
}

static void expect(struct fixture *f, const char *name, const char *text)
{
    char found[256];
    pl_buf_reset(&f->out);
    assert_int_equal(event_write_csv(&f->event, f->writer, &f->out), PL_OK);
    cell(f, column(name), found);
    assert_string_equal(found, text);
}

static void values_are_as_in_json(void **state)
{
    struct fixture *f = *state;
    struct event_packer p = {.out = &f->pack};
    event_set_u64(&f->event, EVENT_ACCOUNT, 0xab);
    event_set_u64(&f->event, EVENT_TYPE, EVENT_ORDER);
    event_set_u64(&f->event, EVENT_DIALECT, 99);
    event_set_i64(&f->event, EVENT_ACCEPTED_MS, 1000);
    event_set_u64(&f->event, EVENT_SCREEN_WIDTH, 1280);
    event_set_f64(&f->event, EVENT_TOTAL, -12.5);
    event_set_str(&f->event, EVENT_PAGE_TITLE, PL_SPAN_LIT("caf\xc3\xa9"));
    event_pack_map(&p, 1);
    event_pack_str(&p, PL_SPAN_LIT("a"));
    event_pack_str(&p, PL_SPAN_LIT("b,\"c\""));
    event_set_pack(&f->event, EVENT_PROPS, pl_buf_span(&f->pack));
    expect(f, "account", "00000000000000ab");
    expect(f, "type", "order");
    expect(f, "dialect", "99");
    expect(f, "accepted", "1970-01-01T00:00:01.000Z");
    expect(f, "device.screen_width", "1280");
    expect(f, "total", "-12.5"); /* a number is no formula */
    expect(f, "page.title", "caf\xc3\xa9");
    expect(f, "props", "{\"a\":\"b,\\\"c\\\"\"}");
    expect(f, "user_id", "");
}

static void text_is_quoted_where_it_must_be(void **state)
{
    struct fixture *f = *state;
    static const char *const texts[] = {"plain", "a,b", "say \"no\"", "\"", "two\r\nlines",
                                        "a'b",   ""};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        event_set_str(&f->event, EVENT_NAME, pl_span_str(texts[i]));
        expect(f, "name", texts[i]);
    }
}

static void formulas_are_text(void **state)
{
    struct fixture *f = *state;
    static const char *const texts[] = {"=1+1", "+1",   "-1",   "@SUM(A1)",
                                        "\t=1", "\r=1", "\n=1", "=\"a\",1"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        char guarded[32] = "'";
        strcat(guarded, texts[i]);
        event_set_str(&f->event, EVENT_NAME, pl_span_str(texts[i]));
        expect(f, "name", guarded);
    }
    event_set_str(&f->event, EVENT_NAME, PL_SPAN_LIT("a=1"));
    expect(f, "name", "a=1");
}

static void a_record_has_all_cells_or_is_not_written(void **state)
{
    struct fixture *f = *state;
    struct pl_buf small;
    pl_buf_init(&small, 40);
    assert_int_equal(pl_buf_append_str(&f->out, "before"), PL_OK);
    event_set_pack(&f->event, EVENT_PROPS, PL_SPAN_LIT("\xc1"));
    assert_int_equal(event_write_csv(&f->event, f->writer, &f->out), PL_ECORRUPT);
    assert_true(pl_span_eq_str(pl_buf_span(&f->out), "before"));
    event_clear(&f->event);
    assert_int_equal(event_write_csv(&f->event, f->writer, &small), PL_ELIMIT);
    assert_int_equal(small.len, 0);
    assert_int_equal(event_write_csv_header(&small), PL_ELIMIT);
    assert_int_equal(small.len, 0);
    pl_buf_release(&small);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(values_are_as_in_json),
        CASE(text_is_quoted_where_it_must_be),
        CASE(formulas_are_text),
        CASE(a_record_has_all_cells_or_is_not_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
