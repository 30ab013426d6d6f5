#include "proto/store/internal.h"

#include <assert.h>
#include <stdlib.h>

struct store_batch {
    rocksdb_writebatch_t *ops;
    size_t bytes;
    enum pl_err err; /* of the first operation that could not be added */
};

enum pl_err store_batch_new(struct store_batch **out)
{
    struct store_batch *batch = calloc(1, sizeof(*batch));
    if (batch == NULL)
        return PL_ENOMEM;
    batch->ops = rocksdb_writebatch_create();
    *out = batch;
    return PL_OK;
}

void store_batch_free(struct store_batch *batch)
{
    if (batch == NULL)
        return;
    rocksdb_writebatch_destroy(batch->ops);
    free(batch);
}

void store_batch_clear(struct store_batch *batch)
{
    rocksdb_writebatch_clear(batch->ops);
    batch->bytes = 0;
    batch->err = PL_OK;
}

size_t store_batch_bytes(const struct store_batch *batch)
{
    return batch->bytes;
}

/* A handle is good only inside the gate: a recovery makes new ones. */
static rocksdb_column_family_handle_t *begin_op(struct store_batch *batch, struct store *store,
                                                unsigned family, size_t bytes)
{
    assert(store_has_family(store, family));
    if (batch->err != PL_OK)
        return NULL;
    if (bytes > STORE_BATCH_MAX_BYTES - batch->bytes) {
        batch->err = PL_ELIMIT;
        return NULL;
    }
    batch->err = store_enter(store, NULL);
    if (batch->err != PL_OK)
        return NULL;
    batch->bytes += bytes;
    return store_handle(store, family);
}

void store_batch_put(struct store_batch *batch, struct store *store, unsigned family,
                     struct pl_span key, struct pl_span value)
{
    rocksdb_column_family_handle_t *handle = begin_op(batch, store, family, key.len + value.len);
    if (handle == NULL)
        return;
    rocksdb_writebatch_put_cf(batch->ops, handle, store_chars(key), key.len, store_chars(value),
                              value.len);
    store_leave(store);
}

void store_batch_delete(struct store_batch *batch, struct store *store, unsigned family,
                        struct pl_span key)
{
    rocksdb_column_family_handle_t *handle = begin_op(batch, store, family, key.len);
    if (handle == NULL)
        return;
    rocksdb_writebatch_delete_cf(batch->ops, handle, store_chars(key), key.len);
    store_leave(store);
}

void store_batch_delete_range(struct store_batch *batch, struct store *store, unsigned family,
                              struct pl_span from, struct pl_span to)
{
    /* The engine takes an inverted range as a corrupt record. */
    if (pl_span_cmp(from, to) >= 0)
        return;
    if (batch->err == PL_OK && !store_may_begin(store, family, from))
        batch->err = PL_EINVAL;
    rocksdb_column_family_handle_t *handle = begin_op(batch, store, family, from.len + to.len);
    if (handle == NULL)
        return;
    rocksdb_writebatch_delete_range_cf(batch->ops, handle, store_chars(from), from.len,
                                       store_chars(to), to.len);
    store_leave(store);
}

enum pl_err store_write(struct store *store, struct store_batch *batch, bool sync,
                        struct pl_why *why)
{
    if (batch->err == PL_ELIMIT)
        return pl_fail(why, PL_ELIMIT, "a batch holds at most %zu bytes",
                       (size_t)STORE_BATCH_MAX_BYTES);
    if (batch->err == PL_EINVAL)
        return pl_fail(why, PL_EINVAL, "%s", STORE_BAD_BEGINNING);
    if (batch->err != PL_OK)
        return pl_fail(why, batch->err, "the batch is incomplete: the store in %s was closed",
                       store->path);
    enum pl_err err = store_enter_to_write(store, why);
    if (err != PL_OK)
        return err;
    char *message = NULL;
    rocksdb_write(store->db, sync ? store->sync_options : store->write_options, batch->ops,
                  &message);
    err = store_error_take_write(store, message, "write to", why);
    store_leave(store);
    return err;
}

enum pl_err store_put(struct store *store, unsigned family, struct pl_span key,
                      struct pl_span value, bool sync, struct pl_why *why)
{
    assert(store_has_family(store, family));
    enum pl_err err = store_enter_to_write(store, why);
    if (err != PL_OK)
        return err;
    char *message = NULL;
    rocksdb_put_cf(store->db, sync ? store->sync_options : store->write_options,
                   store_handle(store, family), store_chars(key), key.len, store_chars(value),
                   value.len, &message);
    err = store_error_take_write(store, message, "write to", why);
    store_leave(store);
    return err;
}

enum pl_err store_sync(struct store *store, struct pl_why *why)
{
    enum pl_err err = store_enter_to_write(store, why);
    if (err != PL_OK)
        return err;
    char *message = NULL;
    rocksdb_flush_wal(store->db, 1, &message);
    err = store_error_take_write(store, message, "sync", why);
    store_leave(store);
    return err;
}
