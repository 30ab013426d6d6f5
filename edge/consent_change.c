/* Saying no, taking it back, and asking how things stand. */
#include "edge/consent.h"
#include "edge/cookie.h"
#include "edge/dialects/params.h"
#include "edge/reply.h"
#include "edge/suppressions.h"

#include "proto/base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define COOKIE_AGE_S "157680000" /* five years; browsers shorten it to what they allow */
#define RETRY_S      10
#define IDS_MAX      3  /* the client's for the visitor and the user, and the cookie's */
#define VARIANT_MASK 3u /* the low bits of a consent id: which of the ids */
#define REDIRECT_MAX 2048

/* What a request asks for. Views of the request and of the loop's scratch. */
struct wish {
    struct http_request *request;
    struct edge_loop *loop;
    const struct catalog_entry *entry; /* NULL: of no known account */
    struct pl_span key, redirect, consent;
    struct pl_span ids[IDS_MAX];
    unsigned id_count;
};

/* What is said when it is on disk; the ticket's. */
struct answer {
    bool out;
    struct pl_id128 consent_id;
    char cookies[2][COOKIE_LINE_BYTES];
    unsigned cookie_count;
    char redirect[REDIRECT_MAX + 1];
};

/* ---- reading */

static bool named(const struct params *params, struct json body, const char *param,
                  const char *member, struct pl_span *value)
{
    struct json found;
    return params_peek(params, param, value) ||
           (body.document != NULL && json_get(body, member, &found) && json_string(found, value) &&
            value->len > 0);
}

static void add_id(struct wish *wish, struct pl_span id)
{
    if (id.len > 0 && id.len <= LIMIT_ID_BYTES && wish->id_count < IDS_MAX)
        wish->ids[wish->id_count++] = id;
}

/* The query, or a JSON body whatever it is called, as a beacon sends it. */
static enum pl_err read_wish(struct http_request *request, struct wish *wish, struct pl_why *why)
{
    struct edge_loop *loop = edge_loop_of(request);
    const struct pl_span text = http_request_body(request);
    struct json body = {0};
    struct params params = {.count = 0};
    struct pl_span value;
    *wish = (struct wish){.request = request, .loop = loop};
    pl_buf_reset(&loop->scratch);
    enum pl_err err = params_parse(&params, http_request_query(request), &loop->scratch, why);
    if (err == PL_OK && text.len > 0)
        err = json_parse(loop->json, text, &body, why);
    if (err != PL_OK)
        return err;
    (void)named(&params, body, "write_key", "writeKey", &wish->key);
    (void)named(&params, body, "redirect", "redirect", &wish->redirect);
    (void)named(&params, body, "consent_id", "consentId", &wish->consent);
    if (named(&params, body, "visitor_id", "visitorId", &value) ||
        named(&params, body, "anonymous_id", "anonymousId", &value))
        add_id(wish, value);
    if (named(&params, body, "user_id", "userId", &value))
        add_id(wish, value);
    wish->entry = wish->key.len > 0
                      ? catalog_find_key(loop->snapshot, wish->key)
                      : catalog_find_host(loop->snapshot, http_request_authority(request));
    return PL_OK;
}

/* ---- who may ask */

static bool header_is(const struct http_request *request, const char *name, const char *text)
{
    struct pl_span value;
    return http_request_header(request, name, &value) && pl_span_eq_str(value, text);
}

/* Whose page may say yes in its visitor's name. An account without a list of origins accepts
 * events from everywhere, so a match there says nothing: the browser has to vouch that the page is
 * of the edge's own site (Fetch Metadata; pages cannot set that header). */
static bool is_own_page(const struct wish *wish)
{
    struct pl_span origin;
    if (http_request_header(wish->request, "origin", &origin) && wish->entry->origin_count > 0)
        return catalog_entry_allows_origin(wish->entry, origin);
    return header_is(wish->request, "sec-fetch-site", "same-origin") ||
           (wish->entry->origin_count == 0 &&
            header_is(wish->request, "sec-fetch-site", "same-site"));
}

