/* polderctl audit: the origin's audit log, to be kept elsewhere and to be checked. */
#include "deploy/ctl/api.h"
#include "deploy/ctl/table.h"

#include "proto/base/text.h"
#include "proto/wire/journal_line.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define READ_BYTES (64 * 1024)
#define HASH_TEXT  (2 * PL_SHA256_BYTES + 1)

/* Follows the lines of a log as they come, from wherever they begin. */
struct follower {
    const char *source; /* in errors */
    bool print;
    struct pl_buf tail; /* a line that has not ended yet */
    struct journal_mark mark;
    uint64_t first, count;
    char from[PL_TIME_TEXT], to[PL_TIME_TEXT]; /* times of the first and last line */
    uint8_t wanted[PL_SHA256_BYTES];           /* a hash that some line has to have */
    bool wants, found;
    bool own; /* it is the origin's own word, which proves less than one that others kept */
    uint64_t wanted_at; /* of which line it is */
};

static void follower_init(struct follower *f, const char *source)
{
    *f = (struct follower){.source = source};
    pl_buf_init(&f->tail, JOURNAL_LINE_BYTES);
}

/* The time stands behind the number, always of one form. */
static void take_time(struct pl_span line, char out[PL_TIME_TEXT])
{
    static const char before[] = "\"at\":\"";
    const uint8_t *at = memmem(line.data, line.len, before, sizeof(before) - 1);
    snprintf(out, PL_TIME_TEXT, "%.*s", PL_TIME_TEXT - 1, at + sizeof(before) - 1);
}

static enum pl_err on_line(struct follower *f, struct pl_span line, struct pl_why *why)
{
    if (f->count == 0) {
        struct journal_mark before;
        if (journal_line_read(line, &before.n, before.hash) != PL_OK)
            return pl_fail(why, PL_ECORRUPT, "%s: line 1 is no line of an audit log", f->source);
        f->first = before.n--;
        if (before.n > 0) /* else it begins at the beginning, where nothing comes before */
            f->mark = before;
    }
    if (journal_line_next(&f->mark, line, why) != PL_OK)
        return pl_fail_in(why, PL_ECORRUPT, "%s, line %" PRIu64 " of it", f->source, f->count + 1);
    if (f->count == 0)
        take_time(line, f->from);
    take_time(line, f->to);
    f->count++;
    if (f->wants && !f->found && memcmp(f->wanted, f->mark.hash, sizeof(f->wanted)) == 0) {
        f->found = true;
        f->wanted_at = f->mark.n;
    }
    if (f->print && (fwrite(line.data, 1, line.len, stdout) != line.len || putchar('\n') == EOF))
        return pl_fail(why, PL_EIO, "cannot write to standard output: %m");
    return PL_OK;
}

static enum pl_err on_bytes(void *ctx, struct pl_span bytes, struct pl_why *why)
{
    struct follower *f = ctx;
    while (bytes.len > 0) {
        const uint8_t *end = memchr(bytes.data, '\n', bytes.len);
        struct pl_span part =
            pl_span(bytes.data, end == NULL ? bytes.len : (size_t)(end - bytes.data));
        if (pl_buf_append_span(&f->tail, part) != PL_OK)
            return pl_fail(why, PL_ECORRUPT, "%s: line %" PRIu64 " of the file is too long",
                           f->source, f->count + 1);
        if (end == NULL)
            return PL_OK;
        enum pl_err err = on_line(f, pl_buf_span(&f->tail), why);
        if (err != PL_OK)
            return err;
        pl_buf_reset(&f->tail);
        bytes = pl_span_from(bytes, part.len + 1);
    }
    return PL_OK;
}

static enum pl_err follower_end(struct follower *f, struct pl_why *why)
{
    if (f->tail.len > 0)
        return pl_fail(why, PL_ECORRUPT, "%s ends within line %" PRIu64, f->source, f->count + 1);
    if (f->wants && !f->found)
        return pl_fail(why, PL_ECORRUPT,
                       "%s has no line with the head that was given: it is another log, or lines "
                       "at its end are missing or were changed",
                       f->source);
    return PL_OK;
}

