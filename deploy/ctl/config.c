/* polderctl config: campaign configs, checked here before they travel. */
#include "deploy/ctl/api.h"
#include "deploy/ctl/names.h"
#include "deploy/ctl/notes.h"
#include "deploy/ctl/table.h"

#include "proto/base/file.h"
#include "proto/base/text.h"
#include "proto/wire/config.h"
#include "proto/wire/limits.h"

#include <stdio.h>

#define PROBLEMS_MAX 20
#define EXCERPT      72 /* characters of a line that are shown */

struct check {
    struct pl_buf text;
    struct config_problem problems[PROBLEMS_MAX];
    size_t count;
};

/* PL_OK also when there are problems: then count says how many. */
static enum pl_err check_file(const char *path, struct check *check, struct pl_why *why)
{
    check->count = 0;
    pl_buf_init(&check->text, LIMIT_CONFIG_BYTES);
    enum pl_err err = pl_file_read(path, "config", false, &check->text, why);
    if (err != PL_OK)
        return err;
    err = config_check(pl_buf_span(&check->text), check->problems, PROBLEMS_MAX, &check->count);
    if (err != PL_OK && check->count == 0)
        return pl_fail(why, err, "cannot check %s: %s", path, pl_err_word(err));
    return PL_OK;
}

/* ---- problems */

static size_t point_bytes(struct pl_span text)
{
    size_t len = text.len > 0 ? 1 : 0;
    while (len < text.len && (text.data[len] & 0xc0) == 0x80)
        len++;
    return len;
}

/* The line as one span, without its end; the empty one past the last. */
static struct pl_span find_line(struct pl_span text, unsigned line)
{
    const uint8_t *end;
    while (--line > 0 && text.len > 0) {
        end = memchr(text.data, '\n', text.len);
        text = end == NULL ? pl_span(NULL, 0) : pl_span_from(text, (size_t)(end + 1 - text.data));
    }
    end = text.len == 0 ? NULL : memchr(text.data, '\n', text.len);
    return end == NULL ? text : pl_span(text.data, (size_t)(end - text.data));
}

/* The part of the line around the column, and a caret below it. Columns count characters. */
static void print_caret(struct pl_span text, unsigned line, unsigned column)
{
    struct pl_span rest = find_line(text, line);
    unsigned first = column > EXCERPT / 2 ? column - EXCERPT / 2 : 1;
    for (unsigned at = 1; at < first && rest.len > 0; at++)
        rest = pl_span_from(rest, point_bytes(rest));
    size_t len = 0;
    for (unsigned points = 0; points < EXCERPT && len < rest.len; points++)
        len += point_bytes(pl_span_from(rest, len));
    if (len > 0 && rest.data[len - 1] == '\r')
        len--;
    fputs("    ", stdout);
    char shown[EXCERPT * 4 + 1];
    snprintf(shown, sizeof(shown), "%.*s", (int)len, (const char *)rest.data);
    for (char *c = shown; *c != '\0'; c++) /* so that the caret stays below its character */
        *c = *c == '\t' ? ' ' : *c;
    print_clean(pl_span_str(shown));
    printf("\n    %*s^\n", (int)(column - first), "");
}

static void print_problems(const char *path, const struct check *check)
{
    for (size_t i = 0; i < check->count; i++) {
        const struct config_problem *p = &check->problems[i];
        if (p->line > 0)
            printf("%s:%u:%u: ", path, p->line, p->column);
        else
            printf("%s: ", path);
        print_clean(pl_span_str(p->path));
        fputs(p->path[0] == '\0' ? "" : ": ", stdout);
        print_clean(pl_span_str(p->text));
        putchar('\n');
        if (p->line > 0)
            print_caret(pl_buf_span(&check->text), p->line, p->column);
    }
    if (check->count == PROBLEMS_MAX)
        printf("There may be more: only the first %d are shown.\n", PROBLEMS_MAX);
}

static enum pl_err print_problems_json(const char *path, const struct check *check,
                                       struct pl_why *why)
{
    struct json_writer *w = NULL;
    struct pl_buf out;
    pl_buf_init(&out, 64 * 1024);
    enum pl_err err = json_writer_new(&w, false);
    if (err == PL_OK) {
        json_writer_begin(w, &out);
        json_write_object(w);
        json_write_pair_text(w, "file", path);
        json_write_key(w, "problems");
        json_write_array(w);
        for (size_t i = 0; i < check->count; i++) {
            json_write_object(w);
            json_write_pair_u64(w, "line", check->problems[i].line);
            json_write_pair_u64(w, "column", check->problems[i].column);
            json_write_pair_text(w, "path", check->problems[i].path);
            json_write_pair_text(w, "text", check->problems[i].text);
            json_write_object_end(w);
        }
        json_write_array_end(w);
        json_write_object_end(w);
        err = json_writer_end(w);
    }
    if (err == PL_OK)
        printf("%.*s\n", (int)out.len, (const char *)out.data);
    json_writer_free(w);
    pl_buf_release(&out);
    return err == PL_OK ? PL_OK : pl_fail(why, err, "cannot print the problems as JSON");
}

