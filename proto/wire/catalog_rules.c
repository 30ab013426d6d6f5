#include "proto/wire/catalog.h"

#define HOST_LABEL_BYTES 63 /* RFC 1035 section 2.3.4 */

const char *same_site_name(enum same_site same_site)
{
    switch (same_site) {
    case SAME_SITE_NONE:
        return "None";
    case SAME_SITE_LAX:
        return "Lax";
    case SAME_SITE_STRICT:
        return "Strict";
    }
    return NULL;
}

void catalog_rule_defaults(struct catalog_item *item)
{
    item->cookie = (struct cookie_policy){
        .enabled = true, .same_site = SAME_SITE_NONE, .name = PL_SPAN_LIT("polder_id")};
    item->pii = PII_ALL;
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_label(struct pl_span label)
{
    if (label.len == 0 || label.len > HOST_LABEL_BYTES || label.data[0] == '-' ||
        label.data[label.len - 1] == '-')
        return false;
    for (size_t i = 0; i < label.len; i++)
        if (!is_digit(label.data[i]) && !(label.data[i] >= 'a' && label.data[i] <= 'z') &&
            label.data[i] != '-')
            return false;
    return true;
}

bool catalog_is_host(struct pl_span text)
{
    size_t labels = 0;
    struct pl_span label = text, rest = text;
    if (text.len > CATALOG_HOST_BYTES)
        return false;
    for (bool last = false; !last; labels++) {
        const uint8_t *dot = rest.len == 0 ? NULL : memchr(rest.data, '.', rest.len);
        last = dot == NULL;
        label = last ? rest : pl_span(rest.data, (size_t)(dot - rest.data));
        if (!is_label(label))
            return false;
        rest = last ? rest : pl_span_from(rest, label.len + 1);
    }
    for (size_t i = 0; i < label.len; i++)
        if (!is_digit(label.data[i]))
            return labels >= 2;
    return false;
}

/* RFC 6265 section 4.1.1: a token of RFC 9110 section 5.6.2. */
bool catalog_is_cookie_name(struct pl_span text)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < text.len; i++) {
        const uint8_t c = text.data[i];
        if (!is_digit(c) && !((c | 0x20) >= 'a' && (c | 0x20) <= 'z') &&
            memchr(others, c, sizeof(others) - 1) == NULL)
            return false;
    }
    return text.len > 0 && text.len <= CATALOG_COOKIE_BYTES;
}

bool catalog_path_is_taken(struct pl_span path)
{
    /* One that ends in '*' stands for all that begins so. */
    static const char *const taken[] = {
        "/v1/*",       "/s/*",        "/s.js",    "/sdk.js",
        "/ce.js",      "/health",     "/ready",   "/replication",
        "/metrics",    "/i",          "/ice.png", "/com.snowplowanalytics.*",
        "/socket.gif", "/promotions", "/events",  "/pixel.gif",
        "/pixel.html", "/postback",
    };
    for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
        struct pl_span one = pl_span_str(taken[i]);
        const bool prefix = one.data[one.len - 1] == '*';
        one.len -= prefix;
        if (prefix ? pl_span_starts(path, one) : pl_span_eq(path, one))
            return true;
    }
    return false;
}
