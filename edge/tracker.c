#include "edge/cookie.h"
#include "edge/recent.h"
#include "edge/reply.h"
#include "edge/tracker_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define BUSY_RETRY_S 1  /* the lane is full: the next commit is milliseconds away */
#define FAIL_RETRY_S 10 /* the disk is: somebody has to look */

static struct tally_who who_of(const struct passage *p)
{
    const struct catalog_entry *entry = p->admission.entry;
    struct tally_who who = {.dialect = p->tracker->dialect->id};
    if (entry != NULL) {
        who.account = entry->account;
        who.write_key = entry->write_key;
    }
    return who;
}

/* For the account's own books, where it is known. */
static void note_for(struct edge_loop *loop, const struct tally_who *who, const char *outcome,
                     unsigned n)
{
    if (n > 0 && outcome != NULL && who->account != 0 && !tally_note(&loop->tally, who, outcome, n))
        metrics_add(&loop->metrics, METRIC_TALLY_OVERFLOW, n);
}

static void note(struct passage *p, const char *outcome, unsigned n)
{
    const struct tally_who who = who_of(p);
    note_for(p->loop, &who, outcome, n);
}

/* Nothing of it is kept: who sends it again does not repeat himself. */
static void note_refusal(struct passage *p, const char *outcome)
{
    note(p, outcome, 1);
    if (p->noted != 0)
        recent_forget(p->loop->edge->recent, p->noted);
}

/* ---- the dialect's input */

static bool any_header(const void *ctx, const char *name, struct pl_span *value)
{
    return http_request_header(ctx, name, value);
}

static struct pl_span header_or_empty(const struct http_request *request, const char *name)
{
    struct pl_span value = {0};
    (void)http_request_header(request, name, &value);
    return value;
}

/* All Cookie headers as one (RFC 9113 section 8.2.3). */
static struct pl_span whole_cookie(struct edge_loop *loop, const struct http_request *request)
{
    struct pl_span first, more;
    size_t at = 0;
    if (!http_request_header_next(request, "cookie", &at, &first))
        return pl_span(NULL, 0);
    if (!http_request_header_next(request, "cookie", &at, &more))
        return first;
    pl_buf_reset(&loop->cookie);
    enum pl_err err = pl_buf_append_span(&loop->cookie, first);
    do {
        if (err == PL_OK)
            err = pl_buf_append_str(&loop->cookie, "; ");
        if (err == PL_OK)
            err = pl_buf_append_span(&loop->cookie, more);
    } while (err == PL_OK && http_request_header_next(request, "cookie", &at, &more));
    return err == PL_OK ? pl_buf_span(&loop->cookie) : first;
}

static struct dialect_input input_of(struct edge_loop *loop, const struct http_request *request)
{
    return (struct dialect_input){
        .method = http_request_method(request) == HTTP_POST ? DIALECT_POST : DIALECT_GET,
        .path = http_request_path(request),
        .tail = http_request_tail(request),
        .query = http_request_query(request),
        .body = http_request_body(request),
        .authorization = header_or_empty(request, "authorization"),
        .content_type = header_or_empty(request, "content-type"),
        .user_agent = header_or_empty(request, "user-agent"),
        .referer = header_or_empty(request, "referer"),
        .cookie = whole_cookie(loop, request),
        .header = any_header,
        .header_ctx = request,
        .now_ms = http_loop_wall_ms(loop->http),
        .json = loop->json,
        .json_nested = loop->json_nested,
        .writer = loop->writer,
        .scratch = &loop->scratch,
        .event = &loop->event,
    };
}

/* ---- replies */

struct answer {
    int status;
    const char *outcome;
    const char *content_type;
    struct pl_span body;
    int64_t retry_after_s;
    const char *set_cookie; /* NULL: none */
    const char *refused;    /* of a batch; NULL: nothing */
};

static void send_answer(struct http_request *request, const struct dialect_reply *reply,
                        const struct answer *answer)
{
    struct http_header headers[REPLY_CORS_HEADERS + 6];
    char seconds[24];
    size_t count = reply_cors(request, headers);
    headers[count++] =
        (struct http_header){PL_SPAN_LIT("content-type"), pl_span_str(answer->content_type)};
    headers[count++] = (struct http_header){PL_SPAN_LIT("cache-control"), PL_SPAN_LIT("no-store")};
    if (reply->always_ok || reply->names_outcome || answer->refused != NULL)
        headers[count++] =
            (struct http_header){PL_SPAN_LIT("x-polder-outcome"), pl_span_str(answer->outcome)};
    if (answer->refused != NULL)
        headers[count++] =
            (struct http_header){PL_SPAN_LIT("x-polder-refused"), pl_span_str(answer->refused)};
    if (answer->retry_after_s > 0) {
        snprintf(seconds, sizeof(seconds), "%" PRId64, answer->retry_after_s);
        headers[count++] = (struct http_header){PL_SPAN_LIT("retry-after"), pl_span_str(seconds)};
    }
    if (answer->set_cookie != NULL)
        headers[count++] =
            (struct http_header){PL_SPAN_LIT("set-cookie"), pl_span_str(answer->set_cookie)};
    http_reply(request, answer->status, headers, count, answer->body);
}

