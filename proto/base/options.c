#include "proto/base/options.h"

#include "proto/base/options_file.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#define ENV_PREFIX "POLDER_"

/* One option's value, parsed but not yet the caller's. */
struct value {
    char *text;
    int64_t number;
    bool flag;
    struct pl_text_list list;
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

/* source: where the text came from, for the error. */
static enum pl_err parse_scalar(const struct pl_option *option, const char *text,
                                const char *source, struct value *out, struct pl_why *why)
{
    switch (option->type) {
    case PL_OPTION_TEXT:
        if (text[0] == '\0' && option->default_text == NULL)
            return pl_fail_field(why, PL_EINVAL, option->key,
                                 "%s: option '%s' is required and must not be empty (%s)", source,
                                 option->key, option->help);
        out->text = strdup(text);
        if (out->text != NULL)
            return PL_OK;
        break;
    case PL_OPTION_LIST:
        if (list_split(&out->list, text))
            return PL_OK;
        break;
    case PL_OPTION_BOOL:
        if (parse_bool(text, &out->flag))
            return PL_OK;
        return pl_fail_field(why, PL_EINVAL, option->key,
                             "%s: option '%s' must be true or false, not '%.64s'", source,
                             option->key, text);
    case PL_OPTION_INT:
        if (pl_span_to_i64(pl_span_str(text), &out->number) && out->number >= option->min &&
            out->number <= option->max)
            return PL_OK;
        return pl_fail_field(why, PL_EINVAL, option->key,
                             "%s: option '%s' must be a whole number from %lld to %lld, not "
                             "'%.64s'",
                             source, option->key, (long long)option->min, (long long)option->max,
                             text);
    }
    return pl_fail(why, PL_ENOMEM, "out of memory while reading option '%s'", option->key);
}

/* row NULL: the file does not have it. */
static enum pl_err parse_option(const struct pl_option *option, const struct pl_option_row *row,
                                const char *path, struct value *out, struct pl_why *why)
{
    char name[128], source[512];
    env_name(option->key, name, sizeof(name));
    const char *text = getenv(name);
    if (text != NULL) {
        snprintf(source, sizeof(source), "environment variable %s", name);
        return parse_scalar(option, text, source, out, why);
    }
    if (row != NULL && row->text != NULL) {
        snprintf(source, sizeof(source), "%s", path);
        if (row->line > 0)
            snprintf(source, sizeof(source), "%s line %zu", path, row->line);
        return parse_scalar(option, row->text, source, out, why);
    }
    /* libcyaml leaves an empty list as it leaves an absent one; its line tells them apart */
    if (row != NULL && (row->items != NULL || row->line > 0)) {
        for (uint32_t i = 0; i < row->count; i++)
            if (!list_add(&out->list, row->items[i], strlen(row->items[i])))
                return pl_fail(why, PL_ENOMEM, "out of memory while reading option '%s'",
                               option->key);
        return PL_OK;
    }
    if (option->default_text == NULL)
        return pl_fail_field(why, PL_EINVAL, option->key,
                             "option '%s' is required (%s): set it in %s or as %s", option->key,
                             option->help, path == NULL ? "a configuration file" : path, name);
    return parse_scalar(option, option->default_text, "the default", out, why);
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
    struct pl_option_row *rows = NULL;
    struct value *values = calloc(count + 1, sizeof(*values));
    if (values == NULL)
        return pl_fail(why, PL_ENOMEM, "out of memory while reading the options");
    enum pl_err err = PL_OK;
    if (path != NULL)
        err = pl_option_rows_read(table, count, path, &rows, why);
    for (size_t i = 0; i < count && err == PL_OK; i++)
        err = parse_option(&table[i], rows == NULL ? NULL : &rows[i], path, &values[i], why);
    for (size_t i = 0; i < count; i++) {
        if (err == PL_OK) {
            store(&table[i], &values[i], out);
        } else {
            free(values[i].text);
            list_release(&values[i].list);
        }
    }
    free(values);
    pl_option_rows_free(rows, count);
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
