/*
 * What the tests of proto/http share: a server in this process and clients that speak over raw
 * sockets, so that what is asserted is what stands on the wire.
 */
#ifndef POLDER_TESTS_UNIT_HTTP_HARNESS_H
#define POLDER_TESTS_UNIT_HTTP_HARNESS_H

#include "proto/http/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define UNUSED __attribute__((unused))

/* ---- what routes answer ---------------------------------------------------------------- */

static UNUSED void answer_ok(struct http_request *request, void *arg)
{
    (void)arg;
    http_reply(request, 200, NULL, 0, PL_SPAN_LIT("ok"));
}

static UNUSED void answer_length(struct http_request *request, void *arg)
{
    char text[32];
    (void)arg;
    int n = snprintf(text, sizeof(text), "%zu", http_request_body(request).len);
    http_reply(request, 200, NULL, 0, pl_span(text, (size_t)n));
}

/* ---- server ---------------------------------------------------------------------------- */

struct fixture {
    struct http_listener listener;
    struct http_server_config config;
    struct http_server *server;
    uint16_t port;
};

static UNUSED void fixture_init(struct fixture *f, const struct http_route *routes, size_t count)
{
    memset(f, 0, sizeof(*f));
    http_server_config_init(&f->config);
    f->listener = (struct http_listener){.address = "127.0.0.1"};
    f->config.listeners = &f->listener;
    f->config.listener_count = 1;
    f->config.routes = routes;
    f->config.route_count = count;
}

static UNUSED void fixture_start(struct fixture *f)
{
    struct pl_why why = {0};
    if (http_server_new(&f->server, &f->config, &why) != PL_OK ||
        http_server_start(f->server, &why) != PL_OK)
        fail_msg("%s", why.text);
    f->port = http_server_port(f->server, 0);
}

static UNUSED void fixture_stop(struct fixture *f)
{
    struct http_stats stats;
    http_server_drain(f->server, 3000);
    http_server_stats(f->server, &stats);
    assert_int_equal(stats.connections_open, 0);
    http_server_free(f->server);
}

static UNUSED struct http_stats fixture_stats(struct fixture *f)
{
    struct http_stats stats;
    http_server_stats(f->server, &stats);
    return stats;
}

static UNUSED int64_t now_ms(void)
{
    return pl_mono_ms(pl_clock_system());
}

/* Polls a condition; the tests' only way of waiting for another thread. */
#define EVENTUALLY(condition)                                                                      \
    do {                                                                                           \
        int64_t until_ = now_ms() + 5000;                                                          \
        while (!(condition) && now_ms() < until_)                                                  \
            poll(NULL, 0, 2);                                                                      \
        assert_true(condition);                                                                    \
    } while (0)

/* ---- client ---------------------------------------------------------------------------- */

static UNUSED int dial_with(uint16_t port, int receive_buffer_bytes)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    if (receive_buffer_bytes != 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer_bytes, sizeof(receive_buffer_bytes));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

static UNUSED int dial(uint16_t port)
{
    return dial_with(port, 0);
}

static UNUSED void say_bytes(int fd, const void *data, size_t len)
{
    const char *at = data;
    while (len != 0) {
        ssize_t n = send(fd, at, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return; /* the server may well have hung up */
        at += n;
        len -= (size_t)n;
    }
}

static UNUSED void say(int fd, const char *text)
{
    say_bytes(fd, text, strlen(text));
}

/* Up to len bytes within 5 s; 0: end of stream; -1: reset or nothing came. */
static UNUSED ssize_t hear(int fd, void *out, size_t len)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    if (poll(&ready, 1, 5000) != 1)
        return -1;
    return recv(fd, out, len, 0);
}

struct reply {
    int status;
    char head[8192];
    char body[65536];
    size_t body_len;
    bool complete;
};

