#include "edge/dialects/crobox.h"
#include "edge/cookie.h"
#include "proto/base/murmur3.h"

#include <stdio.h>

#define ITEMS_MAX     256
#define BASE36_DIGITS 11 /* of a time in milliseconds, and some more */

/* ---- the request as a whole */

static bool says_no(struct pl_span cookies)
{
    struct pl_span name, value;
    while (cookie_next(&cookies, &name, &value))
        if (pl_span_eq(name, PL_SPAN_LIT("_crbx")) && pl_span_eq(value, PL_SPAN_LIT("dnt")))
            return true;
    return false;
}

/* A signed number in base 36, as Java writes it. */
static void write_base36(int32_t number, char out[16])
{
    char digits[16];
    int count = 0;
    size_t len = 0;
    uint32_t left = number < 0 ? 0u - (uint32_t)number : (uint32_t)number;
    do {
        digits[count++] = "0123456789abcdefghijklmnopqrstuvwxyz"[left % 36];
        left /= 36;
    } while (left > 0);
    if (number < 0)
        out[len++] = '-';
    while (count > 0)
        out[len++] = digits[--count];
    out[len] = '\0';
}

/* z is added last, over what stands before it. */
static bool checksum_is_wrong(struct pl_span query)
{
    char expected[16];
    size_t at = query.len;
    while (at > 0 && query.data[at - 1] != '&')
        at--;
    const struct pl_span last = pl_span_from(query, at);
    if (!pl_span_starts(last, PL_SPAN_LIT("z=")))
        return false; /* there is none, or something was added behind it */
    write_base36((int32_t)pl_murmur3_32(pl_span(query.data, at > 0 ? at - 1 : 0), 0), expected);
    return !pl_span_eq_str(pl_span_from(last, 2), expected);
}

enum pl_err crobox_begin(const struct dialect_input *input, const struct dialect_sink *sink,
                         struct params *params, bool *wrong_checksum, struct pl_why *why)
{
    struct dialect_claim claim = {.opted_out = says_no(input->cookie)};
    struct pl_span ignored;
    params->count = 0;
    enum pl_err err = params_parse(params, input->query, input->scratch, why);
    if (err != PL_OK)
        return err;
    (void)params_take(params, "cid", &claim.key);
    *wrong_checksum = checksum_is_wrong(input->query);
    if (!*wrong_checksum)
        (void)params_take(params, "z", &ignored);
    return sink->claim(sink->ctx, &claim, why);
}

/* ---- parameters of every request */

static const struct param_home common_homes[] = {
    {PL_SPAN_INIT("pid"), EVENT_VISITOR_ID},   {PL_SPAN_INIT("uid"), EVENT_USER_ID},
    {PL_SPAN_INIT("vid"), EVENT_VIEW_ID},      {PL_SPAN_INIT("e"), EVENT_VIEW_COUNTER},
    {PL_SPAN_INIT("lc"), EVENT_LOCALE},        {PL_SPAN_INIT("tz"), EVENT_TIMEZONE},
    {PL_SPAN_INIT("cc"), EVENT_CURRENCY},      {PL_SPAN_INIT("lh"), EVENT_NAME},
    {PL_SPAN_INIT("dt"), EVENT_PAGE_TITLE},    {PL_SPAN_INIT("st"), EVENT_SEARCH_TERM},
    {PL_SPAN_INIT("tid"), EVENT_ORDER_ID},     {PL_SPAN_INIT("aff"), EVENT_AFFILIATION},
    {PL_SPAN_INIT("cpn"), EVENT_COUPON},       {PL_SPAN_INIT("rev"), EVENT_TOTAL},
    {PL_SPAN_INIT("promoId"), EVENT_OFFER_ID}, {{0}, 0},
};

static const struct {
    struct pl_span number, name;
} page_types[] = {
    {PL_SPAN_INIT("0"), PL_SPAN_INIT("other")},    {PL_SPAN_INIT("1"), PL_SPAN_INIT("index")},
    {PL_SPAN_INIT("2"), PL_SPAN_INIT("overview")}, {PL_SPAN_INIT("3"), PL_SPAN_INIT("detail")},
    {PL_SPAN_INIT("4"), PL_SPAN_INIT("cart")},     {PL_SPAN_INIT("5"), PL_SPAN_INIT("checkout")},
    {PL_SPAN_INIT("6"), PL_SPAN_INIT("complete")}, {PL_SPAN_INIT("7"), PL_SPAN_INIT("search")},
};

