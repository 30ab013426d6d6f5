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

struct deletion_doing {
    struct deletion *deletion;
    const struct lifecycle_config *config;
    const struct account *account;
    int64_t now_ms;
    bool believed;
    bool partly; /* out: the step is not done yet, and may go on at once */
};

/* By when edges' word is not waited for any longer. */
int64_t deletion_seal_deadline_ms(const struct account *account);

/* PL_OK: no edge holds anything of it, or those that never said so are written off. PL_EAGAIN: one
 * does (deletion_edges.c). */
enum pl_err deletion_ask_edges(const struct deletion_doing *doing, struct pl_why *why);
/* The step: they say so, and what they sent before is not kept aside any more. */
enum pl_err deletion_wait_for_edges(struct deletion_doing *doing, struct pl_why *why);
/* Tells the audit log of edges whose word was not waited for. */
void deletion_note_written_off(const struct deletion_doing *doing);

/* Writes what is done, synced (deletion_record.c). */
enum pl_err deletion_record(const struct deletion *deletion, const struct lifecycle_config *config,
                            const struct account *account, struct pl_why *why);
/* Fills in the facts and has the certificate made (deletion_facts.c). */
enum pl_err deletion_certify(const struct deletion *deletion, const struct lifecycle_config *config,
                             const struct account *account, int64_t now_ms, struct pl_why *why);

#endif
