#include "edge/dialects/params.h"
#include "proto/base/text.h"
#include "proto/wire/limits.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define NUMBER_BYTES_MAX 48 /* longer ones are no prices, and stay text */

static enum pl_err refuse(struct pl_why *why, enum pl_err err, struct pl_span name,
                          const char *what)
{
    char field[96];
    snprintf(field, sizeof(field), "%.*s", (int)(name.len > 64 ? 64 : name.len),
             (const char *)name.data);
    return pl_fail_field(why, err, field, "%s %s", field, what);
}

static enum pl_err decode(struct pl_span encoded, struct pl_buf *scratch, struct pl_span *out)
{
    const size_t from = scratch->len;
    enum pl_err err = pl_form_decode(encoded, scratch);
    if (err != PL_OK)
        return err;
    *out = pl_span(scratch->data + from, scratch->len - from);
    return pl_span_is_utf8(*out) ? PL_OK : PL_EINVAL;
}

enum pl_err params_parse(struct params *params, struct pl_span encoded, struct pl_buf *scratch,
                         struct pl_why *why)
{
    struct pl_span name, value;
    while (pl_form_next(&encoded, &name, &value)) {
        struct param *param = &params->list[params->count];
        if (params->count == PARAMS_MAX)
            return pl_fail(why, PL_ELIMIT, "more than %d parameters", PARAMS_MAX);
        enum pl_err err = decode(name, scratch, &param->name);
        if (err == PL_EINVAL)
            return pl_fail(why, err, "parameter %zu has a name that is not percent-encoded UTF-8",
                           params->count + 1);
        if (err == PL_OK)
            err = decode(value, scratch, &param->value);
        if (err == PL_EINVAL)
            return refuse(why, err, param->name, "is not percent-encoded UTF-8");
        if (err != PL_OK)
            return pl_fail(why, err, "the parameters are longer than an edge takes");
        param->taken = false;
        params->count++;
    }
    return PL_OK;
}

static const struct param *find(const struct params *params, struct pl_span name)
{
    for (size_t i = 0; i < params->count; i++) {
        const struct param *param = &params->list[i];
        /* Short names of one length are the rule: one byte tells most of them apart. */
        if (!param->taken && param->value.len > 0 && param->name.len == name.len &&
            param->name.data[0] == name.data[0] && pl_span_eq(param->name, name))
            return param;
    }
    return NULL;
}

bool params_peek(const struct params *params, const char *name, struct pl_span *value)
{
    const struct param *param = find(params, pl_span_str(name));
    if (param != NULL)
        *value = param->value;
    return param != NULL;
}

bool params_take(struct params *params, const char *name, struct pl_span *value)
{
    const struct param *param = find(params, pl_span_str(name));
    if (param == NULL)
        return false;
    params->list[param - params->list].taken = true;
    *value = param->value;
    return true;
}

bool param_f64(struct pl_span text, double *out)
{
    char digits[NUMBER_BYTES_MAX + 1];
    char *end;
    if (text.len == 0 || text.len > NUMBER_BYTES_MAX)
        return false;
    /* strtod reads hexadecimal, "inf" and leading blanks as well, which no client means. */
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] == 0 || strchr("0123456789+-.eE", text.data[i]) == NULL)
            return false;
    memcpy(digits, text.data, text.len);
    digits[text.len] = '\0';
    const double value = strtod(digits, &end);
    if (*end != '\0' || !isfinite(value))
        return false;
    *out = value;
    return true;
}

static bool is_id(enum event_field field)
{
    switch (field) {
    case EVENT_MESSAGE_ID:
    case EVENT_VISITOR_ID:
    case EVENT_USER_ID:
    case EVENT_SESSION_ID:
    case EVENT_PREVIOUS_ID:
    case EVENT_GROUP_ID:
    case EVENT_NETWORK_ID:
    case EVENT_VIEW_ID:
        return true;
    default:
        return false;
    }
}

static bool set(struct event *event, enum event_field field, struct pl_span text)
{
    uint64_t whole;
    int64_t time;
    double number;
    switch (event_fields[field].kind) {
    case EVENT_KIND_STR:
        event_set_str(event, field, text);
        return true;
    case EVENT_KIND_U64:
        if (!pl_span_to_u64(text, &whole))
            return false;
        event_set_u64(event, field, whole);
        return true;
    case EVENT_KIND_I64:
        if (!pl_span_to_i64(text, &time))
            return false;
        event_set_i64(event, field, time);
        return true;
    case EVENT_KIND_F64:
        if (!param_f64(text, &number))
            return false;
        event_set_f64(event, field, number);
        return true;
    default:
        return false;
    }
}

enum pl_err params_take_homes(struct params *params, const struct param_home *homes,
                              struct event *event, struct pl_why *why)
{
    for (; homes->name.len > 0; homes++) {
        const struct param *param = find(params, homes->name);
        if (param == NULL || event_has(event, homes->field))
            continue;
        if (is_id(homes->field) && param->value.len > LIMIT_ID_BYTES)
            return refuse(why, PL_ELIMIT, homes->name, "is longer than 256 bytes");
        params->list[param - params->list].taken = set(event, homes->field, param->value);
    }
    return PL_OK;
}

size_t params_left(const struct params *params)
{
    size_t left = 0;
    for (size_t i = 0; i < params->count; i++)
        left += !params->list[i].taken;
    return left;
}

/* Which of its name this is among those left, from 1. */
static size_t ordinal(const struct params *params, size_t index)
{
    size_t nth = 1;
    for (size_t i = 0; i < index; i++)
        nth += !params->list[i].taken && pl_span_eq(params->list[i].name, params->list[index].name);
    return nth;
}

void params_pack_left(const struct params *params, struct event_packer *packer)
{
    for (size_t i = 0; i < params->count; i++) {
        const struct param *param = &params->list[i];
        char name[LIMIT_NAME_BYTES];
        if (param->taken)
            continue;
        const size_t nth = ordinal(params, i);
        if (nth == 1 || param->name.len > sizeof(name) - 8) {
            event_pack_str(packer, param->name);
        } else {
            const int len = snprintf(name, sizeof(name), "%.*s[%zu]", (int)param->name.len,
                                     (const char *)param->name.data, nth);
            event_pack_str(packer, pl_span(name, (size_t)len));
        }
        event_pack_str(packer, param->value);
    }
}

enum pl_err params_leave(const struct params *params, struct pl_buf *scratch, struct event *event)
{
    const size_t left = params_left(params), from = scratch->len;
    struct event_packer packer = {.out = scratch};
    if (left == 0)
        return PL_OK;
    event_pack_map(&packer, left);
    params_pack_left(params, &packer);
    event_set_pack(event, EVENT_PROPS, pl_span(scratch->data + from, scratch->len - from));
    return packer.err;
}
