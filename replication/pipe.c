#include "replication/pipe.h"

#include <stdatomic.h>
#include <stdlib.h>

#define GREETING_BYTES 8
/* Reading pauses while more than this waits to be written: a peer that asks and never listens
 * must not fill our memory with answers. */
#define UNSENT_MAX_BYTES ((size_t)4 * 1024 * 1024)

enum rx_state { RX_GREETING, RX_HEAD, RX_ADMIT, RX_BODY };

struct queue {
    struct pipe_message *head, **tail;
};

/* Either half is busy from when it is started until it rests: nothing to do, paused, or ended.
 * Whoever runs a busy half has it to himself. */
struct pipe {
    struct pipe_ops ops;
    enum pipe_role role;
    nng_stream *stream;
    nng_aio *rx_aio, *tx_aio;
    _Atomic uint64_t received;

    /* Whoever runs the reading half. */
    enum rx_state state;
    uint8_t head[PIPE_HEAD_BYTES];
    uint32_t rx_id;
    size_t rx_len; /* of the body */
    struct pipe_message *rx;
    size_t rx_want, rx_got; /* of what the state reads */

    pthread_mutex_t lock; /* guards what follows */
    struct queue urgent, normal;
    uint8_t greeting[GREETING_BYTES];
    struct pipe_message *tx; /* being written; NULL: the greeting, or nothing */
    const uint8_t *tx_at;
    size_t tx_left;
    size_t unsent, unsent_bytes;
    bool rx_busy, tx_busy;
    bool paused, resume_early; /* by the owner */
    bool stuffed;              /* paused until enough has been written */
    bool closing, told;
    int why;
};

struct pipe_message *pipe_message_new(uint32_t id, struct pl_span body)
{
    struct pipe_message *m = malloc(sizeof(*m) + PIPE_HEAD_BYTES + body.len);
    if (m == NULL)
        return NULL;
    m->next = NULL;
    m->id = id;
    m->len = body.len;
    pl_store_u64(m->bytes, body.len + 4);
    pl_store_u32(m->bytes + 8, id);
    if (body.data != NULL && body.len > 0)
        memcpy(m->bytes + PIPE_HEAD_BYTES, body.data, body.len);
    return m;
}

/* What it holds of our memory: of many small ones, bodies are the least. */
static size_t message_bytes(const struct pipe_message *m)
{
    return sizeof(*m) + PIPE_HEAD_BYTES + m->len;
}

static void push(struct queue *q, struct pipe_message *m)
{
    m->next = NULL;
    *q->tail = m;
    q->tail = &m->next;
}

static struct pipe_message *pop(struct queue *q)
{
    struct pipe_message *m = q->head;
    if (m != NULL && (q->head = m->next) == NULL)
        q->tail = &q->head;
    return m;
}

/* ---- the end */

/* Under the lock. Nothing is started on a closed stream, and closing it ends all the rest. */
static void fail(struct pipe *p, int why)
{
    if (p->closing)
        return;
    p->closing = true;
    p->why = why;
    nng_stream_close(p->stream);
}

/* Gives the lock back; when both halves rest for good, tells, after which the pipe may be gone. */
static void unlock_and_tell(struct pipe *p)
{
    bool over = p->closing && !p->rx_busy && !p->tx_busy && !p->told;
    p->told = p->told || over;
    struct pipe_ops ops = p->ops;
    int why = p->why;
    pthread_mutex_unlock(&p->lock);
    if (over)
        ops.closed(ops.ctx, why);
}

void pipe_close(struct pipe *p)
{
    pthread_mutex_lock(&p->lock);
    fail(p, NNG_ECLOSED);
    unlock_and_tell(p);
}

/* ---- writing. Under the lock; false: the half rests. */

static bool write_on(struct pipe *p)
{
    if (p->closing)
        return false;
    if (p->tx_left == 0) {
        p->tx = pop(&p->urgent);
        if (p->tx == NULL)
            p->tx = pop(&p->normal);
        if (p->tx == NULL)
            return false;
        p->tx_at = p->tx->bytes;
        p->tx_left = PIPE_HEAD_BYTES + p->tx->len;
    }
    nng_iov iov = {.iov_buf = (void *)(uintptr_t)p->tx_at, .iov_len = p->tx_left};
    nng_aio_set_iov(p->tx_aio, 1, &iov);
    nng_stream_send(p->stream, p->tx_aio);
    return true;
}

static bool finish_message(struct pipe *p)
{
    if (p->tx_left > 0 || p->tx == NULL)
        return false;
    p->unsent--;
    p->unsent_bytes -= message_bytes(p->tx);
    free(p->tx);
    p->tx = NULL;
    return true;
}

