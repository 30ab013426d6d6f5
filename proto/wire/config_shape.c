#include "proto/wire/config_shape.h"

#include <strings.h>

static const char *id_is_wrong(struct pl_span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] == 0 ||
            strchr("abcdefghijklmnopqrstuvwxyz0123456789-_", text.data[i]) == NULL)
            return "must be made of a-z, 0-9, - and _";
    return NULL;
}

static bool is_web_url(struct pl_span text)
{
    return pl_span_starts(text, PL_SPAN_LIT("http://")) ||
           pl_span_starts(text, PL_SPAN_LIT("https://"));
}

static const char *glob_is_wrong(struct pl_span text)
{
    if (pl_span_starts(text, PL_SPAN_LIT("/")) || pl_span_starts(text, PL_SPAN_LIT("*")) ||
        pl_span_starts(text, PL_SPAN_LIT("http")))
        return NULL;
    return "must begin with \"/\", \"http\" or \"*\"";
}

static const char *const modification_types[] = {"text",  "html",     "attribute", "class",
                                                 "style", "redirect", "event",     NULL};

static bool text_of(struct json object, const char *key, struct pl_span *text)
{
    struct json value;
    return json_get(object, key, &value) && json_string(value, text);
}

static bool holds_nocase(struct pl_span text, const char *needle)
{
    size_t len = strlen(needle);
    for (size_t i = 0; i + len <= text.len; i++)
        if (strncasecmp((const char *)text.data + i, needle, len) == 0)
            return true;
    return false;
}

static bool is_script_url(struct pl_span text)
{
    return pl_span_eq_nocase(pl_span(text.data, text.len < 11 ? text.len : 11),
                             PL_SPAN_LIT("javascript:"));
}

static const char *modification_is_wrong(struct json modification, const char **key)
{
    struct pl_span type = {0}, name = {0}, value = {0}, selector = {0};
    text_of(modification, "type", &type);
    bool has_name = text_of(modification, "name", &name);
    bool has_value = text_of(modification, "value", &value);
    bool redirect = pl_span_eq_str(type, "redirect"), event = pl_span_eq_str(type, "event");
    bool attribute = pl_span_eq_str(type, "attribute"), style = pl_span_eq_str(type, "style");

    *key = "selector";
    if (!redirect && !event && !text_of(modification, "selector", &selector))
        return "is required for this type";
    *key = "name";
    if ((attribute || style || event) && !has_name)
        return "is required for this type";
    if (attribute && name.len >= 2 && strncasecmp((const char *)name.data, "on", 2) == 0)
        return "must not be an event handler: modifications carry no scripts";
    *key = "value";
    if ((redirect || pl_span_eq_str(type, "class")) && !has_value)
        return "is required for this type";
    if (redirect && !is_web_url(value) && !pl_span_starts(value, PL_SPAN_LIT("/")))
        return "must begin with \"/\", \"https://\" or \"http://\"";
    if (pl_span_eq_str(type, "html") && holds_nocase(value, "<script"))
        return "must not contain <script: modifications carry no scripts";
    if (attribute && is_script_url(value))
        return "must not be a javascript: URL: modifications carry no scripts";
    return NULL;
}

static const char *variant_is_wrong(struct json variant, const char **key)
{
    struct json control, modifications;
    bool is_control = false;
    if (json_get(variant, "control", &control))
        json_bool(control, &is_control);
    *key = "modifications";
    if (is_control && json_get(variant, *key, &modifications) && json_count(modifications) > 0)
        return "must be empty: a control variant shows the page as it is";
    return NULL;
}

static const struct config_row modification_rows[] = {
    {.key = "type", .kind = CONFIG_TEXT, .required = true, .one_of = modification_types},
    {.key = "selector", .kind = CONFIG_TEXT, .min_bytes = 1, .max_bytes = 512},
    {.key = "name", .kind = CONFIG_TEXT, .min_bytes = 1, .max_bytes = 128},
    {.key = "value", .kind = CONFIG_TEXT, .max_bytes = (size_t)16 * 1024},
    {0},
};
static const struct config_shape modification = {modification_rows, modification_is_wrong, NULL};

static const struct config_row variant_rows[] = {
    {.key = "id",
     .kind = CONFIG_TEXT,
     .required = true,
     .min_bytes = 1,
     .max_bytes = 64,
     .text_is_wrong = id_is_wrong},
    {.key = "weight", .kind = CONFIG_NUMBER, .above_min = true, .max = 1e6, .default_json = "1"},
    {.key = "control", .kind = CONFIG_BOOL, .default_json = "false"},
    {.key = "principle", .kind = CONFIG_TEXT, .min_bytes = 1, .max_bytes = 64},
    {.key = "modifications",
     .kind = CONFIG_OBJECTS,
     .max_count = 64,
     .shape = &modification,
     .default_json = "[]"},
    {0},
};
static const struct config_shape variant = {variant_rows, variant_is_wrong, NULL};

static const struct config_row campaign_rows[] = {
    {.key = "id",
     .kind = CONFIG_TEXT,
     .required = true,
     .min_bytes = 1,
     .max_bytes = 64,
     .text_is_wrong = id_is_wrong},
    {.key = "name", .kind = CONFIG_TEXT, .hidden = true, .max_bytes = 256},
    {.key = "enabled", .kind = CONFIG_BOOL, .hidden = true},
    {.key = "traffic", .kind = CONFIG_NUMBER, .max = 1, .default_json = "1"},
    {.key = "url",
     .kind = CONFIG_TEXTS,
     .max_count = 64,
     .min_bytes = 1,
     .max_bytes = 2048,
     .text_is_wrong = glob_is_wrong,
     .default_json = "[]"},
    {.key = "variants",
     .kind = CONFIG_OBJECTS,
     .required = true,
     .min_count = 1,
     .max_count = 16,
     .unique = "id",
     .shape = &variant},
    {0},
};
static const struct config_shape campaign = {campaign_rows, NULL, "enabled"};

static const struct config_row settings_rows[] = {
    {.key = "session_timeout_minutes",
     .kind = CONFIG_INTEGER,
     .min = 1,
     .max = 240,
     .default_json = "30"},
    {.key = "honour_dnt", .kind = CONFIG_BOOL, .default_json = "true"},
    {0},
};
static const struct config_shape settings = {settings_rows, NULL, NULL};

static const struct config_row document_rows[] = {
    {.key = "campaigns",
     .kind = CONFIG_OBJECTS,
     .required = true,
     .max_count = 200,
     .unique = "id",
     .shape = &campaign},
    {.key = "settings", .kind = CONFIG_OBJECT, .shape = &settings},
    {0},
};
const struct config_shape config_document = {document_rows, NULL, NULL};
