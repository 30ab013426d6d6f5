/*
 * tokens: bearer tokens of the admin API (RFC 6750), stored as hashes only.
 *
 * Promise: a token's text is given once, when it is made; what is stored cannot be turned back
 * into it. Checking takes the same time for every token that is not known. At most 10,000 live, and
 * the newest 1,000 that ended in the last 100 days are known; older ones go when one is made. Any
 * thread may call; changes block on the disk.
 */
#ifndef POLDER_ORIGIN_ACCOUNTS_TOKENS_H
#define POLDER_ORIGIN_ACCOUNTS_TOKENS_H

#include "origin/journal/redo.h"
#include "proto/base/clock.h"
#include "proto/base/crypto.h"
#include "proto/base/id.h"
#include "proto/store/store.h"
#include "proto/wire/json.h"

enum token_role {
    ROLE_OPERATOR = 1, /* everything */
    ROLE_OWNER = 2,    /* one account: reading, exports, its visitors' rights */
    ROLE_AUDITOR = 3,  /* audit log, certificates, lifecycle, books; no visitor data */
};
const char *token_role_name(enum token_role role);

#define TOKEN_TEXT_BYTES 68 /* "pt_", 64 hex digits, NUL */

struct token_record {
    struct pl_id128 id;
    enum token_role role;
    uint64_t account; /* owners' */
    char name[64];
    uint8_t hash[PL_SHA256_BYTES];
    int64_t created_ms;
    int64_t expires_at_ms; /* 0: never */
    int64_t revoked_ms;    /* 0: not */
};

struct tokens;
/* bootstrap_hash_hex: SHA-256 of an operator token that always works; NULL or "": none. clock: one
 * that does not go back, or what has expired lives again (clock_belief.h). */
enum pl_err tokens_open(struct tokens **out, struct store *store, const char *bootstrap_hash_hex,
                        const struct pl_clock *clock, const struct pl_random *random,
                        struct pl_why *why);
void tokens_close(struct tokens *tokens); /* NULL is fine */
/* Where changes are noted that a restore must not undo, or must show. Before others may change. */
void tokens_note_to(struct tokens *tokens, struct redo *redo);

/* From a request's JSON: role, account (owners), name, expires_at. PL_EINVAL names the field. */
enum pl_err tokens_create(struct tokens *tokens, struct json request, struct token_record *out,
                          char text[TOKEN_TEXT_BYTES], struct pl_why *why);
enum pl_err tokens_revoke(struct tokens *tokens, const struct pl_id128 *id, struct pl_why *why);
/* A copy of all; the caller frees *out. */
enum pl_err tokens_list(struct tokens *tokens, struct token_record **out, size_t *count);
/* As the API gives it. text: the token itself, when it is shown; else NULL. */
void token_write_json(const struct token_record *token, const char *text, struct json_writer *w);
/* Owners' tokens of an account: their rows go, so that nothing tells of its people any more. Ones
 * that are gone already are no error. */
enum pl_err tokens_forget(struct tokens *tokens, uint64_t account, size_t *count,
                          struct pl_why *why);
/* PL_EAUTH: unknown. PL_EEXPIRED: revoked or expired, *out says whose it was. Memory only. */
enum pl_err tokens_check(struct tokens *tokens, struct pl_span text, struct token_record *out);
/* Whether one that was good still is. Memory only. */
bool tokens_stand(struct tokens *tokens, const struct token_record *token);

#endif
