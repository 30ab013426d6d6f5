/*
 * call: one request on its way: from a loop to a worker and back. Private to the api.
 *
 * Promise: a call belongs to one thread at a time: the loop's until api_send, the worker's until
 * it posts back, then the loop's again. What a worker needs was copied before.
 */
#ifndef POLDER_ORIGIN_API_CALL_H
#define POLDER_ORIGIN_API_CALL_H

#include "origin/accounts/outcomes.h"
#include "origin/api/api.h"
#include "origin/api/places.h"
#include "origin/api/rates.h"
#include "origin/subjects/visitors.h"
#include "origin/vault/export.h"
#include "proto/base/mailbox.h"

#define API_REPLY_BYTES_MAX ((size_t)64 << 20)
/* Calls with the workers. Owners and auditors together have half of the room, one account's owners
 * or one auditor an eighth; callers without a token a quarter, one address at one probe a
 * sixteenth. What all of them leave is for operators. */
#define API_WAITING_MAX 256
/* Of one address. */
#define API_WRONG_TOKENS          20
#define API_WRONG_TOKENS_EVERY_MS INT64_C(3000)
/* That an owner's token may make and the audit log takes note of. */
#define API_OWNER_CALLS          120
#define API_OWNER_CALLS_EVERY_MS INT64_C(1000)
#define API_HTTP_ROUTES          8

struct api_call;

/* A worker and its own tools. */
struct api_worker {
    struct api *api;
    pthread_t thread;
    struct pl_mailbox box;
    struct json_parser *parser;
    struct json_writer *writer;
    struct exporter *exporter;
    struct outcomes *outcomes;
    struct visitors *visitors;
    _Atomic unsigned waiting; /* in the box or in hand */
};

/* Does the work. On success it has written exactly one JSON value to worker->writer, or set
 * call->content_type and appended to call->reply. On error *why is what the client is told. */
typedef enum pl_err (*api_handler_fn)(struct api_worker *worker, struct api_call *call,
                                      struct pl_why *why);

enum { /* who may call */
       API_ANYONE = 0,
       API_OPERATOR = 1 << ROLE_OPERATOR,
       API_AUDITOR = 1 << ROLE_AUDITOR,
       API_OWNER = 1 << ROLE_OWNER, /* of the account in the path */
};

struct api_route {
    enum http_method method;
    const char *pattern; /* below /api/v1/: "accounts/{account}/expire", "edges/{id}" */
    unsigned roles;
    /* What the audit log calls it, e.g. "account.expire". Every route that changes something or
     * gives out visitors' data has one; NULL: none. */
    const char *action;
    api_handler_fn handle;
    unsigned how; /* API_STREAMS, API_GIVES, API_OWN_ONLY */
};
enum {
    API_STREAMS = 1,  /* an export: handle begins it, export.c goes on */
    API_GIVES = 2,    /* its answer is data, as every GET's: nothing is changed */
    API_OWN_ONLY = 4, /* no account in the path: its handler gives an owner its own one only */
};

static inline bool api_streams(const struct api_route *route)
{
    return (route->how & API_STREAMS) != 0;
}

/* What the audit log calls a denial of it. */
static inline const char *api_denied_action(const struct api_route *route)
{
    return route->action == NULL ? "api.read" : route->action;
}

/* What a handler adds to the audit log's line: no names, no visitor's data. Reasons are an
 * operator's words, who is told that they are kept and may name nobody. */
struct api_noted {
    uint64_t account;           /* 0: the path's */
    char object[PL_ID128_TEXT]; /* "": the path's id */
    char detail[ACCOUNT_REASON_BYTES + 40];
};

/* What the path says. */
struct api_target {
    uint64_t account;
    struct pl_id128 id;
};

struct api_export;

/* What a call holds while it is with the workers. places NULL: nothing. */
struct api_room {
    struct places *places;
    uint64_t key;
};

