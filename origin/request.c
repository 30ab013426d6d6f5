#include "origin/request.h"
#include "proto/base/clock.h"
#include "proto/base/text.h"

#include <stdio.h>

#define RECORD_BYTES_MAX (64 * 1024)
#define HEX_BYTES_MAX    128

static bool absent(struct json object, const char *name, struct json *value)
{
    return !json_get(object, name, value) || json_type(*value) == JSON_NULL;
}

enum pl_err request_text(struct json object, const char *name, char *out, size_t out_bytes,
                         struct pl_why *why)
{
    struct json value;
    struct pl_span text;
    if (absent(object, name, &value)) {
        return PL_OK;
    }
    if (!json_string(value, &text)) {
        return pl_fail_field(why, PL_EINVAL, name, "%s must be a string", name);
    }
    if (text.len >= out_bytes) {
        return pl_fail_field(why, PL_ELIMIT, name, "%s is longer than %zu bytes", name,
                             out_bytes - 1);
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < 0x20 || text.data[i] == 0x7f) {
            return pl_fail_field(why, PL_EINVAL, name, "%s holds a control character", name);
        }
    }
    memcpy(out, text.data, text.len);
    out[text.len] = '\0';
    if (strspn(out, " ") == text.len) {
        out[0] = '\0';
    }
    return PL_OK;
}

enum pl_err request_bool(struct json object, const char *name, bool *out, struct pl_why *why)
{
    struct json value;
    if (absent(object, name, &value) || json_bool(value, out)) {
        return PL_OK;
    }
    return pl_fail_field(why, PL_EINVAL, name, "%s must be true or false", name);
}

enum pl_err request_u64(struct json object, const char *name, uint64_t *out, struct pl_why *why)
{
    struct json value;
    if (absent(object, name, &value) || json_u64(value, out)) {
        return PL_OK;
    }
    return pl_fail_field(why, PL_EINVAL, name, "%s must be a whole number from 0 up", name);
}

enum pl_err request_time(struct json object, const char *name, int64_t *out_ms, struct pl_why *why)
{
    struct json value;
    struct pl_span text;
    if (!json_get(object, name, &value)) {
        return PL_OK;
    }
    if (json_type(value) == JSON_NULL) {
        *out_ms = 0;
        return PL_OK;
    }
    if (!json_string(value, &text) || !pl_time_parse(text, out_ms)) {
        return pl_fail_field(
            why, PL_EINVAL, name,
            "%s must be a time like 2026-11-22T13:00:00Z or a date like 2026-11-22", name);
    }
    return PL_OK;
}

enum pl_err request_id128(struct json object, const char *name, struct pl_id128 *out,
                          struct pl_why *why)
{
    return request_hex(object, name, out->bytes, sizeof(out->bytes), why);
}

enum pl_err request_account(struct json object, const char *name, uint64_t *out, struct pl_why *why)
{
    struct json value;
    struct pl_span text;
    if (absent(object, name, &value)) {
        return PL_OK;
    }
    if (!json_string(value, &text) || !pl_account_parse(text, out)) {
        return pl_fail_field(why, PL_EINVAL, name, "%s must be an account id: 16 hex digits", name);
    }
    return PL_OK;
}

enum pl_err request_hex(struct json object, const char *name, uint8_t *out, size_t out_bytes,
                        struct pl_why *why)
{
    struct json value;
    struct pl_span text;
    if (absent(object, name, &value)) {
        return PL_OK;
    }
    if (!json_string(value, &text) || !pl_hex_decode(text, out, out_bytes)) {
        return pl_fail_field(why, PL_EINVAL, name, "%s must be %zu hex digits", name,
                             2 * out_bytes);
    }
    return PL_OK;
}

