/* What the API stands on, with one account; and clients of it, once it is served. */
#ifndef POLDER_TESTS_ORIGIN_API_FIXTURE_H
#define POLDER_TESTS_ORIGIN_API_FIXTURE_H

#include "records_fixture.h"

#include "origin/api/call.h"
#include "origin/options.h"
#include "proto/base/text.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

/* The operator's. */
#define TOKEN "pt_0000000000000000000000000000000000000000000000000000000000000001"

struct stage {
    struct records r;
    struct origin_options options;
    struct origin_parts parts;
    struct account account;
    struct api *api; /* served */
    struct pl_buf heard;
};

static inline void open_audit(struct stage *s)
{
    char path[96];
    snprintf(path, sizeof(path), "%s/audit.ndjson", s->r.f.dir);
    const char *paths[] = {path};
    const struct audit_config config = {.paths = paths,
                                        .path_count = 1,
                                        .create = true,
                                        .max_bytes = 1 << 20,
                                        .clock = s->parts.clock,
                                        .log = &s->r.f.silent};
    must(audit_open(&s->parts.audit, &config, &s->r.why), &s->r.why);
}

static inline void open_tokens(struct stage *s, const struct pl_clock *clock)
{
    uint8_t hash[PL_SHA256_BYTES];
    char text[65];
    pl_sha256_one(PL_SPAN_LIT(TOKEN), hash);
    pl_hex_encode(pl_span(hash, sizeof(hash)), text);
    must(tokens_open(&s->parts.tokens, s->r.store, text, clock, pl_random_system(), &s->r.why),
         &s->r.why);
}

static inline struct account make_account(struct stage *s, const char *request)
{
    struct account account;
    must(accounts_create(s->parts.accounts, parse(&s->r, request), &account, &s->r.why), &s->r.why);
    return account;
}

/* clock NULL: the one that the test sets. tokens_clock NULL: as clock. */
static inline struct stage *stage_new(const struct pl_clock *clock,
                                      const struct pl_clock *tokens_clock)
{
    struct stage *s = calloc(1, sizeof(*s));
    records_init(&s->r);
    s->options = (struct origin_options){.http_loops = 1, .api_workers = 2, .exports_max = 8};
    s->parts = (struct origin_parts){.options = &s->options,
                                     .clock = clock == NULL ? &s->r.clock : clock,
                                     .log = &s->r.f.silent,
                                     .store = s->r.store,
                                     .keyring = s->r.keyring};
    open_audit(s);
    must(exports_new(&s->parts.exports), &s->r.why);
    must(day_counts_new(&s->parts.day_counts, s->r.store), &s->r.why);
    must(changelog_open(&s->parts.changelog, s->r.store, pl_random_system(), &s->r.why), &s->r.why);
    open_tokens(s, tokens_clock == NULL ? s->parts.clock : tokens_clock);
    const struct accounts_config accounts = {.store = s->r.store,
                                             .changelog = s->parts.changelog,
                                             .keyring = s->r.keyring,
                                             .clock = s->parts.clock,
                                             .random = pl_random_system(),
                                             .log = &s->r.f.silent};
    must(accounts_open(&s->parts.accounts, &accounts, &s->r.why), &s->r.why);
    s->account = make_account(s, "{\"name\":\"a\"}");
    return s;
}

static inline void stage_free(struct stage *s)
{
    accounts_close(s->parts.accounts);
    tokens_close(s->parts.tokens);
    changelog_close(s->parts.changelog);
    day_counts_free(s->parts.day_counts);
    exports_free(s->parts.exports);
    audit_close(s->parts.audit);
    records_release(&s->r);
    free(s);
}

/* A token for that account's owner; member: "", or one more of the request. */
static inline struct token_record make_owner_of(struct stage *s, uint64_t account,
                                                const char *member, char text[TOKEN_TEXT_BYTES])
{
    struct token_record token;
    char request[160];
    snprintf(request, sizeof(request), "{\"role\":\"owner\",\"account\":\"%016llx\"%s}",
             (unsigned long long)account, member);
    must(tokens_create(s->parts.tokens, parse(&s->r, request), &token, text, &s->r.why), &s->r.why);
    return token;
}

static inline struct pl_id128 make_owner(struct stage *s, const char *member,
                                         char text[TOKEN_TEXT_BYTES])
{
    return make_owner_of(s, s->account.id, member, text).id;
}

static inline void assert_audit_tells(struct stage *s, const char *words, bool tells)
{
    struct pl_buf log;
    uint64_t next;
    pl_buf_init(&log, 1 << 20);
    must(audit_read(s->parts.audit, 1, 1 << 20, &log, &next, &s->r.why), &s->r.why);
    must(pl_buf_terminate(&log), &s->r.why);
    assert_true((strstr((char *)log.data, words) != NULL) == tells);
    pl_buf_release(&log);
}

/* ---- over HTTP */

static inline void serve(struct stage *s)
{
    static const struct http_listener listener = {.address = "127.0.0.1"};
    struct http_server_config config;
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
}

static inline void stop_serving(struct stage *s)
{
    struct api_stats stats;
    http_server_drain(s->parts.http, 2000);
    api_stop(s->api);
    api_stats(s->api, &stats);
    assert_int_equal(stats.exports, 0);
    assert_int_equal(stats.waiting, 0);
    http_server_free(s->parts.http);
    api_free(s->api);
    pl_buf_release(&s->heard);
}

static inline int ask(struct stage *s, const char *token, uint64_t account, const char *rest)
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

/* Reads up to max bytes; false when the connection ended or broke. */
static inline bool hear(struct stage *s, int fd, size_t max)
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

/* The status that a request of the account is answered with. */
static inline int status_of(struct stage *s, const char *token, uint64_t account, const char *rest)
{
    int status = 0, fd = ask(s, token, account, rest);
    pl_buf_reset(&s->heard);
    hear(s, fd, 1);
    must(pl_buf_terminate(&s->heard), &s->r.why);
    assert_int_equal(sscanf((char *)s->heard.data, "HTTP/1.1 %d", &status), 1);
    close(fd);
    return status;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
