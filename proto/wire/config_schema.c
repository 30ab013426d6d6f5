#include "proto/wire/config.h"

#include "proto/wire/config_shape.h"

#include <ctype.h>

/* A pattern is ECMA-262's, with the u flag; all that stands in one is ASCII. */
#define PATTERN_BYTES_MAX 1024

#define TIME_PATTERN                                                                               \
    "^\\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\\d|3[01])[Tt](?:[01]\\d|2[0-3]):[0-5]\\d:"           \
    "(?:[0-5]\\d|60)(?:\\.\\d+)?(?:[Zz]|[+-](?:[01]\\d|2[0-3]):[0-5]\\d)$"

/* ---- patterns */

static void put_literal(struct pl_buf *out, const char *text, bool nocase)
{
    for (; *text != '\0'; text++) {
        char c = *text;
        if (nocase && isalpha((unsigned char)c))
            pl_buf_appendf(out, "[%c%c]", tolower((unsigned char)c), toupper((unsigned char)c));
        else if (strchr("^$\\.*+?()[]{}|/", c) != NULL)
            pl_buf_appendf(out, "\\%c", c);
        else
            pl_buf_appendf(out, "%c", c);
    }
}

static void put_chars(struct pl_buf *out, const char *chars)
{
    pl_buf_append_str(out, "[");
    for (; *chars != '\0'; chars++)
        pl_buf_appendf(out, strchr("\\]^-", *chars) != NULL ? "\\%c" : "%c", *chars);
    pl_buf_append_str(out, "]*$");
}

/* What config_text_fits checks. */
static void put_fit(struct pl_buf *out, const struct config_row *row)
{
    pl_buf_append_str(out, "^");
    for (size_t i = 0; row->begins != NULL && row->begins[i] != NULL; i++) {
        pl_buf_append_str(out, i > 0 ? "|" : row->chars != NULL ? "(?=" : "(?:");
        put_literal(out, row->begins[i], false);
    }
    if (row->begins != NULL)
        pl_buf_append_str(out, ")");
    if (row->chars != NULL)
        put_chars(out, row->chars);
}

/* What config_text_ban finds. */
static void put_ban(struct pl_buf *out, const struct config_ban *ban)
{
    if (ban->kind == CONFIG_BAN_IS || ban->kind == CONFIG_BAN_BEGIN)
        pl_buf_append_str(out, "^");
    if (ban->text != NULL)
        put_literal(out, ban->text, true);
    if (ban->kind == CONFIG_BAN_IS)
        pl_buf_append_str(out, "$");
    if (ban->kind == CONFIG_BAN_HANDLER)
        pl_buf_append_str(out, "<[^>]*[ \\t\\n\\f\\r\"'\\/][oO][nN][a-zA-Z]+[ \\t\\n\\f\\r]*=");
    if (ban->kind != CONFIG_BAN_SCRIPT_URL)
        return;
    pl_buf_append_str(out, "^[\\u0000-\\u0020]*");
    for (const char *c = "javascript:"; *c != '\0'; c++) {
        put_literal(out, (const char[]){*c, '\0'}, true);
        pl_buf_append_str(out, c[1] == '\0' ? "" : "[\\t\\n\\r]*");
    }
}

static void write_pattern(struct json_writer *w, struct pl_buf *pattern)
{
    json_write_key(w, "pattern");
    json_write_string(w, pl_buf_span(pattern));
    pl_buf_reset(pattern);
}

/* ---- rows */

struct writing {
    struct json_writer *w;
    struct pl_buf pattern; /* the one at hand */
};

static void write_object(struct writing *s, const struct config_shape *shape);
static void write_row(struct writing *s, const struct config_row *row);

static void write_words(struct json_writer *w, const char *key, const char *const *words)
{
    json_write_key(w, key);
    json_write_array(w);
    for (; *words != NULL; words++)
        json_write_text(w, *words);
    json_write_array_end(w);
}

static void write_text(struct writing *s, const struct config_row *row)
{
    json_write_pair_text(s->w, "type", "string");
    if (row->one_of != NULL)
        write_words(s->w, "enum", row->one_of);
    if (row->min_bytes > 0)
        json_write_pair_u64(s->w, "minLength", row->min_bytes);
    if (row->max_bytes > 0)
        json_write_pair_u64(s->w, "maxLength", row->max_bytes);
    if (row->begins != NULL || row->chars != NULL) {
        put_fit(&s->pattern, row);
        write_pattern(s->w, &s->pattern);
    }
    if (row->bans == NULL)
        return;
    for (const struct config_ban *ban = row->bans; ban->kind != CONFIG_BAN_NONE; ban++) {
        pl_buf_append_str(&s->pattern, ban == row->bans ? "" : "|");
        put_ban(&s->pattern, ban);
    }
    json_write_key(s->w, "not");
    json_write_object(s->w);
    write_pattern(s->w, &s->pattern);
    json_write_object_end(s->w);
}

static void write_number(struct json_writer *w, const struct config_row *row)
{
    json_write_pair_text(w, "type", row->kind == CONFIG_INTEGER ? "integer" : "number");
    json_write_key(w, row->above_min ? "exclusiveMinimum" : "minimum");
    json_write_f64(w, row->min);
    json_write_key(w, "maximum");
    json_write_f64(w, row->max);
}

