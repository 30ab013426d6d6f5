/*
 * program: the command line and the signals of a node's main().
 *
 * Promise: both nodes take the same arguments (--config, --check-config, --print-config, --help,
 * --version), made from their tables of options, and hear the same signals. Called by main, before
 * any thread begins.
 */
#ifndef POLDER_PROTO_BASE_PROGRAM_H
#define POLDER_PROTO_BASE_PROGRAM_H

#include "proto/base/options.h"

#include <signal.h>

struct pl_program {
    const char *name; /* "polder-edge" */
    const char *does; /* for --help, a sentence or two */
    const struct pl_option *options;
    size_t option_count;
};

struct pl_program_args {
    const char *config_path; /* NULL: environment and defaults only; borrowed from argv */
    bool check;              /* say what is wrong with the options, and end */
};

/* Ends the process after --help, --version and --print-config (status 0), and at an argument that
 * it does not know (status 64, EX_USAGE). */
void pl_program_parse(const struct pl_program *program, int argc, char **argv,
                      struct pl_program_args *out);
/* Blocks SIGTERM, SIGINT and SIGHUP in this thread and all that it starts, for pl_program_wait; no
 * closed connection and no file at its limit ends the process: those are errors of a write. */
void pl_program_block_signals(sigset_t *out);
/* Blocks until one of them comes and returns its number. */
int pl_program_wait(const sigset_t *signals);

#endif
