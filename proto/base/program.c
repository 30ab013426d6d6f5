#include "proto/base/program.h"

#include <argp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define EXIT_USAGE     64 /* EX_USAGE of sysexits.h */
#define HELP_MAX_BYTES ((size_t)256 * 1024)

/* What argp's hooks are handed. */
struct parse {
    const struct pl_program *program;
    struct pl_program_args *out;
};

enum { KEY_CHECK = 256, KEY_PRINT };

static void print_config(const struct pl_program *program)
{
    struct pl_buf text;
    pl_buf_init(&text, HELP_MAX_BYTES);
    enum pl_err err = pl_options_describe(program->options, program->option_count, &text);
    if (err == PL_OK)
        fwrite(text.data, 1, text.len, stdout);
    pl_buf_release(&text);
    exit(err == PL_OK && fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
}

static error_t on_argument(int key, char *text, struct argp_state *state)
{
    struct parse *parse = state->input;
    switch (key) {
    case 'c':
        parse->out->config_path = text;
        return 0;
    case KEY_CHECK:
        parse->out->check = true;
        return 0;
    case KEY_PRINT:
        print_config(parse->program);
        return 0;
    case 'V':
        printf("%s %s\n", parse->program->name, POLDER_VERSION);
        exit(fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
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
    const struct parse *parse = input;
    if (key != ARGP_KEY_HELP_POST_DOC || parse == NULL)
        return (char *)(uintptr_t)text;
    const struct pl_program *program = parse->program;
    struct pl_buf out;
    pl_buf_init(&out, HELP_MAX_BYTES);
    enum pl_err err = pl_buf_append_str(
        &out, "Keys of FILE, with their defaults; each also as POLDER_KEY in the environment:\n\n");
    for (size_t i = 0; i < program->option_count && err == PL_OK; i++)
        err = describe_option(&program->options[i], &out);
    if (err == PL_OK)
        err = pl_buf_appendf(&out, "\nSIGHUP reads certificates again, SIGTERM ends after what is "
                                   "under way.");
    if (err == PL_OK)
        err = pl_buf_terminate(&out);
    if (err == PL_OK)
        return (char *)out.data;
    pl_buf_release(&out);
    return NULL;
}

void pl_program_parse(const struct pl_program *program, int argc, char **argv,
                      struct pl_program_args *out)
{
    static const struct argp_option arguments[] = {
        {"config", 'c', "FILE", 0, "Read options from FILE (YAML)", 0},
        {"check-config", KEY_CHECK, NULL, 0, "Check the options and exit", 0},
        {"print-config", KEY_PRINT, NULL, 0, "Print every option with its default and exit", 0},
        {"version", 'V', NULL, 0, "Print the version and exit", -1},
        {0},
    };
    struct pl_buf doc;
    pl_buf_init(&doc, HELP_MAX_BYTES);
    *out = (struct pl_program_args){.config_path = NULL};
    if (pl_buf_appendf(&doc, "%s\vOptions", program->does) != PL_OK ||
        pl_buf_terminate(&doc) != PL_OK) {
        fprintf(stderr, "%s: no memory to start\n", program->name);
        exit(EXIT_FAILURE);
    }
    const struct argp argp = {
        .options = arguments,
        .parser = on_argument,
        .doc = (const char *)doc.data,
        .help_filter = add_options_to_help,
    };
    struct parse parse = {.program = program, .out = out};
    argp_err_exit_status = EXIT_USAGE;
    argp_parse(&argp, argc, argv, 0, NULL, &parse);
    pl_buf_release(&doc);
}

void pl_program_block_signals(sigset_t *out)
{
    sigemptyset(out);
    sigaddset(out, SIGTERM);
    sigaddset(out, SIGINT);
    sigaddset(out, SIGHUP);
    pthread_sigmask(SIG_BLOCK, out, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
}

int pl_program_wait(const sigset_t *signals)
{
    int number = 0;
    while (sigwait(signals, &number) != 0)
        ;
    return number;
}
