/* Cutting off a journal's beginning. */
#include "origin/journal/journal_state.h"

#include "proto/base/file.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* What appends added while a copy was made is copied, too, without holding them up, until there is
 * as little left as this, or they are faster. */
#define TAIL_BYTES  (64u << 10)
#define TAIL_ROUNDS 8

/* A clock is put right by less without anybody taking it for wrong. */
#define SLACK_MS PL_HOUR_MS

struct trim {
    struct journal *j;
    size_t place;             /* the first that stays, of places */
    uint64_t at;              /* where its line begins */
    struct journal_mark base; /* of the line before it */
    uint64_t copied;          /* up to where */
    struct {
        int fd; /* -1: none */
        bool renamed;
        char name[PATH_MAX];
    } fresh[JOURNAL_PATH_LIMIT];
};

static uint64_t end_of(struct journal *j)
{
    pthread_mutex_lock(&j->state);
    const uint64_t bytes = j->bytes;
    pthread_mutex_unlock(&j->state);
    return bytes;
}

static bool get_place(struct journal *j, size_t i, uint64_t *at)
{
    pthread_mutex_lock(&j->state);
    const bool there = i < j->place_count;
    if (there)
        *at = j->places[i];
    pthread_mutex_unlock(&j->state);
    return there;
}

static enum pl_err fail_read(const struct journal *j, size_t path, struct pl_why *why)
{
    return pl_fail(why, PL_EIO, "cannot read %s %s where it is to be cut", j->what,
                   j->paths[path].path);
}

/* The last place whose line was written before before_ms, and behind which no earlier line says
 * that it was later: place 0 where there is none. */
static enum pl_err find_place(struct trim *t, int64_t before_ms, struct pl_why *why)
{
    const struct journal_path *p = &t->j->paths[0];
    int64_t latest_ms = INT64_MIN, wall_ms;
    uint64_t at, n;
    for (size_t i = 0; get_place(t->j, i, &at); i++) {
        uint8_t head[JOURNAL_HEAD_BYTES];
        ssize_t got = pread(p->fd, head, sizeof(head), (off_t)(at - p->begin));
        if (got < 0 || journal_line_time(pl_span(head, (size_t)got), &n, &wall_ms) != PL_OK)
            return fail_read(t->j, 0, why);
        if (wall_ms >= before_ms)
            return PL_OK;
        if (latest_ms != INT64_MIN && wall_ms < latest_ms - SLACK_MS)
            continue;
        latest_ms = wall_ms > latest_ms ? wall_ms : latest_ms;
        t->place = i;
        t->at = at;
    }
    return PL_OK;
}

/* What the path's line at the place names as the one before it. */
static enum pl_err read_base(const struct trim *t, size_t path, struct journal_mark *base,
                             struct pl_why *why)
{
    const struct journal_path *p = &t->j->paths[path];
    struct journal_reader r;
    struct pl_span line;
    journal_reader_init(&r, p->fd, t->at - p->begin, end_of(t->j) - p->begin);
    enum pl_err err = journal_reader_next(&r, &line);
    if (err == PL_OK)
        err = journal_line_read(line, &base->n, base->hash);
    journal_reader_release(&r);
    base->n--;
    return err == PL_OK ? err : fail_read(t->j, path, why);
}

static enum pl_err check_bases(struct trim *t, struct pl_why *why)
{
    enum pl_err err = read_base(t, 0, &t->base, why);
    for (size_t i = 1; err == PL_OK && i < t->j->path_count; i++) {
        struct journal_mark base;
        err = read_base(t, i, &base, why);
        if (err == PL_OK &&
            (base.n != t->base.n || memcmp(base.hash, t->base.hash, sizeof(base.hash)) != 0))
            err = fail_read(t->j, i, why);
    }
    return err;
}

/* Copies what lies between `copied` and `to`. */
static enum pl_err copy_up_to(struct trim *t, uint64_t to, struct pl_why *why)
{
    enum pl_err err = PL_OK;
    for (size_t i = 0; err == PL_OK && i < t->j->path_count; i++) {
        const uint64_t begin = t->j->paths[i].begin;
        err = journal_copy(t->j, i, t->copied - begin, to - begin, t->fresh[i].fd,
                           t->copied - t->at, why);
    }
    if (err == PL_OK)
        t->copied = to;
    return err;
}

