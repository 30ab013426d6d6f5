/*
 * What the files of this room share; nothing outside proto/http includes it.
 *
 * Who owns what: http_server is made by one thread and read-only once its loops run, except for
 * the fields marked atomic and the TLS set behind its lock. http_loop and everything reached from
 * it (connections, requests, streams) belong to the loop's thread; other threads touch only
 * http_loop.tasks, its wake descriptor and its counters.
 */
#ifndef POLDER_PROTO_HTTP_INTERNAL_H
#define POLDER_PROTO_HTTP_INTERNAL_H

#include "proto/http/http.h"

#define H2O_USE_LIBUV 0
#include <h2o.h>
#include <h2o/http1.h>
#include <h2o/http2.h>
#include <h2o/http2_internal.h>

#include <pthread.h>
#include <stdatomic.h>

#define HTTP_HEAD_MAX_BYTES     ((size_t)40 * 1024) /* request line and headers; 431 beyond */
#define HTTP_LINGER_MS          2000
#define HTTP_LINGER_MAX_BYTES   ((size_t)8 * 1024 * 1024)
#define HTTP_DRAIN_PATIENCE_MS  200   /* with connections that have yet to say something */
#define HTTP_DRAIN_QUIET_MS     1000  /* without a request, after which HTTP/2 ends */
#define HTTP_H2_MAX_FRAME_BYTES 16384 /* libh2o's fixed SETTINGS_MAX_FRAME_SIZE */
#define HTTP_CROWDED_IDLE_MS    1000

/* ---- route.c --------------------------------------------------------------------------- */

struct http_route_path {
    char *path; /* without the star of a prefix */
    size_t len;
    bool prefix;
    unsigned methods; /* HEAD included where GET is */
    char allow[64];
    const struct http_route *routes; /* those of this path */
    size_t route_count;
};

/* Sorted by length, so that `by_len[n]` is the first exact path of n bytes and prefixes are tried
 * longest first. */
#define HTTP_ROUTE_LEN_MAX 128
struct http_route_table {
    struct http_route *routes;
    size_t route_count;
    struct http_route_path *exact, *prefixes;
    size_t exact_count, prefix_count;
    uint16_t by_len[HTTP_ROUTE_LEN_MAX + 2];
};

enum pl_err http_route_table_init(struct http_route_table *table, const struct http_route *routes,
                                  size_t count, struct pl_why *why);
void http_route_table_release(struct http_route_table *table);
/* NULL: no such path. */
const struct http_route_path *http_route_find(const struct http_route_table *table,
                                              struct pl_span path);
/* NULL: the path does not take the method. */
const struct http_route *http_route_pick(const struct http_route_path *path,
                                         enum http_method method);

/* ---- tls.c ----------------------------------------------------------------------------- */

/* One reading of the certificate files. Counted: a handshake under way keeps its set alive when
 * a reload replaces it. */
struct http_tls_set;

/* old: the set in force, whose certificates stand in for those that cannot be read; may be NULL. */
enum pl_err http_tls_load(struct http_tls_set **out, const struct http_server_config *config,
                          const struct http_tls_set *old, struct pl_why *why);
struct http_tls_set *http_tls_ref(struct http_tls_set *set);
void http_tls_unref(struct http_tls_set *set); /* NULL is fine */
SSL_CTX *http_tls_context(struct http_tls_set *set);
/* As http_server_certificates. */
size_t http_tls_visit(const struct http_tls_set *set,
                      void (*visit)(void *ctx, const char *name, int64_t not_after_s), void *ctx);

/* ---- server.c -------------------------------------------------------------------------- */

/* Whose connections count together. */
enum http_pool { HTTP_POOL_PUBLIC, HTTP_POOL_RESERVED, HTTP_POOLS };

struct http_server {
    struct http_server_config config;
    struct http_listener *listeners;
    uint16_t *ports;
    struct http_route_table routes;
    h2o_globalconf_t h2o;
    struct http_loop *loops;
    unsigned loops_started;

    pthread_mutex_t tls_lock;
    struct http_tls_set *tls;
    struct pl_why tls_trouble; /* of the last reload; under tls_lock, as tls */

