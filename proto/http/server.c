#include "proto/http/internal.h"

#include <signal.h>

#define MAX_LOOPS 256

void http_server_config_init(struct http_server_config *config)
{
    *config = (struct http_server_config){
        .loops = 1,
        .max_body_bytes = (size_t)512 * 1024,
        .max_drain_bytes = (size_t)1024 * 1024,
        .max_upload_bytes = (size_t)128 * 1024 * 1024,
        .header_timeout_ms = 15 * PL_SECOND_MS,
        .idle_timeout_ms = 75 * PL_SECOND_MS,
        .write_timeout_ms = 30 * PL_SECOND_MS,
        .max_connections = 10000,
        .h2_control_frames_per_10s = 1000,
    };
}

static enum pl_err check_config(const struct http_server_config *config, struct pl_why *why)
{
    if (config->listener_count == 0 || config->listener_count > 64)
        return pl_fail(why, PL_EINVAL, "between 1 and 64 listeners are needed, not %zu",
                       config->listener_count);
    if (config->loops == 0 || config->loops > MAX_LOOPS)
        return pl_fail(why, PL_EINVAL, "between 1 and %d http loops are possible, not %u",
                       MAX_LOOPS, config->loops);
    if (config->max_body_bytes > config->max_drain_bytes ||
        config->max_drain_bytes > (size_t)1024 * 1024 * 1024)
        return pl_fail(why, PL_EINVAL,
                       "the body limit (%zu) may not exceed the drain limit (%zu), nor that 1 GiB",
                       config->max_body_bytes, config->max_drain_bytes);
    if (config->header_timeout_ms < 1 || config->idle_timeout_ms < 1 ||
        config->write_timeout_ms < 1)
        return pl_fail(why, PL_EINVAL, "http timeouts must be at least 1 ms");
    if (config->max_connections == 0 || config->h2_control_frames_per_10s == 0)
        return pl_fail(why, PL_EINVAL, "connection and control frame limits must not be 0");
    return PL_OK;
}

/* ---- libh2o's configuration ------------------------------------------------------------ */

/* Errors libh2o sends by itself, before a handler is asked: it closes right after them, and
 * input still on its way would turn the close into a reset. */
static void on_own_error(h2o_filter_t *filter, h2o_req_t *req, h2o_ostream_t **slot)
{
    struct http_loop *loop = http_loop_of(req);
    (void)filter;

    if (req->version < 0x200)
        http_conn_linger(http_conn_of(http_request_socket(req)));
    if (req->res.status == 413)
        http_count(&loop->counters.too_large);
    if (req->res.status >= 100 && req->res.status < 600)
        http_count(&loop->counters.by_class[req->res.status / 100]);
    h2o_setup_next_ostream(req, slot);
}

static void configure_h2o(struct http_server *server)
{
    h2o_globalconf_t *h2o = &server->h2o;
    const struct http_server_config *config = &server->config;

    /* Bodies are bounded by max_drain_bytes; whatever their size they must not be spilled in
     * plaintext to a file in /tmp, which is libh2o's way beyond 32 MiB. */
    h2o_socket_buffer_mmap_settings.threshold = SIZE_MAX;

    h2o_config_init(h2o);
    h2o->server_name = h2o_iovec_init(NULL, 0);
    h2o->max_request_entity_size = config->max_drain_bytes;
    h2o->http1.upgrade_to_http2 = 0;
    /* One timer for all three of waiting, head and body: deadline.c tells them apart and comes
     * first. */
    h2o->http1.req_timeout =
        (uint64_t)(config->idle_timeout_ms + config->header_timeout_ms) + 10000;
    h2o->http2.idle_timeout = (uint64_t)config->idle_timeout_ms;
    h2o->http2.max_concurrent_requests_per_connection = 100;

    h2o_hostconf_t *host = h2o_config_register_host(h2o, h2o_iovec_init(H2O_STRLIT("*")), 65535);
    host->http2.push_preload = 0;
    h2o_pathconf_t *all = h2o_config_register_path(host, "/", 0);
    h2o_create_handler(all, sizeof(h2o_handler_t))->on_req = http_request_serve;
    /* "*", "host:port" and "http://…" targets are not below "/". */
    h2o_create_handler(&host->fallback_path, sizeof(h2o_handler_t))->on_req = http_request_serve;
    h2o_create_filter(&host->fallback_path, sizeof(h2o_filter_t))->on_setup_ostream = on_own_error;
}

/* ---- life ------------------------------------------------------------------------------ */

enum pl_err http_server_new(struct http_server **out, const struct http_server_config *config,
                            struct pl_why *why)
{
    struct http_server *server = NULL;
    bool any_tls = false;
    enum pl_err err = check_config(config, why);
    if (err != PL_OK)
        return err;

    server = calloc(1, sizeof(*server));
    if (server == NULL)
        return pl_fail(why, PL_ENOMEM, "out of memory for the http server");
    pthread_mutex_init(&server->tls_lock, NULL);
    server->config = *config;
    if (server->config.clock == NULL)
        server->config.clock = pl_clock_system();
    configure_h2o(server);
    server->listeners = calloc(config->listener_count, sizeof(struct http_listener));
    server->ports = calloc(config->listener_count, sizeof(uint16_t));
    server->loops = calloc(config->loops, sizeof(struct http_loop));
    if (server->listeners == NULL || server->ports == NULL || server->loops == NULL) {
        err = pl_fail(why, PL_ENOMEM, "out of memory for the http server");
        goto out;
    }
    for (size_t i = 0; i < config->listener_count; ++i) {
        server->listeners[i] = config->listeners[i];
        server->ports[i] = config->listeners[i].port;
        any_tls = any_tls || config->listeners[i].tls;
    }
    server->config.listeners = server->listeners;
    err = http_route_table_init(&server->routes, config->routes, config->route_count, why);
    if (err == PL_OK && any_tls)
        err = http_tls_load(&server->tls, config, NULL, why);
    for (unsigned i = 0; i < config->loops && err == PL_OK; ++i)
        err = http_loop_init(&server->loops[i], server, i, why);
out:
    if (err != PL_OK)
        http_server_free(server);
    else
        *out = server;
    return err;
}