static void reply_good(struct http_request *request, const struct dialect_reply *reply,
                       const char *outcome, struct pl_span body, const struct loop_ticket *ticket)
{
    const struct answer answer = {
        .set_cookie = ticket == NULL ? NULL : ticket->set_cookie,
        .refused = ticket == NULL ? NULL : ticket->refused,
        .status = reply->ok_status,
        .outcome = outcome == NULL ? "OK" : outcome,
        .content_type = reply->content_type,
        .body = body.len > 0 ? body : reply->ok_body,
    };
    send_answer(request, reply, &answer);
}

static void reply_bad(struct http_request *request, const struct dialect_reply *reply, int status,
                      const char *outcome, int64_t retry_after_s, const struct pl_why *why)
{
    struct edge_loop *loop = edge_loop_of(request);
    struct answer answer = {
        .status = status,
        .outcome = outcome,
        .content_type = reply->error_content_type,
        .retry_after_s = retry_after_s,
    };
    if (reply->always_ok) {
        if (status != 429 && status != 503)
            answer.status = reply->ok_status;
        answer.content_type = reply->content_type;
        answer.body = reply->ok_body;
        send_answer(request, reply, &answer);
        return;
    }
    pl_buf_reset(&loop->reply);
    if (reply->error_body != NULL) {
        reply->error_body(why, outcome, loop->writer, &loop->reply);
    } else {
        reply_error_body(loop, why, &loop->reply);
        answer.content_type = "application/json";
    }
    answer.body = pl_buf_span(&loop->reply);
    send_answer(request, reply, &answer);
}

/* ---- refusals */

/* What admission has not named is named after its error. */
static void name_refusal(enum pl_err err, struct admission *a)
{
    if (a->outcome != NULL)
        return;
    switch (reply_status_of(err)) {
    case 400:
        a->outcome = "MALFORMED";
        a->metric = METRIC_REFUSED_MALFORMED;
        break;
    case 401:
        a->outcome = "UNKNOWN_KEY";
        a->metric = METRIC_REFUSED_UNKNOWN_KEY;
        break;
    case 403:
        a->outcome = "REFUSED";
        a->metric = METRIC_REFUSED_ORIGIN;
        break;
    case 413:
        a->outcome = "TOO_LARGE";
        a->metric = METRIC_REFUSED_TOO_LARGE;
        break;
    default:
        a->outcome = "UNAVAILABLE";
        a->metric = METRIC_REFUSED_UNAVAILABLE;
        break;
    }
}

static void refuse(struct passage *p, struct http_request *request, enum pl_err err,
                   const struct dialect_outcome *outcome, struct pl_why *why)
{
    struct admission *a = &p->admission;
    if (why->err != err)
        pl_fail(why, err, "the request cannot be taken: %s", pl_err_word(err));
    name_refusal(err, a);
    const char *name = outcome->name != NULL ? outcome->name : a->outcome;
    metrics_add(&p->loop->metrics, a->metric, 1);
    note_refusal(p, name);
    reply_bad(request, p->tracker->route->reply, reply_status_of(err), name, a->retry_after_s, why);
}

/* Once it is settled that they will not come again, with what they came with. */
static void count_suppressed(struct edge_loop *loop, const struct tally_who *who, unsigned events)
{
    metrics_add(&loop->metrics, METRIC_EVENTS_SUPPRESSED, events);
    note_for(loop, who, "SUPPRESSED", events);
}

/* Nothing is left of the request: all of it was of people who said no. */
static void refuse_suppressed(struct passage *p, struct http_request *request)
{
    struct pl_why why = {0};
    const struct dialect_outcome outcome = {.name = NULL};
    const struct tally_who who = who_of(p);
    count_suppressed(p->loop, &who, p->suppressed);
    p->admission.outcome = "OPTED_OUT";
    p->admission.metric = METRIC_REFUSED_CONSENT;
    pl_fail(&why, PL_EDENIED, "nothing is collected: the visitor has opted out");
    refuse(p, request, PL_EDENIED, &outcome, &why);
}

