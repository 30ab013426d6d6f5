#include "edge/dialects/segment_parts.h"

/* What is no field of its own. */
enum {
    CONTEXT_IP = EVENT_FIELD_LIMIT,
    CONTEXT_POLDER,
    CONTEXT_VIEWPORT,
    CONTEXT_GROUP, /* and the next ones, in the order of `groups` */
    SCREEN_INNER_WIDTH = EVENT_FIELD_LIMIT,
    SCREEN_INNER_HEIGHT,
};

static const struct name context_names[NAME_SLOTS] = {
    NAME('o', 'e', "locale", EVENT_LOCALE),
    NAME('i', 'e', "timezone", EVENT_TIMEZONE),
    NAME('s', 't', "userAgent", EVENT_USER_AGENT),
    NAME('e', 'd', "sessionId", EVENT_SESSION_ID),
    NAME('e', 'x', "sessionIndex", EVENT_SESSION_INDEX),
    NAME('p', 'p', "ip", CONTEXT_IP),
    NAME('o', 'r', "polder", CONTEXT_POLDER),
    NAME('i', 't', "viewport", CONTEXT_VIEWPORT),
    NAME('a', 'e', "page", CONTEXT_GROUP),
    NAME('a', 'n', "campaign", CONTEXT_GROUP + 1),
    NAME('c', 'n', "screen", CONTEXT_GROUP + 2),
};
static const struct name page_names[NAME_SLOTS] = {
    NAME('r', 'l', "url", EVENT_PAGE_URL),
    NAME('a', 'h', "path", EVENT_PAGE_PATH),
    NAME('e', 'r', "referrer", EVENT_PAGE_REFERRER),
    NAME('i', 'e', "title", EVENT_PAGE_TITLE),
    NAME('e', 'h', "search", EVENT_PAGE_SEARCH),
    NAME('r', 'b', "breadcrumb", EVENT_PAGE_BREADCRUMB),
};
static const struct name campaign_names[NAME_SLOTS] = {
    NAME('a', 'e', "name", EVENT_UTM_NAME),       NAME('o', 'e', "source", EVENT_UTM_SOURCE),
    NAME('e', 'm', "medium", EVENT_UTM_MEDIUM),   NAME('e', 'm', "term", EVENT_UTM_TERM),
    NAME('o', 't', "content", EVENT_UTM_CONTENT),
};
static const struct name screen_names[NAME_SLOTS] = {
    NAME('i', 'h', "width", EVENT_SCREEN_WIDTH),
    NAME('e', 't', "height", EVENT_SCREEN_HEIGHT),
    NAME('n', 'h', "innerWidth", SCREEN_INNER_WIDTH),
    NAME('n', 't', "innerHeight", SCREEN_INNER_HEIGHT),
};
static const struct {
    struct pl_span name;
    const struct name *names;
} groups[] = {
    {PL_SPAN_INIT("page"), page_names},
    {PL_SPAN_INIT("campaign"), campaign_names},
    {PL_SPAN_INIT("screen"), screen_names},
};
#define GROUPS (sizeof(groups) / sizeof(groups[0]))

struct context {
    struct take_left left; /* members of context itself */
    struct take_left group[GROUPS];
    uint32_t inner[2]; /* the window's width and height; 0: not there */
};

/* Every page view of a browser comes through here: no printf. */
static enum pl_err append_decimal(struct pl_buf *out, uint64_t v)
{
    char digits[20];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    return pl_buf_append(out, digits + at, sizeof(digits) - at);
}

static bool set_viewport(struct segment_work *work, struct json width, struct json height)
{
    uint64_t w, h;
    const size_t from = work->take.scratch->len;
    if (event_has(work->take.event, EVENT_VIEWPORT) || !json_u64(width, &w) ||
        !json_u64(height, &h) || append_decimal(work->take.scratch, w) != PL_OK ||
        pl_buf_put_u8(work->take.scratch, 'x') != PL_OK ||
        append_decimal(work->take.scratch, h) != PL_OK)
        return false;
    event_set_str(work->take.event, EVENT_VIEWPORT,
                  pl_span(work->take.scratch->data + from, work->take.scratch->len - from));
    return true;
}

/* "1280x720", or {width, height} and nothing else. */
static bool take_viewport(struct segment_work *work, struct json value)
{
    struct json width, height;
    if (json_is_string(value))
        return event_set_json(work->take.event, EVENT_VIEWPORT, value);
    return json_count(value) == 2 && json_get(value, "width", &width) &&
           json_get(value, "height", &height) && set_viewport(work, width, height);
}

/* What our own snippet says beside Segment's words; false: there is more to it than what was
 * understood. */
static bool take_polder(struct segment_work *work, struct json value)
{
    struct json update;
    bool updates = false;
    if (work->type != SEGMENT_IDENTIFY || !json_get(value, "update", &update) ||
        !json_bool(update, &updates) || !updates)
        return false;
    work->updates = true;
    return json_count(value) == 1;
}

/* More than this cannot have names of their own, and a batch's are looked at for every message. */
#define MEMBERS_MAX (TAKE_LEFT_MAX + NAME_SLOTS)

