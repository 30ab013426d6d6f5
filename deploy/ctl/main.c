/* polderctl NOUN VERB: finds the command in the table, reads its arguments with argp, runs it. */
#include "deploy/ctl/ctl.h"

#include "proto/base/buf.h"
#include "proto/base/process.h"

#include <argp.h>
#include <stdio.h>
#include <stdlib.h>

#define DEFAULT_ORIGIN "http://127.0.0.1:8080"
#define HELP_BYTES_MAX 8192

static const struct ctl_noun nouns[] = {
    {"init", "makes a new installation", init_commands},
    {"edge", "edges that may deliver events", edge_commands},
    {"account", "accounts that collect", account_commands},
    {"config", "campaign configs", config_commands},
    {"events", "what was collected", events_commands},
    {"visitor", "one person's rights", visitor_commands},
    {"probe", "health of a node", probe_commands},
    {"token", "tokens of the API", token_commands},
    {"kek", "the key-encryption key file", kek_commands},
    {"keyring", "the origin's keyring", keyring_commands},
    {"certificate", "proofs that accounts' data is gone", certificate_commands},
    {"certificates", "TLS certificates of the replication link", certificates_commands},
    {"lifecycle", "what goes by the clock", lifecycle_commands},
    {"audit", "who did what", audit_commands},
};
#define NOUN_COUNT (sizeof(nouns) / sizeof(nouns[0]))

enum ctl_exit ctl_usage(struct pl_why *why, const char *format, ...)
{
    char text[sizeof(why->text)];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    pl_fail(why, PL_EINVAL, "%s", text);
    return CTL_USAGE;
}

enum ctl_exit ctl_check_day(const char *option, const char *text, struct pl_why *why)
{
    int64_t wall_ms;
    if (text != NULL && (strlen(text) != 10 || !pl_time_parse(pl_span_str(text), &wall_ms)))
        return ctl_usage(why, "--%s must be a day such as 2026-11-22, not '%.100s'", option, text);
    return CTL_OK;
}

/* ---- options that every command takes */

enum { KEY_ORIGIN = 0x100, KEY_TOKEN, KEY_DIR, KEY_JSON, KEY_COMMAND = 0x200 };

static const struct argp_option global_options[] = {
    {"origin", KEY_ORIGIN, "URL", 0, "The origin's API (POLDER_ORIGIN; " DEFAULT_ORIGIN ")", 0},
    {"token", KEY_TOKEN, "TOKEN", 0, "Token for it (POLDER_TOKEN; DIR/operator.token)", 0},
    {"dir", KEY_DIR, "DIR", 0, "Directory made by polderctl init", 0},
    {"json", KEY_JSON, NULL, 0, "Print JSON, for programs", 0},
    {0},
};