uint16_t http_server_port(const struct http_server *server, size_t listener)
{
    return listener < server->config.listener_count ? server->ports[listener] : 0;
}

enum pl_err http_server_start(struct http_server *server, struct pl_why *why)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP};
    sigset_t all, before;
    int error = 0;

    /* libh2o writes with writev(2), which has no MSG_NOSIGNAL. */
    signal(SIGPIPE, SIG_IGN);
    /* Signals are for the threads that asked for them; those that a fault raises are nobody else's:
     * blocked, they would end the process before a sanitizer can say where. */
    sigfillset(&all);
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); ++i)
        sigdelset(&all, faults[i]);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (server->loops_started < server->config.loops && error == 0) {
        struct http_loop *loop = &server->loops[server->loops_started];
        error = pthread_create(&loop->thread, NULL, http_loop_main, loop);
        if (error == 0)
            server->loops_started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0) {
        http_server_drain(server, 0);
        return pl_fail(why, pl_err_from_errno(error), "cannot start http loop thread: %s",
                       strerror(error));
    }
    return PL_OK;
}

struct http_tls_set *http_server_tls(struct http_server *server)
{
    pthread_mutex_lock(&server->tls_lock);
    struct http_tls_set *set = http_tls_ref(server->tls);
    pthread_mutex_unlock(&server->tls_lock);
    return set;
}

enum pl_err http_server_reload_tls(struct http_server *server, struct pl_why *why)
{
    struct http_tls_set *fresh = NULL;
    struct pl_why trouble = {0};
    if (server->tls == NULL)
        return PL_OK; /* set once, before the loops started: no listener has tls */
    struct http_tls_set *current = http_server_tls(server);
    enum pl_err err = http_tls_load(&fresh, &server->config, current, &trouble);
    http_tls_unref(current);
    pthread_mutex_lock(&server->tls_lock);
    struct http_tls_set *old = err == PL_OK ? server->tls : NULL;
    server->tls = err == PL_OK ? fresh : server->tls;
    server->tls_trouble = err == PL_OK ? (struct pl_why){0} : trouble;
    pthread_mutex_unlock(&server->tls_lock);
    http_tls_unref(old);
    if (err != PL_OK && why != NULL)
        *why = trouble;
    return err;
}

void http_server_tls_trouble(struct http_server *server, struct pl_why *out)
{
    pthread_mutex_lock(&server->tls_lock);
    *out = server->tls_trouble;
    pthread_mutex_unlock(&server->tls_lock);
}

size_t http_server_certificates(struct http_server *server,
                                void (*visit)(void *ctx, const char *name, int64_t not_after_s),
                                void *ctx)
{
    if (server->tls == NULL)
        return 0;
    struct http_tls_set *set = http_server_tls(server);
    size_t refused = http_tls_visit(set, visit, ctx);
    http_tls_unref(set);
    return refused;
}

void http_server_drain(struct http_server *server, int64_t timeout_ms)
{
    atomic_store(&server->drain_deadline_ms,
                 pl_mono_ms(pl_clock_system()) + (timeout_ms < 0 ? 0 : timeout_ms));
    atomic_store_explicit(&server->draining, true, memory_order_release);
    for (unsigned i = 0; i < server->loops_started; ++i)
        http_loop_wake(&server->loops[i]);
    for (unsigned i = 0; i < server->loops_started; ++i)
        pthread_join(server->loops[i].thread, NULL);
    server->loops_started = 0;
}

void http_server_free(struct http_server *server)
{
    if (server == NULL)
        return;
    if (server->loops != NULL) {
        for (unsigned i = 0; i < server->config.loops; ++i)
            http_loop_release(&server->loops[i]);
    }
    http_route_table_release(&server->routes);
    http_tls_unref(server->tls);
    h2o_config_dispose(&server->h2o);
    pthread_mutex_destroy(&server->tls_lock);
    free(server->loops);
    free(server->ports);
    free(server->listeners);
    free(server);
}

/* ---- statistics ------------------------------------------------------------------------ */

static uint64_t read_counter(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

void http_server_stats(const struct http_server *server, struct http_stats *out)
{
    *out = (struct http_stats){0};
    for (enum http_pool pool = 0; pool < HTTP_POOLS; ++pool)
        out->connections_open += atomic_load_explicit(&server->open[pool], memory_order_relaxed);
    for (unsigned i = 0; i < server->config.loops; ++i) {
        const struct http_counters *counters = &server->loops[i].counters;
        out->connections_accepted += read_counter(&counters->accepted);
        out->requests += read_counter(&counters->requests);
        out->refused_smuggling += read_counter(&counters->smuggling);
        out->refused_flood += read_counter(&counters->flood);
        out->refused_too_large += read_counter(&counters->too_large);
        out->timed_out += read_counter(&counters->timed_out);
        for (size_t c = 0; c < 6; ++c)
            out->replies_by_class[c] += read_counter(&counters->by_class[c]);
    }
}
