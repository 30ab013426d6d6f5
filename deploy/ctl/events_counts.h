/*
 * events_counts: polderctl events counts, and check: how many events there are, and whether that
 * is what the ledger says.
 */
#ifndef POLDER_DEPLOY_CTL_EVENTS_COUNTS_H
#define POLDER_DEPLOY_CTL_EVENTS_COUNTS_H

#include "deploy/ctl/ctl.h"

extern const struct ctl_option events_counts_options[];
enum ctl_exit events_counts_run(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why);
enum ctl_exit events_check_run(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why);

#endif