struct api_call {
    struct pl_mail mail;   /* on its way to a worker */
    struct http_task task; /* on its way back */
    struct api *api;
    struct http_loop *loop;
    struct http_suspended *suspended;
    const struct api_route *route;
    void (*work)(struct api_worker *worker, struct api_call *call); /* on the worker */
    void (*done)(struct api_call *call);                            /* on the loop */

    struct api_room room;
    struct token_record token; /* whose; zeros when the route is anyone's */
    struct api_target target;
    struct api_noted noted;
    const struct api_route *refused; /* what the token is not for; NULL: it is */
    struct pl_buf query, body;

    int status;
    const char *content_type; /* NULL: JSON */
    bool retry;               /* tell the client to come again */
    char location[64];        /* of what was made; "" */
    char link[64];            /* where it goes on (RFC 8288); "" */
    struct pl_buf reply;

    struct api_export *export;
};

struct api {
    const struct origin_parts *parts;
    struct rates *wrong_tokens; /* by peer */
    struct rates *owners;       /* audited calls by token */
    struct api_worker *workers;
    size_t worker_count, started;
    struct places *exports;          /* running, by account */
    struct places *guests, *anyones; /* waiting: by account or auditor, by address and probe */
    _Atomic unsigned waiting;
    _Atomic uint64_t calls, refused_auth, refused_often, refused_busy;
    /* Calls of each loop that are with the workers: a loop waits for them before it ends. */
    pthread_mutex_t lock;
    pthread_cond_t came_back;
    unsigned *away;              /* per loop */
    struct api_export **streams; /* those of each loop; the loop's */
    struct http_route routes[API_HTTP_ROUTES];
};

/* ---- route.c */

/* PL_OK; PL_ENOTFOUND; PL_EDENIED: the path is known, not with this method, and allow (64 bytes)
 * lists those that are. */
enum pl_err api_route_find(const struct api_route *table, size_t count, enum http_method method,
                           struct pl_span path, const struct api_route **route,
                           struct api_target *target, char allow[64]);

/* ---- routes.c */

extern const struct api_route api_routes[];
extern const size_t api_route_count;
extern const struct api_route api_probes[]; /* patterns are whole paths */
extern const size_t api_probe_count;

/* ---- hand_over.c; loop thread */

/* Of what the request says; NULL: no memory. */
struct api_call *api_call_new(struct api *api, struct http_request *request,
                              const struct api_route *route);
/* Has a worker answer it, or answers that there is no room. */
void api_hand_over(struct api *api, struct http_request *request, const struct api_route *route,
                   const struct api_target *target, const struct token_record *who);

/* ---- worker.c */

enum pl_err api_workers_start(struct api *api, struct pl_why *why);
void api_workers_stop(struct api *api);
/* To the least busy worker that takes such calls; call->work and call->done are set. Loop thread.
 */
void api_send(struct api_call *call);
/* Once; again does nothing. */
void api_leave(struct api_room *room);

/* ---- reply.c */

int api_status_of(enum pl_err err);
/* A plain call's work: route->handle, its answer or its error. */
void api_work(struct api_worker *worker, struct api_call *call);
/* Makes call's answer the error. */
void api_fail(struct api_worker *worker, struct api_call *call, enum pl_err err,
              const struct pl_why *why);
/* Sends what the call holds. Loop thread. */
void api_reply(struct api_call *call, struct http_request *request);
/* An error from a loop. message is plain ASCII without quotes; extra headers may be NULL. */
void api_refuse(struct http_request *request, int status, const char *code, const char *message,
                const struct http_header *extra, size_t extra_count);
void api_call_free(struct api_call *call); /* loop thread */

/* ---- export.c */

/* Work and done of a call whose route streams. */
void api_export_work(struct api_worker *worker, struct api_call *call);
void api_export_done(struct api_call *call);
void api_export_free(struct api_call *call);
/* Cuts off what may not go on: exports of an account that is being deleted, and those whose token
 * is not good any more. Loop thread, a few times a second. */
#define API_LOOK_MS 250
void api_export_look(struct http_loop *loop, void *api);

/* ---- export_query.c */

