#include "proto/base/options_file.h"

#include "proto/base/file.h"
#include "proto/base/nearest.h"

#include <cyaml/cyaml.h>
#include <stdio.h>
#include <stdlib.h>

#define FILE_MAX_BYTES   (1024 * 1024)
#define LIST_MAX_ENTRIES 1024

/* What libcyaml says about a failure, as far as it helps a person. */
struct complaint {
    char text[256];
    char key[96];
    size_t line;
};

struct source {
    const struct pl_option *table;
    size_t count;
    const char *path;
    struct pl_span file;
    struct pl_why *why;
};

/* The line on which a flat key stands, 0 if it cannot be told. */
static size_t line_of(struct pl_span file, const char *key)
{
    size_t key_len = strlen(key);
    for (size_t line = 1; file.len > 0; line++) {
        const uint8_t *newline = memchr(file.data, '\n', file.len);
        size_t len = newline == NULL ? file.len : (size_t)(newline - file.data);
        struct pl_span rest = pl_span_from(pl_span(file.data, len), key_len);
        if (pl_span_starts(pl_span(file.data, len), pl_span_str(key))) {
            while (rest.len > 0 && rest.data[0] == ' ')
                rest = pl_span_from(rest, 1);
            if (rest.len > 0 && rest.data[0] == ':')
                return line;
        }
        file = pl_span_from(file, len + 1);
    }
    return 0;
}

/* libcyaml's errors are lines of its log; their wording is its own, so what is not recognised is
 * passed on as it is. */
static void note(cyaml_log_t level, void *ctx, const char *format, va_list args)
{
    struct complaint *c = ctx;
    char line[256];
    (void)level;
    if (vsnprintf(line, sizeof(line), format, args) < 0)
        return;
    line[strcspn(line, "\n")] = '\0';
    const char *text = strncmp(line, "Load: ", 6) == 0 ? line + 6 : line;
    size_t at;
    if (sscanf(text, " in mapping field '%95[^']' (line: %zu", c->key, &at) == 2 ||
        sscanf(text, " in mapping (line: %zu", &at) == 1 ||
        sscanf(text, " in sequence entry %*s (line: %zu", &at) == 1) {
        if (c->line == 0) /* the innermost comes first */
            c->line = at;
    } else if (strncmp(text, "Backtrace", 9) != 0 && c->text[0] == '\0') {
        snprintf(c->text, sizeof(c->text), "%s", text);
    }
}

/* " line 7" for messages, empty if it cannot be told. */
struct place {
    char text[32];
};

static struct place at_line(size_t line)
{
    struct place at = {""};
    if (line > 0)
        snprintf(at.text, sizeof(at.text), " line %zu", line);
    return at;
}

static enum pl_err unknown_key(const struct source *s, const char *key)
{
    const char *nearest = NULL;
    size_t nearest_at = SIZE_MAX;
    for (size_t i = 0; i < s->count; i++)
        pl_nearest_consider(pl_span_str(key), s->table[i].key, &nearest, &nearest_at);
    struct place at = at_line(line_of(s->file, key));
    if (nearest != NULL)
        return pl_fail_field(s->why, PL_EINVAL, key,
                             "%s%s: there is no option '%s'; did you mean '%s'?", s->path, at.text,
                             key, nearest);
    return pl_fail_field(s->why, PL_EINVAL, key,
                         "%s%s: there is no option '%s' (--print-config lists them all)", s->path,
                         at.text, key);
}

/* libcyaml's line is that of what comes before the second. */
static enum pl_err twice(const struct source *s, const char *key)
{
    struct place first = at_line(line_of(s->file, key));
    return pl_fail_field(s->why, PL_EINVAL, key,
                         "%s%s: option '%s' is there again further on: leave one", s->path,
                         first.text, key);
}