/* A request that was understood and brought no event. */
static void reply_nothing(struct passage *p, struct http_request *request,
                          const struct dialect_outcome *outcome)
{
    note(p, outcome->name, 1);
    reply_good(request, p->tracker->route->reply, outcome->name, pl_buf_span(outcome->body), NULL);
}

static void refuse_unavailable(struct http_request *request, const struct dialect_reply *reply,
                               int64_t retry_after_s, const struct pl_why *why)
{
    metrics_add(&edge_loop_of(request)->metrics, METRIC_REFUSED_UNAVAILABLE, 1);
    reply_bad(request, reply, 503, "UNAVAILABLE", retry_after_s, why);
}

/* ---- submitting */

/* Paths and limits are for the operator's log and /ready, not for the public. */
static const struct pl_why not_stored = {
    .err = PL_EIO,
    .text = "the events could not be stored safely; try again",
};

static bool keep_body(struct loop_ticket *ticket, const struct pl_buf *body)
{
    if (body->len == 0)
        return true;
    ticket->body = malloc(body->len);
    if (ticket->body == NULL)
        return false;
    memcpy(ticket->body, body->data, body->len);
    ticket->body_len = body->len;
    return true;
}

/* A visitor has an id from now on: the browser is told with the reply that says that an event with
 * it is stored. */
static bool keep_visitor(struct loop_ticket *ticket, const struct passage *p)
{
    char line[COOKIE_LINE_BYTES];
    if (p->new_visitor[0] == '\0')
        return true;
    const struct cookie_site site = cookie_site_of(p->request);
    cookie_write_visitor(&p->admission.entry->cookie, &site, p->new_visitor, line);
    ticket->set_cookie = strdup(line);
    return ticket->set_cookie != NULL;
}

/* "2; data[1].e is missing: …", in what a header may hold. */
static bool keep_refused(struct loop_ticket *ticket, const struct passage *p)
{
    const unsigned refused = p->malformed + p->too_large;
    if (refused == 0)
        return true;
    if (asprintf(&ticket->refused, "%u; %s", refused, p->refusal.text) < 0) {
        ticket->refused = NULL;
        return false;
    }
    for (char *c = ticket->refused; *c != '\0'; c++)
        if (*c < ' ' || *c > '~')
            *c = '?';
    return true;
}

/* Not before: of what could not be stored nothing is true but that, and it will be sent again. */
static void count_collected(struct edge_loop *loop, const struct loop_ticket *ticket)
{
    const struct tally_who *who = &ticket->who;
    metrics_add(&loop->metrics, METRIC_REQUESTS_COLLECTED, 1);
    metrics_add(&loop->metrics, METRIC_EVENTS_COLLECTED, ticket->events);
    metrics_add(&loop->metrics, METRIC_EVENTS_REFUSED, ticket->malformed + ticket->too_large);
    if (ticket->refused == NULL)
        note_for(loop, who, ticket->outcome, 1);
    count_suppressed(loop, who, ticket->suppressed);
    note_for(loop, who, "MASKED", ticket->masked);
    note_for(loop, who, "MALFORMED", ticket->malformed);
    note_for(loop, who, "TOO_LARGE", ticket->too_large);
}

static void answer_collected(struct edge_loop *loop, struct loop_ticket *ticket,
                             struct http_request *request)
{
    if (ticket->base.err == PL_OK)
        count_collected(loop, ticket);
    else
        note_for(loop, &ticket->who, "UNAVAILABLE", 1);
    if (ticket->base.err != PL_OK && ticket->noted != 0)
        recent_forget(loop->edge->recent, ticket->noted);
    if (request == NULL)
        return;
    if (ticket->base.err == PL_OK)
        reply_good(request, ticket->reply, ticket->outcome, pl_span(ticket->body, ticket->body_len),
                   ticket);
    else
        refuse_unavailable(request, ticket->reply, FAIL_RETRY_S, &not_stored);
}

/* Submitting gives the request away, and taking a suspension back is what resuming does: so the
 * request is suspended first, and resumed at once where the collector declines. */
