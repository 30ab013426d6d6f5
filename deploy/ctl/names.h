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

/* api_call on what has that name, or on what is `rest` below it: "/config", "?as=html", "". */
enum pl_err names_call(struct ctl *ctl, enum names_kind kind, const char *name, const char *method,
                       const char *rest, struct pl_span body, struct api_answer *answer,
                       struct pl_why *why);

/* A command about an account and, with the options from and to and no others, some of its days:
 * shows what GET of `rest` below the account says of them. */
enum { NAMES_FROM, NAMES_TO };
enum ctl_exit names_show_days(struct ctl *ctl, const struct ctl_args *args, const char *rest,
                              enum pl_err (*show)(struct json root, struct pl_why *why),
                              struct pl_why *why);

#endif
