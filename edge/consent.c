#include "edge/consent.h"
#include "edge/reply.h"

#include "proto/base/text.h"

#include <stdio.h>

/* "1": no to every account of this edge. With "_" and a write key behind it the word on that one
 * account, which counts more: "1" no, "0" yes in spite of the other. */
#define COOKIE_NAME      "polder_optout"
#define COOKIE_AGE_S     "157680000" /* five years; browsers shorten it to what they allow */
#define COOKIE_NAME_SIZE (sizeof(COOKIE_NAME "_") + 2 * sizeof(struct pl_id128))

struct choices {
    bool all_out, own_out, own_in;
};

static void name_cookie(const struct pl_id128 *write_key, char name[COOKIE_NAME_SIZE])
{
    char key[PL_ID128_TEXT];
    pl_id128_format(write_key, key);
    snprintf(name, COOKIE_NAME_SIZE, COOKIE_NAME "_%s", key);
}

static void read_choice(struct pl_span pair, struct pl_span own_name, struct choices *out)
{
    if (pl_span_eq(pair, PL_SPAN_LIT(COOKIE_NAME "=1")))
        out->all_out = true;
    if (!pl_span_starts(pair, own_name))
        return;
    const struct pl_span value = pl_span_from(pair, own_name.len);
    out->own_out |= pl_span_eq(value, PL_SPAN_LIT("=1"));
    out->own_in |= pl_span_eq(value, PL_SPAN_LIT("=0"));
}

/* RFC 6265 section 4.2.1: "a=1; b=2". */
static void read_cookie(struct pl_span cookie, struct pl_span own_name, struct choices *out)
{
    size_t at = 0;
    while (at < cookie.len) {
        while (at < cookie.len && (cookie.data[at] == ' ' || cookie.data[at] == ';'))
            at++;
        const uint8_t *end = memchr(cookie.data + at, ';', cookie.len - at);
        size_t stop = end == NULL ? cookie.len : (size_t)(end - cookie.data);
        read_choice(pl_span(cookie.data + at, stop - at), own_name, out);
        at = stop;
    }
}

static struct choices choices_of(const struct http_request *request,
                                 const struct pl_id128 *write_key)
{
    struct choices choices = {0};
    struct pl_span cookie;
    char name[COOKIE_NAME_SIZE] = "";
    for (size_t at = 0; http_request_header_next(request, "cookie", &at, &cookie);) {
        if (name[0] == '\0')
            name_cookie(write_key, name);
        read_cookie(cookie, pl_span_str(name), &choices);
    }
    return choices;
}

static bool header_is_one(const struct http_request *request, const char *name)
{
    struct pl_span value;
    return http_request_header(request, name, &value) && pl_span_eq(value, PL_SPAN_LIT("1"));
}

const char *consent_refusal(const struct http_request *request, const struct catalog_entry *entry)
{
    const struct choices choices = choices_of(request, &entry->write_key);
    if (header_is_one(request, "sec-gpc"))
        return "the browser sends Sec-GPC: 1";
    if (choices.own_out || (choices.all_out && !choices.own_in))
        return "the visitor has opted out";
    if (entry->honour_dnt && header_is_one(request, "dnt"))
        return "the browser sends DNT: 1, which this account honours";
    return NULL;
}

/* Sites live on other hosts than their edge, so the cookie must travel with requests from there;
 * browsers allow that only over TLS. */
static void reply_with_cookie(struct http_request *request, const char *name, const char *value,
                              const char *age_s, struct pl_span body)
{
    struct http_header headers[REPLY_CORS_HEADERS + 3];
    char cookie[192];
    snprintf(cookie, sizeof(cookie), "%s=%s; Path=/; Max-Age=%s; HttpOnly; %s", name, value, age_s,
             http_request_is_tls(request) ? "Secure; SameSite=None" : "SameSite=Lax");
    size_t count = reply_cors(request, headers);
    headers[count++] =
        (struct http_header){PL_SPAN_LIT("content-type"), PL_SPAN_LIT("application/json")};
    headers[count++] = (struct http_header){PL_SPAN_LIT("cache-control"), PL_SPAN_LIT("no-store")};
    headers[count++] = (struct http_header){PL_SPAN_LIT("set-cookie"), pl_span_str(cookie)};
    http_reply(request, 200, headers, count, body);
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

void consent_optout(struct http_request *request, void *arg)
{
    (void)arg;
    struct edge_loop *loop = edge_loop_of(request);
    struct pl_id128 key;
    char name[COOKIE_NAME_SIZE] = COOKIE_NAME;
    /* Without a key, or with a wrong one, no means no to everybody. */
    if (find_key(loop, request, &key))
        name_cookie(&key, name);
    metrics_add(&loop->metrics, METRIC_OPTED_OUT, 1);
    reply_with_cookie(
        request, name, "1", COOKIE_AGE_S,
        http_request_is_tls(request)
            ? PL_SPAN_LIT("{\"success\":true,\"opted_out\":true}")
            : PL_SPAN_LIT("{\"success\":true,\"opted_out\":true,\"cross_site\":false,"
                          "\"message\":\"without TLS browsers send the cookie from pages of this "
                          "edge's own site only\"}"));
}

/* Whose page may say yes in its visitor's name. An account without a list of origins accepts
 * events from everywhere, so a match there says nothing: the browser has to vouch that the page is
 * of the edge's own site (Fetch Metadata; pages cannot set that header). */
static bool may_opt_in(const struct http_request *request, const struct catalog_entry *entry)
{
    struct pl_span origin, site;
    if (entry->origin_count > 0)
        return http_request_header(request, "origin", &origin) &&
               catalog_entry_allows_origin(entry, origin);
    return http_request_header(request, "sec-fetch-site", &site) &&
           (pl_span_eq(site, PL_SPAN_LIT("same-origin")) ||
            pl_span_eq(site, PL_SPAN_LIT("same-site")));
}

void consent_optin(struct http_request *request, void *arg)
{
    (void)arg;
    struct edge_loop *loop = edge_loop_of(request);
    struct pl_why why = {0};
    struct pl_id128 key;
    char name[COOKIE_NAME_SIZE];
    const struct catalog_entry *entry = NULL;
    if (find_key(loop, request, &key))
        entry = catalog_find(loop->snapshot, &key);
    if (entry == NULL) {
        pl_fail_field(&why, PL_ENOTFOUND, "write_key",
                      "opting in needs the write key of a known account, as ?write_key=");
        reply_error(request, 401, &why, 0);
        return;
    }
    if (!may_opt_in(request, entry)) {
        pl_fail(&why, PL_EDENIED,
                "opting in is for pages of the account's own web origins, or of this edge's site "
                "when the account lists none; add the page's origin to the account's");
        reply_error(request, 403, &why, 0);
        return;
    }
    metrics_add(&loop->metrics, METRIC_OPTED_IN, 1);
    name_cookie(&key, name);
    /* A no to all stands for the others. */
    const bool spite = choices_of(request, &key).all_out;
    reply_with_cookie(request, name, spite ? "0" : "", spite ? COOKIE_AGE_S : "0",
                      PL_SPAN_LIT("{\"success\":true,\"opted_out\":false}"));
}