static void read_on(struct pipe *p);

static void on_written(void *arg)
{
    struct pipe *p = arg;
    int rv = nng_aio_result(p->tx_aio);
    size_t count = rv == 0 ? nng_aio_count(p->tx_aio) : 0;
    pthread_mutex_lock(&p->lock);
    p->tx_at += count;
    p->tx_left -= count;
    if (rv != 0)
        fail(p, rv);
    bool sent = finish_message(p), read = false;
    if (p->stuffed && p->unsent_bytes <= UNSENT_MAX_BYTES / 2) {
        p->stuffed = false;
        read = !p->closing && !p->rx_busy && !p->paused;
        p->rx_busy = p->rx_busy || read;
    }
    pthread_mutex_unlock(&p->lock);

    if (sent && p->ops.sent != NULL)
        p->ops.sent(p->ops.ctx);
    if (read)
        read_on(p); /* the pipe outlives this: the writing half is still busy */

    pthread_mutex_lock(&p->lock);
    p->tx_busy = write_on(p);
    unlock_and_tell(p);
}

void pipe_send(struct pipe *p, struct pipe_message *message, bool urgent)
{
    pthread_mutex_lock(&p->lock);
    if (p->closing) {
        free(message);
    } else {
        push(urgent ? &p->urgent : &p->normal, message);
        p->unsent++;
        p->unsent_bytes += message_bytes(message);
        if (!p->tx_busy)
            p->tx_busy = write_on(p);
    }
    pthread_mutex_unlock(&p->lock);
}

size_t pipe_queued(struct pipe *p)
{
    pthread_mutex_lock(&p->lock);
    size_t unsent = p->unsent;
    pthread_mutex_unlock(&p->lock);
    return unsent;
}

/* ---- reading */

uint64_t pipe_received(const struct pipe *p)
{
    return atomic_load(&p->received);
}

static void expect(struct pipe *p, enum rx_state state, size_t bytes)
{
    p->state = state;
    p->rx_want = bytes;
    p->rx_got = 0;
}

static bool greeting_ok(const struct pipe *p)
{
    uint8_t peer = p->role == PIPE_REQ ? PIPE_REP : PIPE_REQ;
    const uint8_t expected[GREETING_BYTES] = {0, 'S', 'P', 0, 0, peer, 0, 0};
    return memcmp(p->head, expected, GREETING_BYTES) == 0;
}

/* One id, no more: nothing stands between the two ends that would add its own. */
static bool parse_head(struct pipe *p)
{
    uint64_t len = pl_load_u64(p->head);
    p->rx_id = pl_load_u32(p->head + 8);
    if (len < 4 || len > LIMIT_FRAME_BYTES + 4 || (p->rx_id & 0x80000000u) == 0)
        return false;
    p->rx_len = (size_t)len - 4;
    return true;
}

enum rx_outcome { RX_MORE, RX_PAUSE, RX_FAIL };

static enum rx_outcome begin_body(struct pipe *p)
{
    enum pipe_admission admission =
        p->ops.admit == NULL ? PIPE_READ : p->ops.admit(p->ops.ctx, p->rx_len);
    if (admission == PIPE_WAIT)
        return RX_PAUSE;
    if (admission == PIPE_BREAK)
        return RX_FAIL;
    p->rx = pipe_message_new(p->rx_id, pl_span(NULL, p->rx_len));
    if (p->rx == NULL)
        return RX_FAIL;
    expect(p, RX_BODY, p->rx_len);
    return RX_MORE;
}

/* What the state wanted is there. */
static enum rx_outcome advance(struct pipe *p)
{
    struct pipe_message *m;
    switch (p->state) {
    case RX_GREETING:
        expect(p, RX_HEAD, PIPE_HEAD_BYTES);
        return greeting_ok(p) ? RX_MORE : RX_FAIL;
    case RX_HEAD:
        expect(p, RX_ADMIT, 0);
        return parse_head(p) ? RX_MORE : RX_FAIL;
    case RX_ADMIT:
        return begin_body(p);
    case RX_BODY:
        m = p->rx;
        p->rx = NULL;
        expect(p, RX_HEAD, PIPE_HEAD_BYTES);
        return p->ops.message(p->ops.ctx, m) ? RX_MORE : RX_PAUSE;
    }
    return RX_FAIL;
}

