#include "edge/decide.h"

#include "proto/base/buf.h"
#include "proto/base/clock.h"
#include "proto/base/murmur3.h"
#include "proto/base/text.h"
#include "proto/wire/limits.h"

#include <stdio.h>
#include <strings.h>

#define PARAM_BYTES_MAX                                                                            \
    1024 /* rules are shorter, so that a longer value only matters by its end                      \
          */

/* ---- variants */

static double fraction(struct pl_span visitor, struct pl_span campaign, const char *what)
{
    char text[LIMIT_ID_BYTES + 128];
    const int len =
        snprintf(text, sizeof(text), "%.*s/%.*s/%s", (int)visitor.len, (const char *)visitor.data,
                 (int)campaign.len, (const char *)campaign.data, what);
    const size_t used = len < 0 ? 0 : (size_t)len >= sizeof(text) ? sizeof(text) - 1 : (size_t)len;
    return pl_murmur3_32(pl_span(text, used), 0) / 4294967296.0;
}

static double number_of(struct json object, const char *key, double otherwise)
{
    struct json value;
    double number;
    return json_get(object, key, &value) && json_f64(value, &number) ? number : otherwise;
}

static struct pl_span text_of(struct json object, const char *key)
{
    struct json value;
    struct pl_span text;
    return json_get(object, key, &value) && json_string(value, &text) ? text : pl_span(NULL, 0);
}

bool decide_variant(struct json campaign, struct pl_span visitor, struct json *variant)
{
    struct json variants, one;
    const struct pl_span id = text_of(campaign, "id");
    double sum = 0;
    bool any = false;
    if (visitor.len > LIMIT_ID_BYTES || !json_get(campaign, "variants", &variants) ||
        fraction(visitor, id, "traffic") >= number_of(campaign, "traffic", 1))
        return false;
    struct json_iter each = json_elements(variants);
    while (json_next_element(&each, &one))
        sum += number_of(one, "weight", 1);
    double point = fraction(visitor, id, "variant") * sum;
    each = json_elements(variants);
    while (json_next_element(&each, &one)) {
        *variant = one;
        any = true;
        point -= number_of(one, "weight", 1);
        if (point < 0)
            return true;
    }
    return any;
}

/* ---- pages */

bool decide_split_url(struct pl_span url, struct decide_page *page)
{
    const uint8_t *hash = url.len == 0 ? NULL : memchr(url.data, '#', url.len);
    if (hash != NULL)
        url.len = (size_t)(hash - url.data);
    const size_t scheme = pl_span_starts(url, PL_SPAN_LIT("https://"))  ? 8
                          : pl_span_starts(url, PL_SPAN_LIT("http://")) ? 7
                                                                        : 0;
    size_t path = scheme;
    while (path < url.len && url.data[path] != '/' && url.data[path] != '?')
        path++;
    if (scheme == 0 || path == scheme)
        return false;
    size_t search = path;
    while (search < url.len && url.data[search] != '?')
        search++;
    page->origin = pl_span(url.data, path);
    page->pathname = search > path ? pl_span(url.data + path, search - path) : PL_SPAN_LIT("/");
    page->search = url.len - search > 1 ? pl_span_from(url, search) : pl_span(NULL, 0);
    return true;
}

/* Where text holds needle, ASCII case folded; NULL: nowhere. */
static const uint8_t *find(struct pl_span text, const char *needle)
{
    const size_t len = strlen(needle);
    for (size_t i = 0; i + len <= text.len; i++)
        if (strncasecmp((const char *)text.data + i, needle, len) == 0)
            return text.data + i;
    return NULL;
}

/* Android names phones "mobile" behind its own name, and tablets not. */
static bool is_android_tablet(struct pl_span agent)
{
    const uint8_t *at;
    while ((at = find(agent, "android")) != NULL) {
        agent = pl_span_from(agent, (size_t)(at - agent.data) + strlen("android"));
        if (find(agent, "mobi") == NULL)
            return true;
    }
    return false;
}

enum decide_device decide_device_of(struct pl_span agent)
{
    static const char *const tablets[] = {"ipad", "tablet", "kindle", "silk", "playbook"};
    static const char *const phones[] = {"mobi", "iphone", "ipod", "windows phone"};
    for (size_t i = 0; i < sizeof(tablets) / sizeof(tablets[0]); i++)
        if (find(agent, tablets[i]) != NULL)
            return DECIDE_TABLET;
    if (is_android_tablet(agent))
        return DECIDE_TABLET;
    for (size_t i = 0; i < sizeof(phones) / sizeof(phones[0]); i++)
        if (find(agent, phones[i]) != NULL)
            return DECIDE_MOBILE;
    return DECIDE_DESKTOP;
}

/* ---- rules */

/* A text in up to three pieces, as one. */
struct joined {
    struct pl_span part[3];
};

static size_t joined_len(const struct joined *text)
{
    return text->part[0].len + text->part[1].len + text->part[2].len;
}

static uint8_t joined_at(const struct joined *text, size_t i)
{
    for (size_t p = 0;; i -= text->part[p++].len)
        if (i < text->part[p].len)
            return text->part[p].data[i];
}

