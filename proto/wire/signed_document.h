/*
 * signed_document: a JSON document and an ECDSA signature over its exact bytes, in one file that is
 * JSON too and that three shell commands take apart. SPEC.md, "Signed document".
 *
 * Promise: what signed_document_open lets pass is, byte for byte, what was signed by the holder of
 * the key; nothing may be added, left out or written differently around it.
 */
#ifndef POLDER_PROTO_WIRE_SIGNED_DOCUMENT_H
#define POLDER_PROTO_WIRE_SIGNED_DOCUMENT_H

#include "proto/base/crypto.h"

#define SIGNED_DOCUMENT_BYTES_MAX (1u << 20)
#define SIGNER_ID_BYTES           8

/* Which key: the first 8 bytes of SHA-256 of its SubjectPublicKeyInfo DER. */
void signer_id(struct pl_span spki_der, uint8_t out[SIGNER_ID_BYTES]);

/* Appends the file. line: the document without line feeds in it, and one at its end; signature:
 * DER, over line. PL_EINVAL: it is not one line. */
enum pl_err signed_document_put(struct pl_span line, struct pl_span signature, struct pl_buf *out);
/* Takes a file apart without verifying it: *line is a view, signature gets DER. PL_EINVAL: the file
 * is not one of these, or not as it was written. */
enum pl_err signed_document_split(struct pl_span file, struct pl_span *line,
                                  struct pl_buf *signature, struct pl_why *why);
/* The same, verified under the key. PL_EAUTH: another key signed it, or it was changed. */
enum pl_err signed_document_open(struct pl_span file, struct pl_span spki_der, struct pl_span *line,
                                 struct pl_why *why);

#endif
