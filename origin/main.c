/* polder-origin: keeps what edges collect. See node.h for its parts, options.c for its options. */
#include "origin/node.h"
#include "proto/base/process.h"
#include "proto/base/program.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void log_ready(const struct node_config *config, const struct node *node)
{
    const struct origin_options *o = config->options;
    char https[80] = "";
    if (o->https.host[0] != '\0') {
        snprintf(https, sizeof(https), " https=%s:%u", o->https.host, node_port(node, true));
    }
    pl_log(config->log, PL_LOG_INFO, "node", "ready http=%s:%u%s link=%s data_dir=%s version=%s",
           o->http.host, node_port(node, false), https, o->link_listen, o->data_dir,
           POLDER_VERSION);
}

static int run(const struct origin_options *o)
{
    struct pl_log log = {.fd = STDERR_FILENO, .level = o->level, .clock = pl_clock_system()};
    struct node_config config = {
        .options = o, .clock = pl_clock_system(), .random = pl_random_system(), .log = &log};
    struct node *node = NULL;
    struct pl_why why = {0};
    sigset_t signals;
    pl_program_block_signals(&signals);
    pl_process_lock_memory(&log);
    enum pl_err err = node_new(&node, &config, &why);
    if (err == PL_OK) {
        err = node_start(node, &why);
        if (err == PL_OK) {
            log_ready(&config, node);
            while (pl_program_wait(&signals) == SIGHUP) {
                node_reload(node);
            }
            pl_log(&log, PL_LOG_INFO, "node", "stopping");
        }
        node_stop(node);
        node_free(node);
    }
    if (err != PL_OK) {
        pl_log(&log, PL_LOG_ERROR, "node", "cannot start: %s",
               why.text[0] != '\0' ? why.text : pl_err_word(err));
        return EXIT_FAILURE;
    }
    pl_log(&log, PL_LOG_INFO, "node", "stopped");
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    const struct pl_program program = {
        .name = "polder-origin",
        .does = "Keeps the events that edges collect: takes their blocks, encrypts each account "
                "under its own key, gives them back, and deletes them in time.",
        .options = origin_option_table,
        .option_count = origin_option_count,
    };
    struct pl_program_args args;
    struct origin_options o;
    struct pl_why why = {0};
    pl_process_no_dumps();
    pl_process_open_files();
    pl_program_parse(&program, argc, argv, &args);
    if (origin_options_load(args.config_path, &o, &why) != PL_OK) {
        fprintf(stderr, "polder-origin: %s\n", why.text);
        return EXIT_FAILURE;
    }
    int status = EXIT_SUCCESS;
    if (args.check) {
        printf("the options are in order\n");
    } else {
        status = run(&o);
    }
    origin_options_release(&o);
    return status;
}