/* "https://shop.example/page" -> "https://shop.example"; empty: no such URL. */
static struct pl_span origin_of(struct pl_span url)
{
    const size_t scheme = pl_span_starts(url, PL_SPAN_LIT("https://"))  ? 8
                          : pl_span_starts(url, PL_SPAN_LIT("http://")) ? 7
                                                                        : 0;
    size_t end = scheme;
    for (size_t i = 0; i < url.len; i++)
        if (url.data[i] <= ' ' || url.data[i] == 0x7f || url.data[i] == '\\')
            return pl_span(NULL, 0); /* browsers and we must not read two hosts out of one URL */
    while (end < url.len && strchr("/?#", url.data[end]) == NULL)
        end++;
    if (scheme == 0 || end == scheme || memchr(url.data + scheme, '@', end - scheme) != NULL)
        return pl_span(NULL, 0);
    return pl_span(url.data, end);
}

static bool is_own_url(const struct catalog_entry *entry, struct pl_span url)
{
    const struct pl_span origin = origin_of(url);
    if (origin.len == 0 || url.len > REDIRECT_MAX)
        return false;
    if (entry->origin_count > 0 && catalog_entry_allows_origin(entry, origin))
        return true;
    const uint8_t *host = memmem(origin.data, origin.len, "://", 3);
    const struct pl_span name = pl_span_from(origin, (size_t)(host - origin.data) + 3);
    for (unsigned i = 0; i < entry->host_count; i++)
        if (pl_span_eq_nocase(entry->hosts[i], name))
            return true;
    return false;
}

/* ---- answering */

/* Sites live on other hosts than their edge, so the cookie must travel with requests from there;
 * browsers allow that only over TLS. */
static void add_choice_cookie(struct answer *answer, const struct wish *wish, const char *value)
{
    char name[CONSENT_COOKIE_BYTES];
    consent_cookie_name(wish->entry == NULL ? NULL : &wish->entry->write_key, name);
    snprintf(answer->cookies[answer->cookie_count++], COOKIE_LINE_BYTES,
             "%s=%s; Path=/; Max-Age=%s; HttpOnly; %s", name, value,
             *value == '\0' ? "0" : COOKIE_AGE_S,
             http_request_is_tls(wish->request) ? "Secure; SameSite=None" : "SameSite=Lax");
}

static void add_visitor_deletion(struct answer *answer, const struct wish *wish)
{
    const struct cookie_site site = {http_request_authority(wish->request),
                                     http_request_is_tls(wish->request)};
    if (wish->entry != NULL && wish->entry->cookie.enabled)
        cookie_write_visitor(&wish->entry->cookie, &site, NULL,
                             answer->cookies[answer->cookie_count++]);
}

static size_t common_headers(const struct http_request *request, const struct answer *answer,
                             struct http_header *headers)
{
    size_t count = reply_cors(request, headers);
    headers[count++] = (struct http_header){PL_SPAN_LIT("cache-control"), PL_SPAN_LIT("no-store")};
    for (unsigned i = 0; i < answer->cookie_count; i++)
        headers[count++] =
            (struct http_header){PL_SPAN_LIT("set-cookie"), pl_span_str(answer->cookies[i])};
    return count;
}

static void send(struct http_request *request, const struct answer *answer)
{
    struct http_header headers[REPLY_CORS_HEADERS + 5];
    char body[320], consent[PL_ID128_TEXT];
    size_t count = common_headers(request, answer, headers);
    if (answer->redirect[0] != '\0') {
        headers[count++] =
            (struct http_header){PL_SPAN_LIT("location"), pl_span_str(answer->redirect)};
        http_reply(request, 303, headers, count, pl_span(NULL, 0));
        return;
    }
    pl_id128_format(&answer->consent_id, consent);
    headers[count++] =
        (struct http_header){PL_SPAN_LIT("content-type"), PL_SPAN_LIT("application/json")};
    if (!answer->out)
        snprintf(body, sizeof(body), "{\"success\":true,\"opted_out\":false}");
    else
        snprintf(body, sizeof(body),
                 "{\"success\":true,\"opted_out\":true,\"consent_id\":\"%s\"%s}", consent,
                 http_request_is_tls(request)
                     ? ""
                     : ",\"cross_site\":false,\"message\":\"without TLS browsers send the cookie "
                       "from pages of this edge's own site only\"");
    http_reply(request, 200, headers, count, pl_span_str(body));
}

