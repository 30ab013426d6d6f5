/*
 * polder-edge: an edge node. Reads its options, runs until it is told to stop.
 */
#include "edge/edge.h"
#include "proto/base/process.h"
#include "proto/base/program.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int complain(const struct pl_why *why)
{
    fprintf(stderr, "polder-edge: %s\n", why->text);
    return EXIT_FAILURE;
}

/* Until SIGTERM or SIGINT. */
static void wait_for_the_end(struct edge *edge, const sigset_t *signals)
{
    for (;;) {
        struct pl_why why = {0};
        const int number = pl_program_wait(signals);
        if (number != SIGHUP) {
            pl_log(&edge->log, PL_LOG_INFO, "edge", "stopping signal=%d", number);
            return;
        }
        const enum pl_err err = edge_reload(edge, &why);
        if (err == PL_OK)
            pl_log(&edge->log, PL_LOG_INFO, "edge", "certificates are read again");
        else if (err == PL_EUNSUPPORTED)
            pl_log(&edge->log, PL_LOG_WARN, "edge", "%s", why.text);
        else
            pl_log(&edge->log, PL_LOG_ERROR, "edge", "the old certificates stay: %s", why.text);
    }
}

static int run(const struct edge_options *options)
{
    struct edge *edge;
    struct pl_why why = {0};
    sigset_t signals;
    pl_program_block_signals(&signals);

    const struct pl_log log = {
        .fd = STDERR_FILENO, .level = options->log_level, .clock = pl_clock_system()};
    pl_process_lock_memory(&log);
    if (edge_new(&edge, options, &why) != PL_OK)
        return complain(&why);
    if (edge_start(edge, &why) != PL_OK) {
        edge_free(edge);
        return complain(&why);
    }
    pl_log(&edge->log, PL_LOG_INFO, "edge", "ready version=%s region=%s edge_id=%s", POLDER_VERSION,
           options->region, options->edge_id_text);
    wait_for_the_end(edge, &signals);
    edge_stop(edge);
    pl_log(&edge->log, PL_LOG_INFO, "edge", "stopped");
    edge_free(edge);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    const struct pl_program program = {
        .name = "polder-edge",
        .does = "Serves campaign configs and collects events for Polder.",
        .options = edge_option_table,
        .option_count = edge_option_count,
    };
    struct pl_program_args args;
    struct edge_options options = {0};
    struct pl_why why = {0};
    pl_process_no_dumps();
    pl_process_open_files();
    pl_program_parse(&program, argc, argv, &args);
    /* Enough heaps that busy threads don't wait for each other; idle ones need none of their own.
     */
    mallopt(M_ARENA_MAX, 8);
    if (edge_options_load(&options, args.config_path, &why) != PL_OK)
        return complain(&why);
    int rc = EXIT_SUCCESS;
    if (args.check)
        printf("the options are in order\n");
    else
        rc = run(&options);
    edge_options_release(&options);
    return rc;
}
