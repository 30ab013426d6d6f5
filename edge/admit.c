#include "edge/admit.h"
#include "edge/consent.h"

#include <inttypes.h>

#define CLOSED_RETRY_S 30

static enum pl_err refuse(struct admission *out, const char *outcome, enum metric metric,
                          enum pl_err err)
{
    out->outcome = outcome;
    out->metric = metric;
    return err;
}

const struct catalog_entry *admit_account(const struct edge_loop *loop,
                                          const struct http_request *request,
                                          const struct dialect_claim *claim)
{
    struct pl_id128 write_key;
    const struct catalog_entry *by_key =
        claim->key.len > 0 ? catalog_find_key(loop->snapshot, claim->key) : NULL;
    if (claim->key.len > 0 &&
        (!claim->key_is_hint || (by_key != NULL && pl_id128_parse(claim->key, &write_key))))
        return by_key;
    /* A word like "web" may be another account's alias: what comes to an account's own path or host
     * is that account's. */
    const struct catalog_entry *entry =
        catalog_find_path(loop->snapshot, http_request_path(request));
    if (entry == NULL)
        entry = catalog_find_host(loop->snapshot, http_request_authority(request));
    return entry != NULL ? entry : by_key;
}

static enum pl_err find_account(struct edge_loop *loop, const struct http_request *request,
                                const struct dialect_claim *claim, struct admission *out,
                                struct pl_why *why)
{
    const struct pl_span host = http_request_authority(request), key = claim->key;
    out->entry = admit_account(loop, request, claim);
    if (out->entry != NULL)
        return PL_OK;
    if (key.len == 0)
        pl_fail_field(why, PL_ENOTFOUND, "writeKey",
                      "the request names no write key, and no account has the host \"%.*s\"",
                      PL_SPAN_FMT(host));
    else
        pl_fail_field(why, PL_ENOTFOUND, "writeKey",
                      "no account has the write key or alias \"%.*s\"",
                      (int)(key.len > CATALOG_ALIAS_BYTES ? CATALOG_ALIAS_BYTES : key.len),
                      (const char *)key.data);
    return refuse(out, "UNKNOWN_KEY", METRIC_REFUSED_UNKNOWN_KEY, PL_ENOTFOUND);
}

static enum pl_err check_place(const struct edge_loop *loop, const struct http_request *request,
                               struct admission *out, struct pl_why *why)
{
    struct pl_span origin;
    const char *region = loop->edge->options->region;
    if (!catalog_entry_allows_region(out->entry, region)) {
        pl_fail(why, PL_EDENIED, "this account does not collect in region %s", region);
        return refuse(out, "REGION_REFUSED", METRIC_REFUSED_REGION, PL_EDENIED);
    }
    /* Servers and images send no Origin; only a page can claim one, and cannot lie about it. */
    if (http_request_header(request, "origin", &origin) &&
        !catalog_entry_allows_origin(out->entry, origin)) {
        pl_fail_field(
            why, PL_EDENIED, "origin",
            "pages of %.*s may not send for this account; add it to the account's origins",
            PL_SPAN_FMT(origin));
        return refuse(out, "ORIGIN_REFUSED", METRIC_REFUSED_ORIGIN, PL_EDENIED);
    }
    return PL_OK;
}

static enum pl_err check_consent(const struct http_request *request,
                                 const struct dialect_claim *claim, struct admission *out,
                                 struct pl_why *why)
{
    const char *sign = consent_refusal(request, out->entry);
    if (sign == NULL && claim->opted_out)
        sign = "the tracker says that the visitor has opted out";
    if (sign == NULL)
        return PL_OK;
    pl_fail(why, PL_EDENIED, "nothing is collected: %s", sign);
    return refuse(out, "OPTED_OUT", METRIC_REFUSED_CONSENT, PL_EDENIED);
}

/* First of all: an edge that knows too little must not tell a client that its key is wrong. */
static enum pl_err check_open(const struct edge_loop *loop, struct admission *out,
                              struct pl_why *why)
{
    if (loop->collecting)
        return PL_OK;
    pl_fail(why, PL_ECLOSED,
            "this edge does not collect now: it has not heard from the origin for too long");
    out->retry_after_s = CLOSED_RETRY_S;
    return refuse(out, "UNAVAILABLE", METRIC_REFUSED_UNAVAILABLE, PL_ECLOSED);
}

static enum pl_err check_rate(struct edge_loop *loop, struct admission *out, struct pl_why *why)
{
    if (rate_admits(&loop->rates, out->entry->account, http_loop_mono_ms(loop->http),
                    &out->retry_after_s))
        return PL_OK;
    pl_fail(why, PL_EAGAIN, "too many events of this account; wait %" PRId64 " s",
            out->retry_after_s);
    return refuse(out, "RATE_LIMITED", METRIC_REFUSED_RATE, PL_EAGAIN);
}

enum pl_err admit(struct edge_loop *loop, const struct http_request *request,
                  const struct dialect_claim *claim, struct admission *out, struct pl_why *why)
{
    *out = (struct admission){0};
    enum pl_err err = check_open(loop, out, why);
    if (err == PL_OK)
        err = find_account(loop, request, claim, out, why);
    if (err != PL_OK)
        return err;
    if (catalog_entry_state(out->entry, http_loop_wall_ms(loop->http)) != ACCOUNT_ACTIVE) {
        pl_fail(why, PL_EEXPIRED, "the account behind this write key has expired");
        return refuse(out, "EXPIRED", METRIC_REFUSED_EXPIRED, PL_EEXPIRED);
    }
    err = check_place(loop, request, out, why);
    if (err == PL_OK)
        err = check_consent(request, claim, out, why);
    return err == PL_OK ? check_rate(loop, out, why) : err;
}