static void take_page_type(struct params *params, struct event *event)
{
    struct pl_span number, ignored;
    if (!params_peek(params, "pt", &number))
        return;
    for (size_t i = 0; i < sizeof(page_types) / sizeof(page_types[0]); i++) {
        if (!pl_span_eq(page_types[i].number, number))
            continue;
        (void)params_take(params, "pt", &ignored);
        event_set_str(event, EVENT_PAGE_TYPE, page_types[i].name);
    }
}

static bool read_base36(struct pl_span text, int64_t *out)
{
    int64_t number = 0;
    if (text.len == 0 || text.len > BASE36_DIGITS)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        const uint8_t c = text.data[i] | 0x20;
        const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'z' ? c - 'a' + 10 : 36;
        if (digit == 36)
            return false;
        number = number * 36 + digit;
    }
    *out = number;
    return true;
}

static void take_time(struct params *params, struct event *event)
{
    struct pl_span text, ignored;
    int64_t ms;
    if (!params_peek(params, "ts", &text) || !read_base36(text, &ms))
        return;
    (void)params_take(params, "ts", &ignored);
    event_set_i64(event, EVENT_CLIENT_MS, ms);
}

void crobox_name_custom(struct params *params)
{
    for (size_t i = 0; i < params->count; i++)
        if (params->list[i].name.len > 3 &&
            pl_span_starts(params->list[i].name, PL_SPAN_LIT("cp.")))
            params->list[i].name = pl_span_from(params->list[i].name, 3);
}

enum pl_err crobox_common(struct params *params, struct event *event, struct pl_why *why)
{
    enum pl_err err = params_take_homes(params, common_homes, event, why);
    take_page_type(params, event);
    take_time(params, event);
    return err;
}

/* ---- products */

struct item {
    struct pl_span sku;
    double price, quantity;
    bool has_price, has_quantity;
};
struct items {
    size_t count;
    struct item list[ITEMS_MAX];
};

static void add_item(struct items *items, struct pl_span sku)
{
    if (sku.len > 0 && items->count < ITEMS_MAX)
        items->list[items->count++] = (struct item){.sku = sku};
}

/* "[0]", or "imp[0]" as apps write it. */
static bool is_impression(struct pl_span name, uint64_t *place)
{
    if (pl_span_starts(name, PL_SPAN_LIT("imp")))
        name = pl_span_from(name, 3);
    return name.len >= 3 && name.data[0] == '[' && name.data[name.len - 1] == ']' &&
           pl_span_to_u64(pl_span(name.data + 1, name.len - 2), place);
}

static size_t count_commas(struct pl_span text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++)
        count += text.data[i] == ',';
    return count;
}

static bool take_number(struct params *params, const char *name, double *number)
{
    struct pl_span text, ignored;
    return params_peek(params, name, &text) && param_f64(text, number) &&
           params_take(params, name, &ignored);
}

/* In the order of their places, whatever order they come in. */
static size_t take_impressions(struct params *params, struct items *items)
{
    uint64_t places[ITEMS_MAX], place;
    const size_t first = items->count;
    for (size_t i = 0; i < params->count; i++) {
        struct param *param = &params->list[i];
        size_t at = items->count;
        if (param->taken || !is_impression(param->name, &place) || at == ITEMS_MAX)
            continue;
        param->taken = true;
        add_item(items, param->value);
        if (items->count == at)
            continue;
        for (; at > first && places[at - 1] > place; at--) {
            items->list[at] = items->list[at - 1];
            places[at] = places[at - 1];
        }
        items->list[at] = (struct item){.sku = param->value};
        places[at] = place;
    }
    return items->count - first;
}

