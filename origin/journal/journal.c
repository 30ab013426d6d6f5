#include "origin/journal/journal_state.h"

#include "proto/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_BYTES (64u * 1024)

/* ---- opening and closing */

static enum pl_err check_config(const struct journal_config *config, struct pl_why *why)
{
    if (config->path_count == 0 || config->path_count > JOURNAL_PATH_LIMIT)
        return pl_fail(why, PL_EINVAL, "the %s needs one to %d paths, best on different disks",
                       config->what, JOURNAL_PATH_LIMIT);
    for (size_t i = 0; i < config->path_count; i++)
        for (size_t j = 0; j < i; j++)
            if (strcmp(config->paths[i], config->paths[j]) == 0)
                return pl_fail(why, PL_EINVAL, "path %s of the %s is named twice", config->paths[i],
                               config->what);
    return PL_OK;
}

static enum pl_err add_paths(struct journal *j, const struct journal_config *config,
                             struct pl_why *why)
{
    enum pl_err err = PL_OK;
    for (size_t i = 0; err == PL_OK && i < config->path_count; i++) {
        struct journal_path *p = &j->paths[j->path_count++];
        *p = (struct journal_path){.path = strdup(config->paths[i]), .fd = -1, .lock_fd = -1};
        err = p->path == NULL ? pl_fail(why, PL_ENOMEM, "no memory for the %s", j->what)
                              : pl_file_lock(p->path, j->what, &p->lock_fd, why);
    }
    return err;
}

enum pl_err journal_open(struct journal **out, const struct journal_config *config,
                         struct pl_why *why)
{
    enum pl_err err = check_config(config, why);
    if (err != PL_OK)
        return err;
    struct journal *j = calloc(1, sizeof(*j));
    if (j == NULL)
        return pl_fail(why, PL_ENOMEM, "no memory for the %s", config->what);
    snprintf(j->what, sizeof(j->what), "%s", config->what);
    j->clock = config->clock;
    j->log = config->log;
    j->max_bytes = config->max_bytes;
    j->trimmed = config->trimmed;
    pthread_mutex_init(&j->writing, NULL);
    pthread_mutex_init(&j->state, NULL);
    pl_buf_init(&j->line, JOURNAL_LINE_BYTES + 1024);
    err = add_paths(j, config, why);
    if (err == PL_OK)
        err = journal_load(j, config, why);
    if (err != PL_OK) {
        journal_close(j);
        return err;
    }
    *out = j;
    return PL_OK;
}

void journal_close(struct journal *j)
{
    if (j == NULL)
        return;
    for (size_t i = 0; i < j->path_count; i++) {
        if (j->paths[i].fd >= 0)
            close(j->paths[i].fd);
        if (j->paths[i].lock_fd >= 0)
            close(j->paths[i].lock_fd);
        free(j->paths[i].path);
    }
    free(j->places);
    pl_buf_release(&j->line);
    pthread_mutex_destroy(&j->writing);
    pthread_mutex_destroy(&j->state);
    free(j);
}

/* ---- what both files need */

enum pl_err journal_keep_place(struct journal *j, uint64_t n, uint64_t at)
{
    if ((n - j->base.n - 1) % JOURNAL_STEP != 0)
        return PL_OK;
    if (j->place_count == j->place_room) {
        size_t room = j->place_room == 0 ? 64 : 2 * j->place_room;
        uint64_t *more = reallocarray(j->places, room, sizeof(*more));
        if (more == NULL)
            return PL_ENOMEM;
        j->places = more;
        j->place_room = room;
    }
    j->places[j->place_count++] = at;
    return PL_OK;
}

/* ---- appending: under `writing` */

static void set_failed(struct journal *j, size_t i, bool failed)
{
    pthread_mutex_lock(&j->state);
    j->paths[i].failed = failed;
    pthread_mutex_unlock(&j->state);
}

enum pl_err journal_cut_back(struct journal *j, struct pl_why *why)
{
    for (size_t i = 0; i < j->path_count; i++) {
        struct journal_path *p = &j->paths[i];
        if (p->renamed) {
            enum pl_err err = pl_dir_sync_parent(p->path, why);
            if (err != PL_OK)
                return err;
            p->renamed = false;
        }
        if (!p->failed)
            continue;
        if (ftruncate(p->fd, (off_t)(j->bytes - p->begin)) != 0 || fsync(p->fd) != 0)
            return pl_fail(why, pl_err_from_errno(errno), "cannot cut %s %s back: %m", j->what,
                           p->path);
        set_failed(j, i, false);
    }
    return PL_OK;
}

