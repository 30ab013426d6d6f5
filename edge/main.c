/*
 * polder-edge: an edge node. Reads its options, runs until it is told to stop.
 */
#include "edge/edge.h"
#include "proto/base/process.h"

#include <argp.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define EXIT_USAGE 64 /* EX_USAGE of sysexits.h */

struct arguments {
    const char *config;
    bool check;
};

enum { KEY_CHECK = 256, KEY_PRINT };

static void print_config(FILE *to)
{
    struct pl_buf text;
    pl_buf_init(&text, 256 * 1024);
    if (pl_options_describe(edge_option_table, edge_option_count, &text) == PL_OK)
        fwrite(text.data, 1, text.len, to);
    pl_buf_release(&text);
}

static error_t parse_argument(int key, char *arg, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case 'c':
        arguments->config = arg;
        return 0;
    case KEY_CHECK:
        arguments->check = true;
        return 0;
    case KEY_PRINT:
        print_config(stdout);
        exit(0);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static enum pl_err describe_option(const struct pl_option *option, struct pl_buf *out)
{
    const char *fallback = option->default_text;
    if (fallback == NULL)
        return pl_buf_appendf(out, "%s (required)\n  %s\n", option->key, option->help);
    if (*fallback == '\0')
        return pl_buf_appendf(out, "%s\n  %s\n", option->key, option->help);
    return pl_buf_appendf(out, "%s (%s)\n  %s\n", option->key, fallback, option->help);
}

/* The help text ends in the option table; argp frees what this returns. */
static char *add_options_to_help(int key, const char *text, void *input)
{
    (void)input;
    if (key != ARGP_KEY_HELP_POST_DOC)
        return (char *)(uintptr_t)text;
    struct pl_buf out;
    pl_buf_init(&out, 256 * 1024);
    enum pl_err err = pl_buf_append_str(
        &out, "Keys of FILE, with their defaults; each also as POLDER_KEY in the environment:\n\n");
    for (size_t i = 0; i < edge_option_count && err == PL_OK; i++)
        err = describe_option(&edge_option_table[i], &out);
    if (err == PL_OK)
        err = pl_buf_terminate(&out);
    if (err == PL_OK)
        return (char *)out.data;
    pl_buf_release(&out);
    return NULL;
}

static void print_version(FILE *to, struct argp_state *state)
{
    (void)state;
    fprintf(to, "polder-edge %s\n", POLDER_VERSION);
}

static void parse_arguments(int argc, char **argv, struct arguments *out)
{
    static const struct argp_option options[] = {
        {"config", 'c', "FILE", 0, "Read options from FILE (YAML)", 0},
        {"check-config", KEY_CHECK, NULL, 0, "Check the options and exit", 0},
        {"print-config", KEY_PRINT, NULL, 0, "Print every option with its default and exit", 0},
        {0},
    };
    static const struct argp argp = {
        .options = options,
        .parser = parse_argument,
        .doc = "Serves campaign configs and collects events for Polder.\vOptions",
        .help_filter = add_options_to_help,
    };
    argp_program_version_hook = print_version;
    argp_err_exit_status = EXIT_USAGE;
    argp_parse(&argp, argc, argv, 0, NULL, out);
}

static int complain(const struct pl_why *why)
{
    fprintf(stderr, "polder-edge: %s\n", why->text);
    return EXIT_FAILURE;
}

/* Until SIGTERM or SIGINT. */
static void wait_for_the_end(struct edge *edge, const sigset_t *signals)
{
    for (;;) {
        int number = 0;
        struct pl_why why = {0};
        if (sigwait(signals, &number) != 0)
            continue;
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
    /* Before any thread begins, so that all inherit it and only sigwait takes these. */
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file at its limit is an error of the write, not the end */

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
    struct arguments arguments = {0};
    struct edge_options options = {0};
    struct pl_why why = {0};
    pl_process_no_dumps();
    pl_process_open_files();
    parse_arguments(argc, argv, &arguments);
    /* Enough heaps that busy threads don't wait for each other; idle ones need none of their own.
     */
    mallopt(M_ARENA_MAX, 8);
    if (edge_options_load(&options, arguments.config, &why) != PL_OK)
        return complain(&why);
    int rc = EXIT_SUCCESS;
    if (arguments.check)
        printf("the options are in order\n");
    else
        rc = run(&options);
    edge_options_release(&options);
    return rc;
}
