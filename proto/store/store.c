#include "proto/store/internal.h"

#include "proto/base/file.h"

#include <assert.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

static const struct pl_span probe_key = PL_SPAN_INIT("probe");

static enum pl_err check_config(const struct store_config *config, struct pl_why *why)
{
    if (config->family_count == 0 || config->family_count > 64)
        return pl_fail(why, PL_EINVAL, "a store has 1 to 64 families, not %zu",
                       config->family_count);
    if (config->background_threads == 0 || config->background_threads > 64)
        return pl_fail(why, PL_EINVAL, "a store has 1 to 64 background threads, not %u",
                       config->background_threads);
    if (config->write_buffer_bytes < 1 << 20)
        return pl_fail(why, PL_EINVAL, "a store needs at least 1 MiB of write buffer");
    for (size_t i = 0; i < config->family_count; i++)
        if (strcmp(config->families[i].name, "default") == 0)
            return pl_fail(why, PL_EINVAL, "the family name \"default\" is the store's own");
    return PL_OK;
}

static void free_store(struct store *store)
{
    store_options_drop(store);
    for (size_t i = 0; i < store->slot_count; i++)
        free(store->slots[i].name);
    free(store->slots);
    free(store->handles);
    free(store->path);
    store_gate_release(&store->gate);
    free(store);
}

static enum pl_err new_store(struct store **out, const struct store_config *config)
{
    struct store *store = calloc(1, sizeof(*store));
    if (store == NULL)
        return PL_ENOMEM;
    enum pl_err err = store_gate_init(&store->gate);
    if (err != PL_OK) {
        free(store);
        return err;
    }
    store->log = config->log;
    store->recovery = config->recovery;
    atomic_init(&store->failed, false);
    atomic_init(&store->log_rotten, false);
    atomic_init(&store->read_errors, 0);
    store->path = strdup(config->path);
    store->slots = calloc(config->family_count + 1, sizeof(*store->slots));
    store->handles = calloc(config->family_count + 1, sizeof(store->handles[0]));
    if (store->path == NULL || store->slots == NULL || store->handles == NULL)
        goto out_of_memory;
    store->slot_count = config->family_count + 1;
    for (size_t i = 0; i < store->slot_count; i++) {
        const struct store_family *family = i == 0 ? NULL : &config->families[i - 1];
        store->slots[i].name = strdup(family == NULL ? "default" : family->name);
        if (store->slots[i].name == NULL)
            goto out_of_memory;
        if (family == NULL)
            continue;
        store->slots[i].prefix_bytes = family->prefix_bytes;
        store->slots[i].run_bytes = family->run_bytes;
    }
    store_options_build(store, config);
    *out = store;
    return PL_OK;
out_of_memory:
    free_store(store);
    return PL_ENOMEM;
}

/* "000004.log, 000007.log": where a rotten log record must be. */
static void list_logs(const struct store *store, char *out, size_t out_size)
{
    DIR *dir = opendir(store->path);
    size_t used = 0;
    *out = '\0';
    if (dir == NULL)
        return;
    const struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        size_t len = strlen(entry->d_name);
        if (len <= 4 || strcmp(entry->d_name + len - 4, ".log") != 0 || used + len + 3 > out_size)
            continue;
        used += (size_t)sprintf(out + used, "%s%s", used == 0 ? "" : ", ", entry->d_name);
    }
    closedir(dir);
}

static enum pl_err explain_open(struct store *store, char *message, struct pl_why *why)
{
    char logs[128];
    /* Tables and manifests are named by the engine; of logs it tells only what is wrong. */
    if (store_error_class(message) != PL_ECORRUPT || strstr(message, ".sst") != NULL ||
        strstr(message, "MANIFEST") != NULL || strstr(message, "CURRENT") != NULL)
        return store_error_take(store, message, "open", why);
    list_logs(store, logs, sizeof(logs));
    if (*logs == '\0')
        return store_error_take(store, message, "open", why);
    pl_fail(why, PL_ECORRUPT,
            "cannot open the store in %s: a log (%s) has a record that is not what was written "
            "(%.100s); restore the store from a backup, or open it once in the mode that skips "
            "corrupt records and accept their loss",
            store->path, logs, message);
    rocksdb_free(message);
    return PL_ECORRUPT;
}

static enum pl_err open_database(struct store *store, struct pl_why *why);

/* Who copes with holes must still know that there may be one: what is rotten at a log's end has
 * nothing behind it that would tell. */
static enum pl_err open_readable(struct store *store, struct pl_why *why)
{
    enum pl_err err = open_database(store, why);
    if (err != PL_ECORRUPT || store->recovery != STORE_RECOVER_SKIP_CORRUPT)
        return err;
    rocksdb_options_set_wal_recovery_mode(store->options,
                                          rocksdb_skip_any_corrupted_records_recovery);
    err = open_database(store, why);
    if (err != PL_OK)
        return err;
    atomic_store(&store->log_rotten, true);
    pl_log(store->log, PL_LOG_ERROR, "store",
           "a log in %s has a record that is not what was written; it was read without it",
           store->path);
    return PL_OK;
}

