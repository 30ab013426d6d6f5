/*
 * http: serves HTTP/1.1 and HTTP/2, with or without TLS, on any number of loops; the only room
 * that knows libh2o.
 *
 * Promise: a handler runs on the loop thread that owns its connection and must not block. It
 * either replies before it returns, or suspends the request and resumes it later on the same
 * loop. Every request that reached a handler is answered exactly once or its client has gone.
 * What libh2o 2.2 lacks is added here: request-smuggling shapes are refused with 400 and a close
 * (RFC 9112 section 6.3), bodies over the limit get their 413, HTTP/2 control-frame floods (rapid
 * reset, CVE-2023-44487, and its kin) lose their connection, slow readers and writers time out,
 * shutdown is graceful and bounded (RFC 9113 section 6.8). HTTP/2 comes by ALPN, or in clear by
 * prior knowledge; the h2c upgrade is not offered. A request with a chunked body is the last on
 * its connection, because libh2o's chunk parser is too lenient to trust what follows.
 */
#ifndef POLDER_PROTO_HTTP_HTTP_H
#define POLDER_PROTO_HTTP_HTTP_H

#include "proto/base/buf.h"
#include "proto/base/log.h"

#include <stdint.h>

struct http_server;
struct http_loop;
struct http_request;

/* ---- routes ---------------------------------------------------------------------------- */

enum http_method {
    HTTP_GET = 1 << 0, /* a GET route also answers HEAD (the body is cut, the length stays) */
    HTTP_HEAD = 1 << 1,
    HTTP_POST = 1 << 2,
    HTTP_PUT = 1 << 3,
    HTTP_PATCH = 1 << 4,
    HTTP_DELETE = 1 << 5,
    HTTP_OPTIONS = 1 << 6,
    HTTP_OTHER = 1 << 7,
};

typedef void (*http_handler_fn)(struct http_request *request, void *arg);

struct http_route {
    unsigned methods; /* HTTP_GET | … */
    const char *path; /* exact ("/ready"), or a prefix when it ends in '*' ("/v1/config/" + star) */
    http_handler_fn handler;
    void *arg;
};

/* ---- server ---------------------------------------------------------------------------- */

struct http_listener {
    const char *address; /* "127.0.0.1", "::", … */
    uint16_t port;       /* 0: the system picks; see http_server_port */
    bool tls;
    bool reserved; /* for operators: not counted in max_connections, see below */
};
/* The listeners that are reserved have so many connections of their own, together and over all
 * loops: however many the public holds, they are there. */
#define HTTP_RESERVED_CONNECTIONS 64

struct http_server_config {
    const struct http_listener *listeners;
    size_t listener_count;
    unsigned loops; /* threads; each has its own SO_REUSEPORT listener */

    /* Copied by the server. Exact paths are looked up before prefixes; the longest prefix wins.
     * A known path with another method is 405 with Allow; an unknown path goes to `fallback`,
     * or is 404. */
    const struct http_route *routes;
    size_t route_count;
    http_handler_fn fallback;
    void *fallback_arg;
    /* Words the room's own 404, 405 (allow: the methods, else NULL), 413 and 500, so that they can
     * carry e.g. CORS headers: must answer with that status before it returns. NULL, or no
     * answer: a line of plain text. */
    void (*refuse)(struct http_request *request, int status, const char *allow, void *arg);
    void *refuse_arg;

    /* TLS: default certificate chain and key (PEM files), and optionally a directory with one
     * NAME.crt + NAME.key pair per host name, picked by SNI; "_.shop.example" (or with a star)
     * stands for all names one label below. A pair that cannot be used is left out, and the log
     * says why. Required when a listener has tls. */
    const char *tls_cert_file;
    const char *tls_key_file;
    const char *tls_sni_dir;

    size_t max_body_bytes;  /* larger bodies up to max_drain_bytes are read, dropped, 413 */
    size_t max_drain_bytes; /* beyond: 413 and a close; on HTTP/2 an end of the stream */
    /* Of all bodies that one loop is receiving. Beyond it, looked for once a second or more often
     * where timeouts are short, those of at least the mean size are given up: 503 and a close, on
     * HTTP/2 a reset. */
    size_t max_upload_bytes;
    int64_t header_timeout_ms; /* whole request head and body */
    int64_t idle_timeout_ms;   /* keep-alive */
    int64_t write_timeout_ms;  /* no progress on a reply */
    /* Over all loops; further ones wait in the backlog. From seven eighths of it on, connections
     * without a request under way are closed after a second, so that nobody can fill it by keeping
     * some open. */
    unsigned max_connections;
    unsigned h2_control_frames_per_10s; /* RST_STREAM, SETTINGS, PING, PRIORITY, CONTINUATION … */