/* The line on every path, or on none as far as that can be had. */
static enum pl_err append_everywhere(struct journal *j, struct pl_why *why)
{
    for (size_t i = 0; i < j->path_count; i++) {
        const struct journal_path *p = &j->paths[i];
        enum pl_err err = pl_file_append(p->fd, p->path, j->what, j->bytes - p->begin,
                                         pl_buf_span(&j->line), why);
        if (err == PL_OK)
            continue;
        for (size_t before = 0; before < i + (err != PL_ECORRUPT); before++)
            set_failed(j, before, true);
        journal_cut_back(j, NULL);
        return err;
    }
    return PL_OK;
}

/* The paths cannot be written: whoever looks after the origin has to hear of it. */
static enum pl_err fail_with(struct journal *j, enum pl_err err, const struct pl_why *trouble,
                             struct pl_why *why)
{
    pthread_mutex_lock(&j->state);
    snprintf(j->trouble, sizeof(j->trouble), "%s", trouble->text);
    pthread_mutex_unlock(&j->state);
    return pl_fail(why, err, "%s", trouble->text);
}

static enum pl_err write_line(struct journal *j, struct pl_span object, struct pl_why *why)
{
    pl_buf_reset(&j->line);
    enum pl_err err = journal_line_write(&j->end, pl_wall_ms(j->clock), object, &j->line);
    if (err != PL_OK)
        return pl_fail(why, err, "a line of the %s cannot be written: %s", j->what,
                       pl_err_word(err));
    if (j->bytes - j->begin + j->line.len > j->max_bytes)
        return pl_fail(why, PL_ENOSPC, "the %s is full (%" PRIu64 " bytes that it may have)",
                       j->what, j->max_bytes);
    return PL_OK;
}

/* Grows what memory holds first: nothing may fail once the line is on a disk. */
static enum pl_err append(struct journal *j, struct pl_span object, struct journal_mark *end,
                          struct pl_why *why)
{
    struct pl_why trouble = {.text = ""};
    enum pl_err err = journal_cut_back(j, &trouble);
    if (err != PL_OK)
        return fail_with(j, err, &trouble, why);
    err = write_line(j, object, why);
    if (err != PL_OK)
        return err;
    pthread_mutex_lock(&j->state);
    const size_t places = j->place_count;
    err = journal_keep_place(j, j->end.n + 1, j->bytes);
    pthread_mutex_unlock(&j->state);
    if (err != PL_OK)
        return pl_fail(why, err, "no memory for the %s", j->what);
    err = append_everywhere(j, &trouble);
    pthread_mutex_lock(&j->state);
    if (err == PL_OK) {
        j->end.n++;
        pl_sha256_one(pl_span(j->line.data, j->line.len - 1), j->end.hash);
        j->bytes += j->line.len;
        j->trouble[0] = '\0';
        if (end != NULL)
            *end = j->end;
    } else {
        j->place_count = places;
    }
    pthread_mutex_unlock(&j->state);
    return err == PL_OK ? err : fail_with(j, err, &trouble, why);
}

enum pl_err journal_append(struct journal *j, struct pl_span object, struct journal_mark *end,
                           struct pl_why *why)
{
    pthread_mutex_lock(&j->writing);
    enum pl_err err = append(j, object, end, why);
    pthread_mutex_unlock(&j->writing);
    return err;
}

/* ---- reading */

void journal_reader_init(struct journal_reader *r, int fd, uint64_t at, uint64_t to)
{
    *r = (struct journal_reader){.fd = fd, .at = at, .to = to, .chunk_at = at};
    pl_buf_init(&r->chunk, JOURNAL_LINE_BYTES + READ_BYTES);
}

void journal_reader_release(struct journal_reader *r)
{
    pl_buf_release(&r->chunk);
}

/* More bytes behind those that are not consumed yet. */
static enum pl_err fill(struct journal_reader *r)
{
    const size_t used = (size_t)(r->at - r->chunk_at), kept = r->chunk.len - used;
    if (kept > 0)
        memmove(r->chunk.data, r->chunk.data + used, kept);
    r->chunk.len = kept;
    r->chunk_at = r->at;
    uint64_t left = r->to - (r->chunk_at + kept);
    size_t want = left > READ_BYTES ? READ_BYTES : (size_t)left;
    if (want == 0)
        return PL_ENOTFOUND;
    enum pl_err err = pl_buf_reserve(&r->chunk, want);
    if (err != PL_OK)
        return err;
    ssize_t got;
    do
        got = pread(r->fd, r->chunk.data + kept, want, (off_t)(r->chunk_at + kept));
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return PL_EIO;
    r->chunk.len += (size_t)got;
    return got == 0 ? PL_ENOTFOUND : PL_OK;
}

