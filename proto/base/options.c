#include "proto/base/options.h"

#include "proto/base/file.h"

#include <ctype.h>
#include <cyaml/cyaml.h>
#include <stdio.h>
#include <stdlib.h>

#define FILE_MAX_BYTES   (1024 * 1024)
#define LIST_MAX_ENTRIES 1024
#define ENV_PREFIX       "POLDER_"

/* libcyaml loads every option as text into an array of these, one per row of the table: so that
 * absent differs from zero, and file, environment and defaults are parsed by the same code. */
struct raw {
    char *text;
    char **items;
    uint32_t count;
};

/* One option's value, parsed but not yet the caller's. */
struct value {
    char *text;
    int64_t number;
    bool flag;
    struct pl_text_list list;
};

/* What libcyaml says about a failure, as far as it helps a person. */
struct complaint {
    char text[256];
    char key[96];
    size_t line;
};

struct loader {
    const struct pl_option *table;
    size_t count;
    const char *path;
    struct pl_buf file;
    struct pl_why *why;
};

static void list_release(struct pl_text_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
    *list = (struct pl_text_list){.items = NULL};
}

static bool list_add(struct pl_text_list *list, const char *text, size_t len)
{
    char **items = realloc(list->items, (list->count + 1) * sizeof(*items));
    if (items == NULL)
        return false;
    list->items = items;
    items[list->count] = strndup(text, len);
    if (items[list->count] == NULL)
        return false;
    list->count++;
    return true;
}

static bool list_split(struct pl_text_list *list, const char *text)
{
    while (*text != '\0') {
        size_t len = strcspn(text, ",");
        const char *item = text, *end = text + len;
        while (item < end && isspace((unsigned char)*item))
            item++;
        while (end > item && isspace((unsigned char)end[-1]))
            end--;
        if (end > item && !list_add(list, item, (size_t)(end - item)))
            return false;
        text += len + (text[len] == ',' ? 1 : 0);
    }
    return true;
}

static void env_name(const char *key, char *out, size_t size)
{
    int used = snprintf(out, size, ENV_PREFIX "%s", key);
    for (int i = 0; i < used && (size_t)i < size; i++)
        out[i] = (char)toupper((unsigned char)out[i]);
}

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

/* ", in FILE line N" or ", in the environment (POLDER_X)": where a value came from. */
static void source_text(const struct loader *l, const char *key, bool from_env, char *out,
                        size_t size)
{
    char name[128];
    env_name(key, name, sizeof(name));
    size_t line = from_env || l->path == NULL ? 0 : line_of(pl_buf_span(&l->file), key);
    if (from_env)
        snprintf(out, size, "environment variable %s", name);
    else if (line > 0)
        snprintf(out, size, "%s line %zu", l->path, line);
    else
        snprintf(out, size, "%s", l->path == NULL ? "the defaults" : l->path);
}

static bool parse_bool(const char *text, bool *out)
{
    static const char *const yes[] = {"true", "yes", "on", "1"};
    static const char *const no[] = {"false", "no", "off", "0"};
    struct pl_span span = pl_span_str(text);
    for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
        if (pl_span_eq_nocase(span, pl_span_str(yes[i])) ||
            pl_span_eq_nocase(span, pl_span_str(no[i]))) {
            *out = pl_span_eq_nocase(span, pl_span_str(yes[i]));
            return true;
        }
    }
    return false;
}

static enum pl_err parse_scalar(const struct loader *l, const struct pl_option *option,
                                const char *text, bool from_env, struct value *out)
{
    char source[512];
    source_text(l, option->key, from_env, source, sizeof(source));
    switch (option->type) {
    case PL_OPTION_TEXT:
        out->text = strdup(text);
        return out->text == NULL ? PL_ENOMEM : PL_OK;
    case PL_OPTION_LIST:
        return list_split(&out->list, text) ? PL_OK : PL_ENOMEM;
    case PL_OPTION_BOOL:
        if (parse_bool(text, &out->flag))
            return PL_OK;
        return pl_fail_field(l->why, PL_EINVAL, option->key,
                             "%s: option '%s' must be true or false, not '%.64s'", source,
                             option->key, text);
    case PL_OPTION_INT:
        if (pl_span_to_i64(pl_span_str(text), &out->number) && out->number >= option->min &&
            out->number <= option->max)
            return PL_OK;
        return pl_fail_field(l->why, PL_EINVAL, option->key,
                             "%s: option '%s' must be a whole number from %lld to %lld, not "
                             "'%.64s'",
                             source, option->key, (long long)option->min, (long long)option->max,
                             text);
    }
    return PL_EINVAL;
}

