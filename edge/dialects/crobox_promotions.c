/* POST /promotions: which offers a visitor gets for some products, from the account's campaigns. */
#include "edge/decide.h"
#include "edge/dialects/crobox.h"
#include "proto/base/id.h"
#include "proto/base/murmur3.h"
#include "proto/base/random.h"

#include <stdio.h>

#define PRODUCTS_MAX  100
#define CAMPAIGNS_MAX 200 /* what a config may hold */

struct request {
    const struct dialect_input *input;
    const struct dialect_sink *sink;
    struct params params;
    struct event common; /* what all its events have */
    struct pl_span visitor, placeholder;
    struct pl_span products[PRODUCTS_MAX];
    size_t product_count;
    struct json config;
    size_t offers;
    struct {
        struct json campaign, variant;
    } chosen[CAMPAIGNS_MAX];
    size_t chosen_count;
};

/* An edge keeps no sessions; clients want an id for one. It follows from the visitor (RFC 9562,
 * version 8), so that all edges give the same. */
static void session_of(struct pl_span visitor, char out[PL_UUID_TEXT])
{
    struct pl_id128 bits;
    for (uint32_t i = 0; i < 4; i++)
        pl_store_u32(bits.bytes + 4 * i, pl_murmur3_32(visitor, i + 1));
    pl_uuid_format(bits, 8, out);
}

static struct pl_span text_of(struct json object, const char *key)
{
    struct json value;
    struct pl_span text;
    return json_get(object, key, &value) && json_string(value, &text) ? text : pl_span(NULL, 0);
}

static bool is_control(struct json variant)
{
    struct json value;
    bool control = false;
    return json_get(variant, "control", &value) && json_bool(value, &control) && control;
}

/* ---- reading */

static enum pl_err read_products(struct request *r, struct pl_why *why)
{
    struct params products;
    products.count = 0;
    enum pl_err err = params_parse(&products, r->input->body, r->input->scratch, why);
    if (err != PL_OK)
        return err;
    for (size_t i = 0; i < products.count; i++) {
        if (products.list[i].value.len == 0)
            continue;
        if (products.list[i].value.len > LIMIT_ID_BYTES || r->product_count == PRODUCTS_MAX)
            return pl_fail(why, PL_ELIMIT, "at most %d products of at most %d bytes each",
                           PRODUCTS_MAX, LIMIT_ID_BYTES);
        r->products[r->product_count++] = products.list[i].value;
    }
    return PL_OK;
}

/* What has no field, of every offer: packed once, for there may be hundreds of offers. */
static enum pl_err set_props(struct request *r)
{
    struct pl_buf *scratch = r->input->scratch;
    struct event_packer packer = {.out = scratch};
    const size_t from = scratch->len;
    crobox_name_custom(&r->params);
    const size_t left = params_left(&r->params), placeholder = r->placeholder.len > 0;
    if (left + placeholder == 0)
        return PL_OK;
    event_pack_map(&packer, left + placeholder);
    if (placeholder > 0) {
        event_pack_str(&packer, PL_SPAN_LIT("vpid"));
        event_pack_str(&packer, r->placeholder);
    }
    params_pack_left(&r->params, &packer);
    event_set_pack(&r->common, EVENT_PROPS, pl_span(scratch->data + from, scratch->len - from));
    return packer.err;
}

static enum pl_err read_request(struct request *r, struct pl_why *why)
{
    const struct dialect_input *input = r->input;
    bool wrong_checksum;
    enum pl_err err = crobox_begin(input, r->sink, &r->params, &wrong_checksum, why);
    if (err != PL_OK)
        return err;
    event_clear(&r->common);
    (void)params_take(&r->params, "vpid", &r->placeholder);
    err = crobox_common(&r->params, &r->common, why);
    if (err != PL_OK)
        return err;
    r->visitor = event_str(&r->common, EVENT_VISITOR_ID);
    if (r->visitor.len == 0)
        return pl_fail_field(why, PL_EINVAL, "pid",
                             "pid is missing: promotions are decided for a visitor");
    if (wrong_checksum)
        event_set_str(&r->common, EVENT_WARNING, PL_SPAN_LIT("checksum"));
    if (input->referer.len > 0 && input->referer.len <= LIMIT_URL_BYTES &&
        pl_span_is_utf8(input->referer))
        event_set_str(&r->common, EVENT_PAGE_URL, input->referer);
    err = read_products(r, why);
    return err == PL_OK ? set_props(r) : err;
}

