/* Opening a journal: which path is right, and what the others need. */
#include "origin/journal/journal_scan.h"

#include "proto/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#define COPY_BYTES 65536u
#define JSON_DEPTH 32

/* ---- which one is right */

static bool is_better(const struct scan *a, const struct scan *b)
{
    return a->mark.n > b->mark.n || (a->mark.n == b->mark.n && a->base.n > b->base.n);
}

/* The path whose lines reach furthest, and of such the one that was trimmed: what a crash broke off
 * is finished. PL_ENOTFOUND: there is none at all. */
static enum pl_err choose(const struct loading *l, size_t *best)
{
    bool found = false;
    for (size_t i = 0; i < l->j->path_count; i++) {
        const struct scan *scan = &l->scans[i];
        if (scan->ending == END_ABSENT)
            continue;
        if (!found || is_better(scan, &l->scans[*best]))
            *best = i;
        found = true;
    }
    return found ? PL_OK : PL_ENOTFOUND;
}

static enum pl_err same_bytes(const struct journal *j, size_t a, size_t b, uint64_t from,
                              uint64_t to, bool *same, struct pl_why *why)
{
    uint8_t x[4096], y[4096];
    *same = true;
    while (*same && from < to) {
        size_t want = to - from > sizeof(x) ? sizeof(x) : (size_t)(to - from);
        if (pread(j->paths[a].fd, x, want, (off_t)from) != (ssize_t)want)
            return journal_fail_errno(j, a, "read", why);
        if (pread(j->paths[b].fd, y, want, (off_t)from) != (ssize_t)want)
            return journal_fail_errno(j, b, "read", why);
        *same = memcmp(x, y, want) == 0;
        from += want;
    }
    return PL_OK;
}

static enum pl_err fail_fork(const struct loading *l, size_t best, size_t i, struct pl_why *why)
{
    const struct journal *j = l->j;
    return pl_fail(why, PL_EFORK,
                   "%s files %s and %s tell different stories at line %" PRIu64
                   " or before: one of them is not this origin's, or was changed; compare "
                   "them with their backups and move the wrong one away",
                   j->what, j->paths[best].path, j->paths[i].path, l->scans[i].mark.n);
}

/* The hash of line n, which is the path's, or the one before its first. */
static enum pl_err hash_of(const struct loading *l, size_t i, uint64_t n,
                           uint8_t hash[PL_SHA256_BYTES], struct pl_why *why)
{
    const struct scan *scan = &l->scans[i];
    struct journal_reader r;
    struct pl_span line;
    enum pl_err err = PL_OK;
    memcpy(hash, scan->base.hash, PL_SHA256_BYTES);
    journal_reader_init(&r, l->j->paths[i].fd, 0, scan->whole);
    for (uint64_t at = scan->base.n + 1; err == PL_OK && at <= n; at++) {
        err = journal_reader_next(&r, &line);
        if (err == PL_OK && at == n)
            pl_sha256_one(line, hash);
    }
    journal_reader_release(&r);
    return err == PL_OK ? err
                        : pl_fail(why, err, "cannot read %s %s", l->j->what, l->j->paths[i].path);
}

/* Of a path that begins with another line than the best one. */
static enum pl_err check_other_beginning(struct loading *l, size_t best, size_t i,
                                         struct pl_why *why)
{
    struct scan *scan = &l->scans[i];
    const struct journal_mark *last = scan->ending == END_BAD ? &scan->before : &scan->mark;
    uint8_t hash[PL_SHA256_BYTES];
    scan->beginning = BEGIN_GONE;
    if (last->n < l->scans[best].base.n)
        return PL_OK;
    scan->beginning = BEGIN_OTHER;
    enum pl_err err = hash_of(l, best, last->n, hash, why);
    if (err != PL_OK)
        return err;
    return memcmp(hash, last->hash, sizeof(hash)) == 0 ? PL_OK : fail_fork(l, best, i, why);
}

/* Of a damaged path the last line may be what was damaged. */
static enum pl_err check_same_beginning(const struct loading *l, size_t best, size_t i,
                                        struct pl_why *why)
{
    const struct scan *scan = &l->scans[i];
    const bool bad = scan->ending == END_BAD;
    bool same = true;
    enum pl_err err = same_bytes(l->j, i, best, bad ? scan->before_at : scan->last_at,
                                 bad ? scan->last_at : scan->whole, &same, why);
    return err != PL_OK || same ? err : fail_fork(l, best, i, why);
}

/* Every other path must be an earlier state of the same story. A line names the one before it, so
 * where the last lines are equal, all are. */
