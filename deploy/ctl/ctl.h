/*
 * ctl: what the commands of polderctl share: the settings that hold for all of them, the shape of
 * a command, and how one ends.
 *
 * Promise: results go to standard output, everything said about them to standard error. A command
 * that fails says one sentence: what, where, what to do. One thread; everything blocks.
 */
#ifndef POLDER_DEPLOY_CTL_CTL_H
#define POLDER_DEPLOY_CTL_CTL_H

#include "proto/base/clock.h"
#include "proto/base/random.h"

enum ctl_exit {
    CTL_OK = 0,
    CTL_FAILED = 1,
    CTL_USAGE = 2,
    /* probe's own, what monitoring plugins expect */
    CTL_DEGRADED = 1,
    CTL_DOWN = 2,
};

struct ctl {
    const char *origin;      /* base URL as given */
    const char *origin_from; /* "--origin", "POLDER_ORIGIN" or "the default" */
    const char *token;       /* --token; NULL: POLDER_TOKEN, then DIR/operator.token */
    const char *dir;         /* --dir; NULL: none */
    bool json;
    const struct pl_clock *clock;
    const struct pl_random *random;
};

#define CTL_WORDS_MAX   2
#define CTL_OPTIONS_MAX 16

/* What a command was called with. options: in the order of its table; "" for a flag that was set,
 * NULL for what was not given. */
struct ctl_args {
    const char *words[CTL_WORDS_MAX];
    const char *options[CTL_OPTIONS_MAX];
};

struct ctl_option {
    const char *name; /* without the dashes */
    const char *arg;  /* "REGION"; NULL: a flag */
    const char *help;
};

struct ctl_command {
    const char *verb;                 /* NULL where the noun is all: "polderctl init" */
    const char *arguments;            /* "ACCOUNT [FILE]": words; in brackets: may be left out */
    const char *about;                /* one line */
    const char *more;                 /* further lines and examples, for --help */
    const struct ctl_option *options; /* up to CTL_OPTIONS_MAX, then a NULL name; may be NULL */
    /* Anything but CTL_OK comes with a sentence in *why, or has said already what there is. */
    enum ctl_exit (*run)(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why);
};

struct ctl_noun {
    const char *name;
    const char *about;
    const struct ctl_command *commands; /* up to a NULL run */
};

extern const struct ctl_command init_commands[];
extern const struct ctl_command edge_commands[];
extern const struct ctl_command account_commands[];
extern const struct ctl_command config_commands[];
extern const struct ctl_command events_commands[];
extern const struct ctl_command visitor_commands[];
extern const struct ctl_command probe_commands[];
extern const struct ctl_command token_commands[];
extern const struct ctl_command kek_commands[];
extern const struct ctl_command keyring_commands[];
extern const struct ctl_command lifecycle_commands[];
extern const struct ctl_command certificate_commands[];
extern const struct ctl_command certificates_commands[];
extern const struct ctl_command audit_commands[];

static inline enum ctl_exit ctl_result(enum pl_err err)
{
    return err == PL_OK ? CTL_OK : CTL_FAILED;
}

/* The call was wrong: fills why and gives CTL_USAGE. */
enum ctl_exit ctl_usage(struct pl_why *why, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The same for an option's value that is no day; text NULL is fine. */
enum ctl_exit ctl_check_day(const char *option, const char *text, struct pl_why *why);

#endif
