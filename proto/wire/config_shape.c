#include "proto/wire/config_shape.h"

#include <stddef.h>

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

#define LOWER     "abcdefghijklmnopqrstuvwxyz"
#define UPPER     "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS    "0123456789"
#define ID_CHARS  LOWER DIGITS "-_"
#define URL_CHARS LOWER UPPER DIGITS "-._~:/[]%"

#define ID_ROW(what)                                                                               \
    {                                                                                              \
        .key = "id", .about = what, .kind = CONFIG_TEXT, .required = true, .min_bytes = 1,         \
        .max_bytes = 64, .chars = ID_CHARS, .words = "must be made of a-z, 0-9, - and _"           \
    }

/* ---- modifications */

#define NO_SCRIPTS "modifications carry no scripts"

/* Against accidents. Who may publish may change the page, whatever stands here. */
static const struct config_ban html_bans[] = {
    {CONFIG_BAN_HOLD, "<script", "must not contain <script: " NO_SCRIPTS},
    {CONFIG_BAN_HOLD, "javascript:", "must not contain javascript: URLs: " NO_SCRIPTS},
    {CONFIG_BAN_HOLD, "srcdoc", "must not contain srcdoc: " NO_SCRIPTS},
    {CONFIG_BAN_HANDLER, NULL, "must not contain event handlers (on…=): " NO_SCRIPTS},
    {0},
};
static const struct config_ban attribute_bans[] = {
    {CONFIG_BAN_BEGIN, "on", "must not be an event handler: " NO_SCRIPTS},
    {CONFIG_BAN_IS, "srcdoc", "must not be srcdoc: " NO_SCRIPTS},
    {CONFIG_BAN_IS, "style",
     "must not be style, which a strict content security policy refuses; use type style"},
    {0},
};
static const struct config_ban url_bans[] = {
    {CONFIG_BAN_SCRIPT_URL, NULL, "must not be a javascript: URL: " NO_SCRIPTS},
    {0},
};

static const struct config_row with_selector[] = {
    {.key = "selector", .kind = CONFIG_TEXT, .required = true},
    {0},
};
static const struct config_row with_name[] = {
    {.key = "name", .kind = CONFIG_TEXT, .required = true},
    {0},
};
static const struct config_row with_value[] = {
    {.key = "value", .kind = CONFIG_TEXT, .required = true, .min_bytes = 1},
    {0},
};
static const struct config_row of_html[] = {
    {.key = "value", .kind = CONFIG_TEXT, .bans = html_bans},
    {0},
};
static const struct config_row of_attribute[] = {
    {.key = "name", .kind = CONFIG_TEXT, .bans = attribute_bans},
    {.key = "value", .kind = CONFIG_TEXT, .bans = url_bans},
    {0},
};
static const struct config_row of_redirect[] = {
    {.key = "value",
     .kind = CONFIG_TEXT,
     .begins = WORDS("/", "https://", "http://"),
     .words = "must begin with \"/\", \"https://\" or \"http://\""},
    {0},
};
static const struct config_when modification_whens[] = {
    {"type", WORDS("text", "html", "attribute", "class", "style"), with_selector},
    {"type", WORDS("attribute", "style", "event"), with_name},
    {"type", WORDS("class", "redirect"), with_value},
    {"type", WORDS("html"), of_html},
    {"type", WORDS("attribute"), of_attribute},
    {"type", WORDS("redirect"), of_redirect},
    {0},
};

static const struct config_row modification_rows[] = {
    {.key = "type",
     .about = "What is done: text, html, attribute, class and style change every element that the "
              "selector finds; redirect leaves for another page; event tells the page's own "
              "scripts.",
     .kind = CONFIG_TEXT,
     .required = true,
     .one_of = WORDS("text", "html", "attribute", "class", "style", "redirect", "event")},
    {.key = "selector",
     .about = "CSS selector of the elements.",
     .kind = CONFIG_TEXT,
     .min_bytes = 1,
     .max_bytes = 512},
    {.key = "name",
     .about = "Name of the attribute, of the style's property, or of the event.",
     .kind = CONFIG_TEXT,
     .min_bytes = 1,
     .max_bytes = 128},
    {.key = "value",
     .about = "The text, the HTML, the attribute's or property's value, the classes (\"-old new\" "
              "takes one away and adds one), where to, or what the event carries.",
     .kind = CONFIG_TEXT,
     .max_bytes = (size_t)16 * 1024},
    {0},
};
static const struct config_shape modification = {.rows = modification_rows,
                                                 .whens = modification_whens};

