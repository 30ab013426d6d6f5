/*
 * link: what both ends need of nng: mutual TLS from files, and words for its errors.
 *
 * Promise: every failure says which file or address and what to do. nng's own threads start with
 * the first call here and live as long as the process: nng_fini is nobody's to call, because
 * either end may still be running beside the other in one process.
 */
#ifndef POLDER_REPLICATION_LINK_H
#define POLDER_REPLICATION_LINK_H

#include "proto/base/crypto.h"
#include "proto/wire/limits.h"

#include <nng/nng.h>
#include <nng/supplemental/tls/tls.h>

struct link_identity {
    bool server;
    const char *server_name; /* of a client: the name the server's certificate must bear */
    const char *ca_file, *cert_file, *key_file;
};

/* Both sides demand a certificate of the CA's. Checks that key and certificate belong together.
 * signer may be NULL: where the key is wanted for signing as well; so may ends_ms: when the first
 * of certificate and CA ends. Blocks on the disk. */
enum pl_err link_tls_new(nng_tls_config **out, struct pl_signer **signer, int64_t *ends_ms,
                         const struct link_identity *identity, struct pl_why *why);

/* The pl_err that best describes one of nng's. */
enum pl_err link_err(int rv);
/* "DOING: nng's words". */
enum pl_err link_fail(struct pl_why *why, int rv, const char *doing, const char *about);

#endif
