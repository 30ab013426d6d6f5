/*
 * export: gives an account's events back, as NDJSON, by day range.
 *
 * Promise: every event stored before the export began is in it once, in order of day, visitor
 * and time; tallies, which are the edges' word and no visitor's, only where they are asked for.
 * Work is done in slices; nothing in the store is pinned between two calls, and a cursor kept as
 * text resumes after a restart of either side. A value that does not open becomes a line
 * {"polder_error": …, "key": HEX} in its place and is counted: never skipped in silence, never the
 * end of the rest. So does a stretch of keys on a damaged part of the disk, once for all of it,
 * with "readable_from". When the account's key is destroyed meanwhile, the export ends with
 * PL_EEXPIRED.
 *
 * An exporter is single-owner: one per API worker. Blocks on the disk.
 */
#ifndef POLDER_ORIGIN_EXPORT_H
#define POLDER_ORIGIN_EXPORT_H

#include "origin/families.h"
#include "origin/vault.h"

/* Plain data: copy it, keep it, no release. */
struct export_cursor {
    uint64_t account;
    int64_t last_day;    /* inclusive */
    struct vault_key at; /* where to go on */
    bool after;          /* at itself has been given */
    bool done;
    bool tallies;     /* include them; false after export_begin */
    uint64_t events;  /* lines given so far */
    uint64_t damaged; /* of them, errors */
};

/* Days since 1970, inclusive. PL_EINVAL: first after last, or outside 0..VAULT_DAY_MAX. */
enum pl_err export_begin(struct export_cursor *cursor, uint64_t account, int64_t first_day,
                         int64_t last_day, struct pl_why *why);

#define EXPORT_CURSOR_TEXT 160
/* For a client that wants to go on later; parsing checks everything and says PL_EINVAL. */
void export_cursor_format(const struct export_cursor *cursor, char out[EXPORT_CURSOR_TEXT]);
enum pl_err export_cursor_parse(struct pl_span text, struct export_cursor *cursor,
                                struct pl_why *why);

struct exporter;
enum pl_err exporter_new(struct exporter **out, struct store *store, struct keyring *keyring);
void exporter_free(struct exporter *exporter);
/* Forgets what was derived from keys that were destroyed since. Call it when idle, too. */
void exporter_tidy(struct exporter *exporter);
/* Appends whole lines to out until max_bytes are reached or slice_ms (0: 250) have passed; gives
 * PL_OK with progress, PL_ENOTFOUND at the end (nothing appended), PL_EEXPIRED when the account's
 * key is destroyed, PL_ENOTFOUND also for an account that never had a key. out's limit must leave
 * room for max_bytes and one line of EXPORT_LINE_BYTES_MAX. */
#define EXPORT_LINE_BYTES_MAX (512 * 1024)
enum pl_err export_next(struct exporter *exporter, struct export_cursor *cursor,
                        const struct pl_clock *clock, int64_t slice_ms, size_t max_bytes,
                        struct pl_buf *out, struct pl_why *why);

#endif