static error_t parse_global(int key, char *arg, struct argp_state *state)
{
    struct ctl *ctl = state->input;
    switch (key) {
    case KEY_ORIGIN:
        ctl->origin = arg;
        ctl->origin_from = "--origin";
        return 0;
    case KEY_TOKEN:
        ctl->token = arg;
        return 0;
    case KEY_DIR:
        ctl->dir = arg;
        return 0;
    case KEY_JSON:
        ctl->json = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp global_argp = {.options = global_options, .parser = parse_global};
static const struct argp_child global_child[] = {{&global_argp, 0, "With every command:", 9}, {0}};

/* ---- one command */

struct call {
    struct ctl *ctl;
    const struct ctl_command *command;
    struct ctl_args args;
    size_t word_count;
};

/* Those in brackets may be left out. */
static size_t count_words(const char *text, bool needed)
{
    size_t count = 0;
    for (text += strspn(text, " "); *text != '\0';) {
        count += !needed || *text != '[';
        text += strcspn(text, " ");
        text += strspn(text, " ");
    }
    return count;
}

static error_t parse_command(int key, char *arg, struct argp_state *state)
{
    struct call *call = state->input;
    size_t wanted = count_words(call->command->arguments, false);
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = call->ctl;
        return 0;
    case ARGP_KEY_ARG:
        if (call->word_count == wanted)
            argp_error(state, "'%s' is one argument too many%s", arg,
                       wanted == 0 ? "" : " (quote names that have spaces)");
        else
            call->args.words[call->word_count++] = arg;
        return 0;
    case ARGP_KEY_END:
        if (call->word_count < count_words(call->command->arguments, true))
            argp_error(state, "expected %s", call->command->arguments);
        return 0;
    default:
        if (key < KEY_COMMAND || key >= KEY_COMMAND + CTL_OPTIONS_MAX)
            return ARGP_ERR_UNKNOWN;
        call->args.options[key - KEY_COMMAND] = arg == NULL ? "" : arg;
        return 0;
    }
}

/* Standard output is where results go: a full disk there is a failure too. */
static enum ctl_exit finish(enum ctl_exit result)
{
    bool written = fflush(stdout) == 0 && ferror(stdout) == 0;
    if (written || result != CTL_OK)
        return result;
    fprintf(stderr, "polderctl: cannot write to standard output: %m\n");
    return CTL_FAILED;
}

/* argv[0] is the command's full name. */
static enum ctl_exit run_command(struct ctl *ctl, const struct ctl_command *command, int argc,
                                 char **argv)
{
    struct argp_option options[CTL_OPTIONS_MAX + 1] = {0};
    struct call call = {.ctl = ctl, .command = command};
    char doc[HELP_BYTES_MAX];
    struct pl_why why = {0};
    for (size_t i = 0; command->options != NULL && command->options[i].name != NULL; i++)
        options[i] = (struct argp_option){
            .name = command->options[i].name,
            .key = KEY_COMMAND + (int)i,
            .arg = command->options[i].arg,
            .doc = command->options[i].help,
            .group = 1,
        };
    snprintf(doc, sizeof(doc), "%s\v%s", command->about, command->more);
    const struct argp argp = {.options = options[0].name == NULL ? NULL : options,
                              .parser = parse_command,
                              .args_doc = command->arguments,
                              .doc = doc,
                              .children = global_child};
    if (argp_parse(&argp, argc, argv, 0, NULL, &call) != 0)
        return CTL_USAGE;
    enum ctl_exit result = command->run(ctl, &call.args, &why);
    if (result != CTL_OK && why.text[0] != '\0') {
        fflush(stdout);
        fprintf(stderr, "polderctl: %s\n", why.text);
        if (why.err == PL_EINVAL && result == CTL_USAGE)
            fprintf(stderr, "Try '%s --help'.\n", argv[0]);
    }
    return finish(result);
}

/* ---- the words in front of it */

/* Takes options up to the first word and leaves the rest alone. */
struct prefix {
    struct ctl *ctl;
    int word_at; /* 0: there was none */
};

static error_t parse_prefix(int key, char *arg, struct argp_state *state)
{
    struct prefix *prefix = state->input;
    (void)arg;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = prefix->ctl;
        return 0;
    case ARGP_KEY_ARG:
        prefix->word_at = state->next - 1;
        state->next = state->argc;
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_state_help(state, stderr,
                        ARGP_HELP_SHORT_USAGE | ARGP_HELP_LONG | ARGP_HELP_DOC |
                            ARGP_HELP_EXIT_ERR);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static int parse_to_word(struct ctl *ctl, const char *doc, const char *words, int argc, char **argv)
{
    struct prefix prefix = {.ctl = ctl};
    const struct argp argp = {
        .parser = parse_prefix, .args_doc = words, .doc = doc, .children = global_child};
    if (argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &prefix) != 0)
        exit(CTL_USAGE);
    return prefix.word_at;
}

static void append_commands(const struct ctl_noun *noun, char *doc, size_t size)
{
    size_t used = strlen(doc);
    for (const struct ctl_command *c = noun->commands; c->run != NULL; c++) {
        char call[64];
        snprintf(call, sizeof(call), "%s%s%s %s", noun->name, c->verb == NULL ? "" : " ",
                 c->verb == NULL ? "" : c->verb, c->arguments);
        int len = snprintf(doc + used, size - used, "  %-34s %s\n", call, c->about);
        used += len < 0 || (size_t)len >= size - used ? 0 : (size_t)len;
    }
}

static enum ctl_exit run_noun(struct ctl *ctl, const struct ctl_noun *noun, int argc, char **argv)
{
    char name[64], doc[HELP_BYTES_MAX];
    snprintf(name, sizeof(name), "polderctl %s", noun->name);
    argv[0] = name;
    if (noun->commands[0].verb == NULL)
        return run_command(ctl, &noun->commands[0], argc, argv);
    snprintf(doc, sizeof(doc), "polderctl %s: %s\n\n", noun->name, noun->about);
    append_commands(noun, doc, sizeof(doc));
    int at = parse_to_word(ctl, doc, "VERB ...", argc, argv);
    for (const struct ctl_command *c = noun->commands; c->run != NULL; c++) {
        if (strcmp(c->verb, argv[at]) == 0) {
            snprintf(name, sizeof(name), "polderctl %s %s", noun->name, c->verb);
            argv[at] = name;
            return run_command(ctl, c, argc - at, argv + at);
        }
    }
    fprintf(stderr, "polderctl: '%s' is no verb of %s; it has:\n\n%s", argv[at], noun->name,
            strchr(doc, '\n') + 2);
    return CTL_USAGE;
}

static const char top_doc[] =
    "polderctl sets up and looks after Polder: one origin, its edges.\n\n";
static const char top_more[] =
    "\vpolderctl NOUN VERB --help shows a command's options and examples.\n"
    "Accounts, edges and tokens are named by id, or by name where one only has it.\n\n"
    "Exit status: 0 done, 1 failed, 2 wrongly called;\n"
    "of probe: 0 healthy, 1 degraded, 2 down.";

static enum ctl_exit run_top(struct ctl *ctl, int argc, char **argv)
{
    char doc[HELP_BYTES_MAX], name[] = "polderctl";
    argv[0] = name;
    snprintf(doc, sizeof(doc), "%s", top_doc);
    for (size_t i = 0; i < NOUN_COUNT; i++)
        append_commands(&nouns[i], doc, sizeof(doc));
    size_t used = strlen(doc);
    snprintf(doc + used, sizeof(doc) - used, "%s", top_more);
    int at = parse_to_word(ctl, doc, "NOUN VERB ...", argc, argv);
    for (size_t i = 0; i < NOUN_COUNT; i++)
        if (strcmp(nouns[i].name, argv[at]) == 0)
            return run_noun(ctl, &nouns[i], argc - at, argv + at);
    fprintf(stderr, "polderctl: '%s' is no command; there are:", argv[at]);
    for (size_t i = 0; i < NOUN_COUNT; i++)
        fprintf(stderr, " %s", nouns[i].name);
    fprintf(stderr, "\nTry 'polderctl --help'.\n");
    return CTL_USAGE;
}

const char *argp_program_version = "polderctl " POLDER_VERSION;

int main(int argc, char **argv)
{
    const char *origin = getenv("POLDER_ORIGIN");
    bool from_environment = origin != NULL && origin[0] != '\0';
    struct ctl ctl = {
        .origin = from_environment ? origin : DEFAULT_ORIGIN,
        .origin_from = from_environment ? "POLDER_ORIGIN" : "the default",
        .clock = pl_clock_system(),
        .random = pl_random_system(),
    };
    pl_process_no_dumps(); /* it makes keys and holds tokens */
    argp_err_exit_status = CTL_USAGE;
    return (int)run_top(&ctl, argc, argv);
}