/* ---- deciding */

static void decide(struct request *r)
{
    struct json campaigns, campaign, variant;
    struct decide_page page = {
        .locale = event_str(&r->common, EVENT_LOCALE),
        .device = decide_device_of(r->input->user_agent),
        .now_ms = r->input->now_ms,
    };
    (void)decide_split_url(r->input->referer, &page);
    if (!json_get(r->config, "campaigns", &campaigns))
        return;
    struct json_iter each = json_elements(campaigns);
    while (r->chosen_count < CAMPAIGNS_MAX && json_next_element(&each, &campaign)) {
        if (!decide_fits(campaign, &page) || !decide_variant(campaign, r->visitor, &variant))
            continue;
        r->chosen[r->chosen_count].campaign = campaign;
        r->chosen[r->chosen_count++].variant = variant;
    }
}

/* ---- recording */

static enum pl_err record(struct request *r, size_t chosen, const char *offer_id,
                          struct pl_span product, struct pl_why *why)
{
    struct event *event = r->input->event;
    struct pl_buf *scratch = r->input->scratch;
    struct json version;
    uint64_t number;
    const struct pl_span principle = text_of(r->chosen[chosen].variant, "principle");
    *event = r->common;
    event_set_u64(event, EVENT_TYPE, EVENT_OFFER_SHOWN);
    event_set_str(event, EVENT_MESSAGE_ID, pl_span_str(offer_id));
    event_set_str(event, EVENT_OFFER_ID, pl_span_str(offer_id));
    event_set_str(event, EVENT_OFFER_CAMPAIGN, text_of(r->chosen[chosen].campaign, "id"));
    event_set_str(event, EVENT_OFFER_VARIANT, text_of(r->chosen[chosen].variant, "id"));
    if (principle.len > 0)
        event_set_str(event, EVENT_OFFER_PRINCIPLE, principle);
    if (json_get(r->config, "version", &version) && json_u64(version, &number))
        event_set_u64(event, EVENT_OFFER_CONFIG_VERSION, number);
    const size_t before = scratch->len;
    struct event_packer packer = {.out = scratch};
    if (product.len > 0) {
        event_pack_array(&packer, 1);
        event_pack_map(&packer, 1);
        event_pack_str(&packer, PL_SPAN_LIT("sku"));
        event_pack_str(&packer, product);
        event_set_pack(event, EVENT_ITEMS, pl_span(scratch->data + before, scratch->len - before));
    }
    enum pl_err err = packer.err;
    if (err == PL_OK)
        err = r->sink->emit(r->sink->ctx, event, why);
    scratch->len = before;
    r->offers++;
    return err;
}

/* ---- answering */

/* Crobox' own ids are numbers, and its clients take nothing else; ours are words. */
static void write_id(struct json_writer *w, const char *key, struct pl_span id)
{
    uint64_t number;
    json_write_key(w, key);
    if (pl_span_to_u64(id, &number))
        json_write_u64(w, number);
    else
        json_write_string(w, id);
}

static void write_text(struct json_writer *w, const char *key, struct pl_span text)
{
    json_write_key(w, key);
    json_write_string(w, text);
}

static void write_context(struct request *r, struct json_writer *w)
{
    char session[PL_UUID_TEXT];
    session_of(r->visitor, session);
    json_write_key(w, "context");
    json_write_object(w);
    write_text(w, "pid", r->visitor);
    json_write_pair_text(w, "sid", session);
    json_write_key(w, "groupName");
    json_write_null(w);
    json_write_key(w, "experiments");
    json_write_array(w);
    for (size_t i = 0; i < r->chosen_count; i++) {
        const struct pl_span id = text_of(r->chosen[i].campaign, "id");
        const struct pl_span variant = text_of(r->chosen[i].variant, "id");
        json_write_object(w);
        write_text(w, "id", id);
        write_text(w, "name", id);
        write_text(w, "variantId", variant);
        write_text(w, "variantName", variant);
        json_write_pair_bool(w, "control", is_control(r->chosen[i].variant));
        json_write_object_end(w);
    }
    json_write_array_end(w);
    json_write_object_end(w);
}

