#include "origin/api/call.h"
#include "origin/journal/audit.h"
#include "origin/options.h"

#include <stdio.h>
#include <stdlib.h>

#define API_PREFIX "/api/v1/"

enum pl_err api_new(struct api **out, const struct origin_parts *parts, struct pl_why *why)
{
    struct api *api = calloc(1, sizeof(*api));
    if (api == NULL) {
        return pl_fail(why, PL_ENOMEM, "no memory for the API");
    }
    pthread_mutex_init(&api->lock, NULL);
    pthread_cond_init(&api->came_back, NULL);
    api->parts = parts;
    api->worker_count = (size_t)parts->options->api_workers;
    api->workers = calloc(api->worker_count, sizeof(*api->workers));
    api->away = calloc((size_t)parts->options->http_loops, sizeof(*api->away));
    api->streams = calloc((size_t)parts->options->http_loops, sizeof(struct api_export *));
    const size_t export_max = (size_t)parts->options->exports_max;
    const struct rate wrong_tokens = {API_WRONG_TOKENS, API_WRONG_TOKENS_EVERY_MS};
    const struct rate owners = {API_OWNER_CALLS, API_OWNER_CALLS_EVERY_MS};
    if (api->workers == NULL || api->away == NULL || api->streams == NULL ||
        places_new(&api->exports, export_max, export_max < 2 ? 1 : export_max / 2) != PL_OK ||
        places_new(&api->guests, API_WAITING_MAX / 2, API_WAITING_MAX / 8) != PL_OK ||
        places_new(&api->anyones, API_WAITING_MAX / 4, API_WAITING_MAX / 16) != PL_OK ||
        rates_new(&api->wrong_tokens, wrong_tokens) != PL_OK ||
        rates_new(&api->owners, owners) != PL_OK) {
        api_free(api);
        return pl_fail(why, PL_ENOMEM, "no memory for the API");
    }
    *out = api;
    return PL_OK;
}

void api_free(struct api *api)
{
    if (api == NULL) {
        return;
    }
    rates_free(api->wrong_tokens);
    rates_free(api->owners);
    places_free(api->exports);
    places_free(api->guests);
    places_free(api->anyones);
    free(api->workers);
    free(api->away);
    free(api->streams);
    pthread_cond_destroy(&api->came_back);
    pthread_mutex_destroy(&api->lock);
    free(api);
}

enum pl_err api_start(struct api *api, struct pl_why *why)
{
    return api_workers_start(api, why);
}

void api_stop(struct api *api)
{
    api_workers_stop(api);
}

void api_stats(const struct api *api, struct api_stats *out)
{
    *out = (struct api_stats){
        .calls = api->calls,
        .refused_auth = api->refused_auth,
        .refused_often = api->refused_often,
        .refused_busy = api->refused_busy,
        .waiting = api->waiting,
        .exports = (unsigned)places_count(api->exports),
    };
}

/* ---- who asks */

/* RFC 6750 section 2.1; the scheme's case does not matter (RFC 9110 section 11.1). */
static bool bearer(const struct http_request *request, struct pl_span *token)
{
    static const struct pl_span scheme = PL_SPAN_INIT("bearer ");
    struct pl_span value;
    if (!http_request_header(request, "authorization", &value) || value.len <= scheme.len ||
        !pl_span_eq_nocase(pl_span(value.data, scheme.len), scheme)) {
        return false;
    }
    *token = pl_span_from(value, scheme.len);
    while (token->len > 0 && token->data[0] == ' ') {
        *token = pl_span_from(*token, 1);
    }
    return token->len > 0;
}

static void refuse_often(struct api *api, struct http_request *request, int64_t left_ms,
                         const char *message)
{
    char seconds[24];
    int len = snprintf(seconds, sizeof(seconds), "%lld",
                       (long long)((left_ms + PL_SECOND_MS - 1) / PL_SECOND_MS));
    struct http_header retry = {PL_SPAN_LIT("retry-after"), pl_span(seconds, (size_t)len)};
    api->refused_often++;
    api_refuse(request, 429, "over-limit", message, &retry, 1);
}

static void refuse_unknown(struct api *api, struct http_request *request, bool token_given)
{
    struct http_header challenge = {
        PL_SPAN_LIT("www-authenticate"),
        token_given ? PL_SPAN_LIT("Bearer realm=\"polder\", error=\"invalid_token\"")
                    : PL_SPAN_LIT("Bearer realm=\"polder\"")};
    api->refused_auth++;
    api_refuse(request, 401, "not-authentic",
               token_given ? "the token is not known here, has expired or was revoked"
                           : "this needs a token: send Authorization: Bearer TOKEN",
               &challenge, 1);
}

