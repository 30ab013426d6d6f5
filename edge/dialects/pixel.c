#include "edge/dialects/pixel.h"
#include "edge/dialects/params.h"

#include <stdio.h>

#define CURRENCY_BYTES 3 /* ISO 4217 */
/* "pixel:" goal ":" transaction, as the message id: what is told twice is one event. In the goal
 * ':' and '%' are escaped, so that no two pairs give the same. */
#define ID_PREFIX "pixel:"

static const struct param_home homes[] = {
    {PL_SPAN_INIT("goal"), EVENT_GOAL},
    {PL_SPAN_INIT("click_id"), EVENT_CLICK_ID},
    {PL_SPAN_INIT("txn_id"), EVENT_ORDER_ID},
    {PL_SPAN_INIT("currency"), EVENT_CURRENCY},
    {PL_SPAN_INIT("coupon"), EVENT_COUPON},
    {PL_SPAN_INIT("campaign_id"), EVENT_OFFER_CAMPAIGN},
    {PL_SPAN_INIT("visitor_id"), EVENT_VISITOR_ID},
    {PL_SPAN_INIT("user_id"), EVENT_USER_ID},
    {PL_SPAN_INIT("url"), EVENT_PAGE_URL},
    {PL_SPAN_INIT("referrer"), EVENT_PAGE_REFERRER},
    {{0}, 0},
};

/* A named refusal: the outcome is for the operator, the sentence for whoever builds the pixel. */
static enum pl_err refuse(struct dialect_outcome *outcome, const char *name, struct pl_why *why,
                          const char *field, const char *text)
{
    outcome->name = name;
    return pl_fail_field(why, PL_EINVAL, field, "%s %s", field, text);
}

static enum pl_err take_amount(struct params *params, struct event *event,
                               struct dialect_outcome *outcome, struct pl_why *why)
{
    struct pl_span text;
    double amount;
    if (!params_take(params, "sale_amount", &text))
        return PL_OK;
    if (!param_f64(text, &amount) || amount < 0)
        return refuse(outcome, "INVALID_AMOUNT", why, "sale_amount",
                      "must be a number of at least 0 with a decimal point, like 19.90");
    event_set_f64(event, EVENT_TOTAL, amount);
    return PL_OK;
}

static enum pl_err check_currency(const struct event *event, struct dialect_outcome *outcome,
                                  struct pl_why *why)
{
    const struct pl_span currency = event_str(event, EVENT_CURRENCY);
    bool good = !event_has(event, EVENT_CURRENCY) || currency.len == CURRENCY_BYTES;
    for (size_t i = 0; good && i < currency.len; i++)
        good = (currency.data[i] | 0x20) >= 'a' && (currency.data[i] | 0x20) <= 'z';
    return good ? PL_OK
                : refuse(outcome, "INVALID_CURRENCY", why, "currency",
                         "must be a code of three letters (ISO 4217), like EUR");
}

static enum pl_err append_goal(struct pl_span goal, struct pl_buf *out)
{
    enum pl_err err = PL_OK;
    for (size_t i = 0; i < goal.len && err == PL_OK; i++)
        if (goal.data[i] == ':' || goal.data[i] == '%')
            err = pl_buf_appendf(out, "%%%02X", (unsigned)goal.data[i]);
        else
            err = pl_buf_put_u8(out, goal.data[i]);
    return err;
}

static enum pl_err set_message_id(struct event *event, struct pl_buf *scratch,
                                  struct dialect_outcome *outcome, struct pl_why *why)
{
    const struct pl_span txn = event_str(event, EVENT_ORDER_ID);
    const struct pl_span goal = event_str(event, EVENT_GOAL);
    const size_t from = scratch->len;
    if (txn.len == 0)
        return PL_OK;
    enum pl_err err = pl_buf_append_str(scratch, ID_PREFIX);
    if (err == PL_OK)
        err = append_goal(goal, scratch);
    if (err == PL_OK)
        err = pl_buf_append_str(scratch, ":");
    if (err == PL_OK)
        err = pl_buf_append_span(scratch, txn);
    if (err != PL_OK || scratch->len - from > LIMIT_ID_BYTES)
        return refuse(outcome, "MALFORMED", why, "txn_id",
                      "and goal are longer than 240 bytes together");
    event_set_str(event, EVENT_MESSAGE_ID, pl_span(scratch->data + from, scratch->len - from));
    return PL_OK;
}

static void add_headers(const struct dialect_input *input, struct event *event)
{
    if (!event_has(event, EVENT_PAGE_URL) && input->referer.len > 0 &&
        input->referer.len <= LIMIT_URL_BYTES && pl_span_is_utf8(input->referer))
        event_set_str(event, EVENT_PAGE_URL, input->referer);
    if (input->user_agent.len > 0 && pl_span_is_utf8(input->user_agent))
        event_set_str(event, EVENT_USER_AGENT, input->user_agent);
}

