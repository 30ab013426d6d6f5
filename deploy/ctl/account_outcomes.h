/*
 * account_outcomes: polderctl account outcomes.
 */
#ifndef POLDER_DEPLOY_CTL_ACCOUNT_OUTCOMES_H
#define POLDER_DEPLOY_CTL_ACCOUNT_OUTCOMES_H

#include "deploy/ctl/ctl.h"

extern const struct ctl_option account_outcomes_options[];
enum ctl_exit account_outcomes_run(struct ctl *ctl, const struct ctl_args *args,
                                   struct pl_why *why);

#endif
