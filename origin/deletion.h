/*
 * deletion: the end of an account's data: its key first, then every byte.
 *
 * Promise: the data key is destroyed on every path of the keyring before anything else is tried,
 * so neither a crash nor a damaged disk leaves something behind that can be read. Every step may
 * be repeated; running it again after a crash ends in the same state. Neighbouring accounts are
 * not touched.
 */
#ifndef POLDER_ORIGIN_DELETION_H
#define POLDER_ORIGIN_DELETION_H

#include "origin/keyring.h"
#include "proto/store/store.h"

struct deletion_report {
    bool begun;      /* by an earlier run, whose count this is: it is not made again */
    bool counted;    /* false: the disk did not let it */
    uint64_t events; /* that stood in the vault when the first run began */
    uint64_t bytes;  /* of their keys and values */
    struct keyring_destruction key;
};

/* Destroys the key, then counts what stands unless an earlier run did. A count that fails is told
 * in the report and fails nothing. Blocks for seconds. */
enum pl_err deletion_begin(struct store *store, struct keyring *keyring, uint64_t account,
                           const char *reason, struct deletion_report *report, struct pl_why *why);
/* Drops every byte, after deletion_begin. Blocks for seconds to minutes. PL_EAGAIN: an open scan
 * pins what has to go; run it again. */
enum pl_err deletion_purge(struct store *store, uint64_t account, struct pl_why *why);

#endif
