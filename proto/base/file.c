#include "proto/base/file.h"

#include "proto/base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

/* The name of the user this process acts as, for errors about permissions. */
static const char *user_name(char *out, size_t size)
{
    char text[1024];
    struct passwd entry, *found = NULL;
    if (getpwuid_r(geteuid(), &entry, text, sizeof(text), &found) == 0 && found != NULL)
        snprintf(out, size, "%s", entry.pw_name);
    else
        snprintf(out, size, "#%u", (unsigned)geteuid());
    return out;
}

/* "cannot DOING WHAT PATH: REASON (what to do)". */
static enum pl_err fail_errno(struct pl_why *why, int code, const char *doing, const char *what,
                              const char *path)
{
    enum pl_err err = pl_err_from_errno(code);
    char user[64], reason[128];
    /* GNU strerror_r: strerror is not safe beside other threads */
    const char *text = strerror_r(code, reason, sizeof(reason));
    switch (err) {
    case PL_EDENIED:
        return pl_fail(why, err, "cannot %s %s %s: %s (user %s needs permission for it)", doing,
                       what, path, text, user_name(user, sizeof(user)));
    case PL_ENOTFOUND:
        return pl_fail(why, err, "cannot %s %s %s: %s (create it, or correct the path)", doing,
                       what, path, text);
    case PL_ENOSPC:
        return pl_fail(why, err, "cannot %s %s %s: %s (free some space there)", doing, what, path,
                       text);
    default:
        return pl_fail(why, err, "cannot %s %s %s: %s", doing, what, path, text);
    }
}

static enum pl_err check_readable(int fd, const char *path, const char *what, bool private_file,
                                  struct pl_why *why)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return fail_errno(why, errno, "look at", what, path);
    if (!S_ISREG(st.st_mode))
        return pl_fail(why, PL_EINVAL, "%s %s is not a regular file", what, path);
    if (private_file && (st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        return pl_fail(why, PL_EDENIED,
                       "%s %s has mode %04o, so that others than its owner can reach it (run: "
                       "chmod 600 %s)",
                       what, path, (unsigned)(st.st_mode & 07777), path);
    return PL_OK;
}

/* Appends until the end; PL_ELIMIT when out is full and there is more, PL_EIO with errno set. */
static enum pl_err read_to_end(int fd, struct pl_buf *out)
{
    for (;;) {
        size_t room = out->max_bytes - out->len;
        uint8_t beyond;
        ssize_t got;
        if (room > 0) {
            if (room > 16384)
                room = 16384;
            enum pl_err err = pl_buf_reserve(out, room);
            if (err != PL_OK)
                return err;
            got = read(fd, out->data + out->len, room);
        } else {
            got = read(fd, &beyond, 1);
            if (got > 0) {
                pl_wipe(&beyond, 1);
                return PL_ELIMIT;
            }
        }
        if (got == 0)
            return PL_OK;
        if (got > 0)
            out->len += (size_t)got;
        else if (errno != EINTR)
            return PL_EIO;
    }
}

/* Takes back what was appended; it may have been a secret. */
static void forget_from(struct pl_buf *out, size_t len)
{
    if (out->len > len)
        pl_wipe(out->data + len, out->len - len);
    out->len = len;
}

enum pl_err pl_file_read(const char *path, const char *what, bool private_file, struct pl_buf *out,
                         struct pl_why *why)
{
    /* O_NONBLOCK: a FIFO is refused below instead of waited for */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return fail_errno(why, errno, "open", what, path);
    size_t before = out->len;
    enum pl_err err = check_readable(fd, path, what, private_file, why);
    if (err != PL_OK)
        goto out;
    err = read_to_end(fd, out);
    if (err == PL_EIO)
        err = fail_errno(why, errno, "read", what, path);
    else if (err == PL_ELIMIT)
        pl_fail(why, err, "%s %s is larger than the %zu bytes allowed", what, path,
                out->max_bytes - before);
    else if (err != PL_OK)
        pl_fail(why, err, "cannot read %s %s: %s", what, path, pl_err_word(err));
out:
    if (err != PL_OK)
        forget_from(out, before);
    close(fd);
    return err;
}

static int write_all(int fd, struct pl_span bytes)
{
    while (bytes.len > 0) {
        ssize_t written = write(fd, bytes.data, bytes.len);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return -1;
        bytes = pl_span_from(bytes, (size_t)written);
    }
    return 0;
}

/* A new file with exactly this mode (whatever the umask) and content, on the disk. */
static enum pl_err write_new(const char *path, const char *what, unsigned mode,
                             struct pl_span bytes, struct pl_why *why)
{
    unlink(path); /* left by a crash, perhaps with another mode */
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return fail_errno(why, errno, "create", what, path);
    enum pl_err err = PL_OK;
    if (fchmod(fd, (mode_t)mode) != 0 || write_all(fd, bytes) != 0 || fsync(fd) != 0)
        err = fail_errno(why, errno, "write", what, path);
    if (close(fd) != 0 && err == PL_OK)
        err = fail_errno(why, errno, "write", what, path);
    if (err != PL_OK)
        unlink(path);
    return err;
}

enum pl_err pl_dir_sync_parent(const char *path, struct pl_why *why)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        return pl_dir_sync(".", why);
    if (slash == path)
        return pl_dir_sync("/", why);
    char parent[PATH_MAX];
    if (snprintf(parent, sizeof(parent), "%.*s", (int)(slash - path), path) >= (int)sizeof(parent))
        return pl_fail(why, PL_EINVAL, "the path %.100s... is too long", path);
    return pl_dir_sync(parent, why);
}

