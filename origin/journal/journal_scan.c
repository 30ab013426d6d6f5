#include "origin/journal/journal_scan.h"
#include "proto/base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum pl_err journal_fail_errno(const struct journal *j, size_t i, const char *doing,
                               struct pl_why *why)
{
    return pl_fail(why, pl_err_from_errno(errno), "cannot %s %s %s: %m", doing, j->what,
                   j->paths[i].path);
}

enum pl_err journal_fresh_name(const struct journal *j, size_t i, char *name, struct pl_why *why)
{
    if (snprintf(name, PATH_MAX, "%s.tmp", j->paths[i].path) >= PATH_MAX)
        return pl_fail(why, PL_ELIMIT, "path %s is too long", j->paths[i].path);
    return PL_OK;
}

/* ---- looking at one path */

static enum pl_err open_path(struct journal *j, size_t i, struct scan *scan, struct pl_why *why)
{
    struct journal_path *p = &j->paths[i];
    char fresh[PATH_MAX];
    struct stat st;
    if (journal_fresh_name(j, i, fresh, NULL) == PL_OK)
        unlink(fresh); /* of a crash */
    p->fd = open(p->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (p->fd < 0 && errno == ENOENT) {
        scan->ending = END_ABSENT;
        return PL_OK;
    }
    if (p->fd < 0 || fstat(p->fd, &st) != 0)
        return journal_fail_errno(j, i, "open", why);
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

/* What the first line says that was there before it, where that may have been cut off. */
static void read_base(const struct loading *l, struct pl_span line, struct scan *scan)
{
    uint8_t previous[PL_SHA256_BYTES];
    uint64_t n;
    if (!l->j->trimmed || journal_line_read(line, &n, previous) != PL_OK || n < 2)
        return;
    scan->base.n = n - 1;
    memcpy(scan->base.hash, previous, sizeof(previous));
    scan->mark = scan->base;
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
        if (scan->whole == 0)
            read_base(l, line, scan);
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
    pl_text_print(scan->text, sizeof(scan->text), "%s",
                  err == PL_ELIMIT ? "a line is longer than any can be" : wrong.text);
    return err == PL_EIO      ? journal_fail_errno(l->j, i, "read", why)
           : err == PL_ENOMEM ? pl_fail(why, err, "no memory for the %s", l->j->what)
                              : PL_OK;
}

/* No line's hash covers the last one: it must at least be what a writer writes. */
static enum pl_err check_last(struct loading *l, size_t i, struct scan *scan, struct pl_why *why)
{
    struct journal_reader r;
    struct pl_span line;
    if (scan->whole == 0 || scan->ending == END_BAD)
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
    const char *begins = l->j->trimmed ? "{\"n\":" : "{\"n\":1,\"at\":\"";
    char bytes[16];
    if (scan->size == 0 || scan->whole > 0)
        return PL_OK;
    ssize_t got = pread(l->j->paths[i].fd, bytes, strlen(begins), 0);
    if (got < 0)
        return journal_fail_errno(l->j, i, "read", why);
    return memcmp(bytes, begins, (size_t)got) == 0
               ? PL_OK
               : pl_fail(why, PL_ECORRUPT,
                         "%s does not begin as the %s does: move it away, or correct the path",
                         l->j->paths[i].path, l->j->what);
}

enum pl_err journal_scan_path(struct loading *l, size_t i, struct pl_why *why)
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
