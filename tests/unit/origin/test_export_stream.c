/* An export over HTTP whose account's key is destroyed while the client reads. */
#include "records_fixture.h"

#include "origin/api/call.h"
#include "origin/options.h"
#include "origin/vault/vault.h"
#include "proto/base/text.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 40000u
#define TOKEN  "pt_0000000000000000000000000000000000000000000000000000000000000001"

/* In the tokens' clock. Armed, it keeps the threads that ask it, so many at most, till it is
 * released; the first that asks is the loop, which looks tokens up, the next are workers, which
 * look again before they give anything. */
struct trap {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool armed, looped;
    pthread_t loop;
    int room, caught;
};

struct stage {
    struct records r;
    struct trap trap;
    struct origin_options options;
    struct origin_parts parts;
    struct api *api;
    struct account account;
    struct pl_buf heard;
    char audit_path[96];
    struct pl_clock clock; /* the tokens' */
    _Atomic int64_t step_ms, late_ms;
};

/* It goes on by a step whenever it is read, and may keep who reads it. */
static int64_t trap_wall_ms(void *ctx)
{
    struct stage *s = ctx;
    struct trap *trap = &s->trap;
    pthread_mutex_lock(&trap->lock);
    if (trap->armed && !trap->looped) {
        trap->loop = pthread_self();
        trap->looped = true;
    }
    if (trap->armed && trap->room > 0 && !pthread_equal(trap->loop, pthread_self())) {
        trap->room--;
        trap->caught++;
        while (trap->armed)
            pthread_cond_wait(&trap->changed, &trap->lock);
    }
    pthread_mutex_unlock(&trap->lock);
    return pl_wall_ms(pl_clock_system()) + (s->late_ms += s->step_ms);
}

static int64_t trap_mono_ms(void *ctx)
{
    (void)ctx;
    return pl_mono_ms(pl_clock_system());
}

static void trap_set(struct trap *trap, bool armed, int room)
{
    pthread_mutex_lock(&trap->lock);
    trap->armed = armed;
    trap->room = room;
    pthread_cond_broadcast(&trap->changed);
    pthread_mutex_unlock(&trap->lock);
}

static int trap_caught(struct trap *trap)
{
    pthread_mutex_lock(&trap->lock);
    int caught = trap->caught;
    pthread_mutex_unlock(&trap->lock);
    return caught;
}

static void make_parts(struct stage *s)
{
    pthread_mutex_init(&s->trap.lock, NULL);
    pthread_cond_init(&s->trap.changed, NULL);
    uint8_t hash[PL_SHA256_BYTES];
    char hash_text[65];
    pl_sha256_one(PL_SPAN_LIT(TOKEN), hash);
    pl_hex_encode(pl_span(hash, sizeof(hash)), hash_text);
    s->options = (struct origin_options){.http_loops = 1, .api_workers = 2, .exports_max = 8};
    s->parts = (struct origin_parts){.options = &s->options,
                                     .clock = pl_clock_system(),
                                     .log = &s->r.f.silent,
                                     .store = s->r.store,
                                     .keyring = s->r.keyring};
    snprintf(s->audit_path, sizeof(s->audit_path), "%s/audit.ndjson", s->r.f.dir);
    const char *audit_paths[] = {s->audit_path};
    const struct audit_config audit = {.paths = audit_paths,
                                       .path_count = 1,
                                       .create = true,
                                       .max_bytes = 1 << 20,
                                       .clock = pl_clock_system(),
                                       .log = &s->r.f.silent};
    must(audit_open(&s->parts.audit, &audit, &s->r.why), &s->r.why);
    must(exports_new(&s->parts.exports), &s->r.why);
    must(day_counts_new(&s->parts.day_counts, s->r.store), &s->r.why);
    must(changelog_open(&s->parts.changelog, s->r.store, pl_random_system(), &s->r.why), &s->r.why);
    s->clock = (struct pl_clock){.wall_ms = trap_wall_ms, .mono_ms = trap_mono_ms, .ctx = s};
    must(tokens_open(&s->parts.tokens, s->r.store, hash_text, &s->clock, pl_random_system(),
                     &s->r.why),
         &s->r.why);
    struct accounts_config accounts = {.store = s->r.store,
                                       .changelog = s->parts.changelog,
                                       .keyring = s->r.keyring,
                                       .clock = pl_clock_system(),
                                       .random = pl_random_system(),
                                       .log = &s->r.f.silent};
    must(accounts_open(&s->parts.accounts, &accounts, &s->r.why), &s->r.why);
    must(accounts_create(s->parts.accounts, parse(&s->r, "{\"name\":\"a\"}"), &s->account,
                         &s->r.why),
         &s->r.why);
}

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
    static const struct http_listener listener = {.address = "127.0.0.1"};
    struct http_server_config config;
    struct stage *s = calloc(1, sizeof(*s));
    records_init(&s->r);
    make_parts(s);
    put_events(s);
    pl_buf_init(&s->heard, (size_t)64 << 20);
    must(api_new(&s->api, &s->parts, &s->r.why), &s->r.why);
    http_server_config_init(&config);
    config.listeners = &listener;
    config.listener_count = 1;
    config.log = &s->r.f.silent;
    api_configure(s->api, &config);
    must(http_server_new(&s->parts.http, &config, &s->r.why), &s->r.why);
    must(api_start(s->api, &s->r.why), &s->r.why);
    must(http_server_start(s->parts.http, &s->r.why), &s->r.why);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct stage *s = *state;
    struct api_stats stats;
    trap_set(&s->trap, false, 0); /* of a test that failed */
    http_server_drain(s->parts.http, 2000);
    api_stop(s->api);
    api_stats(s->api, &stats);
    assert_int_equal(stats.exports, 0);
    assert_int_equal(stats.waiting, 0);
    http_server_free(s->parts.http);
    api_free(s->api);
    accounts_close(s->parts.accounts);
    tokens_close(s->parts.tokens);
    changelog_close(s->parts.changelog);
    day_counts_free(s->parts.day_counts);
    exports_free(s->parts.exports);
    audit_close(s->parts.audit);
    pl_buf_release(&s->heard);
    records_release(&s->r);
    free(s);
    return 0;
}

