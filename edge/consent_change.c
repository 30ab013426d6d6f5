/* Saying no, taking it back, and asking how things stand. */
#include "edge/consent_parts.h"

#include <stdio.h>

/* The browser's opt-outs from this account as the cookie keeps them, the newest first. */
static void write_ids(const struct pl_id128 *ids, size_t count, char out[CONSENT_VALUE_BYTES])
{
    size_t len = 0;
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            out[len++] = '.';
        pl_id128_format(&ids[i], out + len);
        len += PL_ID128_TEXT - 1;
    }
    out[len] = '\0';
}

/* Browsers fetch links that nobody has followed yet, and say so (Fetch, "Sec-Purpose"). With 204
 * they keep nothing and ask again when somebody does. */
static bool is_prefetch(struct http_request *request)
{
    static const struct pl_span prefetch = PL_SPAN_INIT("prefetch");
    struct pl_span purpose;
    return http_request_method(request) == HTTP_GET &&
           (http_request_header(request, "sec-purpose", &purpose) ||
            http_request_header(request, "purpose", &purpose)) &&
           purpose.len >= prefetch.len &&
           pl_span_eq_nocase(pl_span(purpose.data, prefetch.len), prefetch);
}

/* HEAD is safe (RFC 9110, 9.2.1): whoever looks where a link leads makes no choice. */
static bool only_looks(struct http_request *request)
{
    static const struct http_header no_store = {PL_SPAN_INIT("cache-control"),
                                                PL_SPAN_INIT("no-store")};
    if (is_prefetch(request)) {
        http_reply(request, 204, &no_store, 1, pl_span(NULL, 0));
        return true;
    }
    if (http_request_method(request) != HTTP_HEAD)
        return false;
    answer_send_json(request, &(struct answer){.out = false}, pl_span(NULL, 0));
    return true;
}

static void refuse(struct http_request *request, enum pl_err err, const struct pl_why *why)
{
    const int status = reply_status_of(err);
    reply_error(request, status, why, status == 503 ? CONSENT_RETRY_S : 0);
}

/* ---- no */

/* Without a key, or with a wrong one, no means no to everybody. */
static void keep_choice(const struct wish *wish, const struct pl_id128 *before, size_t count,
                        struct answer *answer)
{
    struct pl_id128 ids[CONSENT_IDS_MAX] = {answer->consent_id};
    char value[CONSENT_VALUE_BYTES];
    size_t all = 1;
    for (size_t i = 0; i < count && all < CONSENT_IDS_MAX; i++)
        if (!pl_id128_eq(&before[i], &answer->consent_id))
            ids[all++] = before[i];
    write_ids(ids, all, value);
    answer_add_choice(answer, wish, value);
    answer_add_visitor_deletion(answer, wish);
}

void consent_optout(struct http_request *request, void *arg)
{
    struct wish wish;
    struct answer answer = {.out = true};
    struct pl_why why = {0};
    struct pl_id128 before[CONSENT_IDS_MAX];
    size_t count = 0;
    (void)arg;
    if (only_looks(request) || reply_coded_body(request))
        return;
    enum pl_err err = wish_read(request, &wish, &why);
    if (err == PL_OK)
        err = wish_check_redirect(&wish, &why);
    if (err == PL_OK && wish.entry != NULL)
        count = consent_ids(consent_choice(request, &wish.entry->write_key).own, before);
    if (err == PL_OK)
        err = record_optout(&wish, before, count, &answer);
    if (err != PL_OK) {
        refuse(request, err, &why);
        return;
    }
    if (wish.redirect.len > 0 && !wish.unsure)
        memcpy(answer.redirect, wish.redirect.data, wish.redirect.len);
    keep_choice(&wish, before, count, &answer);
    metrics_add(&wish.loop->metrics, METRIC_OPTED_OUT, 1);
    record_and_answer(&wish, &answer);
}

/* ---- yes */

/* Which opt-outs are undone: the one that is named, and with it all that the browser's cookie has.
 * Pages cannot read the cookie; where there is one, what they name has to stand in it. */
static enum pl_err find_undone(const struct wish *wish, const struct consent_choice *choice,
                               struct pl_id128 ids[CONSENT_IDS_MAX], size_t *count,
                               struct pl_why *why)
{
    struct pl_id128 id;
    *count = consent_ids(choice->own, ids);
    if (wish->consent.len == 0 && *count == 0)
        return PL_OK;
    if (wish->consent.len == 0)
        return pl_fail_field(why, PL_EINVAL, "consentId",
                             "consentId is missing: opting in names the opt-out that it undoes, as "
                             "POST /v1/optout and GET /v1/consent give it");
    if (!pl_id128_parse(wish->consent, &id))
        return pl_fail_field(why, PL_EINVAL, "consentId",
                             "consentId is the 32 hex digits that the opt-out was answered with");
    for (size_t i = 0; i < *count; i++)
        if (pl_id128_eq(&ids[i], &id))
            return PL_OK;
    if (*count > 0)
        return pl_fail_field(why, PL_EDENIED, "consentId",
                             "consentId is not that of this browser's opt-out");
    ids[0] = id;
    *count = 1;
    return PL_OK;
}

void consent_optin(struct http_request *request, void *arg)
{
    struct wish wish;
    struct answer answer = {.out = false};
    struct consent_choice choice = {0};
    struct pl_why why = {0};
    struct pl_id128 ids[CONSENT_IDS_MAX];
    size_t count = 0;
    (void)arg;
    if (reply_coded_body(request))
        return;
    enum pl_err err = wish_read(request, &wish, &why);
    if (err == PL_OK)
        err = wish_check_page(&wish, &why);
    if (err == PL_OK) {
        choice = consent_choice(request, &wish.entry->write_key);
        err = find_undone(&wish, &choice, ids, &count, &why);
    }
    if (err != PL_OK) {
        refuse(request, err, &why);
        return;
    }
    /* A no to all stands for the others. */
    answer_add_choice(&answer, &wish, choice.all ? "0" : "");
    metrics_add(&wish.loop->metrics, METRIC_OPTED_IN, 1);
    record_optin(&wish, ids, count, &answer);
    record_and_answer(&wish, &answer);
}

/* ---- how things stand */

void consent_show(struct http_request *request, void *arg)
{
    struct wish wish;
    struct pl_why why = {0};
    struct pl_id128 ids[CONSENT_IDS_MAX];
    char body[160], id[PL_ID128_TEXT + 2] = "null";
    (void)arg;
    enum pl_err err = wish_read(request, &wish, &why);
    if (err == PL_OK)
        err = wish_check_page(&wish, &why);
    if (err != PL_OK) {
        refuse(request, err, &why);
        return;
    }
    const struct consent_choice choice = consent_choice(request, &wish.entry->write_key);
    if (consent_ids(choice.own, ids) > 0) {
        char text[PL_ID128_TEXT];
        pl_id128_format(&ids[0], text);
        snprintf(id, sizeof(id), "\"%s\"", text);
    }
    snprintf(body, sizeof(body), "{\"opted_out\":%s,\"collecting\":%s,\"consent_id\":%s}",
             choice.out ? "true" : "false",
             consent_refusal(request, wish.entry) == NULL ? "true" : "false", id);
    answer_send_json(request, &(struct answer){.out = false}, pl_span_str(body));
}