static enum pl_err check_same_story(struct loading *l, size_t best, struct pl_why *why)
{
    const struct journal *j = l->j;
    const struct scan *b = &l->scans[best];
    enum pl_err err = PL_OK;
    for (size_t i = 0; err == PL_OK && i < j->path_count; i++) {
        struct scan *scan = &l->scans[i];
        if (scan->ending == END_ABSENT)
            continue;
        if (scan->ending == END_BAD && scan->mark.n == b->mark.n)
            return pl_fail(why, PL_ECORRUPT,
                           "%s %s is damaged behind line %" PRIu64 " (%s), and no other path holds "
                           "what stood there: restore a copy of the whole file",
                           j->what, j->paths[i].path, scan->mark.n, scan->text);
        if (scan->whole == 0) /* it may begin with any line */
            scan->base = scan->mark = b->base;
        err = scan->base.n == b->base.n ? check_same_beginning(l, best, i, why)
                                        : check_other_beginning(l, best, i, why);
    }
    return err;
}

enum pl_err journal_copy(const struct journal *j, size_t path, uint64_t from, uint64_t to,
                         int to_fd, uint64_t to_at, struct pl_why *why)
{
    uint8_t bytes[COPY_BYTES];
    while (from < to) {
        size_t want = to - from > sizeof(bytes) ? sizeof(bytes) : (size_t)(to - from);
        if (pread(j->paths[path].fd, bytes, want, (off_t)from) != (ssize_t)want)
            return journal_fail_errno(j, path, "read", why);
        enum pl_err err = pl_write_at(to_fd, pl_span(bytes, want), to_at);
        if (err != PL_OK)
            return pl_fail(why, err, "cannot write a copy of %s %s: %s", j->what,
                           j->paths[path].path, pl_err_word(err));
        from += want;
        to_at += want;
    }
    return fsync(to_fd) == 0 ? PL_OK : journal_fail_errno(j, path, "sync a copy of", why);
}

enum pl_err journal_make_file(const struct journal *j, size_t path, char *name, int *fd,
                              struct pl_why *why)
{
    enum pl_err err = journal_fresh_name(j, path, name, why);
    if (err != PL_OK)
        return err;
    unlink(name); /* of a crash */
    *fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    return *fd >= 0 ? PL_OK : journal_fail_errno(j, path, "create", why);
}

/* A whole new file at the path; `best` beyond path_count: an empty one. */
static enum pl_err make_path(struct loading *l, size_t i, size_t best, struct pl_why *why)
{
    struct journal *j = l->j;
    struct journal_path *p = &j->paths[i];
    char fresh[PATH_MAX];
    int fd;
    enum pl_err err = journal_make_file(j, i, fresh, &fd, why);
    if (err != PL_OK)
        return err;
    if (best < j->path_count)
        err = journal_copy(j, best, 0, l->scans[best].whole, fd, 0, why);
    if (err == PL_OK && rename(fresh, p->path) != 0)
        err = journal_fail_errno(j, i, "put in place", why);
    if (err == PL_OK)
        err = pl_dir_sync_parent(p->path, why);
    if (err != PL_OK) {
        close(fd);
        return err;
    }
    if (p->fd >= 0)
        close(p->fd);
    p->fd = fd;
    return PL_OK;
}

/* What stood there keeps a name, for whoever wants to know what happened. */
static enum pl_err replace(struct loading *l, size_t i, size_t best, const char *suffix,
                           struct pl_why *why)
{
    const struct journal_path *p = &l->j->paths[i];
    char aside[PATH_MAX];
    if (snprintf(aside, sizeof(aside), "%s.%s", p->path, suffix) >= (int)sizeof(aside))
        return pl_fail(why, PL_ELIMIT, "path %s is too long", p->path);
    if (rename(p->path, aside) != 0)
        return journal_fail_errno(l->j, i, "keep aside", why);
    return make_path(l, i, best, why);
}

static enum pl_err replace_damaged(struct loading *l, size_t i, size_t best, struct pl_why *why)
{
    const char *path = l->j->paths[i].path;
    enum pl_err err = replace(l, i, best, "damaged", why);
    if (err == PL_OK)
        journal_alarm(l->j,
                      "%s %s was damaged behind line %" PRIu64 " (%.100s); it was restored from "
                      "another path, and what it was is %s.damaged",
                      l->j->what, path, l->scans[i].mark.n, l->scans[i].text, path);
    return err;
}

static enum pl_err replace_outdated(struct loading *l, size_t i, size_t best, struct pl_why *why)
{
    const char *path = l->j->paths[i].path;
    enum pl_err err = replace(l, i, best, "outdated", why);
    if (err == PL_OK)
        journal_alarm(l->j,
                      "%s %s ended at line %" PRIu64 ", before what the other paths still hold; it "
                      "was restored from one of them, and what it was is %s.outdated",
                      l->j->what, path, l->scans[i].mark.n, path);
    return err;
}

static enum pl_err rewrite(struct loading *l, size_t i, size_t best, struct pl_why *why)
{
    enum pl_err err = make_path(l, i, best, why);
    if (err == PL_OK)
        pl_log(l->j->log, PL_LOG_WARN, "journal",
               "%s %s began with line %" PRIu64 "; it now holds what %s does, from line %" PRIu64
               " on",
               l->j->what, l->j->paths[i].path, l->scans[i].base.n + 1, l->j->paths[best].path,
               l->scans[best].base.n + 1);
    return err;
}

