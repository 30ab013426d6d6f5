/*
 * export_state: what the files of export share. Private to export.
 */
#ifndef POLDER_ORIGIN_VAULT_EXPORT_STATE_H
#define POLDER_ORIGIN_VAULT_EXPORT_STATE_H

#include "origin/vault/export.h"

struct exporter {
    struct store *store;
    struct keyring *keyring;
    struct vault_sealer *sealer;
    struct event_reader *reader;
    struct event *event;
    struct json_writer *json;
    struct pl_buf encoded;
};

/* ---- lines (export_lines.c); on an error out is as it was, and nothing is counted */

/* One event as a record, or what is wrong with it, or nothing if it is not asked for. */
enum pl_err export_put_event(struct exporter *x, struct export_cursor *cursor,
                             const struct vault_key *key, struct pl_span value, struct pl_buf *out);
/* What stands in a record's place; readable_from may be NULL. */
enum pl_err export_put_error(struct exporter *x, struct export_cursor *cursor, const char *error,
                             const struct vault_key *key, const struct vault_key *readable_from,
                             struct pl_buf *out);

/* ---- the way past a rotten block of the store (export_rot.c) */

/* The first key after bad, up to end, from which reading works again. */
enum pl_err export_way_on(struct store *store, const struct vault_key *bad,
                          const struct vault_key *end, struct vault_key *good);

#endif
