/* What an export is made of: records, and lines of its own. */
#include "origin/vault/export_state.h"

#include "proto/base/text.h"

#include <inttypes.h>

/* Behind the columns of events. */
#define ERROR_COLUMNS       ",polder_error,polder_key,polder_readable_from"
#define ERROR_COLUMNS_EMPTY ",,,"

static enum pl_err end_line(const struct export_cursor *cursor, struct pl_buf *out)
{
    return pl_buf_append_str(out, cursor->request.format == EXPORT_CSV ? "\r\n" : "\n");
}

enum pl_err export_put_header(const struct export_cursor *cursor, struct pl_buf *out)
{
    size_t before = out->len;
    if (cursor->request.format != EXPORT_CSV)
        return PL_OK;
    enum pl_err err = event_write_csv_header(out);
    if (err == PL_OK)
        err = pl_buf_append_str(out, ERROR_COLUMNS "\r\n");
    if (err != PL_OK)
        out->len = before;
    return err;
}

/* ---- records */

static enum pl_err put_error_csv(struct exporter *x, const char *error, const char *key,
                                 const char *readable_from, struct pl_buf *out)
{
    event_clear(x->event);
    enum pl_err err = event_write_csv(x->event, x->json, out);
    return err == PL_OK ? pl_buf_appendf(out, ",%s,%s,%s", error, key, readable_from) : err;
}

static enum pl_err put_error_json(struct exporter *x, const char *error, const char *key,
                                  const char *readable_from, struct pl_buf *out)
{
    json_writer_begin(x->json, out);
    json_write_object(x->json);
    json_write_pair_text(x->json, "polder_error", error);
    json_write_pair_text(x->json, "key", key);
    if (readable_from[0] != '\0')
        json_write_pair_text(x->json, "readable_from", readable_from);
    json_write_object_end(x->json);
    return json_writer_end(x->json);
}

enum pl_err export_put_error(struct exporter *x, struct export_cursor *cursor, const char *error,
                             const struct vault_key *key, const struct vault_key *readable_from,
                             struct pl_buf *out)
{
    char at[2 * VAULT_KEY_BYTES + 1], from[2 * VAULT_KEY_BYTES + 1] = "";
    size_t before = out->len;
    pl_hex_encode(vault_key_span(key), at);
    if (readable_from != NULL)
        pl_hex_encode(vault_key_span(readable_from), from);
    enum pl_err err = cursor->request.format == EXPORT_CSV
                          ? put_error_csv(x, error, at, from, out)
                          : put_error_json(x, error, at, from, out);
    if (err == PL_OK)
        err = end_line(cursor, out);
    if (err != PL_OK) {
        out->len = before;
        return err;
    }
    cursor->events++;
    cursor->damaged++;
    cursor->gaps += readable_from != NULL;
    return PL_OK;
}

/* A match is confirmed on the id itself: others may share its hash. */
static bool is_of(const struct event *event, const struct export_request *request)
{
    struct pl_span wanted = pl_span(request->visitor, request->visitor_len);
    return request->visitor_len == 0 ||
           pl_span_eq(wanted, event_str(event, event_has(event, EVENT_VISITOR_ID) ? EVENT_VISITOR_ID
                                                                                  : EVENT_USER_ID));
}

static bool is_wanted(const struct event *event, const struct export_request *request)
{
    uint64_t type = event_u64(event, EVENT_TYPE);
    return (request->types >> (type < EVENT_TYPE_COUNT ? type : 0) & 1) != 0 &&
           is_of(event, request);
}

static enum pl_err put_event(struct exporter *x, const struct export_cursor *cursor,
                             struct pl_buf *out)
{
    if (cursor->request.format == EXPORT_NDJSON)
        return event_write_json(x->event, x->json, out);
    enum pl_err err = event_write_csv(x->event, x->json, out);
    return err == PL_OK ? pl_buf_append_str(out, ERROR_COLUMNS_EMPTY) : err;
}

enum pl_err export_put_event(struct exporter *x, struct export_cursor *cursor,
                             const struct vault_key *key, struct pl_span value, struct pl_buf *out)
{
    size_t before = out->len;
    pl_buf_reset(&x->encoded);
    enum pl_err err = vault_open_value(x->sealer, key, value, &x->encoded);
    if (err == PL_OK) {
        struct pl_span rest = pl_buf_span(&x->encoded);
        err = event_read(x->reader, &rest, x->event, NULL, NULL);
    }
    if (err == PL_OK && !is_wanted(x->event, &cursor->request)) {
        cursor->left_out++;
        return PL_OK;
    }
    if (err == PL_OK)
        err = put_event(x, cursor, out);
    if (err == PL_EAUTH || err == PL_ECORRUPT || err == PL_EUNSUPPORTED || err == PL_EINVAL) {
        out->len = before;
        return export_put_error(x, cursor,
                                err == PL_EUNSUPPORTED
                                    ? "this event was stored by a newer version of polder-origin"
                                    : "this event is damaged and cannot be read",
                                key, NULL, out);
    }
    if (err == PL_OK)
        err = end_line(cursor, out);
    if (err != PL_OK) {
        out->len = before;
        return err;
    }
    cursor->events++;
    return PL_OK;
}

/* ---- lines of its own */

enum pl_err export_put_mark(struct exporter *x, const struct export_cursor *cursor,
                            struct pl_buf *out)
{
    char text[EXPORT_CURSOR_TEXT];
    export_cursor_format(cursor, text);
    json_writer_begin(x->json, out);
    json_write_object(x->json);
    json_write_pair_text(x->json, "polder_cursor", text);
    json_write_object_end(x->json);
    enum pl_err err = json_writer_end(x->json);
    return err == PL_OK ? end_line(cursor, out) : err;
}

/* Whether as many events were read as the counts allow: those that were there before and are not
 * removed by now at least, those that are there by now and were not removed before at most. */
static bool agrees(const struct export_cursor *cursor, const struct day_counts_row *now)
{
    uint64_t read = cursor->events + cursor->left_out;
    uint64_t removed = now->stored.events - day_counts_held(now);
    return cursor->gaps == 0 && read + removed >= cursor->stored_before &&
           read + cursor->removed_before <= now->stored.events;
}

enum pl_err export_put_summary(struct exporter *x, const struct export_cursor *cursor,
                               const struct day_counts_row *now, struct pl_buf *out)
{
    json_writer_begin(x->json, out);
    json_write_object(x->json);
    json_write_key(x->json, "polder_summary");
    json_write_object(x->json);
    json_write_pair_u64(x->json, "events", cursor->events - cursor->damaged);
    json_write_pair_u64(x->json, "damaged", cursor->damaged);
    json_write_pair_u64(x->json, "left_out", cursor->left_out);
    if (now != NULL && cursor->request.visitor_len == 0) {
        json_write_pair_u64(x->json, "held", day_counts_held(now));
        json_write_pair_bool(x->json, "agrees", agrees(cursor, now));
    }
    json_write_object_end(x->json);
    json_write_object_end(x->json);
    enum pl_err err = json_writer_end(x->json);
    return err == PL_OK ? end_line(cursor, out) : err;
}
