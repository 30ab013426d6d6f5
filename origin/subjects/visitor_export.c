#include "origin/subjects/visitor_export.h"
#include "origin/request.h"
#include "origin/subjects/visitor_optouts.h"
#include "proto/base/text.h"

#include <stdio.h>

struct page {
    struct json_writer *writer;
    struct pl_buf *out;
    const struct identities *identities;
    size_t full;
    struct vault_key last; /* that was written, or that the cursor told */
    const struct visitor_cursor *cursor;
    uint64_t damaged; /* up to last: the next page begins there */
};

/* visit's: the page is full; nothing failed. */
#define PAGE_FULL PL_EAGAIN

static enum pl_err end_line(struct page *p, size_t before, enum pl_err err)
{
    if (err == PL_OK)
        err = pl_buf_put_u8(p->out, '\n');
    if (err != PL_OK)
        p->out->len = before;
    return err;
}

static enum pl_err put_event(void *ctx, const struct visitor_event *found)
{
    struct page *p = ctx;
    const size_t before = p->out->len;
    if (before >= p->full)
        return PAGE_FULL;
    enum pl_err err = event_write_json(found->event, p->writer, p->out);
    if (err == PL_ECORRUPT || err == PL_EINVAL) { /* as in other exports */
        json_writer_begin(p->writer, p->out);
        json_write_object(p->writer);
        json_write_pair_text(p->writer, "polder_error", "this event is damaged and cannot be read");
        json_write_pair_hex(p->writer, "key", vault_key_span(found->key));
        json_write_object_end(p->writer);
        err = json_writer_end(p->writer);
    }
    err = end_line(p, before, err);
    if (err == PL_OK) {
        p->last = *found->key;
        p->damaged = p->cursor->damaged;
    }
    return err;
}

/* An object with one member, which is an object. */
static void begin_line(struct page *p, const char *name)
{
    json_writer_begin(p->writer, p->out);
    json_write_object(p->writer);
    json_write_key(p->writer, name);
    json_write_object(p->writer);
}

static enum pl_err finish_line(struct page *p, size_t before)
{
    json_write_object_end(p->writer);
    json_write_object_end(p->writer);
    return end_line(p, before, json_writer_end(p->writer));
}

static enum pl_err put_link(void *ctx, const struct link *link)
{
    struct page *p = ctx;
    const size_t before = p->out->len;
    const bool alias =
        link->key[8] == LINK_PREVIOUS_TO_USER || link->key[8] == LINK_USER_TO_PREVIOUS;
    begin_line(p, "polder_link");
    json_write_key(p->writer, alias ? "previous_id" : "visitor_id");
    json_write_string(p->writer, link->from);
    json_write_key(p->writer, "user_id");
    json_write_string(p->writer, link->user);
    json_write_pair_time(p->writer, "last_seen", link->day * PL_DAY_MS);
    return finish_line(p, before);
}

static enum pl_err put_opt_out(void *ctx, const struct suppression *said)
{
    struct page *p = ctx;
    const size_t before = p->out->len;
    begin_line(p, "polder_opt_out");
    json_write_pair_hex(p->writer, "consent_id", pl_span(said->consent_id.bytes, 16));
    json_write_pair_time(p->writer, "since", said->since_ms);
    json_write_pair_bool(p->writer, "active", said->active);
    return finish_line(p, before);
}

/* Whose they are nobody can read, but that they lie where the visitor's do. */
static enum pl_err put_damaged(struct page *p, uint64_t values)
{
    char text[96];
    const size_t before = p->out->len;
    if (values == 0)
        return PL_OK;
    snprintf(text, sizeof(text), "%llu %s damaged and cannot be read", (unsigned long long)values,
             pl_plural(values, "value that may be this visitor's is",
                       "values that may be this visitor's are"));
    json_writer_begin(p->writer, p->out);
    json_write_object(p->writer);
    json_write_pair_text(p->writer, "polder_error", text);
    json_write_object_end(p->writer);
    return end_line(p, before, json_writer_end(p->writer));
}

static enum pl_err put_next(struct page *p)
{
    char hex[2 * VAULT_KEY_BYTES + 1];
    const size_t before = p->out->len;
    pl_hex_encode(vault_key_span(&p->last), hex);
    json_writer_begin(p->writer, p->out);
    json_write_object(p->writer);
    json_write_pair_text(p->writer, "polder_next", hex);
    json_write_object_end(p->writer);
    return end_line(p, before, json_writer_end(p->writer));
}

static enum pl_err begin(struct page *p, uint64_t account, struct pl_span text,
                         struct visitor_cursor *cursor, struct pl_why *why)
{
    *cursor = (struct visitor_cursor){.day = 0};
    if (text.len == 0)
        return PL_OK;
    if (!pl_hex_decode(text, p->last.bytes, sizeof(p->last.bytes)) ||
        vault_key_account(&p->last) != account)
        return pl_fail_field(why, PL_EINVAL, "cursor",
                             "this is not a cursor that an export of a visitor of this account "
                             "gave out");
    visitors_resume(p->identities, &p->last, cursor);
    return PL_OK;
}

/* Pages that only looked at others' events, which have the hash in common, are gone over. */
enum pl_err visitor_export_page(struct visitors *visitors, struct store *store, uint64_t account,
                                const struct identities *identities, struct pl_span text,
                                struct json_writer *w, struct pl_buf *out, struct pl_why *why)
{
    struct visitor_cursor cursor;
    struct page p = {.writer = w,
                     .out = out,
                     .identities = identities,
                     .full = out->len + VISITOR_PAGE_BYTES,
                     .cursor = &cursor};
    enum pl_err err = begin(&p, account, text, &cursor, why);
    if (err != PL_OK)
        return err;
    const size_t before = out->len;
    do
        err =
            visitors_walk(visitors, account, identities, &cursor, VISITOR_PAGE_KEYS, put_event, &p);
    while (err == PL_EAGAIN && out->len == before);
    const bool more = err == PL_EAGAIN;
    if (more || err == PL_OK)
        err = put_damaged(&p, more ? p.damaged : cursor.damaged);
    if (err == PL_OK && more)
        err = put_next(&p);
    else if (err == PL_OK &&
             (err = visitors_links(visitors, account, identities, put_link, &p)) == PL_OK)
        err = visitor_optouts_each(store, account, identities, put_opt_out, &p);
    return err == PL_OK ? PL_OK
                        : pl_fail(why, err, "what is held of the visitor cannot be read: %s",
                                  pl_err_word(err));
}