static enum pl_err publish(const char *path, const char *what, unsigned mode, struct pl_span bytes,
                           bool may_exist, struct pl_why *why)
{
    char temporary[PATH_MAX];
    if (snprintf(temporary, sizeof(temporary), "%s.tmp", path) >= (int)sizeof(temporary))
        return pl_fail(why, PL_EINVAL, "the path %.100s... is too long", path);
    enum pl_err err = write_new(temporary, what, mode, bytes, why);
    if (err != PL_OK)
        return err;
    /* link refuses to replace what is there, rename does not */
    int rc = may_exist ? rename(temporary, path) : link(temporary, path);
    if (rc != 0 && errno == EEXIST)
        err = pl_fail(why, PL_EEXISTS, "%s %s is there already (move it away first)", what, path);
    else if (rc != 0)
        err = fail_errno(why, errno, "put in place", what, path);
    if (rc != 0 || !may_exist)
        unlink(temporary);
    return err == PL_OK ? pl_dir_sync_parent(path, why) : err;
}

enum pl_err pl_file_replace(const char *path, const char *what, unsigned mode, struct pl_span bytes,
                            struct pl_why *why)
{
    return publish(path, what, mode, bytes, true, why);
}

enum pl_err pl_file_create(const char *path, const char *what, unsigned mode, struct pl_span bytes,
                           struct pl_why *why)
{
    if (pl_file_exists(path)) /* before anything secret touches the disk */
        return pl_fail(why, PL_EEXISTS, "%s %s is there already (move it away first)", what, path);
    return publish(path, what, mode, bytes, false, why);
}

static enum pl_err make_one(const char *path, unsigned mode, struct pl_why *why)
{
    struct stat st;
    if (mkdir(path, (mode_t)mode) == 0) {
        if (chmod(path, (mode_t)mode) != 0) /* whatever the umask */
            return fail_errno(why, errno, "set the mode of", "directory", path);
        return pl_dir_sync_parent(path, why);
    }
    int code = errno;
    if (stat(path, &st) != 0)
        return fail_errno(why, code, "create", "directory", path);
    if (!S_ISDIR(st.st_mode))
        return pl_fail(why, PL_EINVAL, "cannot create directory %s: a file is in its place", path);
    return PL_OK;
}

enum pl_err pl_dir_make(const char *path, unsigned mode, struct pl_why *why)
{
    char part[PATH_MAX];
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof(part))
        return pl_fail(why, PL_EINVAL, "the directory's path is empty or too long");
    while (len > 1 && path[len - 1] == '/')
        len--;
    memcpy(part, path, len);
    part[len] = '\0';
    for (size_t i = 1; i < len; i++) {
        if (part[i] != '/' || part[i - 1] == '/')
            continue;
        part[i] = '\0';
        enum pl_err err = make_one(part, mode, why);
        part[i] = '/';
        if (err != PL_OK)
            return err;
    }
    return make_one(part, mode, why);
}

enum pl_err pl_dir_sync(const char *path, struct pl_why *why)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fail_errno(why, errno, "open", "directory", path);
    enum pl_err err = PL_OK;
    if (fsync(fd) != 0)
        err = fail_errno(why, errno, "sync", "directory", path);
    close(fd);
    return err;
}

