/*
 * relay: a TCP path of our own making between the two ends: it can be slow, far, or cut.
 */
#ifndef POLDER_TESTS_REPLICATION_RELAY_H
#define POLDER_TESTS_REPLICATION_RELAY_H

#include "tests/unit/replication/world.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>

#define RELAY_LINKS 32
#define RELAY_CHUNK (64 * 1024)

struct relay_chunk {
    struct relay_chunk *next;
    int64_t due_ms;
    size_t len, done;
    uint8_t bytes[RELAY_CHUNK];
};

/* One direction of one connection. */
struct relay_flow {
    int from, to;
    bool ended, passed_end; /* the end of the stream: read, handed on */
    struct relay_chunk *head, **tail;
    size_t queued;
    int64_t allowance_ms; /* rate: when the next byte may pass */
};

struct relay {
    pthread_mutex_t lock;
    pthread_t thread;
    int listener, port, target, wake[2];
    bool stop, cut;
    bool deaf;             /* nothing that the receiver says is taken */
    bool hung_up;          /* who was sent something was gone */
    int64_t delay_ms;      /* one way */
    int64_t bytes_per_sec; /* 0: as fast as it goes */
    struct relay_flow flows[RELAY_LINKS][2];
    size_t links;
};

static inline int relay_connect(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons((uint16_t)port)};
    if (connect(fd, (struct sockaddr *)&at, sizeof(at)) != 0) {
        close(fd);
        return -1;
    }
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static inline void relay_flow_init(struct relay_flow *f, int from, int to)
{
    *f = (struct relay_flow){.from = from, .to = to};
    f->tail = &f->head;
}

