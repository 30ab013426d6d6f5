/* A record of the redo log, as a line has it. */
#include "origin/journal/redo_state.h"
#include "origin/request.h"
#include "proto/base/text.h"

static const char *const kind_names[REDO_KINDS] = {
    [REDO_PULSE] = "pulse",       [REDO_CHANGE] = "change",
    [REDO_ACCOUNT] = "account",   [REDO_CERTIFICATE] = "certificate",
    [REDO_HOLD] = "hold",         [REDO_OPTOUT] = "opt_out",
    [REDO_ERASURE] = "erasure",   [REDO_TOKEN] = "token_revoked",
    [REDO_EDGE] = "edge_revoked", [REDO_WITHDRAWN] = "withdrawn",
};

const struct pl_id128 redo_no_id;

static void write_record(const struct redo_record *record, const char *row, struct json_writer *w)
{
    json_write_object(w);
    json_write_pair_text(w, "kind", kind_names[record->kind]);
    if (record->what != NULL)
        json_write_pair_text(w, "what", record->what);
    if (record->account != 0)
        json_write_pair_account(w, "account", record->account);
    if (!pl_id128_eq(&record->id, &redo_no_id))
        json_write_pair_hex(w, "id", pl_span(record->id.bytes, sizeof(record->id.bytes)));
    if (record->state != 0) {
        json_write_pair_text(w, "state", account_state_name(record->state));
        json_write_pair_time(w, "expires_at", record->expires_at_ms);
    }
    if (record->cleared_ms != 0)
        json_write_pair_time(w, "cleared_at", record->cleared_ms);
    if (record->deletion_started_ms != 0) {
        json_write_pair_time(w, "deletion_started_at", record->deletion_started_ms);
        json_write_pair_bool(w, "on_request", record->on_request);
    }
    if (record->on_request)
        json_write_pair_time(w, "requested_at", record->requested_ms);
    if (record->kind == REDO_WITHDRAWN)
        json_write_pair_u64(w, "line", record->line);
    if (row != NULL)
        json_write_pair_text(w, "row", row);
    json_write_object_end(w);
}

enum pl_err redo_encode(struct redo *redo, const struct redo_record *record)
{
    struct pl_buf row;
    pl_buf_init(&row, JOURNAL_LINE_BYTES);
    enum pl_err err = record->row.len > 0 ? pl_base64_encode(record->row, &row) : PL_OK;
    if (err == PL_OK)
        err = pl_buf_terminate(&row);
    if (err == PL_OK) {
        pl_buf_reset(&redo->line);
        json_writer_begin(redo->writer, &redo->line);
        write_record(record, row.len > 0 ? (const char *)row.data : NULL, redo->writer);
        err = json_writer_end(redo->writer);
    }
    pl_buf_release(&row);
    return err;
}

static enum pl_err read_state(struct json object, enum account_state *out, struct pl_why *why)
{
    char name[32] = "";
    enum pl_err err = request_text(object, "state", name, sizeof(name), why);
    if (err != PL_OK || name[0] == '\0')
        return err;
    for (int s = ACCOUNT_ACTIVE; s <= ACCOUNT_DELETED; s++)
        if (strcmp(name, account_state_name((enum account_state)s)) == 0)
            *out = (enum account_state)s;
    return *out != 0 ? PL_OK : pl_fail(why, PL_EUNSUPPORTED, "there is no state %s", name);
}

enum pl_err redo_decode(struct json object, struct redo_record *record, struct pl_buf *row,
                        struct pl_why *why)
{
    char kind[32] = "";
    struct json value;
    struct pl_span text;
    enum pl_err err;
    *record = (struct redo_record){.kind = REDO_KINDS};
    if ((err = request_text(object, "kind", kind, sizeof(kind), why)) != PL_OK ||
        (err = request_account(object, "account", &record->account, why)) != PL_OK ||
        (err = request_id128(object, "id", &record->id, why)) != PL_OK ||
        (err = read_state(object, &record->state, why)) != PL_OK ||
        (err = request_time(object, "expires_at", &record->expires_at_ms, why)) != PL_OK ||
        (err = request_time(object, "cleared_at", &record->cleared_ms, why)) != PL_OK ||
        (err = request_time(object, "deletion_started_at", &record->deletion_started_ms, why)) !=
            PL_OK ||
        (err = request_bool(object, "on_request", &record->on_request, why)) != PL_OK ||
        (err = request_time(object, "requested_at", &record->requested_ms, why)) != PL_OK ||
        (err = request_u64(object, "line", &record->line, why)) != PL_OK)
        return err;
    for (int k = 0; k < REDO_KINDS; k++)
        if (strcmp(kind, kind_names[k]) == 0)
            record->kind = (enum redo_kind)k;
    if (record->kind == REDO_KINDS)
        return pl_fail(why, PL_EUNSUPPORTED,
                       "this build does not know what a record of kind \"%s\" is: run the version "
                       "that wrote it, or a newer one",
                       kind);
    pl_buf_reset(row);
    if (json_get(object, "row", &value) && json_string(value, &text) &&
        (err = pl_base64_decode(text, row)) != PL_OK)
        return pl_fail(why, err, "its row is not base64");
    record->row = pl_buf_span(row);
    return PL_OK;
}