static enum pl_err bring_up(struct loading *l, size_t i, size_t best, struct pl_why *why)
{
    struct journal *j = l->j;
    const struct scan *scan = &l->scans[i], *b = &l->scans[best];
    if (scan->size > scan->whole) {
        pl_log(j->log, PL_LOG_WARN, "journal",
               "%s %s ended within a line: %" PRIu64 " bytes are cut off", j->what,
               j->paths[i].path, scan->size - scan->whole);
        if (ftruncate(j->paths[i].fd, (off_t)scan->whole) != 0 || fsync(j->paths[i].fd) != 0)
            return journal_fail_errno(j, i, "cut", why);
    }
    if (scan->mark.n == b->mark.n)
        return PL_OK;
    enum pl_err err =
        journal_copy(j, best, scan->whole, b->whole, j->paths[i].fd, scan->whole, why);
    if (err == PL_OK)
        pl_log(j->log, PL_LOG_WARN, "journal",
               "%s %s was behind (line %" PRIu64 " of %" PRIu64 "); brought up to date", j->what,
               j->paths[i].path, scan->mark.n, b->mark.n);
    return err;
}

static enum pl_err restore_path(struct loading *l, size_t i, size_t best, struct pl_why *why)
{
    const struct scan *scan = &l->scans[i];
    if (scan->ending == END_ABSENT) {
        enum pl_err err = make_path(l, i, best, why);
        if (err == PL_OK)
            journal_alarm(l->j, "%s %s was missing; restored from another path", l->j->what,
                          l->j->paths[i].path);
        return err;
    }
    if (scan->ending == END_BAD)
        return replace_damaged(l, i, best, why);
    if (scan->beginning == BEGIN_GONE)
        return replace_outdated(l, i, best, why);
    return scan->beginning == BEGIN_OTHER ? rewrite(l, i, best, why) : bring_up(l, i, best, why);
}

static enum pl_err restore_paths(struct loading *l, size_t best, struct pl_why *why)
{
    enum pl_err err = bring_up(l, best, best, why);
    for (size_t i = 0; err == PL_OK && i < l->j->path_count; i++)
        if (i != best)
            err = restore_path(l, i, best, why);
    return err;
}

static enum pl_err keep_places(struct journal *j, size_t best, struct pl_why *why)
{
    struct journal_reader r;
    struct pl_span line;
    enum pl_err err = PL_OK;
    journal_reader_init(&r, j->paths[best].fd, 0, j->bytes);
    for (uint64_t n = j->base.n + 1; err == PL_OK && n <= j->end.n; n++) {
        const uint64_t at = r.at;
        err = journal_reader_next(&r, &line);
        if (err == PL_OK)
            err = journal_keep_place(j, n, at);
    }
    journal_reader_release(&r);
    return err == PL_OK ? err
                        : pl_fail(why, err, "cannot read %s %s", j->what, j->paths[best].path);
}

static enum pl_err load_existing(struct loading *l, size_t best, struct pl_why *why)
{
    enum pl_err err = check_same_story(l, best, why);
    if (err == PL_OK)
        err = restore_paths(l, best, why);
    if (err != PL_OK)
        return err;
    l->j->base = l->scans[best].base;
    l->j->end = l->scans[best].mark;
    l->j->bytes = l->scans[best].whole;
    return keep_places(l->j, best, why);
}

static enum pl_err make_new(struct loading *l, struct pl_why *why)
{
    enum pl_err err = PL_OK;
    for (size_t i = 0; err == PL_OK && i < l->j->path_count; i++)
        err = make_path(l, i, l->j->path_count, why);
    return err;
}

enum pl_err journal_load(struct journal *j, const struct journal_config *config, struct pl_why *why)
{
    struct loading l = {.j = j};
    size_t best = 0;
    enum pl_err err = json_parser_new(&l.parser, JOURNAL_LINE_BYTES, JSON_DEPTH);
    if (err != PL_OK)
        pl_fail(why, err, "no memory for the %s", j->what);
    for (size_t i = 0; err == PL_OK && i < j->path_count; i++)
        err = journal_scan_path(&l, i, why);
    if (err == PL_OK && choose(&l, &best) == PL_OK)
        err = load_existing(&l, best, why);
    else if (err == PL_OK && config->create)
        err = make_new(&l, why);
    else if (err == PL_OK)
        err =
            pl_fail(why, PL_ENOTFOUND,
                    "no %s at %s, nor on the other paths: restore it, or correct the paths; if it "
                    "is lost for good, make an empty file there (mode 0600)",
                    j->what, j->paths[0].path);
    json_parser_free(l.parser);
    if (err == PL_OK && j->end.n == 0 && !config->create)
        journal_alarm(j,
                      "the %s was there before, and is empty on every path: it begins anew, and "
                      "what it held is where it was moved to, or in copies",
                      j->what);
    return err;
}
