/* polderctl events: an account's events, as they come. */
#include "deploy/ctl/events_counts.h"
#include "deploy/ctl/export_sink.h"
#include "deploy/ctl/names.h"
#include "deploy/ctl/request.h"
#include "deploy/ctl/table.h"
#include "proto/base/text.h"

#include <inttypes.h>
#include <stdio.h>

enum { FROM, TO, TYPE, VISITOR, TALLIES, FORMAT, OUTPUT, RESUME };

static const struct ctl_option export_options[] = {
    [FROM] = {"from", "DAY", "First day, in UTC, e.g. 2026-11-22 (the account's first)"},
    [TO] = {"to", "DAY", "Last day (today)"},
    [TYPE] = {"type", "TYPES", "Only these, e.g. order,page_view"},
    [VISITOR] = {"visitor", "ID", "Only events with this visitor id; without one, this user id"},
    [TALLIES] = {"tallies", NULL, "And the edges' counts of outcomes"},
    [FORMAT] = {"format", "FORMAT", "ndjson or csv (ndjson)"},
    [OUTPUT] = {"output", "FILE", "Into a new file, which can be resumed"},
    [RESUME] = {"resume", NULL, "Go on with --output FILE where it broke off"},
    {0},
};

/* Days that were not given: all that the account has been there, and more at each end, since it is
 * edges' clocks that events are dated by: a wrong one may put them up to a month too early. */
static enum pl_err fill_days(struct ctl *ctl, const char *id, const struct ctl_args *args,
                             char from[PL_TIME_TEXT], char to[PL_TIME_TEXT], struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    char path[API_PATH_BYTES];
    int64_t created_ms;
    enum pl_err err = PL_OK;
    pl_time_format(pl_wall_ms(ctl->clock) + PL_DAY_MS, to);
    if (args->options[TO] != NULL)
        snprintf(to, PL_TIME_TEXT, "%s", args->options[TO]);
    if (args->options[FROM] != NULL) {
        snprintf(from, PL_TIME_TEXT, "%s", args->options[FROM]);
    } else {
        snprintf(path, sizeof(path), "/accounts/%s", id);
        err = api_call(ctl, "GET", path, pl_span(NULL, 0), &answer, why);
        if (err == PL_OK && !pl_time_parse(member_text(answer.root, "created_at"), &created_ms))
            err = pl_fail(why, PL_EIO,
                          "the origin does not say when account %s was made: give "
                          "--from DAY",
                          id);
        if (err == PL_OK)
            pl_time_format(created_ms - 31 * PL_DAY_MS, from);
        api_answer_release(&answer);
    }
    from[10] = to[10] = '\0';
    return err;
}

/* What was asked for, in the words of the API; but for whose events, which the body says. */
static enum pl_err request_of(struct ctl *ctl, const char *id, const struct ctl_args *args,
                              struct pl_buf *path, struct pl_why *why)
{
    static const struct {
        int option;
        const char *name;
    } words[] = {{TYPE, "type"}, {FORMAT, "format"}};
    char from[PL_TIME_TEXT], to[PL_TIME_TEXT];
    enum pl_err err = fill_days(ctl, id, args, from, to, why);
    if (err != PL_OK)
        return err;
    err = pl_buf_appendf(path, "/accounts/%s/events?from=%s&to=%s&marks=true", id, from, to);
    for (size_t i = 0; err == PL_OK && i < sizeof(words) / sizeof(words[0]); i++) {
        const char *text = args->options[words[i].option];
        if (text == NULL)
            continue;
        err = pl_buf_appendf(path, "&%s=", words[i].name);
        if (err == PL_OK)
            err = pl_form_encode(pl_span_str(text), path);
    }
    if (err == PL_OK && args->options[TALLIES] != NULL)
        err = pl_buf_append_str(path, "&include=tally");
    if (err == PL_OK)
        err = pl_buf_terminate(path);
    return err == PL_OK ? err : pl_fail(why, err, "the request is too long");
}

/* Whoever takes everything out has to know that it is everything. */
static void tell_whole(const struct export_sink *sink)
{
    if (sink->file == NULL)
        return;
    fprintf(stderr, "%s is whole: %" PRIu64 " %s", sink->file, sink->events,
            pl_plural(sink->events, "event", "events"));
    if (sink->judged && sink->left_out > 0)
        fprintf(stderr, ", with %" PRIu64 " that %s not asked for", sink->left_out,
                pl_plural(sink->left_out, "was", "were"));
    fputs(sink->judged ? ", as many as the origin counts in these days.\n" : ".\n", stderr);
}

/* What the export says of itself, to standard error. */
static enum pl_err tell(const struct export_sink *sink, struct pl_why *why)
{
    if (sink->events + sink->damaged == 0)
        fprintf(stderr, "There are no such events.\n");
    if (sink->damaged > 0)
        fprintf(stderr, "%" PRIu64 " %s polder_error: what stood there cannot be read any more.\n",
                sink->damaged, pl_plural(sink->damaged, "record says", "records say"));
    if (sink->judged && !sink->agrees)
        return pl_fail(why, PL_ECORRUPT,
                       "the export has %" PRIu64 " %s and left %" PRIu64
                       " out, but the origin counts %" PRIu64
                       " in these days: please tell who runs it",
                       sink->events, pl_plural(sink->events, "event", "events"), sink->left_out,
                       sink->counted);
    tell_whole(sink);
    return PL_OK;
}

