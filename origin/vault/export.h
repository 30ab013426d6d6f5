/*
 * export: gives an account's events back, as NDJSON or CSV: by day range, by type, by visitor.
 *
 * Promise: every event stored before the export began is in it once, in order of day, visitor
 * and time; tallies, which are the edges' word and no visitor's, only where they are asked for.
 * Work is done in slices; nothing in the store is pinned between two calls, and a cursor kept as
 * text resumes after a restart of either side. A value that does not open becomes a line
 * {"polder_error": …, "key": HEX} in its place and is counted: never skipped in silence, never the
 * end of the rest. So does a stretch of keys on a damaged part of the disk, once for all of it,
 * with "readable_from". In CSV these are the last columns. When the account's key is destroyed
 * meanwhile, the export ends with PL_EEXPIRED.
 *
 * An exporter is single-owner: one per API worker. Blocks on the disk.
 */
#ifndef POLDER_ORIGIN_VAULT_EXPORT_H
#define POLDER_ORIGIN_VAULT_EXPORT_H

#include "origin/accounts/day_counts.h"
#include "origin/families.h"
#include "origin/vault/vault.h"

#include <stdatomic.h>

enum export_format {
    EXPORT_NDJSON,
    EXPORT_CSV, /* RFC 4180, with a header record; columns as event_write_csv, then the error's */
};
/* A bit a type; bit 0: those that only a newer version knows. */
#define EXPORT_TYPES_DEFAULT (~(UINT64_C(1) << EVENT_TALLY))

/* Plain data. */
struct export_request {
    uint64_t account;
    int64_t first_day, last_day; /* since 1970, inclusive */
    enum export_format format;
    uint64_t types;
    char visitor[LIMIT_ID_BYTES]; /* a visitor id, or a user id of events that have none */
    size_t visitor_len;           /* 0: everybody's */
};
/* Everything but tallies of these days, as NDJSON. */
struct export_request export_request_of(uint64_t account, int64_t first_day, int64_t last_day);

/* Plain data: copy it, keep it, no release. */
struct export_cursor {
    struct export_request request;
    struct vault_key at; /* where to go on */
    bool after;          /* at itself has been given */
    bool done;
    uint64_t events;   /* records given so far, but for CSV's header */
    uint64_t damaged;  /* of them, errors */
    uint64_t left_out; /* read, and not asked for */
    uint64_t gaps;     /* of the damaged, stretches of the disk: nobody knows how many events */
    /* What the days' counts said when it began; the caller's, carried along. */
    uint64_t stored_before, removed_before;
};

/* PL_EINVAL names the field: first after last, or outside 0..VAULT_DAY_MAX; no type. */
enum pl_err export_begin(struct export_cursor *cursor, const struct export_request *request,
                         struct pl_why *why);

#define EXPORT_CURSOR_TEXT 256
/* For a client that wants to go on later. */
void export_cursor_format(const struct export_cursor *cursor, char out[EXPORT_CURSOR_TEXT]);
/* The text must be of an export of the same request; PL_EINVAL otherwise. Where it goes on is
 * checked to lie within the request. */
enum pl_err export_resume(struct export_cursor *cursor, const struct export_request *request,
                          struct pl_span text, struct pl_why *why);

struct exporter;
enum pl_err exporter_new(struct exporter **out, struct store *store, struct keyring *keyring);
void exporter_free(struct exporter *exporter);
/* Forgets what was derived from keys that were destroyed since. Call it when idle, too. */
void exporter_tidy(struct exporter *exporter);
/* Appends whole records to out until max_bytes are reached, slice_ms (0: 250) have passed or *stop
 * (may be NULL) is set; gives PL_OK with progress, PL_ENOTFOUND at the end (nothing appended),
 * PL_EEXPIRED when the account's key is destroyed, PL_ECORRUPT when there is none. out's limit must
 * leave room for max_bytes and one record, 512 KiB at most. */
enum pl_err export_next(struct exporter *exporter, struct export_cursor *cursor,
                        const struct pl_clock *clock, int64_t slice_ms, size_t max_bytes,
                        const _Atomic bool *stop, struct pl_buf *out, struct pl_why *why);

/* In CSV, the header record, which comes before all others. */
enum pl_err export_put_header(const struct export_cursor *cursor, struct pl_buf *out);
/* Lines of the export's own, for programs that take them out: JSON in both formats. Where it may
 * be resumed: {"polder_cursor":TEXT}. */
enum pl_err export_put_mark(struct exporter *exporter, const struct export_cursor *cursor,
                            struct pl_buf *out);
/* After its end, {"polder_summary":{"events","damaged","left_out","held","agrees"}}: held is what
 * the days' counts say is held now, and agrees whether the export has as many, as far as events
 * did not come and go meanwhile. Both only where everything of these days was read. */
enum pl_err export_put_summary(struct exporter *exporter, const struct export_cursor *cursor,
                               const struct day_counts_row *now, struct pl_buf *out);

#endif
