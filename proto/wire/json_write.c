#include "proto/wire/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <yajl/yajl_gen.h>

struct json_writer {
    yajl_gen gen;
    struct pl_buf *out;
    enum pl_err err;
    unsigned depth;
    bool complete;
};

static void print(void *writer, const char *text, size_t len)
{
    struct json_writer *w = writer;
    if (w->err == PL_OK && len > w->out->cap - w->out->len)
        w->err = pl_buf_reserve(w->out, len);
    if (w->err != PL_OK)
        return;
    /* Most of what yajl prints is one quote, comma or colon. */
    if (len == 1)
        w->out->data[w->out->len] = (uint8_t)text[0];
    else
        memcpy(w->out->data + w->out->len, text, len);
    w->out->len += len;
}

enum pl_err json_writer_new(struct json_writer **out, bool pretty)
{
    struct json_writer *w = calloc(1, sizeof(*w));
    if (w == NULL)
        return PL_ENOMEM;
    w->gen = yajl_gen_alloc(NULL);
    if (w->gen == NULL) {
        free(w);
        return PL_ENOMEM;
    }
    yajl_gen_config(w->gen, yajl_gen_print_callback, print, w);
    yajl_gen_config(w->gen, yajl_gen_beautify, pretty ? 1 : 0);
    yajl_gen_config(w->gen, yajl_gen_indent_string, "  ");
    w->err = PL_EINVAL; /* nothing begun */
    *out = w;
    return PL_OK;
}

void json_writer_free(struct json_writer *w)
{
    if (w == NULL)
        return;
    yajl_gen_free(w->gen);
    free(w);
}

void json_writer_begin(struct json_writer *w, struct pl_buf *out)
{
    yajl_gen_reset(w->gen, NULL);
    w->out = out;
    w->err = PL_OK;
    w->depth = 0;
    w->complete = false;
}

enum pl_err json_writer_end(struct json_writer *w)
{
    enum pl_err err = w->err;
    if (err == PL_OK && !w->complete)
        err = PL_EINVAL;
    w->err = PL_EINVAL;
    return err;
}

static void took(struct json_writer *w, yajl_gen_status status)
{
    if (w->err != PL_OK)
        return;
    if (status == yajl_max_depth_exceeded)
        w->err = PL_ELIMIT;
    else if (status != yajl_gen_status_ok)
        w->err = PL_EINVAL; /* a key that is no string, or a second value */
    else if (w->depth == 0)
        w->complete = true;
}

void json_write_object(struct json_writer *w)
{
    if (w->err != PL_OK)
        return;
    w->depth++;
    took(w, yajl_gen_map_open(w->gen));
}

void json_write_array(struct json_writer *w)
{
    if (w->err != PL_OK)
        return;
    w->depth++;
    took(w, yajl_gen_array_open(w->gen));
}

/* yajl would count below zero. */
static bool may_close(struct json_writer *w)
{
    if (w->err == PL_OK && w->depth == 0)
        w->err = PL_EINVAL;
    if (w->err != PL_OK)
        return false;
    w->depth--;
    return true;
}

void json_write_object_end(struct json_writer *w)
{
    if (may_close(w))
        took(w, yajl_gen_map_close(w->gen));
}

void json_write_array_end(struct json_writer *w)
{
    if (may_close(w))
        took(w, yajl_gen_array_close(w->gen));
}

void json_write_string(struct json_writer *w, struct pl_span text)
{
    if (w->err != PL_OK)
        return;
    /* Not yajl's own check, which lets surrogates and overlong forms pass. */
    if (!pl_span_is_utf8(text))
        w->err = PL_EINVAL;
    else
        took(w, yajl_gen_string(w->gen, text.len == 0 ? (const uint8_t *)"" : text.data, text.len));
}

void json_write_text(struct json_writer *w, const char *text)
{
    json_write_string(w, pl_span_str(text));
}

/* yajl knows by itself whether a string is a key. */
void json_write_key_span(struct json_writer *w, struct pl_span name)
{
    json_write_string(w, name);
}

void json_write_key(struct json_writer *w, const char *name)
{
    json_write_string(w, pl_span_str(name));
}

void json_write_raw(struct json_writer *w, struct pl_span text)
{
    /* yajl writes a "number" as it stands, with the separators it needs. */
    if (w->err == PL_OK)
        took(w, yajl_gen_number(w->gen, (const char *)text.data, text.len));
}

void json_write_i64(struct json_writer *w, int64_t v)
{
    if (w->err == PL_OK)
        took(w, yajl_gen_integer(w->gen, v));
}

void json_write_u64(struct json_writer *w, uint64_t v)
{
    char digits[24];
    int len = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)v);
    json_write_raw(w, pl_span(digits, (size_t)len));
}

void json_write_f64(struct json_writer *w, double v)
{
    if (!isfinite(v)) {
        json_write_null(w);
        return;
    }
    char digits[32];
    int len = 0;
    for (int precision = 15; precision <= 17; precision++) {
        len = snprintf(digits, sizeof(digits), "%.*g", precision, v);
        if (strtod(digits, NULL) == v)
            break;
    }
    json_write_raw(w, pl_span(digits, (size_t)len));
}

void json_write_bool(struct json_writer *w, bool v)
{
    if (w->err == PL_OK)
        took(w, yajl_gen_bool(w->gen, v));
}

void json_write_null(struct json_writer *w)
{
    if (w->err == PL_OK)
        took(w, yajl_gen_null(w->gen));
}

void json_write_pair_text(struct json_writer *w, const char *name, const char *text)
{
    json_write_key(w, name);
    json_write_text(w, text);
}

void json_write_pair_i64(struct json_writer *w, const char *name, int64_t v)
{
    json_write_key(w, name);
    json_write_i64(w, v);
}

void json_write_pair_u64(struct json_writer *w, const char *name, uint64_t v)
{
    json_write_key(w, name);
    json_write_u64(w, v);
}

void json_write_pair_bool(struct json_writer *w, const char *name, bool v)
{
    json_write_key(w, name);
    json_write_bool(w, v);
}
