#include "proto/http/internal.h"

#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define DRAIN_POLL_MS   10
#define DRAIN_GRACE_MS  100  /* between the last answers and the cut */
#define DRAIN_GIVEUP_MS 5000 /* after the cut: only a bug can keep a connection open */
/* Of 8 KiB. libh2o keeps 16, enough for requests that are answered while they are read; those of
 * requests that wait for the same fsync are all in use at once. */
#define SPARE_INPUT_BUFFERS 512

struct http_timer {
    h2o_timeout_t timeout;
    h2o_timeout_entry_t entry;
    struct http_loop *loop;
    void (*fn)(struct http_loop *loop, void *arg);
    void *arg;
    struct http_timer *next;
};

/* ---- tasks ----------------------------------------------------------------------------- */

void http_loop_wake(struct http_loop *loop)
{
    uint64_t one = 1;
    ssize_t ignored = write(loop->wake_fd, &one, sizeof(one)); /* fails only when already set */
    (void)ignored;
}

void http_loop_post(struct http_loop *loop, struct http_task *task)
{
    struct http_task *head = atomic_load_explicit(&loop->tasks, memory_order_relaxed);
    do {
        task->next = head;
    } while (!atomic_compare_exchange_weak_explicit(&loop->tasks, &head, task, memory_order_release,
                                                    memory_order_relaxed));
    if (head == NULL) /* otherwise whoever was first has woken the loop */
        http_loop_wake(loop);
}

static void run_tasks(struct http_loop *loop)
{
    struct http_task *newest = atomic_exchange_explicit(&loop->tasks, NULL, memory_order_acquire);
    struct http_task *oldest = NULL;
    while (newest != NULL) {
        struct http_task *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest != NULL) {
        struct http_task *next = oldest->next;
        oldest->run(oldest);
        oldest = next;
    }
}

static void on_wake(h2o_socket_t *sock, const char *err)
{
    (void)err;
    h2o_buffer_consume(&sock->input, sock->input->size);
    run_tasks(sock->data);
}

/* ---- time ------------------------------------------------------------------------------ */

static void read_clock(const struct http_loop *loop)
{
    uint64_t iteration = h2o_now(loop->h2o.loop);
    if (loop->clock_read_at == iteration)
        return;
    struct http_loop *cache = (struct http_loop *)(uintptr_t)loop;
    cache->clock_read_at = iteration;
    cache->mono_ms = pl_mono_ms(loop->server->config.clock);
    cache->wall_ms = pl_wall_ms(loop->server->config.clock);
}

int64_t http_loop_mono_ms(const struct http_loop *loop)
{
    read_clock(loop);
    return loop->mono_ms;
}

int64_t http_loop_wall_ms(const struct http_loop *loop)
{
    read_clock(loop);
    return loop->wall_ms;
}

static void on_timer(h2o_timeout_entry_t *entry)
{
    struct http_timer *timer = H2O_STRUCT_FROM_MEMBER(struct http_timer, entry, entry);
    h2o_timeout_link(timer->loop->h2o.loop, &timer->timeout, &timer->entry);
    timer->fn(timer->loop, timer->arg);
}

enum pl_err http_loop_every(struct http_loop *loop, int64_t interval_ms,
                            void (*fn)(struct http_loop *loop, void *arg), void *arg)
{
    if (interval_ms < 1)
        return PL_EINVAL;
    struct http_timer *timer = calloc(1, sizeof(*timer));
    if (timer == NULL)
        return PL_ENOMEM;
    timer->loop = loop;
    timer->fn = fn;
    timer->arg = arg;
    timer->entry.cb = on_timer;
    h2o_timeout_init(loop->h2o.loop, &timer->timeout, (uint64_t)interval_ms);
    h2o_timeout_link(loop->h2o.loop, &timer->timeout, &timer->entry);
    timer->next = loop->timers;
    loop->timers = timer;
    return PL_OK;
}

static void on_tick(h2o_timeout_entry_t *entry)
{
    struct http_loop *loop = H2O_STRUCT_FROM_MEMBER(struct http_loop, tick, entry);
    h2o_timeout_link(loop->h2o.loop, &loop->tick_timeout, &loop->tick);
    http_deadline_check(loop);
    http_upload_check(loop);
}

unsigned http_loop_index(const struct http_loop *loop)
{
    return loop->index;
}

void *http_loop_user(const struct http_loop *loop)
{
    return loop->user;
}

void http_loop_set_user(struct http_loop *loop, void *user)
{
    loop->user = user;
}

/* ---- accepting ------------------------------------------------------------------------- */

void http_loop_pause_accept(struct http_loop *loop, enum http_pool pool)
{
    if (loop->paused[pool] || loop->draining)
        return;
    loop->paused[pool] = true;
    for (size_t i = 0; i < loop->server->config.listener_count; ++i)
        if (loop->listeners[i].pool == pool)
            h2o_socket_read_stop(loop->listeners[i].sock);
    /* Room may appear on another loop, or file descriptors in another part of the process. */
    if (!h2o_timeout_is_linked(&loop->resume_accept))
        h2o_timeout_link(loop->h2o.loop, &loop->h2o.hundred_ms_timeout, &loop->resume_accept);
}

