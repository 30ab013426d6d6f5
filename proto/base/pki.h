/*
 * pki: makes the certificates that polderctl hands out and reads those that operators bring.
 *
 * Promise: keys are ECDSA P-256, certificates X.509 v3 (RFC 5280) signed with SHA-256; PEM in,
 * PEM out. Serial numbers are random, 128 bits. Nothing is written to disk here.
 */
#ifndef POLDER_PROTO_BASE_PKI_H
#define POLDER_PROTO_BASE_PKI_H

#include "proto/base/buf.h"
#include "proto/base/random.h"

#include <stdbool.h>
#include <stdint.h>

enum pl_err pl_pki_new_key(const struct pl_random *random, struct pl_buf *key_pem);

struct pl_pki_request {
    const char *common_name;      /* at most 64 bytes */
    const char *const *dns_names; /* subjectAltName; NULL-terminated; may be NULL */
    const char *const *ip_names;  /* dotted or colon text; NULL-terminated; may be NULL */
    int64_t not_before_ms;
    int64_t not_after_ms;
    bool is_ca;
};

/* Self-signed (is_ca) when issuer_cert_pem is empty, else signed by the issuer. subject_key_pem
 * may be a private key or, for an enrolment without the private half, a public key in PEM. */
enum pl_err pl_pki_issue(const struct pl_random *random, const struct pl_pki_request *request,
                         struct pl_span subject_key_pem, struct pl_span issuer_cert_pem,
                         struct pl_span issuer_key_pem, struct pl_buf *cert_pem,
                         struct pl_why *why);

/* Public key of a certificate, as SubjectPublicKeyInfo DER. */
enum pl_err pl_pki_cert_public(struct pl_span cert_pem, struct pl_buf *spki_der,
                               struct pl_why *why);
/* The same of a public key or a certificate, whichever the text holds. PL_EINVAL: neither. */
enum pl_err pl_pki_public(struct pl_span pem, struct pl_buf *spki_der, struct pl_why *why);
/* A public key as "-----BEGIN PUBLIC KEY-----" (RFC 7468 section 13). Appends. */
enum pl_err pl_pki_public_pem(struct pl_span spki_der, struct pl_buf *pem);
enum pl_err pl_pki_cert_not_after(struct pl_span cert_pem, int64_t *not_after_ms,
                                  struct pl_why *why);
/* The DNS names and IP addresses that a certificate is for (subjectAltName), each in a line, in
 * its order; appends. */
enum pl_err pl_pki_cert_hosts(struct pl_span cert_pem, struct pl_buf *hosts, struct pl_why *why);

#endif