    /* On each loop's thread, before its first connection and after its last. May be NULL. */
    void (*loop_start)(struct http_loop *loop, unsigned index, void *arg);
    void (*loop_stop)(struct http_loop *loop, void *arg);
    void *loop_arg;

    const struct pl_log *log;
    const struct pl_clock *clock;
};

/* Sensible values for every limit and timeout; listeners, routes and log are the caller's. */
void http_server_config_init(struct http_server_config *config);

/* Binds and listens, starts no thread. PL_EINVAL/PL_EDENIED/PL_EEXISTS (address in use) with a
 * sentence. Everything in config that is a pointer must outlive the server. */
enum pl_err http_server_new(struct http_server **out, const struct http_server_config *config,
                            struct pl_why *why);
/* The port a listener got, in host order. */
uint16_t http_server_port(const struct http_server *server, size_t listener);
/* Starts the loop threads; they take no signals. Ignores SIGPIPE for the whole process, because
 * libh2o writes to sockets whose client may be gone. */
enum pl_err http_server_start(struct http_server *server, struct pl_why *why);
/* Reads the certificate files again; on error the old ones stay. A bad pair of the directory is no
 * error: the log names it, and the name's old one stays. Any thread; reads the disk. */
enum pl_err http_server_reload_tls(struct http_server *server, struct pl_why *why);
/* Why the last reading of the certificate files failed, so that older ones are in force; *out is
 * PL_OK where it did not. Any thread. HTTP_TLS_TROUBLE says its text to operators. */
void http_server_tls_trouble(struct http_server *server, struct pl_why *out);
#define HTTP_TLS_TROUBLE                                                                           \
    "https_listen serves the certificates of before, for reading them again failed: %s; "          \
    "mend that and send SIGHUP: a restart would fail"
/* Calls visit for each certificate in force, the default one (named "") first, with the end of its
 * validity as Unix time. Gives how many pairs of the directory could not be used at the last
 * reading. Without tls: none. Any thread. */
size_t http_server_certificates(struct http_server *server,
                                void (*visit)(void *ctx, const char *name, int64_t not_after_s),
                                void *ctx);
/* Stops accepting, finishes what is under way (HTTP/2: GOAWAY; HTTP/1: Connection: close), joins
 * the loops; connections left after timeout_ms are cut. Blocks; not from a loop thread. */
void http_server_drain(struct http_server *server, int64_t timeout_ms);
void http_server_free(struct http_server *server); /* drained, or never started; NULL is fine */

struct http_stats {
    uint64_t connections_accepted, connections_open, requests;
    uint64_t refused_smuggling, refused_flood, refused_too_large, timed_out;
    uint64_t replies_by_class[6]; /* [2]: 2xx … */
};
/* Sums over the loops; any thread; a few counters may be one event behind. */
void http_server_stats(const struct http_server *server, struct http_stats *out);

/* ---- loops ----------------------------------------------------------------------------- */

/* Work for a loop's thread. Intrusive: embed it, keep it alive until run is called. */
struct http_task {
    void (*run)(struct http_task *task);
    struct http_task *next; /* the loop's */
};
/* Any thread; never blocks, never fails while the loop lives (until loop_stop returned). */
void http_loop_post(struct http_loop *loop, struct http_task *task);
/* On the loop's thread: once per interval until the loop stops. */
enum pl_err http_loop_every(struct http_loop *loop, int64_t interval_ms,
                            void (*fn)(struct http_loop *loop, void *arg), void *arg);
unsigned http_loop_index(const struct http_loop *loop);
void *http_loop_user(const struct http_loop *loop);
void http_loop_set_user(struct http_loop *loop, void *user);
/* Milliseconds, monotonic / Unix, as of this iteration of the loop: no system call. Loop thread. */
int64_t http_loop_mono_ms(const struct http_loop *loop);
int64_t http_loop_wall_ms(const struct http_loop *loop);

/* ---- requests: loop thread only ---------------------------------------------------------- */

/* Spans live until the reply. While a request is suspended they also die with its client, so
 * copy what is needed before suspending. */

