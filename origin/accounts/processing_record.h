/*
 * processing_record: the record of processing activities that a data-protection officer keeps of an
 * account (GDPR Art. 30), made from what is configured.
 *
 * Promise: what it says of the origin, its edges and the account's rules is what they are set to
 * now; what nobody has configured is named in `missing`, with what to do. JSON and page say the
 * same. No visitor's data.
 */
#ifndef POLDER_ORIGIN_ACCOUNTS_PROCESSING_RECORD_H
#define POLDER_ORIGIN_ACCOUNTS_PROCESSING_RECORD_H

#include "origin/parts.h"

/* One JSON object. */
enum pl_err processing_record_write(const struct origin_parts *parts, const struct account *account,
                                    struct json_writer *w, struct pl_why *why);
/* The same as a page (HTML, without scripts and anything from elsewhere). Appends. */
enum pl_err processing_record_page(const struct origin_parts *parts, const struct account *account,
                                   struct pl_buf *page, struct pl_why *why);

#endif
