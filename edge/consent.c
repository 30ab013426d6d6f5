#include "edge/consent.h"
#include "edge/reply.h"

#include "proto/base/text.h"

#include <stdio.h>

#define COOKIE_NAME  "polder_optout"
#define COOKIE_AGE_S "157680000" /* five years; browsers shorten it to what they allow */

/* RFC 6265 section 4.2.1: "a=1; b=2". */
static bool cookie_says(struct pl_span cookie, struct pl_span pair)
{
    size_t at = 0;
    while (at < cookie.len) {
        while (at < cookie.len && (cookie.data[at] == ' ' || cookie.data[at] == ';'))
            at++;
        const uint8_t *end = memchr(cookie.data + at, ';', cookie.len - at);
        size_t stop = end == NULL ? cookie.len : (size_t)(end - cookie.data);
        struct pl_span one = pl_span(cookie.data + at, stop - at);
        if (pl_span_eq(one, pair))
            return true;
        at = stop;
    }
    return false;
}

static bool has_cookie(const struct http_request *request)
{
    struct pl_span cookie;
    for (size_t at = 0; http_request_header_next(request, "cookie", &at, &cookie);)
        if (cookie_says(cookie, PL_SPAN_LIT(COOKIE_NAME "=1")))
            return true;
    return false;
}

static bool header_is_one(const struct http_request *request, const char *name)
{
    struct pl_span value;
    return http_request_header(request, name, &value) && pl_span_eq(value, PL_SPAN_LIT("1"));
}

const char *consent_refusal(const struct http_request *request, bool honour_dnt)
{
    if (header_is_one(request, "sec-gpc"))
        return "the browser sends Sec-GPC: 1";
    if (has_cookie(request))
        return "the visitor has opted out";
    if (honour_dnt && header_is_one(request, "dnt"))
        return "the browser sends DNT: 1, which this account honours";
    return NULL;
}

/* Sites live on other hosts than their edge, so the cookie must travel with requests from there;
 * browsers allow that only over TLS. */
static void reply_with_cookie(struct http_request *request, const char *value, const char *age_s,
                              struct pl_span body)
{
    struct http_header headers[REPLY_CORS_HEADERS + 3];
    char cookie[160];
    snprintf(cookie, sizeof(cookie), COOKIE_NAME "=%s; Path=/; Max-Age=%s; HttpOnly; %s", value,
             age_s, http_request_is_tls(request) ? "Secure; SameSite=None" : "SameSite=Lax");
    size_t count = reply_cors(request, headers);
    headers[count++] =
        (struct http_header){PL_SPAN_LIT("content-type"), PL_SPAN_LIT("application/json")};
    headers[count++] = (struct http_header){PL_SPAN_LIT("cache-control"), PL_SPAN_LIT("no-store")};
    headers[count++] = (struct http_header){PL_SPAN_LIT("set-cookie"), pl_span_str(cookie)};
    http_reply(request, 200, headers, count, body);
}

void consent_optout(struct http_request *request, void *arg)
{
    (void)arg;
    metrics_add(&edge_loop_of(request)->metrics, METRIC_OPTED_OUT, 1);
    reply_with_cookie(request, "1", COOKIE_AGE_S,
                      PL_SPAN_LIT("{\"success\":true,\"opted_out\":true}"));
}

/* The key as ?write_key=, or as writeKey in a JSON body. */
static bool find_key(struct edge_loop *loop, const struct http_request *request,
                     struct pl_id128 *key)
{
    struct pl_span text, body = http_request_body(request);
    struct json root, member;
    if (pl_form_find(http_request_query(request), "write_key", &text))
        return pl_id128_parse(text, key);
    return body.len > 0 && json_parse(loop->json, body, &root, NULL) == PL_OK &&
           json_get(root, "writeKey", &member) && json_string(member, &text) &&
           pl_id128_parse(text, key);
}

void consent_optin(struct http_request *request, void *arg)
{
    (void)arg;
    struct edge_loop *loop = edge_loop_of(request);
    struct pl_why why = {0};
    struct pl_id128 key;
    struct pl_span origin;
    const struct catalog_entry *entry = NULL;
    if (find_key(loop, request, &key))
        entry = catalog_find(loop->snapshot, &key);
    if (entry == NULL) {
        pl_fail_field(&why, PL_ENOTFOUND, "write_key",
                      "opting in needs the write key of a known account, as ?write_key=");
        reply_error(request, 401, &why, 0);
        return;
    }
    if (!http_request_header(request, "origin", &origin) ||
        !catalog_entry_allows_origin(entry, origin)) {
        pl_fail(&why, PL_EDENIED,
                "opting in is for pages of the account's own web origins: no such Origin was sent");
        reply_error(request, 403, &why, 0);
        return;
    }
    metrics_add(&loop->metrics, METRIC_OPTED_IN, 1);
    reply_with_cookie(request, "", "0", PL_SPAN_LIT("{\"success\":true,\"opted_out\":false}"));
}
