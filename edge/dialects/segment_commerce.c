#include "edge/dialects/segment_parts.h"

/* Where the properties of the events below go; on any other event they stay properties. */
static const struct name order_names[NAME_SLOTS] = {
    NAME('r', 'd', "order_id", EVENT_ORDER_ID),
    NAME('o', 'l', "total", EVENT_TOTAL),
    NAME('a', 'x', "tax", EVENT_TAX),
    NAME('h', 'g', "shipping", EVENT_SHIPPING),
    NAME('i', 't', "discount", EVENT_DISCOUNT),
    NAME('o', 'n', "coupon", EVENT_COUPON),
    NAME('u', 'y', "currency", EVENT_CURRENCY),
    NAME('f', 'n', "affiliation", EVENT_AFFILIATION),
    NAME('t', 'p', "step", EVENT_CHECKOUT_STEP_NUMBER),
    NAME('t', 'e', "step_name", EVENT_CHECKOUT_STEP_NAME),
    NAME('r', 's', "products", EVENT_ITEMS),
};
static const struct name search_names[NAME_SLOTS] = {
    NAME('u', 'y', "query", EVENT_SEARCH_TERM),
    NAME('e', 's', "results", EVENT_SEARCH_RESULTS),
    NAME('e', 'e', "results_first_page", EVENT_SEARCH_RESULTS_FIRST_PAGE),
    NAME('r', 's', "products", EVENT_ITEMS),
};
static const struct name offer_names[NAME_SLOTS] = {
    NAME('r', 'd', "promotion_id", EVENT_OFFER_CAMPAIGN),
    NAME('r', 'e', "creative", EVENT_OFFER_VARIANT),
    NAME('r', 'e', "principle", EVENT_OFFER_PRINCIPLE),
    NAME('o', 'n', "config_version", EVENT_OFFER_CONFIG_VERSION),
    NAME('f', 'd', "offer_id", EVENT_OFFER_ID),
    NAME('e', 'e', "response", EVENT_OFFER_RESPONSE_KIND),
};
static const struct name click_names[NAME_SLOTS] = {
    NAME('e', 'r', "selector", EVENT_CLICK_TARGET),
    NAME('e', 't', "text", EVENT_CLICK_TEXT),
    NAME('r', 'f', "href", EVENT_CLICK_URL),
};
struct segment_commerce {
    struct pl_span name;
    enum event_type type;
    const struct name *homes;
    bool one_product;
};
/* Names of Segment's e-commerce specification, version 2, and the snippet's clicks. */
static const struct segment_commerce events[] = {
    {PL_SPAN_INIT("Product Viewed"), EVENT_PRODUCT_VIEW, order_names, true},
    {PL_SPAN_INIT("Product Added"), EVENT_CART_ADD, order_names, true},
    {PL_SPAN_INIT("Product Removed"), EVENT_CART_REMOVE, order_names, true},
    {PL_SPAN_INIT("Product Clicked"), EVENT_CLICK, order_names, true},
    {PL_SPAN_INIT("Product List Viewed"), EVENT_IMPRESSIONS, order_names, false},
    {PL_SPAN_INIT("Products Searched"), EVENT_SEARCH, search_names, false},
    {PL_SPAN_INIT("Checkout Started"), EVENT_CHECKOUT_STEP, order_names, false},
    {PL_SPAN_INIT("Checkout Step Viewed"), EVENT_CHECKOUT_STEP, order_names, false},
    {PL_SPAN_INIT("Checkout Step Completed"), EVENT_CHECKOUT_STEP, order_names, false},
    {PL_SPAN_INIT("Order Completed"), EVENT_ORDER, order_names, false},
    {PL_SPAN_INIT("Order Updated"), EVENT_ORDER, order_names, false},
    {PL_SPAN_INIT("Order Refunded"), EVENT_ORDER, order_names, false},
    {PL_SPAN_INIT("Order Cancelled"), EVENT_ORDER, order_names, false},
    {PL_SPAN_INIT("Promotion Viewed"), EVENT_OFFER_SHOWN, offer_names, false},
    {PL_SPAN_INIT("Promotion Clicked"), EVENT_OFFER_RESPONSE, offer_names, false},
    {PL_SPAN_INIT("Element Clicked"), EVENT_CLICK, click_names, false},
};

const struct segment_commerce *segment_commerce_find(struct pl_span event_name)
{
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
        if (pl_span_eq(events[i].name, event_name))
            return &events[i];
    return NULL;
}

enum event_type segment_commerce_type(const struct segment_commerce *commerce)
{
    return commerce->type;
}

static bool take_home(struct segment_work *work, const struct segment_commerce *commerce,
                      struct pl_span name, struct json value, enum pl_err *err)
{
    const unsigned field = name_find(commerce->homes, name);
    if (field == EVENT_ITEMS)
        return take_items(&work->take, value, err);
    return field != 0 && take_value(&work->take, field, value);
}

enum pl_err segment_take_commerce(struct segment_work *work,
                                  const struct segment_commerce *commerce, struct json properties)
{
    struct take_left left, product;
    struct pl_span name;
    struct json value;
    enum pl_err err = PL_OK;
    left.count = product.count = 0;
    struct json_iter members = json_members(properties);
    while (err == PL_OK && json_next_member(&members, &name, &value)) {
        if (take_home(work, commerce, name, value, &err))
            continue;
        const bool describes = commerce->one_product && take_is_of_product(name);
        err = take_leave(&work->take, describes ? &product : &left, name, value);
    }
    /* A list that came along says it all. */
    if (err == PL_OK && product.count > 0 && !event_has(work->take.event, EVENT_ITEMS)) {
        err = take_item(&work->take, &product);
        product.count = 0;
    }
    return err == PL_OK ? take_set_props(&work->take, &left, &product) : err;
}
