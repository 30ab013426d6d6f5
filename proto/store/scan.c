#include "proto/store/internal.h"

#include <assert.h>
#include <stdlib.h>

#define BOUND_MAX_BYTES (64 * 1024)

struct store_scan {
    struct store *store;
    rocksdb_readoptions_t *options;
    rocksdb_iterator_t *iterator;
    struct pl_buf upper; /* the iterator refers to it */
    struct pl_buf from;
    bool fresh;      /* positioned, and the entry not yet given out */
    enum pl_err end; /* why it stopped; PL_OK while it runs */
};

enum pl_err store_prefix_end(struct pl_span prefix, struct pl_buf *out)
{
    size_t len = prefix.len;
    while (len > 0 && prefix.data[len - 1] == 0xff)
        len--;
    if (len == 0)
        return PL_ENOTFOUND;
    enum pl_err err = pl_buf_append(out, prefix.data, len);
    if (err == PL_OK)
        out->data[out->len - 1]++;
    return err;
}

/* Whether every key of [from, to) starts with from's first prefix_bytes bytes: only then may the
 * prefix filters pass over whole tables. */
static bool within_prefix(size_t prefix_bytes, struct pl_span from, struct pl_span to)
{
    if (prefix_bytes == 0 || from.len < prefix_bytes || to.len == 0)
        return false;
    struct pl_span prefix = pl_span(from.data, prefix_bytes);
    if (pl_span_starts(to, prefix))
        return true;
    struct pl_buf end;
    pl_buf_init(&end, BOUND_MAX_BYTES);
    bool within = store_prefix_end(prefix, &end) == PL_OK && pl_span_eq(pl_buf_span(&end), to);
    pl_buf_release(&end);
    return within;
}

static void set_options(struct store_scan *scan, const struct store_family_slot *slot,
                        struct pl_span from, struct pl_span to)
{
    bool within = within_prefix(slot->prefix_bytes, from, to);
    rocksdb_readoptions_set_total_order_seek(scan->options, !within);
    rocksdb_readoptions_set_prefix_same_as_start(scan->options, within);
    /* A long scan reads each block once: it must not push out what point reads live on. */
    rocksdb_readoptions_set_fill_cache(scan->options, within);
    if (to.len > 0)
        rocksdb_readoptions_set_iterate_upper_bound(scan->options, (const char *)scan->upper.data,
                                                    scan->upper.len);
}

enum pl_err store_scan_new(struct store_scan **out, struct store *store, unsigned family,
                           struct pl_span from, struct pl_span to)
{
    assert(store_has_family(store, family));
    struct store_scan *scan = calloc(1, sizeof(*scan));
    if (scan == NULL)
        return PL_ENOMEM;
    scan->store = store;
    pl_buf_init(&scan->upper, BOUND_MAX_BYTES);
    pl_buf_init(&scan->from, BOUND_MAX_BYTES);
    enum pl_err err = pl_buf_append_span(&scan->upper, to);
    if (err == PL_OK)
        err = pl_buf_append_span(&scan->from, from);
    if (err == PL_OK)
        err = store_gate_enter_scan(&store->gate);
    if (err != PL_OK)
        goto fail;
    if (store->db == NULL) {
        store_gate_leave_scan(&store->gate);
        err = PL_ECLOSED;
        goto fail;
    }
    scan->options = rocksdb_readoptions_create();
    set_options(scan, &store->slots[family + 1], from, to);
    scan->iterator =
        rocksdb_create_iterator_cf(store->db, scan->options, store_handle(store, family));
    store_scan_seek(scan, from);
    *out = scan;
    return PL_OK;
fail:
    pl_buf_release(&scan->upper);
    pl_buf_release(&scan->from);
    free(scan);
    return err;
}

void store_scan_seek(struct store_scan *scan, struct pl_span key)
{
    struct pl_span from = pl_buf_span(&scan->from);
    if (pl_span_cmp(key, from) < 0)
        key = from;
    rocksdb_iter_seek(scan->iterator, store_chars(key), key.len);
    scan->fresh = true;
    scan->end = PL_OK;
}

enum pl_err store_scan_next(struct store_scan *scan, struct pl_span *key, struct pl_span *value)
{
    if (scan->end != PL_OK)
        return scan->end;
    if (!scan->fresh)
        rocksdb_iter_next(scan->iterator);
    scan->fresh = false;
    if (!rocksdb_iter_valid(scan->iterator)) {
        /* An iterator stops at a rotten block just as it does at the end: only its status
         * tells the two apart. */
        char *message = NULL;
        rocksdb_iter_get_error(scan->iterator, &message);
        scan->end = message == NULL ? PL_ENOTFOUND : store_error_take_read(scan->store, message);
        return scan->end;
    }
    size_t len;
    const char *data = rocksdb_iter_key(scan->iterator, &len);
    *key = pl_span(data, len);
    data = rocksdb_iter_value(scan->iterator, &len);
    *value = pl_span(data, len);
    return PL_OK;
}

void store_scan_free(struct store_scan *scan)
{
    if (scan == NULL)
        return;
    /* Unlinks the tables that only this scan kept, before anybody is told that it ended. */
    rocksdb_iter_destroy(scan->iterator);
    rocksdb_readoptions_destroy(scan->options);
    store_gate_leave_scan(&scan->store->gate);
    pl_buf_release(&scan->upper);
    pl_buf_release(&scan->from);
    free(scan);
}
