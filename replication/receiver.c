#include "replication/receiver_parts.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#define PENDING_BYTES ((size_t)128 * 1024 * 1024)
#define CONTEXTS      64

/* ---- connections */

/* Locked. Closed pipes are buried by the desk: when it cannot keep up, the kernel's queue holds
 * who comes. */
static bool may_accept(const struct receiver *r)
{
    return !r->stopping && r->peer_count < PEERS_MAX + 2 * r->config.strangers_max;
}

static void on_accepted(void *arg)
{
    struct receiver *r = arg;
    int rv = nng_aio_result(r->accept_aio);
    if (rv == 0)
        peer_open(r, nng_aio_get_output(r->accept_aio, 0));
    pthread_mutex_lock(&r->lock);
    r->accepting = rv == 0 && may_accept(r);
    if (r->accepting)
        nng_stream_listener_accept(r->listener, r->accept_aio);
    pthread_mutex_unlock(&r->lock);
    /* After a failure, such as too many open files, the desk tries again at its next turn. */
}

void receiver_accept(struct receiver *r)
{
    pthread_mutex_lock(&r->lock);
    if (!r->accepting && may_accept(r)) {
        r->accepting = true;
        nng_stream_listener_accept(r->listener, r->accept_aio);
    }
    pthread_mutex_unlock(&r->lock);
}

static enum pl_err listen_at(struct receiver *r, struct pl_why *why)
{
    int rv = nng_stream_listener_alloc(&r->listener, r->listen_url);
    if (rv == 0)
        rv = nng_stream_listener_set_ptr(r->listener, NNG_OPT_TLS_CONFIG, r->tls);
    if (rv == 0)
        rv = nng_aio_alloc(&r->accept_aio, on_accepted, r);
    if (rv == 0)
        rv = nng_stream_listener_listen(r->listener);
    return rv == 0 ? PL_OK : link_fail(why, rv, "listen at", r->listen_url);
}

/* ---- life */

/* A quarter of the files this process may open at most. */
static size_t default_strangers(void)
{
    struct rlimit files;
    bool few = getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur / 4 < STRANGERS_MAX;
    return few ? (size_t)files.rlim_cur / 4 + 1 : STRANGERS_MAX;
}

static enum pl_err build(struct receiver *r, struct pl_why *why)
{
    const struct receiver_config *config = &r->config;
    if (strncmp(config->listen_url, "tls+tcp://", 10) != 0)
        return pl_fail_field(why, PL_EINVAL, "listen_url",
                             "listen_url \"%s\" must read tls+tcp://ADDRESS:PORT",
                             config->listen_url);
    r->listen_url = strdup(config->listen_url);
    if (r->listen_url == NULL)
        return pl_fail(why, PL_ENOMEM, "out of memory for the receiver");
    struct link_identity identity = {.server = true,
                                     .ca_file = config->ca_file,
                                     .cert_file = config->cert_file,
                                     .key_file = config->key_file};
    return link_tls_new(&r->tls, NULL, &r->ends_ms, &identity, why);
}

enum pl_err receiver_new(struct receiver **out, const struct receiver_config *config,
                         struct pl_why *why)
{
    struct receiver *r = calloc(1, sizeof(*r));
    if (r == NULL)
        return pl_fail(why, PL_ENOMEM, "out of memory for the receiver");
    r->config = *config;
    if (r->config.max_pending_bytes == 0)
        r->config.max_pending_bytes = PENDING_BYTES;
    if (r->config.contexts == 0)
        r->config.contexts = CONTEXTS;
    if (r->config.strangers_max == 0)
        r->config.strangers_max = default_strangers();
    pthread_mutex_init(&r->lock, NULL);
    r->waiting_tail = &r->waiting;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&r->drained, &attr);
    pthread_condattr_destroy(&attr);
    desk_init(&r->desk);
    enum pl_err err = build(r, why);
    if (err == PL_OK)
        *out = r;
    else
        receiver_free(r);
    return err;
}

uint16_t receiver_port(const struct receiver *receiver)
{
    int port = 0;
    if (nng_stream_listener_get_int(receiver->listener, NNG_OPT_TCP_BOUND_PORT, &port) != 0)
        return 0;
    return (uint16_t)port;
}