static enum pl_err parse_option(const struct loader *l, const struct pl_option *option,
                                const struct raw *raw, struct value *out)
{
    char name[128];
    env_name(option->key, name, sizeof(name));
    const char *env = getenv(name);
    if (env != NULL)
        return parse_scalar(l, option, env, true, out);
    /* libcyaml leaves an empty list as it leaves an absent one */
    bool empty_list = option->type == PL_OPTION_LIST && raw != NULL &&
                      line_of(pl_buf_span(&l->file), option->key) > 0;
    if (empty_list || (raw != NULL && raw->items != NULL)) {
        for (uint32_t i = 0; i < raw->count; i++)
            if (!list_add(&out->list, raw->items[i], strlen(raw->items[i])))
                return PL_ENOMEM;
        return PL_OK;
    }
    if (raw != NULL && raw->text != NULL)
        return parse_scalar(l, option, raw->text, false, out);
    if (option->default_text == NULL)
        return pl_fail_field(
            l->why, PL_EINVAL, option->key, "option '%s' is required (%s): set it in %s or as %s",
            option->key, option->help, l->path == NULL ? "a configuration file" : l->path, name);
    return parse_scalar(l, option, option->default_text, false, out);
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

/* Edits (insert, delete, replace) between two keys; for a hint only, so long keys are cut. */
static size_t distance(const char *a, const char *b)
{
    enum { MAX = 63 };
    size_t row[MAX + 1], b_len = strnlen(b, MAX);
    for (size_t j = 0; j <= b_len; j++)
        row[j] = j;
    for (size_t i = 0; a[i] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < b_len; j++) {
            size_t replace = diagonal + (a[i] == b[j] ? 0 : 1);
            diagonal = row[j + 1];
            size_t best = row[j + 1] < row[j] ? row[j + 1] : row[j];
            row[j + 1] = best + 1 < replace ? best + 1 : replace;
        }
    }
    return row[b_len];
}

static enum pl_err unknown_key(const struct loader *l, const char *key)
{
    const char *nearest = NULL;
    size_t nearest_distance = 4; /* beyond, a hint would mislead */
    for (size_t i = 0; i < l->count; i++) {
        size_t d = distance(key, l->table[i].key);
        if (d < nearest_distance) {
            nearest_distance = d;
            nearest = l->table[i].key;
        }
    }
    char source[512];
    source_text(l, key, false, source, sizeof(source));
    if (nearest != NULL)
        return pl_fail_field(l->why, PL_EINVAL, key,
                             "%s: there is no option '%s'; did you mean '%s'?", source, key,
                             nearest);
    return pl_fail_field(l->why, PL_EINVAL, key,
                         "%s: there is no option '%s' (--print-config lists them all)", source,
                         key);
}

static enum pl_err explain(const struct loader *l, cyaml_err_t rc, const struct complaint *c)
{
    static const char unexpected[] = "Unexpected key: ";
    if (rc == CYAML_ERR_OOM)
        return pl_fail(l->why, PL_ENOMEM, "out of memory while reading %s", l->path);
    if (rc == CYAML_ERR_INVALID_KEY && strncmp(c->text, unexpected, strlen(unexpected)) == 0)
        return unknown_key(l, c->text + strlen(unexpected));
    char at[32] = "";
    if (c->line > 0)
        snprintf(at, sizeof(at), " line %zu", c->line);
    for (size_t i = 0; rc == CYAML_ERR_INVALID_VALUE && i < l->count; i++)
        if (strcmp(l->table[i].key, c->key) == 0)
            return pl_fail_field(
                l->why, PL_EINVAL, c->key, "%s%s: option '%s' must be %s", l->path, at, c->key,
                l->table[i].type == PL_OPTION_LIST ? "a list of texts, as in [a, b]"
                                                   : "a single value");
    return pl_fail_field(l->why, PL_EINVAL, c->key, "%s%s: not a flat YAML mapping of options: %s",
                         l->path, at, c->text[0] != '\0' ? c->text : cyaml_strerror(rc));
}

static const cyaml_schema_value_t item_schema = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 0, CYAML_UNLIMITED),
};

static void field_for(const struct pl_option *option, size_t index, cyaml_schema_field_t *out)
{
    size_t base = index * sizeof(struct raw);
    out->key = option->key;
    if (option->type == PL_OPTION_LIST) {
        out->data_offset = (uint32_t)(base + offsetof(struct raw, items));
        out->count_offset = (uint32_t)(base + offsetof(struct raw, count));
        out->count_size = sizeof(((struct raw *)NULL)->count);
        out->value = (cyaml_schema_value_t){
            CYAML_VALUE_SEQUENCE(CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, char *, &item_schema, 0,
                                 LIST_MAX_ENTRIES),
        };
    } else {
        out->data_offset = (uint32_t)(base + offsetof(struct raw, text));
        out->value = (cyaml_schema_value_t){
            CYAML_VALUE_STRING(CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, char, 0, CYAML_UNLIMITED),
        };
    }
}

/* A file of comments has no document, and libcyaml no opinion on that. */
static bool has_content(struct pl_span file)
{
    bool comment = false;
    for (size_t i = 0; i < file.len; i++) {
        uint8_t c = file.data[i];
        if (c == '\n')
            comment = false;
        else if (c == '#')
            comment = true;
        else if (!comment && !isspace(c))
            return true;
    }
    return false;
}

