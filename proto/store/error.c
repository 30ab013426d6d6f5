#include "proto/store/internal.h"

/* RocksDB's C face gives errors as text only: "CLASS: details". The first match wins, so the
 * causes an operator can act on stand before the classes. */
static const struct {
    const char *text;
    bool anywhere; /* else at the beginning */
    enum pl_err err;
} error_texts[] = {
    {"No space left on device", true, PL_ENOSPC},
    {"Disk quota exceeded", true, PL_ENOSPC},
    {"File too large", true, PL_ENOSPC}, /* RLIMIT_FSIZE, or the file system's own limit */
    {"Permission denied", true, PL_EDENIED},
    {"Read-only file system", true, PL_EDENIED},
    {"lock hold by current process", true, PL_EEXISTS},
    {"While lock file", true, PL_EEXISTS},
    {"Corruption", false, PL_ECORRUPT},
    {"No such file or directory", true, PL_ECORRUPT}, /* what the MANIFEST names is not there */
    {"NotFound", false, PL_ENOTFOUND},
    {"Not implemented", false, PL_EUNSUPPORTED},
    {"Column families not opened", true, PL_EUNSUPPORTED},
    {"Invalid argument", false, PL_EINVAL},
    {"Shutdown in progress", false, PL_ECLOSED},
    {"Operation timed out", false, PL_ETIMEDOUT},
    {"Resource busy", false, PL_EAGAIN},
    {"Operation aborted", false, PL_EAGAIN},
    {"Operation failed. Try again.", false, PL_EAGAIN},
};

enum pl_err store_error_class(const char *message)
{
    for (size_t i = 0; i < sizeof(error_texts) / sizeof(error_texts[0]); i++) {
        const char *at = strstr(message, error_texts[i].text);
        if (at != NULL && (error_texts[i].anywhere || at == message))
            return error_texts[i].err;
    }
    return PL_EIO;
}

static const char *advice(enum pl_err err)
{
    switch (err) {
    case PL_ENOSPC:
        return "; free room on that file system or raise the file size limit";
    case PL_EDENIED:
        return "; the directory and its files must belong to the user this process runs as";
    case PL_EEXISTS:
        return "; another process has it open: stop that one, or give this one its own directory";
    case PL_ECORRUPT:
        return "; restore it from a backup, or from its other copy";
    case PL_EUNSUPPORTED:
        return "; a newer version has written it: run that version";
    case PL_EIO:
        return "; look at the disk and the kernel's log";
    default:
        return "";
    }
}

enum pl_err store_error_take(struct store *store, char *message, const char *doing,
                             struct pl_why *why)
{
    if (message == NULL)
        return PL_OK;
    enum pl_err err = store_error_class(message);
    pl_fail(why, err, "cannot %s the store in %s: %.300s%s", doing, store->path, message,
            advice(err));
    rocksdb_free(message);
    return err;
}

enum pl_err store_error_take_write(struct store *store, char *message, const char *doing,
                                   struct pl_why *why)
{
    struct pl_why mine;
    if (message == NULL)
        return PL_OK;
    enum pl_err err = store_error_take(store, message, doing, &mine);
    /* The caller's mistake leaves the engine as it was. */
    if (err != PL_EINVAL) {
        pthread_mutex_lock(&store->gate.mutex);
        if (!atomic_load(&store->failed)) {
            store->failure = mine;
            atomic_store(&store->failed, true);
            pl_log(store->log, PL_LOG_ERROR, "store", "%s", mine.text);
        }
        pthread_mutex_unlock(&store->gate.mutex);
    }
    if (why != NULL)
        *why = mine;
    return err;
}

enum pl_err store_error_take_read(struct store *store, char *message)
{
    struct pl_why why;
    if (message == NULL)
        return PL_OK;
    enum pl_err err = store_error_take(store, message, "read", &why);
    /* A rotten block is met again and again: the first and every doubling is said. */
    uint64_t count = atomic_fetch_add(&store->read_errors, 1) + 1;
    if ((count & (count - 1)) == 0)
        pl_log(store->log, PL_LOG_ERROR, "store", "%s read_errors=%llu", why.text,
               (unsigned long long)count);
    return err;
}

enum pl_err store_enter(struct store *store, struct pl_why *why)
{
    store_gate_enter(&store->gate);
    if (store->db == NULL) {
        store_gate_leave(&store->gate);
        return pl_fail(why, PL_ECLOSED,
                       "the store in %s is closed since it could not be reopened after a failure",
                       store->path);
    }
    return PL_OK;
}

enum pl_err store_enter_to_write(struct store *store, struct pl_why *why)
{
    enum pl_err err = store_enter(store, why);
    if (err != PL_OK || !atomic_load(&store->failed))
        return err;
    store_leave(store);
    pthread_mutex_lock(&store->gate.mutex);
    struct pl_why failure = store->failure;
    pthread_mutex_unlock(&store->gate.mutex);
    return pl_fail(why, failure.err, "writes are refused since an earlier one failed: %s",
                   failure.text);
}

enum pl_err store_enter_to_compact(struct store *store, struct pl_why *why)
{
    enum pl_err err = store_enter_to_write(store, why);
    if (err != PL_OK || !store->quarantine)
        return err;
    store_leave(store);
    return pl_fail(why, PL_ECORRUPT,
                   "the store in %s has a rotten table and is not compacted: read it empty, then "
                   "remove the directory while nobody has it open",
                   store->path);
}
