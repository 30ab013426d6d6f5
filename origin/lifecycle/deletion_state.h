/*
 * deletion_state: what the files of deletion share. Nobody else includes it.
 */
#ifndef POLDER_ORIGIN_LIFECYCLE_DELETION_STATE_H
#define POLDER_ORIGIN_LIFECYCLE_DELETION_STATE_H

#include "origin/lifecycle/deletion.h"

struct deletion_kind {
    const char *name; /* as on the certificate */
    unsigned family;
};
extern const struct deletion_kind deletion_kinds[];
extern const size_t deletion_kind_count;
#define DELETION_CLEARED_KIND "events_cleared"

/* Writes what is done, synced (deletion_record.c). */
enum pl_err deletion_record(const struct deletion *deletion, const struct lifecycle_config *config,
                            const struct account *account, struct pl_why *why);
/* Fills in the facts and has the certificate made (deletion_facts.c). */
enum pl_err deletion_certify(const struct deletion *deletion, const struct lifecycle_config *config,
                             const struct account *account, int64_t now_ms, struct pl_why *why);

#endif
