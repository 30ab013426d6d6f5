/*
 * certificate_view: a certificate of deletion for people, and what in it can be checked beside its
 * signature.
 */
#ifndef POLDER_DEPLOY_CTL_CERTIFICATE_VIEW_H
#define POLDER_DEPLOY_CTL_CERTIFICATE_VIEW_H

#include "proto/wire/json.h"

/* Its rows to standard output. */
enum pl_err certificate_print(struct json document, struct pl_why *why);

/* Whether the keyring's record of the data key's destruction, as the certificate repeats it, is
 * the signer's as well. PL_EUNSUPPORTED: an earlier key signed it. */
enum pl_err certificate_check_key(struct json document, struct pl_span spki_der,
                                  struct pl_why *why);

#endif
