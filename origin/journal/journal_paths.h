/*
 * journal_paths: where a journal's files lie, one in each of the folders that the operator named,
 * and whether the database ever had them.
 *
 * Promise: the folders are there; a journal that was lost is not taken for one that never was.
 * Start-up only; blocks.
 */
#ifndef POLDER_ORIGIN_JOURNAL_JOURNAL_PATHS_H
#define POLDER_ORIGIN_JOURNAL_JOURNAL_PATHS_H

#include "origin/journal/journal.h"
#include "origin/options.h"
#include "proto/store/store.h"

struct journal_paths {
    char *items[JOURNAL_PATH_LIMIT];
    size_t count;
};

/* file: "audit.ndjson". Makes folders that are missing, with mode 0700. Released also after an
 * error; zeroed before. */
enum pl_err journal_paths_make(struct journal_paths *paths, const struct origin_options *options,
                               const char *file, struct pl_why *why);
void journal_paths_release(struct journal_paths *paths);

/* For journal_config.create: whether no journal of that name was opened with this database. */
enum pl_err journal_is_new(struct store *store, const char *file, bool *is_new, struct pl_why *why);
/* Once it is open. */
enum pl_err journal_is_known(struct store *store, const char *file, struct pl_why *why);

#endif