static void submit(struct passage *p, struct http_request *request,
                   const struct dialect_outcome *outcome)
{
    struct edge_loop *loop = p->loop;
    const struct dialect_reply *reply = p->tracker->route->reply;
    struct pl_why why = {0};
    struct loop_ticket *ticket = edge_ticket_get(loop);
    if (ticket == NULL || !keep_body(ticket, outcome->body) || !keep_visitor(ticket, p) ||
        !keep_refused(ticket, p) || (ticket->suspended = http_suspend(request)) == NULL) {
        if (ticket != NULL)
            edge_ticket_put(loop, ticket);
        note_refusal(p, "UNAVAILABLE");
        pl_fail(&why, PL_ENOMEM, "this edge is out of memory; try again");
        refuse_unavailable(request, reply, BUSY_RETRY_S, &why);
        return;
    }
    ticket->finish = answer_collected;
    ticket->reply = reply;
    ticket->outcome = ticket->refused != NULL ? "PARTIAL" : outcome->name;
    ticket->who = who_of(p);
    ticket->began_us = p->began_us;
    ticket->events = p->events;
    ticket->suppressed = p->suppressed;
    ticket->masked = p->masked;
    ticket->malformed = p->malformed;
    ticket->too_large = p->too_large;
    ticket->noted = p->noted;
    const struct collector_events events = {
        .bytes = pl_buf_span(&loop->events), .ends = loop->ends, .count = p->events};
    enum pl_err err = collector_submit(loop->edge->collector, loop->index, &events, &ticket->base);
    if (err == PL_OK) {
        rate_charge(&loop->rates, p->admission.entry->account, p->events);
        return;
    }
    request = http_resume(ticket->suspended);
    edge_ticket_put(loop, ticket);
    note_refusal(p, "UNAVAILABLE");
    if (err == PL_EAGAIN) {
        pl_fail(&why, err, "this edge has more events in hand than it may; try again");
        refuse_unavailable(request, reply, BUSY_RETRY_S, &why);
    } else {
        refuse_unavailable(request, reply, FAIL_RETRY_S, &not_stored);
    }
}

static void finish(struct edge_loop *loop, struct loop_ticket *ticket, int64_t now_us)
{
    if (ticket->base.err == PL_OK && ticket->began_us != 0)
        pl_histogram_note(&loop->durable_us, &pl_histogram_times, now_us - ticket->began_us);
    ticket->finish(loop, ticket, ticket->suspended == NULL ? NULL : http_resume(ticket->suspended));
    edge_ticket_put(loop, ticket);
}

void tracker_done(struct http_loop *http, struct collector_ticket *tickets)
{
    struct edge_loop *loop = http_loop_user(http);
    const int64_t now_us = pl_elapsed_us();
    while (tickets != NULL) {
        struct collector_ticket *next = tickets->next;
        finish(loop, (struct loop_ticket *)((char *)tickets - offsetof(struct loop_ticket, base)),
               now_us);
        tickets = next;
    }
}

void tracker_handle(struct http_request *request, void *arg)
{
    struct edge_loop *loop = edge_loop_of(request);
    const struct tracker_route *tracker = arg;
    struct passage p = {
        .loop = loop, .request = request, .tracker = tracker, .began_us = pl_elapsed_us()};
    struct pl_why why = {0};
    struct dialect_outcome outcome = {.body = &loop->reply};
    const struct dialect_sink sink = tracker_sink(&p);
    const size_t limit =
        tracker->route->max_body_bytes != 0 ? tracker->route->max_body_bytes : LIMIT_BATCH_BYTES;
    pl_buf_reset(&loop->scratch);
    pl_buf_reset(&loop->events);
    pl_buf_reset(&loop->reply);
    const struct dialect_input input = input_of(loop, request);
    enum pl_err err = PL_OK;
    /* HEAD is safe (RFC 9110, 9.2.1): link checkers and previews are nobody's visit. */
    if (http_request_method(request) == HTTP_HEAD) {
        reply_good(request, tracker->route->reply, "HEAD", pl_span(NULL, 0), NULL);
        return;
    }
    if (input.body.len > 0 && reply_coded_body(request))
        return;
    p.cookies = input.cookie;
    if (input.body.len > limit)
        err = pl_fail(&why, PL_ELIMIT, "the body is larger than %zu bytes", limit);
    if (err == PL_OK)
        err = tracker->route->decode(&input, &sink, &outcome, &why);
    if (p.claimed) /* looking at those costs as much */
        rate_charge(&loop->rates, p.admission.entry->account, p.malformed + p.too_large);
    if (err == PL_OK && p.events + p.suppressed == 0 && p.refusal.err != PL_OK) {
        why = p.refusal; /* nothing of the batch could be taken */
        err = why.err;
    }
    if (err != PL_OK)
        refuse(&p, request, err, &outcome, &why);
    else if (p.events == 0 && p.suppressed > 0)
        refuse_suppressed(&p, request);
    else if (p.events == 0)
        reply_nothing(&p, request, &outcome);
    else
        submit(&p, request, &outcome);
}