enum pl_err receiver_start(struct receiver *r, struct pl_why *why)
{
    enum pl_err err = listen_at(r, why);
    if (err != PL_OK)
        return err;
    int rc = pthread_create(&r->desk.thread, NULL, desk_run, r);
    if (rc != 0)
        return pl_fail(why, pl_err_from_errno(rc), "cannot start the receiver's thread: %s",
                       strerror(rc));
    r->started = true;
    receiver_accept(r);
    pl_log(r->config.log, PL_LOG_INFO, "receiver", "replication listens on %.*s:%u",
           (int)(strrchr(r->listen_url, ':') - r->listen_url), r->listen_url, receiver_port(r));
    return PL_OK;
}

static bool is_any(const struct peer *peer, const void *arg)
{
    (void)peer, (void)arg;
    return true;
}

/* Locked. */
static bool has_unsent(struct receiver *r)
{
    for (struct peer *peer = r->peers; peer != NULL; peer = peer->next)
        if (peer->open && pipe_queued(peer->pipe) > 0)
            return true;
    return false;
}

/* Locked. The last verdicts should reach their edges, if those still listen. */
static void wait_sent(struct receiver *r)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec++;
    while (has_unsent(r))
        if (pthread_cond_timedwait(&r->drained, &r->lock, &until) != 0)
            return;
}

void receiver_stop(struct receiver *r)
{
    if (!r->started)
        return;
    pthread_mutex_lock(&r->lock);
    r->stopping = true;
    pthread_mutex_unlock(&r->lock);
    nng_stream_listener_close(r->listener);
    nng_aio_stop(r->accept_aio);
    peer_read_on(r); /* whoever waited is answered RETRY */

    pthread_mutex_lock(&r->lock);
    while (r->frames_out > 0 || r->finishing > 0)
        pthread_cond_wait(&r->drained, &r->lock);
    wait_sent(r);
    pthread_mutex_unlock(&r->lock);
    peer_close_if(r, is_any, NULL);

    pthread_mutex_lock(&r->lock);
    while (r->peer_count > 0)
        pthread_cond_wait(&r->drained, &r->lock);
    pthread_mutex_unlock(&r->lock);
    pl_mailbox_close(&r->desk.box);
    pthread_join(r->desk.thread, NULL);
    r->started = false;
}

void receiver_free(struct receiver *r)
{
    if (r == NULL)
        return;
    receiver_stop(r);
    if (r->listener != NULL) {
        nng_stream_listener_close(r->listener);
        nng_stream_listener_free(r->listener);
    }
    if (r->accept_aio != NULL)
        nng_aio_free(r->accept_aio);
    if (r->tls != NULL)
        nng_tls_config_free(r->tls);
    desk_release(&r->desk);
    pthread_cond_destroy(&r->drained);
    pthread_mutex_destroy(&r->lock);
    free(r->listen_url);
    free(r);
}

void receiver_feed_changed(struct receiver *r)
{
    if (!atomic_exchange(&r->desk.feed_changed, true))
        pl_mailbox_wake(&r->desk.box);
}

static bool is_edge(const struct peer *peer, const void *edge)
{
    return peer->bound && pl_id128_eq(&peer->session.edge, edge);
}

void receiver_edge_changed(struct receiver *r, const struct pl_id128 *edge)
{
    peer_close_if(r, is_edge, edge);
}

int64_t receiver_edge_ahead_ms(const struct receiver *receiver, const struct pl_id128 *edge)
{
    struct receiver *r = (struct receiver *)receiver; /* locking changes nothing to be seen */
    int64_t ahead_ms = 0;
    pthread_mutex_lock(&r->lock);
    for (const struct peer *peer = r->peers; peer != NULL; peer = peer->next)
        if (peer->bound && pl_id128_eq(&peer->session.edge, edge) &&
            peer->session.clock_skew_ms > ahead_ms)
            ahead_ms = peer->session.clock_skew_ms;
    pthread_mutex_unlock(&r->lock);
    return ahead_ms;
}

size_t receiver_sessions(const struct receiver *receiver, struct receiver_session *out, size_t max)
{
    struct receiver *r = (struct receiver *)receiver; /* locking changes nothing to be seen */
    size_t count = 0;
    pthread_mutex_lock(&r->lock);
    for (const struct peer *peer = r->peers; peer != NULL && count < max; peer = peer->next) {
        if (!peer->bound)
            continue;
        out[count] = peer->session;
        out[count++].last_heard_mono_ms = peer->heard_ms;
    }
    pthread_mutex_unlock(&r->lock);
    return count;
}

int64_t receiver_certificate_ends_ms(const struct receiver *receiver)
{
    return receiver->ends_ms;
}