/* Under the lock: starts the next read unless there is a reason to rest. */
static void read_more(struct pipe *p)
{
    p->rx_busy = false;
    if (p->closing || p->paused)
        return;
    if (p->unsent_bytes > UNSENT_MAX_BYTES) {
        p->stuffed = true;
        return;
    }
    uint8_t *to = p->state == RX_BODY ? p->rx->bytes + PIPE_HEAD_BYTES : p->head;
    nng_iov iov = {.iov_buf = to + p->rx_got, .iov_len = p->rx_want - p->rx_got};
    p->rx_busy = true;
    nng_aio_set_iov(p->rx_aio, 1, &iov);
    nng_stream_recv(p->stream, p->rx_aio);
}

/* Runs the reading half, which is busy, as far as it goes without waiting. */
static void read_on(struct pipe *p)
{
    bool again = true;
    while (again) {
        enum rx_outcome outcome = RX_MORE;
        while (outcome == RX_MORE && p->rx_got == p->rx_want)
            outcome = advance(p);
        pthread_mutex_lock(&p->lock);
        if (outcome == RX_FAIL)
            fail(p, NNG_EPROTO);
        again = outcome == RX_PAUSE && p->resume_early && !p->closing;
        p->paused = outcome == RX_PAUSE && !p->resume_early;
        p->resume_early = false;
        if (again) {
            pthread_mutex_unlock(&p->lock);
            continue;
        }
        read_more(p);
        unlock_and_tell(p);
    }
}

static void on_read(void *arg)
{
    struct pipe *p = arg;
    int rv = nng_aio_result(p->rx_aio);
    if (rv == 0) {
        p->rx_got += nng_aio_count(p->rx_aio);
        atomic_fetch_add(&p->received, nng_aio_count(p->rx_aio));
        read_on(p);
        return;
    }
    pthread_mutex_lock(&p->lock);
    fail(p, rv);
    p->rx_busy = false;
    unlock_and_tell(p);
}

void pipe_resume(struct pipe *p)
{
    pthread_mutex_lock(&p->lock);
    bool read = p->paused && !p->closing && !p->stuffed;
    p->resume_early = !p->paused && p->rx_busy;
    p->paused = false;
    p->rx_busy = p->rx_busy || read;
    pthread_mutex_unlock(&p->lock);
    if (read)
        read_on(p);
}

/* ---- beginning and going */

enum pl_err pipe_new(struct pipe **out, nng_stream *stream, enum pipe_role role,
                     const struct pipe_ops *ops)
{
    struct pipe *p = calloc(1, sizeof(*p));
    if (p == NULL) {
        nng_stream_close(stream);
        nng_stream_free(stream);
        return PL_ENOMEM;
    }
    p->ops = *ops;
    p->role = role;
    p->stream = stream;
    p->urgent.tail = &p->urgent.head;
    p->normal.tail = &p->normal.head;
    memcpy(p->greeting, (const uint8_t[]){0, 'S', 'P', 0, 0, (uint8_t)role, 0, 0}, GREETING_BYTES);
    p->tx_at = p->greeting;
    p->tx_left = GREETING_BYTES;
    expect(p, RX_GREETING, GREETING_BYTES);
    pthread_mutex_init(&p->lock, NULL);
    int rv = nng_aio_alloc(&p->rx_aio, on_read, p);
    if (rv == 0)
        rv = nng_aio_alloc(&p->tx_aio, on_written, p);
    if (rv != 0) {
        p->told = true; /* nobody has heard of it yet */
        pipe_free(p);
        return link_err(rv);
    }
    nng_aio_set_timeout(p->rx_aio, NNG_DURATION_INFINITE);
    nng_aio_set_timeout(p->tx_aio, NNG_DURATION_INFINITE);
    *out = p;
    return PL_OK;
}

void pipe_start(struct pipe *p)
{
    pthread_mutex_lock(&p->lock);
    p->tx_busy = write_on(p);
    read_more(p);
    unlock_and_tell(p);
}

static void free_all(struct queue *q)
{
    struct pipe_message *m;
    while ((m = pop(q)) != NULL)
        free(m);
}

void pipe_free(struct pipe *p)
{
    if (p == NULL)
        return;
    pipe_close(p); /* first, so that nothing is started any more */
    if (p->rx_aio != NULL) {
        nng_aio_stop(p->rx_aio);
        nng_aio_free(p->rx_aio);
    }
    if (p->tx_aio != NULL) {
        nng_aio_stop(p->tx_aio);
        nng_aio_free(p->tx_aio);
    }
    nng_stream_free(p->stream);
    free_all(&p->urgent);
    free_all(&p->normal);
    free(p->tx);
    free(p->rx);
    pthread_mutex_destroy(&p->lock);
    free(p);
}