/* ---- variants */

static const struct config_row of_control[] = {
    {.key = "modifications",
     .kind = CONFIG_OBJECTS,
     .max_count = 0,
     .words = "must be empty: a control variant shows the page as it is"},
    {0},
};
static const struct config_when variant_whens[] = {
    {"control", WORDS("true"), of_control},
    {0},
};

static const struct config_row variant_rows[] = {
    ID_ROW("Names the variant in events."),
    {.key = "weight",
     .about = "Its share of the visitors that take part, against the other variants' weights.",
     .kind = CONFIG_NUMBER,
     .above_min = true,
     .max = 1e6,
     .default_json = "1"},
    {.key = "control",
     .about = "The page as it is, to compare with.",
     .kind = CONFIG_BOOL,
     .default_json = "false"},
    {.key = "principle",
     .about = "The psychological principle it tries: scarcity, social-proof, authority …",
     .kind = CONFIG_TEXT,
     .min_bytes = 1,
     .max_bytes = 64},
    {.key = "modifications",
     .about = "What changes on the page, in this order.",
     .kind = CONFIG_OBJECTS,
     .max_count = 64,
     .shape = &modification,
     .default_json = "[]"},
    {0},
};
static const struct config_shape variant = {.rows = variant_rows, .whens = variant_whens};

/* ---- campaigns */

static const struct config_row query_rows[] = {
    {.key = "name",
     .about = "Name of the query parameter.",
     .kind = CONFIG_TEXT,
     .required = true,
     .min_bytes = 1,
     .max_bytes = 128},
    {.key = "equals", .about = "One of its values is this.", .kind = CONFIG_TEXT, .max_bytes = 512},
    {.key = "contains",
     .about = "One of its values holds this.",
     .kind = CONFIG_TEXT,
     .min_bytes = 1,
     .max_bytes = 512},
    {.key = "exists", .about = "It is there (true), or it is not (false).", .kind = CONFIG_BOOL},
    {0},
};
static const struct config_shape query = {
    .rows = query_rows,
    .exactly_one = WORDS("equals", "contains", "exists"),
};

static const struct config_row campaign_rows[] = {
    ID_ROW("Names the campaign in events; the visitors' buckets follow from it."),
    {.key = "name",
     .about = "For people; not published.",
     .kind = CONFIG_TEXT,
     .hidden = true,
     .max_bytes = 256},
    {.key = "enabled",
     .about = "Campaigns that are not are left out of what is published.",
     .kind = CONFIG_BOOL,
     .hidden = true},
    {.key = "traffic",
     .about = "Share of the visitors that takes part.",
     .kind = CONFIG_NUMBER,
     .max = 1,
     .default_json = "1"},
    {.key = "url",
     .about = "Globs, one of which must fit the page's address; none: every page. Of the path if "
              "it begins with \"/\", with the query if it has a \"?\".",
     .kind = CONFIG_TEXTS,
     .max_count = 64,
     .min_bytes = 1,
     .max_bytes = 2048,
     .begins = WORDS("/", "http", "*"),
     .words = "must begin with \"/\", \"http\" or \"*\"",
     .default_json = "[]"},
    {.key = "query",
     .about = "What the page's query parameters must be; all of these.",
     .kind = CONFIG_OBJECTS,
     .min_count = 1,
     .max_count = 16,
     .shape = &query},
    {.key = "device",
     .about = "Kinds of device.",
     .kind = CONFIG_TEXTS,
     .min_count = 1,
     .max_count = 3,
     .one_of = WORDS("mobile", "tablet", "desktop")},
    {.key = "locale",
     .about = "Languages: \"en\" is for en, en-GB and en-US.",
     .kind = CONFIG_TEXTS,
     .min_count = 1,
     .max_count = 64,
     .min_bytes = 1,
     .max_bytes = 35,
     .chars = LOWER UPPER DIGITS "-",
     .words = "must be a language as in \"en\" or \"en-GB\""},
    {.key = "audience",
     .about = "Visitors in their first session, or in a later one; absent: both.",
     .kind = CONFIG_TEXT,
     .one_of = WORDS("new", "returning")},
    {.key = "from", .about = "Not before this.", .kind = CONFIG_TIME},
    {.key = "until", .about = "Not from this on.", .kind = CONFIG_TIME},
    {.key = "responses",
     .about = "Selectors of what counts as a response when clicked; none: whatever any of the "
              "variants modifies.",
     .kind = CONFIG_TEXTS,
     .min_count = 1,
     .max_count = 16,
     .min_bytes = 1,
     .max_bytes = 512},
    {.key = "variants",
     .about = "What visitors are split over.",
     .kind = CONFIG_OBJECTS,
     .required = true,
     .min_count = 1,
     .max_count = 16,
     .unique = "id",
     .shape = &variant},
    {0},
};
static const struct config_shape campaign = {
    .rows = campaign_rows,
    .earlier_later = WORDS("from", "until"),
    .skip_unless = "enabled",
};

