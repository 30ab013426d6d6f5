#include "edge/consent.h"
#include "edge/cookie.h"

#include <stdio.h>

/* The ids of opt-outs, or just "1", are a no. Behind the name "_" and a write key it
 * is the word on that one account, which counts more: "0" says yes in spite of a no to all. */
#define COOKIE_NAME "polder_optout"

void consent_cookie_name(const struct pl_id128 *write_key, char name[CONSENT_COOKIE_BYTES])
{
    char key[PL_ID128_TEXT];
    if (write_key == NULL) {
        snprintf(name, CONSENT_COOKIE_BYTES, COOKIE_NAME);
        return;
    }
    pl_id128_format(write_key, key);
    snprintf(name, CONSENT_COOKIE_BYTES, COOKIE_NAME "_%s", key);
}

size_t consent_ids(struct pl_span value, struct pl_id128 ids[CONSENT_IDS_MAX])
{
    size_t count = 0;
    while (count < CONSENT_IDS_MAX && value.len > 0) {
        const uint8_t *dot = memchr(value.data, '.', value.len);
        const struct pl_span one =
            pl_span(value.data, dot == NULL ? value.len : (size_t)(dot - value.data));
        if (!pl_id128_parse(one, &ids[count]))
            break;
        count++;
        value = pl_span_from(value, one.len + 1);
    }
    return count;
}

static bool is_no(struct pl_span value)
{
    struct pl_id128 ids[CONSENT_IDS_MAX];
    return pl_span_eq_str(value, "1") || consent_ids(value, ids) > 0;
}

struct consent_choice consent_choice(const struct http_request *request,
                                     const struct pl_id128 *write_key)
{
    struct consent_choice choice = {0};
    struct pl_span cookies, name, value;
    char own_name[CONSENT_COOKIE_BYTES];
    consent_cookie_name(write_key, own_name);
    for (size_t at = 0; http_request_header_next(request, "cookie", &at, &cookies);) {
        while (cookie_next(&cookies, &name, &value)) {
            if (pl_span_eq_str(name, own_name))
                choice.own = value;
            else if (pl_span_eq_str(name, COOKIE_NAME))
                choice.all |= is_no(value);
        }
    }
    choice.out = is_no(choice.own) || (choice.all && !pl_span_eq_str(choice.own, "0"));
    return choice;
}

static bool header_is_one(const struct http_request *request, const char *name)
{
    struct pl_span value;
    return http_request_header(request, name, &value) && pl_span_eq(value, PL_SPAN_LIT("1"));
}

const char *consent_refusal(const struct http_request *request, const struct catalog_entry *entry)
{
    if (header_is_one(request, "sec-gpc"))
        return "the browser sends Sec-GPC: 1";
    if (consent_choice(request, &entry->write_key).out)
        return "the visitor has opted out";
    if (entry->honour_dnt && header_is_one(request, "dnt"))
        return "the browser sends DNT: 1, which this account honours";
    return NULL;
}