static enum pl_err export_to(struct ctl *ctl, struct export_sink *sink, struct pl_why *why)
{
    char path[API_PATH_BYTES + EXPORT_CURSOR_BYTES + 16];
    snprintf(path, sizeof(path), "%s%s%s", sink->path,
             sink->cursor[0] == '\0' ? "" : "&cursor=", sink->cursor);
    const struct request_member members[] = {{.name = "visitor", .text = sink->visitor}, {0}};
    struct pl_buf body;
    pl_buf_init(&body, 8 * EXPORT_VISITOR_BYTES);
    enum pl_err err =
        sink->visitor[0] == '\0' ? PL_OK : request_write(members, "visitor", &body, why);
    if (err == PL_OK)
        err = api_stream(ctl, path, pl_buf_span(&body), export_sink_write, sink, why);
    pl_buf_wipe(&body);
    err = export_sink_finish(sink, err, why);
    if (err == PL_OK)
        return tell(sink, why);
    if (sink->reader_left) /* "| head": nobody wants a sentence */
        why->text[0] = '\0';
    else if (err == PL_EIO && sink->file != NULL && sink->cursor[0] != '\0')
        return pl_fail_in(why, err,
                          "the export is not complete; the same again with --resume goes on");
    else if (err == PL_EIO && sink->records > 0)
        return pl_fail_in(why, err, "the export is not complete, it has %" PRIu64 " %s",
                          sink->records, pl_plural(sink->records, "record", "records"));
    return err;
}

static enum ctl_exit check(const struct ctl_args *args, struct pl_why *why)
{
    const char *format = args->options[FORMAT];
    enum ctl_exit usage = ctl_check_day("from", args->options[FROM], why);
    if (usage == CTL_OK)
        usage = ctl_check_day("to", args->options[TO], why);
    if (usage == CTL_OK && format != NULL && strcmp(format, "csv") != 0 &&
        strcmp(format, "ndjson") != 0)
        usage = ctl_usage(why, "--format can be ndjson or csv, not '%.100s'", format);
    if (usage == CTL_OK && args->options[VISITOR] != NULL && args->options[VISITOR][0] == '\0')
        usage = ctl_usage(why, "--visitor must be an id");
    if (usage == CTL_OK && args->options[RESUME] != NULL && args->options[OUTPUT] == NULL)
        usage = ctl_usage(why, "--resume needs the --output FILE that broke off");
    return usage;
}

static enum ctl_exit run_export(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    char id[NAMES_ID_TEXT];
    struct pl_buf path;
    struct export_sink sink = {.out = NULL};
    enum ctl_exit usage = check(args, why);
    if (usage != CTL_OK)
        return usage;
    pl_buf_init(&path, API_PATH_BYTES);
    enum pl_err err = names_find(ctl, NAMES_ACCOUNT, args->words[0], id, why);
    if (err == PL_OK)
        err = request_of(ctl, id, args, &path, why);
    if (err == PL_OK)
        err =
            export_sink_open(&sink, (const char *)path.data, args->options[VISITOR],
                             args->options[OUTPUT], args->options[RESUME] != NULL, ctl->clock, why);
    if (err == PL_OK)
        err = export_to(ctl, &sink, why);
    export_sink_release(&sink);
    pl_buf_release(&path);
    return ctl_result(err);
}

const struct ctl_command events_commands[] = {
    {"export", "ACCOUNT", "Writes its events to standard output",
     "One JSON object a line, or CSV with a header, in order of day, visitor and time. Only whole "
     "records are written; when the export breaks off, or has not as many events as the origin "
     "counts, the exit status is 1. With --output it can be resumed: FILE.resume says where, until "
     "the export is whole; days, types, visitor and format are then those that it began with. In "
     "CSV, text that a spreadsheet would run as a formula has an apostrophe before it.\n\n"
     "Examples:\n"
     "  polderctl events export my-shop >events.ndjson\n"
     "  polderctl events export my-shop --from 2026-11-01 --output november.ndjson\n"
     "  polderctl events export my-shop --format csv --type order \\\n"
     "      --output orders.csv",
     export_options, run_export},
    {"counts", "ACCOUNT", "How many events an account has, by day",
     "Stored are all that ever were; erased are those that went with a visitor, retired those that "
     "were older than the account keeps events.\n\n"
     "Example:\n  polderctl events counts my-shop --from 2026-11-01",
     events_counts_options, events_counts_run},
    {"check", "", "Compares all counts with the ledger",
     "Every event that the ledger has booked as stored is some account's, or was before its "
     "deletion. The exit status is 1 when the sums differ.\n\n"
     "Example:\n  polderctl events check",
     NULL, events_check_run},
    {0},
};
