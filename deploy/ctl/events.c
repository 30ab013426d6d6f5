/* polderctl events: an account's events, as they come. */
#include "deploy/ctl/api.h"
#include "deploy/ctl/names.h"
#include "deploy/ctl/table.h"

#include <errno.h>
#include <stdio.h>

#define LINE_BYTES_MAX (1024 * 1024)

enum { FROM, TO };

static const struct ctl_option options[] = {
    [FROM] = {"from", "DAY", "First day, in UTC, e.g. 2026-11-22 (the account's first)"},
    [TO] = {"to", "DAY", "Last day (today)"},
    {0},
};

/* Only whole lines reach standard output: what breaks off can be read up to its end. */
struct lines {
    struct pl_buf tail;
    uint64_t count;
    bool reader_left;
};

static enum pl_err not_written(struct lines *lines, struct pl_why *why)
{
    lines->reader_left = errno == EPIPE;
    return pl_fail(why, PL_EIO, "cannot write to standard output: %m");
}

static enum pl_err write_out(struct lines *lines, struct pl_span bytes, struct pl_why *why)
{
    bool written = bytes.len == 0 || fwrite(bytes.data, 1, bytes.len, stdout) == bytes.len;
    return written ? PL_OK : not_written(lines, why);
}

static enum pl_err on_bytes(void *ctx, struct pl_span bytes, struct pl_why *why)
{
    struct lines *lines = ctx;
    const uint8_t *last = memrchr(bytes.data, '\n', bytes.len);
    size_t whole = last == NULL ? 0 : (size_t)(last + 1 - bytes.data);
    if (whole > 0) {
        enum pl_err err = write_out(lines, pl_buf_span(&lines->tail), why);
        if (err == PL_OK)
            err = write_out(lines, pl_span(bytes.data, whole), why);
        if (err != PL_OK)
            return err;
        pl_buf_reset(&lines->tail);
        for (size_t i = 0; i < whole; i++)
            lines->count += bytes.data[i] == '\n';
    }
    if (pl_buf_append_span(&lines->tail, pl_span_from(bytes, whole)) != PL_OK)
        return pl_fail(why, PL_ELIMIT, "the export has a line of more than %d bytes",
                       LINE_BYTES_MAX);
    return PL_OK;
}

/* Days that were not given: all that the account has been there, and one more at each end, since
 * it is edges' clocks that events are dated by. */
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
            pl_time_format(created_ms - PL_DAY_MS, from);
        api_answer_release(&answer);
    }
    from[10] = to[10] = '\0';
    return err;
}

static enum pl_err write_days(struct ctl *ctl, const char *id, const char *from, const char *to,
                              struct lines *lines, struct pl_why *why)
{
    char path[API_PATH_BYTES];
    snprintf(path, sizeof(path), "/accounts/%s/events?from=%s&to=%s", id, from, to);
    enum pl_err err = api_stream(ctl, path, on_bytes, lines, why);
    if (err == PL_OK && lines->tail.len > 0)
        err = pl_fail(why, PL_EIO, "the export broke off within a line");
    if (err == PL_OK && fflush(stdout) != 0)
        err = not_written(lines, why);
    if (err == PL_OK && lines->count == 0)
        fprintf(stderr, "There are no events from %s to %s.\n", from, to);
    if (err == PL_EIO && lines->count > 0)
        return pl_fail_in(why, err, "the export is not complete, it has %llu events",
                          (unsigned long long)lines->count);
    return err;
}

static enum ctl_exit run_export(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    char id[NAMES_ID_TEXT], from[PL_TIME_TEXT], to[PL_TIME_TEXT];
    enum ctl_exit usage = ctl_check_day("from", args->options[FROM], why);
    if (usage == CTL_OK)
        usage = ctl_check_day("to", args->options[TO], why);
    if (usage != CTL_OK)
        return usage;
    struct lines lines = {.count = 0};
    pl_buf_init(&lines.tail, LINE_BYTES_MAX);
    enum pl_err err = names_find(ctl, NAMES_ACCOUNT, args->words[0], id, why);
    if (err == PL_OK)
        err = fill_days(ctl, id, args, from, to, why);
    if (err == PL_OK)
        err = write_days(ctl, id, from, to, &lines, why);
    pl_buf_release(&lines.tail);
    if (lines.reader_left) /* "| head": nobody wants a sentence */
        why->text[0] = '\0';
    return ctl_result(err);
}

const struct ctl_command events_commands[] = {
    {"export", "ACCOUNT", "Writes an account's events to standard output",
     "One JSON object a line, in order of day, visitor and time. Only whole lines are written; "
     "when the export breaks off the exit status is 1.\n\n"
     "Examples:\n"
     "  polderctl events export my-shop >events.ndjson\n"
     "  polderctl events export my-shop --from 2026-11-01 --to 2026-11-30 >november.ndjson",
     options, run_export},
    {0},
};
