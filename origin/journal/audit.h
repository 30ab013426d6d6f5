/*
 * audit: who did what, to which account, when, and how it ended: an append-only file whose lines
 * are chained by their hashes (journal.h; SPEC.md, "Audit log").
 *
 * Promise: a line is on the disk, on every path, before audit_note returns; nothing is ever changed
 * or taken out, nor cut off by age: a log that is full stops changes, and says so long before. No
 * visitor's data and no secret stands in it, and an account appears by its id only, which is
 * random: so the log stays when the account is deleted. A flood of denials is told in a bounded
 * number of lines, with counts: what a process that is killed had only counted, of an hour at most,
 * goes with it. The last eighth of the log's room is not for what owners begin: they cannot keep
 * operators and the lifecycle from changing anything.
 *
 * Any thread; only what says so blocks on the disk.
 */
#ifndef POLDER_ORIGIN_JOURNAL_AUDIT_H
#define POLDER_ORIGIN_JOURNAL_AUDIT_H

#include "origin/accounts/tokens.h"
#include "origin/journal/journal.h"

enum audit_outcome {
    AUDIT_BEGUN = 1, /* is about to be done: without a later line, the origin ended within it */
    AUDIT_DONE,
    AUDIT_DENIED,
    AUDIT_FAILED,
};

/* Texts are copied. */
struct audit_entry {
    const struct token_record *token; /* who asked; NULL: nobody with a token */
    const char *actor;                /* without one: "lifecycle", "origin", … */
    const char *action;               /* noun and verb, "account.expire" */
    uint64_t account;                 /* 0: none */
    const char *object;               /* the id of what it was done to; NULL: none */
    const char *detail; /* words and numbers of ours, or an operator's reason; NULL: none */
    enum audit_outcome outcome;
    struct pl_span from; /* address of who was denied, 4 or 16 bytes; empty: not told */
    uint64_t count;      /* how many denials the line stands for; 0: one */
    bool link;           /* a denial at the link: object is the edge that it said it was */
};

struct audit;
struct audit_config {
    const char *const *paths;
    size_t path_count;
    bool create;        /* as journal_config's */
    uint64_t max_bytes; /* a line has some 350 */
    const struct pl_clock *clock;
    const struct pl_log *log;
};
enum pl_err audit_open(struct audit **out, const struct audit_config *config, struct pl_why *why);
void audit_close(struct audit *audit); /* writes what is counted; NULL is fine. Blocks */

/* Before anything of a call of who's is noted. PL_ENOSPC: the room that is left is not for owners'
 * calls. Memory only. */
enum pl_err audit_room_for(struct audit *audit, const struct token_record *who, struct pl_why *why);
/* On disk when it is PL_OK. audit NULL, as in tests of other parts: PL_OK, nothing is noted.
 * Blocks. */
enum pl_err audit_note(struct audit *audit, const struct audit_entry *entry, struct pl_why *why);

/* As audit_note, of what is done whether it can be noted or not: then the log tells of it. Blocks.
 */
void audit_tell(struct audit *audit, const struct audit_entry *entry);

/* The last line's number and the SHA-256 of its bytes, which whoever keeps them can hold the log
 * to; 0 and zeros when there is none, or audit is NULL. */
void audit_head(struct audit *audit, uint64_t *n, uint8_t hash[PL_SHA256_BYTES]);

/* A denial, from a thread that must not block. true: it has a line of its own, which
 * audit_write_denials puts on the disk; false: it is counted in one. mono_ms: now. */
bool audit_deny(struct audit *audit, const struct audit_entry *entry, int64_t mono_ms);
/* Blocks. On an error they stay and the next call tries again. */
enum pl_err audit_write_denials(struct audit *audit, int64_t mono_ms, struct pl_why *why);

/* Appends whole lines from number `from` on (0 and 1: the first), up to max_bytes, one at least.
 * *next: the number to go on from; 0: that was all there is. Blocks. */
enum pl_err audit_read(struct audit *audit, uint64_t from, size_t max_bytes, struct pl_buf *out,
                       uint64_t *next, struct pl_why *why);

struct audit_status {
    uint64_t denials;  /* since the start */
    uint64_t failures; /* lines that could not be written */
    char trouble[512]; /* why the last one could not; "" when it could */
    struct journal_status journal;
};
void audit_status(struct audit *audit, struct audit_status *out);

#endif
