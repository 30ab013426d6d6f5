#include "edge/routes.h"
#include "edge/consent.h"
#include "edge/dialects/snowplow.h"
#include "edge/probes.h"
#include "edge/reply.h"
#include "edge/sdk.h"
#include "edge/segment_settings.h"
#include "edge/serve.h"
#include "edge/tracker.h"

#include <stdlib.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

struct edge_routes {
    struct catalog_reply sdk, ce;
    struct tracker_route *trackers;
    const struct tracker_route *snowplow; /* of trackers: what accounts' own paths stand for */
    struct http_route *table;
    size_t count;
};

/* For pages: answers preflights, too. */
static const struct http_route public_routes[] = {
    {HTTP_GET, "/v1/config/*", serve_config, NULL},
    {HTTP_GET, "/v1/config", serve_own_config, NULL},
    {HTTP_GET, "/s/*", serve_script, NULL},
    {HTTP_GET, "/s.js", serve_own_script, NULL},
    {HTTP_GET, "/v1/projects/*", segment_settings_serve, NULL},
    {HTTP_GET | HTTP_POST, "/v1/optout", consent_optout, NULL},
    {HTTP_POST, "/v1/optin", consent_optin, NULL},
    {HTTP_GET, "/v1/consent", consent_show, NULL},
};

/* What tells of clients and their accounts. */
static const struct operator_route {
    http_handler_fn probe;
} ready = {probe_ready}, replication = {probe_replication}, metrics = {probe_metrics};

static void serve_operator(struct http_request *request, void *arg)
{
    const struct operator_route *route = arg;
    const size_t listener = edge_loop_of(request)->edge->ops_listener;
    if (listener == EDGE_NO_LISTENER || http_request_listener(request) == listener)
        route->probe(request, NULL);
    else
        reply_refusal(request, 404, NULL, NULL);
}

static const struct http_route operator_routes[] = {
    {HTTP_GET, "/health", probe_health, NULL},
    {HTTP_GET, "/ready", serve_operator, (void *)&ready},
    {HTTP_GET, "/replication", serve_operator, (void *)&replication},
    {HTTP_GET, "/metrics", serve_operator, (void *)&metrics},
};

static void add(struct edge_routes *r, struct http_route route)
{
    r->table[r->count++] = route;
}

#define ALLOW_POST "POST, OPTIONS"

/* As a 405 names them. */
static const char *allowed(unsigned methods)
{
    if (methods == HTTP_POST)
        return ALLOW_POST;
    return (methods & HTTP_POST) == 0 ? "GET, HEAD, OPTIONS" : "GET, HEAD, POST, OPTIONS";
}

static void add_public(struct edge_routes *r, struct http_route route)
{
    add(r, route);
    add(r, (struct http_route){HTTP_OPTIONS, route.path, reply_preflight,
                               (void *)allowed(route.methods)});
}

static size_t count_dialect_routes(void)
{
    size_t count = 0;
    for (size_t i = 0; i < dialect_count; i++)
        count += dialects[i]->route_count;
    return count;
}

static void add_dialects(struct edge_routes *r)
{
    struct tracker_route *tracker = r->trackers;
    for (size_t i = 0; i < dialect_count; i++) {
        for (size_t j = 0; j < dialects[i]->route_count; j++, tracker++) {
            const struct dialect_route *route = &dialects[i]->routes[j];
            *tracker = (struct tracker_route){.dialect = dialects[i], .route = route};
            if (strcmp(route->path, SNOWPLOW_POST_PATH) == 0)
                r->snowplow = tracker;
            const unsigned methods = ((route->methods & DIALECT_GET) != 0 ? HTTP_GET : 0) |
                                     ((route->methods & DIALECT_POST) != 0 ? HTTP_POST : 0);
            add_public(r, (struct http_route){methods, route->path, tracker_handle, tracker});
        }
    }
}

enum pl_err edge_routes_new(struct edge_routes **out, int64_t cache_max_age_s, struct pl_why *why)
{
    static const char script_type[] = "text/javascript; charset=utf-8";
    const size_t trackers = count_dialect_routes();
    const size_t most = 2 * (COUNT(public_routes) + 2 + trackers) + COUNT(operator_routes);
    struct edge_routes *r = calloc(1, sizeof(*r));
    if (r == NULL)
        return pl_fail(why, PL_ENOMEM, "no memory for the routes");
    r->trackers = calloc(trackers + 1, sizeof(*r->trackers));
    r->table = calloc(most, sizeof(*r->table));
    enum pl_err err = r->trackers == NULL || r->table == NULL ? PL_ENOMEM : PL_OK;
    if (err == PL_OK)
        err = catalog_reply_init(&r->sdk, script_type, cache_max_age_s, sdk_text());
    if (err == PL_OK)
        err = catalog_reply_init(&r->ce, script_type, cache_max_age_s, sdk_ce_text());
    if (err != PL_OK) {
        edge_routes_free(r);
        return pl_fail(why, err, "no memory for the routes");
    }
    for (size_t i = 0; i < COUNT(public_routes); i++)
        add_public(r, public_routes[i]);
    add_public(r, (struct http_route){HTTP_GET, "/sdk.js", serve_sdk, &r->sdk});
    add_public(r, (struct http_route){HTTP_GET, "/ce.js", serve_sdk, &r->ce});
    add_dialects(r);
    for (size_t i = 0; i < COUNT(operator_routes); i++)
        add(r, operator_routes[i]);
    *out = r;
    return PL_OK;
}

void edge_routes_free(struct edge_routes *routes)
{
    if (routes == NULL)
        return;
    catalog_reply_release(&routes->sdk);
    catalog_reply_release(&routes->ce);
    free(routes->trackers);
    free(routes->table);
    free(routes);
}

/* The edge has no such path; an account may, for blockers know Snowplow's own. */
static void serve_other_path(struct http_request *request, void *arg)
{
    const struct edge_routes *routes = arg;
    const struct edge_loop *loop = edge_loop_of(request);
    if (catalog_find_path(loop->snapshot, http_request_path(request)) == NULL) {
        reply_refusal(request, 404, NULL, NULL);
        return;
    }
    switch (http_request_method(request)) {
    case HTTP_POST:
        tracker_handle(request, (void *)routes->snowplow);
        break;
    case HTTP_OPTIONS:
        reply_preflight(request, ALLOW_POST);
        break;
    default:
        reply_refusal(request, 405, ALLOW_POST, NULL);
        break;
    }
}

void edge_routes_apply(const struct edge_routes *routes, struct http_server_config *config)
{
    config->routes = routes->table;
    config->route_count = routes->count;
    config->refuse = reply_refusal;
    config->fallback = serve_other_path;
    config->fallback_arg = (void *)routes;
}
