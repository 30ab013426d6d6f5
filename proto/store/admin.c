#include "proto/store/internal.h"

#include "proto/base/file.h"

#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#define FORCE_BOTTOMMOST_ONCE 3 /* BottommostLevelCompaction::kForceOptimized */

enum pl_err store_flush_all(struct store *store, struct pl_why *why)
{
    enum pl_err err = PL_OK;
    rocksdb_flushoptions_t *options = rocksdb_flushoptions_create();
    rocksdb_flushoptions_set_wait(options, 1);
    for (size_t i = 0; i < store->slot_count && err == PL_OK; i++) {
        char *message = NULL;
        rocksdb_flush_cf(store->db, options, store->handles[i], &message);
        err = store_error_take_write(store, message, "flush", why);
    }
    rocksdb_flushoptions_destroy(options);
    return err;
}

enum pl_err store_flush(struct store *store, struct pl_why *why)
{
    enum pl_err err = store_enter_to_write(store, why);
    if (err != PL_OK)
        return err;
    err = store_flush_all(store, why);
    store_leave(store);
    return err;
}

static uint64_t property(struct store *store, size_t slot, const char *name)
{
    uint64_t value = 0;
    rocksdb_property_int_cf(store->db, store->handles[slot], name, &value);
    return value;
}

enum pl_err store_compact(struct store *store, unsigned family)
{
    assert(store_has_family(store, family));
    enum pl_err err = store_enter_to_compact(store, NULL);
    if (err != PL_OK)
        return err;
    /* The call itself reports nothing. */
    uint64_t errors = property(store, 0, "rocksdb.background-errors");
    rocksdb_compactoptions_t *options = rocksdb_compactoptions_create();
    rocksdb_compactoptions_set_bottommost_level_compaction(options, FORCE_BOTTOMMOST_ONCE);
    rocksdb_compact_range_cf_opt(store->db, store_handle(store, family), options, NULL, 0, NULL, 0);
    rocksdb_compactoptions_destroy(options);
    if (property(store, 0, "rocksdb.background-errors") != errors)
        err = PL_EIO;
    store_leave(store);
    return err;
}

enum pl_err store_checkpoint(struct store *store, const char *path, struct pl_why *why)
{
    if (pl_file_exists(path))
        return pl_fail(why, PL_EEXISTS,
                       "cannot copy the store in %s to %s: that exists already; name a new "
                       "directory",
                       store->path, path);
    enum pl_err err = store_enter(store, why);
    if (err != PL_OK)
        return err;
    char *message = NULL;
    rocksdb_checkpoint_t *checkpoint = rocksdb_checkpoint_object_create(store->db, &message);
    if (message == NULL) {
        rocksdb_checkpoint_create(checkpoint, path, 0, &message);
        rocksdb_checkpoint_object_destroy(checkpoint);
    }
    err = store_error_take(store, message, "copy", why);
    store_leave(store);
    return err;
}

/* The engine counts its tables, but not its logs. */
static uint64_t log_bytes(const char *path)
{
    uint64_t bytes = 0;
    DIR *dir = opendir(path);
    if (dir == NULL)
        return 0;
    const struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        size_t len = strlen(entry->d_name);
        struct stat st;
        if (len > 4 && strcmp(entry->d_name + len - 4, ".log") == 0 &&
            fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
            bytes += (uint64_t)st.st_size;
    }
    closedir(dir);
    return bytes;
}

void store_usage(struct store *store, struct store_usage *out)
{
    *out = (struct store_usage){.failed = atomic_load(&store->failed)};
    if (store_enter(store, NULL) != PL_OK)
        return;
    for (size_t i = 0; i < store->slot_count; i++) {
        out->disk_bytes += property(store, i, "rocksdb.total-sst-files-size");
        out->memory_bytes += property(store, i, "rocksdb.size-all-mem-tables") +
                             property(store, i, "rocksdb.estimate-table-readers-mem");
    }
    out->disk_bytes += log_bytes(store->path);
    out->memory_bytes += rocksdb_cache_get_usage(store->cache);
    store_leave(store);
}
