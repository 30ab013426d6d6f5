/*
 * restore: brings a database that was restored from a copy back under everything that was decided
 * since: the redo log's records, and the keys that the keyring no longer holds.
 *
 * Promise: when it is done, whoever had said no, was erased or was revoked is so again, and every
 * account whose deletion had begun is being deleted again, with the certificate that it may have
 * had. A keyring that was put back loses again the keys of accounts that the database knows to be
 * deleted. At every start, before anything is served. Blocks.
 */
#ifndef POLDER_ORIGIN_LIFECYCLE_RESTORE_H
#define POLDER_ORIGIN_LIFECYCLE_RESTORE_H

#include "origin/parts.h"

/* Uses the parts that have records; those that serve are not open yet. */
enum pl_err restore_apply(const struct origin_parts *parts, struct pl_why *why);

#endif