    _Atomic unsigned open[HTTP_POOLS]; /* over all loops, lingering ones included */
    _Atomic bool draining;
    _Atomic int64_t drain_deadline_ms; /* CLOCK_MONOTONIC */
};

/* A reference to the set now in force. */
struct http_tls_set *http_server_tls(struct http_server *server);
/* How many connections the pool may have. */
static inline unsigned http_server_max(const struct http_server *server, enum http_pool pool)
{
    return pool == HTTP_POOL_RESERVED ? HTTP_RESERVED_CONNECTIONS : server->config.max_connections;
}

/* ---- loop.c ---------------------------------------------------------------------------- */

/* Written by the loop only, read by anyone: relaxed loads and stores, no read-modify-write. */
struct http_counters {
    _Atomic uint64_t accepted, requests, smuggling, flood, too_large, timed_out, by_class[6];
};

static inline void http_count(_Atomic uint64_t *counter)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

struct http_loop_listener {
    struct http_loop *loop;
    h2o_socket_t *sock; /* NULL before the thread runs and after it drained */
    int fd;
    bool tls;
    enum http_pool pool;
};

struct http_timer;

struct http_loop {
    h2o_context_t h2o; /* first: libh2o hands it back to us */

    /* the loop's thread */
    struct http_server *server;
    unsigned index;
    void *user;
    h2o_accept_ctx_t accept;
    struct http_loop_listener *listeners;
    bool paused[HTTP_POOLS]; /* their listeners */
    bool draining, answered_leftovers, cut_leftovers;
    h2o_linklist_t conns;    /* struct http_conn */
    h2o_linklist_t lingers;  /* struct http_linger */
    h2o_linklist_t leftover; /* struct http_pending: suspended requests and open streams */
    h2o_timeout_t tick_timeout;
    h2o_timeout_entry_t tick, resume_accept;
    struct http_timer *timers;
    struct http_suspended *free_suspended;
    h2o_socket_t *wake_sock;
    uint64_t clock_read_at; /* h2o_now() the two times below belong to */
    int64_t mono_ms, wall_ms;
    h2o_buffer_prototype_t *h2_write_buffers; /* libh2o's per-thread cache, see loop.c */

    /* any thread */
    pthread_t thread;
    int wake_fd;
    _Atomic(struct http_task *) tasks; /* newest first */
    struct http_counters counters;
};

enum pl_err http_loop_init(struct http_loop *loop, struct http_server *server, unsigned index,
                           struct pl_why *why);
void http_loop_release(struct http_loop *loop);
void *http_loop_main(void *loop);
void http_loop_wake(struct http_loop *loop);
void http_loop_pause_accept(struct http_loop *loop, enum http_pool pool);
void http_loop_resume_accept(struct http_loop *loop, enum http_pool pool);

static inline struct http_loop *http_loop_of(const h2o_req_t *req)
{
    return (struct http_loop *)req->conn->ctx;
}

/* ---- listen.c -------------------------------------------------------------------------- */

/* Binds listener for one loop. *port: 0 lets the system pick and is set. exclusive: first make
 * sure that no other process listens there, which SO_REUSEPORT alone would allow. */
enum pl_err http_listen(const struct http_listener *listener, uint16_t *port, bool exclusive,
                        int *fd, struct pl_why *why);

/* ---- conn.c ---------------------------------------------------------------------------- */

enum http_phase { HTTP_PHASE_SNIFF, HTTP_PHASE_HANDSHAKE, HTTP_PHASE_HTTP1, HTTP_PHASE_HTTP2 };

/* Beside each accepted socket, from accept to close; found again through sock->on_close.data. */
struct http_conn {
    h2o_linklist_t link;
    struct http_loop *loop;
    h2o_socket_t *sock;
    const struct http_loop_listener *listener; /* it came in by */
    enum http_phase phase;
    struct timeval connected_at;
    uint64_t since_ms;        /* the phase began, or the keep-alive connection fell idle */
    struct http_tls_set *tls; /* while shaking hands */
    bool cut;                 /* http_conn_cut was called */
    int linger_fd;            /* -1, or a duplicate to drain once libh2o has closed its own */

    /* write deadline */
    size_t seen_written;
    uint64_t acked_bytes, stalled_since_ms;

