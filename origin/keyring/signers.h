/*
 * signers: the public halves of keys that signed destructions before, from the files that an
 * operator names.
 *
 * Promise: a destruction that a replaced key signed goes on to count; a file that names no key is
 * refused by name. Only public bytes are kept.
 */
#ifndef POLDER_ORIGIN_KEYRING_SIGNERS_H
#define POLDER_ORIGIN_KEYRING_SIGNERS_H

#include "proto/base/buf.h"
#include "proto/base/options.h"

struct signers {
    struct pl_buf *keys;   /* SubjectPublicKeyInfo DER */
    struct pl_span *spans; /* of the same, for keyring_config.earlier_signers */
    size_t count;
};

/* Each file is a certificate or a private key in PEM, mode 0600. Blocks. *out is to be released in
 * any case. */
enum pl_err signers_load(const struct pl_text_list *files, struct signers *out, struct pl_why *why);
void signers_release(struct signers *signers);

#endif