/* The product itself, then those beside it, then what the page lists. */
static size_t take_items(struct params *params, struct items *items)
{
    struct pl_span text;
    items->count = 0;
    if (params_take(params, "pi", &text)) {
        add_item(items, text);
        struct item *product = &items->list[0];
        product->has_price = take_number(params, "price", &product->price);
        product->has_quantity = take_number(params, "qty", &product->quantity);
    }
    /* One that is longer than what becomes items stays whole under props. */
    if (params_peek(params, "lst", &text) && count_commas(text) + 1 + items->count <= ITEMS_MAX &&
        params_take(params, "lst", &text)) {
        while (text.len > 0) {
            const uint8_t *comma = memchr(text.data, ',', text.len);
            struct pl_span one =
                pl_span(text.data, comma == NULL ? text.len : (size_t)(comma - text.data));
            text = pl_span_from(text, one.len + 1);
            while (one.len > 0 && one.data[0] == ' ')
                one = pl_span_from(one, 1);
            add_item(items, one);
        }
    }
    return take_impressions(params, items);
}

static enum pl_err set_items(const struct items *items, struct pl_buf *scratch, struct event *event)
{
    struct event_packer packer = {.out = scratch};
    const size_t from = scratch->len;
    if (items->count == 0)
        return PL_OK;
    event_pack_array(&packer, items->count);
    for (size_t i = 0; i < items->count; i++) {
        const struct item *item = &items->list[i];
        event_pack_map(&packer, 1u + item->has_price + item->has_quantity);
        event_pack_str(&packer, PL_SPAN_LIT("sku"));
        event_pack_str(&packer, item->sku);
        if (item->has_price) {
            event_pack_str(&packer, PL_SPAN_LIT("price"));
            event_pack_f64(&packer, item->price);
        }
        if (item->has_quantity) {
            event_pack_str(&packer, PL_SPAN_LIT("quantity"));
            event_pack_f64(&packer, item->quantity);
        }
    }
    event_set_pack(event, EVENT_ITEMS, pl_span(scratch->data + from, scratch->len - from));
    return packer.err;
}

/* ---- one event */

/* Checkout and purchase are page views with a step or a transaction. */
static enum event_type page_view_type(struct params *params, struct event *event,
                                      const struct items *items, size_t impressions)
{
    struct pl_span step;
    uint64_t number;
    if (event_has(event, EVENT_ORDER_ID))
        return EVENT_ORDER;
    if (params_take(params, "stp", &step)) {
        if (pl_span_to_u64(step, &number))
            event_set_u64(event, EVENT_CHECKOUT_STEP_NUMBER, number);
        else
            event_set_str(event, EVENT_CHECKOUT_STEP_NAME, step);
        return EVENT_CHECKOUT_STEP;
    }
    if (event_has(event, EVENT_SEARCH_TERM))
        return EVENT_SEARCH;
    if (pl_span_eq_str(event_str(event, EVENT_PAGE_TYPE), "detail") && items->count > 0)
        return EVENT_PRODUCT_VIEW;
    return impressions > 0 ? EVENT_IMPRESSIONS : EVENT_PAGE_VIEW;
}

static const struct param_home error_homes[] = {
    {PL_SPAN_INIT("msg"), EVENT_ERROR_MESSAGE},
    {PL_SPAN_INIT("f"), EVENT_ERROR_FILE},
    {PL_SPAN_INIT("l"), EVENT_ERROR_LINE},
    {PL_SPAN_INIT("nm"), EVENT_NAME},
    {{0}, 0},
};
static const struct param_home click_homes[] = {
    {PL_SPAN_INIT("tg"), EVENT_CLICK_TARGET},
    {{0}, 0},
};
static const struct param_home event_homes[] = {
    {PL_SPAN_INIT("nm"), EVENT_NAME},
    {{0}, 0},
};
static const struct param_home no_homes[] = {{{0}, 0}};

/* The name of what happened comes before that of the page. */
static const struct {
    struct pl_span name;
    enum event_type type;
    const struct param_home *homes;
} kinds[] = {
    {PL_SPAN_INIT("pageview"), EVENT_PAGE_VIEW, no_homes},
    {PL_SPAN_INIT("click"), EVENT_CLICK, click_homes},
    {PL_SPAN_INIT("cart"), EVENT_CART_ADD, no_homes},
    {PL_SPAN_INIT("rmcart"), EVENT_CART_REMOVE, no_homes},
    {PL_SPAN_INIT("error"), EVENT_ERROR, error_homes},
    {PL_SPAN_INIT("event"), EVENT_CUSTOM, event_homes},
};

