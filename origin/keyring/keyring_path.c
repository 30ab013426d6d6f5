#include "origin/keyring/keyring_file.h"

#include "proto/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static enum pl_err fail_errno(struct pl_why *why, const char *what, const char *path)
{
    return pl_fail(why, pl_err_from_errno(errno), "cannot %s keyring file %s: %m", what, path);
}

static enum pl_err side_name(const char *path, const char *suffix, char out[PATH_MAX],
                             struct pl_why *why)
{
    int n = snprintf(out, PATH_MAX, "%s%s", path, suffix);
    return n < 0 || n >= PATH_MAX ? pl_fail(why, PL_ELIMIT, "keyring path %s is too long", path)
                                  : PL_OK;
}

/* Zeros over everything the file holds, on disk when this returns. */
static enum pl_err overwrite(int fd)
{
    static const uint8_t zeros[4096];
    struct stat st;
    if (fstat(fd, &st) != 0)
        return pl_err_from_errno(errno);
    for (off_t at = 0; at < st.st_size; at += (off_t)sizeof(zeros)) {
        size_t len =
            st.st_size - at < (off_t)sizeof(zeros) ? (size_t)(st.st_size - at) : sizeof(zeros);
        enum pl_err err = pl_write_at(fd, pl_span(zeros, len), (uint64_t)at);
        if (err != PL_OK)
            return err;
    }
    return fsync(fd) != 0 ? pl_err_from_errno(errno) : PL_OK;
}

/* Overwrites and removes a file that may not be there. */
static enum pl_err shred(const char *path, struct pl_why *why)
{
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? PL_OK : fail_errno(why, "open old", path);
    enum pl_err err = overwrite(fd);
    close(fd);
    if (err != PL_OK)
        return pl_fail(why, err,
                       "cannot overwrite old keyring file %s: %s (its keys are not "
                       "destroyed until that succeeds)",
                       path, pl_err_word(err));
    if (unlink(path) != 0)
        return fail_errno(why, "remove old", path);
    return PL_OK;
}

/* What a crash left beside path: a half-written new file, or the old one not yet overwritten. */
static enum pl_err shred_leftovers(const char *path, struct pl_why *why)
{
    static const char *const suffixes[] = {".tmp", ".old"};
    for (size_t i = 0; i < 2; i++) {
        char name[PATH_MAX];
        enum pl_err err = side_name(path, suffixes[i], name, why);
        if (err != PL_OK)
            return err;
        /* A crash between link and rename leaves two names of the one good file. */
        struct stat live, left;
        if (stat(path, &live) == 0 && lstat(name, &left) == 0 && live.st_ino == left.st_ino &&
            live.st_dev == left.st_dev) {
            if (unlink(name) != 0)
                return fail_errno(why, "remove the second name of", path);
            continue;
        }
        err = shred(name, why);
        if (err != PL_OK)
            return err;
    }
    return PL_OK;
}

enum pl_err keyring_path_lock(const char *path, int *fd, struct pl_why *why)
{
    return pl_file_lock(path, "keyring file", fd, why);
}

enum pl_err keyring_path_read(const char *path, struct pl_buf *out, struct pl_why *why)
{
    enum pl_err err = shred_leftovers(path, why);
    if (err != PL_OK)
        return err;
    if (!pl_file_exists(path))
        return pl_fail(why, PL_ENOTFOUND, "no keyring file at %s", path);
    return pl_file_read(path, "keyring file", true, out, why);
}

enum pl_err keyring_path_append(const char *path, size_t before, struct pl_span more,
                                struct pl_why *why)
{
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return fail_errno(why, "open", path);
    enum pl_err err = pl_file_append(fd, path, "keyring file", before, more, why);
    close(fd);
    return err;
}

enum pl_err keyring_path_cut(const char *path, size_t len)
{
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return pl_err_from_errno(errno);
    const bool cut = ftruncate(fd, (off_t)len) == 0 && fsync(fd) == 0;
    const enum pl_err err = cut ? PL_OK : pl_err_from_errno(errno);
    close(fd);
    return err;
}

static enum pl_err write_new(const char *path, struct pl_span file, struct pl_why *why)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return fail_errno(why, "create", path);
    enum pl_err err = pl_write_at(fd, file, 0);
    if (err == PL_OK && fsync(fd) != 0)
        err = pl_err_from_errno(errno);
    close(fd);
    if (err != PL_OK)
        pl_fail(why, err, "cannot write keyring file %s: %s", path, pl_err_word(err));
    return err;
}

/* The old file keeps a name until its bytes are overwritten, so that a crash in between leaves
 * something to find and overwrite. */
enum pl_err keyring_path_replace(const char *path, struct pl_span file, bool *replaced,
                                 struct pl_why *why)
{
    char fresh[PATH_MAX], old[PATH_MAX];
    *replaced = false;
    enum pl_err err = side_name(path, ".tmp", fresh, why);
    if (err == PL_OK)
        err = side_name(path, ".old", old, why);
    if (err == PL_OK)
        err = shred_leftovers(path, why);
    if (err == PL_OK)
        err = write_new(fresh, file, why);
    if (err != PL_OK)
        return err;
    if (link(path, old) != 0 && errno != ENOENT)
        return fail_errno(why, "link the old", path);
    if (rename(fresh, path) != 0)
        return fail_errno(why, "replace", path);
    *replaced = true;
    err = pl_dir_sync_parent(path, why);
    if (err == PL_OK)
        err = shred(old, why);
    return err == PL_OK ? pl_dir_sync_parent(path, why) : err;
}
