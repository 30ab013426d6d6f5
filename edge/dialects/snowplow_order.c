#include "edge/dialects/snowplow_parts.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))
#define RENAMED_MAX  16

static const struct param_home order_homes[] = {
    {PL_SPAN_INIT("tr_id"), EVENT_ORDER_ID},
    {PL_SPAN_INIT("tr_tt"), EVENT_TOTAL},
    {PL_SPAN_INIT("tr_tx"), EVENT_TAX},
    {PL_SPAN_INIT("tr_sh"), EVENT_SHIPPING},
    {PL_SPAN_INIT("tr_cu"), EVENT_CURRENCY},
    {PL_SPAN_INIT("tr_af"), EVENT_AFFILIATION},
    {{0}, 0},
};

/* A parameter under the name, and as the type, that it has in the event. */
struct rename {
    struct pl_span from, to;
    bool number;
};
static const struct rename prop_names[] = {
    {PL_SPAN_INIT("se_ca"), PL_SPAN_INIT("category"), false},
    {PL_SPAN_INIT("se_ac"), PL_SPAN_INIT("action"), false},
    {PL_SPAN_INIT("se_la"), PL_SPAN_INIT("label"), false},
    {PL_SPAN_INIT("se_pr"), PL_SPAN_INIT("property"), false},
    {PL_SPAN_INIT("se_va"), PL_SPAN_INIT("value"), true},
    /* as old trackers have it */
    {PL_SPAN_INIT("ev_ca"), PL_SPAN_INIT("category"), false},
    {PL_SPAN_INIT("ev_ac"), PL_SPAN_INIT("action"), false},
    {PL_SPAN_INIT("ev_la"), PL_SPAN_INIT("label"), false},
    {PL_SPAN_INIT("ev_pr"), PL_SPAN_INIT("property"), false},
    {PL_SPAN_INIT("ev_va"), PL_SPAN_INIT("value"), true},
    {PL_SPAN_INIT("pp_mix"), PL_SPAN_INIT("pp_mix"), true},
    {PL_SPAN_INIT("pp_max"), PL_SPAN_INIT("pp_max"), true},
    {PL_SPAN_INIT("pp_miy"), PL_SPAN_INIT("pp_miy"), true},
    {PL_SPAN_INIT("pp_may"), PL_SPAN_INIT("pp_may"), true},
};
static const struct rename item_names[] = {
    {PL_SPAN_INIT("ti_sk"), PL_SPAN_INIT("sku"), false},
    {PL_SPAN_INIT("ti_nm"), PL_SPAN_INIT("name"), false},
    {PL_SPAN_INIT("ti_na"), PL_SPAN_INIT("name"), false},
    {PL_SPAN_INIT("ti_ca"), PL_SPAN_INIT("category"), false},
    {PL_SPAN_INIT("ti_pr"), PL_SPAN_INIT("price"), true},
    {PL_SPAN_INIT("ti_qu"), PL_SPAN_INIT("quantity"), true},
    {PL_SPAN_INIT("ti_cu"), PL_SPAN_INIT("currency"), false},
};

/* ---- packing parameters */

struct renamed {
    size_t count;
    struct {
        const struct rename *name;
        struct pl_span text;
    } list[RENAMED_MAX];
};

static void take_renamed(struct params *params, const struct rename *names, size_t count,
                         struct renamed *renamed)
{
    struct pl_span text;
    renamed->count = 0;
    for (size_t i = 0; i < count; i++) {
        bool said = false;
        for (size_t j = 0; j < renamed->count; j++)
            said |= pl_span_eq(renamed->list[j].name->to, names[i].to);
        if (said || !params_take(params, (const char *)names[i].from.data, &text))
            continue;
        renamed->list[renamed->count].name = &names[i];
        renamed->list[renamed->count++].text = text;
    }
}

static void pack_renamed(const struct renamed *renamed, struct event_packer *packer)
{
    int64_t whole;
    double number;
    for (size_t i = 0; i < renamed->count; i++) {
        const struct rename *name = renamed->list[i].name;
        const struct pl_span text = renamed->list[i].text;
        event_pack_str(packer, name->to);
        if (name->number && pl_span_to_i64(text, &whole))
            event_pack_i64(packer, whole);
        else if (name->number && param_f64(text, &number))
            event_pack_f64(packer, number);
        else
            event_pack_str(packer, text);
    }
}

enum pl_err snowplow_set_props(struct snowplow_work *work)
{
    struct event_packer packer = {.out = work->take.scratch};
    struct renamed renamed;
    const size_t from = packer.out->len;
    take_renamed(&work->params, prop_names, COUNT(prop_names), &renamed);
    const size_t count = renamed.count + params_left(&work->params);
    if (count == 0)
        return PL_OK;
    event_pack_map(&packer, count);
    pack_renamed(&renamed, &packer);
    params_pack_left(&work->params, &packer);
    event_set_pack(work->take.event, EVENT_PROPS,
                   pl_span(packer.out->data + from, packer.out->len - from));
    return packer.err;
}

enum pl_err snowplow_take_order(struct snowplow_work *work)
{
    return snowplow_take_homes(work, order_homes);
}

enum pl_err snowplow_take_item(struct snowplow_work *work)
{
    static const struct param_home item_homes[] = {
        {PL_SPAN_INIT("ti_id"), EVENT_ORDER_ID},
        {{0}, 0},
    };
    struct event_packer packer = {.out = work->take.scratch};
    const size_t from = packer.out->len;
    struct renamed renamed;
    struct pl_span currency;
    enum pl_err err = snowplow_take_homes(work, item_homes);
    if (params_peek(&work->params, "ti_cu", &currency))
        event_set_str(work->take.event, EVENT_CURRENCY, currency);
    take_renamed(&work->params, item_names, COUNT(item_names), &renamed);
    event_pack_array(&packer, 1);
    event_pack_map(&packer, renamed.count);
    pack_renamed(&renamed, &packer);
    event_set_pack(work->take.event, EVENT_ITEMS,
                   pl_span(packer.out->data + from, packer.out->len - from));
    return err == PL_OK ? packer.err : err;
}