struct http_loop *http_request_loop(const struct http_request *request);
enum http_method http_request_method(const struct http_request *request);
/* Path as sent (percent-encoding and all) without the query. */
struct pl_span http_request_path(const struct http_request *request);
/* What stands after the prefix of a prefix route. */
struct pl_span http_request_tail(const struct http_request *request);
/* After '?', still encoded; empty when absent. */
struct pl_span http_request_query(const struct http_request *request);
struct pl_span http_request_body(const struct http_request *request);
/* Host or :authority, with port as sent. */
struct pl_span http_request_authority(const struct http_request *request);
bool http_request_is_tls(const struct http_request *request);
/* Which of http_server_config.listeners its connection came in by. */
size_t http_request_listener(const struct http_request *request);
/* Name in lowercase. False when absent; the first one when repeated. Host, Content-Length,
 * Transfer-Encoding, Expect and Upgrade are the room's own and never found here. */
bool http_request_header(const struct http_request *request, const char *name,
                         struct pl_span *value);
/* Each one of that name in turn; *at is 0 at first. HTTP/2 clients split Cookie into several (RFC
 * 9113 section 8.2.3). */
bool http_request_header_next(const struct http_request *request, const char *name, size_t *at,
                              struct pl_span *value);
/* Numeric address of the peer, for rate limits in memory only; never store it. */
bool http_request_peer(const struct http_request *request, struct pl_span *address_bytes);

/* ---- replies: loop thread only ----------------------------------------------------------- */

struct http_header {
    struct pl_span name; /* lowercase */
    struct pl_span value;
};

/* A body shared by many replies. Immutable; the last unref (any thread) frees it. */
struct http_body;
enum pl_err http_body_new(struct http_body **out, struct pl_span bytes /* copied */);
/* What lives as long as the body does, e.g. its headers: release is called by the last unref, on
 * any thread. Once, before the body is shared. */
void http_body_on_release(struct http_body *body, void (*release)(void *arg), void *arg);
void http_body_unref(struct http_body *body); /* NULL is fine */
struct pl_span http_body_span(const struct http_body *body);

/* Header names, values and the body are copied. Content-Length is set; pass Content-Type among
 * the headers. 204 and 304 carry no body. */
void http_reply(struct http_request *request, int status, const struct http_header *headers,
                size_t header_count, struct pl_span body);
/* As http_reply without copies: headers must be static or live, unchanged, as long as `body` does
 * (what the room makes of them is kept with the body); the reply holds a reference to body until
 * it is sent. body may be NULL (then headers must be static). */
void http_reply_shared(struct http_request *request, int status, const struct http_header *headers,
                       size_t header_count, struct http_body *body);
/* Close the connection after this reply. Call before replying. On HTTP/2 the stream ends anyway
 * and the connection stays, for it carries others. */
void http_request_close_after(struct http_request *request);

/* Reply later: */
struct http_suspended;
/* The handler returns without replying; the suspended handle is the caller's. NULL: no memory
 * (the caller then replies at once). */
struct http_suspended *http_suspend(struct http_request *request);
/* On the same loop, before its loop_stop returns. The request, to be replied to now, or NULL when
 * its client has gone (HTTP/2 notices at once, HTTP/1 only when it writes) or a drain ran out of
 * time. The handle is freed either way. */
struct http_request *http_resume(struct http_suspended *suspended);

/* Streams: */
struct http_stream;
struct http_stream_ops {
    /* The client can take more: call http_stream_write once, now or later. */
    void (*ready)(void *arg);
    /* The client has gone or the stream is finished; last call, stream is invalid after it. */
    void (*gone)(void *arg);
};
/* Begins a reply of unknown length; ready is called from a later turn of the loop when the first
 * chunk may be written. The head leaves with the first chunk. Status 200 keeps the connection,
 * any other ends it. */
enum pl_err http_stream_start(struct http_request *request, int status,
                              const struct http_header *headers, size_t header_count,
                              const struct http_stream_ops *ops, void *arg,
                              struct http_stream **out);
/* Copies chunk; last ends the stream (then gone follows). Only after ready, once per ready. */
void http_stream_write(struct http_stream *stream, struct pl_span chunk, bool last);
/* Break the reply off so that the client notices it is incomplete, once it has taken what is on its
 * way. */
void http_stream_abort(struct http_stream *stream);
/* The same at once, without waiting for a client that takes nothing: of the last chunk, too, what
 * it has not taken is held back. gone may come before it returns. */
void http_stream_cut(struct http_stream *stream);

#endif
