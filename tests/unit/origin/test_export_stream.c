/* An export over HTTP that ends before its end, and who else may have one meanwhile. */
#include "api_fixture.h"

#define EVENTS 40000u

static void put_events(struct stage *s)
{
    struct vault_sealer *sealer;
    struct store_batch *batch;
    struct pl_buf encoded, value;
    static struct event event;
    must(vault_sealer_new(&sealer, s->r.keyring, 0), &s->r.why);
    must(store_batch_new(&batch), &s->r.why);
    pl_buf_init(&encoded, 65536);
    pl_buf_init(&value, 65536);
    for (uint32_t i = 0; i < EVENTS; i++) {
        struct vault_place place = {.index = i};
        struct vault_key key;
        char id[32];
        snprintf(id, sizeof(id), "m%u", i);
        pl_buf_reset(&encoded);
        pl_buf_reset(&value);
        event_clear(&event);
        event_set_u64(&event, EVENT_ACCOUNT, s->account.id);
        event_set_u64(&event, EVENT_TYPE, EVENT_CUSTOM);
        event_set_u64(&event, EVENT_DIALECT, EVENT_DIALECT_SEGMENT);
        event_set_i64(&event, EVENT_ACCEPTED_MS, DAY_ONE_MS + i);
        event_set_str(&event, EVENT_MESSAGE_ID, pl_span_str(id));
        event_set_str(&event, EVENT_VISITOR_ID, PL_SPAN_LIT("visitor"));
        must(event_encode(&event, &encoded), &s->r.why);
        must(vault_key_of(sealer, &event, &place, &key), &s->r.why);
        must(vault_seal(sealer, &key, pl_buf_span(&encoded), &value), &s->r.why);
        store_batch_put(batch, s->r.store, FAMILY_VAULT, vault_key_span(&key), pl_buf_span(&value));
    }
    must(store_write(s->r.store, batch, false, &s->r.why), &s->r.why);
    store_batch_free(batch);
    vault_sealer_free(sealer);
    pl_buf_release(&encoded);
    pl_buf_release(&value);
}

static int setup(void **state)
{
    struct stage *s = stage_new(pl_clock_system(), NULL);
    put_events(s);
    serve(s);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    stop_serving(*state);
    stage_free(*state);
    return 0;
}

static int ask_for_export_as(struct stage *s, const char *token)
{
    return ask(s, token, s->account.id, "/events");
}

static int ask_for_export(struct stage *s)
{
    return ask_for_export_as(s, TOKEN);
}

static bool looks_complete(const struct stage *s)
{
    return s->heard.len >= 5 && memcmp(s->heard.data + s->heard.len - 5, "0\r\n\r\n", 5) == 0;
}

static void test_an_undisturbed_export_is_complete(void **state)
{
    struct stage *s = *state;
    int fd = ask_for_export(s);
    while (hear(s, fd, (size_t)1 << 20))
        ;
    assert_true(looks_complete(s));
    close(fd);
}

static void test_a_destroyed_key_breaks_the_export_off(void **state)
{
    struct stage *s = *state;
    int fd = ask_for_export(s);
    assert_true(hear(s, fd, 1000));
    must(keyring_destroy(s->r.keyring, s->account.id, "test", NULL, &s->r.why), &s->r.why);
    while (hear(s, fd, (size_t)1 << 20))
        ;
    assert_false(looks_complete(s));
    close(fd);

    /* From now on it is refused in words. */
    pl_buf_reset(&s->heard);
    fd = ask_for_export(s);
    hear(s, fd, 1);
    must(pl_buf_terminate(&s->heard), &s->r.why);
    assert_non_null(strstr((char *)s->heard.data, "HTTP/1.1 409"));
    assert_non_null(strstr((char *)s->heard.data, "\"expired\""));
    close(fd);
}

static unsigned exports_running(struct stage *s)
{
    struct api_stats stats;
    api_stats(s->api, &stats);
    return (unsigned)stats.exports;
}

/* One client reads on, one has stopped reading; another account's would not notice. */
static void test_a_cancelled_export_breaks_off(void **state)
{
    struct stage *s = *state;
    int fds[2];
    for (int i = 0; i < 2; i++) {
        fds[i] = ask_for_export(s);
        assert_true(hear(s, fds[i], 1000));
    }
    assert_int_equal(exports_cancel(s->parts.exports, s->account.id + 1, 0), PL_OK);
    poll(NULL, 0, 2 * API_LOOK_MS);
    assert_int_equal(exports_running(s), 2);
    int64_t began_ms = pl_mono_ms(pl_clock_system());
    assert_int_equal(exports_cancel(s->parts.exports, s->account.id, 5000), PL_OK);
    assert_true(pl_mono_ms(pl_clock_system()) - began_ms < 1000);
    for (int i = 0; i < 2; i++) {
        pl_buf_reset(&s->heard);
        while (hear(s, fds[i], (size_t)1 << 20))
            ;
        assert_false(looks_complete(s));
        close(fds[i]);
    }
    /* While the account lives, another one may begin. */
    int fd = ask_for_export(s);
    while (hear(s, fd, (size_t)1 << 20))
        ;
    assert_true(looks_complete(s));
    close(fd);
}

