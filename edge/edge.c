#include "edge/edge.h"
#include "edge/families.h"
#include "edge/loop.h"
#include "edge/recent.h"
#include "edge/routes.h"
#include "edge/tracker.h"

#include "proto/base/file.h"
#include "proto/base/secret.h"
#include "proto/base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- keys */

static enum pl_err read_key(const char *path, const char *what, uint8_t key[PL_X25519_BYTES],
                            struct pl_why *why)
{
    struct pl_buf text;
    pl_buf_init(&text, 4096);
    enum pl_err err = pl_file_read(path, what, true, &text, why);
    struct pl_span hex = pl_buf_span(&text);
    while (hex.len > 0 && (hex.data[hex.len - 1] == '\n' || hex.data[hex.len - 1] == '\r'))
        hex.len--;
    if (err == PL_OK && !pl_hex_decode(hex, key, PL_X25519_BYTES))
        err = pl_fail(why, PL_EINVAL, "%s %s must hold 64 hex digits and nothing else", what, path);
    pl_buf_wipe(&text);
    return err;
}

/* ---- what the parts say to each other */

static void on_durable(void *ctx)
{
    const struct edge *edge = ctx;
    uplink_wake(edge->uplink);
}

static void on_publish(void *ctx, struct catalog_snapshot *snapshot)
{
    edge_publish(ctx, snapshot);
}

static void on_seal_key(void *ctx, const uint8_t seal_public[PL_X25519_BYTES])
{
    const struct edge *edge = ctx;
    collector_set_origin(edge->collector, seal_public);
}

static void on_cut(void *ctx, const struct catalog_cut *cut)
{
    const struct edge *edge = ctx;
    cutoff_want(edge->cutoff, cut);
}

static void on_fenced(void *ctx)
{
    const struct edge *edge = ctx;
    cutoff_fenced(edge->cutoff);
}

static void on_past_cut(void *ctx)
{
    const struct edge *edge = ctx;
    cutoff_past(edge->cutoff);
}

/* ---- making the parts, left to right */

static enum pl_err make_collector(struct edge *edge, struct pl_why *why)
{
    const struct edge_options *o = edge->options;
    uint8_t edge_secret[PL_X25519_BYTES];
    enum pl_err err = read_key(o->seal_key_file, "seal_key_file", edge_secret, why);
    if (err == PL_OK) {
        const struct collector_config config = {
            .spool = edge->spool,
            .sealer =
                {
                    .edge = o->edge_id,
                    .edge_secret = edge_secret,
                    .random = pl_random_system(),
                    .clock = edge->clock,
                },
            .lanes = edge->loop_count,
            .lane_bytes = (size_t)o->collect_buffer_bytes,
            .done = tracker_done,
            .durable = on_durable,
            .fenced = on_fenced,
            .durable_ctx = edge,
            .suppressions = edge->suppressions,
            .clock = edge->clock,
            .log = &edge->log,
        };
        err = collector_new(&edge->collector, &config, why);
    }
    pl_wipe(edge_secret, sizeof(edge_secret));
    return err;
}

static enum pl_err make_spool(struct edge *edge, struct pl_why *why)
{
    const struct edge_options *o = edge->options;
    enum pl_err err = edge_store_open(&edge->store, o->data_dir, &edge->log, why);
    if (err != PL_OK)
        return err;
    err = suppressions_open(&edge->suppressions, edge->store, EDGE_SUPPRESSIONS, &edge->log, why);
    if (err != PL_OK)
        return err;
    const struct spool_config config = {
        .store = edge->store,
        .data_dir = o->data_dir,
        .max_bytes = (uint64_t)o->spool_max_bytes,
        .disk_spare_bytes = (uint64_t)o->disk_spare_bytes,
        .past_cut = on_past_cut,
        .ctx = edge,
        .random = pl_random_system(),
        .clock = edge->clock,
        .log = &edge->log,
    };
    return spool_new(&edge->spool, &config, why);
}