static int ask(struct stage *s, const char *token, uint64_t account, const char *rest)
{
    char request[256];
    int buffer_bytes = 256 * 1024, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(http_server_port(s->parts.http, 0)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer_bytes, sizeof(buffer_bytes));
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    int len = snprintf(request, sizeof(request),
                       "GET /api/v1/accounts/%016llx%s HTTP/1.1\r\nHost: t\r\n"
                       "Authorization: Bearer %s\r\n\r\n",
                       (unsigned long long)account, rest, token);
    assert_int_equal(send(fd, request, (size_t)len, MSG_NOSIGNAL), len);
    return fd;
}

static int ask_for_export_as(struct stage *s, const char *token)
{
    return ask(s, token, s->account.id, "/events");
}

static int ask_for_export(struct stage *s)
{
    return ask_for_export_as(s, TOKEN);
}

/* Reads up to max bytes; false when the connection ended or broke. */
static bool hear(struct stage *s, int fd, size_t max)
{
    for (size_t from = s->heard.len; s->heard.len - from < max;) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&ready, 1, 10000), 1);
        must(pl_buf_reserve(&s->heard, 65536), &s->r.why);
        ssize_t n = recv(fd, s->heard.data + s->heard.len, 65536, 0);
        if (n <= 0)
            return false;
        s->heard.len += (size_t)n;
        if (s->heard.len >= 5 && memcmp(s->heard.data + s->heard.len - 5, "0\r\n\r\n", 5) == 0)
            return false;
    }
    return true;
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

