#include "proto/wire/event_text.h"

#include "proto/base/clock.h"
#include "proto/base/id.h"

#include <stdio.h>

static const struct pl_span time_suffix = PL_SPAN_INIT("_ms");

static bool is_time(struct pl_span name)
{
    return name.len > time_suffix.len &&
           pl_span_eq(pl_span_from(name, name.len - time_suffix.len), time_suffix);
}

struct pl_span event_text_name(struct pl_span name)
{
    return is_time(name) ? pl_span(name.data, name.len - time_suffix.len) : name;
}

static void put_enum(uint64_t v, const char *name, char out[EVENT_TEXT_BYTES])
{
    if (name != NULL)
        snprintf(out, EVENT_TEXT_BYTES, "%s", name);
    else
        snprintf(out, EVENT_TEXT_BYTES, "%llu", (unsigned long long)v);
}

bool event_text_value(unsigned field, const union event_value *value, char out[EVENT_TEXT_BYTES])
{
    const uint64_t v = value->u64;
    switch (field) {
    case EVENT_ACCOUNT:
        pl_account_format(v, out);
        return true;
    case EVENT_TYPE:
        put_enum(v, v < EVENT_TYPE_COUNT ? event_type_name((enum event_type)v) : NULL, out);
        return true;
    case EVENT_DIALECT:
        put_enum(v, v < EVENT_DIALECT_COUNT ? event_dialect_name((enum event_dialect)v) : NULL,
                 out);
        return true;
    default:
        if (event_fields[field].kind != EVENT_KIND_I64 ||
            !is_time(pl_span_str(event_fields[field].name)))
            return false;
        pl_time_format(value->i64, out);
        return true;
    }
}