static UNUSED const char *reply_header(const struct reply *reply, const char *name)
{
    static char value[512];
    const char *line = reply->head;
    size_t len = strlen(name);
    while ((line = strstr(line, "\r\n")) != NULL) {
        line += 2;
        if (strncasecmp(line, name, len) == 0 && line[len] == ':') {
            const char *from = line + len + 1, *to = strstr(from, "\r\n");
            while (*from == ' ')
                ++from;
            snprintf(value, sizeof(value), "%.*s", (int)(to - from), from);
            return value;
        }
    }
    return NULL;
}

static UNUSED bool read_exactly(int fd, char *out, size_t len)
{
    while (len != 0) {
        ssize_t n = hear(fd, out, len);
        if (n <= 0)
            return false;
        out += n;
        len -= (size_t)n;
    }
    return true;
}

static UNUSED bool read_until(int fd, char *out, size_t size, const char *end)
{
    size_t len = 0, end_len = strlen(end);
    while (len + 1 < size && read_exactly(fd, out + len, 1)) {
        out[++len] = '\0';
        if (len >= end_len && memcmp(out + len - end_len, end, end_len) == 0)
            return true;
    }
    return false;
}

static UNUSED bool read_chunks(int fd, struct reply *reply)
{
    char line[32], crlf[2];
    for (;;) {
        if (!read_until(fd, line, sizeof(line), "\r\n"))
            return false;
        char *after;
        size_t len = strtoul(line, &after, 16);
        if (after == line || len > sizeof(reply->body) - reply->body_len)
            return false;
        if (!read_exactly(fd, reply->body + reply->body_len, len) || !read_exactly(fd, crlf, 2))
            return false;
        reply->body_len += len;
        if (len == 0)
            return crlf[0] == '\r';
    }
}

/* One HTTP/1 reply. head_request: the body is not sent although its length is. */
static UNUSED struct reply *read_reply_to(int fd, bool head_request)
{
    static struct reply reply;
    memset(&reply, 0, sizeof(reply));
    if (!read_until(fd, reply.head, sizeof(reply.head), "\r\n\r\n"))
        return &reply;
    reply.status = atoi(reply.head + strlen("HTTP/1.1 "));
    const char *length = reply_header(&reply, "content-length");
    const char *coding = reply_header(&reply, "transfer-encoding");
    if (head_request || reply.status == 204 || reply.status == 304) {
        reply.complete = true;
    } else if (coding != NULL) {
        reply.complete = read_chunks(fd, &reply);
    } else if (length != NULL) {
        reply.body_len = strtoul(length, NULL, 10);
        assert_true(reply.body_len < sizeof(reply.body));
        reply.complete = read_exactly(fd, reply.body, reply.body_len);
    } else {
        ssize_t n;
        while ((n = hear(fd, reply.body + reply.body_len, sizeof(reply.body) - reply.body_len)) > 0)
            reply.body_len += (size_t)n;
        reply.complete = n == 0;
    }
    return &reply;
}

static UNUSED struct reply *read_reply(int fd)
{
    return read_reply_to(fd, false);
}

static UNUSED struct reply *ask(int fd, const char *request)
{
    say(fd, request);
    return read_reply(fd);
}

/* The server has ended the connection, in whatever way; a reply that it sent goes before that. */
static UNUSED void assert_hung_up(int fd)
{
    char byte;
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&ready, 1, 5000), 1);
    assert_true(recv(fd, &byte, 1, 0) <= 0);
    close(fd);
}