enum pl_err request_words(struct json object, const char *name, char *out, size_t out_bytes,
                          struct pl_why *why)
{
    struct json value, element;
    struct pl_span text;
    size_t used = 0;
    char joined[4096];
    if (absent(object, name, &value)) {
        return PL_OK;
    }
    if (json_type(value) != JSON_ARRAY) {
        return pl_fail_field(why, PL_EINVAL, name, "%s must be an array of strings", name);
    }
    struct json_iter elements = json_elements(value);
    while (json_next_element(&elements, &element)) {
        if (!json_string(element, &text) || text.len == 0 ||
            memchr(text.data, ' ', text.len) != NULL || memchr(text.data, 0, text.len) != NULL) {
            return pl_fail_field(why, PL_EINVAL, name, "%s must hold strings without spaces", name);
        }
        if (used + text.len + 2 > sizeof(joined) || used + text.len + 2 > out_bytes) {
            return pl_fail_field(why, PL_ELIMIT, name, "%s is longer than %zu bytes in all", name,
                                 out_bytes - 1);
        }
        if (used > 0) {
            joined[used++] = ' ';
        }
        memcpy(joined + used, text.data, text.len);
        used += text.len;
    }
    memcpy(out, joined, used);
    out[used] = '\0';
    return PL_OK;
}

enum pl_err request_only(struct json object, const char *const *names, struct pl_why *why)
{
    struct pl_span name;
    struct json value;
    if (json_type(object) != JSON_OBJECT) {
        return pl_fail(why, PL_EINVAL, "the request must be a JSON object");
    }
    struct json_iter members = json_members(object);
    while (json_next_member(&members, &name, &value)) {
        const char *const *known = names;
        while (*known != NULL && !pl_span_eq_str(name, *known)) {
            known++;
        }
        if (*known == NULL) {
            char field[64];
            snprintf(field, sizeof(field), "%.*s", (int)(name.len > 60 ? 60 : name.len),
                     (const char *)name.data);
            return pl_fail_field(why, PL_EINVAL, field, "%s is not a member of this request",
                                 field);
        }
    }
    return PL_OK;
}

void json_write_pair_time(struct json_writer *w, const char *name, int64_t wall_ms)
{
    char text[PL_TIME_TEXT];
    json_write_key(w, name);
    if (wall_ms == 0) {
        json_write_null(w);
        return;
    }
    pl_time_format(wall_ms, text);
    json_write_text(w, text);
}

void json_write_pair_hex(struct json_writer *w, const char *name, struct pl_span bytes)
{
    char text[2 * HEX_BYTES_MAX + 1];
    if (bytes.len <= HEX_BYTES_MAX) {
        pl_hex_encode(bytes, text);
        json_write_pair_text(w, name, text);
    }
}

void json_write_pair_account(struct json_writer *w, const char *name, uint64_t account)
{
    char text[PL_ACCOUNT_TEXT];
    pl_account_format(account, text);
    json_write_pair_text(w, name, text);
}

void json_write_pair_words(struct json_writer *w, const char *name, const char *words)
{
    json_write_key(w, name);
    json_write_array(w);
    for (size_t len; *words != '\0'; words += len + (words[len] == ' ')) {
        len = strcspn(words, " ");
        json_write_string(w, pl_span(words, len));
    }
    json_write_array_end(w);
}

enum pl_err request_each_record(struct store *store, unsigned family,
                                enum pl_err (*visit)(void *ctx, struct pl_span key,
                                                     struct json record, struct pl_why *why),
                                void *ctx, struct pl_why *why)
{
    struct json_parser *parser = NULL;
    struct store_scan *scan = NULL;
    struct pl_span key, value;
    struct json record;
    enum pl_err err = json_parser_new(&parser, RECORD_BYTES_MAX, 16);
    if (err == PL_OK) {
        err = store_scan_new(&scan, store, family, pl_span(NULL, 0), pl_span(NULL, 0));
    }
    while (err == PL_OK) {
        err = store_scan_next(scan, &key, &value);
        if (err == PL_OK) {
            err = json_parse(parser, value, &record, why);
        }
        if (err == PL_OK) {
            err = visit(ctx, key, record, why);
        }
    }
    store_scan_free(scan);
    json_parser_free(parser);
    return err == PL_ENOTFOUND ? PL_OK : err;
}
