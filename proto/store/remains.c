/*
 * remains: freeing the blocks of large files that the engine removes.
 *
 * A file system with a journal that frees hundreds of megabytes at once (and tells the disk, where
 * it is mounted with `discard`) makes every sync wait for it: 68 ms for the log's, beside a
 * purge. So what is about to be removed gets a second name in a folder of ours first, which makes
 * the removal itself cheap, and is then cut off piece by piece, each piece synced: nobody's sync
 * waits for more than one.
 */
#include "proto/store/internal.h"

#include "proto/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER      "remains"
#define PIECE_BYTES (4 << 20)

void store_remains_keep(const struct store *store, const char *name)
{
    char from[PATH_MAX], folder[PATH_MAX], to[PATH_MAX];
    if (pl_path_join(from, sizeof(from), store->path, name) != PL_OK ||
        pl_path_join(folder, sizeof(folder), store->path, FOLDER) != PL_OK ||
        pl_path_join(to, sizeof(to), folder, name) != PL_OK)
        return;
    /* Where this fails it is removed at once: the engine was faster, or there are no links here. */
    (void)mkdir(folder, 0700);
    (void)link(from, to);
}

static enum pl_err cut_off(int fd, off_t bytes)
{
    while (bytes > 0) {
        bytes = bytes > PIECE_BYTES ? bytes - PIECE_BYTES : 0;
        if (ftruncate(fd, bytes) != 0 || fdatasync(fd) != 0)
            return pl_err_from_errno(errno);
    }
    return PL_OK;
}

/* One that has another name is in use, or a copy's: only ours goes, unless a purge is under way
 * that may be about to outdate it. */
static enum pl_err free_one(const struct store *store, int folder, const char *name)
{
    bool stays = false;
    struct stat found;
    enum pl_err err = PL_OK;
    int fd = openat(folder, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? PL_OK : pl_err_from_errno(errno);
    if (fstat(fd, &found) != 0)
        err = pl_err_from_errno(errno);
    else if (S_ISREG(found.st_mode) && found.st_nlink == 1)
        err = cut_off(fd, found.st_size);
    else
        stays = atomic_load(&store->purges) > 0;
    close(fd);
    if (err == PL_OK && !stays && unlinkat(folder, name, 0) != 0 && errno != ENOENT)
        err = pl_err_from_errno(errno);
    return err;
}

enum pl_err store_remains_free(const struct store *store, struct pl_why *why)
{
    char path[PATH_MAX];
    enum pl_err err = pl_path_join(path, sizeof(path), store->path, FOLDER);
    if (err != PL_OK)
        return pl_fail(why, err, "the path of the store, %s, is too long", store->path);
    DIR *folder = opendir(path);
    if (folder == NULL)
        return errno == ENOENT ? PL_OK
                               : pl_fail(why, pl_err_from_errno(errno), "cannot list %s: %m", path);
    const struct dirent *entry;
    while (err == PL_OK && (entry = readdir(folder)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        err = free_one(store, dirfd(folder), entry->d_name);
        if (err != PL_OK)
            pl_fail(why, err, "cannot remove %s/%s, of what a purge has deleted: %s", path,
                    entry->d_name, pl_err_word(err));
    }
    if (err == PL_OK && fsync(dirfd(folder)) != 0)
        err = pl_fail(why, pl_err_from_errno(errno), "cannot sync %s: %m", path);
    closedir(folder);
    return err;
}
