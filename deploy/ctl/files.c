#include "deploy/ctl/files.h"

#include "proto/base/file.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

void files_init(struct new_file *files, size_t count)
{
    for (size_t i = 0; i < count; i++)
        pl_buf_init(&files[i].bytes, FILES_BYTES_MAX);
}

void files_release(struct new_file *files, size_t count)
{
    for (size_t i = 0; i < count; i++)
        pl_buf_wipe(&files[i].bytes);
}

enum pl_err files_path(char out[FILES_PATH_BYTES], const char *dir, const char *name,
                       struct pl_why *why)
{
    enum pl_err err = pl_path_join(out, FILES_PATH_BYTES, dir, name);
    return err == PL_OK ? PL_OK : pl_fail(why, err, "the path %.200s... is too long", dir);
}

enum pl_err files_absolute(char out[FILES_PATH_BYTES], const char *path, struct pl_why *why)
{
    char here[FILES_PATH_BYTES];
    if (path[0] == '\0')
        return pl_fail(why, PL_EINVAL, "the directory's name is empty");
    if (path[0] != '/' && getcwd(here, sizeof(here)) == NULL)
        return pl_fail(why, pl_err_from_errno(errno), "cannot tell the current directory: %m");
    enum pl_err err = files_path(out, path[0] == '/' ? "/" : here,
                                 path[0] == '/' ? path + strspn(path, "/") : path, why);
    for (size_t len = err == PL_OK ? strlen(out) : 0; len > 1 && out[len - 1] == '/'; len--)
        out[len - 1] = '\0';
    return err;
}

static enum pl_err check_absent(const char *dir, const struct new_file *files, size_t count,
                                struct pl_why *why)
{
    char path[FILES_PATH_BYTES];
    for (size_t i = 0; i < count; i++) {
        enum pl_err err = files_path(path, dir, files[i].name, why);
        if (err != PL_OK)
            return err;
        if (pl_file_exists(path))
            return pl_fail(why, PL_EEXISTS, "%s %s is there already, and nothing is overwritten",
                           files[i].what, path);
    }
    return PL_OK;
}

void files_remove(const char *dir, const struct new_file *files, size_t count)
{
    char path[FILES_PATH_BYTES];
    for (size_t i = 0; i < count; i++)
        if (files_path(path, dir, files[i].name, NULL) == PL_OK)
            unlink(path);
}

enum pl_err files_create(const char *dir, const struct new_file *files, size_t count,
                         struct pl_why *why)
{
    char path[FILES_PATH_BYTES];
    enum pl_err err = check_absent(dir, files, count, why);
    if (err != PL_OK)
        return err;
    for (size_t i = 0; i < count && err == PL_OK; i++) {
        files_path(path, dir, files[i].name, NULL); /* fitted above */
        err = pl_file_create(path, files[i].what, files[i].mode, pl_buf_span(&files[i].bytes), why);
        if (err != PL_OK) /* one that another process made meanwhile is not ours to remove */
            files_remove(dir, files, err == PL_EEXISTS ? i : i + 1);
    }
    return err;
}

enum pl_err yaml_escape(struct pl_buf *out, const char *text)
{
    enum pl_err err = PL_OK;
    for (const unsigned char *c = (const unsigned char *)text; err == PL_OK && *c != '\0'; c++) {
        if (*c == '"' || *c == '\\')
            err = pl_buf_appendf(out, "\\%c", *c);
        else if (*c < ' ' || *c == 0x7f)
            err = pl_buf_appendf(out, "\\x%02x", *c);
        else
            err = pl_buf_put_u8(out, *c);
    }
    return err == PL_OK ? pl_buf_terminate(out) : err;
}