/* The choice is the visitor's even where the edge cannot pass it on: the cookies are set. */
static void send_failure(struct http_request *request, const struct answer *answer, int status,
                         int64_t retry_after_s, const struct pl_why *why)
{
    struct edge_loop *loop = edge_loop_of(request);
    struct http_header headers[REPLY_CORS_HEADERS + 5];
    char seconds[24];
    size_t count = common_headers(request, answer, headers);
    snprintf(seconds, sizeof(seconds), "%" PRId64, retry_after_s);
    headers[count++] = (struct http_header){PL_SPAN_LIT("retry-after"), pl_span_str(seconds)};
    headers[count++] =
        (struct http_header){PL_SPAN_LIT("content-type"), PL_SPAN_LIT("application/json")};
    pl_buf_reset(&loop->reply);
    reply_error_body(loop, why, &loop->reply);
    http_reply(request, status, headers, count, pl_buf_span(&loop->reply));
}

static const struct pl_why not_passed_on = {
    .err = PL_EIO,
    .text = "the choice holds in this browser, but this edge could not record it; try again",
};

static void finish(struct edge_loop *loop, struct loop_ticket *ticket, struct http_request *request)
{
    const struct answer *answer = (const struct answer *)(const void *)ticket->body;
    (void)loop;
    if (request == NULL)
        return;
    if (ticket->base.err == PL_OK)
        send(request, answer);
    else
        send_failure(request, answer, 503, RETRY_S, &not_passed_on);
}

/* ---- recording */

/* Said of each id, as events and as rows. */
struct record {
    struct suppression said[VARIANT_MASK + 1];
    unsigned count;
};

static struct suppression variant_of(const struct wish *wish, const struct pl_id128 *consent_id,
                                     unsigned variant, bool active)
{
    struct suppression s = {
        .account = wish->entry->account, .consent_id = *consent_id, .active = active};
    s.consent_id.bytes[15] = (uint8_t)((s.consent_id.bytes[15] & ~VARIANT_MASK) | variant);
    return s;
}

static enum pl_err add_event(struct edge_loop *loop, const struct suppression *said, unsigned index)
{
    char consent[PL_ID128_TEXT], hash[2 * ID_HASH_BYTES + 1];
    struct event *event = &loop->event;
    pl_id128_format(&said->consent_id, consent);
    pl_hex_encode(pl_span(said->id_hash, ID_HASH_BYTES), hash);
    event_clear(event);
    event_set_u64(event, EVENT_TYPE, said->active ? EVENT_OPT_OUT : EVENT_OPT_IN);
    event_set_u64(event, EVENT_ACCOUNT, said->account);
    event_set_i64(event, EVENT_ACCEPTED_MS, http_loop_wall_ms(loop->http));
    event_set_str(event, EVENT_REGION, pl_span_str(loop->edge->options->region));
    event_set_str(event, EVENT_CONSENT_ID, pl_span_str(consent));
    if (said->active)
        event_set_str(event, EVENT_CONSENT_ID_HASH, pl_span_str(hash));
    enum pl_err err = event_encode(event, &loop->events);
    loop->ends[index] = (uint32_t)loop->events.len;
    return err;
}

