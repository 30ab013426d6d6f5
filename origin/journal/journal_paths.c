#include "origin/journal/journal_paths.h"

#include "origin/families.h"
#include "proto/base/file.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

static enum pl_err add(struct journal_paths *paths, const char *dir, const char *suffix,
                       const char *file, struct pl_why *why)
{
    char folder[PATH_MAX], path[PATH_MAX];
    int len = snprintf(folder, sizeof(folder), "%s%s", dir, suffix);
    if (len < 0 || (size_t)len >= sizeof(folder) ||
        pl_path_join(path, sizeof(path), folder, file) != PL_OK) {
        return pl_fail(why, PL_ELIMIT, "the path of the journal folder %s is too long", dir);
    }
    enum pl_err err = pl_dir_make(folder, 0700, why);
    if (err != PL_OK) {
        return err;
    }
    paths->items[paths->count] = strdup(path);
    return paths->items[paths->count++] == NULL
               ? pl_fail(why, PL_ENOMEM, "no memory for a journal's paths")
               : PL_OK;
}

enum pl_err journal_paths_make(struct journal_paths *paths, const struct origin_options *options,
                               const char *file, struct pl_why *why)
{
    bool named = options->journal_dirs.count > 0;
    const struct pl_text_list *dirs = named ? &options->journal_dirs : &options->keyring_paths;
    enum pl_err err = PL_OK;
    if (dirs->count > JOURNAL_PATH_LIMIT) {
        return pl_fail_field(why, PL_ELIMIT, "journal_dirs", "more than %d folders for journals",
                             JOURNAL_PATH_LIMIT);
    }
    for (size_t i = 0; i < dirs->count && err == PL_OK; i++) {
        err = add(paths, dirs->items[i], named ? "" : ".journal", file, why);
    }
    return err;
}

void journal_paths_release(struct journal_paths *paths)
{
    for (size_t i = 0; i < paths->count; i++) {
        free(paths->items[i]);
    }
    paths->count = 0;
}

static struct pl_span key_of(const char *file, char key[64])
{
    return pl_span(key, (size_t)snprintf(key, 64, "journal/%.40s", file));
}

enum pl_err journal_is_new(struct store *store, const char *file, bool *is_new, struct pl_why *why)
{
    char key[64];
    struct pl_buf value;
    pl_buf_init(&value, 64);
    enum pl_err err = store_get(store, FAMILY_META, key_of(file, key), &value);
    pl_buf_release(&value);
    if (err != PL_OK && err != PL_ENOTFOUND) {
        return pl_fail(why, err, "the database cannot be read: %s", pl_err_word(err));
    }
    *is_new = err == PL_ENOTFOUND;
    return PL_OK;
}

enum pl_err journal_is_known(struct store *store, const char *file, struct pl_why *why)
{
    char key[64];
    return store_put(store, FAMILY_META, key_of(file, key), PL_SPAN_LIT("1"), true, why);
}
