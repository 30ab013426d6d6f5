/*
 * deletion: the end of an account's data: its key first, then every byte.
 *
 * Promise: the data key is destroyed on every path of the keyring before anything is dropped, so
 * what a crash or a lost disk leaves behind cannot be read. Every step may be repeated; running
 * it again after a crash ends in the same state. Neighbouring accounts are not touched.
 */
#ifndef POLDER_ORIGIN_DELETION_H
#define POLDER_ORIGIN_DELETION_H

#include "origin/keyring.h"
#include "proto/store/store.h"

struct deletion_report {
    uint64_t events; /* that stood in the vault when the run began */
    uint64_t bytes;  /* of their keys and values */
    struct keyring_destruction key;
};

/* Blocks for seconds to minutes. PL_EAGAIN: an open scan pins what has to go; run it again. */
enum pl_err deletion_run(struct store *store, struct keyring *keyring, uint64_t account,
                         const char *reason, struct deletion_report *report, struct pl_why *why);

#endif
