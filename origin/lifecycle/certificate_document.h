/*
 * certificate_document: a certificate's JSON. Private to certificate.
 *
 * Promise: writes what the facts say, and refuses facts that are no deletion: a key that was not
 * destroyed, an edge that neither confirmed nor was written off.
 */
#ifndef POLDER_ORIGIN_LIFECYCLE_CERTIFICATE_DOCUMENT_H
#define POLDER_ORIGIN_LIFECYCLE_CERTIFICATE_DOCUMENT_H

#include "origin/lifecycle/certificate.h"
#include "origin/lifecycle/clock_freezes.h"
#include "proto/wire/signed_document.h"

/* PL_EINVAL says what is missing. */
enum pl_err certificate_check(const struct certificate_facts *facts, struct pl_why *why);
/* One line of JSON with its line feed, appended. freezes: of the clock, within the facts' times;
 * freeze_count may be more than freeze_room, which is told. */
enum pl_err certificate_write(const struct certificate_facts *facts,
                              const struct clock_freeze *freezes, size_t freeze_count,
                              size_t freeze_room, const uint8_t signer[SIGNER_ID_BYTES],
                              struct pl_buf *line, struct pl_why *why);

#endif
