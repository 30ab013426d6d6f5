#include "origin/api/export_query.h"

#include "origin/request.h"
#include "proto/base/text.h"

#include <stdio.h>

#define TYPES_BYTES 512

enum pl_err api_query_only(const struct api_call *call, const char *const *names,
                           struct pl_why *why)
{
    struct pl_span rest = pl_buf_span(&call->query), name, value;
    while (pl_form_next(&rest, &name, &value)) {
        const char *const *known = names;
        while (*known != NULL && !pl_span_eq_str(name, *known))
            known++;
        if (*known == NULL) {
            char field[64];
            snprintf(field, sizeof(field), "%.*s", (int)(name.len < 60 ? name.len : 60),
                     (const char *)name.data);
            return pl_fail_field(why, PL_EINVAL, field, "%s is not a parameter of this request",
                                 field);
        }
        if (pl_form_find(rest, *known, &value))
            return pl_fail_field(why, PL_EINVAL, *known, "%s is named twice", *known);
    }
    return PL_OK;
}

/* A parameter's text; *len 0: there is none. */
static enum pl_err read_text(struct api_call *call, const char *name, char *out, size_t size,
                             size_t *len, struct pl_why *why)
{
    struct pl_span text;
    struct pl_buf plain;
    *len = 0;
    if (!pl_form_find(pl_buf_span(&call->query), name, &text))
        return PL_OK;
    pl_buf_init(&plain, size);
    enum pl_err err = pl_form_decode(text, &plain);
    if (err == PL_OK && plain.len > 0) {
        memcpy(out, plain.data, plain.len);
        *len = plain.len;
    } else {
        err = pl_fail_field(why, err == PL_ELIMIT ? err : PL_EINVAL, name, "%s is %s", name,
                            err == PL_ELIMIT ? "too long" : "malformed");
    }
    pl_buf_release(&plain);
    return err;
}

enum pl_err api_read_day(struct api_call *call, const char *name, int64_t *day, struct pl_why *why)
{
    char text[16];
    size_t len;
    int64_t wall_ms;
    enum pl_err err = read_text(call, name, text, sizeof(text), &len, why);
    if (err == PL_OK && len == 0)
        return PL_OK;
    if (err != PL_OK || len != strlen("2026-11-22") || !pl_time_parse(pl_span(text, len), &wall_ms))
        return pl_fail_field(why, PL_EINVAL, name, "%s must be a day like 2026-11-22", name);
    *day = pl_day_of(wall_ms);
    return PL_OK;
}

static enum pl_err read_types(struct api_call *call, uint64_t *types, struct pl_why *why)
{
    char text[TYPES_BYTES];
    size_t len;
    enum pl_err err = read_text(call, "type", text, sizeof(text), &len, why);
    if (err != PL_OK || len == 0)
        return err;
    struct pl_span rest = pl_span(text, len);
    *types = 0;
    do {
        const uint8_t *comma = memchr(rest.data, ',', rest.len);
        size_t part = comma == NULL ? rest.len : (size_t)(comma - rest.data);
        enum event_type type;
        if (!event_type_parse(pl_span(rest.data, part), &type))
            return pl_fail_field(why, PL_EINVAL, "type", "there is no type '%.*s' of events",
                                 (int)(part < 40 ? part : 40), (const char *)rest.data);
        *types |= UINT64_C(1) << type;
        rest = comma == NULL ? pl_span(NULL, 0) : pl_span_from(rest, part + 1);
        if (comma != NULL && rest.len == 0)
            return pl_fail_field(why, PL_EINVAL, "type", "type ends with a comma");
    } while (rest.len > 0);
    return PL_OK;
}

/* One of a few words; *index stays where there is none. */
static enum pl_err read_word(struct api_call *call, const char *name, const char *const *words,
                             size_t count, size_t *index, struct pl_why *why)
{
    char text[16];
    size_t len;
    enum pl_err err = read_text(call, name, text, sizeof(text), &len, why);
    if (err == PL_OK && len == 0)
        return PL_OK;
    for (size_t i = 0; err == PL_OK && i < count; i++)
        if (pl_span_eq_str(pl_span(text, len), words[i])) {
            *index = i;
            return PL_OK;
        }
    return pl_fail_field(why, PL_EINVAL, name, "%s can be %s%s%s only", name, words[0],
                         count > 1 ? " or " : "", count > 1 ? words[1] : "");
}

static enum pl_err read_visitor(struct api_worker *worker, struct api_call *call,
                                struct export_request *r, struct pl_why *why)
{
    static const char *const members[] = {"visitor", NULL};
    struct json body, visitor;
    struct pl_span text = {NULL, 0};
    if (pl_form_find(pl_buf_span(&call->query), "visitor", &text))
        return pl_fail_field(why, PL_EINVAL, "visitor",
                             "visitor goes into the body of a POST, {\"visitor\":ID}: addresses "
                             "are written into logs");
    enum pl_err err = api_body(worker, call, &body, why);
    if (err == PL_OK)
        err = request_only(body, members, why);
    if (err != PL_OK || !json_get(body, "visitor", &visitor))
        return err;
    if (!json_string(visitor, &text) || text.len == 0)
        return pl_fail_field(why, PL_EINVAL, "visitor", "visitor must be text that is not empty");
    if (text.len > sizeof(r->visitor))
        return pl_fail_field(why, PL_ELIMIT, "visitor", "visitor is too long");
    memcpy(r->visitor, text.data, text.len);
    r->visitor_len = text.len;
    return PL_OK;
}

enum pl_err api_export_query(struct api_worker *worker, struct api_call *call,
                             struct api_export_query *out, struct pl_why *why)
{
    static const char *const names[] = {"from",   "to",    "type",    "include", "format",
                                        "cursor", "marks", "visitor", NULL};
    static const char *const formats[] = {"ndjson", "csv"}, *const includes[] = {"tally"},
                             *const marks[] = {"false", "true"};
    struct export_request *r = &out->request;
    size_t format = 0, include = 1, marked = 0;
    *r = export_request_of(call->target.account, 0, VAULT_DAY_MAX);
    enum pl_err err = api_query_only(call, names, why);
    if (err == PL_OK)
        err = api_read_day(call, "from", &r->first_day, why);
    if (err == PL_OK)
        err = api_read_day(call, "to", &r->last_day, why);
    if (err == PL_OK)
        err = read_types(call, &r->types, why);
    if (err == PL_OK)
        err = read_word(call, "include", includes, 1, &include, why);
    if (err == PL_OK)
        err = read_visitor(worker, call, r, why);
    if (err == PL_OK)
        err = read_word(call, "format", formats, 2, &format, why);
    if (err == PL_OK)
        err = read_word(call, "marks", marks, 2, &marked, why);
    if (err == PL_OK)
        err = read_text(call, "cursor", out->cursor, sizeof(out->cursor), &out->cursor_len, why);
    if (include == 0)
        r->types |= UINT64_C(1) << EVENT_TALLY;
    r->format = format == 1 ? EXPORT_CSV : EXPORT_NDJSON;
    out->marks = marked == 1;
    return err;
}