/* Everyone who is refused is noted; whether by a line of its own. */
static bool note_denial(struct api *api, struct http_request *request, struct audit_entry *entry)
{
    entry->outcome = AUDIT_DENIED;
    if (!http_request_peer(request, &entry->from)) {
        entry->from = pl_span(NULL, 0);
    }
    return audit_deny(api->parts->audit, entry, http_loop_mono_ms(http_request_loop(request)));
}

/* who: of a token that was valid once; NULL: nobody known. */
static void note_unknown(struct api *api, struct http_request *request, bool token_given,
                         const struct token_record *who)
{
    struct audit_entry entry = {
        .token = who,
        .actor = "stranger",
        .action = "api.authenticate",
        .account = who == NULL ? 0 : who->account,
        .detail = who == NULL            ? token_given ? "unknown token" : "no token"
                  : who->revoked_ms != 0 ? "revoked token"
                                         : "expired token",
    };
    note_denial(api, request, &entry);
}

/* Answers when there is no valid token. A right one passes however many wrong ones came from the
 * same address: behind a proxy all clients share it, and 256 bits are not guessed. */
static bool authenticate(struct api *api, struct http_request *request, struct token_record *who)
{
    struct pl_span token, peer;
    bool given = bearer(request, &token);
    enum pl_err err = given ? tokens_check(api->parts->tokens, token, who) : PL_EAUTH;
    if (err == PL_OK) {
        return true;
    }
    int64_t left_ms = 0;
    note_unknown(api, request, given, err == PL_EEXPIRED ? who : NULL);
    if (given && http_request_peer(request, &peer)) {
        left_ms =
            rates_take(api->wrong_tokens, peer, http_loop_mono_ms(http_request_loop(request)));
    }
    if (left_ms > 0) {
        refuse_often(api, request, left_ms,
                     "too many wrong tokens came from this address; wait as Retry-After says");
    } else {
        refuse_unknown(api, request, given);
    }
    return false;
}

static bool permitted(const struct api_route *route, const struct api_target *target,
                      const struct token_record *who)
{
    if ((route->roles & (1u << who->role)) == 0) {
        return false;
    }
    return who->role != ROLE_OWNER || (route->how & API_OWN_ONLY) != 0 ||
           target->account == who->account;
}

static void refuse_role(struct http_request *request, const struct api_route *route,
                        const struct token_record *who)
{
    char message[160];
    struct http_header challenge = {
        PL_SPAN_LIT("www-authenticate"),
        PL_SPAN_LIT("Bearer realm=\"polder\", error=\"insufficient_scope\"")};
    if ((route->roles & (1u << who->role)) != 0) {
        snprintf(message, sizeof(message), "this token is for another account");
    } else {
        snprintf(message, sizeof(message), "this needs %s token; the one given is %s",
                 (route->roles & API_OWNER) != 0     ? "an operator's or the account owner's"
                 : (route->roles & API_AUDITOR) != 0 ? "an operator's or an auditor's"
                                                     : "an operator's",
                 who->role == ROLE_OWNER     ? "an owner's"
                 : who->role == ROLE_AUDITOR ? "an auditor's"
                                             : "an operator's");
    }
    api_refuse(request, 403, "denied", message, &challenge, 1);
}

/* ---- who is refused */

static void reply_refused(struct api_call *call)
{
    struct http_request *request = http_resume(call->suspended);
    if (request != NULL) {
        refuse_role(request, call->refused, &call->token);
    }
    api_call_free(call);
}

static void write_refusal(struct api_worker *worker, struct api_call *call)
{
    const struct origin_parts *parts = worker->api->parts;
    (void)call;
    audit_write_denials(parts->audit, pl_mono_ms(parts->clock), NULL);
}

/* To somebody known: said once it is on the disk. False: it has to be said at once. */
static bool refuse_once_noted(struct api *api, struct http_request *request,
                              const struct api_route *route, const struct token_record *who)
{
    static const struct api_route refusal = {.pattern = "a refusal"};
    struct api_call *call =
        api->waiting >= API_WAITING_MAX ? NULL : api_call_new(api, request, &refusal);
    if (call == NULL) {
        return false;
    }
    call->token = *who;
    call->refused = route;
    call->work = write_refusal;
    call->done = reply_refused;
    call->suspended = http_suspend(request);
    if (call->suspended == NULL) {
        api_call_free(call);
        return false;
    }
    api_send(call);
    return true;
}

static void refuse(struct api *api, struct http_request *request, const struct api_route *route,
                   const struct api_target *target, const struct token_record *who)
{
    struct audit_entry entry = {
        .token = who,
        .action = api_denied_action(route),
        .account = target->account,
        .detail = route->pattern, /* never the path: it may name a visitor */
    };
    bool has_line = note_denial(api, request, &entry);
    if (!has_line || !refuse_once_noted(api, request, route, who)) {
        refuse_role(request, route, who);
    }
}

