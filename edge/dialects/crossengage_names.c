#include "edge/dialects/crossengage_names.h"

#define WORDS_MAX 3
#define TEXT_MAX  40 /* longer than every name of the catalogue */

static const struct name order_names[NAME_SLOTS] = {
    NAME('r', 'd', "order_id", EVENT_ORDER_ID),
    NAME('r', 'd', "orderId", EVENT_ORDER_ID),
    NAME('d', 'd', "id", EVENT_ORDER_ID),
    NAME('o', 'l', "total", EVENT_TOTAL),
    NAME('a', 'x', "tax", EVENT_TAX),
    NAME('h', 'g', "shipping", EVENT_SHIPPING),
    NAME('i', 't', "discount", EVENT_DISCOUNT),
    NAME('o', 'n', "coupon", EVENT_COUPON),
    NAME('u', 'y', "currency", EVENT_CURRENCY),
    NAME('f', 'n', "affiliation", EVENT_AFFILIATION),
    NAME('t', 'p', "step", EVENT_CHECKOUT_STEP_NUMBER),
    NAME('t', 'e', "step_name", EVENT_CHECKOUT_STEP_NAME),
    NAME('t', 'e', "stepName", EVENT_CHECKOUT_STEP_NAME),
    NAME('r', 's', "products", EVENT_ITEMS),
    NAME('a', 't', "cart", CROSSENGAGE_CART),
};
/* The same without an order's id: `id` is the product's. */
static const struct name cart_names[NAME_SLOTS] = {
    NAME('o', 'l', "total", EVENT_TOTAL),       NAME('o', 'n', "coupon", EVENT_COUPON),
    NAME('u', 'y', "currency", EVENT_CURRENCY), NAME('r', 's', "products", EVENT_ITEMS),
    NAME('a', 't', "cart", CROSSENGAGE_CART),
};
static const struct name search_names[NAME_SLOTS] = {
    NAME('u', 'y', "query", EVENT_SEARCH_TERM),
    NAME('e', 'm', "term", EVENT_SEARCH_TERM),
    NAME('e', 'm', "search_term", EVENT_SEARCH_TERM),
    NAME('e', 'm', "searchTerm", EVENT_SEARCH_TERM),
    NAME('e', 'd', "keyword", EVENT_SEARCH_TERM),
    NAME('e', 's', "results", EVENT_SEARCH_RESULTS),
    NAME('r', 's', "products", EVENT_ITEMS),
    NAME('a', 't', "cart", CROSSENGAGE_CART),
};
static const struct name page_names[NAME_SLOTS] = {
    NAME('r', 'l', "url", EVENT_PAGE_URL),
    NAME('a', 'h', "path", EVENT_PAGE_PATH),
    NAME('e', 'r', "referrer", EVENT_PAGE_REFERRER),
    NAME('i', 'e', "title", EVENT_PAGE_TITLE),
    NAME('e', 'h', "search", EVENT_PAGE_SEARCH),
    NAME('a', 'y', "category", EVENT_PAGE_CATEGORY),
    NAME('a', 'e', "language", EVENT_LOCALE),
    NAME('a', 't', "cart", CROSSENGAGE_CART),
};
static const struct name offer_names[NAME_SLOTS] = {
    NAME('r', 'd', "promotion_id", EVENT_OFFER_CAMPAIGN),
    NAME('r', 'd', "promotionId", EVENT_OFFER_CAMPAIGN),
    NAME('r', 'e', "creative", EVENT_OFFER_VARIANT),
};

static const struct crossengage_kind kinds[] = {
    {"page viewed", EVENT_PAGE_VIEW, page_names, false},
    {"product viewed", EVENT_PRODUCT_VIEW, cart_names, true},
    {"added product", EVENT_CART_ADD, cart_names, true},
    {"product removed", EVENT_CART_REMOVE, cart_names, true},
    {"cart viewed", EVENT_CUSTOM, cart_names, false},
    {"searched", EVENT_SEARCH, search_names, false},
    {"products searched", EVENT_SEARCH, search_names, false},
    {"product searched", EVENT_SEARCH, search_names, false},
    {"checkout started", EVENT_CHECKOUT_STEP, order_names, false},
    {"checkout step viewed", EVENT_CHECKOUT_STEP, order_names, false},
    {"checkout completed step", EVENT_CHECKOUT_STEP, order_names, false},
    {"completed order", EVENT_ORDER, order_names, false},
    {"promotion viewed", EVENT_OFFER_SHOWN, offer_names, false},
    {"clicked promotion", EVENT_OFFER_RESPONSE, offer_names, false},
    {"identify", EVENT_IDENTIFY, NULL, false},
    {"identified", EVENT_IDENTIFY, NULL, false},
    {"traits", EVENT_IDENTIFY, NULL, false},
    {"update", EVENT_UPDATE, NULL, false},
};

struct words {
    unsigned count;
    struct pl_span word[WORDS_MAX]; /* of `text` */
    uint8_t text[TEXT_MAX];
};

static bool is_lower(uint8_t c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_upper(uint8_t c)
{
    return c >= 'A' && c <= 'Z';
}

/* False: more than any name of the catalogue has. */
static bool split(struct pl_span name, struct words *words)
{
    bool inside = false;
    words->count = 0;
    if (name.len > TEXT_MAX)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        const uint8_t c = name.data[i];
        const bool begins = !inside || (is_upper(c) && is_lower(name.data[i - 1]));
        inside = is_lower(c) || is_upper(c) || c >= 0x80 || (c >= '0' && c <= '9');
        words->text[i] = is_upper(c) ? c | 0x20 : c;
        if (!inside)
            continue;
        if (begins && words->count == WORDS_MAX)
            return false;
        if (begins)
            words->word[words->count++] = pl_span(words->text + i, 0);
        words->word[words->count - 1].len++;
    }
    return words->count > 0;
}

static void sort(struct words *words)
{
    for (unsigned i = 1; i < words->count; i++) {
        const struct pl_span word = words->word[i];
        unsigned at = i;
        for (; at > 0 && pl_span_cmp(words->word[at - 1], word) > 0; at--)
            words->word[at] = words->word[at - 1];
        words->word[at] = word;
    }
}

static bool matches(const struct words *words, const char *text)
{
    for (unsigned i = 0; i < words->count; i++) {
        const struct pl_span word = words->word[i];
        if (strncmp(text, (const char *)word.data, word.len) != 0)
            return false;
        text += word.len;
        if (*text != (i + 1 < words->count ? ' ' : '\0'))
            return false;
        text++;
    }
    return true;
}

const struct crossengage_kind *crossengage_kind_find(struct pl_span name)
{
    struct words words;
    if (!split(name, &words))
        return NULL;
    sort(&words);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (matches(&words, kinds[i].words))
            return &kinds[i];
    return NULL;
}