/* Suspended until it is on disk. Known to this edge at once. */
static enum pl_err submit(const struct wish *wish, const struct record *record,
                          const struct answer *answer)
{
    struct edge_loop *loop = wish->loop;
    enum pl_err err = PL_OK;
    pl_buf_reset(&loop->events);
    for (unsigned i = 0; i < record->count && err == PL_OK; i++) {
        err = add_event(loop, &record->said[i], i);
        if (err == PL_OK)
            err = suppressions_learn(loop->edge->suppressions, record->said[i]);
    }
    struct loop_ticket *ticket = err == PL_OK ? edge_ticket_get(loop) : NULL;
    if (ticket == NULL)
        return PL_ENOMEM;
    ticket->finish = finish;
    ticket->body = malloc(sizeof(*answer));
    if (ticket->body == NULL || (ticket->suspended = http_suspend(wish->request)) == NULL) {
        edge_ticket_put(loop, ticket);
        return PL_ENOMEM;
    }
    memcpy(ticket->body, answer, sizeof(*answer));
    const struct collector_events events = {
        .bytes = pl_buf_span(&loop->events),
        .ends = loop->ends,
        .count = record->count,
        .said = record->said,
        .said_count = record->count,
    };
    err = collector_submit(loop->edge->collector, loop->index, &events, &ticket->base);
    if (err == PL_OK) {
        rate_charge(&loop->rates, wish->entry->account, record->count);
    } else {
        (void)http_resume(ticket->suspended);
        edge_ticket_put(loop, ticket);
    }
    return err;
}

static void record_and_send(const struct wish *wish, const struct record *record,
                            const struct answer *answer)
{
    struct edge_loop *loop = wish->loop;
    int64_t wait_s = RETRY_S;
    struct pl_why why = {0};
    if (record->count == 0 ||
        catalog_entry_state(wish->entry, http_loop_wall_ms(loop->http)) != ACCOUNT_ACTIVE) {
        send(wish->request, answer);
    } else if (!rate_admits(&loop->rates, wish->entry->account, http_loop_mono_ms(loop->http),
                            &wait_s)) {
        pl_fail(&why, PL_EAGAIN, "too many choices and events of this account; wait %" PRId64 " s",
                wait_s);
        send_failure(wish->request, answer, 429, wait_s, &why);
    } else if (submit(wish, record, answer) != PL_OK) {
        send_failure(wish->request, answer, 503, RETRY_S, &not_passed_on);
    }
}

/* ---- the handlers */

static enum pl_err hash_ids(struct wish *wish, const struct answer *answer, struct record *record)
{
    struct pl_span cookies, id;
    for (size_t at = 0; http_request_header_next(wish->request, "cookie", &at, &cookies);)
        if (cookie_find_visitor(cookies, &wish->entry->cookie, &id))
            add_id(wish, id);
    for (unsigned i = 0; i < wish->id_count; i++) {
        struct suppression *s = &record->said[record->count];
        *s = variant_of(wish, &answer->consent_id, record->count, true);
        enum pl_err err = id_hash(wish->entry->id_key, ID_HASH_ID, wish->ids[i], s->id_hash);
        if (err != PL_OK)
            return err;
        record->count++;
    }
    return PL_OK;
}

void consent_optout(struct http_request *request, void *arg)
{
    struct wish wish;
    struct answer answer = {.out = true};
    struct record record = {.count = 0};
    struct pl_why why = {0};
    char consent[PL_ID128_TEXT];
    (void)arg;
    enum pl_err err = read_wish(request, &wish, &why);
    if (err == PL_OK && wish.redirect.len > 0 &&
        (wish.entry == NULL || !is_own_url(wish.entry, wish.redirect)))
        err = pl_fail_field(&why, PL_EINVAL, "redirect",
                            "redirect must lead to one of the account's own web origins or hosts");
    if (err == PL_OK)
        err = pl_id128_random(pl_random_system(), &answer.consent_id);
    if (err != PL_OK) {
        reply_error(request, reply_status_of(err), &why, 0);
        return;
    }
    answer.consent_id.bytes[15] &= (uint8_t)~VARIANT_MASK;
    pl_id128_format(&answer.consent_id, consent);
    if (wish.redirect.len > 0)
        memcpy(answer.redirect, wish.redirect.data, wish.redirect.len);
    /* Without a key, or with a wrong one, no means no to everybody. */
    add_choice_cookie(&answer, &wish, consent);
    add_visitor_deletion(&answer, &wish);
    metrics_add(&wish.loop->metrics, METRIC_OPTED_OUT, 1);
    if (wish.entry != NULL && hash_ids(&wish, &answer, &record) != PL_OK)
        send_failure(request, &answer, 503, RETRY_S, &not_passed_on);
    else
        record_and_send(&wish, &record, &answer);
}

