#include "deploy/ctl/table.h"

#include "proto/base/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* In place; code points are what columns are counted in. */
static void clean(char *text)
{
    bool utf8 = pl_span_is_utf8(pl_span_str(text));
    for (unsigned char *c = (unsigned char *)text; *c != '\0'; c++) {
        bool c1 = utf8 && c[0] == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0;
        if (*c < ' ' || *c == 0x7f || (!utf8 && *c >= 0x80))
            *c = '?';
        else if (c1)
            c[0] = c[1] = '?';
    }
}

static size_t width(const char *text)
{
    size_t points = 0;
    for (; *text != '\0'; text++)
        points += ((unsigned char)*text & 0xc0) != 0x80;
    return points;
}

void print_clean(struct pl_span text)
{
    char *copy = strndup((const char *)text.data, text.len);
    if (copy == NULL || text.len == 0) {
        free(copy);
        return;
    }
    clean(copy);
    fputs(copy, stdout);
    free(copy);
}

void print_sentences(struct json root, const char *name, const char *title)
{
    struct json list, sentence;
    struct pl_span text;
    if (!json_get(root, name, &list) || json_count(list) == 0)
        return;
    printf("\n%s:\n", title);
    for (struct json_iter i = json_elements(list); json_next_element(&i, &sentence);)
        if (json_string(sentence, &text)) {
            printf("  ");
            print_clean(text);
            putchar('\n');
        }
}

void table_init(struct table *table, const char *const *titles, size_t columns)
{
    *table = (struct table){.titles = titles, .columns = columns};
}

void table_release(struct table *table)
{
    for (size_t i = 0; i < table->count; i++)
        free(table->cells[i]);
    free(table->cells);
    *table = (struct table){.columns = 0};
}

static void table_cell(struct table *table, struct pl_span text)
{
    if (table->count == table->room) {
        size_t room = table->room == 0 ? 64 : 2 * table->room;
        char **grown = reallocarray(table->cells, room, sizeof(*grown));
        if (grown == NULL) {
            table->failed = true;
            return;
        }
        table->cells = grown;
        table->room = room;
    }
    char *cell = text.len == 0 ? strdup("") : strndup((const char *)text.data, text.len);
    if (cell == NULL) {
        table->failed = true;
        return;
    }
    clean(cell);
    table->cells[table->count++] = cell;
}

void table_text(struct table *table, const char *text)
{
    table_cell(table, pl_span_str(text));
}

void table_format(struct table *table, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    table_text(table, text);
}

bool member_is_true(struct json object, const char *name)
{
    struct json value;
    bool flag;
    return json_get(object, name, &value) && json_bool(value, &flag) && flag;
}

struct pl_span member_text(struct json object, const char *name)
{
    struct json value;
    struct pl_span text;
    return json_get(object, name, &value) && json_string(value, &text) ? text : pl_span(NULL, 0);
}

static void list_cell(struct table *table, struct json list, const char *absent)
{
    struct json value;
    struct pl_span text;
    char joined[512];
    size_t used = 0;
    for (struct json_iter i = json_elements(list); json_next_element(&i, &value);) {
        if (!json_string(value, &text))
            continue;
        int len = snprintf(joined + used, sizeof(joined) - used, "%s%.*s", used == 0 ? "" : " ",
                           PL_SPAN_FMT(text));
        if (len < 0 || (size_t)len >= sizeof(joined) - used) {
            table_format(table, "%.*s ...", (int)used, joined);
            return;
        }
        used += (size_t)len;
    }
    table_cell(table, used == 0 ? pl_span_str(absent) : pl_span(joined, used));
}

void table_member(struct table *table, struct json object, const char *name, const char *absent)
{
    struct json value;
    struct pl_span text;
    int64_t number;
    double real;
    bool flag;
    if (!json_get(object, name, &value) || json_type(value) == JSON_NULL)
        table_text(table, absent);
    else if (json_string(value, &text))
        table_cell(table, text.len == 0 ? pl_span_str(absent) : text);
    else if (json_bool(value, &flag))
        table_text(table, flag ? "yes" : "no");
    else if (json_i64(value, &number))
        table_format(table, "%lld", (long long)number);
    else if (json_f64(value, &real))
        table_format(table, "%g", real);
    else
        list_cell(table, value, absent);
}

