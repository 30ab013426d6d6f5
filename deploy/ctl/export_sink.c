#include "deploy/ctl/export_sink.h"

#include "deploy/ctl/table.h"
#include "proto/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#define RECORD_BYTES_MAX ((size_t)2 << 20)
#define STATE_BYTES_MAX  8192
#define SAVE_EVERY_MS    PL_SECOND_MS

/* ---- what is written down to go on from */

static bool take_text(struct json root, const char *name, char *out, size_t size)
{
    struct pl_span text = member_text(root, name);
    if (text.len >= size)
        return false;
    if (text.len > 0)
        memcpy(out, text.data, text.len);
    out[text.len] = '\0';
    return true;
}

static enum pl_err read_state(struct export_sink *s, struct pl_why *why)
{
    struct pl_buf text;
    struct json root, bytes, csv;
    pl_buf_init(&text, STATE_BYTES_MAX);
    enum pl_err err = pl_file_read(s->state_file, "state of an export", false, &text, why);
    if (err == PL_OK && (json_parse(s->parser, pl_buf_span(&text), &root, NULL) != PL_OK ||
                         !take_text(root, "path", s->path, sizeof(s->path)) || s->path[0] == '\0' ||
                         !take_text(root, "visitor", s->visitor, sizeof(s->visitor)) ||
                         !take_text(root, "cursor", s->cursor, sizeof(s->cursor)) ||
                         !json_get(root, "bytes", &bytes) || !json_u64(bytes, &s->cursor_bytes) ||
                         !json_get(root, "csv", &csv) || !json_bool(csv, &s->csv)))
        err = pl_fail(why, PL_ECORRUPT,
                      "%s does not say where to go on: remove it and %s, and begin anew",
                      s->state_file, s->file);
    pl_buf_release(&text);
    return err;
}

/* What it names is on the disk before it is. */
static enum pl_err save_state(struct export_sink *s, struct pl_why *why)
{
    struct json_writer *w;
    struct pl_buf text;
    if (fflush(s->out) != 0 || fdatasync(fileno(s->out)) != 0)
        return pl_fail(why, PL_EIO, "cannot write to %s: %m", s->file);
    enum pl_err err = json_writer_new(&w, false);
    if (err != PL_OK)
        return pl_fail(why, err, "out of memory");
    pl_buf_init(&text, STATE_BYTES_MAX);
    json_writer_begin(w, &text);
    json_write_object(w);
    json_write_pair_text(w, "path", s->path);
    if (s->visitor[0] != '\0')
        json_write_pair_text(w, "visitor", s->visitor);
    json_write_pair_text(w, "cursor", s->cursor);
    json_write_pair_u64(w, "bytes", s->cursor_bytes);
    json_write_pair_bool(w, "csv", s->csv);
    json_write_object_end(w);
    err = json_writer_end(w);
    if (err == PL_OK)
        err = pl_file_replace(s->state_file, "state of an export", 0600, pl_buf_span(&text), why);
    json_writer_free(w);
    pl_buf_release(&text);
    s->saved_mono_ms = pl_mono_ms(s->clock);
    return err;
}

/* ---- opening */

/* The file as it was when it was last known where to go on. */
static enum pl_err open_again(struct export_sink *s, struct pl_why *why)
{
    struct stat st;
    enum pl_err err = read_state(s, why);
    if (err != PL_OK)
        return err;
    int fd = open(s->file, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0 || (uint64_t)st.st_size < s->cursor_bytes ||
        ftruncate(fd, (off_t)s->cursor_bytes) != 0 || lseek(fd, 0, SEEK_END) < 0) {
        err = pl_fail(why, PL_EIO,
                      "%s is not as the export left it (it has to have %" PRIu64
                      " bytes): remove it and %s, and begin anew",
                      s->file, s->cursor_bytes, s->state_file);
        if (fd >= 0)
            close(fd);
        return err;
    }
    s->bytes = s->cursor_bytes;
    s->out = fdopen(fd, "w");
    return s->out != NULL ? PL_OK : pl_fail(why, PL_ENOMEM, "out of memory");
}

