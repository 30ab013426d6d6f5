#include "proto/wire/event.h"

#define STR(field_name)                                                                            \
    {                                                                                              \
        EVENT_KIND_STR, field_name                                                                 \
    }
#define U64(field_name)                                                                            \
    {                                                                                              \
        EVENT_KIND_U64, field_name                                                                 \
    }
#define I64(field_name)                                                                            \
    {                                                                                              \
        EVENT_KIND_I64, field_name                                                                 \
    }
#define F64(field_name)                                                                            \
    {                                                                                              \
        EVENT_KIND_F64, field_name                                                                 \
    }
#define PACK(field_name)                                                                           \
    {                                                                                              \
        EVENT_KIND_PACK, field_name                                                                \
    }

const struct event_field_info event_fields[EVENT_FIELD_LIMIT] = {
    [EVENT_ACCOUNT] = U64("account"),
    [EVENT_TYPE] = U64("type"),
    [EVENT_DIALECT] = U64("dialect"),
    [EVENT_ACCEPTED_MS] = I64("accepted_ms"),
    [EVENT_REGION] = STR("region"),
    [EVENT_MESSAGE_ID] = STR("message_id"),
    [EVENT_VISITOR_ID] = STR("visitor_id"),
    [EVENT_USER_ID] = STR("user_id"),
    [EVENT_SESSION_ID] = STR("session_id"),
    [EVENT_CLIENT_MS] = I64("client_time_ms"),
    [EVENT_SENT_MS] = I64("sent_time_ms"),
    [EVENT_CORRECTED_MS] = I64("corrected_time_ms"),
    [EVENT_NAME] = STR("name"),
    [EVENT_PREVIOUS_ID] = STR("previous_id"),
    [EVENT_GROUP_ID] = STR("group_id"),
    [EVENT_CHANNEL] = STR("channel"),
    [EVENT_NETWORK_ID] = STR("network_id"),
    [EVENT_PAGE_URL] = STR("page.url"),
    [EVENT_PAGE_PATH] = STR("page.path"),
    [EVENT_PAGE_REFERRER] = STR("page.referrer"),
    [EVENT_PAGE_TITLE] = STR("page.title"),
    [EVENT_PAGE_SEARCH] = STR("page.search"),
    [EVENT_PAGE_CATEGORY] = STR("page.category"),
    [EVENT_PAGE_TYPE] = STR("page.type"),
    [EVENT_PAGE_BREADCRUMB] = PACK("page.breadcrumb"),
    [EVENT_UTM_NAME] = STR("utm.campaign"),
    [EVENT_UTM_SOURCE] = STR("utm.source"),
    [EVENT_UTM_MEDIUM] = STR("utm.medium"),
    [EVENT_UTM_TERM] = STR("utm.term"),
    [EVENT_UTM_CONTENT] = STR("utm.content"),
    [EVENT_VIEWPORT] = STR("device.viewport"),
    [EVENT_USER_AGENT] = STR("device.user_agent"),
    [EVENT_LOCALE] = STR("device.locale"),
    [EVENT_TIMEZONE] = STR("device.timezone"),
    [EVENT_SCREEN_WIDTH] = U64("device.screen_width"),
    [EVENT_SCREEN_HEIGHT] = U64("device.screen_height"),
    [EVENT_COUNTRY] = STR("device.country"),
    [EVENT_ITEMS] = PACK("items"),
    [EVENT_ORDER_ID] = STR("order_id"),
    [EVENT_TOTAL] = F64("total"),
    [EVENT_TAX] = F64("tax"),
    [EVENT_SHIPPING] = F64("shipping"),
    [EVENT_DISCOUNT] = F64("discount"),
    [EVENT_COUPON] = STR("coupon"),
    [EVENT_CURRENCY] = STR("currency"),
    [EVENT_AFFILIATION] = STR("affiliation"),
    [EVENT_CHECKOUT_STEP_NUMBER] = U64("checkout_step"),
    [EVENT_SEARCH_TERM] = STR("search.term"),
    [EVENT_SEARCH_RESULTS] = U64("search.results"),
    [EVENT_SEARCH_RESULTS_FIRST_PAGE] = U64("search.results_first_page"),
    [EVENT_OFFER_CAMPAIGN] = STR("offer.campaign"),
    [EVENT_OFFER_VARIANT] = STR("offer.variant"),
    [EVENT_OFFER_PRINCIPLE] = STR("offer.principle"),
    [EVENT_OFFER_CONFIG_VERSION] = U64("offer.config_version"),
    [EVENT_OFFER_RESPONSE_KIND] = STR("offer.response"),
    [EVENT_OFFER_ID] = STR("offer.id"),
    [EVENT_PROPS] = PACK("props"),
    [EVENT_TRAITS] = PACK("traits"),
    [EVENT_CONTEXT] = PACK("context"),
    [EVENT_VIEW_ID] = STR("view.id"),
    [EVENT_VIEW_COUNTER] = U64("view.counter"),
    [EVENT_SESSION_INDEX] = U64("session_index"),
    [EVENT_CLICK_TARGET] = STR("click.target"),
    [EVENT_CLICK_URL] = STR("click.url"),
    [EVENT_CLICK_TEXT] = STR("click.text"),
    [EVENT_ERROR_MESSAGE] = STR("error.message"),
    [EVENT_ERROR_FILE] = STR("error.file"),
    [EVENT_ERROR_LINE] = U64("error.line"),
    [EVENT_GOAL] = STR("goal"),
    [EVENT_CLICK_ID] = STR("click_id"),
    [EVENT_EMAIL_HASH] = STR("email_hash"),
    [EVENT_CONSENT_ID] = STR("consent.id"),
    [EVENT_CONSENT_ID_HASH] = STR("consent.id_hash"),
    [EVENT_WARNING] = STR("warning"),
    [EVENT_MASKED] = U64("masked"),
    [EVENT_COUNT] = U64("count"),
    [EVENT_CHECKOUT_STEP_NAME] = STR("checkout_step_name"),
};

