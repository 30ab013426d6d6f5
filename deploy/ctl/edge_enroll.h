/*
 * edge_enroll: keys, certificate and configuration of a new edge, and its admission at the origin.
 *
 * Promise: DIR/edges/NAME appears whole once the origin has admitted the edge, or not at all;
 * where the two cannot be told apart, the error says how to find out.
 */
#ifndef POLDER_DEPLOY_CTL_EDGE_ENROLL_H
#define POLDER_DEPLOY_CTL_EDGE_ENROLL_H

#include "deploy/ctl/ctl.h"

extern const struct ctl_option edge_enroll_options[];
enum ctl_exit edge_enroll(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why);

#endif
