#include "edge/dialects/snowplow_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

/* Parameters of every event. What stands first fills a field. */
static const struct param_home homes[] = {
    {PL_SPAN_INIT("eid"), EVENT_MESSAGE_ID},
    {PL_SPAN_INIT("duid"), EVENT_VISITOR_ID},
    {PL_SPAN_INIT("uid"), EVENT_USER_ID},
    {PL_SPAN_INIT("tnuid"), EVENT_NETWORK_ID},
    {PL_SPAN_INIT("nuid"), EVENT_NETWORK_ID},
    {PL_SPAN_INIT("sid"), EVENT_SESSION_ID},
    {PL_SPAN_INIT("vid"), EVENT_SESSION_INDEX},
    {PL_SPAN_INIT("dtm"), EVENT_CLIENT_MS},
    {PL_SPAN_INIT("stm"), EVENT_SENT_MS},
    {PL_SPAN_INIT("url"), EVENT_PAGE_URL},
    {PL_SPAN_INIT("refr"), EVENT_PAGE_REFERRER},
    {PL_SPAN_INIT("page"), EVENT_PAGE_TITLE},
    {PL_SPAN_INIT("lang"), EVENT_LOCALE},
    {PL_SPAN_INIT("tz"), EVENT_TIMEZONE},
    {PL_SPAN_INIT("ua"), EVENT_USER_AGENT},
    {PL_SPAN_INIT("vp"), EVENT_VIEWPORT},
    {{0}, 0},
};
/* What is about the tracker and its device, not about what happened: whatever has found no field
 * of these goes to the context. */
static const struct pl_span envelope[] = {
    PL_SPAN_INIT("p"),       PL_SPAN_INIT("tv"),    PL_SPAN_INIT("tna"),    PL_SPAN_INIT("aid"),
    PL_SPAN_INIT("cv"),      PL_SPAN_INIT("tid"),   PL_SPAN_INIT("cd"),     PL_SPAN_INIT("cs"),
    PL_SPAN_INIT("ds"),      PL_SPAN_INIT("fp"),    PL_SPAN_INIT("cookie"), PL_SPAN_INIT("mac"),
    PL_SPAN_INIT("ctype"),   PL_SPAN_INIT("f_pdf"), PL_SPAN_INIT("f_qt"),   PL_SPAN_INIT("f_realp"),
    PL_SPAN_INIT("f_wma"),   PL_SPAN_INIT("f_dir"), PL_SPAN_INIT("f_fla"),  PL_SPAN_INIT("f_java"),
    PL_SPAN_INIT("f_gears"), PL_SPAN_INIT("f_ag"),  PL_SPAN_INIT("ttm"),    PL_SPAN_INIT("dtm"),
    PL_SPAN_INIT("stm"),     PL_SPAN_INIT("res"),   PL_SPAN_INIT("vp"),     PL_SPAN_INIT("vid"),
    PL_SPAN_INIT("nuid"),
};

/* ---- the parameters of an element */

/* The protocol has text only; a number is what its shortest text says. */
static enum pl_err number_text(struct json value, struct pl_buf *out, struct pl_span *text)
{
    const size_t from = out->len;
    char digits[32];
    int64_t whole;
    double number;
    bool truth;
    if (json_bool(value, &truth))
        snprintf(digits, sizeof(digits), "%s", truth ? "true" : "false");
    else if (json_i64(value, &whole))
        snprintf(digits, sizeof(digits), "%" PRId64, whole);
    else if (!json_f64(value, &number))
        return PL_EINVAL;
    else if (snprintf(digits, sizeof(digits), "%.15g", number), strtod(digits, NULL) != number)
        snprintf(digits, sizeof(digits), "%.17g", number);
    const enum pl_err err = pl_buf_append_str(out, digits);
    *text = pl_span(out->data + from, out->len - from);
    return err;
}

