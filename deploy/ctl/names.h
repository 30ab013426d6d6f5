/*
 * names: ids for what people call things.
 *
 * Promise: an id is taken as it is, without asking; a name costs one call and must belong to one
 * thing only, where those that are gone (deleted, revoked) count only when nothing else has it.
 */
#ifndef POLDER_DEPLOY_CTL_NAMES_H
#define POLDER_DEPLOY_CTL_NAMES_H

#include "deploy/ctl/api.h"

#define NAMES_ID_TEXT 33 /* the longest id and its NUL */

enum names_kind { NAMES_ACCOUNT, NAMES_EDGE, NAMES_TOKEN };

/* PL_ENOTFOUND: nothing has the name; PL_EEXISTS: several do, and their ids are in the sentence. */
enum pl_err names_find(struct ctl *ctl, enum names_kind kind, const char *name,
                       char id[NAMES_ID_TEXT], struct pl_why *why);

/* The list in an answer to GET /accounts and its like. */
struct json_iter names_list(enum names_kind kind, const struct api_answer *answer);

#endif