enum pl_err pl_file_lock(const char *path, const char *what, int *fd, struct pl_why *why)
{
    char name[PATH_MAX];
    if (snprintf(name, sizeof(name), "%s.lock", path) >= (int)sizeof(name))
        return pl_fail(why, PL_EINVAL, "the path %.100s... is too long", path);
    int lock = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock < 0)
        return fail_errno(why, errno, "make the lock beside", what, path);
    if (flock(lock, LOCK_EX | LOCK_NB) != 0) {
        close(lock);
        return pl_fail(why, PL_EEXISTS, "%s %s is in use by another process", what, path);
    }
    *fd = lock;
    return PL_OK;
}

enum pl_err pl_write_at(int fd, struct pl_span bytes, uint64_t at)
{
    while (bytes.len > 0) {
        ssize_t n = pwrite(fd, bytes.data, bytes.len, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return pl_err_from_errno(n < 0 ? errno : EIO);
        bytes = pl_span_from(bytes, (size_t)n);
        at += (uint64_t)n;
    }
    return PL_OK;
}

enum pl_err pl_file_append(int fd, const char *path, const char *what, uint64_t before,
                           struct pl_span more, struct pl_why *why)
{
    struct stat there, here = {.st_ino = 0};
    if (fstat(fd, &there) != 0 || (stat(path, &here) != 0 && errno != ENOENT))
        return fail_errno(why, errno, "look at", what, path);
    if (there.st_size != (off_t)before || there.st_ino != here.st_ino ||
        there.st_dev != here.st_dev)
        return pl_fail(
            why, PL_ECORRUPT,
            "%s %s was changed behind this process's back (rotated, cut off, edited?): "
            "move the file that stood there back and all goes on; or, if another path is "
            "whole, restart, and it is restored from that",
            what, path);
    enum pl_err err = pl_write_at(fd, more, before);
    if (err == PL_OK && fdatasync(fd) != 0)
        err = pl_err_from_errno(errno);
    if (err != PL_OK) {
        pl_fail(why, err, "cannot append to %s %s: %s", what, path, pl_err_word(err));
        if (ftruncate(fd, (off_t)before) != 0 || fsync(fd) != 0)
            pl_fail_in(why, err, "half a record may stand at its end");
    }
    return err;
}

bool pl_file_exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

enum pl_err pl_disk_free(const char *path, uint64_t *free_bytes, struct pl_why *why)
{
    struct statvfs fs;
    if (statvfs(path, &fs) != 0)
        return fail_errno(why, errno, "measure free space at", "path", path);
    if (__builtin_mul_overflow((uint64_t)fs.f_bavail, (uint64_t)fs.f_frsize, free_bytes))
        *free_bytes = UINT64_MAX;
    return PL_OK;
}

enum pl_err pl_command_output(const char *command, const char *what, struct pl_buf *out,
                              struct pl_why *why)
{
    FILE *pipe = popen(command, "re");
    if (pipe == NULL)
        return fail_errno(why, errno, "start", what, command);
    size_t before = out->len;
    /* past stdio, whose buffer nobody would wipe */
    enum pl_err err = read_to_end(fileno(pipe), out);
    int read_errno = errno;
    int status = pclose(pipe);
    if (err == PL_ELIMIT)
        pl_fail(why, err, "%s (%s) printed more than the %zu bytes allowed", what, command,
                out->max_bytes - before);
    else if (err == PL_EIO)
        err = fail_errno(why, read_errno, "read the output of", what, command);
    else if (err != PL_OK)
        pl_fail(why, err, "cannot run %s (%s): %s", what, command, pl_err_word(err));
    else if (status == -1 || WIFSIGNALED(status))
        err = pl_fail(why, PL_EIO, "%s (%s) was killed", what, command);
    else if (WEXITSTATUS(status) != 0)
        err = pl_fail(why, PL_EIO, "%s (%s) ended with status %d (run it by hand to see why)", what,
                      command, WEXITSTATUS(status));
    if (err != PL_OK)
        forget_from(out, before);
    return err;
}

enum pl_err pl_path_join(char *out, size_t out_size, const char *dir, const char *name)
{
    size_t len = strlen(dir);
    const char *separator = len == 0 || dir[len - 1] == '/' ? "" : "/";
    size_t need = len + strlen(separator) + strlen(name) + 1;
    if (need > out_size)
        return PL_ELIMIT;
    snprintf(out, out_size, "%s%s%s", dir, separator, name);
    return PL_OK;
}