static enum pl_err check_members(const struct segment_work *work, struct pl_span name,
                                 struct json object)
{
    return json_count(object) <= MEMBERS_MAX
               ? PL_OK
               : take_refuse(&work->take, PL_ELIMIT, name, "has too many members");
}

static enum pl_err take_group(struct segment_work *work, struct context *context, size_t group,
                              struct json object)
{
    struct take_left *left = &context->group[group];
    struct pl_span name;
    struct json value;
    enum pl_err err = check_members(work, groups[group].name, object);
    struct json_iter members = json_members(object);
    while (err == PL_OK && json_next_member(&members, &name, &value)) {
        const unsigned what = name_find(groups[group].names, name);
        if (what >= EVENT_FIELD_LIMIT)
            context->inner[what - SCREEN_INNER_WIDTH] = (uint32_t)value.index;
        else if (what == 0 || !take_value(&work->take, what, value))
            err = take_leave(&work->take, left, name, value);
    }
    return err;
}

static enum pl_err take_member(struct segment_work *work, struct context *context,
                               struct pl_span name, struct json value)
{
    const unsigned what = name_find(context_names, name);
    bool taken = false;
    if (what >= CONTEXT_GROUP && json_is_object(value))
        return take_group(work, context, what - CONTEXT_GROUP, value);
    if (what == CONTEXT_IP)
        return PL_OK; /* addresses are never kept */
    if (what == CONTEXT_POLDER)
        taken = take_polder(work, value);
    else if (what == CONTEXT_VIEWPORT)
        taken = take_viewport(work, value);
    else if (what > 0 && what < EVENT_FIELD_LIMIT)
        taken = take_value(&work->take, what, value);
    return taken ? PL_OK : take_leave(&work->take, &context->left, name, value);
}

static enum pl_err take_inner(struct segment_work *work, struct context *context)
{
    const uint32_t *inner = context->inner;
    enum pl_err err = PL_OK;
    if (inner[0] != 0 && inner[1] != 0 &&
        set_viewport(work, take_at(&work->take, inner[0]), take_at(&work->take, inner[1])))
        return PL_OK;
    for (size_t i = 0; err == PL_OK && i < 2; i++)
        if (inner[i] != 0)
            err = take_leave(&work->take, &context->group[GROUPS - 1],
                             PL_SPAN_LIT("context.screen"), take_at(&work->take, inner[i]));
    return err;
}

static enum pl_err set_left(struct segment_work *work, const struct context *context)
{
    struct event_packer packer = {.out = work->take.scratch};
    const size_t from = work->take.scratch->len;
    const struct take_left *rest = work->as->rest;
    size_t members = context->left.count + (work->left.count > 0) + (rest != NULL);
    for (size_t g = 0; g < GROUPS; g++)
        members += context->group[g].count > 0;
    if (members == 0)
        return PL_OK;
    event_pack_map(&packer, members);
    if (work->left.count > 0) {
        event_pack_str(&packer, PL_SPAN_LIT("message"));
        event_pack_map(&packer, work->left.count);
        take_pack_left(&work->take, &work->left, &packer);
    }
    if (rest != NULL) {
        event_pack_str(&packer, PL_SPAN_LIT("request"));
        event_pack_map(&packer, rest->count);
        take_pack_left(&work->take, rest, &packer);
    }
    for (size_t g = 0; g < GROUPS; g++) {
        if (context->group[g].count == 0)
            continue;
        event_pack_str(&packer, groups[g].name);
        event_pack_map(&packer, context->group[g].count);
        take_pack_left(&work->take, &context->group[g], &packer);
    }
    take_pack_left(&work->take, &context->left, &packer);
    event_set_pack(work->take.event, EVENT_CONTEXT,
                   pl_span(work->take.scratch->data + from, work->take.scratch->len - from));
    return packer.err;
}

static bool says(struct json object, struct pl_span member)
{
    struct json_iter members = json_members(object);
    struct pl_span name;
    struct json value;
    while (json_next_member(&members, &name, &value))
        if (pl_span_eq(name, member))
            return true;
    return false;
}

/* Of the batch's context what the message's own does not say. */
static enum pl_err take_shared(struct segment_work *work, struct context *context,
                               const struct json *own)
{
    struct json_iter members = json_members(*work->as->context);
    struct pl_span name;
    struct json value;
    enum pl_err err = PL_OK;
    while (err == PL_OK && json_next_member(&members, &name, &value))
        if (own == NULL || !says(*own, name))
            err = take_member(work, context, name, value);
    return err;
}

enum pl_err segment_take_context(struct segment_work *work, const struct json *object)
{
    struct context context;
    struct pl_span name;
    struct json value;
    enum pl_err err = PL_OK;
    context.left.count = 0;
    for (size_t g = 0; g < GROUPS; g++)
        context.group[g].count = 0;
    context.inner[0] = context.inner[1] = 0;
    if (object != NULL) {
        struct json_iter members = json_members(*object);
        err = check_members(work, PL_SPAN_LIT("context"), *object);
        while (err == PL_OK && json_next_member(&members, &name, &value))
            err = take_member(work, &context, name, value);
    }
    if (err == PL_OK && work->as->context != NULL)
        err = take_shared(work, &context, object);
    if (err == PL_OK)
        err = take_inner(work, &context);
    return err == PL_OK ? set_left(work, &context) : err;
}
