/*
 * first_start: what has to exist before an origin can serve, made once for a new database.
 *
 * Promise: a crash at any point of a first start leaves a state that the next start completes. A
 * database without a keyring that belongs to it is never given an empty one.
 */
#ifndef POLDER_ORIGIN_FIRST_START_H
#define POLDER_ORIGIN_FIRST_START_H

#include "origin/accounts/changelog.h"
#include "origin/keyring/keyring.h"

/* *is_new: nothing was ever finished here, so a keyring may be made. PL_EUNSUPPORTED: the
 * database is of another version. */
enum pl_err first_start_check_format(struct store *store, bool *is_new, struct pl_why *why);
/* Tells edges of the current sealing key, unless they were told of it. Blocks. */
enum pl_err first_start_announce(struct store *store, struct keyring *keyring,
                                 struct changelog *changelog, struct pl_why *why);
/* Makes the origin's first sealing key and tells edges of the current one, unless both is done;
 * then marks the database as begun. Blocks. */
enum pl_err first_start_finish(struct store *store, struct keyring *keyring,
                               struct changelog *changelog, const struct pl_log *log,
                               struct pl_why *why);

#endif
