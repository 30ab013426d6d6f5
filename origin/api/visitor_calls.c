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

struct person {
    struct identities ids;
    bool alone; /* without the ids that the asked one is linked to */
    struct pl_span cursor;
};
typedef enum pl_err (*person_fn)(struct api_worker *worker, struct api_call *call,
                                 const struct person *person, struct pl_why *why);

/* The members that a request may have. */
static const char *const by_id[] = {"id", "alone", NULL};
static const char *const by_id_and_cursor[] = {"id", "alone", "cursor", NULL};

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

/* Whom the request asks for. */
static enum pl_err find(struct api_worker *worker, struct api_call *call,
                        const char *const *members, struct person *out, struct pl_why *why)
{
    struct json request;
    struct pl_span id = {0};
    enum pl_err err = api_check_account(worker, call->target.account, why);
    if (err != PL_OK || (err = api_body(worker, call, &request, why)) != PL_OK ||
        (err = request_only(request, members, why)) != PL_OK ||
        (err = read_text(request, "id", &id, why)) != PL_OK ||
        (err = read_text(request, "cursor", &out->cursor, why)) != PL_OK ||
        (err = request_bool(request, "alone", &out->alone, why)) != PL_OK) {
        return err;
    }
    return visitors_find(worker->visitors, call->target.account, id, !out->alone, &out->ids, why);
}

static enum pl_err with_person(struct api_worker *worker, struct api_call *call,
                               const char *const *members, person_fn act, struct pl_why *why)
{
    struct person person = {.alone = false};
    enum pl_err err = find(worker, call, members, &person, why);
    if (err == PL_OK) {
        err = act(worker, call, &person, why);
        identities_release(&person.ids);
    }
    return err;
}

static enum pl_err give_profile(struct api_worker *worker, struct api_call *call,
                                const struct person *person, struct pl_why *why)
{
    return profile_write(worker->visitors, call->target.account, &person->ids, worker->writer, why);
}

API_HANDLER(api_visitor_profile)
{
    return with_person(worker, call, by_id, give_profile, why);
}

static enum pl_err give_page(struct api_worker *worker, struct api_call *call,
                             const struct person *person, struct pl_why *why)
{
    call->content_type = "application/x-ndjson";
    return visitor_export_page(worker->visitors, worker->api->parts->store, call->target.account,
                               &person->ids, person->cursor, worker->writer, &call->reply, why);
}

API_HANDLER(api_visitor_export)
{
    return with_person(worker, call, by_id_and_cursor, give_page, why);
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
static enum pl_err erase(struct api_worker *worker, struct api_call *call,
                         const struct person *person, struct pl_why *why)
{
    const struct erasures_request what = {
        .account = call->target.account, .identities = &person->ids, .alone = person->alone};
    struct pl_id128 id;
    enum pl_err err = begin(worker, &what, &id, why);
    if (err != PL_OK) {
        return err;
    }
    pl_id128_format(&id, call->noted.object);
    call->status = 201;
    return erasures_write(worker->api->parts->erasures, what.account, &id, worker->writer, why);
}

API_HANDLER(api_visitor_erase)
{
    return with_person(worker, call, by_id, erase, why);
}

static void write_count(struct json_writer *w, const char *name, size_t count)
{
    json_write_object(w);
    json_write_pair_u64(w, name, count);
    json_write_object_end(w);
}

/* An id without events may opt out, too: they may be on their way. */
static enum pl_err opt_out(struct api_worker *worker, struct api_call *call,
                           const struct person *person, struct pl_why *why)
{
    const struct origin_parts *parts = worker->api->parts;
    int64_t now_ms, latest_ms;
    size_t said;
    accounts_now_ms(parts->accounts, &now_ms, &latest_ms);
    enum pl_err err = visitor_optouts_say(parts->suppressions, pl_random_system(),
                                          call->target.account, &person->ids, now_ms, &said, why);
    if (err == PL_OK) {
        write_count(worker->writer, "opted_out", said);
    }
    return err;
}

API_HANDLER(api_visitor_optout)
{
    return with_person(worker, call, by_id, opt_out, why);
}

static enum pl_err opt_in(struct api_worker *worker, struct api_call *call,
                          const struct person *person, struct pl_why *why)
{
    const struct origin_parts *parts = worker->api->parts;
    size_t ended;
    enum pl_err err = visitor_optouts_take_back(parts->suppressions, call->target.account,
                                                &person->ids, &ended, why);
    if (err == PL_OK) {
        write_count(worker->writer, "taken_back", ended);
    }
    return err;
}

API_HANDLER(api_visitor_optin)
{
    return with_person(worker, call, by_id, opt_in, why);
}

API_HANDLER(api_erasure_list)
{
    struct account account;
    if (accounts_get(worker->api->parts->accounts, call->target.account, &account) != PL_OK) {
        return pl_fail_field(why, PL_ENOTFOUND, "account", "there is no account %016llx",
                             (unsigned long long)call->target.account);
    }
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