static void write_list(struct writing *s, const struct config_row *row)
{
    json_write_pair_text(s->w, "type", "array");
    if (row->kind == CONFIG_TEXTS || row->shape != NULL) {
        json_write_key(s->w, "items");
        json_write_object(s->w);
        if (row->kind == CONFIG_TEXTS)
            write_text(s, row);
        else
            write_object(s, row->shape);
        json_write_object_end(s->w);
    }
    if (row->min_count > 0)
        json_write_pair_u64(s->w, "minItems", row->min_count);
    json_write_pair_u64(s->w, "maxItems", row->max_count);
}

static void write_kind(struct writing *s, const struct config_row *row)
{
    switch (row->kind) {
    case CONFIG_TEXT:
        write_text(s, row);
        break;
    case CONFIG_TIME:
        json_write_pair_text(s->w, "type", "string");
        json_write_pair_text(s->w, "format", "date-time");
        json_write_pair_text(s->w, "pattern", TIME_PATTERN);
        break;
    case CONFIG_BOOL:
        json_write_pair_text(s->w, "type", "boolean");
        break;
    case CONFIG_NUMBER:
    case CONFIG_INTEGER:
        write_number(s->w, row);
        break;
    case CONFIG_TEXTS:
    case CONFIG_OBJECTS:
        write_list(s, row);
        break;
    case CONFIG_OBJECT:
        write_object(s, row->shape);
        break;
    }
}

static void write_row(struct writing *s, const struct config_row *row)
{
    json_write_key(s->w, row->key);
    json_write_object(s->w);
    if (row->about != NULL)
        json_write_pair_text(s->w, "description", row->about);
    write_kind(s, row);
    if (row->default_json != NULL) {
        json_write_key(s->w, "default");
        json_write_raw(s->w, pl_span_str(row->default_json));
    }
    json_write_object_end(s->w);
}

static void write_rows(struct writing *s, const struct config_row *rows)
{
    size_t required = 0;
    json_write_key(s->w, "properties");
    json_write_object(s->w);
    for (const struct config_row *row = rows; row->key != NULL; row++) {
        required += row->required ? 1 : 0;
        write_row(s, row);
    }
    json_write_object_end(s->w);
    if (required == 0)
        return;
    json_write_key(s->w, "required");
    json_write_array(s->w);
    for (const struct config_row *row = rows; row->key != NULL; row++)
        if (row->required)
            json_write_text(s->w, row->key);
    json_write_array_end(s->w);
}

/* ---- objects, and what depends on more than one key */

/* {"type":{"enum":["text"]}}, or a bool's {"enum":[true]} */
static void write_if(struct json_writer *w, const struct config_when *when)
{
    json_write_key(w, "if");
    json_write_object(w);
    json_write_key(w, "properties");
    json_write_object(w);
    json_write_key(w, when->key);
    json_write_object(w);
    if (strcmp(when->is[0], "true") == 0)
        json_write_pair_bool(w, "const", true);
    else
        write_words(w, "enum", when->is);
    json_write_object_end(w);
    json_write_object_end(w);
    write_words(w, "required", (const char *const[]){when->key, NULL});
    json_write_object_end(w);
}

static void write_whens(struct writing *s, const struct config_when *when)
{
    json_write_key(s->w, "allOf");
    json_write_array(s->w);
    for (; when->key != NULL; when++) {
        json_write_object(s->w);
        write_if(s->w, when);
        json_write_key(s->w, "then");
        json_write_object(s->w);
        write_rows(s, when->rows);
        json_write_object_end(s->w);
        json_write_object_end(s->w);
    }
    json_write_array_end(s->w);
}

static void write_exactly_one(struct json_writer *w, const char *const *keys)
{
    json_write_key(w, "oneOf");
    json_write_array(w);
    for (; *keys != NULL; keys++) {
        json_write_object(w);
        write_words(w, "required", (const char *const[]){*keys, NULL});
        json_write_object_end(w);
    }
    json_write_array_end(w);
}

/* Its members only: the braces are the caller's. */
static void write_object(struct writing *s, const struct config_shape *shape)
{
    json_write_pair_text(s->w, "type", "object");
    json_write_pair_bool(s->w, "additionalProperties", false);
    write_rows(s, shape->rows);
    if (shape->whens != NULL)
        write_whens(s, shape->whens);
    if (shape->exactly_one != NULL)
        write_exactly_one(s->w, shape->exactly_one);
}

enum pl_err config_schema(struct pl_buf *out)
{
    struct writing s;
    enum pl_err err = json_writer_new(&s.w, false);
    if (err != PL_OK)
        return err;
    pl_buf_init(&s.pattern, PATTERN_BYTES_MAX);
    json_writer_begin(s.w, out);
    json_write_object(s.w);
    json_write_pair_text(s.w, "$schema", "https://json-schema.org/draft/2020-12/schema");
    json_write_pair_text(s.w, "$id", "urn:polder:campaign-config");
    json_write_pair_text(s.w, "title", "Campaign config of a Polder account");
    write_object(&s, &config_document);
    json_write_object_end(s.w);
    err = json_writer_end(s.w);
    json_writer_free(s.w);
    pl_buf_release(&s.pattern);
    return err;
}
