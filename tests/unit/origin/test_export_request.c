/* What an export is asked for: types, a visitor, a form, and where it goes on. */
#include "export_test.h"

static void types_are_filtered(void **state)
{
    struct test *t = *state;
    struct export_cursor c = begin(1, 0, 9);
    put_typed(t, "v", NULL, EVENT_ORDER, "order-1");
    put_typed(t, "v", NULL, EVENT_PAGE_VIEW, "page-1");
    put_typed(t, "v", NULL, EVENT_CLICK, "click-1");
    put_typed(t, "v", NULL, EVENT_TALLY, "tally-1");
    put_typed(t, "v", NULL, (enum event_type)60, "newer-1");
    rig_store(&t->rig);
    c.request.types = UINT64_C(1) << EVENT_ORDER | UINT64_C(1) << EVENT_CLICK;
    assert_int_equal(drain(t, &c, 1 << 20), 2);
    assert_true(has(t, "order-1") && has(t, "click-1"));
    assert_int_equal(c.left_out, 3);
    c = begin(1, 0, 9);
    assert_int_equal(drain(t, &c, 1 << 20), 4);
    assert_true(has(t, "newer-1"));
    assert_false(has(t, "tally-1"));
    c.request.types = 0;
    assert_int_equal(export_begin(&c, &c.request, NULL), PL_EINVAL);
}

/* A visitor's, on several days, among many others'; a line a call, so that every place is resumed
 * at; and those of a user without a visitor id. */
static void one_visitor_is_found_by_day(void **state)
{
    struct test *t = *state;
    for (int i = 0; i < 120; i++) {
        char visitor[16], id[16];
        snprintf(visitor, sizeof(visitor), "v%d", i % 10);
        snprintf(id, sizeof(id), "m%d.", i);
        put_typed(t, visitor, "mary", EVENT_CUSTOM, id);
    }
    for (int i = 0; i < 6; i++) {
        char id[16];
        snprintf(id, sizeof(id), "u%d.", i);
        put_typed(t, NULL, i < 3 ? "v7" : "mary", EVENT_CUSTOM, id);
    }
    rig_store(&t->rig);
    struct export_cursor c = begin_visitor("v7");
    pl_buf_reset(&t->out);
    size_t calls = 0;
    for (; next(t, &c, 1) == PL_OK; calls++) {
        char text[EXPORT_CURSOR_TEXT];
        struct export_cursor again;
        export_cursor_format(&c, text);
        assert_int_equal(export_resume(&again, &c.request, pl_span_str(text), NULL), PL_OK);
        c = again;
    }
    assert_int_equal(c.events, 15);
    assert_true(calls >= 15);
    assert_int_equal(c.left_out, 0);
    for (int i = 7; i < 120; i += 10) {
        char id[16];
        snprintf(id, sizeof(id), "\"m%d.\"", i);
        assert_true(has(t, id));
    }
    assert_true(has(t, "u0.") && has(t, "u1.") && has(t, "u2.") && !has(t, "u3."));
    c = begin_visitor("mary");
    assert_int_equal(drain(t, &c, 1 << 20), 3);
    c = begin_visitor("nobody");
    assert_int_equal(drain(t, &c, 1 << 20), 0);
}

/* Another visitor's event under the same hash is not given out. */
static void a_visitor_s_hash_is_no_proof(void **state)
{
    struct test *t = *state;
    struct vault_sealer *sealer;
    struct pl_buf value;
    static struct event event;
    struct vault_key key;
    uint8_t prefix[VAULT_VISITOR_PREFIX];
    const struct vault_place place = {.index = 1};
    put_typed(t, "v1", NULL, EVENT_CUSTOM, "mine");
    rig_store(&t->rig);
    pl_buf_init(&value, 1 << 16);
    assert_int_equal(vault_sealer_new(&sealer, t->rig.keyring, 4), PL_OK);
    event_set_u64(&event, EVENT_ACCOUNT, 1);
    event_set_i64(&event, EVENT_ACCEPTED_MS, NOON_MS);
    event_set_str(&event, EVENT_VISITOR_ID, PL_SPAN_LIT("v2"));
    assert_int_equal(event_encode(&event, &t->rig.plain), PL_OK);
    assert_int_equal(vault_key_of(sealer, &event, &place, &key), PL_OK);
    assert_int_equal(
        vault_visitor_prefix(sealer, 1, pl_day_of(NOON_MS), PL_SPAN_LIT("v1"), false, prefix),
        PL_OK);
    memcpy(key.bytes, prefix, sizeof(prefix));
    assert_int_equal(vault_seal(sealer, &key, pl_buf_span(&t->rig.plain), &value), PL_OK);
    assert_int_equal(store_put(t->rig.store, FAMILY_VAULT, vault_key_span(&key),
                               pl_buf_span(&value), true, NULL),
                     PL_OK);
    vault_sealer_free(sealer);
    pl_buf_release(&value);
    struct export_cursor c = begin_visitor("v1");
    assert_int_equal(drain(t, &c, 1 << 20), 1);
    assert_int_equal(c.left_out, 1);
    assert_true(has(t, "mine"));
}