/* ---- settings */

static const struct config_row click_rows[] = {
    {.key = "selector",
     .about = "CSS selector of the elements whose clicks are told.",
     .kind = CONFIG_TEXT,
     .required = true,
     .min_bytes = 1,
     .max_bytes = 512},
    {.key = "name",
     .about = "Told with each click.",
     .kind = CONFIG_TEXT,
     .required = true,
     .min_bytes = 1,
     .max_bytes = 128},
    {0},
};
static const struct config_shape click = {.rows = click_rows};

static const struct config_row settings_rows[] = {
    {.key = "session_timeout_minutes",
     .about = "A session ends when nothing happens for this long.",
     .kind = CONFIG_INTEGER,
     .min = 1,
     .max = 240,
     .default_json = "30"},
    {.key = "honour_dnt",
     .about = "Published as the account's rule says, whatever stands here.",
     .kind = CONFIG_BOOL,
     .default_json = "true"},
    {.key = "page_views",
     .about = "Page views are told without being asked for, navigation within the page included.",
     .kind = CONFIG_BOOL,
     .default_json = "true"},
    {.key = "clicks",
     .about = "Clicks that are told.",
     .kind = CONFIG_OBJECTS,
     .max_count = 64,
     .shape = &click,
     .default_json = "[]"},
    {.key = "fallback",
     .about = "Addresses of edges in other regions, asked when the one that served the snippet "
              "does not answer.",
     .kind = CONFIG_TEXTS,
     .max_count = 4,
     .min_bytes = 9,
     .max_bytes = 256,
     .begins = WORDS("https://", "http://"),
     .chars = URL_CHARS,
     .words = "must be an edge's address, as in \"https://eu.edge.example\"",
     .default_json = "[]"},
    {.key = "antiflicker_ms",
     .about = "How long a page may stay hidden that is about to redirect.",
     .kind = CONFIG_INTEGER,
     .max = 500,
     .default_json = "500"},
    {0},
};
static const struct config_shape settings = {.rows = settings_rows};

/* ---- the document */

static const struct config_row document_rows[] = {
    {.key = "$schema",
     .about = "Where editors find this schema; not published.",
     .kind = CONFIG_TEXT,
     .hidden = true,
     .max_bytes = 2048},
    {.key = "campaigns",
     .about = "What visitors may see, decided for each campaign on its own.",
     .kind = CONFIG_OBJECTS,
     .required = true,
     .max_count = 200,
     .unique = "id",
     .shape = &campaign},
    {.key = "settings",
     .about = "What the snippet does besides campaigns.",
     .kind = CONFIG_OBJECT,
     .shape = &settings},
    {0},
};
const struct config_shape config_document = {.rows = document_rows};
