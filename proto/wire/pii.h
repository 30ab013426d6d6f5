/*
 * pii: personal data in text: e-mail addresses, payment cards, phone numbers. SPEC.md, "Masking",
 * has the rules in words; they are made so that order numbers, times, UUIDs, prices and product
 * codes are left alone.
 *
 * Promise: pure functions of the text, which may be any UTF-8; nothing is read outside it.
 */
#ifndef POLDER_PROTO_WIRE_PII_H
#define POLDER_PROTO_WIRE_PII_H

#include "proto/base/span.h"

struct pii_piece {
    size_t start, end;
};

/* The first that begins at `from` or behind; false: there is none. What stands before `from` is
 * looked at as its neighbourhood only. */
bool pii_find_email(struct pl_span text, size_t from, struct pii_piece *piece);
bool pii_find_card(struct pl_span text, size_t from, struct pii_piece *piece);
bool pii_find_phone(struct pl_span text, size_t from, struct pii_piece *piece);

/* A key or parameter that promises a phone number; of a long name its end counts. */
#define PII_NAME_BYTES 32
bool pii_is_phone_name(struct pl_span name);
/* The whole text is a phone number, in whichever notation: for what stands under such a name. */
bool pii_is_phone(struct pl_span text);

/* A key that says it has the IP address of some machine (SPEC.md lists them); always with an "ip"
 * in it, in any case. Longer names are none. */
#define PII_ADDRESS_NAME_BYTES 31
bool pii_is_address_name(struct pl_span name);

/* Digits of a card number and nothing else: 13 to 19 of a known issuer, with the check digit. */
#define PII_CARD_DIGITS_MIN 13
#define PII_CARD_DIGITS_MAX 19
bool pii_is_card(const uint8_t *digits, size_t count);

/* Bytes that are part of words and numbers; every byte of a character beyond ASCII is. */
static inline bool pii_is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}
static inline bool pii_is_alnum(uint8_t c)
{
    return pii_is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || c >= 0x80;
}
/* Of an address in front of its at-sign: RFC 5322's atext but for what separates parameters. */
static inline bool pii_is_local(uint8_t c)
{
    return pii_is_alnum(c) || (c != 0 && strchr(".+-_'~!#$*^`{|}", c) != NULL);
}
/* Is there a %XX at `at` (RFC 3986, 2.1)? */
static inline bool pii_is_hex(uint8_t c)
{
    return pii_is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}
static inline bool pii_is_escape(struct pl_span text, size_t at)
{
    return text.len >= 3 && at <= text.len - 3 && text.data[at] == '%' &&
           pii_is_hex(text.data[at + 1]) && pii_is_hex(text.data[at + 2]);
}
/* That of one character: high and low digit, the letter in upper case. */
static inline bool pii_is_escape_of(struct pl_span text, size_t at, char high, char low)
{
    const uint8_t other = (uint8_t)(low >= 'A' ? low | 0x20 : low);
    return text.len >= 3 && at <= text.len - 3 && text.data[at] == '%' &&
           text.data[at + 1] == (uint8_t)high &&
           (text.data[at + 2] == (uint8_t)low || text.data[at + 2] == other);
}

#endif
