/* What owners' calls are held to, so that operators and other owners get theirs. */
#include "api_fixture.h"

#include <pthread.h>

/* The tokens' clock: goes on by a step whenever it is read. Armed, it keeps the threads that ask
 * it, so many at most, till it is released; the first that asks is the loop, which looks tokens up,
 * the next are workers, which look again before they give anything. */
struct trap {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool armed, looped;
    pthread_t loop;
    int room, caught;
    _Atomic int64_t step_ms, late_ms;
    struct pl_clock clock;
};

static struct trap trap;

static int64_t trap_wall_ms(void *ctx)
{
    (void)ctx;
    pthread_mutex_lock(&trap.lock);
    if (trap.armed && !trap.looped) {
        trap.loop = pthread_self();
        trap.looped = true;
    }
    if (trap.armed && trap.room > 0 && !pthread_equal(trap.loop, pthread_self())) {
        trap.room--;
        trap.caught++;
        while (trap.armed)
            pthread_cond_wait(&trap.changed, &trap.lock);
    }
    pthread_mutex_unlock(&trap.lock);
    return pl_wall_ms(pl_clock_system()) + (trap.late_ms += trap.step_ms);
}

static int64_t trap_mono_ms(void *ctx)
{
    (void)ctx;
    return pl_mono_ms(pl_clock_system());
}

static void trap_set(bool armed, int room)
{
    pthread_mutex_lock(&trap.lock);
    trap.armed = armed;
    trap.room = room;
    pthread_cond_broadcast(&trap.changed);
    pthread_mutex_unlock(&trap.lock);
}

static int trap_caught(void)
{
    pthread_mutex_lock(&trap.lock);
    int caught = trap.caught;
    pthread_mutex_unlock(&trap.lock);
    return caught;
}

static int setup(void **state)
{
    memset(&trap, 0, sizeof(trap));
    pthread_mutex_init(&trap.lock, NULL);
    pthread_cond_init(&trap.changed, NULL);
    trap.clock = (struct pl_clock){.wall_ms = trap_wall_ms, .mono_ms = trap_mono_ms};
    struct stage *s = stage_new(pl_clock_system(), &trap.clock);
    serve(s);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    trap_set(false, 0); /* of a test that failed */
    stop_serving(*state);
    stage_free(*state);
    return 0;
}

static void test_a_token_that_ends_within_a_call_gets_nothing_and_that_is_noted(void **state)
{
    struct stage *s = *state;
    char text[TOKEN_TEXT_BYTES], member[64], when[PL_TIME_TEXT];
    pl_time_format(pl_wall_ms(pl_clock_system()) + 3 * PL_HOUR_MS, when);
    snprintf(member, sizeof(member), ",\"expires_at\":\"%s\"", when);
    make_owner(s, member, text);
    trap.step_ms = 2 * PL_HOUR_MS; /* good when the call begins, and not when it ends */
    int fd = ask(s, text, s->account.id, "");
    hear(s, fd, 1);
    close(fd);
    must(pl_buf_terminate(&s->heard), &s->r.why);
    assert_non_null(strstr((char *)s->heard.data, "HTTP/1.1 403"));
    assert_non_null(strstr((char *)s->heard.data, "has expired, meanwhile"));
    assert_audit_tells(s, "\"action\":\"api.read\",\"outcome\":\"denied\"", true);
}

/* No visitor's data is given out by these: what counts is that they are noted. */
static void test_an_owner_cannot_call_as_fast_as_it_likes(void **state)
{
    struct stage *s = *state;
    char text[TOKEN_TEXT_BYTES];
    int calls = 0;
    (void)make_owner(s, "", text);
    while (calls < 1000 && status_of(s, text, s->account.id, "/events?from=x") == 400)
        calls++;
    assert_in_range(calls, API_OWNER_CALLS, 900);
    assert_non_null(strstr((char *)s->heard.data, "HTTP/1.1 429"));
    assert_non_null(strstr((char *)s->heard.data, "sixty calls a minute"));
    assert_non_null(strcasestr((char *)s->heard.data, "\r\nretry-after: 1\r\n"));
    /* What is not noted may go on, and so may operators. */
    assert_int_equal(status_of(s, text, s->account.id, ""), 200);
    for (int i = 0; i < API_OWNER_CALLS + 20; i++)
        assert_int_equal(status_of(s, TOKEN, s->account.id, "/events?from=x"), 400);
}

