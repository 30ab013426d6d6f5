/* A pipe alone, and a peer behind a bare socket. */
#include "tests/unit/replication/waiting.h"

#include "replication/pipe.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define QUEUED 140000u

struct ends {
    nng_stream_dialer *dialer;
    nng_aio *aio;
    struct pipe *pipe;
    int fd; /* the peer's */
    _Atomic unsigned heard;
    _Atomic bool closed;
};

static bool on_message(void *ctx, struct pipe_message *message)
{
    struct ends *e = ctx;
    free(message);
    e->heard++;
    return true;
}

static void on_closed(void *ctx, int rv)
{
    struct ends *e = ctx;
    (void)rv;
    e->closed = true;
}

/* A Unix socket, whose kernel side is small and fixed (208 KiB by default, 15 000 answers at the
 * most), where TCP's grows with what is written: what is not read stays at the pipe's side. */
static int listen_for_pipe(char url[64])
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    const socklen_t unnamed = sizeof(at.sun_family); /* the kernel picks an abstract name */
    socklen_t len = sizeof(at);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, unnamed), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    snprintf(url, 64, "abstract://%.*s", (int)(len - unnamed - 1), at.sun_path + 1);
    return fd;
}

/* Who dials is the same to a pipe. */
static void ends_open(struct ends *e)
{
    static const uint8_t greeting[8] = {0, 'S', 'P', 0, 0, PIPE_REQ, 0, 0};
    const struct pipe_ops ops = {.ctx = e, .message = on_message, .closed = on_closed};
    char url[64];
    *e = (struct ends){.fd = -1};
    int listener = listen_for_pipe(url);
    assert_int_equal(nng_stream_dialer_alloc(&e->dialer, url), 0);
    assert_int_equal(nng_aio_alloc(&e->aio, NULL, NULL), 0);
    nng_stream_dialer_dial(e->dialer, e->aio);
    e->fd = accept(listener, NULL, NULL);
    close(listener);
    assert_int_equal(send(e->fd, greeting, sizeof(greeting), MSG_NOSIGNAL), sizeof(greeting));
    nng_aio_wait(e->aio);
    assert_int_equal(nng_aio_result(e->aio), 0);
    assert_int_equal(pipe_new(&e->pipe, nng_aio_get_output(e->aio, 0), PIPE_REP, &ops), PL_OK);
    pipe_start(e->pipe);
}

static void ends_close(struct ends *e)
{
    close(e->fd);
    pipe_free(e->pipe);
    assert_true(e->closed);
    nng_stream_dialer_free(e->dialer);
    nng_aio_free(e->aio);
}

static void ask(struct ends *e)
{
    struct pipe_message *m = pipe_message_new(0x80000001, PL_SPAN_LIT("?"));
    const ssize_t bytes = (ssize_t)(PIPE_HEAD_BYTES + m->len);
    assert_int_equal(send(e->fd, m->bytes, (size_t)bytes, MSG_NOSIGNAL), bytes);
    free(m);
}

static void answers_of_two_bytes_count_as_what_they_hold(void **state)
{
    (void)state;
    struct ends e;
    uint8_t bin[65536];
    ends_open(&e);
    ask(&e);
    UNTIL(5000, e.heard == 1);
    /* Over five million bytes of memory, 280 KB of bodies. */
    while (pipe_queued(e.pipe) < QUEUED)
        pipe_send(e.pipe, pipe_message_new(0x80000001, PL_SPAN_LIT("!!")), true);
    ask(&e);
    pass_ms(200);
    assert_int_equal(e.heard, 1);
    /* It is read on when the peer listens. */
    UNTIL(30000, recv(e.fd, bin, sizeof(bin), MSG_DONTWAIT) != 0 && e.heard == 2);
    ends_close(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_of_two_bytes_count_as_what_they_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
