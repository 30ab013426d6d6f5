/* Subject rights: what is held of a visitor, and its erasure. The id comes in the body: addresses
 * are written into logs, and would outlive what was erased. */
#include "origin/api/call.h"
#include "origin/request.h"
#include "origin/subjects/profiles.h"
#include "origin/subjects/visitor_export.h"
#include "origin/subjects/visitor_optouts.h"

#define RECEIPTS_MAX 10000
#define WALK_KEYS    100000
#define TRIES        3

struct visitor_request {
    struct pl_span id;
    bool alone; /* without the ids that it is linked to */
    struct pl_span cursor;
};

static enum pl_err read_text(struct json request, const char *name, struct pl_span *out,
                             struct pl_why *why)
{
    struct json value;
    if (!json_get(request, name, &value) || json_is_null(value)) {
        return PL_OK;
    }
    return json_string(value, out) ? PL_OK
                                   : pl_fail_field(why, PL_EINVAL, name, "%s must be text", name);
}

static enum pl_err read_request(struct api_worker *worker, struct api_call *call,
                                const char *const *members, struct visitor_request *out,
                                struct pl_why *why)
{
    struct json request;
    *out = (struct visitor_request){.alone = false};
    enum pl_err err = api_check_account(worker, call->target.account, why);
    if (err != PL_OK || (err = api_body(worker, call, &request, why)) != PL_OK ||
        (err = request_only(request, members, why)) != PL_OK ||
        (err = read_text(request, "id", &out->id, why)) != PL_OK ||
        (err = read_text(request, "cursor", &out->cursor, why)) != PL_OK) {
        return err;
    }
    return request_bool(request, "alone", &out->alone, why);
}

static enum pl_err find(struct api_worker *worker, struct api_call *call,
                        const struct visitor_request *request, struct identities *out,
                        struct pl_why *why)
{
    return visitors_find(worker->visitors, call->target.account, request->id, !request->alone, out,
                         why);
}

API_HANDLER(api_visitor_profile)
{
    static const char *const members[] = {"id", "alone", NULL};
    struct visitor_request request;
    struct identities ids;
    enum pl_err err = read_request(worker, call, members, &request, why);
    if (err != PL_OK || (err = find(worker, call, &request, &ids, why)) != PL_OK) {
        return err;
    }
    err = profile_write(worker->visitors, call->target.account, &ids, worker->writer, why);
    identities_release(&ids);
    return err;
}

API_HANDLER(api_visitor_export)
{
    static const char *const members[] = {"id", "alone", "cursor", NULL};
    struct visitor_request request;
    struct identities ids;
    enum pl_err err = read_request(worker, call, members, &request, why);
    if (err != PL_OK || (err = find(worker, call, &request, &ids, why)) != PL_OK) {
        return err;
    }
    err = visitor_export_page(worker->visitors, worker->api->parts->store, call->target.account,
                              &ids, request.cursor, worker->writer, &call->reply, why);
    identities_release(&ids);
    call->content_type = "application/x-ndjson";
    return err;
}

struct held {
    struct holds *holds;
    int64_t now_ms, day; /* the first day that must stay; -1: none */
};

static enum pl_err note_held(void *ctx, const struct visitor_event *found)
{
    struct held *held = ctx;
    const int64_t day = vault_key_day(found->key);
    if (held->day < 0 &&
        holds_keep_day(held->holds, vault_key_account(found->key), day, held->now_ms)) {
        held->day = day;
    }
    return PL_OK;
}

/* What the law wants kept cannot be asked away (GDPR article 17, paragraph 3). */
static enum pl_err check_holds(struct api_worker *worker, uint64_t account,
                               const struct identities *ids, struct pl_why *why)
{
    const struct origin_parts *parts = worker->api->parts;
    struct held held = {.holds = parts->holds, .day = -1};
    struct visitor_cursor cursor = {.day = 0};
    struct hold hold;
    char day[PL_TIME_TEXT];
    enum pl_err err = PL_EAGAIN;
    int64_t latest_ms;
    accounts_now_ms(parts->accounts, &held.now_ms, &latest_ms);
    if (!holds_stand(parts->holds, account, false, held.now_ms, &hold)) {
        return PL_OK;
    }
    while (err == PL_EAGAIN) {
        err = visitors_walk(worker->visitors, account, ids, &cursor, WALK_KEYS, note_held, &held);
    }
    if (err != PL_OK) {
        return pl_fail(why, err, "the visitor's events cannot be read: %s", pl_err_word(err));
    }
    if (held.day < 0) {
        return PL_OK;
    }
    pl_time_format(held.day * PL_DAY_MS, day);
    return pl_fail_field(why, PL_EDENIED, "id",
                         "a hold on the account (%s) covers events of this visitor, of %.10s among "
                         "others: they must be kept until it is released",
                         hold.reason, day);
}