static enum pl_err open_new(struct export_sink *s, bool resume, struct pl_why *why)
{
    if (pl_file_exists(s->state_file))
        return pl_fail(why, PL_EEXISTS,
                       "an export to %s broke off: --resume goes on with it; or remove it and %s",
                       s->file, s->state_file);
    int fd = open(s->file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return pl_fail(why, pl_err_from_errno(errno),
                       errno == EEXIST && resume ? "%s is whole: there is nothing to resume"
                       : errno == EEXIST         ? "%s is there already"
                                                 : "cannot make %s: %m",
                       s->file);
    s->out = fdopen(fd, "w");
    return s->out != NULL ? save_state(s, why) : pl_fail(why, PL_ENOMEM, "out of memory");
}

enum pl_err export_sink_open(struct export_sink *s, const char *path, const char *visitor,
                             const char *file, bool resume, const struct pl_clock *clock,
                             struct pl_why *why)
{
    *s = (struct export_sink){.file = file, .clock = clock};
    pl_buf_init(&s->held, RECORD_BYTES_MAX);
    s->csv = strstr(path, "&format=csv") != NULL;
    enum pl_err err = json_parser_new(&s->parser, STATE_BYTES_MAX, 8);
    if (err != PL_OK)
        return pl_fail(why, err, "out of memory");
    int len = snprintf(s->path, sizeof(s->path), "%s", path);
    if (len < 0 || (size_t)len >= sizeof(s->path))
        return pl_fail(why, PL_ELIMIT, "the request is too long");
    len = snprintf(s->visitor, sizeof(s->visitor), "%s", visitor == NULL ? "" : visitor);
    if (len < 0 || (size_t)len >= sizeof(s->visitor))
        return pl_fail(why, PL_ELIMIT, "the visitor's id is too long");
    if (file == NULL) {
        s->out = stdout;
        return PL_OK;
    }
    len = snprintf(s->state_file, sizeof(s->state_file), "%s.resume", file);
    if (len < 0 || (size_t)len >= sizeof(s->state_file))
        return pl_fail(why, PL_ELIMIT, "the file's name is too long");
    return resume && pl_file_exists(s->state_file) ? open_again(s, why) : open_new(s, resume, why);
}

void export_sink_release(struct export_sink *s)
{
    if (s->file != NULL && s->out != NULL)
        fclose(s->out);
    json_parser_free(s->parser);
    pl_buf_wipe(&s->held);
}

/* ---- taking bytes */

static enum pl_err put(struct export_sink *s, size_t from, size_t to, struct pl_why *why)
{
    size_t len = to - from;
    if (len > 0 && fwrite(s->held.data + from, 1, len, s->out) != len) {
        s->reader_left = errno == EPIPE;
        return pl_fail(why, PL_EIO, "cannot write to %s: %m",
                       s->file == NULL ? "standard output" : s->file);
    }
    s->bytes += len;
    return PL_OK;
}

static void take_summary(struct export_sink *s, struct json summary)
{
    const struct {
        const char *name;
        uint64_t *to;
    } numbers[] = {{"events", &s->events},
                   {"damaged", &s->damaged},
                   {"left_out", &s->left_out},
                   {"held", &s->counted}};
    struct json value;
    s->ended = true;
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        if (json_get(summary, numbers[i].name, &value))
            json_u64(value, numbers[i].to);
    s->judged = json_get(summary, "agrees", &value) && json_bool(value, &s->agrees);
}

/* A line of the export's own, behind what is in out; false: it is a record. */
static bool take_mark(struct export_sink *s, struct pl_span line)
{
    struct json root, summary;
    if (line.len > STATE_BYTES_MAX || json_parse(s->parser, line, &root, NULL) != PL_OK)
        return false;
    if (json_get(root, "polder_summary", &summary)) {
        take_summary(s, summary);
        return true;
    }
    if (!json_get(root, "polder_cursor", &summary) ||
        !take_text(root, "polder_cursor", s->cursor, sizeof(s->cursor)))
        return false;
    s->cursor_bytes = s->bytes;
    return true;
}

/* Where the next record ends; 0: it is not whole. In CSV a line end between quotes is text. */
static size_t record_end(struct export_sink *s)
{
    const struct pl_buf *held = &s->held;
    while (s->looked_at < held->len) {
        uint8_t c = held->data[s->looked_at++];
        if (c == '"' && s->csv)
            s->quoted = !s->quoted;
        else if (c == '\n' && !s->quoted)
            return s->looked_at;
    }
    return 0;
}

static bool may_be_mark(struct pl_span line)
{
    static const struct pl_span start = PL_SPAN_INIT("{\"polder_");
    return line.len > start.len && memcmp(line.data, start.data, start.len) == 0;
}

/* Writes the whole records that are held; what is behind them moves to the front. */
static enum pl_err write_whole(struct export_sink *s, struct pl_why *why)
{
    enum pl_err err = PL_OK;
    size_t from = 0, start = 0, end;
    while (err == PL_OK && (end = record_end(s)) > 0) {
        struct pl_span line = pl_span(s->held.data + start, end - start);
        if (may_be_mark(line)) {
            err = put(s, from, start, why);
            from = start;
        }
        if (err == PL_OK && may_be_mark(line) && take_mark(s, line)) {
            from = end;
            if (s->file != NULL && !s->ended &&
                pl_mono_ms(s->clock) - s->saved_mono_ms >= SAVE_EVERY_MS)
                err = save_state(s, why);
        } else {
            s->records++;
        }
        start = end;
    }
    if (err == PL_OK)
        err = put(s, from, start, why);
    memmove(s->held.data, s->held.data + start, s->held.len - start);
    s->held.len -= start;
    s->looked_at -= start;
    return err;
}

enum pl_err export_sink_write(void *ctx, struct pl_span bytes, struct pl_why *why)
{
    struct export_sink *s = ctx;
    if (pl_buf_append_span(&s->held, bytes) != PL_OK)
        return pl_fail(why, PL_ELIMIT, "the export has a record of more than %zu bytes",
                       RECORD_BYTES_MAX);
    return write_whole(s, why);
}

/* ---- the end */

static enum pl_err finish_whole(struct export_sink *s, struct pl_why *why)
{
    if (fflush(s->out) != 0 || (s->file != NULL && fdatasync(fileno(s->out)) != 0)) {
        s->reader_left = errno == EPIPE;
        return pl_fail(why, PL_EIO, "cannot write to %s: %m",
                       s->file == NULL ? "standard output" : s->file);
    }
    if (s->file != NULL && unlink(s->state_file) != 0 && errno != ENOENT)
        return pl_fail(why, PL_EIO, "cannot remove %s: %m", s->state_file);
    return PL_OK;
}

enum pl_err export_sink_finish(struct export_sink *s, enum pl_err err, struct pl_why *why)
{
    if (err == PL_OK && s->held.len > 0)
        err = pl_fail(why, PL_EIO, "the export broke off within a line");
    else if (err == PL_OK && !s->ended)
        err = pl_fail(why, PL_EIO, "the export broke off");
    if (err == PL_OK)
        return finish_whole(s, why);
    if (s->file == NULL) {
        fflush(s->out);
        return err;
    }
    /* The last place that is known; records behind it come again. */
    struct pl_why trouble;
    if (s->cursor[0] != '\0' && save_state(s, &trouble) != PL_OK)
        fprintf(stderr, "polderctl: %s\n", trouble.text);
    return err;
}
