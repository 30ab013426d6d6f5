/*
 * account_processing: what only an account's owner can say of the processing of its visitors' data
 * (GDPR Art. 30): the controller, what for, on what legal basis, who gets it.
 *
 * Promise: texts for people, kept and given back as they were said. Nothing is done by them.
 */
#ifndef POLDER_ORIGIN_ACCOUNTS_ACCOUNT_PROCESSING_H
#define POLDER_ORIGIN_ACCOUNTS_ACCOUNT_PROCESSING_H

#include "proto/wire/json.h"

/* Each "" until somebody says it. Sizes with the NUL. */
struct account_processing {
    char controller[256], contact[256]; /* name and address; the data-protection contact */
    char purposes[1024], legal_basis[512];
    char recipients[1024]; /* who is given the data, beside the controller */
};

/* Takes what is there of an object "processing" in object; what is absent stays. PL_EINVAL,
 * PL_ELIMIT name the member, e.g. "processing.contact"; out is then half changed. */
enum pl_err account_processing_read(struct json object, struct account_processing *out,
                                    struct pl_why *why);
/* The object, within another. */
void account_processing_write(const struct account_processing *processing, struct json_writer *w);

#endif