static enum pl_err copy_all(struct trim *t, struct pl_why *why)
{
    enum pl_err err = PL_OK;
    for (size_t i = 0; err == PL_OK && i < t->j->path_count; i++)
        err = journal_make_file(t->j, i, t->fresh[i].name, &t->fresh[i].fd, why);
    t->copied = t->at;
    for (int round = 0; err == PL_OK && round < TAIL_ROUNDS; round++) {
        const uint64_t to = end_of(t->j);
        if (round > 0 && to - t->copied <= TAIL_BYTES)
            break;
        err = copy_up_to(t, to, why);
    }
    return err;
}

/* Under `state`. Nobody may see the first path's file begin later than the journal does: visits
 * read places in it. */
static void begin_later(struct trim *t)
{
    struct journal *j = t->j;
    if (j->begin == t->at)
        return;
    j->base = t->base;
    j->begin = t->at;
    j->place_count -= t->place;
    memmove(j->places, j->places + t->place, j->place_count * sizeof(*j->places));
}

/* From here on the path is the new file, whatever else fails: appends go by its name. The journal
 * begins later as soon as one path does. */
static enum pl_err swap(struct trim *t, size_t i, struct pl_why *why)
{
    struct journal *j = t->j;
    struct journal_path *p = &j->paths[i];
    if (rename(t->fresh[i].name, p->path) != 0)
        return pl_fail(why, pl_err_from_errno(errno), "cannot put %s %s in place: %m", j->what,
                       p->path);
    t->fresh[i].renamed = true;
    pthread_mutex_lock(&j->state);
    const int old = p->fd;
    p->fd = t->fresh[i].fd;
    p->begin = t->at;
    p->renamed = true;
    begin_later(t);
    pthread_mutex_unlock(&j->state);
    t->fresh[i].fd = old; /* is closed in the end */
    return PL_OK;
}

/* Under `writing`. */
static enum pl_err put_in_place(struct trim *t, struct pl_why *why)
{
    struct journal *j = t->j;
    enum pl_err err = journal_cut_back(j, why), first = PL_OK;
    if (err == PL_OK)
        err = copy_up_to(t, j->bytes, why);
    if (err != PL_OK)
        return err;
    for (size_t i = 0; i < j->path_count; i++) {
        err = swap(t, i, first == PL_OK ? why : NULL);
        first = first == PL_OK ? err : first;
    }
    err = journal_cut_back(j, first == PL_OK ? why : NULL); /* syncs the folders */
    return first == PL_OK ? err : first;
}

static void clean_up(struct trim *t)
{
    for (size_t i = 0; i < t->j->path_count; i++) {
        if (t->fresh[i].fd < 0)
            continue;
        close(t->fresh[i].fd);
        if (!t->fresh[i].renamed)
            unlink(t->fresh[i].name);
    }
    free(t);
}

enum pl_err journal_trim(struct journal *j, int64_t before_ms, uint64_t least_bytes,
                         uint64_t *cut_bytes, struct pl_why *why)
{
    struct trim *t = calloc(1, sizeof(*t));
    *cut_bytes = 0;
    if (t == NULL)
        return pl_fail(why, PL_ENOMEM, "no memory to cut off the beginning of the %s", j->what);
    t->j = j;
    for (size_t i = 0; i < JOURNAL_PATH_LIMIT; i++)
        t->fresh[i].fd = -1;
    const uint64_t begin = j->begin; /* nobody else moves it */
    enum pl_err err = j->trimmed ? find_place(t, before_ms, why)
                                 : pl_fail(why, PL_EINVAL, "the %s is never cut", j->what);
    const bool worth = err == PL_OK && t->place > 0 && t->at - begin >= least_bytes;
    if (worth)
        err = check_bases(t, why);
    if (worth && err == PL_OK)
        err = copy_all(t, why);
    if (worth && err == PL_OK) {
        pthread_mutex_lock(&j->writing);
        err = put_in_place(t, why);
        pthread_mutex_unlock(&j->writing);
        *cut_bytes = j->begin - begin;
    }
    clean_up(t);
    return err;
}