/* An order where money or a transaction is named, else what the advertiser calls its goal. */
static void set_type(struct event *event)
{
    const bool order = event_has(event, EVENT_ORDER_ID) || event_has(event, EVENT_TOTAL);
    event_set_u64(event, EVENT_TYPE, order ? EVENT_ORDER : EVENT_CUSTOM);
    if (!order)
        event_set_str(event, EVENT_NAME,
                      event_has(event, EVENT_GOAL) ? event_str(event, EVENT_GOAL)
                                                   : PL_SPAN_LIT("conversion"));
}

static enum pl_err decode(const struct dialect_input *input, const struct dialect_sink *sink,
                          struct dialect_outcome *outcome, struct pl_why *why, bool from_server)
{
    struct params params = {.count = 0};
    struct dialect_claim claim = {.opted_out = false};
    struct event *event = input->event;
    enum pl_err err = params_parse(&params, input->query, input->scratch, why);
    if (err == PL_OK && input->body.len > 0)
        err = params_parse(&params, input->body, input->scratch, why);
    if (err != PL_OK)
        return err;
    if (!params_take(&params, "write_key", &claim.key))
        params_take(&params, "key", &claim.key);
    /* A server calls for somebody whose cookies it does not have. */
    claim.anonymous = from_server;
    if ((err = sink->claim(sink->ctx, &claim, why)) != PL_OK)
        return err;
    event_clear(event);
    err = params_take_homes(&params, homes, event, why);
    if (err == PL_OK && from_server && !event_has(event, EVENT_CLICK_ID))
        return refuse(outcome, "NO_CLICK_ID", why, "click_id",
                      "is missing: a postback names the click that it is about");
    if (err == PL_OK && event_has(event, EVENT_OFFER_CAMPAIGN) &&
        !sink->has_campaign(sink->ctx, event_str(event, EVENT_OFFER_CAMPAIGN)))
        return refuse(outcome, "UNKNOWN_CAMPAIGN", why, "campaign_id",
                      "is no campaign of the account's published config");
    if (err == PL_OK && event_str(event, EVENT_GOAL).len > LIMIT_NAME_BYTES)
        return refuse(outcome, "MALFORMED", why, "goal", "is longer than 512 bytes");
    if (err == PL_OK)
        err = take_amount(&params, event, outcome, why);
    if (err == PL_OK)
        err = check_currency(event, outcome, why);
    if (err == PL_OK)
        err = set_message_id(event, input->scratch, outcome, why);
    if (err == PL_OK && event_has(event, EVENT_MESSAGE_ID) &&
        sink->seen(sink->ctx, event_str(event, EVENT_MESSAGE_ID)))
        outcome->name = "DUPLICATE";
    if (err == PL_OK)
        err = params_leave(&params, input->scratch, event);
    if (err != PL_OK)
        return err;
    set_type(event);
    if (!from_server)
        add_headers(input, event);
    return sink->emit(sink->ctx, event, why);
}

static enum pl_err decode_visit(const struct dialect_input *input, const struct dialect_sink *sink,
                                struct dialect_outcome *outcome, struct pl_why *why)
{
    return decode(input, sink, outcome, why, false);
}

static enum pl_err decode_postback(const struct dialect_input *input,
                                   const struct dialect_sink *sink, struct dialect_outcome *outcome,
                                   struct pl_why *why)
{
    return decode(input, sink, outcome, why, true);
}

static const struct dialect_reply reply_frame = {
    .content_type = "text/html; charset=utf-8",
    .ok_body = PL_SPAN_INIT("<!doctype html><title>.</title>"),
    .ok_status = 200,
    .always_ok = true,
};

static const struct dialect_reply reply_postback = {
    .content_type = "application/json",
    .ok_body = PL_SPAN_INIT("{\"success\":true}"),
    .ok_status = 200,
    .names_outcome = true,
};

static const struct dialect_route routes[] = {
    {.methods = DIALECT_GET,
     .path = "/pixel.gif",
     .decode = decode_visit,
     .reply = &dialect_reply_gif},
    {.methods = DIALECT_GET, .path = "/pixel.html", .decode = decode_visit, .reply = &reply_frame},
    {.methods = DIALECT_GET | DIALECT_POST,
     .path = "/postback",
     .decode = decode_postback,
     .reply = &reply_postback,
     .max_body_bytes = LIMIT_EVENT_BYTES},
};

const struct dialect dialect_pixel = {
    .name = "pixel",
    .id = EVENT_DIALECT_PIXEL,
    .routes = routes,
    .route_count = sizeof(routes) / sizeof(routes[0]),
};
