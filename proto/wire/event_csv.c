#include "proto/wire/event_text.h"

#include <inttypes.h>
#include <stdio.h>

/* RFC 4180 section 2: quotes around what holds quotes, commas or line ends; quotes doubled. */
static bool needs_quotes(struct pl_span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] == '"' || text.data[i] == ',' || text.data[i] == '\r' ||
            text.data[i] == '\n')
            return true;
    return false;
}

static bool looks_like_formula(struct pl_span text)
{
    return text.len > 0 && memchr("=+-@\t\r\n", text.data[0], 7) != NULL;
}

static enum pl_err put_quoted(struct pl_buf *out, struct pl_span text)
{
    enum pl_err err = PL_OK;
    while (err == PL_OK && text.len > 0) {
        const uint8_t *quote = memchr(text.data, '"', text.len);
        size_t len = quote == NULL ? text.len : (size_t)(quote - text.data) + 1;
        err = pl_buf_append(out, text.data, len);
        if (err == PL_OK && quote != NULL)
            err = pl_buf_put_u8(out, '"');
        text = pl_span_from(text, len);
    }
    return err;
}

static enum pl_err put_text(struct pl_buf *out, struct pl_span text)
{
    bool formula = looks_like_formula(text), quotes = needs_quotes(text);
    enum pl_err err = quotes ? pl_buf_put_u8(out, '"') : PL_OK;
    if (err == PL_OK && formula)
        err = pl_buf_put_u8(out, '\'');
    if (err == PL_OK)
        err = quotes ? put_quoted(out, text) : pl_buf_append_span(out, text);
    return err == PL_OK && quotes ? pl_buf_put_u8(out, '"') : err;
}

/* What JSON has a form for. */
static enum pl_err put_json(struct json_writer *w, const union event_value *value,
                            enum event_kind kind, struct pl_buf *out)
{
    struct pl_buf json;
    pl_buf_init(&json, out->max_bytes);
    json_writer_begin(w, &json);
    enum pl_err err = PL_OK, end;
    if (kind == EVENT_KIND_F64)
        json_write_f64(w, value->f64);
    else
        err = json_write_msgpack(w, value->str);
    end = json_writer_end(w);
    err = err != PL_OK ? err : end;
    struct pl_span text = pl_buf_span(&json);
    if (err == PL_OK && kind == EVENT_KIND_F64)
        err = pl_buf_append_span(out, text);
    else if (err == PL_OK)
        err = put_text(out, text);
    pl_buf_wipe(&json);
    return err;
}

static enum pl_err put_cell(unsigned field, const union event_value *value, struct json_writer *w,
                            struct pl_buf *out)
{
    char text[EVENT_TEXT_BYTES];
    if (event_text_value(field, value, text))
        return pl_buf_append_str(out, text);
    switch (event_fields[field].kind) {
    case EVENT_KIND_STR:
        return put_text(out, value->str);
    case EVENT_KIND_U64:
        return pl_buf_appendf(out, "%" PRIu64, value->u64);
    case EVENT_KIND_I64:
        return pl_buf_appendf(out, "%" PRId64, value->i64);
    case EVENT_KIND_F64:
    case EVENT_KIND_PACK:
        return put_json(w, value, event_fields[field].kind, out);
    case EVENT_KIND_NONE:
        break;
    }
    return PL_EINVAL;
}

enum pl_err event_write_csv(const struct event *event, struct json_writer *w, struct pl_buf *out)
{
    size_t before = out->len;
    enum pl_err err = PL_OK;
    bool first = true;
    for (unsigned f = 0; err == PL_OK && f < EVENT_FIELD_LIMIT; f++) {
        if (event_fields[f].kind == EVENT_KIND_NONE)
            continue;
        if (!first)
            err = pl_buf_put_u8(out, ',');
        if (err == PL_OK && event_has(event, f))
            err = put_cell(f, &event->value[f], w, out);
        first = false;
    }
    if (err != PL_OK)
        out->len = before;
    return err;
}

enum pl_err event_write_csv_header(struct pl_buf *out)
{
    size_t before = out->len;
    enum pl_err err = PL_OK;
    for (unsigned f = 0; err == PL_OK && f < EVENT_FIELD_LIMIT; f++) {
        if (event_fields[f].kind == EVENT_KIND_NONE)
            continue;
        if (out->len > before)
            err = pl_buf_put_u8(out, ',');
        if (err == PL_OK)
            err = put_text(out, event_text_name(pl_span_str(event_fields[f].name)));
    }
    if (err != PL_OK)
        out->len = before;
    return err;
}