/* ---- where lines come from */

/* The origin gives a page at a time; one without lines is the end. */
static enum pl_err read_origin(struct ctl *ctl, uint64_t from, struct follower *f,
                               struct pl_why *why)
{
    enum pl_err err;
    uint64_t before;
    do {
        char path[API_PATH_BYTES];
        before = f->count;
        snprintf(path, sizeof(path), "/audit?from=%" PRIu64, from);
        err = api_stream(ctl, path, pl_span(NULL, 0), on_bytes, f, why);
        if (err == PL_OK && f->tail.len > 0)
            err = pl_fail(why, PL_EIO, "the audit log broke off within a line");
        from = f->mark.n + 1;
    } while (err == PL_OK && f->count > before);
    return err;
}

static enum pl_err read_file(FILE *file, struct follower *f, struct pl_why *why)
{
    enum pl_err err = PL_OK;
    uint8_t *bytes = malloc(READ_BYTES);
    size_t len;
    if (bytes == NULL)
        return pl_fail(why, PL_ENOMEM, "no memory to read %s", f->source);
    while (err == PL_OK && (len = fread(bytes, 1, READ_BYTES, file)) > 0)
        err = on_bytes(f, pl_span(bytes, len), why);
    if (err == PL_OK && ferror(file))
        err = pl_fail(why, PL_EIO, "cannot read %s: %m", f->source);
    free(bytes);
    return err;
}

static enum pl_err open_and_read(const char *path, struct follower *f, struct pl_why *why)
{
    if (strcmp(path, "-") == 0)
        return read_file(stdin, f, why);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return pl_fail(why, PL_ENOTFOUND, "cannot open %s: %m", path);
    enum pl_err err = read_file(file, f, why);
    fclose(file);
    return err;
}

/* ---- export */

static enum ctl_exit run_export(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct follower f;
    uint64_t from = 1;
    if (args->options[0] != NULL &&
        (!pl_span_to_u64(pl_span_str(args->options[0]), &from) || from == 0))
        return ctl_usage(why, "--from must be the number of a line, from 1 up");
    follower_init(&f, "the origin's audit log");
    f.print = true;
    enum pl_err err = read_origin(ctl, from, &f, why);
    if (err == PL_OK && fflush(stdout) != 0)
        err = pl_fail(why, PL_EIO, "cannot write to standard output: %m");
    if (err == PL_OK && f.count > 0 && f.first != from)
        err = pl_fail(why, PL_ECORRUPT,
                      "the origin gives line %" PRIu64 " where %" PRIu64 " was asked for", f.first,
                      from);
    if (err == PL_EIO && errno == EPIPE) /* "| head": nobody wants a sentence */
        why->text[0] = '\0';
    pl_buf_release(&f.tail);
    return ctl_result(err);
}

/* ---- verify */

/* What the origin says is its head must be in what it then gives. */
static enum pl_err want_origins_head(struct ctl *ctl, struct follower *f, struct pl_why *why)
{
    struct api_answer answer = {.status = 0};
    struct json n;
    uint64_t lines = 0;
    enum pl_err err = api_call(ctl, "GET", "/audit/head", pl_span(NULL, 0), &answer, why);
    if (err == PL_OK &&
        (!json_get(answer.root, "n", &n) || !json_u64(n, &lines) ||
         !pl_hex_decode_lower(member_text(answer.root, "hash"), f->wanted, sizeof(f->wanted))))
        err = pl_fail(why, PL_EIO, "the origin does not say where its audit log ends");
    f->wants = f->own = err == PL_OK && lines > 0;
    api_answer_release(&answer);
    return err;
}

