/*
 * file: reading small files with their permissions checked, and replacing them so that a crash
 * leaves the old one or the new one.
 *
 * Promise: every error names the path and says what to do. Blocks on the disk: start-up, admin
 * and keyring threads only.
 */
#ifndef POLDER_PROTO_BASE_FILE_H
#define POLDER_PROTO_BASE_FILE_H

#include "proto/base/buf.h"

/* Appends the whole file to out (out's limit is the size limit). what: for the error, e.g.
 * "key file". private_file: refuse one that group or others may read. */
enum pl_err pl_file_read(const char *path, const char *what, bool private_file, struct pl_buf *out,
                         struct pl_why *why);
/* Writes path.tmp, fsyncs, renames, fsyncs the directory. mode e.g. 0600, whatever the umask. One
 * writer for a path at a time. */
enum pl_err pl_file_replace(const char *path, const char *what, unsigned mode, struct pl_span bytes,
                            struct pl_why *why);
/* As above, but PL_EEXISTS when path is there already. */
enum pl_err pl_file_create(const char *path, const char *what, unsigned mode, struct pl_span bytes,
                           struct pl_why *why);
/* mkdir -p with mode for the ones it makes. */
enum pl_err pl_dir_make(const char *path, unsigned mode, struct pl_why *why);
enum pl_err pl_dir_sync(const char *path, struct pl_why *why);
/* Of the directory that path is in. */
enum pl_err pl_dir_sync_parent(const char *path, struct pl_why *why);
/* One process at a time: locks PATH.lock, which is made and stays; closing *fd unlocks. PL_EEXISTS:
 * another process has it. */
enum pl_err pl_file_lock(const char *path, const char *what, int *fd, struct pl_why *why);
/* The file is known to hold `before` bytes; adds more and syncs. PL_ECORRUPT: it does not, or the
 * path is another file's by now; nothing was written. After another error it is cut back as far as
 * possible. fd is open for writing, of the file at path, which is one of several copies. */
enum pl_err pl_file_append(int fd, const char *path, const char *what, uint64_t before,
                           struct pl_span more, struct pl_why *why);
/* Overwrites from a place on, EINTR and short writes seen to. */
enum pl_err pl_write_at(int fd, struct pl_span bytes, uint64_t at);
bool pl_file_exists(const char *path);
/* Free bytes for an unprivileged writer on the file system that holds path. */
enum pl_err pl_disk_free(const char *path, uint64_t *free_bytes, struct pl_why *why);
/* Runs a shell command and appends its output; PL_EIO names the exit status. For key commands. */
enum pl_err pl_command_output(const char *command, const char *what, struct pl_buf *out,
                              struct pl_why *why);
/* "DIR/NAME" into out, PL_ELIMIT when it does not fit. */
enum pl_err pl_path_join(char *out, size_t out_size, const char *dir, const char *name);

#endif
