#include "proto/http/internal.h"

/* ---- what a drain must finish ---------------------------------------------------------- */

void http_pending_add(struct http_loop *loop, struct http_pending *pending,
                      void (*abandon)(struct http_pending *))
{
    pending->link = (h2o_linklist_t){NULL, NULL};
    pending->abandon = abandon;
    h2o_linklist_insert(&loop->leftover, &pending->link);
}

void http_pending_remove(struct http_pending *pending)
{
    if (h2o_linklist_is_linked(&pending->link))
        h2o_linklist_unlink(&pending->link);
}

void http_pending_abandon_all(struct http_loop *loop)
{
    while (!h2o_linklist_is_empty(&loop->leftover)) {
        struct http_pending *pending =
            H2O_STRUCT_FROM_MEMBER(struct http_pending, link, loop->leftover.next);
        http_pending_remove(pending);
        pending->abandon(pending);
    }
}

/* ---- suspended requests ---------------------------------------------------------------- */

/* Lives outside the request's pool, because it outlives the request when the client goes. Until
 * the reply starts it sits where libh2o keeps the generator of the response: the one thing
 * libh2o calls when it drops a request. */
struct http_suspended {
    h2o_generator_t generator;
    struct http_pending pending;
    struct http_suspended *next_free;
    struct http_request request; /* req is NULL once the client has gone */
};

/* As many as were ever suspended at once on the loop are kept for those to come. */
static struct http_suspended *take_suspended(struct http_loop *loop)
{
    struct http_suspended *suspended = loop->free_suspended;
    if (suspended == NULL)
        return malloc(sizeof(*suspended));
    loop->free_suspended = suspended->next_free;
    return suspended;
}

static void give_suspended(struct http_suspended *suspended)
{
    struct http_loop *loop = suspended->request.loop;
    suspended->next_free = loop->free_suspended;
    loop->free_suspended = suspended;
}

void http_suspended_free_spares(struct http_loop *loop)
{
    while (loop->free_suspended != NULL) {
        struct http_suspended *next = loop->free_suspended->next_free;
        free(loop->free_suspended);
        loop->free_suspended = next;
    }
}

/* libh2o has stopped reading, and starts again once the reply is sent: where turns of the loop lie
 * between, that costs two epoll_ctl. So the socket stays polled, without being read: the request's
 * spans point into the buffer that would be read into. What a client sends early, or its end, is
 * where polling does stop, for it would be reported at every turn. */
static void on_early_input(h2o_socket_t *sock, const char *err)
{
    (void)err;
    h2o_socket_read_stop(sock);
}

static void park(struct http_request *request)
{
    if (request->req->version >= 0x200)
        return;
    h2o_socket_t *sock = http_request_socket(request->req);
    http_conn_of(sock)->h1_parked = true;
    h2o_socket_dont_read(sock, 1);
    h2o_socket_read_start(sock, on_early_input);
}

static void unpark(struct http_request *request)
{
    if (request->req->version >= 0x200)
        return;
    h2o_socket_t *sock = http_request_socket(request->req);
    http_conn_of(sock)->h1_parked = false;
    h2o_socket_dont_read(sock, 0);
    h2o_socket_read_stop(sock);
}

static void on_client_gone(h2o_generator_t *generator, h2o_req_t *req)
{
    struct http_suspended *suspended =
        H2O_STRUCT_FROM_MEMBER(struct http_suspended, generator, generator);
    (void)req;
    suspended->request.req = NULL;
    http_pending_remove(&suspended->pending);
}

/* The drain's time is over: the client hears of it, the owner will find its client gone. */
static void abandon(struct http_pending *pending)
{
    struct http_suspended *suspended =
        H2O_STRUCT_FROM_MEMBER(struct http_suspended, pending, pending);
    struct http_request request = suspended->request;

    suspended->request.req = NULL;
    request.req->_generator = NULL;
    unpark(&request);
    http_reply_refusal(&request, 503, "The server is shutting down.\n");
}

struct http_suspended *http_suspend(struct http_request *request)
{
    struct http_suspended *suspended = take_suspended(request->loop);
    if (suspended == NULL)
        return NULL;
    request->settled = true;
    suspended->request = *request;
    suspended->generator = (h2o_generator_t){.proceed = NULL, .stop = on_client_gone};
    request->req->_generator = &suspended->generator;
    http_pending_add(request->loop, &suspended->pending, abandon);
    park(request);
    return suspended;
}

struct http_request *http_resume(struct http_suspended *suspended)
{
    struct http_request *request = NULL;
    h2o_req_t *req = suspended->request.req;

    if (req != NULL) {
        http_pending_remove(&suspended->pending);
        req->_generator = NULL;
        unpark(&suspended->request);
        request = h2o_mem_alloc_pool(&req->pool, sizeof(*request));
        *request = suspended->request;
    }
    give_suspended(suspended);
    return request;
}