enum pl_err snowplow_collect(struct take *take, struct json element, struct params *params)
{
    struct pl_span name;
    struct json value;
    struct json_iter members = json_members(element);
    if (!json_is_object(element))
        return take_refuse(take, PL_EINVAL, PL_SPAN_LIT("e"), "is missing: an event is an object");
    while (json_next_member(&members, &name, &value)) {
        struct param *param = &params->list[params->count];
        if (params->count == PARAMS_MAX)
            return take_refuse(take, PL_ELIMIT, name, "is one parameter too many");
        param->name = name;
        param->taken = false;
        enum pl_err err = PL_OK;
        if (json_is_null(value))
            continue;
        if (!json_string(value, &param->value))
            err = number_text(value, take->scratch, &param->value);
        if (err != PL_OK)
            return take_refuse(take, err, name, err == PL_EINVAL ? "must be text" : "is too long");
        params->count++;
    }
    return PL_OK;
}

/* Who somebody is, which a tracker in anonymous mode wants nobody to know. */
static const char *const identities[] = {"duid", "uid", "tnuid", "nuid", "fp"};

static bool is_identity(struct pl_span name)
{
    for (size_t i = 0; i < COUNT(identities); i++)
        if (pl_span_eq_str(name, identities[i]))
            return true;
    return false;
}

/* Parameters of no content say nothing, and addresses are nobody's business. */
static void pass_over(struct snowplow_work *work)
{
    for (size_t i = 0; i < work->params.count; i++) {
        struct param *param = &work->params.list[i];
        param->taken = param->value.len == 0 || pl_span_eq_str(param->name, "ip") ||
                       (work->anonymous && is_identity(param->name));
    }
}

/* ---- fields */

/* The name of the parameter in its place in the request. */
enum pl_err snowplow_take_homes(struct snowplow_work *work, const struct param_home *table)
{
    const struct take *take = &work->take;
    struct pl_why why = {0};
    enum pl_err err = params_take_homes(&work->params, table, take->event, &why);
    if (err != PL_OK)
        err = take_refuse(take, err, pl_span_str(why.field), "is longer than 256 bytes");
    return err;
}

static void take_size(struct snowplow_work *work)
{
    struct pl_span text, width, height;
    uint64_t w, h;
    if (!params_peek(&work->params, "res", &text))
        return;
    const uint8_t *cross = memchr(text.data, 'x', text.len);
    if (cross == NULL)
        return;
    width = pl_span(text.data, (size_t)(cross - text.data));
    height = pl_span_from(text, width.len + 1);
    if (!pl_span_to_u64(width, &w) || !pl_span_to_u64(height, &h))
        return;
    event_set_u64(work->take.event, EVENT_SCREEN_WIDTH, w);
    event_set_u64(work->take.event, EVENT_SCREEN_HEIGHT, h);
    params_take(&work->params, "res", &text);
}

static void take_channel(struct snowplow_work *work)
{
    struct pl_span platform;
    if (!params_take(&work->params, "p", &platform))
        return;
    if (pl_span_eq_str(platform, "mob"))
        platform = PL_SPAN_LIT("mobile");
    else if (pl_span_eq_str(platform, "srv"))
        platform = PL_SPAN_LIT("server");
    event_set_str(work->take.event, EVENT_CHANNEL, platform);
}

/* The "true" time needs no correction: whoever sends it vouches for it. */
static void take_times(struct snowplow_work *work)
{
    struct event *event = work->take.event;
    struct pl_span text;
    int64_t true_ms;
    if (params_peek(&work->params, "ttm", &text) && pl_span_to_i64(text, &true_ms)) {
        event_set_i64(event, EVENT_CORRECTED_MS, true_ms);
        if (!event_has(event, EVENT_CLIENT_MS))
            event_set_i64(event, EVENT_CLIENT_MS, true_ms);
    } else if (event_has(event, EVENT_SENT_MS) && event_has(event, EVENT_CLIENT_MS)) {
        const uint64_t ago =
            (uint64_t)event_i64(event, EVENT_SENT_MS) - (uint64_t)event_i64(event, EVENT_CLIENT_MS);
        event_set_i64(event, EVENT_CORRECTED_MS, (int64_t)((uint64_t)work->input->now_ms - ago));
    }
}