void http_loop_resume_accept(struct http_loop *loop, enum http_pool pool)
{
    if (!loop->paused[pool] || loop->draining)
        return;
    loop->paused[pool] = false;
    for (size_t i = 0; i < loop->server->config.listener_count; ++i)
        if (loop->listeners[i].pool == pool)
            h2o_socket_read_start(loop->listeners[i].sock, http_conn_accept);
}

static void on_resume_accept(h2o_timeout_entry_t *entry)
{
    struct http_loop *loop = H2O_STRUCT_FROM_MEMBER(struct http_loop, resume_accept, entry);
    for (enum http_pool pool = 0; pool < HTTP_POOLS; ++pool)
        http_loop_resume_accept(loop, pool);
}

/* ---- the drain ------------------------------------------------------------------------- */

static int64_t real_mono_ms(void)
{
    return pl_mono_ms(pl_clock_system()); /* an injected clock may stand still */
}

static void begin_drain(struct http_loop *loop)
{
    on_resume_accept(&loop->resume_accept);
    for (size_t i = 0; i < loop->server->config.listener_count; ++i) {
        struct http_loop_listener *listener = &loop->listeners[i];
        http_conn_accept(listener->sock, NULL); /* those the kernel already shook hands with */
    }
    for (enum http_pool pool = 0; pool < HTTP_POOLS; ++pool)
        http_loop_pause_accept(loop, pool);
    h2o_timeout_unlink(&loop->resume_accept);
    loop->draining = true;
    for (size_t i = 0; i < loop->server->config.listener_count; ++i) {
        h2o_socket_close(loop->listeners[i].sock);
        loop->listeners[i].sock = NULL;
        loop->listeners[i].fd = -1;
    }
    loop->h2o.shutdown_requested = 1; /* HTTP/1's replies say so; for HTTP/2 see deadline.c */
}

static void cut_all(struct http_loop *loop)
{
    for (h2o_linklist_t *node = loop->conns.next; node != &loop->conns; node = node->next)
        http_conn_cut(H2O_STRUCT_FROM_MEMBER(struct http_conn, link, node));
    http_linger_expire(loop, 0, true);
}

/* True while there is something to wait for. */
static bool drain_step(struct http_loop *loop)
{
    int64_t late_ms = real_mono_ms() - atomic_load(&loop->server->drain_deadline_ms);

    if (!loop->draining)
        begin_drain(loop);
    http_deadline_check(loop);
    if (late_ms >= 0 && !loop->answered_leftovers) {
        loop->answered_leftovers = true;
        http_pending_abandon_all(loop);
    }
    if (late_ms >= DRAIN_GRACE_MS)
        cut_all(loop);
    if (late_ms >= DRAIN_GIVEUP_MS)
        return false;
    return !h2o_linklist_is_empty(&loop->conns) || !h2o_linklist_is_empty(&loop->lingers);
}

/* ---- the thread ------------------------------------------------------------------------ */

static void set_up(struct http_loop *loop)
{
    struct http_server *server = loop->server;
    h2o_evloop_t *evloop = h2o_evloop_create();

    h2o_socket_buffer_prototype.allocator.max = SPARE_INPUT_BUFFERS;
    h2o_context_init(&loop->h2o, evloop, &server->h2o);
    loop->accept = (h2o_accept_ctx_t){.ctx = &loop->h2o, .hosts = server->h2o.hosts};
    loop->clock_read_at = 0;
    h2o_timeout_init(evloop, &loop->tick_timeout, http_deadline_tick_ms(&server->config));
    loop->tick.cb = on_tick;
    h2o_timeout_link(evloop, &loop->tick_timeout, &loop->tick);
    loop->resume_accept.cb = on_resume_accept;

    /* A duplicate, so that wake_fd stays valid for other threads until the server is freed. */
    int wake_fd = dup(loop->wake_fd);
    if (wake_fd < 0)
        h2o_fatal("cannot duplicate an eventfd: out of file descriptors");
    loop->wake_sock = h2o_evloop_socket_create(evloop, wake_fd, 0);
    loop->wake_sock->data = loop;
    h2o_socket_read_start(loop->wake_sock, on_wake);
    if (server->config.loop_start != NULL)
        server->config.loop_start(loop, loop->index, server->config.loop_arg);
    for (size_t i = 0; i < server->config.listener_count; ++i) {
        struct http_loop_listener *listener = &loop->listeners[i];
        listener->sock = h2o_evloop_socket_create(evloop, listener->fd, H2O_SOCKET_FLAG_DONT_READ);
        listener->sock->data = listener;
        h2o_socket_read_start(listener->sock, http_conn_accept);
    }
}

static void free_recycled(h2o_mem_recycle_t *cache)
{
    while (cache->cnt != 0)
        free(h2o_mem_alloc_recycle(cache, 0));
}

/* libh2o keeps per-thread free lists that nothing frees when the thread ends. The pools' list is
 * private to it, so its chunks (4 allocations of 1008 bytes each, 16 at most) are taken out and
 * freed by hand; the first word of a chunk links to the next. */
