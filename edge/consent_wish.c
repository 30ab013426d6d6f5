/* What a consent request asks for, and who may ask. */
#include "edge/consent_parts.h"
#include "edge/dialects/params.h"

#include <ctype.h>

/* ---- reading */

enum part { KEY, REDIRECT, CONSENT, REQUEST, VISITOR, USER, PARTS };

/* What a request may name, as a query or form spells it and as JSON does; both spellings are taken
 * anywhere, for a choice that is not understood must not look taken. */
static const struct name {
    const char *param, *member;
    enum part part;
    size_t max_bytes;
} names[] = {
    {"write_key", "writeKey", KEY, SIZE_MAX},
    {"redirect", "redirect", REDIRECT, REDIRECT_MAX},
    {"consent_id", "consentId", CONSENT, SIZE_MAX},
    {"request_id", "requestId", REQUEST, LIMIT_ID_BYTES},
    {"visitor_id", "visitorId", VISITOR, LIMIT_ID_BYTES},
    {"anonymous_id", "anonymousId", VISITOR, LIMIT_ID_BYTES},
    {"user_id", "userId", USER, LIMIT_ID_BYTES},
};

struct source {
    struct params params;
    struct pl_span parts[PARTS];
    struct pl_why *why;
};

static const struct name *find_name(struct pl_span name)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (pl_span_eq_str(name, names[i].param) || pl_span_eq_str(name, names[i].member))
            return &names[i];
    return NULL;
}

/* Of two who are named in one place only one would be heard. */
static enum pl_err take(struct source *source, const struct name *name, struct pl_span value)
{
    struct pl_span *part = &source->parts[name->part];
    if (value.len > name->max_bytes)
        return pl_fail_field(source->why, PL_EINVAL, name->member, "%s is longer than %zu bytes",
                             name->member, name->max_bytes);
    if (value.len > 0 && part->len > 0 && !pl_span_eq(*part, value))
        return pl_fail_field(source->why, PL_EINVAL, name->member,
                             "%s is named twice, and not the same%s; send a request for each",
                             name->member,
                             name->part == VISITOR ? " (visitorId and anonymousId are one)" : "");
    if (value.len > 0)
        *part = value;
    return PL_OK;
}

#define WHAT_IS_TAKEN                                                                              \
    "what is taken is writeKey, visitorId, anonymousId, userId, requestId and redirect"

static enum pl_err take_members(struct source *source, struct json body)
{
    struct json_iter members = json_members(body);
    struct pl_span name, text, unknown = {NULL, 0};
    struct json value;
    bool somebody = false;
    enum pl_err err = PL_OK;
    if (!json_is_object(body))
        return pl_fail(source->why, PL_EINVAL, "the body must be a JSON object; " WHAT_IS_TAKEN);
    while (err == PL_OK && json_next_member(&members, &name, &value)) {
        const struct name *known = find_name(name);
        if (known == NULL) {
            unknown = name;
        } else if (!json_is_null(value)) {
            somebody |= known->part == VISITOR || known->part == USER;
            err = json_string(value, &text) ? take(source, known, text)
                                            : pl_fail_field(source->why, PL_EINVAL, known->member,
                                                            "%s must be text", known->member);
        }
    }
    /* Who names nobody but something else may have meant somebody. */
    if (err == PL_OK && unknown.len > 0 && !somebody)
        err = pl_fail(source->why, PL_EINVAL,
                      "the body names nobody, and \"%.*s\" is not known here; " WHAT_IS_TAKEN,
                      (int)(unknown.len < 64 ? unknown.len : 64), (const char *)unknown.data);
    return err;
}

static enum pl_err take_params(struct source *source)
{
    enum pl_err err = PL_OK;
    for (size_t i = 0; i < source->params.count && err == PL_OK; i++) {
        const struct name *known = find_name(source->params.list[i].name);
        if (known != NULL)
            err = take(source, known, source->params.list[i].value);
    }
    return err;
}

