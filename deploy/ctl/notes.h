/*
 * notes: what a command that went well should not leave unsaid: settings that have no effect.
 *
 * Promise: notes go to standard error and fail nothing; what they need to know and are not told,
 * they do not guess. They may ask the origin, so they block.
 */
#ifndef POLDER_DEPLOY_CTL_NOTES_H
#define POLDER_DEPLOY_CTL_NOTES_H

#include "deploy/ctl/ctl.h"
#include "proto/wire/json.h"

/* Of an account that was limited to regions: those that no edge is enrolled for. */
void notes_regions(struct ctl *ctl, struct json account);
/* Of one without web origins: what its pages cannot do. */
void notes_origins(struct json account);
/* Of a config that says whether Do Not Track counts, which is the account's rule. account: whose
 * rule is looked up, and only what differs from it is told; NULL: it is not known yet. */
void notes_dnt(struct ctl *ctl, struct pl_span config, const char *account);

#endif
