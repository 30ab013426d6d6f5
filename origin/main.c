/* polder-origin: keeps what edges collect. See node.h for its parts, options.c for its options. */
#include "origin/node.h"
#include "proto/base/process.h"

#include <argp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const char *argp_program_version = "polder-origin " POLDER_VERSION;

struct arguments {
    const char *config;
    bool check, print;
};

enum { KEY_CHECK = 256, KEY_PRINT };

static error_t on_argument(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case 'c':
        arguments->config = text;
        return 0;
    case KEY_CHECK:
        arguments->check = true;
        return 0;
    case KEY_PRINT:
        arguments->print = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {
    {"config", 'c', "FILE", 0, "YAML file with the options", 0},
    {"check-config", KEY_CHECK, NULL, 0, "Read the options, say what is wrong with them, end", 0},
    {"print-config", KEY_PRINT, NULL, 0, "Print every option with its default and end", 0},
    {0},
};

static const struct argp argp = {
    .options = options,
    .parser = on_argument,
    .doc = "Keeps the events that edges collect: takes their blocks, encrypts each account under "
           "its own key, gives them back, and deletes them in time.\v"
           "Every option can also be given as an environment variable, POLDER_ and its name in "
           "capitals. SIGHUP reads certificates again, SIGTERM ends after what is under way.",
};

static int print_config(void)
{
    struct pl_buf text;
    pl_buf_init(&text, (size_t)1 << 20);
    enum pl_err err = origin_options_describe(&text);
    if (err == PL_OK) {
        fwrite(text.data, 1, text.len, stdout);
    }
    pl_buf_release(&text);
    return err == PL_OK && fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

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

/* Signals are blocked in every thread and fetched here. */
static void wait_for_end(struct node *node, const sigset_t *signals)
{
    for (;;) {
        int signal = 0;
        if (sigwait(signals, &signal) == 0 && signal != SIGHUP) {
            return;
        }
        node_reload(node);
    }
}

static int run(const struct origin_options *o, const sigset_t *signals)
{
    struct pl_log log = {.fd = STDERR_FILENO, .level = o->level, .clock = pl_clock_system()};
    struct node_config config = {
        .options = o, .clock = pl_clock_system(), .random = pl_random_system(), .log = &log};
    struct node *node = NULL;
    struct pl_why why = {0};
    pl_process_lock_memory(&log);
    enum pl_err err = node_new(&node, &config, &why);
    if (err == PL_OK) {
        err = node_start(node, &why);
        if (err == PL_OK) {
            log_ready(&config, node);
            wait_for_end(node, signals);
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
    struct arguments arguments = {0};
    struct origin_options o;
    struct pl_why why = {0};
    sigset_t signals;
    pl_process_no_dumps();
    pl_process_open_files();
    argp_parse(&argp, argc, argv, 0, NULL, &arguments);
    if (arguments.print) {
        return print_config();
    }
    if (origin_options_load(arguments.config, &o, &why) != PL_OK) {
        fprintf(stderr, "polder-origin: %s\n", why.text);
        return EXIT_FAILURE;
    }
    int status = EXIT_SUCCESS;
    if (!arguments.check) {
        sigemptyset(&signals);
        sigaddset(&signals, SIGTERM);
        sigaddset(&signals, SIGINT);
        sigaddset(&signals, SIGHUP);
        pthread_sigmask(SIG_BLOCK, &signals, NULL);
        signal(SIGPIPE, SIG_IGN);
        status = run(&o, &signals);
    }
    origin_options_release(&o);
    return status;
}