/* Forms have buttons of any name. */
static enum pl_err check_form(const struct params *params, size_t from, struct pl_why *why)
{
    for (size_t i = from; i < params->count; i++)
        if (find_name(params->list[i].name) != NULL)
            return PL_OK;
    return pl_fail(why, PL_EINVAL,
                   "the form names nothing that is known here; what is taken is write_key, "
                   "visitor_id, anonymous_id, user_id, request_id and redirect");
}

static bool is_form(const struct http_request *request, struct pl_span body)
{
    static const struct pl_span form = PL_SPAN_INIT("application/x-www-form-urlencoded");
    struct pl_span type;
    if (!http_request_header(request, "content-type", &type) || type.len < form.len ||
        !pl_span_eq_nocase(pl_span(type.data, form.len), form))
        return false;
    /* It is what curl -d and others call JSON, too, and no form begins like that. */
    while (body.len > 0 && memchr(" \t\r\n", body.data[0], 4) != NULL)
        body = pl_span_from(body, 1);
    return body.len == 0 || body.data[0] != '{';
}

static enum pl_err read_body(struct source *source, const struct http_request *request,
                             struct edge_loop *loop)
{
    const struct pl_span text = http_request_body(request);
    const size_t from = source->params.count;
    struct json body;
    enum pl_err err = PL_OK;
    if (text.len == 0)
        return PL_OK;
    if (is_form(request, text)) {
        err = params_parse(&source->params, text, &loop->scratch, source->why);
        return err == PL_OK ? check_form(&source->params, from, source->why) : err;
    }
    err = json_parse(loop->json, text, &body, source->why);
    return err == PL_OK ? take_members(source, body) : err;
}

static void add_id(struct wish *wish, struct pl_span id)
{
    for (unsigned i = 0; i < wish->id_count; i++)
        if (pl_span_eq(wish->ids[i], id))
            return;
    if (id.len > 0 && wish->id_count < CONSENT_PEOPLE_MAX)
        wish->ids[wish->id_count++] = id;
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
    struct source source = {.params.count = 0, .why = why};
    *wish = (struct wish){.request = request, .loop = loop, .site = cookie_site_of(request)};
    pl_buf_reset(&loop->scratch);
    enum pl_err err =
        params_parse(&source.params, http_request_query(request), &loop->scratch, why);
    if (err == PL_OK)
        err = read_body(&source, request, loop);
    if (err == PL_OK)
        err = take_params(&source);
    if (err != PL_OK)
        return err;
    wish->key = source.parts[KEY];
    wish->redirect = source.parts[REDIRECT];
    wish->consent = source.parts[CONSENT];
    wish->request_id = source.parts[REQUEST];
    add_id(wish, source.parts[VISITOR]);
    add_id(wish, source.parts[USER]);
    wish->named_count = wish->id_count;
    wish->entry = wish->key.len > 0
                      ? catalog_find_key(loop->snapshot, wish->key)
                      : catalog_find_host(loop->snapshot, http_request_authority(request));
    wish->unsure = wish->entry == NULL && !loop->collecting;
    if (wish->entry != NULL)
        add_cookie_id(wish);
    return PL_OK;
}

enum pl_err wish_fail_unsure(struct pl_why *why, const char *what_holds)
{
    return pl_fail(why, PL_ECLOSED,
                   "%sthis edge has not heard from the origin and may not know the account yet; "
                   "try again",
                   what_holds);
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
    if (wish->unsure)
        return wish_fail_unsure(why, "");
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
    /* Where an unknown account's links may lead cannot be known: they are not followed, either. */
    if (wish->redirect.len == 0 || wish->unsure ||
        (wish->entry != NULL && is_own_url(wish->entry, wish->redirect)))
        return PL_OK;
    return pl_fail_field(why, PL_EINVAL, "redirect",
                         "redirect must lead to one of the account's own web origins or hosts");
}