static void assert_audit_tells(struct stage *s, const char *words, bool tells)
{
    struct pl_buf log;
    uint64_t next;
    pl_buf_init(&log, 1 << 20);
    must(audit_read(s->parts.audit, 1, 1 << 20, &log, &next, &s->r.why), &s->r.why);
    must(pl_buf_terminate(&log), &s->r.why);
    assert_true((strstr((char *)log.data, words) != NULL) == tells);
    pl_buf_release(&log);
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

static struct pl_id128 make_owner(struct stage *s, const char *member, char text[TOKEN_TEXT_BYTES])
{
    struct token_record token;
    char request[160];
    snprintf(request, sizeof(request), "{\"role\":\"owner\",\"account\":\"%016llx\"%s}",
             (unsigned long long)s->account.id, member);
    must(tokens_create(s->parts.tokens, parse(&s->r, request), &token, text, &s->r.why), &s->r.why);
    return token.id;
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

static void test_a_token_that_ends_within_a_call_gets_nothing_and_that_is_noted(void **state)
{
    struct stage *s = *state;
    char text[TOKEN_TEXT_BYTES], member[64], when[PL_TIME_TEXT];
    pl_time_format(pl_wall_ms(pl_clock_system()) + 3 * PL_HOUR_MS, when);
    snprintf(member, sizeof(member), ",\"expires_at\":\"%s\"", when);
    make_owner(s, member, text);
    s->step_ms = 2 * PL_HOUR_MS; /* good when the call begins, and not when it ends */
    int fd = ask(s, text, s->account.id, "");
    hear(s, fd, 1);
    close(fd);
    must(pl_buf_terminate(&s->heard), &s->r.why);
    assert_non_null(strstr((char *)s->heard.data, "HTTP/1.1 403"));
    assert_non_null(strstr((char *)s->heard.data, "has expired, meanwhile"));
    assert_audit_tells(s, "\"action\":\"api.read\",\"outcome\":\"denied\"", true);
}

struct reader {
    struct exports *exports;
    struct exports_ticket *ticket;
    pthread_t thread;
};

/* A slice that ends as soon as it is told. */
static void *read_until_stopped(void *arg)
{
    struct reader *r = arg;
    while (!r->ticket->stop)
        poll(NULL, 0, 1);
    poll(NULL, 0, 20);
    exports_leave(r->exports, r->ticket);
    return NULL;
}

static void test_cancelling_waits_for_the_slice(void **state)
{
    struct exports *x;
    struct exports_ticket mine = {.account = 1}, other = {.account = 2}, idle = {.account = 1};
    struct pl_why why;
    (void)state;
    must(exports_new(&x), &why);
    exports_open(x, &mine);
    exports_open(x, &other);
    exports_open(x, &idle);
    must(exports_enter(x, &mine, &why), &why);
    must(exports_enter(x, &other, &why), &why);
    assert_int_equal(exports_cancel(x, 1, 10), PL_ETIMEDOUT);
    assert_true(mine.stop && idle.stop && !other.stop);
    struct reader r = {.exports = x, .ticket = &mine};
    assert_int_equal(pthread_create(&r.thread, NULL, read_until_stopped, &r), 0);
    assert_int_equal(exports_cancel(x, 1, 10000), PL_OK);
    assert_int_equal(exports_enter(x, &mine, &why), PL_EEXPIRED);
    assert_int_equal(exports_enter(x, &idle, &why), PL_EEXPIRED);
    pthread_join(r.thread, NULL);
    exports_leave(x, &other);
    assert_int_equal(exports_enter(x, &other, &why), PL_OK);
    exports_leave(x, &other);
    exports_close(x, &idle);
    exports_close(x, &other);
    exports_close(x, &mine);
    exports_close(x, &mine);
    exports_free(x);
}

/* The status that a request of the account is answered with. */
static int status_of(struct stage *s, const char *token, uint64_t account, const char *rest)
{
    int status = 0, fd = ask(s, token, account, rest);
    pl_buf_reset(&s->heard);
    hear(s, fd, 1);
    must(pl_buf_terminate(&s->heard), &s->r.why);
    assert_int_equal(sscanf((char *)s->heard.data, "HTTP/1.1 %d", &status), 1);
    close(fd);
    return status;
}

static void test_slow_readers_of_one_account_leave_places_for_others(void **state)
{
    struct stage *s = *state;
    struct account other;
    int fds[4];
    const int64_t until_ms = pl_mono_ms(pl_clock_system()) + 10000;
    must(accounts_create(s->parts.accounts, parse(&s->r, "{\"name\":\"b\"}"), &other, &s->r.why),
         &s->r.why);
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
    struct account other;
    struct token_record token;
    char text[TOKEN_TEXT_BYTES], others[TOKEN_TEXT_BYTES], request[128];
    int fds[API_WAITING_MAX / 8];
    const size_t count = sizeof(fds) / sizeof(fds[0]);
    (void)make_owner(s, "", text);
    must(accounts_create(s->parts.accounts, parse(&s->r, "{\"name\":\"b\"}"), &other, &s->r.why),
         &s->r.why);
    snprintf(request, sizeof(request), "{\"role\":\"owner\",\"account\":\"%016llx\"}",
             (unsigned long long)other.id);
    must(tokens_create(s->parts.tokens, parse(&s->r, request), &token, others, &s->r.why),
         &s->r.why);

    trap_set(&s->trap, true, 2);
    for (size_t i = 0; i < count; i++)
        fds[i] = ask(s, text, s->account.id, "");
    const int64_t until_ms = pl_mono_ms(pl_clock_system()) + 10000;
    struct api_stats stats;
    do {
        api_stats(s->api, &stats);
    } while ((stats.waiting < count || trap_caught(&s->trap) == 0) &&
             pl_mono_ms(pl_clock_system()) < until_ms);
    assert_int_equal(stats.waiting, count);
    poll(NULL, 0, 200); /* long enough for a second worker to be caught */
    trap_set(&s->trap, true, 0);
    assert_int_equal(trap_caught(&s->trap), 1);
    assert_int_equal(status_of(s, TOKEN, s->account.id, ""), 200);
    assert_int_equal(status_of(s, text, s->account.id, ""), 429);
    assert_non_null(strstr((char *)s->heard.data, "as many of your calls"));
    assert_non_null(strcasestr((char *)s->heard.data, "\r\nretry-after: "));
    const int queued = ask(s, others, other.id, "");

    trap_set(&s->trap, false, 0);
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
        cmocka_unit_test_setup_teardown(test_an_undisturbed_export_is_complete, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_destroyed_key_breaks_the_export_off, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_cancelled_export_breaks_off, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_revoked_token_breaks_its_exports_off, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            test_a_token_that_ends_within_a_call_gets_nothing_and_that_is_noted, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_token_that_expires_breaks_its_exports_off, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_slow_readers_of_one_account_leave_places_for_others,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_owner_cannot_call_as_fast_as_it_likes, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_an_owner_cannot_keep_the_workers_busy, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_the_last_of_the_log_is_not_for_owners, setup,
                                        teardown),
        cmocka_unit_test(test_cancelling_waits_for_the_slice),
        cmocka_unit_test_setup_teardown(test_clients_that_leave_take_nothing_with_them, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
