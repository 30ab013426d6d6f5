/* The record of processing as a page: every member of its JSON, whatever it is, under a title. */
#include "origin/accounts/processing_record.h"

#include <stdlib.h>

#define RECORD_BYTES_MAX (256u << 10)
#define DEPTH_MAX        8

static const struct {
    const char *member, *title;
} titles[] = {
    {"account", "Account"},
    {"missing", "Still to be stated"},
    {"controller", "Controller"},
    {"processor", "Processor"},
    {"processing", "Processing"},
    {"purposes", "Purposes"},
    {"legal_basis", "Legal basis"},
    {"data_subjects", "Data subjects"},
    {"categories_of_data", "Categories of data"},
    {"not_kept", "Not kept"},
    {"recipients", "Recipients"},
    {"sub_processors", "Sub-processors"},
    {"regions_passed_through", "Regions passed through"},
    {"transfers", "Transfers"},
    {"retention", "Retention and deletion"},
    {"statutory_holds", "Statutory holds"},
    {"security", "Security measures"},
    {"security_settings", "Security settings"},
};

static const char head[] =
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
    "style-src 'unsafe-inline'\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<title>Record of processing activities</title>\n<style>\n"
    "body{font:16px/1.5 system-ui,sans-serif;color:#1b2733;background:#fff;max-width:52rem;"
    "margin:2.5rem auto;padding:0 1.25rem}\n"
    "h1{font-size:1.6rem;margin:0 0 .25rem}\n"
    "h2{font-size:1.05rem;margin:2rem 0 .5rem;padding-bottom:.25rem;border-bottom:1px solid "
    "#cfd8df}\n"
    "p,ul{margin:.25rem 0}ul{padding-left:1.25rem}\n"
    ".made,.none{color:#5b6b78}.missing{background:#fff6e0;border-left:4px solid #c98a00;"
    "padding:.5rem 1rem;margin:1rem 0}\n"
    ".missing h2{border:0;margin:0;padding:0}\n"
    "table{border-collapse:collapse;width:100%}\n"
    "th,td{text-align:left;vertical-align:top;padding:.35rem .75rem .35rem 0;border-bottom:1px "
    "solid #e6ebef}\n"
    "th{font-weight:600}tbody th{width:34%;font-weight:500}td:first-child{width:28%}\n"
    "@media print{body{margin:0;max-width:none;font-size:11pt}h2{break-after:avoid}"
    "tr{break-inside:avoid}}\n"
    "</style></head><body>\n";

static enum pl_err put_escaped(struct pl_buf *page, struct pl_span text)
{
    static const char *const entities[256] = {
        ['<'] = "&lt;", ['>'] = "&gt;", ['&'] = "&amp;", ['"'] = "&quot;", ['\''] = "&#39;"};
    enum pl_err err = PL_OK;
    for (size_t i = 0; err == PL_OK && i < text.len; i++) {
        const char *entity = entities[text.data[i]];
        err = entity == NULL ? pl_buf_put_u8(page, text.data[i]) : pl_buf_append_str(page, entity);
    }
    return err;
}

/* A member's name for people: "last_day" is "Last day". */
static enum pl_err put_name(struct pl_buf *page, struct pl_span name)
{
    enum pl_err err = PL_OK;
    for (size_t i = 0; err == PL_OK && i < name.len; i++) {
        char c = (char)name.data[i];
        if (i == 0 && c >= 'a' && c <= 'z') {
            c = (char)(c - 'a' + 'A');
        }
        err = pl_buf_put_u8(page, (uint8_t)(c == '_' ? ' ' : c));
    }
    return err;
}

static enum pl_err put_text(struct pl_buf *page, struct json value)
{
    struct pl_span text;
    int64_t wall_ms;
    bool flag;
    if (json_string(value, &text) && text.len > 0) {
        /* a time, in the form that people read */
        if (text.len == PL_TIME_TEXT - 1 && pl_time_parse(text, &wall_ms)) {
            return pl_buf_appendf(page, "%.10s %.5s UTC", (const char *)text.data,
                                  (const char *)text.data + 11);
        }
        return put_escaped(page, text);
    }
    if (json_bool(value, &flag)) {
        return pl_buf_append_str(page, flag ? "yes" : "no");
    }
    return pl_buf_append_str(page, json_is_string(value) ? "<span class=\"none\">not stated</span>"
                                                         : "<span class=\"none\">none</span>");
}

static enum pl_err put_words(struct pl_buf *page, struct json list)
{
    struct json value;
    enum pl_err err = PL_OK;
    bool first = true;
    for (struct json_iter i = json_elements(list); err == PL_OK && json_next_element(&i, &value);) {
        err = first ? PL_OK : pl_buf_append_str(page, ", ");
        first = false;
        if (err == PL_OK) {
            err = put_text(page, value);
        }
    }
    return first ? pl_buf_append_str(page, "<span class=\"none\">none configured</span>") : err;
}