/* Whether the query names what is in names (NULL at the end) only, each once: a misspelt from would
 * give out all days. PL_EINVAL names what else is there. */
enum pl_err api_query_only(const struct api_call *call, const char *const *names,
                           struct pl_why *why);
/* A day of the query, like 2026-11-22; *day stays where it names none. */
enum pl_err api_read_day(struct api_call *call, const char *name, int64_t *day, struct pl_why *why);

/* ---- what handlers share */

/* Before data of an account is gathered: PL_ENOTFOUND, and PL_EEXPIRED once its deletion has begun.
 * api_work asks again before it is given out. */
enum pl_err api_check_account(struct api_worker *worker, uint64_t id, struct pl_why *why);
/* Parses the body; an empty one is {}. */
enum pl_err api_body(struct api_worker *worker, struct api_call *call, struct json *root,
                     struct pl_why *why);

/* ---- audited.c */

/* Before a change: it is on disk who is about to do it, or nothing is done. Before data are given
 * out: there is room to say so. */
enum pl_err api_audit_begin(struct api_worker *worker, struct api_call *call, struct pl_why *why);
/* How it ended, of a call with an action, and of every one that was denied once it had begun; gives
 * err on. What gives out data says so before it does: when that cannot be written the error is the
 * answer. */
enum pl_err api_audit_end(struct api_worker *worker, struct api_call *call, enum pl_err err,
                          struct pl_why *why);
/* That a change had been made before; PL_OK all the same. */
void api_note_already(struct api_call *call, const struct account *account);
/* That what was being given out was cut off, and why. */
void api_audit_cut(struct api_worker *worker, struct api_call *call, const char *why_text);

/* ---- handlers */

/* An account, as the API gives it, into the answer. */
void api_write_account(struct api_worker *worker, const struct account *account);

#define API_HANDLER(name)                                                                          \
    enum pl_err name(struct api_worker *worker, struct api_call *call, struct pl_why *why)
API_HANDLER(api_account_create);
API_HANDLER(api_account_list);
API_HANDLER(api_account_get);
API_HANDLER(api_account_update);
API_HANDLER(api_account_expire);
API_HANDLER(api_account_reinstate);
API_HANDLER(api_account_records);
API_HANDLER(api_deletion_get);
API_HANDLER(api_deletion_request);
API_HANDLER(api_deletion_confirm);
API_HANDLER(api_deletion_withdraw);
API_HANDLER(api_hold_list);
API_HANDLER(api_hold_place);
API_HANDLER(api_hold_release);
API_HANDLER(api_config_put);
API_HANDLER(api_config_get);
API_HANDLER(api_events_export);
API_HANDLER(api_account_counts);
API_HANDLER(api_counts);
API_HANDLER(api_account_outcomes);
API_HANDLER(api_visitor_profile);
API_HANDLER(api_visitor_export);
API_HANDLER(api_visitor_erase);
API_HANDLER(api_visitor_optout);
API_HANDLER(api_visitor_optin);
API_HANDLER(api_erasure_list);
API_HANDLER(api_erasure_get);
API_HANDLER(api_edge_enroll);
API_HANDLER(api_edge_list);
API_HANDLER(api_edge_revoke);
API_HANDLER(api_token_create);
API_HANDLER(api_token_list);
API_HANDLER(api_token_revoke);
API_HANDLER(api_audit_read);
API_HANDLER(api_audit_head);
API_HANDLER(api_clock_confirm);
API_HANDLER(api_keyring_rewrap);
API_HANDLER(api_keyring_rotate);
API_HANDLER(api_orphan_key_list);
API_HANDLER(api_orphan_key_destroy);
API_HANDLER(api_lost_key_list);
API_HANDLER(api_lost_key_give_up);
API_HANDLER(api_account_record);
API_HANDLER(api_certificate_get);
API_HANDLER(api_certificate_list);
API_HANDLER(api_certificate_keys);
API_HANDLER(api_ready);
API_HANDLER(api_replication);
API_HANDLER(api_metrics);

#endif