/* Answers when an owner's calls would fill the audit log. */
static bool in_time(struct api *api, struct http_request *request, const struct api_route *route,
                    const struct token_record *who)
{
    if (who->role != ROLE_OWNER || route->action == NULL) {
        return true;
    }
    int64_t left_ms = rates_take(api->owners, pl_span(who->id.bytes, sizeof(who->id.bytes)),
                                 http_loop_mono_ms(http_request_loop(request)));
    if (left_ms > 0) {
        refuse_often(api, request, left_ms,
                     "an owner may make sixty calls a minute that the audit log notes; wait as "
                     "Retry-After says");
    }
    return left_ms == 0;
}

static void on_api(struct http_request *request, void *arg)
{
    struct api *api = arg;
    const struct api_route *route = NULL;
    struct api_target target;
    struct token_record who;
    char allow[64];
    if (!authenticate(api, request, &who)) {
        return;
    }
    enum pl_err err = api_route_find(api_routes, api_route_count, http_request_method(request),
                                     http_request_tail(request), &route, &target, allow);
    if (err == PL_EDENIED) {
        struct http_header allowed = {PL_SPAN_LIT("allow"), pl_span_str(allow)};
        api_refuse(request, 405, "unsupported", "this path does not know that method", &allowed, 1);
    } else if (err != PL_OK) {
        api_refuse(request, 404, "not-found", "there is nothing at this path", NULL, 0);
    } else if (!permitted(route, &target, &who)) {
        refuse(api, request, route, &target, &who);
    } else if (in_time(api, request, route, &who)) {
        api_hand_over(api, request, route, &target, &who);
    }
}

/* ---- probes */

static void on_health(struct http_request *request, void *arg)
{
    static const struct http_header headers[] = {
        {PL_SPAN_INIT("content-type"), PL_SPAN_INIT("application/json")},
        {PL_SPAN_INIT("cache-control"), PL_SPAN_INIT("no-store")},
    };
    (void)arg;
    http_reply(request, 200, headers, 2, PL_SPAN_LIT("{\"status\":\"alive\"}"));
}

static void on_probe(struct http_request *request, void *arg)
{
    struct api *api = arg;
    struct pl_span path = http_request_path(request);
    struct api_target target = {0};
    struct token_record nobody = {0};
    for (size_t i = 0; i < api_probe_count; i++) {
        if (pl_span_eq_str(path, api_probes[i].pattern)) {
            api_hand_over(api, request, &api_probes[i], &target, &nobody);
        }
    }
}

/* ---- the server's hooks */

static void on_refuse(struct http_request *request, int status, const char *allow, void *arg)
{
    struct http_header allowed = {PL_SPAN_LIT("allow"), pl_span_str(allow)};
    (void)arg;
    switch (status) {
    case 404:
        api_refuse(request, 404, "not-found", "there is nothing at this path", NULL, 0);
        break;
    case 405:
        api_refuse(request, 405, "unsupported", "this path does not know that method", &allowed, 1);
        break;
    case 413:
        api_refuse(request, 413, "over-limit", "the request's body is larger than is allowed", NULL,
                   0);
        break;
    default:
        api_refuse(request, status, "failed", "the origin failed; its log says how", NULL, 0);
    }
}

static void on_loop_start(struct http_loop *loop, unsigned index, void *arg)
{
    struct api *api = arg;
    (void)index;
    if (http_loop_every(loop, API_LOOK_MS, api_export_look, api) != PL_OK) {
        pl_log(api->parts->log, PL_LOG_ERROR, "api",
               "no memory to look after exports: one may go on after its token was revoked");
    }
}

static void on_loop_stop(struct http_loop *loop, void *arg)
{
    struct api *api = arg;
    pthread_mutex_lock(&api->lock);
    while (api->away[http_loop_index(loop)] > 0) {
        pthread_cond_wait(&api->came_back, &api->lock);
    }
    pthread_mutex_unlock(&api->lock);
}

void api_configure(struct api *api, struct http_server_config *config)
{
    static const unsigned any = HTTP_GET | HTTP_HEAD | HTTP_POST | HTTP_PUT | HTTP_PATCH |
                                HTTP_DELETE | HTTP_OPTIONS | HTTP_OTHER;
    api->routes[0] = (struct http_route){any, API_PREFIX "*", on_api, api};
    api->routes[1] = (struct http_route){HTTP_GET, "/health", on_health, api};
    for (size_t i = 0; i < api_probe_count; i++) {
        api->routes[2 + i] = (struct http_route){HTTP_GET, api_probes[i].pattern, on_probe, api};
    }
    config->routes = api->routes;
    config->route_count = 2 + api_probe_count;
    config->refuse = on_refuse;
    config->refuse_arg = api;
    config->loop_start = on_loop_start;
    config->loop_stop = on_loop_stop;
    config->loop_arg = api;
}