/* The server has ended the connection in an orderly way: no reset. */
static UNUSED void assert_closed(int fd)
{
    char byte;
    assert_int_equal(hear(fd, &byte, 1), 0);
    close(fd);
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: test\r\n\r\n"

/* ---- HTTP/2, cleartext with prior knowledge --------------------------------------------- */

enum {
    H2_DATA,
    H2_HEADERS,
    H2_PRIORITY,
    H2_RST,
    H2_SETTINGS,
    H2_PUSH,
    H2_PING,
    H2_GOAWAY,
    H2_WINDOW,
    H2_CONTINUATION
};
#define H2_END_STREAM  0x1
#define H2_END_HEADERS 0x4

struct frame {
    unsigned type, flags;
    uint32_t stream;
    size_t len;
    uint8_t payload[16384];
};

static UNUSED size_t put_frame(uint8_t *out, unsigned type, unsigned flags, uint32_t stream,
                               const void *payload, size_t len)
{
    out[0] = (uint8_t)(len >> 16);
    out[1] = (uint8_t)(len >> 8);
    out[2] = (uint8_t)len;
    out[3] = (uint8_t)type;
    out[4] = (uint8_t)flags;
    pl_store_u32(out + 5, stream);
    if (len != 0)
        memcpy(out + 9, payload, len);
    return 9 + len;
}

static UNUSED void say_frame(int fd, unsigned type, unsigned flags, uint32_t stream,
                             const void *payload, size_t len)
{
    static uint8_t frame[9 + 16384];
    say_bytes(fd, frame, put_frame(frame, type, flags, stream, payload, len));
}

/* Literal without indexing (RFC 7541 section 6.2.2), both strings under 127 bytes. */
static UNUSED size_t put_header(uint8_t *out, const char *name, const char *value)
{
    size_t n = strlen(name), v = strlen(value);
    out[0] = 0;
    out[1] = (uint8_t)n;
    memcpy(out + 2, name, n);
    out[2 + n] = (uint8_t)v;
    memcpy(out + 3 + n, value, v);
    return 3 + n + v;
}

static UNUSED size_t put_request(uint8_t *out, const char *method, const char *path)
{
    size_t len = put_header(out, ":method", method);
    len += put_header(out + len, ":scheme", "http");
    len += put_header(out + len, ":path", path);
    len += put_header(out + len, ":authority", "test");
    return len;
}

static UNUSED void h2_ask(int fd, uint32_t stream, const char *method, const char *path, bool end)
{
    uint8_t block[512];
    size_t len = put_request(block, method, path);
    say_frame(fd, H2_HEADERS, H2_END_HEADERS | (end ? H2_END_STREAM : 0), stream, block, len);
}

static UNUSED int h2_dial_with(uint16_t port, const uint8_t *settings, size_t len)
{
    int fd = dial(port);
    say(fd, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    say_frame(fd, H2_SETTINGS, 0, 0, settings, len);
    return fd;
}

static UNUSED int h2_dial(uint16_t port)
{
    return h2_dial_with(port, NULL, 0);
}

static UNUSED bool h2_hear(int fd, struct frame *frame)
{
    uint8_t head[9];
    if (!read_exactly(fd, (char *)head, sizeof(head)))
        return false;
    frame->len = ((size_t)head[0] << 16) | ((size_t)head[1] << 8) | head[2];
    frame->type = head[3];
    frame->flags = head[4];
    frame->stream = pl_load_u32(head + 5) & 0x7fffffffu;
    assert_true(frame->len <= sizeof(frame->payload));
    return read_exactly(fd, (char *)frame->payload, frame->len);
}

/* The next frame of a type, skipping others. */
static UNUSED bool h2_await(int fd, unsigned type, struct frame *frame)
{
    while (h2_hear(fd, frame))
        if (frame->type == type)
            return true;
    return false;
}

/* :status of a HEADERS frame as libh2o's encoder writes it; 0 when it is not understood. */
static UNUSED int h2_status(const struct frame *frame)
{
    static const int indexed[] = {200, 204, 206, 304, 400, 404, 500};
    const uint8_t *p = frame->payload;
    if (p[0] >= 0x88 && p[0] <= 0x8e)
        return indexed[p[0] - 0x88];
    if (p[0] == 0x08 && p[1] == 3)
        return (p[2] - '0') * 100 + (p[3] - '0') * 10 + (p[4] - '0');
    return 0;
}

#endif