static void free_thread_caches(struct http_loop *loop)
{
    h2o_mem_pool_t pool;
    h2o_mem_init_pool(&pool);
    for (int i = 0; i < 16 * 4; ++i)
        (void)h2o_mem_alloc_pool(&pool, 1008);
    for (void *chunk = pool.chunks; chunk != NULL;) {
        void *next;
        memcpy(&next, chunk, sizeof(next));
        free(chunk);
        chunk = next;
    }
    free_recycled(&h2o_socket_buffer_prototype.allocator);
    http_suspended_free_spares(loop);
    if (loop->h2_write_buffers != NULL)
        free_recycled(&loop->h2_write_buffers->allocator);
}

/* libh2o does not close a loop's epoll instance. It stands behind the part of the loop that has a
 * public type; that what is found there is it, only it can say: the wake socket is registered. */
static int epoll_of(const struct http_loop *loop)
{
    struct {
        h2o_evloop_t loop;
        int epoll_fd;
    } const *at = (const void *)loop->h2o.loop;
    struct epoll_event none = {0};
    int wake_fd = h2o_socket_get_fd(loop->wake_sock);
    bool known = epoll_ctl(at->epoll_fd, EPOLL_CTL_ADD, wake_fd, &none) != 0 && errno == EEXIST;
    return known ? at->epoll_fd : -1;
}

static void tear_down(struct http_loop *loop)
{
    h2o_evloop_t *evloop = loop->h2o.loop;
    int epoll_fd = epoll_of(loop);

    h2o_timeout_unlink(&loop->tick);
    h2o_timeout_dispose(evloop, &loop->tick_timeout);
    while (loop->timers != NULL) {
        struct http_timer *timer = loop->timers;
        loop->timers = timer->next;
        h2o_timeout_unlink(&timer->entry);
        h2o_timeout_dispose(evloop, &timer->timeout);
        free(timer);
    }
    h2o_socket_close(loop->wake_sock);
    h2o_multithread_queue_t *queue = loop->h2o.queue;
    h2o_context_dispose(&loop->h2o);
    free(queue); /* taken apart by libh2o, but not freed */
    h2o_evloop_destroy(evloop);
    if (epoll_fd >= 0)
        close(epoll_fd);
    free_thread_caches(loop);
}

void *http_loop_main(void *arg)
{
    struct http_loop *loop = arg;
    struct http_server *server = loop->server;

    set_up(loop);
    while (!atomic_load_explicit(&server->draining, memory_order_acquire))
        h2o_evloop_run(loop->h2o.loop, INT32_MAX);
    while (drain_step(loop)) {
        /* The first pass runs what drain_step queued, before anything waits. */
        h2o_evloop_run(loop->h2o.loop, 0);
        h2o_evloop_run(loop->h2o.loop, DRAIN_POLL_MS);
    }
    run_tasks(loop);
    if (server->config.loop_stop != NULL)
        server->config.loop_stop(loop, server->config.loop_arg);
    run_tasks(loop);
    if (h2o_linklist_is_empty(&loop->conns))
        tear_down(loop);
    else
        pl_log(server->config.log, PL_LOG_ERROR, "http",
               "loop %u ended with connections it could not close; their memory is given up",
               loop->index);
    return NULL;
}

enum pl_err http_loop_init(struct http_loop *loop, struct http_server *server, unsigned index,
                           struct pl_why *why)
{
    size_t count = server->config.listener_count;

    loop->server = server;
    loop->index = index;
    h2o_linklist_init_anchor(&loop->conns);
    h2o_linklist_init_anchor(&loop->lingers);
    h2o_linklist_init_anchor(&loop->leftover);
    loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (loop->wake_fd < 0)
        return pl_fail(why, pl_err_from_errno(errno), "cannot make an eventfd: %s",
                       strerror(errno));
    loop->listeners = calloc(count + 1, sizeof(struct http_loop_listener));
    if (loop->listeners == NULL)
        return pl_fail(why, PL_ENOMEM, "out of memory for %zu listeners", count);
    for (size_t i = 0; i < count; ++i)
        loop->listeners[i] = (struct http_loop_listener){
            .loop = loop,
            .fd = -1,
            .tls = server->config.listeners[i].tls,
            .pool = server->config.listeners[i].reserved ? HTTP_POOL_RESERVED : HTTP_POOL_PUBLIC};
    for (size_t i = 0; i < count; ++i) {
        enum pl_err err = http_listen(&server->config.listeners[i], &server->ports[i], index == 0,
                                      &loop->listeners[i].fd, why);
        if (err != PL_OK)
            return err;
    }
    return PL_OK;
}

void http_loop_release(struct http_loop *loop)
{
    if (loop->listeners != NULL) {
        for (size_t i = 0; i < loop->server->config.listener_count; ++i)
            if (loop->listeners[i].fd >= 0)
                close(loop->listeners[i].fd);
    }
    free(loop->listeners);
    if (loop->server != NULL && loop->wake_fd >= 0)
        close(loop->wake_fd);
}
