/*
 * node: one origin, put together: every part opened in order of what it stands on, and released
 * in reverse.
 *
 * Promise: node_new leaves nothing behind when it fails. node_stop finishes what is under way:
 * API requests first, then the link (edges keep what got no verdict), then time's work, and
 * closes the database last. Main thread only.
 */
#ifndef POLDER_ORIGIN_NODE_H
#define POLDER_ORIGIN_NODE_H

#include "origin/options.h"
#include "proto/base/clock.h"
#include "proto/base/random.h"

struct node;
struct node_config {
    const struct origin_options *options; /* outlives the node */
    const struct pl_clock *clock;
    const struct pl_random *random;
    const struct pl_log *log;
};

/* Opens everything; on the first start of a data_dir also makes keyring and sealing key. Starts
 * no thread that serves. Blocks. */
enum pl_err node_new(struct node **out, const struct node_config *config, struct pl_why *why);
/* Serves from now on. On error node_stop and node_free still apply. */
enum pl_err node_start(struct node *node, struct pl_why *why);
/* Reads certificates again. */
void node_reload(struct node *node);
void node_stop(struct node *node);
void node_free(struct node *node); /* stopped or never started; NULL is fine */

/* In host order; https: of https_listen. */
uint16_t node_port(const struct node *node, bool https);

#endif