/* Of a page's requests; a server's are not the visitor's. */
static void add_headers(const struct dialect_input *input, struct event *event)
{
    if (pl_span_eq_str(event_str(event, EVENT_CHANNEL), "server"))
        return;
    if (!event_has(event, EVENT_PAGE_URL) && input->referer.len > 0 &&
        input->referer.len <= LIMIT_URL_BYTES && pl_span_is_utf8(input->referer))
        event_set_str(event, EVENT_PAGE_URL, input->referer);
    if (!event_has(event, EVENT_USER_AGENT) && input->user_agent.len > 0 &&
        pl_span_is_utf8(input->user_agent))
        event_set_str(event, EVENT_USER_AGENT, input->user_agent);
}

/* ---- what happened */

static void set_custom(struct event *event, struct pl_span name)
{
    event_set_u64(event, EVENT_TYPE, EVENT_CUSTOM);
    event_set_str(event, EVENT_NAME, name);
}

static void take_structured(struct snowplow_work *work)
{
    struct pl_span action;
    set_custom(work->take.event, PL_SPAN_LIT("structured"));
    const char *name = params_peek(&work->params, "se_ac", &action) ? "se_ac" : "ev_ac";
    if (params_peek(&work->params, name, &action) && action.len <= LIMIT_NAME_BYTES) {
        params_take(&work->params, name, &action);
        event_set_str(work->take.event, EVENT_NAME, action);
    }
}

static enum pl_err take_kind(struct snowplow_work *work, struct pl_span kind)
{
    struct event *event = work->take.event;
    if (pl_span_eq_str(kind, "ue"))
        return snowplow_take_described(work);
    if (pl_span_eq_str(kind, "tr")) {
        event_set_u64(event, EVENT_TYPE, EVENT_ORDER);
        return snowplow_take_order(work);
    }
    if (pl_span_eq_str(kind, "ti")) {
        set_custom(event, PL_SPAN_LIT("transaction_item"));
        return snowplow_take_item(work);
    }
    if (pl_span_eq_str(kind, "pv"))
        event_set_u64(event, EVENT_TYPE, EVENT_PAGE_VIEW);
    else if (pl_span_eq_str(kind, "pp"))
        set_custom(event, PL_SPAN_LIT("page_ping"));
    else if (pl_span_eq_str(kind, "se"))
        take_structured(work);
    else if (kind.len <= LIMIT_NAME_BYTES)
        set_custom(event, kind);
    else
        return take_refuse(&work->take, PL_ELIMIT, PL_SPAN_LIT("e"), "is longer than 512 bytes");
    return PL_OK;
}

/* Moves what is about the tracker; of a self-describing event that is all that is left. */
static void move_tracker(struct snowplow_work *work, bool all, struct params *tracker)
{
    tracker->count = 0;
    for (size_t i = 0; i < work->params.count; i++) {
        struct param *param = &work->params.list[i];
        bool is = all && !pl_span_eq_str(param->name, "co") && !pl_span_eq_str(param->name, "cx");
        for (size_t k = 0; !param->taken && !is && k < COUNT(envelope); k++)
            is = pl_span_eq(param->name, envelope[k]);
        if (param->taken || !is)
            continue;
        tracker->list[tracker->count++] = *param;
        param->taken = true;
    }
}

enum pl_err snowplow_event(struct snowplow_work *work)
{
    struct params tracker;
    struct pl_span kind;
    event_clear(work->take.event);
    work->schema = pl_span(NULL, 0);
    pass_over(work);
    if (!params_take(&work->params, "e", &kind))
        return take_refuse(&work->take, PL_EINVAL, PL_SPAN_LIT("e"),
                           "is missing: it says what happened");
    enum pl_err err = snowplow_take_homes(work, homes);
    take_size(work);
    take_channel(work);
    take_times(work);
    add_headers(work->input, work->take.event);
    if (err == PL_OK)
        err = take_kind(work, kind);
    const bool described = work->schema.len > 0;
    if (err != PL_OK)
        return err;
    move_tracker(work, described, &tracker);
    err = snowplow_take_entities(work, &tracker);
    return err == PL_OK && !described ? snowplow_set_props(work) : err;
}
