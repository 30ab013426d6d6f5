#include "proto/wire/event.h"
#include "proto/wire/event_slim.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <stdlib.h>

#define ACCOUNT UINT64_C(0x1122334455667788)
#define TIME_MS INT64_C(1764000000123)
#define UUID    "0f8fad5b-d9cb-469f-a165-70867728950e"

struct test {
    struct event *event;
    struct pl_buf encoded, head, body, restored;
};

static int setup(void **state)
{
    struct test *t = calloc(1, sizeof(*t));
    t->event = calloc(1, sizeof(*t->event));
    pl_buf_init(&t->encoded, 1 << 17);
    pl_buf_init(&t->head, 1 << 10);
    pl_buf_init(&t->body, 1 << 17);
    pl_buf_init(&t->restored, 1 << 17);
    event_set_u64(t->event, EVENT_ACCOUNT, ACCOUNT);
    event_set_u64(t->event, EVENT_TYPE, EVENT_CUSTOM);
    event_set_i64(t->event, EVENT_ACCEPTED_MS, TIME_MS);
    event_set_str(t->event, EVENT_REGION, PL_SPAN_LIT("eu"));
    event_set_str(t->event, EVENT_MESSAGE_ID, PL_SPAN_LIT(UUID));
    event_set_str(t->event, EVENT_VISITOR_ID, PL_SPAN_LIT("visitor-" UUID));
    event_set_str(t->event, EVENT_NAME, PL_SPAN_LIT("Product Viewed"));
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    struct test *t = *state;
    pl_buf_release(&t->encoded);
    pl_buf_release(&t->head);
    pl_buf_release(&t->body);
    pl_buf_release(&t->restored);
    free(t->event);
    free(t);
    return 0;
}

/* There and back; what comes back must be what went in. Gives the parts taken out. */
static unsigned round_trip(struct test *t, struct pl_span encoded, uint64_t account, int64_t ms)
{
    struct event_slim_head head;
    pl_buf_reset(&t->head);
    pl_buf_reset(&t->body);
    pl_buf_reset(&t->restored);
    assert_int_equal(event_slim(encoded, account, ms, &t->head, &t->body), PL_OK);
    assert_true(t->head.len <= EVENT_SLIM_HEAD_BYTES_MAX);
    struct pl_span rest = pl_buf_span(&t->head);
    assert_int_equal(event_slim_read(&rest, ms, &head), PL_OK);
    assert_int_equal(rest.len, 0);
    assert_int_equal(event_slim_restore(pl_buf_span(&t->body), &head, account, ms, &t->restored),
                     PL_OK);
    assert_true(pl_span_eq(pl_buf_span(&t->restored), encoded));
    return head.parts;
}

static unsigned round_trip_event(struct test *t)
{
    pl_buf_reset(&t->encoded);
    assert_int_equal(event_encode(t->event, &t->encoded), PL_OK);
    return round_trip(t, pl_buf_span(&t->encoded), ACCOUNT, TIME_MS);
}

static void known_parts_are_taken_out(void **state)
{
    struct test *t = *state;
    assert_int_equal(round_trip_event(t), EVENT_SLIM_KEY | EVENT_SLIM_MESSAGE | EVENT_SLIM_VISITOR);
    assert_true(t->encoded.len - t->body.len >= 18 + 2 * 36);
    assert_null(memmem(t->body.data, t->body.len, "8fad5b", 6));
    assert_non_null(memmem(t->body.data, t->body.len, "visitor-", 8));
}

