/*
 * request: reading members of a JSON document that a person or a program sent, with errors that
 * name the member. The same documents are kept as records, so this reads those too.
 *
 * Promise: a member that is absent or null leaves *out as it was and is PL_OK, but for a time that
 * is null; one of the wrong type or size is PL_EINVAL or PL_ELIMIT and changes nothing.
 */
#ifndef POLDER_ORIGIN_REQUEST_H
#define POLDER_ORIGIN_REQUEST_H

#include "proto/base/id.h"
#include "proto/store/store.h"
#include "proto/wire/json.h"

/* Copies text with its NUL; no control bytes. Spaces alone say nothing: "". */
enum pl_err request_text(struct json object, const char *name, char *out, size_t out_bytes,
                         struct pl_why *why);
enum pl_err request_bool(struct json object, const char *name, bool *out, struct pl_why *why);
enum pl_err request_u64(struct json object, const char *name, uint64_t *out, struct pl_why *why);
/* RFC 3339 date-time or a date; null gives 0: where a time may be taken back, that is none. */
enum pl_err request_time(struct json object, const char *name, int64_t *out_ms, struct pl_why *why);
enum pl_err request_id128(struct json object, const char *name, struct pl_id128 *out,
                          struct pl_why *why);
enum pl_err request_account(struct json object, const char *name, uint64_t *out,
                            struct pl_why *why);
/* Exactly out_bytes bytes in hex. */
enum pl_err request_hex(struct json object, const char *name, uint8_t *out, size_t out_bytes,
                        struct pl_why *why);
/* An array of strings without spaces, joined by single spaces. */
enum pl_err request_words(struct json object, const char *name, char *out, size_t out_bytes,
                          struct pl_why *why);
/* PL_EINVAL with the first member that is not in the NULL-terminated list. */
enum pl_err request_only(struct json object, const char *const *names, struct pl_why *why);

/* "name": "2026-…" or null for 0. */
void json_write_pair_time(struct json_writer *w, const char *name, int64_t wall_ms);
void json_write_pair_hex(struct json_writer *w, const char *name, struct pl_span bytes);
void json_write_pair_account(struct json_writer *w, const char *name, uint64_t account);
void json_write_pair_words(struct json_writer *w, const char *name, const char *words);

/* Parses every value of a family and hands it on, in key order. What visit gives other than PL_OK
 * ends the walk. Blocks. */
enum pl_err request_each_record(struct store *store, unsigned family,
                                enum pl_err (*visit)(void *ctx, struct pl_span key,
                                                     struct json record, struct pl_why *why),
                                void *ctx, struct pl_why *why);

#endif