static void say_whole(const struct ctl *ctl, const struct follower *f)
{
    char head[HASH_TEXT];
    pl_hex_encode(pl_span(f->mark.hash, sizeof(f->mark.hash)), head);
    if (ctl->json) {
        printf("{\"whole\":true,\"first\":%" PRIu64 ",\"last\":%" PRIu64 ",\"head\":\"%s\"}\n",
               f->first, f->mark.n, head);
        return;
    }
    if (f->count == 0) {
        puts("The audit log is empty.");
        return;
    }
    printf("Whole: lines %" PRIu64 " to %" PRIu64 ", from %s to %s.\nIts head is %s\n", f->first,
           f->mark.n, f->from, f->to, head);
    if (f->first > 1)
        printf("Lines before %" PRIu64 " are not in it.\n", f->first);
    if (f->wants && !f->own && f->wanted_at == f->mark.n)
        puts("That is the head which was asked for.");
    else if (f->wants && !f->own)
        printf("The head which was asked for is line %" PRIu64 "'s: all up to it is as it was.\n",
               f->wanted_at);
    else
        puts("Keep it: whoever gives it as --head later knows that nothing up to here was\n"
             "changed or cut off since.");
}

static enum pl_err verify(struct ctl *ctl, const char *path, const char *head, struct follower *f,
                          struct pl_why *why)
{
    enum pl_err err = PL_OK;
    f->wants = head != NULL;
    if (head != NULL)
        pl_hex_decode(pl_span_str(head), f->wanted, sizeof(f->wanted));
    else if (path == NULL)
        err = want_origins_head(ctl, f, why);
    if (err == PL_OK)
        err = path == NULL ? read_origin(ctl, 1, f, why) : open_and_read(path, f, why);
    if (err == PL_OK)
        err = follower_end(f, why);
    if (err == PL_OK && path != NULL && f->count == 0)
        err = pl_fail(why, PL_ECORRUPT, "%s is empty", f->source);
    return err;
}

static enum ctl_exit run_verify(struct ctl *ctl, const struct ctl_args *args, struct pl_why *why)
{
    struct follower f;
    const char *path = args->words[0], *head = args->options[0];
    uint8_t hash[PL_SHA256_BYTES];
    if (head != NULL && !pl_hex_decode(pl_span_str(head), hash, sizeof(hash)))
        return ctl_usage(why, "--head must be 64 hexadecimal digits, as verify prints them");
    follower_init(&f, path == NULL             ? "the origin's audit log"
                      : strcmp(path, "-") == 0 ? "standard input"
                                               : path);
    enum pl_err err = verify(ctl, path, head, &f, why);
    if (err == PL_OK)
        say_whole(ctl, &f);
    else if (err == PL_ECORRUPT && ctl->json)
        puts("{\"whole\":false}");
    pl_buf_release(&f.tail);
    return ctl_result(err);
}

static const struct ctl_option export_options[] = {
    {"from", "N", "Number of the first line (1)"},
    {0},
};
static const struct ctl_option verify_options[] = {
    {"head", "HEX", "Hash of a line, noted earlier, that the log has to have"},
    {0},
};

const struct ctl_command audit_commands[] = {
    {"export", "", "Writes the audit log to standard output",
     "One JSON object a line, each with the SHA-256 of the line before it; they are checked as "
     "they come. A later call goes on with --from.\n\n"
     "Examples:\n"
     "  polderctl audit export >audit.ndjson\n"
     "  polderctl audit export --from 1042 >>audit.ndjson",
     export_options, run_export},
    {"verify", "[FILE]", "Checks the audit log for changes and gaps",
     "FILE is an exported log, on any machine; - is standard input; without it the origin's is "
     "read. What breaks the chain first is named, with exit status 1. That nothing is missing at "
     "the end only a head can tell that somebody else kept: an earlier verify's, or the one in a "
     "certificate of deletion.\n\n"
     "Examples:\n"
     "  polderctl audit verify audit.ndjson\n"
     "  polderctl audit verify audit.ndjson --head 5f2c…",
     verify_options, run_verify},
    {0},
};
