/* Where an export begins, and where it goes on. */
#include "origin/vault/export_state.h"

#include "proto/base/text.h"

#include <inttypes.h>
#include <stdio.h>

#define TEXT_VERSION 2
#define DIGEST_BYTES 8

struct export_request export_request_of(uint64_t account, int64_t first_day, int64_t last_day)
{
    return (struct export_request){.account = account,
                                   .first_day = first_day,
                                   .last_day = last_day,
                                   .types = EXPORT_TYPES_DEFAULT};
}

enum pl_err export_begin(struct export_cursor *cursor, const struct export_request *request,
                         struct pl_why *why)
{
    if (request->first_day < 0 || request->last_day > VAULT_DAY_MAX ||
        request->first_day > request->last_day)
        return pl_fail_field(why, PL_EINVAL, "from",
                             "the first day must not be after the last one, and both must be "
                             "between 1970 and 2149");
    if (request->types == 0)
        return pl_fail_field(why, PL_EINVAL, "type", "no type of events is asked for");
    *cursor = (struct export_cursor){.request = *request};
    vault_key_first(request->account, request->first_day, &cursor->at);
    return PL_OK;
}

/* What two requests must have in common for one to go on where the other stopped. */
static void digest_of(const struct export_request *request, char out[2 * DIGEST_BYTES + 1])
{
    uint8_t fixed[8 + 2 + 2 + 1 + 8], hash[PL_SHA256_BYTES];
    pl_store_u64(fixed, request->account);
    pl_store_u16(fixed + 8, (uint16_t)request->first_day);
    pl_store_u16(fixed + 10, (uint16_t)request->last_day);
    fixed[12] = (uint8_t)request->format;
    pl_store_u64(fixed + 13, request->types);
    const struct pl_span parts[] = {pl_span(fixed, sizeof(fixed)),
                                    pl_span(request->visitor, request->visitor_len)};
    pl_sha256(parts, 2, hash);
    pl_hex_encode(pl_span(hash, DIGEST_BYTES), out);
}

/* ---- as text: "2.DIGEST.KEY.AFTER.DONE." and the counts */

void export_cursor_format(const struct export_cursor *cursor, char out[EXPORT_CURSOR_TEXT])
{
    char digest[2 * DIGEST_BYTES + 1], key[2 * VAULT_KEY_BYTES + 1];
    digest_of(&cursor->request, digest);
    pl_hex_encode(vault_key_span(&cursor->at), key);
    snprintf(out, EXPORT_CURSOR_TEXT,
             "%d.%s.%s.%d.%d.%" PRIu64 ".%" PRIu64 ".%" PRIu64 ".%" PRIu64 ".%" PRIu64 ".%" PRIu64,
             TEXT_VERSION, digest, key, cursor->after, cursor->done, cursor->events,
             cursor->damaged, cursor->left_out, cursor->gaps, cursor->stored_before,
             cursor->removed_before);
}

/* The text up to the next point, or the end. */
static struct pl_span next_part(struct pl_span *rest)
{
    const uint8_t *point = rest->len == 0 ? NULL : memchr(rest->data, '.', rest->len);
    size_t len = point == NULL ? rest->len : (size_t)(point - rest->data);
    struct pl_span part = pl_span(rest->data, len);
    *rest = pl_span_from(*rest, len + 1);
    return part;
}

static bool parse(struct pl_span text, struct export_cursor *c, struct pl_span *digest)
{
    uint64_t version = 0, after = 0, done = 0;
    if (text.len >= EXPORT_CURSOR_TEXT || !pl_span_to_u64(next_part(&text), &version) ||
        version != TEXT_VERSION)
        return false;
    *digest = next_part(&text);
    uint64_t *const numbers[] = {&after,       &done,    &c->events,        &c->damaged,
                                 &c->left_out, &c->gaps, &c->stored_before, &c->removed_before};
    bool good = pl_hex_decode(next_part(&text), c->at.bytes, VAULT_KEY_BYTES);
    for (size_t i = 0; good && i < sizeof(numbers) / sizeof(numbers[0]); i++)
        good = pl_span_to_u64(next_part(&text), numbers[i]);
    c->after = after != 0;
    c->done = done != 0;
    return good && text.len == 0 && after <= 1 && done <= 1;
}

/* The counts are the client's to lie about; where it reads is not. */
static bool is_within(const struct vault_key *at, const struct export_request *request)
{
    return vault_key_account(at) == request->account && vault_key_day(at) >= request->first_day &&
           vault_key_day(at) <= request->last_day;
}

enum pl_err export_resume(struct export_cursor *cursor, const struct export_request *request,
                          struct pl_span text, struct pl_why *why)
{
    struct export_cursor c;
    struct pl_span digest;
    char wanted[2 * DIGEST_BYTES + 1];
    enum pl_err err = export_begin(&c, request, why);
    if (err != PL_OK)
        return err;
    if (!parse(text, &c, &digest))
        return pl_fail_field(why, PL_EINVAL, "cursor",
                             "this is not a cursor that an export gave out");
    digest_of(request, wanted);
    if (!pl_span_eq_str(digest, wanted) || !is_within(&c.at, request))
        return pl_fail_field(why, PL_EINVAL, "cursor",
                             "the cursor is of another export: ask for the same days, types, "
                             "visitor and format again");
    *cursor = c;
    return PL_OK;
}
