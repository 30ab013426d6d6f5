#include "edge/cookie.h"

#include <stdio.h>

#define VISITOR_AGE_S 15552000 /* 180 days, whatever an account would like */

bool cookie_next(struct pl_span *rest, struct pl_span *name, struct pl_span *value)
{
    size_t at = 0;
    while (at < rest->len && (rest->data[at] == ' ' || rest->data[at] == ';'))
        at++;
    *rest = pl_span_from(*rest, at);
    if (rest->len == 0)
        return false;
    const uint8_t *end = memchr(rest->data, ';', rest->len);
    const struct pl_span pair =
        pl_span(rest->data, end == NULL ? rest->len : (size_t)(end - rest->data));
    const uint8_t *equals = memchr(pair.data, '=', pair.len);
    const size_t name_len = equals == NULL ? pair.len : (size_t)(equals - pair.data);
    *name = pl_span(pair.data, name_len);
    *value = pl_span_from(pair, name_len + 1);
    *rest = pl_span_from(*rest, pair.len);
    return true;
}

static bool is_uuid(struct pl_span text)
{
    if (text.len != PL_UUID_TEXT - 1)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        const uint8_t c = text.data[i];
        const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? c != '-' : !((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
    }
    return true;
}

bool cookie_find_visitor(struct pl_span cookies, const struct cookie_policy *policy,
                         struct pl_span *id)
{
    struct pl_span name;
    while (cookie_next(&cookies, &name, id))
        if (pl_span_eq(name, policy->name) && is_uuid(*id))
            return true;
    *id = pl_span(NULL, 0);
    return false;
}

struct cookie_site cookie_site_of(const struct http_request *request)
{
    struct pl_span proto;
    const bool forwarded = http_request_header(request, "x-forwarded-proto", &proto) &&
                           pl_span_eq_nocase(proto, PL_SPAN_LIT("https"));
    return (struct cookie_site){http_request_authority(request),
                                forwarded || http_request_is_tls(request)};
}

/* A browser ignores a cookie for a domain that the asked host does not belong to. */
static bool belongs_to(struct pl_span authority, struct pl_span domain)
{
    const uint8_t *colon = memchr(authority.data, ':', authority.len);
    const struct pl_span host =
        pl_span(authority.data, colon == NULL ? authority.len : (size_t)(colon - authority.data));
    if (domain.len == 0 || host.len < domain.len)
        return false;
    const size_t above = host.len - domain.len;
    return pl_span_eq_nocase(pl_span_from(host, above), domain) &&
           (above == 0 || host.data[above - 1] == '.');
}

void cookie_write_visitor(const struct cookie_policy *policy, const struct cookie_site *site,
                          const char *id, char line[COOKIE_LINE_BYTES])
{
    char domain[sizeof("; Domain=") + CATALOG_HOST_BYTES] = "";
    const bool none = policy->same_site == SAME_SITE_NONE;
    if (belongs_to(site->authority, policy->domain))
        snprintf(domain, sizeof(domain), "; Domain=%.*s", PL_SPAN_FMT(policy->domain));
    snprintf(line, COOKIE_LINE_BYTES, "%.*s=%s; Path=/%s; Max-Age=%d; HttpOnly%s; SameSite=%s",
             PL_SPAN_FMT(policy->name), id == NULL ? "" : id, domain,
             id == NULL ? 0 : VISITOR_AGE_S, site->tls ? "; Secure" : "",
             none && !site->tls ? "Lax" : same_site_name(policy->same_site));
}
