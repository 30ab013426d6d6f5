/*
 * account_record: the record of processing activities (GDPR Art. 30), and what its owner says for
 * it.
 */
#ifndef POLDER_DEPLOY_CTL_ACCOUNT_RECORD_H
#define POLDER_DEPLOY_CTL_ACCOUNT_RECORD_H

#include "deploy/ctl/ctl.h"

extern const struct ctl_option account_record_options[];
enum ctl_exit account_record_run(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why);

extern const struct ctl_option account_processing_options[];
enum ctl_exit account_processing_run(struct ctl *ctl, const struct ctl_args *args,
                                     struct pl_why *why);

#endif