/* An "event" modification tells a component of the site what to show; of any other the client gets
 * what the snippet would do. */
static void write_content(struct json modification, struct json_writer *w)
{
    static const char *const keys[] = {"selector", "name", "value"};
    const bool event = pl_span_eq_str(text_of(modification, "type"), "event");
    json_write_key(w, "content");
    json_write_object(w);
    write_text(w, "id", text_of(modification, event ? "name" : "selector"));
    write_text(w, "component", text_of(modification, event ? "name" : "type"));
    json_write_key(w, "config");
    json_write_object(w);
    for (size_t i = event ? 2 : 0; i < 3; i++)
        if (text_of(modification, keys[i]).len > 0)
            write_text(w, keys[i], text_of(modification, keys[i]));
    json_write_object_end(w);
    json_write_object_end(w);
}

static void write_promotion(struct request *r, size_t chosen, const char *offer_id,
                            struct pl_span product, struct json modification, struct json_writer *w)
{
    const struct pl_span campaign = text_of(r->chosen[chosen].campaign, "id");
    json_write_object(w);
    json_write_pair_text(w, "id", offer_id);
    write_id(w, "campaignId", campaign);
    write_id(w, "experimentId", campaign);
    write_id(w, "variantId", text_of(r->chosen[chosen].variant, "id"));
    json_write_key(w, "productId");
    if (product.len > 0)
        json_write_string(w, product);
    else
        json_write_null(w);
    write_content(modification, w);
    json_write_key(w, "parameters");
    json_write_object(w);
    json_write_object_end(w);
    json_write_object_end(w);
}

static enum pl_err offer(struct request *r, size_t chosen, struct pl_span product,
                         struct json_writer *w, struct pl_why *why)
{
    struct json modifications, modification;
    char offer_id[PL_UUID_TEXT];
    /* The control group is shown nothing, and counted, so that it can be compared. */
    const bool control = is_control(r->chosen[chosen].variant);
    if (!control) {
        if (!json_get(r->chosen[chosen].variant, "modifications", &modifications))
            return PL_OK;
        struct json_iter each = json_elements(modifications);
        if (!json_next_element(&each, &modification))
            return PL_OK;
    }
    enum pl_err err = pl_uuid4(pl_random_system(), offer_id);
    if (err != PL_OK)
        return pl_fail(why, err, "no randomness for an offer's id");
    if (!control)
        write_promotion(r, chosen, offer_id, product, modification, w);
    return record(r, chosen, offer_id, product, why);
}

static enum pl_err answer(struct request *r, struct pl_buf *body, struct pl_why *why)
{
    struct json_writer *w = r->input->writer;
    enum pl_err err = PL_OK;
    json_writer_begin(w, body);
    json_write_object(w);
    write_context(r, w);
    json_write_key(w, "promotions");
    json_write_array(w);
    for (size_t c = 0; c < r->chosen_count && err == PL_OK; c++) {
        if (r->product_count == 0)
            err = offer(r, c, pl_span(NULL, 0), w, why);
        for (size_t p = 0; p < r->product_count && err == PL_OK; p++)
            err = offer(r, c, r->products[p], w, why);
    }
    json_write_array_end(w);
    json_write_object_end(w);
    const enum pl_err end = json_writer_end(w);
    return err != PL_OK ? err : end;
}

enum pl_err crobox_decode_promotions(const struct dialect_input *input,
                                     const struct dialect_sink *sink,
                                     struct dialect_outcome *outcome, struct pl_why *why)
{
    struct request r = {.input = input, .sink = sink};
    enum pl_err err = read_request(&r, why);
    if (err == PL_OK)
        err = json_parse(input->json_nested, sink->config(sink->ctx), &r.config, why);
    if (err != PL_OK)
        return err;
    decide(&r);
    err = answer(&r, outcome->body, why);
    if (err == PL_ELIMIT && why->err != err)
        return pl_fail(why, err, "more offers than one request may be answered with");
    return err;
}