/* Who reads, and who has stopped reading; others' exports go on. */
static void ends_within_a_second(struct stage *s, const char *owner,
                                 void (*end)(struct stage *s, const struct pl_id128 *token),
                                 const struct pl_id128 *token)
{
    int fds[2], other = ask_for_export(s);
    assert_true(hear(s, other, 1000));
    for (int i = 0; i < 2; i++) {
        fds[i] = ask_for_export_as(s, owner);
        assert_true(hear(s, fds[i], 1000));
    }
    assert_int_equal(exports_running(s), 3);
    assert_audit_tells(s, "revoked, or has expired", false);
    end(s, token);
    const int64_t until_ms = pl_mono_ms(pl_clock_system()) + 1000;
    while (exports_running(s) > 1 && pl_mono_ms(pl_clock_system()) < until_ms) {
        hear(s, fds[0], 1000);
        poll(NULL, 0, 20); /* slowly */
    }
    assert_int_equal(exports_running(s), 1);
    for (int i = 0; i < 2; i++) {
        pl_buf_reset(&s->heard);
        while (hear(s, fds[i], (size_t)1 << 20))
            ;
        assert_false(looks_complete(s));
        close(fds[i]);
    }
    pl_buf_reset(&s->heard);
    while (hear(s, other, (size_t)1 << 20))
        ;
    assert_true(looks_complete(s));
    close(other);
    assert_audit_tells(s, "\"outcome\":\"denied\"", true);
    assert_audit_tells(s, "its token was revoked, or has expired", true);
}

static void revoke_it(struct stage *s, const struct pl_id128 *token)
{
    must(tokens_revoke(s->parts.tokens, token, &s->r.why), &s->r.why);
}

static void test_a_revoked_token_breaks_its_exports_off(void **state)
{
    struct stage *s = *state;
    char text[TOKEN_TEXT_BYTES];
    struct pl_id128 token = make_owner(s, "", text);
    ends_within_a_second(s, text, revoke_it, &token);
}

static void wait_for_its_end(struct stage *s, const struct pl_id128 *token)
{
    struct token_record who = {.id = *token};
    while (tokens_stand(s->parts.tokens, &who))
        poll(NULL, 0, 10);
}

static void test_a_token_that_expires_breaks_its_exports_off(void **state)
{
    struct stage *s = *state;
    char text[TOKEN_TEXT_BYTES], member[64], when[PL_TIME_TEXT];
    pl_time_format(pl_wall_ms(pl_clock_system()) + 2000, when);
    snprintf(member, sizeof(member), ",\"expires_at\":\"%s\"", when);
    struct pl_id128 token = make_owner(s, member, text);
    ends_within_a_second(s, text, wait_for_its_end, &token);
}

static void test_slow_readers_of_one_account_leave_places_for_others(void **state)
{
    struct stage *s = *state;
    const struct account other = make_account(s, "{\"name\":\"b\"}");
    int fds[4];
    const int64_t until_ms = pl_mono_ms(pl_clock_system()) + 10000;
    for (int i = 0; i < 4; i++) {
        fds[i] = ask_for_export(s);
        assert_true(hear(s, fds[i], 1000)); /* and no more */
    }
    assert_int_equal(status_of(s, TOKEN, s->account.id, "/events"), 429);
    assert_non_null(strstr((char *)s->heard.data, "exports of this account"));
    assert_non_null(strcasestr((char *)s->heard.data, "\r\nretry-after: "));
    assert_int_equal(status_of(s, TOKEN, other.id, "/events"), 200);
    /* A place is free again when its reader has left. */
    for (int i = 0; i < 4; i++)
        close(fds[i]);
    while (exports_running(s) > 0 && pl_mono_ms(pl_clock_system()) < until_ms)
        poll(NULL, 0, 10);
    assert_int_equal(exports_running(s), 0);
    assert_int_equal(status_of(s, TOKEN, s->account.id, "/events"), 200);
}

static void test_clients_that_leave_take_nothing_with_them(void **state)
{
    struct stage *s = *state;
    struct api_stats stats;
    for (int i = 0; i < 12; i++) {
        int fd = ask_for_export(s);
        if (i % 3 > 0)
            hear(s, fd, (size_t)(i % 3) * 100000);
        close(fd);
        int64_t until_ms = pl_mono_ms(pl_clock_system()) + 10000;
        do {
            poll(NULL, 0, 2);
            api_stats(s->api, &stats);
        } while (stats.exports > 0 && pl_mono_ms(pl_clock_system()) < until_ms);
        assert_int_equal(stats.exports, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_an_undisturbed_export_is_complete),
        CASE(test_a_destroyed_key_breaks_the_export_off),
        CASE(test_a_cancelled_export_breaks_off),
        CASE(test_a_revoked_token_breaks_its_exports_off),
        CASE(test_a_token_that_expires_breaks_its_exports_off),
        CASE(test_slow_readers_of_one_account_leave_places_for_others),
        CASE(test_clients_that_leave_take_nothing_with_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
