/*
 * pki_der: the bytes of an X.509 v3 certificate (RFC 5280) in DER. Private to this room.
 *
 * Promise: writes what RFC 5280 and RFC 5758 ask for and nothing else; checks no policy, that is
 * pki's work. PL_ELIMIT when the room is too small.
 */
#ifndef POLDER_PROTO_BASE_PKI_DER_H
#define POLDER_PROTO_BASE_PKI_DER_H

#include "proto/base/pki.h"

/* Everything one certificate is made of. */
struct pl_pki_parts {
    const struct pl_pki_request *request;
    struct pl_span issuer_name; /* the issuer's Name in DER; empty: self-signed */
    struct pl_span spki;
    struct pl_span subject_key_id;
    struct pl_span issuer_key_id; /* empty: the issuer has none */
    struct pl_span serial;        /* a positive integer, shortest form, at most 20 bytes */
};

/* Both write to the end of room and give a view into it. PL_EINVAL: an ip_name is none. */
enum pl_err pl_pki_to_be_signed(const struct pl_pki_parts *parts, uint8_t *room, size_t size,
                                struct pl_span *tbs);
enum pl_err pl_pki_certificate(struct pl_span tbs, struct pl_span signature, uint8_t *room,
                               size_t size, struct pl_span *certificate);

#endif