static enum pl_err parse_all(const struct loader *l, const struct raw *raw, struct value *values)
{
    for (size_t i = 0; i < l->count; i++) {
        enum pl_err err = parse_option(l, &l->table[i], raw == NULL ? NULL : &raw[i], &values[i]);
        if (err == PL_ENOMEM)
            return pl_fail(l->why, err, "out of memory while reading the options");
        if (err != PL_OK)
            return err;
    }
    return PL_OK;
}

/* Reads the file (if any) with a schema made from the table, then every option. */
static enum pl_err load_values(struct loader *l, struct value *values)
{
    enum pl_err err = PL_ENOMEM;
    struct complaint complaint = {.line = 0};
    cyaml_config_t config = {.log_fn = note,
                             .log_ctx = &complaint,
                             .log_level = CYAML_LOG_ERROR,
                             .mem_fn = cyaml_mem,
                             .flags = CYAML_CFG_NO_ALIAS};
    cyaml_data_t *raw = NULL;
    cyaml_schema_field_t *fields = calloc(l->count + 1, sizeof(*fields));
    if (fields == NULL)
        return pl_fail(l->why, err, "out of memory while reading the options");
    for (size_t i = 0; i < l->count; i++)
        field_for(&l->table[i], i, &fields[i]);
    cyaml_schema_value_t schema = {
        .type = CYAML_MAPPING,
        .flags = CYAML_FLAG_POINTER,
        .data_size = (uint32_t)(l->count * sizeof(struct raw)),
        .mapping = {.fields = fields},
    };
    if (has_content(pl_buf_span(&l->file))) {
        cyaml_err_t rc = cyaml_load_data(l->file.data, l->file.len, &config, &schema, &raw, NULL);
        if (rc != CYAML_OK) {
            err = explain(l, rc, &complaint);
            goto out;
        }
    }
    err = parse_all(l, raw, values);
out:
    cyaml_free(&config, &schema, raw, 0);
    free(fields);
    return err;
}

static void store(const struct pl_option *option, const struct value *value, void *out)
{
    char *at = (char *)out + option->offset;
    switch (option->type) {
    case PL_OPTION_TEXT:
        memcpy(at, &value->text, sizeof(value->text));
        break;
    case PL_OPTION_INT:
        memcpy(at, &value->number, sizeof(value->number));
        break;
    case PL_OPTION_BOOL:
        memcpy(at, &value->flag, sizeof(value->flag));
        break;
    case PL_OPTION_LIST:
        memcpy(at, &value->list, sizeof(value->list));
        break;
    }
}

enum pl_err pl_options_load(const struct pl_option *table, size_t count, const char *path,
                            void *out, struct pl_why *why)
{
    struct loader l = {.table = table, .count = count, .path = path, .why = why};
    pl_buf_init(&l.file, FILE_MAX_BYTES);
    enum pl_err err = PL_OK;
    struct value *values = calloc(count + 1, sizeof(*values));
    if (values == NULL)
        return pl_fail(why, PL_ENOMEM, "out of memory while reading the options");
    if (path != NULL)
        err = pl_file_read(path, "configuration file", false, &l.file, why);
    if (err == PL_OK)
        err = load_values(&l, values);
    for (size_t i = 0; i < count; i++) {
        if (err == PL_OK) {
            store(&table[i], &values[i], out);
        } else {
            free(values[i].text);
            list_release(&values[i].list);
        }
    }
    free(values);
    pl_buf_release(&l.file);
    return err;
}

void pl_options_release(const struct pl_option *table, size_t count, void *options)
{
    const struct value empty = {.text = NULL};
    for (size_t i = 0; i < count; i++) {
        char *at = (char *)options + table[i].offset;
        char *text = NULL;
        if (table[i].type == PL_OPTION_TEXT)
            memcpy(&text, at, sizeof(text));
        free(text);
        if (table[i].type == PL_OPTION_LIST)
            list_release((struct pl_text_list *)(void *)at);
        store(&table[i], &empty, options);
    }
}

static enum pl_err describe_one(const struct pl_option *option, struct pl_buf *out)
{
    char name[128], range[96] = "";
    env_name(option->key, name, sizeof(name));
    if (option->type == PL_OPTION_INT)
        snprintf(range, sizeof(range), "; %lld to %lld", (long long)option->min,
                 (long long)option->max);
    enum pl_err err =
        pl_buf_appendf(out, "# %s (%s%s; %s)\n", option->help,
                       option->default_text == NULL ? "required" : "optional", range, name);
    if (err != PL_OK)
        return err;
    const char *text = option->default_text == NULL ? "" : option->default_text;
    if (option->type == PL_OPTION_LIST)
        return pl_buf_appendf(out, "# %s: [%s]\n", option->key, text);
    if (option->type == PL_OPTION_TEXT)
        return pl_buf_appendf(out, "# %s: \"%s\"\n", option->key, text);
    return pl_buf_appendf(out, "# %s: %s\n", option->key, text);
}

enum pl_err pl_options_describe(const struct pl_option *table, size_t count, struct pl_buf *out)
{
    enum pl_err err = PL_OK;
    for (size_t i = 0; i < count && err == PL_OK; i++)
        err = describe_one(&table[i], out);
    return err;
}
