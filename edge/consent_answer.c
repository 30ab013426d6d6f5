/* What is answered to a choice. */
#include "edge/consent_parts.h"

#include <inttypes.h>
#include <stdio.h>

#define COOKIE_AGE_S "157680000" /* five years; browsers shorten it to what they allow */

/* Sites live on other hosts than their edge, so the cookie must travel with requests from there;
 * browsers allow that only over TLS. */
void answer_add_choice(struct answer *answer, const struct wish *wish, const char *value)
{
    char name[CONSENT_COOKIE_BYTES];
    consent_cookie_name(wish->entry == NULL ? NULL : &wish->entry->write_key, name);
    snprintf(answer->cookies[answer->cookie_count++], COOKIE_LINE_BYTES,
             "%s=%s; Path=/; Max-Age=%s; HttpOnly; %s", name, value,
             *value == '\0' ? "0" : COOKIE_AGE_S,
             wish->site.tls ? "Secure; SameSite=None" : "SameSite=Lax");
}

void answer_add_visitor_deletion(struct answer *answer, const struct wish *wish)
{
    if (wish->entry != NULL && wish->entry->cookie.enabled)
        cookie_write_visitor(&wish->entry->cookie, &wish->site, NULL,
                             answer->cookies[answer->cookie_count++]);
}

static size_t common_headers(const struct http_request *request, const struct answer *answer,
                             struct http_header *headers)
{
    size_t count = reply_cors(request, headers);
    headers[count++] = (struct http_header){PL_SPAN_LIT("cache-control"), PL_SPAN_LIT("no-store")};
    for (unsigned i = 0; i < answer->cookie_count; i++)
        headers[count++] =
            (struct http_header){PL_SPAN_LIT("set-cookie"), pl_span_str(answer->cookies[i])};
    return count;
}

void answer_send_json(struct http_request *request, const struct answer *answer,
                      struct pl_span json)
{
    struct http_header headers[REPLY_CORS_HEADERS + 4];
    size_t count = common_headers(request, answer, headers);
    headers[count++] =
        (struct http_header){PL_SPAN_LIT("content-type"), PL_SPAN_LIT("application/json")};
    http_reply(request, 200, headers, count, json);
}

static void send_redirect(struct http_request *request, const struct answer *answer)
{
    struct http_header headers[REPLY_CORS_HEADERS + 4];
    size_t count = common_headers(request, answer, headers);
    headers[count++] = (struct http_header){PL_SPAN_LIT("location"), pl_span_str(answer->redirect)};
    http_reply(request, 303, headers, count, pl_span(NULL, 0));
}

void answer_send(struct http_request *request, const struct answer *answer)
{
    char body[320], consent[PL_ID128_TEXT];
    if (answer->redirect[0] != '\0') {
        send_redirect(request, answer);
        return;
    }
    pl_id128_format(&answer->consent_id, consent);
    if (!answer->out)
        snprintf(body, sizeof(body), "{\"success\":true,\"opted_out\":false}");
    else
        snprintf(body, sizeof(body),
                 "{\"success\":true,\"opted_out\":true,\"consent_id\":\"%s\"%s}", consent,
                 cookie_site_of(request).tls
                     ? ""
                     : ",\"cross_site\":false,\"message\":\"without TLS browsers send the cookie "
                       "from pages of this edge's own site only\"");
    answer_send_json(request, answer, pl_span_str(body));
}

void answer_send_failure(struct http_request *request, const struct answer *answer, int status,
                         int64_t retry_after_s, const struct pl_why *why)
{
    struct edge_loop *loop = edge_loop_of(request);
    struct http_header headers[REPLY_CORS_HEADERS + 5];
    char seconds[24];
    const struct answer bare = {.out = false};
    if (answer->out && answer->redirect[0] != '\0') {
        send_redirect(request, answer);
        return;
    }
    size_t count = common_headers(request, answer->out ? answer : &bare, headers);
    if (retry_after_s > 0) {
        snprintf(seconds, sizeof(seconds), "%" PRId64, retry_after_s);
        headers[count++] = (struct http_header){PL_SPAN_LIT("retry-after"), pl_span_str(seconds)};
    }
    headers[count++] =
        (struct http_header){PL_SPAN_LIT("content-type"), PL_SPAN_LIT("application/json")};
    pl_buf_reset(&loop->reply);
    reply_error_body(loop, why, &loop->reply);
    http_reply(request, status, headers, count, pl_buf_span(&loop->reply));
}
