/*
 * visitor_export: everything that is held of one person, a JSON object a line, in pages.
 *
 * Promise: first the person's events, as every export gives them, by day, id and time; then their
 * links ({"polder_link":…}) and opt-outs ({"polder_opt_out":…}). A page that is not the last ends
 * with {"polder_next":"CURSOR"}, and the next one goes on from there.
 *
 * Single-owner. Blocks on the disk.
 */
#ifndef POLDER_ORIGIN_SUBJECTS_VISITOR_EXPORT_H
#define POLDER_ORIGIN_SUBJECTS_VISITOR_EXPORT_H

#include "origin/subjects/visitors.h"

#define VISITOR_PAGE_BYTES ((size_t)8 << 20)
#define VISITOR_PAGE_KEYS  50000 /* looked at for one page */

/* Appends a page of lines to out. cursor: as the page before ended; empty: the first. PL_EINVAL:
 * no cursor of ours. */
enum pl_err visitor_export_page(struct visitors *visitors, struct store *store, uint64_t account,
                                const struct identities *identities, struct pl_span cursor,
                                struct json_writer *w, struct pl_buf *out, struct pl_why *why);

#endif