static enum pl_err put_object(struct pl_buf *page, struct json object)
{
    struct pl_span name;
    struct json value;
    enum pl_err err = pl_buf_append_str(page, "<table><tbody>\n");
    for (struct json_iter i = json_members(object);
         err == PL_OK && json_next_member(&i, &name, &value);) {
        if ((err = pl_buf_append_str(page, "<tr><th>")) != PL_OK ||
            (err = put_name(page, name)) != PL_OK ||
            (err = pl_buf_append_str(page, "</th><td>")) != PL_OK ||
            (err = json_is_array(value) ? put_words(page, value) : put_text(page, value)) !=
                PL_OK) {
            break;
        }
        err = pl_buf_append_str(page, "</td></tr>\n");
    }
    return err == PL_OK ? pl_buf_append_str(page, "</tbody></table>\n") : err;
}

/* One row of a table; its names instead, for the head line. */
static enum pl_err put_row(struct pl_buf *page, struct json object, bool names)
{
    struct pl_span name;
    struct json value;
    enum pl_err err = pl_buf_append_str(page, "<tr>");
    for (struct json_iter i = json_members(object);
         err == PL_OK && json_next_member(&i, &name, &value);) {
        if ((err = pl_buf_append_str(page, names ? "<th>" : "<td>")) != PL_OK ||
            (err = names ? put_name(page, name) : put_text(page, value)) != PL_OK) {
            break;
        }
        err = pl_buf_append_str(page, names ? "</th>" : "</td>");
    }
    return err == PL_OK ? pl_buf_append_str(page, "</tr>\n") : err;
}

static enum pl_err put_list(struct pl_buf *page, struct json list)
{
    struct json value;
    struct json_iter i = json_elements(list);
    if (!json_next_element(&i, &value)) {
        return pl_buf_append_str(page, "<p class=\"none\">none</p>\n");
    }
    bool rows = json_is_object(value);
    enum pl_err err = pl_buf_append_str(page, rows ? "<table><thead>" : "<ul>");
    if (err == PL_OK && rows && (err = put_row(page, value, true)) == PL_OK) {
        err = pl_buf_append_str(page, "</thead><tbody>\n");
    }
    do {
        if (err == PL_OK && rows) {
            err = put_row(page, value, false);
        } else if (err == PL_OK && (err = pl_buf_append_str(page, "<li>")) == PL_OK &&
                   (err = put_text(page, value)) == PL_OK) {
            err = pl_buf_append_str(page, "</li>\n");
        }
    } while (err == PL_OK && json_next_element(&i, &value));
    return err == PL_OK ? pl_buf_append_str(page, rows ? "</tbody></table>\n" : "</ul>\n") : err;
}

static enum pl_err put_section(struct pl_buf *page, const char *title, struct json value,
                               bool warns)
{
    enum pl_err err =
        pl_buf_appendf(page, "<section%s><h2>%s</h2>\n", warns ? " class=\"missing\"" : "", title);
    if (err == PL_OK && json_is_object(value)) {
        err = put_object(page, value);
    } else if (err == PL_OK && json_is_array(value)) {
        err = put_list(page, value);
    } else if (err == PL_OK && (err = pl_buf_append_str(page, "<p>")) == PL_OK &&
               (err = put_text(page, value)) == PL_OK) {
        err = pl_buf_append_str(page, "</p>\n");
    }
    return err == PL_OK ? pl_buf_append_str(page, "</section>\n") : err;
}

static enum pl_err put_top(struct pl_buf *page, struct json record)
{
    struct json title, made;
    enum pl_err err = pl_buf_append_str(page, head);
    if (err == PL_OK && json_get(record, "title", &title) && json_get(record, "made_at", &made) &&
        (err = pl_buf_append_str(page, "<h1>")) == PL_OK &&
        (err = put_text(page, title)) == PL_OK &&
        (err = pl_buf_append_str(page, "</h1>\n<p class=\"made\">Made ")) == PL_OK &&
        (err = put_text(page, made)) == PL_OK) {
        err = pl_buf_append_str(page, " from what is configured.</p>\n");
    }
    return err;
}

static enum pl_err put_page(struct pl_buf *page, struct json record)
{
    struct json value;
    enum pl_err err = put_top(page, record);
    for (size_t i = 0; err == PL_OK && i < sizeof(titles) / sizeof(titles[0]); i++) {
        bool warns = strcmp(titles[i].member, "missing") == 0;
        if (json_get(record, titles[i].member, &value) && !(warns && json_count(value) == 0)) {
            err = put_section(page, titles[i].title, value, warns);
        }
    }
    return err == PL_OK ? pl_buf_append_str(page, "</body></html>\n") : err;
}

enum pl_err processing_record_page(const struct origin_parts *parts, const struct account *account,
                                   struct pl_buf *page, struct pl_why *why)
{
    struct json_writer *w = NULL;
    struct json_parser *parser = NULL;
    struct json record;
    struct pl_buf text;
    pl_buf_init(&text, RECORD_BYTES_MAX);
    enum pl_err err = json_writer_new(&w, false);
    if (err == PL_OK) {
        json_writer_begin(w, &text);
        err = processing_record_write(parts, account, w, why);
    }
    if (err == PL_OK && (err = json_writer_end(w)) == PL_OK &&
        (err = json_parser_new(&parser, RECORD_BYTES_MAX, DEPTH_MAX)) == PL_OK &&
        (err = json_parse(parser, pl_buf_span(&text), &record, why)) == PL_OK) {
        err = put_page(page, record);
    }
    json_parser_free(parser);
    json_writer_free(w);
    pl_buf_release(&text);
    return err;
}
