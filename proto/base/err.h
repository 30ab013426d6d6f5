/*
 * err: one enum for everything that can go wrong, and one place for the sentence that explains it.
 *
 * Promise: a function that can fail because of the world returns `enum pl_err`; its results go
 * through out-parameters, which are untouched when it fails. A function whose failure a person
 * may have to read about takes a `struct pl_why *` last; NULL is allowed and means "not wanted".
 * A sentence says what failed, where, and what to do about it.
 */
#ifndef POLDER_PROTO_BASE_ERR_H
#define POLDER_PROTO_BASE_ERR_H

#include <stdarg.h>

enum pl_err {
    PL_OK = 0,
    PL_ENOMEM,       /* out of memory */
    PL_EINVAL,       /* malformed input; why->field names the culprit where there is one */
    PL_ELIMIT,       /* well-formed, but larger or more than is allowed */
    PL_ENOTFOUND,    /* no such thing */
    PL_EEXISTS,      /* already there */
    PL_EDENIED,      /* not permitted (file modes, roles, revoked) */
    PL_EAUTH,        /* a signature, tag or credential does not verify */
    PL_ECORRUPT,     /* stored or received bytes that cannot be what was written */
    PL_EFORK,        /* same chain position, different content */
    PL_EIO,          /* the operating system failed a read or write */
    PL_ENOSPC,       /* disk full, or over the configured share of it */
    PL_EAGAIN,       /* nothing yet, or no room now; asking later may succeed */
    PL_ECLOSED,      /* the other side, or this object, is closed */
    PL_ETIMEDOUT,    /* no answer in time */
    PL_EEXPIRED,     /* it was valid once: an expired account, a destroyed key */
    PL_EUNSUPPORTED, /* a version or option this build does not know */
};

/* Why something failed, in words. Plain data: copy it, keep it on the stack, no release. */
struct pl_why {
    enum pl_err err;
    char field[96]; /* path of the offending field, e.g. "batch[3].timestamp"; "" if none */
    char text[512]; /* a sentence for a person in UTF-8, no trailing newline; cut, never overrun */
};

/* Short standard word for an error, e.g. "not-found". Never NULL; static storage. */
const char *pl_err_word(enum pl_err err);

/* Fill *why (may be NULL) and return err, so that callers can write `return pl_fail(...)`. */
enum pl_err pl_fail(struct pl_why *why, enum pl_err err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As pl_fail, and names the field. */
enum pl_err pl_fail_field(struct pl_why *why, enum pl_err err, const char *field,
                          const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Put more context in front of a sentence already there: "FORMAT: old text". Returns why's err;
 * the given one where there was none yet or why is NULL. */
enum pl_err pl_fail_in(struct pl_why *why, enum pl_err err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The pl_err that best describes an errno value (ENOSPC -> PL_ENOSPC, EACCES -> PL_EDENIED …). */
enum pl_err pl_err_from_errno(int errno_value);

#endif
