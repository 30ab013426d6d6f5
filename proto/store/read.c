#include "proto/store/internal.h"

#include <assert.h>

/* Bounds the arrays on the stack; the engine looks up 32 keys at a time anyway. */
#define MANY_KEYS 256

enum pl_err store_get(struct store *store, unsigned family, struct pl_span key, struct pl_buf *out)
{
    assert(store_has_family(store, family));
    enum pl_err err = store_enter(store, NULL);
    if (err != PL_OK)
        return err;
    char *message = NULL;
    rocksdb_pinnableslice_t *value =
        rocksdb_get_pinned_cf(store->db, store->read_options, store_handle(store, family),
                              store_chars(key), key.len, &message);
    if (message != NULL) {
        err = store_error_take_read(store, message);
    } else if (value == NULL) {
        err = PL_ENOTFOUND;
    } else {
        size_t len;
        const char *data = rocksdb_pinnableslice_value(value, &len);
        err = pl_buf_append(out, data, len);
    }
    if (value != NULL)
        rocksdb_pinnableslice_destroy(value);
    store_leave(store);
    return err;
}

static enum pl_err take_value(rocksdb_pinnableslice_t *slice, struct store_found *found,
                              struct pl_buf *values)
{
    *found = (struct store_found){.found = true};
    if (values == NULL)
        return PL_OK;
    const char *data = rocksdb_pinnableslice_value(slice, &found->value_len);
    found->value_offset = values->len;
    return pl_buf_append(values, data, found->value_len);
}

static bool is_sorted(const struct pl_span *keys, size_t count)
{
    for (size_t i = 1; i < count; i++)
        if (pl_span_cmp(keys[i - 1], keys[i]) > 0)
            return false;
    return true;
}

static enum pl_err get_chunk(struct store *store, unsigned family, const struct pl_span *keys,
                             size_t count, struct store_found *found, struct pl_buf *values)
{
    const char *data[MANY_KEYS];
    size_t lens[MANY_KEYS];
    rocksdb_pinnableslice_t *slices[MANY_KEYS];
    char *messages[MANY_KEYS];
    enum pl_err err = PL_OK;

    for (size_t i = 0; i < count; i++) {
        data[i] = store_chars(keys[i]);
        lens[i] = keys[i].len;
    }
    rocksdb_batched_multi_get_cf(store->db, store->read_options, store_handle(store, family), count,
                                 data, lens, slices, messages, is_sorted(keys, count));
    for (size_t i = 0; i < count; i++) {
        enum pl_err one = store_error_take_read(store, messages[i]);
        if (slices[i] == NULL) {
            found[i] = (struct store_found){.found = false};
        } else {
            if (one == PL_OK && err == PL_OK)
                one = take_value(slices[i], &found[i], values);
            rocksdb_pinnableslice_destroy(slices[i]);
        }
        if (err == PL_OK)
            err = one;
    }
    return err;
}

enum pl_err store_get_many(struct store *store, unsigned family, const struct pl_span *keys,
                           size_t count, struct store_found *found, struct pl_buf *values)
{
    assert(store_has_family(store, family));
    enum pl_err err = store_enter(store, NULL);
    if (err != PL_OK)
        return err;
    size_t before = values == NULL ? 0 : values->len;
    for (size_t i = 0; i < count && err == PL_OK; i += MANY_KEYS) {
        size_t chunk = count - i < MANY_KEYS ? count - i : MANY_KEYS;
        err = get_chunk(store, family, keys + i, chunk, found + i, values);
    }
    if (err != PL_OK && values != NULL)
        values->len = before;
    store_leave(store);
    return err;
}