static inline void relay_accept(struct relay *r)
{
    int a = accept(r->listener, NULL, NULL);
    if (a < 0)
        return;
    fcntl(a, F_SETFL, O_NONBLOCK);
    int small = 64 * 1024;
    if (r->bytes_per_sec > 0) /* else the kernel holds seconds of it */
        setsockopt(a, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    int b = r->links < RELAY_LINKS ? relay_connect(r->target) : -1;
    if (r->bytes_per_sec > 0)
        setsockopt(b, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    if (b < 0) {
        close(a);
        return;
    }
    relay_flow_init(&r->flows[r->links][0], a, b);
    relay_flow_init(&r->flows[r->links][1], b, a);
    r->links++;
}

static inline void relay_read(struct relay *r, struct relay_flow *f, int64_t now)
{
    size_t most = r->bytes_per_sec > 0 ? 256 * 1024 : 64 * 1024 * 1024;
    while (!f->ended && f->queued < most) {
        struct relay_chunk *c = malloc(sizeof(*c));
        ssize_t n = read(f->from, c->bytes, sizeof(c->bytes));
        if (n <= 0) {
            free(c);
            f->ended = n == 0 || (errno != EAGAIN && errno != EINTR);
            return;
        }
        c->next = NULL;
        c->due_ms = now + r->delay_ms;
        c->len = (size_t)n;
        c->done = 0;
        f->queued += c->len;
        *f->tail = c;
        f->tail = &c->next;
    }
}

static inline void relay_write(struct relay *r, struct relay_flow *f, int64_t now)
{
    while (f->head != NULL && f->head->due_ms <= now) {
        struct relay_chunk *c = f->head;
        size_t len = c->len - c->done;
        if (r->bytes_per_sec > 0) {
            if (f->allowance_ms > now)
                return;
            len = len > 4096 ? 4096 : len;
        }
        ssize_t n = send(f->to, c->bytes + c->done, len, MSG_NOSIGNAL);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n < 0) {
            n = (ssize_t)len; /* nobody is there to read it */
            r->hung_up = true;
        }
        if (r->bytes_per_sec > 0)
            f->allowance_ms = (f->allowance_ms > now - 50 ? f->allowance_ms : now) +
                              (int64_t)n * 1000 / r->bytes_per_sec;
        c->done += (size_t)n;
        f->queued -= (size_t)n;
        if (c->done < c->len)
            continue;
        f->head = c->next;
        if (f->head == NULL)
            f->tail = &f->head;
        free(c);
    }
    if (f->ended && f->head == NULL && !f->passed_end) {
        shutdown(f->to, SHUT_WR);
        f->passed_end = true;
    }
}

static inline void *relay_run(void *arg)
{
    struct relay *r = arg;
    for (;;) {
        struct pollfd fds[2 + 2 * RELAY_LINKS];
        nfds_t n = 0;
        pthread_mutex_lock(&r->lock);
        if (r->stop) {
            pthread_mutex_unlock(&r->lock);
            return NULL;
        }
        int64_t now = now_ms(), wait = 1000;
        fds[n++] = (struct pollfd){.fd = r->wake[0], .events = POLLIN};
        fds[n++] = (struct pollfd){.fd = r->listener, .events = r->cut ? 0 : POLLIN};
        for (size_t i = 0; i < r->links && !r->cut; i++) {
            for (size_t j = 0; j < 2; j++) {
                struct relay_flow *f = &r->flows[i][j];
                if (r->deaf && j == 1)
                    continue;
                relay_read(r, f, now);
                relay_write(r, f, now);
                short events = f->ended ? 0 : POLLIN;
                bool blocked = f->head != NULL && f->head->due_ms <= now && f->allowance_ms <= now;
                if (f->head != NULL && !blocked) {
                    int64_t due =
                        f->head->due_ms > f->allowance_ms ? f->head->due_ms : f->allowance_ms;
                    wait = due - now < wait ? due - now : wait;
                }
                if (events != 0)
                    fds[n++] = (struct pollfd){.fd = f->from, .events = events};
                if (blocked)
                    wait = wait > 1 ? 1 : wait; /* for room to write */
                if (r->bytes_per_sec > 0)
                    wait = wait > 5 ? 5 : wait;
            }
        }
        pthread_mutex_unlock(&r->lock);
        poll(fds, r->bytes_per_sec > 0 ? 2 : n, wait < 0 ? 0 : (int)wait);
        pthread_mutex_lock(&r->lock);
        if ((fds[0].revents & POLLIN) != 0) {
            char byte;
            (void)!read(r->wake[0], &byte, 1);
        }
        if ((fds[1].revents & POLLIN) != 0 && !r->cut)
            relay_accept(r);
        pthread_mutex_unlock(&r->lock);
    }
}

/* In front of a world's receiver; its uplink will dial the relay. */
static inline struct relay *relay_new(struct world *w, int64_t delay_ms, int64_t bytes_per_sec)
{
    struct relay *r = calloc(1, sizeof(*r));
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    r->delay_ms = delay_ms;
    r->bytes_per_sec = bytes_per_sec;
    r->target = w->port;
    pthread_mutex_init(&r->lock, NULL);
    assert_int_equal(pipe(r->wake), 0);
    r->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(r->listener, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(r->listener, 64), 0);
    assert_int_equal(getsockname(r->listener, (struct sockaddr *)&at, &len), 0);
    r->port = ntohs(at.sin_port);
    snprintf(w->origin_url, sizeof(w->origin_url), "tls+tcp://127.0.0.1:%d", r->port);
    assert_int_equal(pthread_create(&r->thread, NULL, relay_run, r), 0);
    return r;
}

static inline void relay_set(struct relay *r, bool *flag, bool value)
{
    pthread_mutex_lock(&r->lock);
    *flag = value;
    pthread_mutex_unlock(&r->lock);
    (void)!write(r->wake[1], "", 1);
}

static inline void relay_free(struct relay *r)
{
    relay_set(r, &r->stop, true);
    pthread_join(r->thread, NULL);
    for (size_t i = 0; i < r->links; i++) {
        for (size_t j = 0; j < 2; j++) {
            while (r->flows[i][j].head != NULL) {
                struct relay_chunk *c = r->flows[i][j].head;
                r->flows[i][j].head = c->next;
                free(c);
            }
            close(r->flows[i][j].from);
        }
    }
    close(r->listener);
    close(r->wake[0]);
    close(r->wake[1]);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

#endif