    /* HTTP/1 */
    h2o_req_t *h1_req; /* NULL before the first complete request */
    h2o_socket_cb h1_read;
    bool h1_parked; /* its request is suspended: polled, not read; see suspend.c */

    /* HTTP/2 frame budget */
    ssize_t (*h2_expect)(h2o_http2_conn_t *, const uint8_t *, size_t, const char **);
    bool h2_greeted, h2_told; /* told: that we are going */
    uint64_t h2_window_start_ms;
    uint64_t h2_spent;
    size_t h2_updates_earned; /* bytes sent that have been set off against WINDOW_UPDATEs */
    uint32_t h2_seen_stream;  /* the newest when it was last looked at */
};

void http_conn_accept(h2o_socket_t *listener, const char *err);
static inline struct http_conn *http_conn_of(h2o_socket_t *sock)
{
    return sock->on_close.data;
}
/* Read and drop what the client still sends after libh2o has closed, so that the answer is not
 * lost to a TCP reset (RFC 9112 section 9.6). */
void http_conn_linger(struct http_conn *conn);
/* End of input: libh2o closes in its own good order. */
void http_conn_hang_up(struct http_conn *conn);
/* The close, whenever it comes, drops what is unsent and tells the client so. */
void http_conn_reset_at_close(struct http_conn *conn);
/* Ends it now, from whatever state. */
void http_conn_cut(struct http_conn *conn);
/* Answers an HTTP/1 request that is still being received, and closes: libh2o would without a word.
 * line: the reason, and headers behind it. */
void http_conn_tell(struct http_conn *conn, int status, const char *line);
/* error: of libh2o's H2O_HTTP2_ERROR_. The stream is gone afterwards. */
void http_h2_reset(h2o_http2_stream_t *stream, int error);
void http_linger_expire(struct http_loop *loop, uint64_t now_ms, bool all);

/* ---- guard.c --------------------------------------------------------------------------- */

struct http_head_verdict {
    int status; /* 0, 400 or 431 */
    bool chunked;
};
/* The raw HTTP/1 head, as libh2o left it in the socket's buffer (names in lowercase). */
struct http_head_verdict http_guard_h1_head(const uint8_t *data, size_t len, int version);
/* 0 or 431. */
int http_guard_h2_head(const h2o_req_t *req);
/* Takes a fresh HTTP/2 connection under watch. */
void http_guard_h2(struct http_conn *conn, h2o_http2_conn_t *h2);

/* ---- deadline.c ------------------------------------------------------------------------ */

uint64_t http_deadline_tick_ms(const struct http_server_config *config);
void http_deadline_check(struct http_loop *loop);

/* ---- upload.c -------------------------------------------------------------------------- */

void http_upload_check(struct http_loop *loop);

/* ---- request.c ------------------------------------------------------------------------- */

struct http_request {
    h2o_req_t *req;
    struct http_loop *loop;
    struct pl_span path, query;
    size_t prefix_len;
    bool settled; /* replied to, streaming or suspended */
};

int http_request_serve(h2o_handler_t *handler, h2o_req_t *req);
h2o_socket_t *http_request_socket(const h2o_req_t *req);

/* ---- reply.c --------------------------------------------------------------------------- */

/* One answer and a close, on a request no handler saw. */
void http_reply_refusal(struct http_request *request, int status, const char *text);
/* Status line, counters, keep-alive; the caller adds headers and starts the response. */
void http_reply_begin(struct http_request *request, int status);
void http_reply_copy_headers(h2o_req_t *req, const struct http_header *headers, size_t count);
bool http_reply_has_body(const h2o_req_t *req, int status);

/* ---- suspend.c ------------------------------------------------------------------------- */

/* What must be finished by us before a drained loop can end. */
struct http_pending {
    h2o_linklist_t link;
    void (*abandon)(struct http_pending *pending);
};
void http_pending_add(struct http_loop *loop, struct http_pending *pending,
                      void (*abandon)(struct http_pending *));
void http_pending_remove(struct http_pending *pending);
void http_pending_abandon_all(struct http_loop *loop);
void http_suspended_free_spares(struct http_loop *loop);

#endif