static enum pl_err make_catalog(struct edge *edge, struct pl_why *why)
{
    const struct catalog_config config = {
        .store = edge->store,
        .family = EDGE_CATALOG,
        .max_age_seconds = edge->options->cache_max_age_s,
        .publish = on_publish,
        .seal_key = on_seal_key,
        .cut = on_cut,
        .ctx = edge,
        .suppressions = edge->suppressions,
        .clock = edge->clock,
        .log = &edge->log,
    };
    return catalog_open(&edge->catalog, &config, why);
}

static enum pl_err make_cutoff(struct edge *edge, struct pl_why *why)
{
    struct cutoff_config config = {
        .store = edge->store,
        .spool = edge->spool,
        .collector = edge->collector,
        .clock = edge->clock,
        .log = &edge->log,
    };
    catalog_position(edge->catalog, &config.here.epoch, &config.here.position);
    return cutoff_new(&edge->cutoff, &config, why);
}

static enum pl_err make_uplink(struct edge *edge, struct pl_why *why)
{
    const struct edge_options *o = edge->options;
    const struct uplink_config config = {
        .origin_url = o->origin_url,
        .server_name = o->origin_name,
        .ca_file = o->ca_file,
        .cert_file = o->link_cert_file,
        .key_file = o->link_key_file,
        .edge = o->edge_id,
        .region = o->region,
        .window_bytes = (size_t)o->link_window_bytes,
        .source = spool_source(edge->spool),
        .sink = {.ctx = edge->catalog,
                 .position = catalog_position,
                 .apply = catalog_apply,
                 .heard = catalog_heard},
        .clock = edge->clock,
        .random = pl_random_system(),
        .log = &edge->log,
    };
    return uplink_new(&edge->uplink, &config, why);
}

static enum pl_err add_listener(struct edge *edge, const char *text, const char *key, bool tls,
                                struct pl_why *why)
{
    if (*text == '\0')
        return PL_OK;
    struct pl_address *address = &edge->addresses[edge->listener_count];
    enum pl_err err = pl_address_parse(text, key, address, why);
    if (err != PL_OK)
        return err;
    edge->listeners[edge->listener_count++] =
        (struct http_listener){.address = address->host, .port = address->port, .tls = tls};
    return PL_OK;
}

static enum pl_err make_server(struct edge *edge, struct pl_why *why)
{
    const struct edge_options *o = edge->options;
    struct http_server_config config;
    enum pl_err err = add_listener(edge, o->http_listen, "http_listen", false, why);
    if (err == PL_OK)
        err = add_listener(edge, o->https_listen, "https_listen", true, why);
    edge->ops_listener = *o->ops_listen == '\0' ? EDGE_NO_LISTENER : edge->listener_count;
    if (err == PL_OK)
        err = add_listener(edge, o->ops_listen, "ops_listen", false, why);
    if (err == PL_OK && edge->ops_listener != EDGE_NO_LISTENER)
        edge->listeners[edge->ops_listener].reserved = true;
    if (err == PL_OK)
        err = edge_routes_new(&edge->routes, o->cache_max_age_s, why);
    if (err != PL_OK)
        return err;
    http_server_config_init(&config);
    edge_routes_apply(edge->routes, &config);
    config.listeners = edge->listeners;
    config.listener_count = edge->listener_count;
    config.loops = edge->loop_count;
    config.tls_cert_file = *o->tls_cert_file == '\0' ? NULL : o->tls_cert_file;
    config.tls_key_file = *o->tls_key_file == '\0' ? NULL : o->tls_key_file;
    config.tls_sni_dir = *o->tls_sni_dir == '\0' ? NULL : o->tls_sni_dir;
    config.max_body_bytes = LIMIT_BATCH_BYTES;
    config.max_drain_bytes = LIMIT_DRAIN_BYTES;
    config.header_timeout_ms = o->header_timeout_ms;
    config.idle_timeout_ms = o->idle_timeout_ms;
    config.write_timeout_ms = o->write_timeout_ms;
    config.max_connections = (unsigned)o->max_connections;
    config.h2_control_frames_per_10s = (unsigned)o->h2_control_frames_per_10s;
    config.loop_start = edge_loop_start;
    config.loop_stop = edge_loop_stop;
    config.loop_arg = edge;
    config.log = &edge->log;
    config.clock = edge->clock;
    return http_server_new(&edge->server, &config, why);
}

