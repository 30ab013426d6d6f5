/* The audit log, to be read. */
#include "origin/api/call.h"
#include "origin/journal/audit.h"
#include "origin/request.h"
#include "proto/base/text.h"

#include <stdio.h>

#define PAGE_BYTES ((size_t)4 << 20)

/* What was refused before it was asked for is in it. */
static enum pl_err settle(struct api_worker *worker, struct pl_why *why)
{
    const struct origin_parts *parts = worker->api->parts;
    return audit_write_denials(parts->audit, pl_mono_ms(parts->clock), why);
}

API_HANDLER(api_audit_read)
{
    static const char *const names[] = {"from", NULL};
    struct pl_span text;
    uint64_t from = 1, next = 0;
    enum pl_err err = api_query_only(call, names, why);
    if (err != PL_OK) {
        return err;
    }
    if (pl_form_find(pl_buf_span(&call->query), "from", &text) && !pl_span_to_u64(text, &from)) {
        return pl_fail_field(why, PL_EINVAL, "from", "from must be the number of a line");
    }
    err = settle(worker, why);
    if (err == PL_OK) {
        err = audit_read(worker->api->parts->audit, from, PAGE_BYTES, &call->reply, &next, why);
    }
    if (err == PL_OK) {
        call->content_type = "application/x-ndjson";
    }
    if (err == PL_OK && next != 0) {
        snprintf(call->link, sizeof(call->link), "</api/v1/audit?from=%llu>; rel=\"next\"",
                 (unsigned long long)next);
    }
    return err;
}

API_HANDLER(api_audit_head)
{
    uint64_t n;
    uint8_t hash[PL_SHA256_BYTES];
    (void)call;
    enum pl_err err = settle(worker, why);
    if (err != PL_OK) {
        return err;
    }
    audit_head(worker->api->parts->audit, &n, hash);
    json_write_object(worker->writer);
    json_write_pair_u64(worker->writer, "n", n);
    json_write_pair_hex(worker->writer, "hash", pl_span(hash, sizeof(hash)));
    json_write_object_end(worker->writer);
    return PL_OK;
}
