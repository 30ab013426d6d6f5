/* The record of processing activities. */
#include "origin/accounts/processing_record.h"
#include "origin/api/call.h"
#include "proto/base/text.h"

API_HANDLER(api_account_record)
{
    static const char *const names[] = {"as", NULL};
    const struct origin_parts *parts = worker->api->parts;
    struct account account;
    struct pl_span as;
    if (accounts_get(parts->accounts, call->target.account, &account) != PL_OK) {
        return pl_fail(why, PL_ENOTFOUND, "there is no account %016llx",
                       (unsigned long long)call->target.account);
    }
    enum pl_err err = api_query_only(call, names, why);
    if (err != PL_OK) {
        return err;
    }
    if (!pl_form_find(pl_buf_span(&call->query), "as", &as) || pl_span_eq_str(as, "json")) {
        return processing_record_write(parts, &account, worker->writer, why);
    }
    if (!pl_span_eq_str(as, "html")) {
        return pl_fail_field(why, PL_EINVAL, "as", "as must be json or html");
    }
    call->content_type = "text/html; charset=utf-8";
    return processing_record_page(parts, &account, &call->reply, why);
}