static enum pl_err find_kind(struct params *params, size_t *kind, struct pl_why *why)
{
    struct pl_span name = {0};
    (void)params_take(params, "t", &name);
    for (*kind = 0; *kind < sizeof(kinds) / sizeof(kinds[0]); ++*kind)
        if (pl_span_eq(kinds[*kind].name, name))
            return PL_OK;
    return pl_fail_field(why, PL_EINVAL, "t",
                         "t must be one of pageview, click, cart, rmcart, error, event");
}

/* (view, counter) is one event, however often it is sent. */
static enum pl_err set_message_id(struct event *event, struct pl_buf *scratch)
{
    char counter[24];
    const size_t start = scratch->len;
    if (!event_has(event, EVENT_VIEW_ID) || !event_has(event, EVENT_VIEW_COUNTER))
        return PL_OK;
    snprintf(counter, sizeof(counter), ":%llu",
             (unsigned long long)event_u64(event, EVENT_VIEW_COUNTER));
    enum pl_err err = pl_buf_append_span(scratch, event_str(event, EVENT_VIEW_ID));
    if (err == PL_OK)
        err = pl_buf_append_str(scratch, counter);
    if (err == PL_OK)
        event_set_str(event, EVENT_MESSAGE_ID,
                      pl_span(scratch->data + start, scratch->len - start));
    return err;
}

static void add_headers(const struct dialect_input *input, struct event *event)
{
    if (input->referer.len > 0 && input->referer.len <= LIMIT_URL_BYTES &&
        pl_span_is_utf8(input->referer))
        event_set_str(event, EVENT_PAGE_URL, input->referer);
    if (input->user_agent.len > 0 && pl_span_is_utf8(input->user_agent))
        event_set_str(event, EVENT_USER_AGENT, input->user_agent);
}

static enum pl_err decode_socket(const struct dialect_input *input, const struct dialect_sink *sink,
                                 struct dialect_outcome *outcome, struct pl_why *why)
{
    struct params params;
    struct items items;
    struct event *event = input->event;
    bool wrong_checksum;
    size_t kind = 0;
    enum pl_err err = crobox_begin(input, sink, &params, &wrong_checksum, why);
    if (err == PL_OK)
        err = find_kind(&params, &kind, why);
    if (err != PL_OK)
        return err;
    event_clear(event);
    err = params_take_homes(&params, kinds[kind].homes, event, why);
    if (err == PL_OK)
        err = crobox_common(&params, event, why);
    if (err != PL_OK)
        return err;
    const size_t impressions = take_items(&params, &items);
    enum event_type type = kinds[kind].type;
    if (type == EVENT_PAGE_VIEW)
        type = page_view_type(&params, event, &items, impressions);
    event_set_u64(event, EVENT_TYPE, type);
    if (wrong_checksum)
        event_set_str(event, EVENT_WARNING, PL_SPAN_LIT("checksum"));
    add_headers(input, event);
    err = set_message_id(event, input->scratch);
    if (err == PL_OK && event_has(event, EVENT_MESSAGE_ID) &&
        sink->seen(sink->ctx, event_str(event, EVENT_MESSAGE_ID)))
        outcome->name = "DUPLICATE";
    if (err == PL_OK)
        err = set_items(&items, input->scratch, event);
    crobox_name_custom(&params);
    if (err == PL_OK)
        err = params_leave(&params, input->scratch, event);
    return err == PL_OK ? sink->emit(sink->ctx, event, why) : err;
}

static const struct dialect_route routes[] = {
    {.methods = DIALECT_GET,
     .path = "/socket.gif",
     .decode = decode_socket,
     .reply = &dialect_reply_gif},
    {.methods = DIALECT_POST,
     .path = "/promotions",
     .decode = crobox_decode_promotions,
     .reply = &dialect_reply_json,
     .max_body_bytes = LIMIT_EVENT_BYTES},
};

const struct dialect dialect_crobox = {
    .name = "crobox",
    .id = EVENT_DIALECT_CROBOX,
    .routes = routes,
    .route_count = sizeof(routes) / sizeof(routes[0]),
};
