/*
 * id: the two sizes of identifier, and how they are written for people.
 *
 * Promise: 128-bit ids (incarnations, edges, tokens, visitors, write keys) are 32 lowercase hex
 * digits in text; accounts are 64-bit, 16 lowercase hex digits. Parsing accepts exactly what
 * formatting prints.
 */
#ifndef POLDER_PROTO_BASE_ID_H
#define POLDER_PROTO_BASE_ID_H

#include "proto/base/random.h"
#include "proto/base/span.h"

struct pl_id128 {
    uint8_t bytes[16];
};

#define PL_ID128_TEXT   33 /* with the NUL */
#define PL_ACCOUNT_TEXT 17
#define PL_UUID_TEXT    37

static inline bool pl_id128_eq(const struct pl_id128 *a, const struct pl_id128 *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}
enum pl_err pl_id128_random(const struct pl_random *random, struct pl_id128 *out);
void pl_id128_format(const struct pl_id128 *id, char out[PL_ID128_TEXT]);
bool pl_id128_parse(struct pl_span text, struct pl_id128 *out);

/* Account ids are random, never 0; 0 does not parse. */
enum pl_err pl_account_random(const struct pl_random *random, uint64_t *out);
void pl_account_format(uint64_t account, char out[PL_ACCOUNT_TEXT]);
bool pl_account_parse(struct pl_span text, uint64_t *out);

/* As a UUID (RFC 9562) of that version, in its canonical text form: six of the id's bits say so. */
void pl_uuid_format(struct pl_id128 id, unsigned version, char out[PL_UUID_TEXT]);
/* A random one, version 4. */
enum pl_err pl_uuid4(const struct pl_random *random, char out[PL_UUID_TEXT]);

#endif
