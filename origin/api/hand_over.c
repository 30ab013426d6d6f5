/* From a loop to the workers, as far as there is room for whoever asks. */
#include "origin/api/call.h"

#include <stdlib.h>

static void reply_plain(struct api_call *call)
{
    struct http_request *request = http_resume(call->suspended);
    if (request != NULL) {
        api_reply(call, request);
    }
    api_call_free(call);
}

struct api_call *api_call_new(struct api *api, struct http_request *request,
                              const struct api_route *route)
{
    struct pl_span body = http_request_body(request), query = http_request_query(request);
    struct api_call *call = calloc(1, sizeof(*call));
    if (call == NULL) {
        return NULL;
    }
    call->api = api;
    call->loop = http_request_loop(request);
    call->route = route;
    pl_buf_init(&call->query, query.len + 1);
    pl_buf_init(&call->body, body.len + 1);
    pl_buf_init(&call->reply, API_REPLY_BYTES_MAX);
    call->work = api_streams(route) ? api_export_work : api_work;
    call->done = api_streams(route) ? api_export_done : reply_plain;
    if (pl_buf_append_span(&call->query, query) != PL_OK ||
        pl_buf_append_span(&call->body, body) != PL_OK) {
        pl_buf_release(&call->query);
        pl_buf_release(&call->body);
        free(call);
        return NULL;
    }
    return call;
}

static void refuse_busy(struct api *api, struct http_request *request, int status,
                        const char *message)
{
    static const struct http_header retry = {PL_SPAN_INIT("retry-after"), PL_SPAN_INIT("2")};
    api->refused_busy++;
    api_refuse(request, status, status == 429 ? "over-limit" : "again", message, &retry, 1);
}

/* Operators' calls take no place: what others leave of the whole is theirs. */
static struct api_room room_of(struct api *api, const struct http_request *request,
                               const struct api_route *route, const struct token_record *who)
{
    struct pl_span peer;
    uint8_t address[8] = {0};
    if (route->roles != API_ANYONE) {
        return who->role == ROLE_OPERATOR ? (struct api_room){.places = NULL}
               : who->role == ROLE_OWNER
                   ? (struct api_room){api->guests, who->account}
                   : (struct api_room){api->guests, pl_load_u64(who->id.bytes)};
    }
    if (http_request_peer(request, &peer)) { /* of IPv6 its network, which one host can fill */
        memcpy(address, peer.data, peer.len < sizeof(address) ? peer.len : sizeof(address));
    }
    return (struct api_room){api->anyones, pl_load_u64(address) ^ (uint64_t)(route - api_probes)};
}

/* Answers when there is none. */
static bool find_room(struct api *api, struct http_request *request, struct api_room *room)
{
    const enum places_answer answer =
        room->places == NULL ? PLACES_TAKEN : places_take(room->places, room->key);
    if (answer == PLACES_OWN_FULL) {
        refuse_busy(api, request, 429,
                    "as many of your calls are waiting as may at once; come again in a moment");
        return false;
    }
    if (answer == PLACES_FULL || api->waiting >= API_WAITING_MAX) {
        if (answer == PLACES_TAKEN) {
            api_leave(room);
        }
        refuse_busy(api, request, 503, "the origin is busy; come again in a moment");
        return false;
    }
    return true;
}

/* The same of an export, which keeps its place to its end: slow readers of one account would keep
 * out all others. */
static bool find_export_place(struct api *api, struct http_request *request, uint64_t account)
{
    const enum places_answer answer = places_take(api->exports, account);
    if (answer != PLACES_TAKEN) {
        refuse_busy(api, request, 429,
                    answer == PLACES_OWN_FULL
                        ? "as many exports of this account are running as may at once"
                        : "as many exports are running as are allowed at once");
    }
    return answer == PLACES_TAKEN;
}

void api_hand_over(struct api *api, struct http_request *request, const struct api_route *route,
                   const struct api_target *target, const struct token_record *who)
{
    struct api_room room = room_of(api, request, route, who);
    if (!find_room(api, request, &room)) {
        return;
    }
    if (api_streams(route) && !find_export_place(api, request, target->account)) {
        api_leave(&room);
        return;
    }
    struct api_call *call = api_call_new(api, request, route);
    if (call != NULL) {
        call->target = *target;
        call->token = *who;
        call->suspended = http_suspend(request);
    }
    if (call == NULL || call->suspended == NULL) {
        api_leave(&room);
        if (call != NULL) {
            api_call_free(call);
        } else if (api_streams(route)) {
            places_leave(api->exports, target->account);
        }
        refuse_busy(api, request, 503, "the origin is out of memory");
        return;
    }
    call->room = room;
    api->calls++;
    api_send(call);
}