static enum pl_err explain(const struct source *s, cyaml_err_t rc, const struct complaint *c)
{
    static const char unexpected[] = "Unexpected key: ", again[] = "Mapping field already seen: ";
    if (rc == CYAML_ERR_OOM)
        return pl_fail(s->why, PL_ENOMEM, "out of memory while reading %s", s->path);
    if (rc == CYAML_ERR_INVALID_KEY && strncmp(c->text, unexpected, strlen(unexpected)) == 0)
        return unknown_key(s, c->text + strlen(unexpected));
    if (strncmp(c->text, again, strlen(again)) == 0)
        return twice(s, c->text + strlen(again));
    struct place at = at_line(c->line);
    for (size_t i = 0; rc == CYAML_ERR_INVALID_VALUE && i < s->count; i++)
        if (strcmp(s->table[i].key, c->key) == 0)
            return pl_fail_field(
                s->why, PL_EINVAL, c->key, "%s%s: option '%s' must be %s", s->path, at.text, c->key,
                s->table[i].type == PL_OPTION_LIST ? "a list of texts, as in [a, b]"
                                                   : "a single value");
    return pl_fail_field(s->why, PL_EINVAL, c->key, "%s%s: not a flat YAML mapping of options: %s",
                         s->path, at.text, c->text[0] != '\0' ? c->text : cyaml_strerror(rc));
}

static const cyaml_schema_value_t item_schema = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 0, CYAML_UNLIMITED),
};

static void field_for(const struct pl_option *option, size_t index, cyaml_schema_field_t *out)
{
    size_t base = index * sizeof(struct pl_option_row);
    out->key = option->key;
    if (option->type == PL_OPTION_LIST) {
        out->data_offset = (uint32_t)(base + offsetof(struct pl_option_row, items));
        out->count_offset = (uint32_t)(base + offsetof(struct pl_option_row, count));
        out->count_size = sizeof(((struct pl_option_row *)NULL)->count);
        out->value = (cyaml_schema_value_t){
            CYAML_VALUE_SEQUENCE(CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, char *, &item_schema, 0,
                                 LIST_MAX_ENTRIES),
        };
    } else {
        out->data_offset = (uint32_t)(base + offsetof(struct pl_option_row, text));
        out->value = (cyaml_schema_value_t){
            CYAML_VALUE_STRING(CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, char, 0, CYAML_UNLIMITED),
        };
    }
}

static enum pl_err parse(const struct source *s, struct pl_option_row **rows)
{
    struct complaint complaint = {.line = 0};
    const cyaml_config_t config = {.log_fn = note,
                                   .log_ctx = &complaint,
                                   .log_level = CYAML_LOG_ERROR,
                                   .mem_fn = cyaml_mem, /* realloc and free */
                                   .flags = CYAML_CFG_NO_ALIAS};
    cyaml_schema_field_t *fields = calloc(s->count + 1, sizeof(*fields));
    if (fields == NULL)
        return pl_fail(s->why, PL_ENOMEM, "out of memory while reading %s", s->path);
    for (size_t i = 0; i < s->count; i++)
        field_for(&s->table[i], i, &fields[i]);
    const cyaml_schema_value_t schema = {
        .type = CYAML_MAPPING,
        .flags = CYAML_FLAG_POINTER,
        .data_size = (uint32_t)(s->count * sizeof(struct pl_option_row)),
        .mapping = {.fields = fields},
    };
    cyaml_data_t *loaded = NULL;
    cyaml_err_t rc = cyaml_load_data(s->file.data, s->file.len, &config, &schema, &loaded, NULL);
    free(fields);
    if (rc != CYAML_OK)
        return explain(s, rc, &complaint);
    *rows = loaded; /* NULL: there is no document, as in a file of comments or a lone BOM */
    for (size_t i = 0; loaded != NULL && i < s->count; i++)
        (*rows)[i].line = line_of(s->file, s->table[i].key);
    return PL_OK;
}

enum pl_err pl_option_rows_read(const struct pl_option *table, size_t count, const char *path,
                                struct pl_option_row **rows, struct pl_why *why)
{
    struct source s = {.table = table, .count = count, .path = path, .why = why};
    struct pl_buf file;
    pl_buf_init(&file, FILE_MAX_BYTES);
    enum pl_err err = pl_file_read(path, "configuration file", false, &file, why);
    if (err == PL_OK) {
        s.file = pl_buf_span(&file);
        err = parse(&s, rows);
    }
    pl_buf_wipe(&file); /* an operator may have put a token there */
    return err;
}

void pl_option_rows_free(struct pl_option_row *rows, size_t count)
{
    if (rows == NULL)
        return;
    for (size_t i = 0; i < count; i++) {
        for (uint32_t k = 0; k < rows[i].count; k++)
            free(rows[i].items[k]);
        free(rows[i].items);
        free(rows[i].text);
    }
    free(rows);
}
