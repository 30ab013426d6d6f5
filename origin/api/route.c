#include "origin/api/call.h"

#include <stdio.h>

/* The next part of a path, up to a slash; false at the end. */
static bool next_part(struct pl_span *rest, struct pl_span *part)
{
    if (rest->data == NULL) {
        return false;
    }
    const uint8_t *slash = rest->len == 0 ? NULL : memchr(rest->data, '/', rest->len);
    *part = slash == NULL ? *rest : pl_span(rest->data, (size_t)(slash - rest->data));
    /* A path that ends in a slash has an empty last part, which nothing matches. */
    *rest = slash == NULL ? pl_span(NULL, 0) : pl_span(slash + 1, rest->len - part->len - 1);
    return true;
}

static bool part_matches(struct pl_span pattern, struct pl_span part, struct api_target *target)
{
    if (pl_span_eq_str(pattern, "{account}")) {
        return pl_account_parse(part, &target->account);
    }
    if (pl_span_eq_str(pattern, "{id}")) {
        return pl_id128_parse(part, &target->id);
    }
    return pl_span_eq(pattern, part);
}

static bool matches(const char *pattern_text, struct pl_span path, struct api_target *target)
{
    struct pl_span pattern = pl_span_str(pattern_text), want, part;
    *target = (struct api_target){0};
    while (next_part(&pattern, &want)) {
        if (!next_part(&path, &part) || !part_matches(want, part, target)) {
            return false;
        }
    }
    return path.data == NULL;
}

static const char *method_name(enum http_method method)
{
    switch (method) {
    case HTTP_GET:
        return "GET, HEAD";
    case HTTP_POST:
        return "POST";
    case HTTP_PUT:
        return "PUT";
    case HTTP_PATCH:
        return "PATCH";
    case HTTP_DELETE:
        return "DELETE";
    default:
        return "OTHER";
    }
}

enum pl_err api_route_find(const struct api_route *table, size_t count, enum http_method method,
                           struct pl_span path, const struct api_route **route,
                           struct api_target *target, char allow[64])
{
    size_t used = 0;
    allow[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        struct api_target found;
        if (!matches(table[i].pattern, path, &found)) {
            continue;
        }
        bool head = method == HTTP_HEAD && table[i].method == HTTP_GET;
        if (table[i].method == method || head) {
            *route = &table[i];
            *target = found;
            return PL_OK;
        }
        int n = snprintf(allow + used, 64 - used, "%s%s", used == 0 ? "" : ", ",
                         method_name(table[i].method));
        used += (size_t)n; /* four methods need 24 bytes */
    }
    return used == 0 ? PL_ENOTFOUND : PL_EDENIED;
}