enum pl_err journal_reader_next(struct journal_reader *r, struct pl_span *line)
{
    size_t searched = 0;
    for (;;) {
        struct pl_span rest = pl_span_from(pl_buf_span(&r->chunk), (size_t)(r->at - r->chunk_at));
        const uint8_t *end =
            rest.len > searched ? memchr(rest.data + searched, '\n', rest.len - searched) : NULL;
        if (end != NULL) {
            *line = pl_span(rest.data, (size_t)(end - rest.data));
            if (line->len >= JOURNAL_LINE_BYTES)
                return PL_ELIMIT;
            r->at += line->len + 1;
            return PL_OK;
        }
        if (rest.len >= JOURNAL_LINE_BYTES)
            return PL_ELIMIT;
        searched = rest.len;
        enum pl_err err = fill(r);
        if (err == PL_ENOTFOUND)
            return searched == 0 ? PL_ENOTFOUND : PL_EAGAIN;
        if (err != PL_OK)
            return err;
    }
}

void journal_end(struct journal *j, struct journal_mark *out)
{
    pthread_mutex_lock(&j->state);
    *out = j->end;
    pthread_mutex_unlock(&j->state);
}

void journal_base(struct journal *j, struct journal_mark *out)
{
    pthread_mutex_lock(&j->state);
    *out = j->base;
    pthread_mutex_unlock(&j->state);
}

uint64_t journal_bytes(struct journal *j)
{
    pthread_mutex_lock(&j->state);
    const uint64_t bytes = j->bytes - j->begin;
    pthread_mutex_unlock(&j->state);
    return bytes;
}

/* What a visit reads: a file of its own, for a trim may replace the path's. */
struct part {
    struct journal_reader reader;
    int fd;
    uint64_t n, last; /* of the first line that is read, and of the last */
};

static enum pl_err open_part(struct journal *j, uint64_t from, struct part *part)
{
    pthread_mutex_lock(&j->state);
    from = from <= j->base.n ? j->base.n + 1 : from;
    const size_t step = (size_t)((from - j->base.n - 1) / JOURNAL_STEP);
    const uint64_t begin = j->paths[0].begin;
    const uint64_t at = step < j->place_count ? j->places[step] : j->bytes;
    part->n = j->base.n + (uint64_t)step * JOURNAL_STEP + 1;
    part->last = j->end.n;
    const bool any = from <= part->last;
    part->fd = any ? fcntl(j->paths[0].fd, F_DUPFD_CLOEXEC, 0) : -1;
    journal_reader_init(&part->reader, part->fd, at - begin, j->bytes - begin);
    pthread_mutex_unlock(&j->state);
    return !any ? PL_ENOTFOUND : part->fd < 0 ? PL_EIO : PL_OK;
}

enum pl_err journal_visit(struct journal *j, uint64_t from,
                          enum pl_err (*visit)(void *ctx, uint64_t n, struct pl_span line,
                                               struct pl_why *why),
                          void *ctx, struct pl_why *why)
{
    struct part part;
    struct pl_span line;
    enum pl_err err = open_part(j, from, &part);
    if (err == PL_ENOTFOUND)
        return PL_OK;
    if (err != PL_OK)
        return pl_fail(why, err, "cannot read %s %s: %m", j->what, j->paths[0].path);
    for (uint64_t n = part.n; err == PL_OK && n <= part.last; n++) {
        err = journal_reader_next(&part.reader, &line);
        if (err != PL_OK)
            err = pl_fail(why, PL_EIO, "cannot read line %" PRIu64 " of %s %s: %s", n, j->what,
                          j->paths[0].path, pl_err_word(err));
        else if (n >= from)
            err = visit(ctx, n, line, why);
    }
    journal_reader_release(&part.reader);
    close(part.fd);
    return err;
}

void journal_status(struct journal *j, struct journal_status *out)
{
    memset(out, 0, sizeof(*out));
    pthread_mutex_lock(&j->state);
    out->lines = j->end.n;
    out->bytes = j->bytes - j->begin;
    out->max_bytes = j->max_bytes;
    out->nearly_full = out->bytes > j->max_bytes / 5 * 4;
    memcpy(out->trouble, j->trouble, sizeof(out->trouble));
    out->alarms = j->alarms;
    pthread_mutex_unlock(&j->state);
}
