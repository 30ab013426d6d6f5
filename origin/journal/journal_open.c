/* Opening a journal: which path is right, and what the others need. */
#include "origin/journal/journal_state.h"

#include "proto/base/file.h"
#include "proto/wire/json.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define COPY_BYTES 65536u
#define JSON_DEPTH 32

enum ending { END_ABSENT, END_CLEAN, END_TORN, END_BAD };

struct scan {
    enum ending ending;
    uint64_t size;
    struct journal_mark mark, before; /* of the last line that verifies, and of the one before it */
    uint64_t whole;                   /* where that line ends */
    uint64_t last_at, before_at;      /* where they begin */
    char text[160];                   /* what is wrong behind it */
};

struct loading {
    struct journal *j;
    struct json_parser *parser;
    struct scan scans[JOURNAL_PATH_LIMIT];
};

static enum pl_err fail_errno(const struct journal *j, size_t i, const char *doing,
                              struct pl_why *why)
{
    return pl_fail(why, pl_err_from_errno(errno), "cannot %s %s %s: %m", doing, j->what,
                   j->paths[i].path);
}

/* ---- looking at one path */

static enum pl_err open_path(struct journal *j, size_t i, struct scan *scan, struct pl_why *why)
{
    struct journal_path *p = &j->paths[i];
    struct stat st;
    p->fd = open(p->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (p->fd < 0 && errno == ENOENT) {
        scan->ending = END_ABSENT;
        return PL_OK;
    }
    if (p->fd < 0 || fstat(p->fd, &st) != 0)
        return fail_errno(j, i, "open", why);
    if (!S_ISREG(st.st_mode) || (st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        return pl_fail(why, PL_EDENIED,
                       "%s %s is not a regular file, or others than its owner can reach it (run: "
                       "chmod 600 %s)",
                       j->what, p->path, p->path);
    scan->ending = END_CLEAN;
    scan->size = (uint64_t)st.st_size;
    return PL_OK;
}

static bool is_a_line(struct loading *l, struct pl_span line)
{
    uint8_t previous[PL_SHA256_BYTES];
    struct json root;
    uint64_t n;
    return journal_line_read(line, &n, previous) == PL_OK &&
           json_parse(l->parser, line, &root, NULL) == PL_OK;
}

/* How far the lines verify, and how they end. */
static enum pl_err read_lines(struct loading *l, size_t i, struct scan *scan, struct pl_why *why)
{
    struct journal_reader r;
    struct pl_span line;
    struct pl_why wrong = {0};
    enum pl_err err;
    journal_reader_init(&r, l->j->paths[i].fd, 0, scan->size);
    while ((err = journal_reader_next(&r, &line)) == PL_OK) {
        const struct journal_mark before = scan->mark;
        err = journal_line_next(&scan->mark, line, &wrong);
        if (err != PL_OK)
            break;
        scan->before = before;
        scan->before_at = scan->last_at;
        scan->last_at = scan->whole;
        scan->whole = r.at;
    }
    /* A torn write may leave its end and not its middle; a last line that is whole but does not
     * follow the one before it tells that one of the two was changed. */
    if (err == PL_EAGAIN || (err == PL_ECORRUPT && r.at == scan->size && !is_a_line(l, line)))
        scan->ending = END_TORN;
    else if (err == PL_ECORRUPT || err == PL_ELIMIT)
        scan->ending = END_BAD;
    journal_reader_release(&r);
    snprintf(scan->text, sizeof(scan->text), "%.159s",
             err == PL_ELIMIT ? "a line is longer than any can be" : wrong.text);
    return err == PL_EIO      ? fail_errno(l->j, i, "read", why)
           : err == PL_ENOMEM ? pl_fail(why, err, "no memory for the %s", l->j->what)
                              : PL_OK;
}

/* No line's hash covers the last one: it must at least be what a writer writes. */
static enum pl_err check_last(struct loading *l, size_t i, struct scan *scan, struct pl_why *why)
{
    struct journal_reader r;
    struct pl_span line;
    if (scan->mark.n == 0 || scan->ending == END_BAD)
        return PL_OK;
    journal_reader_init(&r, l->j->paths[i].fd, scan->last_at, scan->whole);
    enum pl_err err = journal_reader_next(&r, &line);
    if (err != PL_OK)
        pl_fail(why, err, "cannot read the last line of %s %s", l->j->what, l->j->paths[i].path);
    else if (!is_a_line(l, line)) {
        scan->mark = scan->before;
        scan->whole = scan->last_at;
        scan->last_at = scan->before_at;
        scan->ending = END_TORN;
    }
    journal_reader_release(&r);
    return err;
}

/* Somebody else's file is never cut or replaced. */
static enum pl_err check_begins(struct loading *l, size_t i, const struct scan *scan,
                                struct pl_why *why)
{
    static const char begins[] = "{\"n\":1,\"at\":\"";
    char bytes[sizeof(begins) - 1];
    if (scan->size == 0 || scan->mark.n > 0)
        return PL_OK;
    ssize_t got = pread(l->j->paths[i].fd, bytes, sizeof(bytes), 0);
    if (got < 0)
        return fail_errno(l->j, i, "read", why);
    return memcmp(bytes, begins, (size_t)got) == 0
               ? PL_OK
               : pl_fail(why, PL_ECORRUPT,
                         "%s does not begin as the %s does: move it away, or correct the path",
                         l->j->paths[i].path, l->j->what);
}

static enum pl_err scan_path(struct loading *l, size_t i, struct pl_why *why)
{
    struct scan *scan = &l->scans[i];
    enum pl_err err = open_path(l->j, i, scan, why);
    if (err != PL_OK || scan->ending == END_ABSENT)
        return err;
    err = read_lines(l, i, scan, why);
    if (err == PL_OK)
        err = check_last(l, i, scan, why);
    return err == PL_OK ? check_begins(l, i, scan, why) : err;
}

/* ---- all of them together */

/* The path whose lines reach furthest; PL_ENOTFOUND: there is none at all. */
static enum pl_err choose(const struct loading *l, size_t *best)
{
    bool found = false;
    for (size_t i = 0; i < l->j->path_count; i++) {
        const struct scan *scan = &l->scans[i];
        if (scan->ending == END_ABSENT)
            continue;
        if (!found || scan->mark.n > l->scans[*best].mark.n)
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
            return fail_errno(j, a, "read", why);
        if (pread(j->paths[b].fd, y, want, (off_t)from) != (ssize_t)want)
            return fail_errno(j, b, "read", why);
        *same = memcmp(x, y, want) == 0;
        from += want;
    }
    return PL_OK;
}

/* Every other path must be an earlier state of the same story. A line names the one before it, so
 * where the last lines are equal, all are. */
static enum pl_err check_same_story(const struct loading *l, size_t best, struct pl_why *why)
{
    const struct journal *j = l->j;
    for (size_t i = 0; i < j->path_count; i++) {
        const struct scan *scan = &l->scans[i];
        bool same = true;
        if (scan->ending == END_ABSENT)
            continue;
        if (scan->ending == END_BAD && scan->mark.n == l->scans[best].mark.n)
            return pl_fail(why, PL_ECORRUPT,
                           "%s %s is damaged behind line %" PRIu64 " (%s), and no other path holds "
                           "what stood there: restore a copy of the whole file",
                           j->what, j->paths[i].path, scan->mark.n, scan->text);
        /* of a damaged one the last line may be what was damaged */
        const bool bad = scan->ending == END_BAD;
        enum pl_err err = same_bytes(j, i, best, bad ? scan->before_at : scan->last_at,
                                     bad ? scan->last_at : scan->whole, &same, why);
        if (err != PL_OK)
            return err;
        if (!same)
            return pl_fail(why, PL_EFORK,
                           "%s files %s and %s tell different stories at line %" PRIu64
                           " or before: one of them is not this origin's, or was changed; compare "
                           "them with their backups and move the wrong one away",
                           j->what, j->paths[best].path, j->paths[i].path, scan->mark.n);
    }
    return PL_OK;
}

static enum pl_err copy_bytes(const struct journal *j, size_t from_path, int to_fd, uint64_t from,
                              uint64_t to, struct pl_why *why)
{
    uint8_t bytes[COPY_BYTES];
    while (from < to) {
        size_t want = to - from > sizeof(bytes) ? sizeof(bytes) : (size_t)(to - from);
        if (pread(j->paths[from_path].fd, bytes, want, (off_t)from) != (ssize_t)want)
            return fail_errno(j, from_path, "read", why);
        enum pl_err err = pl_write_at(to_fd, pl_span(bytes, want), from);
        if (err != PL_OK)
            return pl_fail(why, err, "cannot write a copy of %s %s: %s", j->what,
                           j->paths[from_path].path, pl_err_word(err));
        from += want;
    }
    return fsync(to_fd) == 0 ? PL_OK : fail_errno(j, from_path, "sync a copy of", why);
}

/* A whole new file at the path; `best` beyond path_count: an empty one. */
static enum pl_err make_path(struct loading *l, size_t i, size_t best, struct pl_why *why)
{
    struct journal *j = l->j;
    struct journal_path *p = &j->paths[i];
    char fresh[PATH_MAX];
    if (snprintf(fresh, sizeof(fresh), "%s.tmp", p->path) >= (int)sizeof(fresh))
        return pl_fail(why, PL_ELIMIT, "path %s is too long", p->path);
    unlink(fresh); /* of a crash */
    int fd = open(fresh, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return fail_errno(j, i, "create", why);
    enum pl_err err =
        best < j->path_count ? copy_bytes(j, best, fd, 0, l->scans[best].whole, why) : PL_OK;
    if (err == PL_OK && rename(fresh, p->path) != 0)
        err = fail_errno(j, i, "put in place", why);
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

/* What was damaged keeps a name, for whoever wants to know what happened. */
static enum pl_err replace_damaged(struct loading *l, size_t i, size_t best, struct pl_why *why)
{
    const struct journal_path *p = &l->j->paths[i];
    char aside[PATH_MAX];
    if (snprintf(aside, sizeof(aside), "%s.damaged", p->path) >= (int)sizeof(aside))
        return pl_fail(why, PL_ELIMIT, "path %s is too long", p->path);
    if (rename(p->path, aside) != 0)
        return fail_errno(l->j, i, "keep aside", why);
    enum pl_err err = make_path(l, i, best, why);
    if (err == PL_OK)
        journal_alarm(l->j,
                      "%s %s was damaged behind line %" PRIu64 " (%.100s); it was restored from "
                      "another path, and what it was is %s",
                      l->j->what, p->path, l->scans[i].mark.n, l->scans[i].text, aside);
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
            return fail_errno(j, i, "cut", why);
    }
    if (scan->mark.n == b->mark.n)
        return PL_OK;
    enum pl_err err = copy_bytes(j, best, j->paths[i].fd, scan->whole, b->whole, why);
    if (err == PL_OK)
        pl_log(j->log, PL_LOG_WARN, "journal",
               "%s %s was behind (line %" PRIu64 " of %" PRIu64 "); brought up to date", j->what,
               j->paths[i].path, scan->mark.n, b->mark.n);
    return err;
}

static enum pl_err restore_paths(struct loading *l, size_t best, struct pl_why *why)
{
    struct journal *j = l->j;
    enum pl_err err = bring_up(l, best, best, why);
    for (size_t i = 0; err == PL_OK && i < j->path_count; i++) {
        if (i == best)
            continue;
        if (l->scans[i].ending == END_BAD) {
            err = replace_damaged(l, i, best, why);
        } else if (l->scans[i].ending != END_ABSENT) {
            err = bring_up(l, i, best, why);
        } else {
            err = make_path(l, i, best, why);
            if (err == PL_OK)
                journal_alarm(j, "%s %s was missing; restored from another path", j->what,
                              j->paths[i].path);
        }
    }
    return err;
}

static enum pl_err keep_places(struct journal *j, size_t best, struct pl_why *why)
{
    struct journal_reader r;
    struct pl_span line;
    enum pl_err err = PL_OK;
    journal_reader_init(&r, j->paths[best].fd, 0, j->bytes);
    for (uint64_t n = 1; err == PL_OK && n <= j->end.n; n++) {
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
        err = scan_path(&l, i, why);
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
    return err;
}