bool member_short_time(struct json object, const char *name, char out[SHORT_TIME_TEXT])
{
    int64_t wall_ms;
    char full[PL_TIME_TEXT];
    if (!pl_time_parse(member_text(object, name), &wall_ms))
        return false;
    pl_time_format(wall_ms, full);
    snprintf(out, SHORT_TIME_TEXT, "%.10s %.5s", full, full + 11);
    return true;
}

void table_time(struct table *table, struct json object, const char *name, const char *absent)
{
    char time[SHORT_TIME_TEXT];
    table_text(table, member_short_time(object, name, time) ? time : absent);
}

static void print_row(const char *const *cells, size_t columns, const size_t *widths,
                      const bool *right)
{
    while (columns > 1 && cells[columns - 1][0] == '\0')
        columns--;
    for (size_t c = 0; c < columns; c++) {
        int pad = (int)(widths[c] - width(cells[c]));
        if (c > 0)
            fputs("  ", stdout);
        if (right[c])
            printf("%*s%s", pad, "", cells[c]);
        else /* nothing trails at a line's end */
            printf("%s%*s", cells[c], c + 1 < columns ? pad : 0, "");
    }
    putchar('\n');
}

enum pl_err table_print(const struct table *table, struct pl_why *why)
{
    size_t columns = table->columns, widths[TABLE_COLUMNS_MAX] = {0};
    const char *titles[TABLE_COLUMNS_MAX] = {NULL};
    bool right[TABLE_COLUMNS_MAX] = {false};
    if (table->failed)
        return pl_fail(why, PL_ENOMEM, "no memory for the table");
    for (size_t c = 0; table->titles != NULL && c < columns; c++) {
        right[c] = table->titles[c][0] == '>';
        titles[c] = table->titles[c] + (right[c] ? 1 : 0);
        widths[c] = width(titles[c]);
    }
    for (size_t i = 0; i < table->count; i++) {
        size_t len = width(table->cells[i]);
        if (len > widths[i % columns])
            widths[i % columns] = len;
    }
    if (table->titles != NULL)
        print_row(titles, columns, widths, right);
    for (size_t row = 0; row + columns <= table->count; row += columns)
        print_row((const char *const *)table->cells + row, columns, widths, right);
    return PL_OK;
}

enum pl_err table_list(struct json root, const char *list, const struct table_field *fields,
                       const char *none, struct pl_why *why)
{
    const char *titles[TABLE_COLUMNS_MAX];
    struct table table;
    struct json objects, object;
    size_t columns = 0;
    enum pl_err err = PL_OK;
    if (!json_get(root, list, &objects))
        return pl_fail(why, PL_ECORRUPT, "the origin's answer holds no %s", list);
    for (; columns < TABLE_COLUMNS_MAX && fields[columns].title != NULL; columns++)
        titles[columns] = fields[columns].title;
    table_init(&table, titles, columns);
    for (struct json_iter i = json_elements(objects); json_next_element(&i, &object);)
        for (size_t c = 0; c < columns; c++)
            (fields[c].time ? table_time : table_member)(&table, object, fields[c].member,
                                                         fields[c].absent);
    if (table.count == 0 && !table.failed)
        puts(none);
    else
        err = table_print(&table, why);
    table_release(&table);
    return err;
}

void table_fields(struct table *table, struct json object, const struct table_field *fields)
{
    for (; fields->title != NULL; fields++) {
        char time[SHORT_TIME_TEXT];
        struct json value;
        const bool has_time = fields->time && member_short_time(object, fields->member, time);
        const bool has =
            fields->time
                ? has_time
                : json_get(object, fields->member, &value) && !json_is_null(value) &&
                      !(json_is_string(value) && member_text(object, fields->member).len == 0);
        if (!has && fields->absent == NULL)
            continue;
        table_text(table, fields->title);
        if (has_time)
            table_format(table, "%s UTC", time);
        else
            table_member(table, object, fields->member, fields->absent);
    }
}

enum pl_err table_edges(struct json root, struct pl_why *why)
{
    static const struct table_field fields[] = {
        {"EDGE", "name", "-", false},   {"REGION", "region", "-", false},
        {"STATE", "state", "-", false}, {"SINCE (UTC)", "at", "-", true},
        {"WHY", "reason", "", false},   {0},
    };
    struct json edges;
    if (!json_get(root, "edges", &edges) || json_count(edges) == 0)
        return PL_OK;
    putchar('\n');
    return table_list(root, "edges", fields, "", why);
}