/* Owners' calls that take for ever keep neither operators waiting nor other owners out. */
static void test_an_owner_cannot_keep_the_workers_busy(void **state)
{
    struct stage *s = *state;
    const struct account other = make_account(s, "{\"name\":\"b\"}");
    char text[TOKEN_TEXT_BYTES], others[TOKEN_TEXT_BYTES];
    int fds[API_WAITING_MAX / 8];
    const size_t count = sizeof(fds) / sizeof(fds[0]);
    (void)make_owner(s, "", text);
    (void)make_owner_of(s, other.id, "", others);

    trap_set(true, 2);
    for (size_t i = 0; i < count; i++)
        fds[i] = ask(s, text, s->account.id, "");
    const int64_t until_ms = pl_mono_ms(pl_clock_system()) + 10000;
    struct api_stats stats;
    do {
        api_stats(s->api, &stats);
    } while ((stats.waiting < count || trap_caught() == 0) &&
             pl_mono_ms(pl_clock_system()) < until_ms);
    assert_int_equal(stats.waiting, count);
    poll(NULL, 0, 200); /* long enough for a second worker to be caught */
    trap_set(true, 0);
    assert_int_equal(trap_caught(), 1);
    assert_int_equal(status_of(s, TOKEN, s->account.id, ""), 200);
    assert_int_equal(status_of(s, text, s->account.id, ""), 429);
    assert_non_null(strstr((char *)s->heard.data, "as many of your calls"));
    assert_non_null(strcasestr((char *)s->heard.data, "\r\nretry-after: "));
    const int queued = ask(s, others, other.id, "");

    trap_set(false, 0);
    for (size_t i = 0; i < count; i++) {
        pl_buf_reset(&s->heard);
        hear(s, fds[i], 1);
        assert_memory_equal(s->heard.data, "HTTP/1.1 200", 12);
        close(fds[i]);
    }
    pl_buf_reset(&s->heard);
    hear(s, queued, 1);
    assert_memory_equal(s->heard.data, "HTTP/1.1 200", 12);
    close(queued);
    assert_int_equal(status_of(s, text, s->account.id, ""), 200);
}

/* A log of a MiB. */
static void test_the_last_of_the_log_is_not_for_owners(void **state)
{
    struct stage *s = *state;
    const struct audit_entry filler = {
        .actor = "lifecycle", .action = "account.expire", .outcome = AUDIT_DONE};
    struct audit_status status;
    char text[TOKEN_TEXT_BYTES];
    (void)make_owner(s, "", text);
    assert_int_equal(status_of(s, text, s->account.id, "/events"), 200);
    do {
        must(audit_note(s->parts.audit, &filler, &s->r.why), &s->r.why);
        audit_status(s->parts.audit, &status);
    } while (status.journal.bytes < status.journal.max_bytes / 8 * 7);
    assert_int_equal(status_of(s, text, s->account.id, "/events"), 503);
    assert_non_null(strstr((char *)s->heard.data, "no room left for owners"));
    audit_status(s->parts.audit, &status);
    assert_string_equal(status.trouble, "");
    assert_int_equal(status_of(s, TOKEN, s->account.id, "/events"), 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_a_token_that_ends_within_a_call_gets_nothing_and_that_is_noted),
        CASE(test_an_owner_cannot_call_as_fast_as_it_likes),
        CASE(test_an_owner_cannot_keep_the_workers_busy),
        CASE(test_the_last_of_the_log_is_not_for_owners),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
