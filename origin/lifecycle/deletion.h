/*
 * deletion: the end of an account's data, step by step: its key first, then every byte, then every
 * edge's word, then the certificate.
 *
 * Promise: steps are done in the order of enum deletion_step, and one is recorded, synced, before
 * the next begins (FAMILY_RECORDS). Each may be run again: a crash, a full disk or a damaged one
 * ends in the same state. The data key is destroyed on every path of the keyring before anything
 * else is tried, so whatever goes wrong after that, nothing can be read. Neighbouring accounts are
 * not touched, and a deletion that waits keeps no other from going on.
 *
 * The lifecycle's thread owns it.
 */
#ifndef POLDER_ORIGIN_LIFECYCLE_DELETION_H
#define POLDER_ORIGIN_LIFECYCLE_DELETION_H

#include "origin/accounts/account.h"
#include "origin/lifecycle/certificate.h"

/* Days after the account's expiry, or after the start of a deletion on request, on which sealing
 * keys that a lost edge could have used are destroyed, and by which all is done. */
#define DELETION_SEAL_DAYS          85
#define DELETION_LIMIT_DAYS         90
#define DELETION_REQUEST_SEAL_DAYS  40
#define DELETION_REQUEST_LIMIT_DAYS 45
#define DELETION_LATE_SEAL_DAYS     5 /* one that starts late gives edges so long at least */

enum deletion_step {
    DELETION_BEGUN, /* the state is `deleting`, and edges are told: nothing of the below is done */
    DELETION_KEY,   /* the data key is destroyed: the point of no return */
    DELETION_COUNTED,   /* what stands is counted, for the certificate */
    DELETION_DROPPED,   /* no reader finds anything any more; its name and rules are gone, too */
    DELETION_GONE,      /* no file of the database holds a byte of it */
    DELETION_EDGES,     /* nor does any edge, or what it holds opens nowhere */
    DELETION_FORGOTTEN, /* blocks that were kept aside are gone from every file, too */
    DELETION_CERTIFIED, /* the certificate is signed and kept */
    DELETION_STEPS
};
const char *deletion_step_name(enum deletion_step step); /* "key_destroyed" */

#define DELETION_KINDS 8
/* How far one is. Plain data but for what is counted. */
struct deletion {
    uint64_t account;
    enum deletion_step done;         /* the last step that is */
    int64_t done_ms[DELETION_STEPS]; /* wall clock; 0: not done */
    struct pl_id128 epoch;           /* of the changelog that position is of */
    uint64_t position;               /* the cut-off that edges have to pass */
    struct certificate_count counts[DELETION_KINDS];
    struct certificate_count cleared; /* events of days that went before, for no hold kept them */
    int64_t kept_before_ms; /* blocks that were kept aside before have to go; 0: not known yet */

    /* not recorded */
    struct deletion *next;
    size_t counting;  /* the kind at hand */
    struct pl_buf at; /* where counting it goes on; empty: at its beginning */
    char told[160];   /* what the log was told last of why it waits */
    int64_t told_ms;
};

struct lifecycle_config;
/* Reads how far an account's deletion is; it begins where there is no record. Blocks. */
enum pl_err deletion_load(struct deletion **out, const struct lifecycle_config *config,
                          const struct account *account, struct pl_why *why);
void deletion_free(struct deletion *deletion); /* NULL is fine */
/* Does the next step, or a part of it that takes about a second. PL_OK: go on at once;
 * deletion->done is DELETION_CERTIFIED when there is nothing left. PL_EAGAIN: it waits, for what
 * *why says. Others: it could not be done, call again later. believed: whether the clock is.
 * Blocks. */
enum pl_err deletion_go_on(struct deletion *deletion, const struct lifecycle_config *config,
                           const struct account *account, int64_t now_ms, bool believed,
                           struct pl_why *why);
/* Destroys the account's data key, also one that was destroyed and has come back with a copy of the
 * keyring. As keyring_destroy, but never PL_ENOTFOUND. Any thread; blocks. */
enum pl_err deletion_end_key(struct keyring *keyring, const struct account *account,
                             struct pl_why *why);
/* How far an account's deletion is, as it is recorded, with the edges that it waits for: one
 * object. Any thread; blocks. */
enum pl_err deletion_write_json(const struct lifecycle_config *config,
                                const struct account *account, struct json_writer *w,
                                struct pl_why *why);

/* Else it began because the account had expired. */
bool deletion_was_asked_for(const struct account *account);
/* By when it has to be done. */
int64_t deletion_limit_ms(const struct account *account);

#endif