/* Which opt-out is undone. The cookie, which pages cannot read, has to agree where there is one. */
static enum pl_err check_consent_id(const struct wish *wish, const struct consent_choice *choice,
                                    struct pl_id128 *id, bool *has_id, struct pl_why *why)
{
    struct pl_id128 own;
    const bool from_cookie = pl_id128_parse(choice->own, &own);
    *has_id = wish->consent.len > 0;
    if (*has_id && !pl_id128_parse(wish->consent, id))
        return pl_fail_field(why, PL_EINVAL, "consentId",
                             "consentId is the 32 hex digits that the opt-out was answered with");
    if (from_cookie && !*has_id)
        return pl_fail_field(why, PL_EINVAL, "consentId",
                             "consentId is missing: opting in names the opt-out that it undoes, as "
                             "POST /v1/optout and GET /v1/consent give it");
    if (from_cookie && !pl_id128_eq(id, &own))
        return pl_fail_field(why, PL_EDENIED, "consentId",
                             "consentId is not that of this browser's opt-out");
    return PL_OK;
}

static enum pl_err check_optin(const struct wish *wish, struct pl_why *why)
{
    if (wish->entry == NULL)
        return pl_fail_field(why, PL_ENOTFOUND, "write_key",
                             "opting in needs the write key of a known account, as ?write_key=");
    if (!is_own_page(wish))
        return pl_fail(why, PL_EDENIED,
                       "this is for pages of the account's own web origins, or of this edge's site "
                       "when the account lists none; add the page's origin to the account's");
    return PL_OK;
}

void consent_optin(struct http_request *request, void *arg)
{
    struct wish wish;
    struct answer answer = {.out = false};
    struct record record = {.count = 0};
    struct consent_choice choice = {0};
    struct pl_why why = {0};
    bool has_id = false;
    (void)arg;
    enum pl_err err = read_wish(request, &wish, &why);
    if (err == PL_OK)
        err = check_optin(&wish, &why);
    if (err == PL_OK) {
        choice = consent_choice(request, &wish.entry->write_key);
        err = check_consent_id(&wish, &choice, &answer.consent_id, &has_id, &why);
    }
    if (err != PL_OK) {
        reply_error(request, reply_status_of(err), &why, 0);
        return;
    }
    /* A no to all stands for the others. */
    add_choice_cookie(&answer, &wish, choice.all ? "0" : "");
    metrics_add(&wish.loop->metrics, METRIC_OPTED_IN, 1);
    for (; has_id && record.count < IDS_MAX; record.count++)
        record.said[record.count] = variant_of(&wish, &answer.consent_id, record.count, false);
    record_and_send(&wish, &record, &answer);
}

void consent_show(struct http_request *request, void *arg)
{
    struct wish wish;
    struct pl_why why = {0};
    struct pl_id128 id;
    struct http_header headers[REPLY_CORS_HEADERS + 3];
    char body[160];
    (void)arg;
    enum pl_err err = read_wish(request, &wish, &why);
    if (err == PL_OK)
        err = check_optin(&wish, &why);
    if (err != PL_OK) {
        reply_error(request, reply_status_of(err), &why, 0);
        return;
    }
    const struct consent_choice choice = consent_choice(request, &wish.entry->write_key);
    const char *refusal = consent_refusal(request, wish.entry);
    const bool has_id = choice.out && pl_id128_parse(choice.own, &id);
    snprintf(body, sizeof(body), "{\"opted_out\":%s,\"collecting\":%s,\"consent_id\":%s%.*s%s}",
             choice.out ? "true" : "false", refusal == NULL ? "true" : "false",
             has_id ? "\"" : "null", has_id ? (int)choice.own.len : 0,
             has_id ? (const char *)choice.own.data : "", has_id ? "\"" : "");
    size_t count = common_headers(request, &(struct answer){.out = false}, headers);
    headers[count++] =
        (struct http_header){PL_SPAN_LIT("content-type"), PL_SPAN_LIT("application/json")};
    http_reply(request, 200, headers, count, pl_span_str(body));
}
