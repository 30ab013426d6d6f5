/* What a consent request asks for, and who may ask. */
#include "edge/consent_parts.h"
#include "edge/dialects/params.h"

#include <ctype.h>

/* ---- reading */

struct source {
    struct params params;
    struct json body;
    struct pl_why *why;
    enum pl_err err;
};

/* A parameter or a member of the body. A choice that cannot be understood must not look taken. */
static bool named(struct source *source, const char *param, const char *member, size_t max_bytes,
                  struct pl_span *value)
{
    struct json found;
    bool any =
        params_peek(&source->params, param, value) || params_peek(&source->params, member, value);
    if (!any && source->body.document != NULL && json_get(source->body, member, &found) &&
        !json_is_null(found)) {
        if (!json_string(found, value))
            source->err = pl_fail_field(source->why, PL_EINVAL, member, "%s must be text", member);
        else
            any = value->len > 0;
    }
    if (any && value->len > max_bytes)
        source->err = pl_fail_field(source->why, PL_EINVAL, member, "%s is longer than %zu bytes",
                                    member, max_bytes);
    return any && source->err == PL_OK;
}

static void add_id(struct wish *wish, struct pl_span id)
{
    for (unsigned i = 0; i < wish->id_count; i++)
        if (pl_span_eq(wish->ids[i], id))
            return;
    if (wish->id_count < CONSENT_PEOPLE_MAX)
        wish->ids[wish->id_count++] = id;
}

static bool is_form(const struct http_request *request)
{
    static const struct pl_span form = PL_SPAN_INIT("application/x-www-form-urlencoded");
    struct pl_span type;
    return http_request_header(request, "content-type", &type) && type.len >= form.len &&
           pl_span_eq_nocase(pl_span(type.data, form.len), form);
}

static void add_cookie_id(struct wish *wish)
{
    struct pl_span cookies, id;
    for (size_t at = 0; http_request_header_next(wish->request, "cookie", &at, &cookies);)
        if (cookie_find_visitor(cookies, &wish->entry->cookie, &id)) {
            add_id(wish, id);
            return;
        }
}

enum pl_err wish_read(struct http_request *request, struct wish *wish, struct pl_why *why)
{
    struct edge_loop *loop = edge_loop_of(request);
    const struct pl_span text = http_request_body(request);
    struct source source = {.params.count = 0, .why = why};
    struct pl_span value;
    *wish = (struct wish){.request = request, .loop = loop, .site = cookie_site_of(request)};
    pl_buf_reset(&loop->scratch);
    enum pl_err err =
        params_parse(&source.params, http_request_query(request), &loop->scratch, why);
    if (err == PL_OK && text.len > 0)
        err = is_form(request) ? params_parse(&source.params, text, &loop->scratch, why)
                               : json_parse(loop->json, text, &source.body, why);
    if (err != PL_OK)
        return err;
    (void)named(&source, "write_key", "writeKey", SIZE_MAX, &wish->key);
    (void)named(&source, "redirect", "redirect", REDIRECT_MAX, &wish->redirect);
    (void)named(&source, "consent_id", "consentId", SIZE_MAX, &wish->consent);
    if (named(&source, "visitor_id", "visitorId", LIMIT_ID_BYTES, &value) ||
        named(&source, "anonymous_id", "anonymousId", LIMIT_ID_BYTES, &value))
        add_id(wish, value);
    if (named(&source, "user_id", "userId", LIMIT_ID_BYTES, &value))
        add_id(wish, value);
    if (source.err != PL_OK)
        return source.err;
    wish->named_count = wish->id_count;
    wish->entry = wish->key.len > 0
                      ? catalog_find_key(loop->snapshot, wish->key)
                      : catalog_find_host(loop->snapshot, http_request_authority(request));
    if (wish->entry != NULL)
        add_cookie_id(wish);
    return PL_OK;
}

/* ---- who may ask */

static bool header_is(const struct http_request *request, const char *name, const char *text)
{
    struct pl_span value;
    return http_request_header(request, name, &value) && pl_span_eq_str(value, text);
}

/* An account without a list of origins accepts events from everywhere, so a match there says
 * nothing: the browser has to vouch that the page is of the edge's own site (Fetch Metadata; pages
 * cannot set that header). */
static bool is_own_page(const struct wish *wish)
{
    struct pl_span origin;
    if (http_request_header(wish->request, "origin", &origin) && wish->entry->origin_count > 0)
        return catalog_entry_allows_origin(wish->entry, origin);
    return header_is(wish->request, "sec-fetch-site", "same-origin") ||
           (wish->entry->origin_count == 0 &&
            header_is(wish->request, "sec-fetch-site", "same-site"));
}

enum pl_err wish_check_page(const struct wish *wish, struct pl_why *why)
{
    if (wish->entry == NULL)
        return pl_fail_field(why, PL_ENOTFOUND, "writeKey",
                             "this needs the write key of a known account, as ?write_key=");
    if (!is_own_page(wish))
        return pl_fail(why, PL_EDENIED,
                       "this is for pages of the account's own web origins, or of this edge's site "
                       "when the account lists none; add the page's origin to the account's");
    return PL_OK;
}

/* ---- where a link may lead */

/* "https://shop.example/page" -> "https://shop.example"; empty: no such URL. Of hosts only what
 * everybody reads in the same way. */
static struct pl_span origin_of(struct pl_span url)
{
    const size_t scheme = pl_span_starts(url, PL_SPAN_LIT("https://"))  ? 8
                          : pl_span_starts(url, PL_SPAN_LIT("http://")) ? 7
                                                                        : 0;
    size_t end = scheme;
    for (size_t i = 0; i < url.len; i++)
        if (url.data[i] <= ' ' || url.data[i] >= 0x7f || url.data[i] == '\\')
            return pl_span(NULL, 0);
    for (; end < url.len && strchr("/?#", url.data[end]) == NULL; end++)
        if (!isalnum(url.data[end]) && strchr(".-_:", url.data[end]) == NULL)
            return pl_span(NULL, 0);
    return scheme == 0 || end == scheme ? pl_span(NULL, 0) : pl_span(url.data, end);
}

static bool is_own_url(const struct catalog_entry *entry, struct pl_span url)
{
    const struct pl_span origin = origin_of(url);
    if (origin.len == 0)
        return false;
    if (entry->origin_count > 0 && catalog_entry_allows_origin(entry, origin))
        return true;
    const uint8_t *host = memmem(origin.data, origin.len, "://", 3);
    const struct pl_span name = pl_span_from(origin, (size_t)(host - origin.data) + 3);
    for (unsigned i = 0; i < entry->host_count; i++)
        if (pl_span_eq_nocase(entry->hosts[i], name))
            return true;
    return false;
}

enum pl_err wish_check_redirect(const struct wish *wish, struct pl_why *why)
{
    if (wish->redirect.len == 0 || (wish->entry != NULL && is_own_url(wish->entry, wish->redirect)))
        return PL_OK;
    return pl_fail_field(why, PL_EINVAL, "redirect",
                         "redirect must lead to one of the account's own web origins or hosts");
}