static enum ctl_exit run_lint(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct check check;
    const char *path = args->words[0];
    enum pl_err err = check_file(path, &check, why);
    if (err == PL_OK && ctl->json)
        err = print_problems_json(path, &check, why);
    else if (err == PL_OK && check.count > 0)
        print_problems(path, &check);
    else if (err == PL_OK)
        printf("%s can be published.\n", path);
    if (err == PL_OK && check.count == 0 && !ctl->json)
        notes_dnt(ctl, pl_buf_span(&check.text), NULL);
    pl_buf_release(&check.text);
    return err != PL_OK || check.count > 0 ? CTL_FAILED : CTL_OK;
}

static enum ctl_exit run_schema(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    (void)ctl, (void)args;
    struct pl_buf out;
    pl_buf_init(&out, 64 * 1024);
    enum pl_err err = config_schema(&out);
    if (err == PL_OK)
        printf("%.*s\n", (int)out.len, (const char *)out.data);
    else
        pl_fail(why, err, "cannot print the schema: %s", pl_err_word(err));
    pl_buf_release(&out);
    return ctl_result(err);
}

/* ---- publishing and reading back */

static enum ctl_exit run_publish(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    struct check check;
    struct json version;
    int64_t number = 0;
    const char *account = args->words[0], *path = args->words[1];
    enum pl_err err = check_file(path, &check, why);
    if (err == PL_OK && check.count > 0) {
        print_problems(path, &check);
        err = pl_fail(why, PL_EINVAL, "nothing was published: %s has %zu %s", path, check.count,
                      pl_plural(check.count, "problem", "problems"));
    }
    if (err == PL_OK)
        err = names_call(ctl, NAMES_ACCOUNT, account, "PUT", "/config", pl_buf_span(&check.text),
                         &answer, why);
    if (err == PL_OK && ctl->json)
        api_print(&answer);
    else if (err == PL_OK && json_get(answer.root, "version", &version) &&
             json_i64(version, &number))
        printf("Published as version %lld; connected edges serve it within a second.\n",
               (long long)number);
    if (err == PL_OK)
        notes_dnt(ctl, pl_buf_span(&check.text), account);
    pl_buf_release(&check.text);
    api_answer_release(&answer);
    return ctl_result(err);
}

static enum ctl_exit run_show(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    char rest[64];
    const char *version = args->options[0];
    uint64_t number;
    if (version != NULL && (!pl_span_to_u64(pl_span_str(version), &number) || number == 0))
        return ctl_usage(why, "--version must be a whole number from 1 up, not '%.64s'", version);
    snprintf(rest, sizeof(rest), "/config%s%s",
             version == NULL ? "" : "?version=", version == NULL ? "" : version);
    enum pl_err err =
        names_call(ctl, NAMES_ACCOUNT, args->words[0], "GET", rest, pl_span(NULL, 0), &answer, why);
    if (err == PL_OK)
        api_print(&answer);
    api_answer_release(&answer);
    return ctl_result(err);
}

static const struct ctl_option show_options[] = {
    {"version", "N", "An earlier one (the newest)"},
    {0},
};

const struct ctl_command config_commands[] = {
    {"lint", "FILE", "Checks a config without publishing it",
     "Problems are told as FILE:LINE:COLUMN: PATH: TEXT, one a line, on standard output.\n\n"
     "Example:\n  polderctl config lint campaigns.json",
     NULL, run_lint},
    {"schema", "", "Prints the JSON Schema of configs",
     "For editors and other programs (draft 2020-12). What a schema cannot say, lint checks.\n\n"
     "Example:\n  polderctl config schema >campaign-config.schema.json",
     NULL, run_schema},
    {"publish", "ACCOUNT FILE", "Publishes a config",
     "Checks it first, as lint does. Every version is kept.\n\n"
     "Example:\n  polderctl config publish my-shop campaigns.json",
     NULL, run_publish},
    {"show", "ACCOUNT", "Prints a published config",
     "Examples:\n"
     "  polderctl config show my-shop >campaigns.json\n"
     "  polderctl config show my-shop --version 3",
     show_options, run_show},
    {0},
};
