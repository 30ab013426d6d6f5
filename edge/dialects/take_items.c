#include "edge/dialects/params.h"
#include "edge/dialects/take.h"

#include <inttypes.h>
#include <stdio.h>

/* An item's canonical members are sku, name, price and quantity; the others keep their names. The
 * second and third name of each stand in for it where it is missing. */
enum word {
    ITEM_SKU = 1,
    ITEM_PRODUCT_ID,
    ITEM_ID,
    ITEM_NAME,
    ITEM_DESCRIPTION,
    ITEM_TITLE,
    ITEM_PRICE,
    ITEM_QUANTITY,
};
static const struct name item_names[NAME_SLOTS] = {
    NAME('k', 'u', "sku", ITEM_SKU),
    NAME('r', 'd', "product_id", ITEM_PRODUCT_ID),
    NAME('d', 'd', "id", ITEM_ID),
    NAME('a', 'e', "name", ITEM_NAME),
    NAME('e', 'n', "description", ITEM_DESCRIPTION),
    NAME('i', 'e', "title", ITEM_TITLE),
    NAME('r', 'e', "price", ITEM_PRICE),
    NAME('u', 'y', "quantity", ITEM_QUANTITY),
};

/* What describes the one product that an event is about. */
static const struct name product_names[NAME_SLOTS] = {
    NAME('r', 'd', "product_id", 1), NAME('k', 'u', "sku", 1),
    NAME('a', 'y', "category", 1),   NAME('a', 'e', "name", 1),
    NAME('r', 'd', "brand", 1),      NAME('a', 't', "variant", 1),
    NAME('r', 'e', "price", 1),      NAME('u', 'y', "quantity", 1),
    NAME('o', 'n', "position", 1),   NAME('r', 'l', "url", 1),
    NAME('m', 'l', "image_url", 1),  NAME('e', 'n', "description", 1),
};

struct item {
    unsigned words;      /* seen, a bit each */
    enum word sku, name; /* which of them is packed under that name */
    bool rewritten;      /* some member is not packed as it came */
    uint8_t word[TAKE_LEFT_MAX];
};

static struct pl_span name_of(const struct take *take, uint32_t at)
{
    struct pl_span name = {0};
    json_string(take_at(take, at - 1), &name);
    return name;
}

static enum word first_of(const struct item *item, enum word first)
{
    for (enum word word = first; word < first + 3; word++)
        if ((item->words >> word) & 1)
            return word;
    return first;
}

static void look(const struct take *take, const struct take_left *members, struct item *item)
{
    item->words = 0;
    item->rewritten = false;
    for (unsigned i = 0; i < members->count; i++) {
        const unsigned word = name_find(item_names, name_of(take, members->at[i]));
        const struct json value = take_at(take, members->at[i]);
        item->word[i] = (uint8_t)word;
        item->words |= 1u << word;
        item->rewritten |= (word >= ITEM_PRICE || word == ITEM_SKU) && word != 0 &&
                           json_is_string(value) == (word >= ITEM_PRICE);
    }
    item->sku = first_of(item, ITEM_SKU);
    item->name = first_of(item, ITEM_NAME);
    item->rewritten |= item->sku != ITEM_SKU || item->name != ITEM_NAME;
}

/* A stock number is text, however the shop writes it. */
static void pack_sku(struct event_packer *packer, struct json value)
{
    char digits[24];
    int64_t number;
    if (!json_i64(value, &number)) {
        event_pack_json(packer, value);
        return;
    }
    const int len = snprintf(digits, sizeof(digits), "%" PRId64, number);
    event_pack_str(packer, pl_span(digits, (size_t)len));
}

static void pack_number(struct event_packer *packer, struct json value)
{
    struct pl_span text;
    int64_t whole;
    double number;
    if (json_string(value, &text) && pl_span_to_i64(text, &whole))
        event_pack_i64(packer, whole);
    else if (json_string(value, &text) && param_f64(text, &number))
        event_pack_f64(packer, number);
    else
        event_pack_json(packer, value);
}

static void pack_member(struct event_packer *packer, const struct item *item, enum word word,
                        struct json value)
{
    if (word != 0 && word == item->sku) {
        event_pack_str(packer, PL_SPAN_LIT("sku"));
        pack_sku(packer, value);
    } else if (word != 0 && word == item->name) {
        event_pack_str(packer, PL_SPAN_LIT("name"));
        event_pack_json(packer, value);
    } else if (word >= ITEM_PRICE) {
        event_pack_str(packer, word == ITEM_PRICE ? PL_SPAN_LIT("price") : PL_SPAN_LIT("quantity"));
        pack_number(packer, value);
    } else {
        event_pack_json_member(packer, value);
    }
}

static void pack_item(const struct take *take, const struct take_left *members,
                      struct event_packer *packer)
{
    struct item item;
    look(take, members, &item);
    event_pack_map(packer, members->count);
    if (!item.rewritten) {
        take_pack_left(take, members, packer);
        return;
    }
    for (unsigned i = 0; i < members->count; i++)
        pack_member(packer, &item, item.word[i], take_at(take, members->at[i]));
}

static void pack_element(const struct take *take, struct json element, struct event_packer *packer)
{
    struct take_left members;
    struct pl_span name;
    struct json value;
    int64_t number;
    members.count = 0;
    if (json_is_string(element) || json_i64(element, &number)) { /* nothing but its number */
        event_pack_map(packer, 1);
        event_pack_str(packer, PL_SPAN_LIT("sku"));
        pack_sku(packer, element);
        return;
    }
    if (!json_is_object(element) || json_count(element) > TAKE_LEFT_MAX) {
        event_pack_json(packer, element);
        return;
    }
    struct json_iter iter = json_members(element);
    while (json_next_member(&iter, &name, &value))
        members.at[members.count++] = (uint32_t)value.index;
    pack_item(take, &members, packer);
}

static enum pl_err finish(struct take *take, const struct event_packer *packer, size_t from)
{
    event_set_pack(take->event, EVENT_ITEMS,
                   pl_span(take->scratch->data + from, take->scratch->len - from));
    return packer->err;
}

bool take_items(struct take *take, struct json products, enum pl_err *err)
{
    struct event_packer packer = {.out = take->scratch};
    struct json_iter elements = json_elements(products);
    const size_t from = take->scratch->len;
    struct json element;
    if (!json_is_array(products))
        return false;
    event_pack_array(&packer, json_count(products));
    while (json_next_element(&elements, &element))
        pack_element(take, element, &packer);
    *err = finish(take, &packer, from);
    return true;
}

enum pl_err take_item(struct take *take, const struct take_left *product)
{
    struct event_packer packer = {.out = take->scratch};
    const size_t from = take->scratch->len;
    event_pack_array(&packer, 1);
    pack_item(take, product, &packer);
    return finish(take, &packer, from);
}

bool take_is_of_product(struct pl_span name)
{
    return name_find(product_names, name) != 0;
}