static void ids_of_every_kind(void **state)
{
    struct test *t = *state;
    static const struct {
        const char *id;
        bool slim;
    } cases[] = {
        {"", false},
        {UUID, true},
        {"x" UUID, true},
        {UUID "x", false},
        {"0F8FAD5B-D9CB-469F-A165-70867728950E", false},
        {"0f8fad5bd9cb469fa16570867728950e0000", false},
        {"0f8fad5b-d9cb-469f-a165-7086772895g0", false},
        {"short", false},
        {"ajs-next-1764000000000-" UUID, true},
        /* the head of the string changes its length */
        {"0123456789012345678901234567890" UUID, true},
        {"01234567890123456789012345678901" UUID, true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        event_set_str(t->event, EVENT_MESSAGE_ID, pl_span_str(cases[i].id));
        event_set_str(t->event, EVENT_USER_ID, pl_span_str(cases[i].id));
        unsigned parts = round_trip_event(t);
        assert_int_equal((parts & EVENT_SLIM_MESSAGE) != 0, cases[i].slim);
        assert_int_equal((parts & EVENT_SLIM_USER) != 0, cases[i].slim);
    }
    char *longest = malloc(60000 + 1);
    memset(longest, 'a', 60000);
    memcpy(longest + 40000 - 36, UUID, 36);
    event_set_str(t->event, EVENT_MESSAGE_ID, pl_span(longest, 40000));
    assert_true(round_trip_event(t) & EVENT_SLIM_MESSAGE);
    event_set_str(t->event, EVENT_MESSAGE_ID, pl_span(longest, 270));
    round_trip_event(t);
    free(longest);
}

static void times_become_distances(void **state)
{
    struct test *t = *state;
    static const struct {
        int64_t client_ms, sent_ms, more;
        bool slim;
    } cases[] = {
        {TIME_MS - 900, TIME_MS - 40, 0, true},
        {TIME_MS + 3600000, TIME_MS + 3600002, 0, true}, /* the client's clock is ahead */
        {TIME_MS, TIME_MS - 5, 0, true},                 /* and back */
        {0, 0, 0, true},
        {TIME_MS - 900, TIME_MS - 40, 1, false}, /* corrected in another way */
        {-5, 10, 0, false},
        {INT64_MAX, 1, 0, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t corrected = (int64_t)((uint64_t)TIME_MS - (uint64_t)cases[i].sent_ms +
                                      (uint64_t)cases[i].client_ms + (uint64_t)cases[i].more);
        event_set_i64(t->event, EVENT_CLIENT_MS, cases[i].client_ms);
        event_set_i64(t->event, EVENT_SENT_MS, cases[i].sent_ms);
        event_set_i64(t->event, EVENT_CORRECTED_MS, corrected);
        unsigned parts = round_trip_event(t);
        assert_int_equal((parts & EVENT_SLIM_TIMES) != 0, cases[i].slim);
    }
    event_set_i64(t->event, EVENT_CLIENT_MS, TIME_MS - 900);
    event_set_i64(t->event, EVENT_SENT_MS, TIME_MS - 40);
    event_set_i64(t->event, EVENT_CORRECTED_MS, TIME_MS - 860);
    event_set_str(t->event, EVENT_SESSION_ID, PL_SPAN_LIT("s"));
    assert_true(round_trip_event(t) & EVENT_SLIM_TIMES);
    assert_true(t->head.len <= 1 + 2 * 16 + 2 + 2);
    event_unset(t->event, EVENT_SENT_MS);
    assert_false(round_trip_event(t) & EVENT_SLIM_TIMES);
}

static void any_number_of_fields(void **state)
{
    struct test *t = *state;
    unsigned field = EVENT_PAGE_URL;
    for (int i = 0; i < 14; i++, field++) {
        if (event_fields[field].kind == EVENT_KIND_STR)
            event_set_str(t->event, field, PL_SPAN_LIT("x")); /* past 15 members and back */
        assert_true(round_trip_event(t) & EVENT_SLIM_KEY);
    }
    event_clear(t->event);
    event_set_u64(t->event, EVENT_ACCOUNT, ACCOUNT);
    event_set_i64(t->event, EVENT_ACCEPTED_MS, TIME_MS);
    assert_int_equal(round_trip_event(t), EVENT_SLIM_KEY);
    assert_int_equal(t->body.len, 1);
}

static void what_does_not_match_stays_whole(void **state)
{
    struct test *t = *state;
    assert_int_equal(event_encode(t->event, &t->encoded), PL_OK);
    struct pl_span encoded = pl_buf_span(&t->encoded);
    assert_int_equal(round_trip(t, encoded, ACCOUNT + 1, TIME_MS), 0);
    assert_int_equal(round_trip(t, encoded, ACCOUNT, TIME_MS + 1), 0);
    assert_int_equal(round_trip(t, encoded, ACCOUNT, -1), 0);
    assert_int_equal(round_trip(t, PL_SPAN_LIT(""), ACCOUNT, TIME_MS), 0);
    assert_int_equal(round_trip(t, PL_SPAN_LIT("not an event"), ACCOUNT, TIME_MS), 0);
    /* the same content in another way: account 1 as two bytes, a long head of a short string */
    assert_int_equal(round_trip(t, PL_SPAN_LIT("\x82\x01\xcc\x01\x04\x05"), 1, 5), 0);
    assert_int_equal(round_trip(t, PL_SPAN_LIT("\x82\x01\x01\x04\x05"), 1, 5), EVENT_SLIM_KEY);
    assert_int_equal(round_trip(t, PL_SPAN_LIT("\x83\x01\x01\x04\x05\x05\xd9\x01x"), 1, 5), 0);
    assert_int_equal(round_trip(t, PL_SPAN_LIT("\xde\x00\x02\x01\x01\x04\x05"), 1, 5), 0);
    assert_int_equal(round_trip(t, PL_SPAN_LIT("\x82\x04\x05\x01\x01"), 1, 5), 0);
    assert_int_equal(round_trip(t, PL_SPAN_LIT("\x82\x01\x01\x01\x01"), 1, 1), 0);
    event_unset(t->event, EVENT_ACCEPTED_MS);
    assert_int_equal(round_trip_event(t), 0);
}

/* Cut and changed at every byte, an event may stay whole, but it comes back as it was. */
static void whatever_the_bytes(void **state)
{
    struct test *t = *state;
    struct pl_buf bytes;
    pl_buf_init(&bytes, 1 << 16);
    event_set_str(t->event, EVENT_USER_ID, PL_SPAN_LIT("u" UUID));
    event_set_i64(t->event, EVENT_CLIENT_MS, TIME_MS - 900);
    event_set_i64(t->event, EVENT_SENT_MS, TIME_MS - 40);
    event_set_i64(t->event, EVENT_CORRECTED_MS, TIME_MS - 860);
    assert_int_equal(event_encode(t->event, &bytes), PL_OK);
    for (size_t i = 0; i <= bytes.len; i++) {
        round_trip(t, pl_span(bytes.data, i), ACCOUNT, TIME_MS);
        for (unsigned bit = 0; i < bytes.len && bit < 8; bit++) {
            bytes.data[i] ^= (uint8_t)(1u << bit);
            round_trip(t, pl_buf_span(&bytes), ACCOUNT, TIME_MS);
            bytes.data[i] ^= (uint8_t)(1u << bit);
        }
    }
    pl_buf_release(&bytes);
}

static void heads_that_do_not_belong_are_corrupt(void **state)
{
    struct test *t = *state;
    struct event_slim_head head;
    uint8_t bytes[EVENT_SLIM_HEAD_BYTES_MAX + 1];
    event_set_i64(t->event, EVENT_CLIENT_MS, TIME_MS - 900);
    event_set_i64(t->event, EVENT_SENT_MS, TIME_MS - 40);
    event_set_i64(t->event, EVENT_CORRECTED_MS, TIME_MS - 860);
    unsigned whole = round_trip_event(t);
    for (unsigned parts = 0; parts < 256; parts++) {
        memset(bytes, 0, sizeof(bytes));
        bytes[0] = (uint8_t)parts;
        struct pl_span rest = pl_span(bytes, sizeof(bytes));
        enum pl_err err = event_slim_read(&rest, TIME_MS, &head);
        bool good = parts == 0 || (parts <= EVENT_SLIM_ALL && (parts & EVENT_SLIM_KEY) != 0);
        assert_int_equal(err, good ? PL_OK : PL_ECORRUPT);
        pl_buf_reset(&t->restored);
        /* other ids than were taken out are missed */
        if (good && (parts & EVENT_SLIM_USER) != 0)
            assert_int_equal(
                event_slim_restore(pl_buf_span(&t->body), &head, ACCOUNT, TIME_MS, &t->restored),
                PL_ECORRUPT);
    }
    struct pl_span rest = pl_buf_span(&t->head);
    for (size_t i = 0; i < t->head.len; i++) {
        rest = pl_span(t->head.data, i);
        assert_int_equal(event_slim_read(&rest, TIME_MS, &head), PL_ECORRUPT);
    }
    rest = pl_buf_span(&t->head);
    assert_int_equal(event_slim_read(&rest, TIME_MS, &head), PL_OK);
    assert_int_equal(head.parts, whole);
    for (size_t i = 0; i < t->body.len; i++)
        (void)event_slim_restore(pl_span(t->body.data, i), &head, ACCOUNT, TIME_MS, &t->restored);
    assert_int_equal(event_slim_restore(PL_SPAN_LIT("x"), &head, ACCOUNT, TIME_MS, &t->restored),
                     PL_ECORRUPT);
    /* times beyond what a time can be */
    static const uint8_t far[] = "\x11\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00";
    rest = pl_span(far, sizeof(far) - 1);
    assert_int_equal(event_slim_read(&rest, TIME_MS, &head), PL_ECORRUPT);
}

static void a_full_buffer_is_told(void **state)
{
    struct test *t = *state;
    struct event_slim_head head;
    struct pl_buf small;
    round_trip_event(t);
    struct pl_span rest = pl_buf_span(&t->head);
    assert_int_equal(event_slim_read(&rest, TIME_MS, &head), PL_OK);
    pl_buf_init(&small, 16);
    assert_int_equal(event_slim_restore(pl_buf_span(&t->body), &head, ACCOUNT, TIME_MS, &small),
                     PL_ELIMIT);
    assert_int_equal(event_slim(pl_buf_span(&t->encoded), ACCOUNT, TIME_MS, &t->head, &small),
                     PL_ELIMIT);
    assert_int_equal(event_slim(pl_buf_span(&t->encoded), ACCOUNT, TIME_MS, &small, &t->body),
                     PL_ELIMIT);
    assert_int_equal(small.len, 0);
    pl_buf_release(&small);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(known_parts_are_taken_out),
        CASE(ids_of_every_kind),
        CASE(times_become_distances),
        CASE(any_number_of_fields),
        CASE(what_does_not_match_stays_whole),
        CASE(whatever_the_bytes),
        CASE(heads_that_do_not_belong_are_corrupt),
        CASE(a_full_buffer_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
