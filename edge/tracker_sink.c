#include "edge/cookie.h"
#include "edge/recent.h"
#include "edge/reply.h"
#include "edge/suppressions.h"
#include "edge/tracker_parts.h"
#include "proto/wire/event_mask.h"
#include "proto/wire/event_scan.h"

/* What the largest event takes while it is encoded and looked at. */
#define EVENT_ROOM (LIMIT_EVENT_WIRE_BYTES + EVENT_SCAN_SLACK + 1024)

static enum pl_err sink_claim(void *ctx, const struct dialect_claim *claim, struct pl_why *why)
{
    struct passage *p = ctx;
    enum pl_err err = admit(p->loop, p->request, claim, &p->admission, why);
    p->claimed = err == PL_OK;
    p->anonymous = claim->anonymous;
    return err;
}

/* Who is known by an id of the client's own gets none of ours. */
static void add_visitor(struct passage *p, struct event *event)
{
    const struct cookie_policy *policy = &p->admission.entry->cookie;
    if (!policy->enabled || p->anonymous || event_has(event, EVENT_VISITOR_ID) ||
        event_has(event, EVENT_USER_ID))
        return;
    if (p->visitor.len == 0 && !cookie_find_visitor(p->cookies, policy, &p->visitor) &&
        pl_uuid4(pl_random_system(), p->new_visitor) == PL_OK)
        p->visitor = pl_span_str(p->new_visitor);
    if (p->visitor.len > 0)
        event_set_str(event, EVENT_VISITOR_ID, p->visitor);
}

/* Before anything of it reaches a disk. The event behind `start` is encoded again if it must be. */
static enum pl_err mask(struct passage *p, struct event *event, size_t start)
{
    struct edge_loop *loop = p->loop;
    const struct catalog_entry *entry = p->admission.entry;
    const struct event_mask_policy policy = {.kinds = entry->pii, .id_key = entry->id_key};
    unsigned masked;
    enum pl_err err = pl_buf_reserve(&loop->events, EVENT_SCAN_SLACK);
    if (err != PL_OK || !event_scan(pl_span_from(pl_buf_span(&loop->events), start), entry->pii))
        return err;
    err = event_mask(event, &policy, &loop->masked, &masked);
    if (err == PL_OK) {
        metrics_add(&loop->metrics, METRIC_PII_MASKED, masked);
        p->masked += masked;
        loop->events.len = start;
        err = event_encode(event, &loop->events);
    }
    return err;
}

static enum pl_err sink_emit(void *ctx, struct event *event, struct pl_why *why)
{
    struct passage *p = ctx;
    struct edge_loop *loop = p->loop;
    if (!p->claimed)
        return pl_fail_field(why, PL_ENOTFOUND, "writeKey", "the request names no write key");
    if (p->events == LIMIT_BATCH_EVENTS)
        return pl_fail(why, PL_ELIMIT, "more than %d events in one request", LIMIT_BATCH_EVENTS);
    add_visitor(p, event);
    if (suppressions_concern(loop->edge->suppressions, p->admission.entry, event)) {
        p->suppressed++;
        return PL_OK;
    }
    event_set_u64(event, EVENT_ACCOUNT, p->admission.entry->account);
    event_set_u64(event, EVENT_DIALECT, p->tracker->dialect->id);
    event_set_i64(event, EVENT_ACCEPTED_MS, http_loop_wall_ms(loop->http));
    event_set_str(event, EVENT_REGION, pl_span_str(loop->edge->options->region));
    const size_t start = loop->events.len;
    enum pl_err err = event_encode(event, &loop->events);
    if (err == PL_OK)
        err = mask(p, event, start);
    /* What is kept of it counts, so that it is the same whatever else its request carries. */
    if (err == PL_OK && loop->events.len - start > LIMIT_EVENT_BYTES)
        err = PL_ELIMIT;
    loop->events.len = err == PL_OK ? loop->events.len : start;
    p->full = err == PL_ELIMIT && loop->events.max_bytes - start < EVENT_ROOM;
    if (p->full)
        return pl_fail(why, err, "the request's events take more than %zu bytes together",
                       loop->events.max_bytes);
    if (err != PL_OK)
        return pl_fail(why, err,
                       err == PL_ELIMIT ? "event %u is larger than %d bytes"
                                        : "event %u of at most %d bytes cannot be taken",
                       p->events, LIMIT_EVENT_BYTES);
    loop->ends[p->events++] = (uint32_t)loop->events.len;
    return PL_OK;
}

static enum pl_err sink_pass_over(void *ctx, enum pl_err err, struct pl_why *why)
{
    struct passage *p = ctx;
    const int status = reply_status_of(err);
    if (p->full || (status != 400 && status != 413))
        return err;
    if (why->err != err)
        pl_fail(why, err, "an event cannot be taken: %s", pl_err_word(err));
    /* As many as would fill all the room there is. Who sends more does not do so by mistake: they
     * are large by what they share, and cost us more than him. */
    if (status == 413 && p->too_large >= p->loop->events.max_bytes / LIMIT_EVENT_BYTES)
        return pl_fail(why, err, "more than %u of the request's events are too large",
                       p->too_large);
    if (p->malformed + p->too_large == 0)
        p->refusal = *why;
    if (status == 400)
        p->malformed++;
    else
        p->too_large++;
    *why = (struct pl_why){0};
    return PL_OK;
}

static bool sink_is_claimed(void *ctx, const struct dialect_claim *claim)
{
    const struct passage *p = ctx;
    return p->claimed && admit_account(p->loop, p->request, claim) == p->admission.entry;
}

static bool sink_seen(void *ctx, struct pl_span message_id)
{
    struct passage *p = ctx;
    uint64_t mark;
    const bool known =
        recent_note(p->loop->edge->recent, p->admission.entry->account, message_id, &mark);
    if (!known)
        p->noted = mark;
    return known;
}

static struct pl_span sink_config(void *ctx)
{
    const struct passage *p = ctx;
    return http_body_span(p->admission.entry->config.body[CATALOG_IDENTITY]);
}

static bool sink_has_campaign(void *ctx, struct pl_span id)
{
    const struct passage *p = ctx;
    return catalog_entry_has_campaign(p->admission.entry, id);
}

struct dialect_sink tracker_sink(struct passage *p)
{
    return (struct dialect_sink){
        .ctx = p,
        .claim = sink_claim,
        .emit = sink_emit,
        .pass_over = sink_pass_over,
        .is_claimed = sink_is_claimed,
        .seen = sink_seen,
        .has_campaign = sink_has_campaign,
        .config = sink_config,
    };
}