static void csv_has_a_column_for_everything(void **state)
{
    struct test *t = *state;
    put(t, 1, 0, "visitor", "message-1");
    put_event(&t->rig.plain, 1, NOON_MS + 5, "=2+3", "message,\"2\"", "two\nlines");
    t->rig.count++;
    rig_store(&t->rig);
    struct export_cursor c = begin_as(1, EXPORT_CSV);
    pl_buf_reset(&t->out);
    assert_int_equal(export_put_header(&c, &t->out), PL_OK);
    size_t header = t->out.len;
    assert_true(header > 0 && memmem(t->out.data, header, "account,type,", 13) == t->out.data);
    while (next(t, &c, 1 << 20) == PL_OK)
        ;
    assert_true(has(t, "\r\n0000000000000001,custom,segment,2024-10-04T12:00:00.000Z,eu,message-1,"
                       "visitor,"));
    assert_true(has(t, ",\"message,\"\"2\"\"\",'=2+3,") && has(t, ",\"two\nlines\","));
    /* Every record has as many cells. */
    size_t cells = 1, first = 0;
    bool quoted = false;
    for (size_t i = 0; i < t->out.len; i++) {
        quoted ^= t->out.data[i] == '"';
        cells += !quoted && t->out.data[i] == ',';
        if (quoted || t->out.data[i] != '\n')
            continue;
        first = first == 0 ? cells : first;
        assert_int_equal(cells, first);
        assert_int_equal(t->out.data[i - 1], '\r');
        cells = 1;
    }
    assert_int_equal(c.events, 2);
}

static void bad_ranges_and_cursors_are_refused(void **state)
{
    struct test *t = *state;
    struct export_cursor c;
    struct export_request r = export_request_of(1, 5, 4);
    struct pl_why why;
    (void)t;
    assert_int_equal(export_begin(&c, &r, &why), PL_EINVAL);
    r = export_request_of(1, -1, 4);
    assert_int_equal(export_begin(&c, &r, &why), PL_EINVAL);
    r = export_request_of(1, 0, VAULT_DAY_MAX + 1);
    assert_int_equal(export_begin(&c, &r, &why), PL_EINVAL);
    c = begin(1, 0, 1);
    r = c.request;
    char text[EXPORT_CURSOR_TEXT];
    export_cursor_format(&c, text);
    for (size_t i = 0; text[i] != '\0'; i++) {
        char broken[EXPORT_CURSOR_TEXT];
        memcpy(broken, text, sizeof(broken));
        broken[i] = 'x';
        assert_int_equal(export_resume(&c, &r, pl_span_str(broken), &why), PL_EINVAL);
        assert_int_equal(export_resume(&c, &r, pl_span(text, i), &why), PL_EINVAL);
    }
    assert_string_equal(why.field, "cursor");
    assert_int_equal(export_resume(&c, &r, PL_SPAN_LIT(""), &why), PL_EINVAL);
    assert_int_equal(export_resume(&c, &r, pl_span_str(text), &why), PL_OK);
}

/* A cursor reads nothing that was not asked for along with it, whoever wrote it. */
static void a_cursor_is_of_one_request(void **state)
{
    struct export_cursor c = begin(2, 1, 3), other;
    struct export_request r[6];
    char text[EXPORT_CURSOR_TEXT];
    (void)state;
    export_cursor_format(&c, text);
    for (size_t i = 0; i < 6; i++)
        r[i] = c.request;
    r[0].account = 3;
    r[1].first_day++;
    r[2].last_day++;
    r[3].format = EXPORT_CSV;
    r[4].types = 2;
    r[5].visitor[0] = 'v';
    r[5].visitor_len = 1;
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(export_resume(&other, &r[i], pl_span_str(text), NULL), PL_EINVAL);
    assert_int_equal(export_resume(&other, &c.request, pl_span_str(text), NULL), PL_OK);
    /* Another account's place, or another day's, under the right words. */
    for (int i = 0; i < 3; i++) {
        struct export_cursor forged = c;
        vault_key_first(i == 0 ? 1 : 2,
                        c.request.first_day + (i == 1   ? -1
                                               : i == 2 ? 3
                                                        : 0),
                        &forged.at);
        export_cursor_format(&forged, text);
        assert_int_equal(export_resume(&other, &c.request, pl_span_str(text), NULL), PL_EINVAL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(types_are_filtered),
        CASE(one_visitor_is_found_by_day),
        CASE(a_visitor_s_hash_is_no_proof),
        CASE(csv_has_a_column_for_everything),
        CASE(bad_ranges_and_cursors_are_refused),
        CASE(a_cursor_is_of_one_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