static unsigned loops_wanted(const struct edge_options *options)
{
    if (options->loops > 0)
        return (unsigned)options->loops;
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores < 1 ? 1 : cores > 64 ? 64 : (unsigned)cores;
}

enum pl_err edge_new(struct edge **out, const struct edge_options *options, struct pl_why *why)
{
    static enum pl_err (*const makers[])(struct edge *, struct pl_why *) = {
        edge_loops_new, make_spool,  make_collector, make_catalog,
        make_cutoff,    make_uplink, make_server,
    };
    struct edge *edge = calloc(1, sizeof(*edge));
    if (edge == NULL)
        return pl_fail(why, PL_ENOMEM, "no memory for an edge");
    edge->options = options;
    edge->clock = pl_clock_system();
    edge->log =
        (struct pl_log){.fd = STDERR_FILENO, .level = options->log_level, .clock = edge->clock};
    edge->started_ms = pl_wall_ms(edge->clock);
    edge->loop_count = loops_wanted(options);
    pthread_mutex_init(&edge->publish_lock, NULL);
    edge->recent = recent_new();
    enum pl_err err =
        edge->recent == NULL ? pl_fail(why, PL_ENOMEM, "no memory for an edge") : PL_OK;
    if (err == PL_OK)
        err = pl_dir_make(options->data_dir, 0700, why);
    for (size_t i = 0; i < sizeof(makers) / sizeof(makers[0]) && err == PL_OK; i++)
        err = makers[i](edge, why);
    if (err != PL_OK) {
        edge_free(edge);
        return err;
    }
    *out = edge;
    return PL_OK;
}

/* ---- running */

enum pl_err edge_start(struct edge *edge, struct pl_why *why)
{
    enum pl_err err = collector_start(edge->collector, why);
    if (err == PL_OK)
        err = cutoff_start(edge->cutoff, why);
    if (err == PL_OK)
        err = http_server_start(edge->server, why);
    if (err == PL_OK) {
        edge->serving = true;
        err = uplink_start(edge->uplink, why);
    }
    if (err == PL_OK)
        edge->linked = true;
    else
        edge_stop(edge);
    for (size_t i = 0; i < edge->listener_count && err == PL_OK; i++)
        pl_log(&edge->log, PL_LOG_INFO, "edge", "listening address=%s port=%u tls=%s",
               edge->listeners[i].address, http_server_port(edge->server, i),
               edge->listeners[i].tls ? "yes" : "no");
    return err;
}

enum pl_err edge_reload(struct edge *edge, struct pl_why *why)
{
    if (*edge->options->https_listen == '\0')
        return pl_fail_field(why, PL_EUNSUPPORTED, "https_listen",
                             "there are no certificates to read again: https_listen is not set");
    return http_server_reload_tls(edge->server, why);
}

/* Requests first: they need the committer. Then the committer, then the link, which takes along
 * what it can of what was committed last. */
void edge_stop(struct edge *edge)
{
    if (edge->serving)
        http_server_drain(edge->server, edge->options->drain_timeout_ms);
    edge->serving = false;
    collector_stop(edge->collector);
    if (edge->linked)
        uplink_stop(edge->uplink, edge->options->link_drain_ms);
    edge->linked = false;
    cutoff_stop(edge->cutoff);
}

void edge_free(struct edge *edge)
{
    if (edge == NULL)
        return;
    http_server_free(edge->server);
    edge_routes_free(edge->routes);
    uplink_free(edge->uplink);
    cutoff_free(edge->cutoff);
    catalog_close(edge->catalog);
    collector_free(edge->collector);
    spool_free(edge->spool);
    suppressions_close(edge->suppressions);
    recent_free(edge->recent);
    catalog_snapshot_unref(edge->snapshot);
    store_close(edge->store);
    edge_loops_free(edge);
    pthread_mutex_destroy(&edge->publish_lock);
    free(edge);
}