static enum pl_err open_database(struct store *store, struct pl_why *why)
{
    char *message = NULL;
    const char **names = calloc(store->slot_count, sizeof(names[0]));
    const rocksdb_options_t **options = calloc(store->slot_count, sizeof(options[0]));
    if (names == NULL || options == NULL) {
        free(names);
        free(options);
        return pl_fail(why, PL_ENOMEM, "no memory to open the store in %s", store->path);
    }
    for (size_t i = 0; i < store->slot_count; i++) {
        names[i] = store->slots[i].name;
        options[i] = store->slots[i].options;
    }
    store->db = rocksdb_open_column_families(store->options, store->path, (int)store->slot_count,
                                             names, options, store->handles, &message);
    free(names);
    free(options);
    return message == NULL ? PL_OK : explain_open(store, message, why);
}

static void close_database(struct store *store)
{
    if (store->db == NULL)
        return;
    for (size_t i = 0; i < store->slot_count; i++) {
        rocksdb_column_family_handle_destroy(store->handles[i]);
        store->handles[i] = NULL;
    }
    rocksdb_close(store->db);
    store->db = NULL;
}

enum pl_err store_open(struct store **out, const struct store_config *config, struct pl_why *why)
{
    struct store *store = NULL;
    enum pl_err err = check_config(config, why);
    if (err == PL_OK)
        err = pl_dir_make(config->path, 0700, why);
    if (err != PL_OK)
        return err;
    err = new_store(&store, config);
    if (err != PL_OK)
        return pl_fail(why, err, "no memory for the store in %s", config->path);
    err = open_readable(store, why);
    if (err != PL_OK) {
        free_store(store);
        return err;
    }
    /* Of a purge that a crash has ended. The next one says what is in its way. */
    (void)store_remains_free(store, NULL);
    *out = store;
    return PL_OK;
}

void store_close(struct store *store)
{
    if (store == NULL)
        return;
    assert(store->gate.scans == 0);
    store_gate_enter_alone(&store->gate);
    close_database(store);
    store_gate_leave_alone(&store->gate);
    free_store(store);
}

enum pl_err store_probe(struct store *store, struct pl_why *why)
{
    char *message = NULL;
    rocksdb_put_cf(store->db, store->sync_options, store->handles[0], store_chars(probe_key),
                   probe_key.len, "", 0, &message);
    return store_error_take_write(store, message, "write to", why);
}

/* Reopening writes a table for what only the log has. Where that cannot fit, leave the database
 * open: its reads still work. */
static enum pl_err check_room(struct store *store, struct pl_why *why)
{
    uint64_t free_bytes, need_bytes = 256 * 1024;
    for (size_t i = 0; i < store->slot_count; i++) {
        uint64_t bytes = 0;
        rocksdb_property_int_cf(store->db, store->handles[i], "rocksdb.cur-size-all-mem-tables",
                                &bytes);
        need_bytes += bytes;
    }
    enum pl_err err = pl_disk_free(store->path, &free_bytes, why);
    if (err == PL_OK && free_bytes < need_bytes)
        err = pl_fail(why, PL_ENOSPC,
                      "the store in %s needs %llu bytes of free room to recover and has %llu",
                      store->path, (unsigned long long)need_bytes, (unsigned long long)free_bytes);
    return err;
}

/* A compaction that meets a rotten block stops all writes, and would do so again after every
 * recovery. A caller that copes with holes goes on without compactions: what it deletes stays on
 * the disk, but what it is given gets through. */
static void enter_quarantine(struct store *store)
{
    if (store->quarantine)
        return;
    store->quarantine = true;
    for (size_t i = 0; i < store->slot_count; i++)
        rocksdb_options_set_disable_auto_compactions(store->slots[i].options, 1);
    pl_log(store->log, PL_LOG_ERROR, "store",
           "compactions are off until the next start, because a table is rotten; deleted entries "
           "keep their room path=%s",
           store->path);
}

static enum pl_err reopen(struct store *store, struct pl_why *why)
{
    enum pl_err err = PL_OK;
    if (store->failure.err == PL_ECORRUPT && store->recovery == STORE_RECOVER_SKIP_CORRUPT)
        enter_quarantine(store);
    if (store->db != NULL) {
        err = check_room(store, why);
        if (err != PL_OK)
            return err;
        close_database(store);
    }
    err = open_readable(store, why);
    if (err == PL_OK)
        err = store_probe(store, why);
    if (err != PL_OK)
        return err;
    atomic_store(&store->failed, false);
    pl_log(store->log, PL_LOG_INFO, "store", "recovered path=%s", store->path);
    return PL_OK;
}

bool store_log_was_rotten(const struct store *store)
{
    return atomic_load(&store->log_rotten);
}

enum pl_err store_recover(struct store *store, struct pl_why *why)
{
    if (!atomic_load(&store->failed))
        return PL_OK;
    enum pl_err err = PL_OK;
    store_gate_enter_alone(&store->gate);
    if (atomic_load(&store->failed)) /* else another thread was faster */
        err = reopen(store, why);
    store_gate_leave_alone(&store->gate);
    return err;
}