static const char *const type_names[EVENT_TYPE_COUNT] = {
    [EVENT_PAGE_VIEW] = "page_view",
    [EVENT_CLICK] = "click",
    [EVENT_PRODUCT_VIEW] = "product_view",
    [EVENT_IMPRESSIONS] = "impressions",
    [EVENT_CART_ADD] = "cart_add",
    [EVENT_CART_REMOVE] = "cart_remove",
    [EVENT_SEARCH] = "search",
    [EVENT_CHECKOUT_STEP] = "checkout_step",
    [EVENT_ORDER] = "order",
    [EVENT_OFFER_SHOWN] = "offer_shown",
    [EVENT_OFFER_RESPONSE] = "offer_response",
    [EVENT_IDENTIFY] = "identify",
    [EVENT_UPDATE] = "update",
    [EVENT_ALIAS] = "alias",
    [EVENT_GROUP] = "group",
    [EVENT_ERROR] = "error",
    [EVENT_CUSTOM] = "custom",
    [EVENT_OPT_OUT] = "opt_out",
    [EVENT_OPT_IN] = "opt_in",
    [EVENT_TALLY] = "tally",
};

static const char *const dialect_names[EVENT_DIALECT_COUNT] = {
    [EVENT_DIALECT_SEGMENT] = "segment", [EVENT_DIALECT_SNOWPLOW] = "snowplow",
    [EVENT_DIALECT_CROBOX] = "crobox",   [EVENT_DIALECT_CROSSENGAGE] = "crossengage",
    [EVENT_DIALECT_PIXEL] = "pixel",
};

const char *event_type_name(enum event_type type)
{
    return (unsigned)type < EVENT_TYPE_COUNT ? type_names[type] : NULL;
}

bool event_type_parse(struct pl_span name, enum event_type *out)
{
    for (unsigned i = 1; i < EVENT_TYPE_COUNT; i++) {
        if (!pl_span_eq_str(name, type_names[i]))
            continue;
        *out = (enum event_type)i;
        return true;
    }
    return false;
}

const char *event_dialect_name(enum event_dialect dialect)
{
    return (unsigned)dialect < EVENT_DIALECT_COUNT ? dialect_names[dialect] : NULL;
}
