/*
 * node_state: what the files of node share. Private to them.
 */
#ifndef POLDER_ORIGIN_NODE_STATE_H
#define POLDER_ORIGIN_NODE_STATE_H

#include "origin/api/api.h"
#include "origin/node.h"
#include "origin/parts.h"

struct node {
    struct node_config config;
    struct origin_parts parts;
    struct clock_belief belief; /* the lifecycle's */
    struct pl_clock cautious;   /* by it, the earlier of the two */
    struct pl_clock strict;     /* the later */
    struct pl_clock believed;   /* what was last believed */
    struct api *api;
    bool new_database;
    size_t opened; /* steps that node_free has to undo */
    bool intake_runs, erasures_run, receiver_runs, lifecycle_runs, http_runs;
};

/* In the order in which they are opened; closed in reverse. */
struct node_step {
    enum pl_err (*open)(struct node *node, struct pl_why *why);
    void (*close)(struct node *node);
};
extern const struct node_step node_steps[];
extern const size_t node_step_count;

/* ---- node_disk.c: what everything else stands on */
enum pl_err node_open_store(struct node *node, struct pl_why *why);
void node_close_store(struct node *node);
enum pl_err node_open_keyring(struct node *node, struct pl_why *why);
void node_close_keyring(struct node *node);
enum pl_err node_open_redo(struct node *node, struct pl_why *why);
void node_close_redo(struct node *node);
enum pl_err node_open_audit(struct node *node, struct pl_why *why);
void node_close_audit(struct node *node);

/* ---- node_link.c: the edges' way in */
enum pl_err node_open_receiver(struct node *node, struct pl_why *why);
void node_close_receiver(struct node *node);

#endif
