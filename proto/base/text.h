/*
 * text: hexadecimal and base64 (RFC 4648), both alphabets; forms; sentences that are cut to fit,
 * and that count.
 *
 * Promise: decoders accept only complete, canonical input and change nothing when they refuse.
 */
#ifndef POLDER_PROTO_BASE_TEXT_H
#define POLDER_PROTO_BASE_TEXT_H

#include "proto/base/buf.h"

#include <stdarg.h>

/* Writes 2 * in.len digits and a NUL; out must hold them. Lowercase. */
void pl_hex_encode(struct pl_span in, char *out);
/* Exactly 2 * out_len digits, either case. */
bool pl_hex_decode(struct pl_span text, uint8_t *out, size_t out_len);
/* Only what pl_hex_encode writes. */
bool pl_hex_decode_lower(struct pl_span text, uint8_t *out, size_t out_len);

enum pl_err pl_base64_encode(struct pl_span in, struct pl_buf *out);
/* Standard or URL alphabet (not both at once), with or without padding. PL_EINVAL otherwise. */
enum pl_err pl_base64_decode(struct pl_span text, struct pl_buf *out);

/* As snprintf, and UTF-8 whatever the arguments are: what does not fit is cut between two
 * characters, a byte of none is a '?'. For all that people get to see as JSON. */
void pl_text_print(char *out, size_t out_bytes, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void pl_text_print_v(char *out, size_t out_bytes, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));

/* For "%zu %s": the words that go with a count of one, or those that go with any other. */
static inline const char *pl_plural(uint64_t count, const char *one, const char *others)
{
    return count == 1 ? one : others;
}

/* application/x-www-form-urlencoded: '+' is a space, %XX is a byte; PL_EINVAL on a bad escape. */
enum pl_err pl_form_decode(struct pl_span text, struct pl_buf *out);
/* The other way: all but letters, digits and -._~ as %XX. */
enum pl_err pl_form_encode(struct pl_span text, struct pl_buf *out);
/* Walks "a=1&b=2"; name and value are views, still encoded. False at the end. */
bool pl_form_next(struct pl_span *rest, struct pl_span *name, struct pl_span *value);
/* First value of a parameter, still encoded; false when absent. Names are compared as they stand,
 * without decoding. */
bool pl_form_find(struct pl_span query, const char *name, struct pl_span *value);

#endif