/* A walk takes too long for one step with the beginning: what holds cover is looked at before, and
 * once more if one was placed meanwhile. What they turn out to cover later is left alone. */
static enum pl_err begin(struct api_worker *worker, const struct erasures_request *what,
                         struct pl_id128 *id, struct pl_why *why)
{
    const struct origin_parts *parts = worker->api->parts;
    struct erasures_request request = *what;
    enum pl_err err = PL_EAGAIN;
    for (int i = 0; i < TRIES && err == PL_EAGAIN; i++) {
        request.holds = holds_of(parts->holds, what->account, NULL);
        err = check_holds(worker, what->account, what->identities, why);
        if (err == PL_OK) {
            err = erasures_erase(parts->erasures, &request, id, why);
        }
    }
    return err;
}

/* The receipt as it stands: what is stored takes the eraser its time, and no worker waits for it.
 */
API_HANDLER(api_visitor_erase)
{
    static const char *const members[] = {"id", "alone", NULL};
    struct erasures *erasures = worker->api->parts->erasures;
    const uint64_t account = call->target.account;
    struct visitor_request request;
    struct identities ids;
    struct pl_id128 id;
    enum pl_err err = read_request(worker, call, members, &request, why);
    if (err != PL_OK || (err = find(worker, call, &request, &ids, why)) != PL_OK) {
        return err;
    }
    const struct erasures_request what = {
        .account = account, .identities = &ids, .alone = request.alone};
    err = begin(worker, &what, &id, why);
    identities_release(&ids);
    if (err != PL_OK) {
        return err;
    }
    pl_id128_format(&id, call->noted.object);
    call->status = 201;
    return erasures_write(erasures, account, &id, worker->writer, why);
}

/* An id without events may opt out, too: they may be on their way. */
API_HANDLER(api_visitor_optout)
{
    static const char *const members[] = {"id", "alone", NULL};
    const struct origin_parts *parts = worker->api->parts;
    const uint64_t account = call->target.account;
    struct visitor_request request;
    struct identities ids;
    int64_t now_ms, latest_ms;
    size_t said;
    enum pl_err err = read_request(worker, call, members, &request, why);
    if (err != PL_OK || (err = find(worker, call, &request, &ids, why)) != PL_OK) {
        return err;
    }
    accounts_now_ms(parts->accounts, &now_ms, &latest_ms);
    err = visitor_optouts_say(parts->suppressions, pl_random_system(), account, &ids, now_ms, &said,
                              why);
    identities_release(&ids);
    if (err == PL_OK) {
        json_write_object(worker->writer);
        json_write_pair_u64(worker->writer, "opted_out", said);
        json_write_object_end(worker->writer);
    }
    return err;
}

API_HANDLER(api_visitor_optin)
{
    static const char *const members[] = {"id", "alone", NULL};
    const struct origin_parts *parts = worker->api->parts;
    const uint64_t account = call->target.account;
    struct visitor_request request;
    struct identities ids;
    size_t ended;
    enum pl_err err = read_request(worker, call, members, &request, why);
    if (err != PL_OK || (err = find(worker, call, &request, &ids, why)) != PL_OK) {
        return err;
    }
    err = visitor_optouts_take_back(parts->suppressions, parts->store, account, &ids, &ended, why);
    identities_release(&ids);
    if (err == PL_OK) {
        json_write_object(worker->writer);
        json_write_pair_u64(worker->writer, "taken_back", ended);
        json_write_object_end(worker->writer);
    }
    return err;
}

API_HANDLER(api_erasure_list)
{
    json_write_object(worker->writer);
    json_write_key(worker->writer, "erasures");
    enum pl_err err = erasures_write_all(worker->api->parts->erasures, call->target.account,
                                         RECEIPTS_MAX, worker->writer, why);
    json_write_object_end(worker->writer);
    return err;
}

API_HANDLER(api_erasure_get)
{
    return erasures_write(worker->api->parts->erasures, call->target.account, &call->target.id,
                          worker->writer, why);
}
