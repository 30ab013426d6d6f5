#include "proto/wire/config.h"

#include "proto/base/nearest.h"
#include "proto/wire/config_shape.h"
#include "proto/wire/config_words.h"
#include "proto/wire/json_where.h"
#include "proto/wire/limits.h"

#include <stdio.h>
#include <stdlib.h>

#define UNIQUE_MAX 200 /* elements of an array with a unique key */

struct check {
    struct config_problem *problems;
    struct json_place *places; /* one per problem */
    size_t max, count;
    bool failed; /* problems beyond max count as well */
    char path[128];
    size_t path_len;
};

static void problem(struct check *c, struct json at, bool key, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static void problem(struct check *c, struct json at, bool key, const char *format, ...)
{
    c->failed = true;
    if (c->count == c->max)
        return;
    struct config_problem *p = &c->problems[c->count];
    *p = (struct config_problem){0};
    memcpy(p->path, c->path, c->path_len);
    va_list args;
    va_start(args, format);
    vsnprintf(p->text, sizeof(p->text), format, args);
    va_end(args);
    c->places[c->count++] = (struct json_place){.index = at.index, .key = key};
}

/* Paths cannot overflow: the tables nest a few short keys, and unknown ones come quoted. */
static size_t enter(struct check *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

static size_t enter(struct check *c, const char *format, ...)
{
    size_t before = c->path_len, room = sizeof(c->path) - before;
    va_list args;
    va_start(args, format);
    int len = vsnprintf(c->path + before, room, format, args);
    va_end(args);
    c->path_len = before + (len < 0 ? 0 : (size_t)len < room ? (size_t)len : room - 1);
    return before;
}

static size_t enter_key(struct check *c, const char *key)
{
    return enter(c, c->path_len == 0 ? "%s" : ".%s", key);
}

static void leave(struct check *c, size_t before)
{
    c->path_len = before;
    c->path[before] = '\0';
}

static const char *type_name(struct json value)
{
    switch (json_type(value)) {
    case JSON_NULL:
        return "null";
    case JSON_BOOL:
        return "true or false";
    case JSON_I64:
    case JSON_U64:
    case JSON_F64:
        return "a number";
    case JSON_STRING:
        return "text";
    case JSON_ARRAY:
        return "a list";
    case JSON_OBJECT:
        return "an object";
    }
    return "something else";
}

static void check_one_of(struct check *c, const struct config_row *row, struct json value,
                         struct pl_span text)
{
    const char *best = NULL;
    size_t best_at = SIZE_MAX, used = 0;
    char list[128] = "";
    for (const char *const *word = row->one_of; *word != NULL; word++) {
        if (pl_span_eq_str(text, *word))
            return;
        pl_nearest_consider(text, *word, &best, &best_at);
        int len = snprintf(list + used, sizeof(list) - used, "%s%s", used == 0 ? "" : ", ", *word);
        used += len < 0 ? 0 : (size_t)len;
        if (used >= sizeof(list))
            used = sizeof(list) - 1;
    }
    problem(c, value, false, "is '%s'; must be one of %s%s", config_quote(text).text, list,
            config_hint(best).text);
}

static void check_text(struct check *c, const struct config_row *row, struct json value)
{
    struct pl_span text;
    if (!json_string(value, &text)) {
        problem(c, value, false, "must be text, not %s", type_name(value));
        return;
    }
    if (row->one_of != NULL) {
        check_one_of(c, row, value, text);
        return;
    }
    const struct config_ban *ban = config_text_ban(row->bans, text);
    if (text.len == 0 && row->min_bytes > 0)
        problem(c, value, false, "must not be empty");
    else if (row->max_bytes > 0 && text.len > row->max_bytes)
        problem(c, value, false, "is %zu bytes long; at most %zu are taken", text.len,
                row->max_bytes);
    else if (text.len < row->min_bytes || !config_text_fits(row, text))
        problem(c, value, false, "is '%s'; %s", config_quote(text).text, row->words);
    else if (ban != NULL)
        problem(c, value, false, "%s", ban->why);
}

static void check_time(struct check *c, struct json value)
{
    struct pl_span text;
    int64_t wall_ms;
    if (!json_string(value, &text))
        problem(c, value, false, "must be text, not %s", type_name(value));
    else if (!config_time_parse(text, &wall_ms))
        problem(c, value, false, "is '%s'; must be a time as in \"2026-12-01T00:00:00+01:00\"",
                config_quote(text).text);
}

static void check_number(struct check *c, const struct config_row *row, struct json value)
{
    double number;
    bool integer = row->kind == CONFIG_INTEGER;
    if (json_f64(value, &number) && number <= row->max &&
        (row->above_min ? number > row->min : number >= row->min) &&
        (!integer || (double)(int64_t)number == number))
        return;
    problem(c, value, false, "must be a %snumber %s %.10g %s %.10g", integer ? "whole " : "",
            row->above_min ? "above" : "from", row->min, row->above_min ? "and up to" : "to",
            row->max);
}

static void check_value(struct check *c, const struct config_row *row, struct json value);
static void check_object(struct check *c, const struct config_shape *shape, struct json object);

/* ids holds those of the elements before this one. */
static void check_unique(struct check *c, const struct config_row *row, struct json element,
                         struct pl_span *ids, size_t at)
{
    struct json id;
    ids[at] = pl_span(NULL, 0);
    if (!json_get(element, row->unique, &id) || !json_string(id, &ids[at]))
        return;
    for (size_t i = 0; i < at; i++) {
        if (ids[at].len == 0 || !pl_span_eq(ids[i], ids[at]))
            continue;
        size_t before = enter_key(c, row->unique);
        problem(c, id, false, "'%s' is taken by %s[%zu] already", config_quote(ids[at]).text,
                row->key, i);
        leave(c, before);
        return;
    }
}

static void check_list(struct check *c, const struct config_row *row, struct json list)
{
    struct config_row text = *row;
    struct pl_span ids[UNIQUE_MAX];
    struct json element;
    size_t count = json_count(list), at = 0;
    text.kind = CONFIG_TEXT;
    if (json_type(list) != JSON_ARRAY) {
        problem(c, list, false, "must be a list, not %s", type_name(list));
        return;
    }
    if (row->words != NULL && row->max_count == 0 && count > 0)
        problem(c, list, false, "%s", row->words);
    else if (count < row->min_count || count > row->max_count)
        problem(c, list, false, "has %zu elements; must have %zu to %zu", count, row->min_count,
                row->max_count);
    for (struct json_iter i = json_elements(list); json_next_element(&i, &element); at++) {
        if (at == row->max_count || (row->unique != NULL && at == UNIQUE_MAX))
            break;
        size_t before = enter(c, "[%zu]", at);
        if (row->kind == CONFIG_TEXTS)
            check_text(c, &text, element);
        else
            check_object(c, row->shape, element);
        if (row->unique != NULL)
            check_unique(c, row, element, ids, at);
        leave(c, before);
    }
}

static void check_value(struct check *c, const struct config_row *row, struct json value)
{
    switch (row->kind) {
    case CONFIG_TEXT:
        check_text(c, row, value);
        break;
    case CONFIG_TIME:
        check_time(c, value);
        break;
    case CONFIG_BOOL:
        if (json_type(value) != JSON_BOOL)
            problem(c, value, false, "must be true or false, not %s", type_name(value));
        break;
    case CONFIG_NUMBER:
    case CONFIG_INTEGER:
        check_number(c, row, value);
        break;
    case CONFIG_TEXTS:
    case CONFIG_OBJECTS:
        check_list(c, row, value);
        break;
    case CONFIG_OBJECT:
        check_object(c, row->shape, value);
        break;
    }
}

static const struct config_row *find_row(const struct config_shape *shape, struct pl_span key,
                                         const char **best)
{
    size_t best_at = SIZE_MAX;
    *best = NULL;
    for (const struct config_row *row = shape->rows; row->key != NULL; row++) {
        if (pl_span_eq_str(key, row->key))
            return row;
        pl_nearest_consider(key, row->key, best, &best_at);
    }
    return NULL;
}

static void check_members(struct check *c, const struct config_shape *shape, struct json object,
                          uint64_t *seen)
{
    struct pl_span key;
    struct json value;
    for (struct json_iter i = json_members(object); json_next_member(&i, &key, &value);) {
        const char *best;
        const struct config_row *row = find_row(shape, key, &best);
        struct config_quoted quoted = config_quote(key);
        if (row == NULL) {
            size_t before = enter_key(c, quoted.text);
            problem(c, value, true, "unknown key '%s'%s", quoted.text, config_hint(best).text);
            leave(c, before);
            continue;
        }
        size_t before = enter_key(c, row->key);
        uint64_t bit = UINT64_C(1) << (row - shape->rows);
        if ((*seen & bit) != 0)
            problem(c, value, true, "stands here twice");
        *seen |= bit;
        check_value(c, row, value);
        leave(c, before);
    }
}

/* ---- what depends on more than one key: looked at where each is fine by itself */

static bool has_value(struct json object, const char *key, const char *const *is,
                      const char **which)
{
    struct json value;
    struct pl_span text;
    bool truth;
    if (!json_get(object, key, &value))
        return false;
    if (json_bool(value, &truth))
        text = pl_span_str(truth ? "true" : "false");
    else if (!json_string(value, &text))
        return false;
    for (; *is != NULL; is++) {
        *which = *is;
        if (pl_span_eq_str(text, *is))
            return true;
    }
    return false;
}

static void check_when(struct check *c, const struct config_when *when, struct json object)
{
    const char *is;
    struct json value;
    if (!has_value(object, when->key, when->is, &is))
        return;
    for (const struct config_row *row = when->rows; row->key != NULL; row++) {
        size_t before = enter_key(c, row->key);
        if (json_get(object, row->key, &value))
            check_value(c, row, value);
        else if (row->required)
            problem(c, object, false, "is required where %s is %s", when->key, is);
        leave(c, before);
    }
}

static void check_exactly_one(struct check *c, const char *const *keys, struct json object)
{
    struct json value, second = object;
    size_t found = 0, used = 0;
    char list[128] = "";
    for (size_t i = 0; keys[i] != NULL; i++) {
        int len = snprintf(list + used, sizeof(list) - used, "%s%s", i == 0 ? "" : ", ", keys[i]);
        used += len < 0 ? 0 : (size_t)len;
        if (json_get(object, keys[i], &value) && ++found == 2)
            second = value;
    }
    if (found != 1)
        problem(c, second, false, "must have exactly one of %s, not %s", list,
                found == 0 ? "none" : "several");
}

static void check_order(struct check *c, const char *const *keys, struct json object)
{
    struct json early, late;
    struct pl_span early_text, late_text;
    int64_t early_ms, late_ms;
    if (!json_get(object, keys[0], &early) || !json_get(object, keys[1], &late) ||
        !json_string(early, &early_text) || !json_string(late, &late_text) ||
        !config_time_parse(early_text, &early_ms) || !config_time_parse(late_text, &late_ms) ||
        early_ms < late_ms)
        return;
    size_t before = enter_key(c, keys[1]);
    problem(c, late, false, "must be later than %s", keys[0]);
    leave(c, before);
}

static void check_object(struct check *c, const struct config_shape *shape, struct json object)
{
    if (json_type(object) != JSON_OBJECT) {
        problem(c, object, false, "must be an object, not %s", type_name(object));
        return;
    }
    bool failed_before = c->failed;
    uint64_t seen = 0;
    c->failed = false;
    check_members(c, shape, object, &seen);
    for (const struct config_row *row = shape->rows; row->key != NULL; row++) {
        if (!row->required || (seen & (UINT64_C(1) << (row - shape->rows))) != 0)
            continue;
        size_t before = enter_key(c, row->key);
        problem(c, object, false, "is missing");
        leave(c, before);
    }
    const struct config_when *when = c->failed ? NULL : shape->whens;
    for (; when != NULL && when->key != NULL && !c->failed; when++)
        check_when(c, when, object);
    if (!c->failed && shape->exactly_one != NULL)
        check_exactly_one(c, shape->exactly_one, object);
    if (!c->failed && shape->earlier_later != NULL)
        check_order(c, shape->earlier_later, object);
    c->failed = c->failed || failed_before;
}

/* The document cannot be parsed: one problem, with its place if anybody knows it. */
static enum pl_err check_syntax(struct pl_span text, const struct pl_why *why,
                                struct config_problem *problems, size_t max, size_t *count)
{
    char words[160];
    size_t offset;
    *count = max > 0 ? 1 : 0;
    if (max == 0)
        return PL_EINVAL;
    problems[0] = (struct config_problem){0};
    if (why->err == PL_EINVAL && text.len > 0 &&
        json_find_error(text, &offset, words, sizeof(words))) {
        json_line_column(text, offset, &problems[0].line, &problems[0].column);
        snprintf(problems[0].text, sizeof(problems[0].text), "not valid JSON: %s", words);
    } else {
        snprintf(problems[0].text, sizeof(problems[0].text), "%.*s",
                 (int)sizeof(problems[0].text) - 1, why->text);
    }
    return PL_EINVAL;
}

static void locate(struct check *c, struct pl_span text)
{
    json_find_places(text, c->places, c->count);
    for (size_t i = 0; i < c->count; i++)
        if (c->places[i].offset != SIZE_MAX)
            json_line_column(text, c->places[i].offset, &c->problems[i].line,
                             &c->problems[i].column);
}

enum pl_err config_check(struct pl_span json, struct config_problem *problems, size_t max,
                         size_t *count)
{
    struct check c = {.problems = problems, .max = max};
    struct json_parser *parser = NULL;
    struct json root;
    struct pl_why why = {0};
    enum pl_err err = PL_ENOMEM;
    c.places = calloc(max > 0 ? max : 1, sizeof(*c.places));
    if (c.places == NULL)
        goto out;
    err = json_parser_new(&parser, LIMIT_CONFIG_BYTES, LIMIT_JSON_DEPTH);
    if (err != PL_OK)
        goto out;
    err = json_parse(parser, json, &root, &why);
    if (err == PL_EINVAL || err == PL_ELIMIT)
        err = check_syntax(json, &why, problems, max, count);
    if (err != PL_OK)
        goto out;
    check_object(&c, &config_document, root);
    if (c.count > 0)
        locate(&c, json);
    *count = c.count;
    err = c.failed ? PL_EINVAL : PL_OK;
out:
    json_parser_free(parser);
    free(c.places);
    return err;
}