/* '*' stands for any run of characters. Never slower than lengths multiplied. */
static bool glob_fits(struct pl_span glob, const struct joined *text)
{
    const size_t len = joined_len(text);
    size_t at = 0, mark = 0, star = SIZE_MAX;
    for (size_t i = 0; i < len;) {
        if (at < glob.len && glob.data[at] == '*') {
            star = at++;
            mark = i;
        } else if (at < glob.len && glob.data[at] == joined_at(text, i)) {
            at++;
            i++;
        } else if (star == SIZE_MAX) {
            return false;
        } else {
            at = star + 1;
            i = ++mark;
        }
    }
    while (at < glob.len && glob.data[at] == '*')
        at++;
    return at == glob.len;
}

static bool url_fits(struct pl_span glob, const struct decide_page *page)
{
    const struct pl_span nothing = pl_span(NULL, 0);
    const bool path_only = glob.len > 0 && glob.data[0] == '/';
    const bool with_query = glob.len > 0 && memchr(glob.data, '?', glob.len) != NULL;
    const struct joined text = {
        {path_only ? nothing : page->origin, page->pathname, with_query ? page->search : nothing}};
    return glob_fits(glob, &text);
}

static bool holds(struct pl_span text, struct pl_span needle)
{
    return needle.len == 0 || memmem(text.data, text.len, needle.data, needle.len) != NULL;
}

static bool query_fits(struct json rule, const struct decide_page *page)
{
    struct pl_span rest = pl_span_from(page->search, 1), encoded, raw;
    const struct pl_span name = text_of(rule, "name");
    struct json value;
    struct pl_span equals = {0}, contains = {0};
    bool wanted = false, found = false;
    const bool asks_exists = json_get(rule, "exists", &value) && json_bool(value, &wanted);
    const bool asks_equals = json_get(rule, "equals", &value) && json_string(value, &equals);
    const bool asks_contains = json_get(rule, "contains", &value) && json_string(value, &contains);
    while (pl_form_next(&rest, &encoded, &raw)) {
        uint8_t name_room[PARAM_BYTES_MAX], room[PARAM_BYTES_MAX];
        struct pl_buf names = {
            .data = name_room, .cap = sizeof(name_room), .max_bytes = sizeof(name_room)};
        struct pl_buf text = {.data = room, .cap = sizeof(room), .max_bytes = sizeof(room)};
        if (pl_form_decode(encoded, &names) != PL_OK || !pl_span_eq(pl_buf_span(&names), name))
            continue;
        if (pl_form_decode(raw, &text) != PL_OK)
            continue;
        found |= asks_exists || (asks_equals && pl_span_eq(pl_buf_span(&text), equals)) ||
                 (asks_contains && holds(pl_buf_span(&text), contains));
    }
    return asks_exists ? found == wanted : found;
}

/* RFC 4647 section 3.3.1: "en" is for en and en-GB, not for enm. */
static bool locale_fits(struct pl_span range, const struct decide_page *page)
{
    const struct pl_span locale = page->locale;
    return locale.len >= range.len && pl_span_eq_nocase(pl_span(locale.data, range.len), range) &&
           (locale.len == range.len || locale.data[range.len] == '-');
}

static bool device_fits(struct pl_span device, const struct decide_page *page)
{
    static const char *const names[] = {
        [DECIDE_DESKTOP] = "desktop", [DECIDE_MOBILE] = "mobile", [DECIDE_TABLET] = "tablet"};
    return pl_span_eq_str(device, names[page->device]);
}

/* Whether one of an array of texts fits; where there is no such key, or no element and none is
 * needed, all fits. */
static bool one_fits(struct json campaign, const char *key,
                     bool (*fits)(struct pl_span text, const struct decide_page *page),
                     const struct decide_page *page)
{
    struct json list, one;
    struct pl_span text;
    if (!json_get(campaign, key, &list) || json_count(list) == 0)
        return true;
    struct json_iter each = json_elements(list);
    while (json_next_element(&each, &one))
        if (json_string(one, &text) && fits(text, page))
            return true;
    return false;
}

static bool all_queries_fit(struct json campaign, const struct decide_page *page)
{
    struct json list, one;
    if (!json_get(campaign, "query", &list))
        return true;
    struct json_iter each = json_elements(list);
    while (json_next_element(&each, &one))
        if (!query_fits(one, page))
            return false;
    return true;
}

static bool audience_fits(struct json campaign, const struct decide_page *page)
{
    const struct pl_span audience = text_of(campaign, "audience");
    return audience.len == 0 || (page->audience == DECIDE_NEW && pl_span_eq_str(audience, "new")) ||
           (page->audience == DECIDE_RETURNING && pl_span_eq_str(audience, "returning"));
}

static bool schedule_fits(struct json campaign, const struct decide_page *page)
{
    const struct pl_span from = text_of(campaign, "from"), until = text_of(campaign, "until");
    int64_t ms;
    if (from.len > 0 && (!pl_time_parse(from, &ms) || page->now_ms < ms))
        return false;
    return until.len == 0 || (pl_time_parse(until, &ms) && page->now_ms < ms);
}

bool decide_fits(struct json campaign, const struct decide_page *page)
{
    return one_fits(campaign, "url", url_fits, page) && all_queries_fit(campaign, page) &&
           one_fits(campaign, "device", device_fits, page) &&
           one_fits(campaign, "locale", locale_fits, page) && audience_fits(campaign, page) &&
           schedule_fits(campaign, page);
}
