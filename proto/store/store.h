/*
 * store: ordered keys in named families, atomic batches, and ranges that can be dropped for good;
 * the only room that knows RocksDB.
 *
 * Promise: a batch is applied whole or not at all; after a write with sync (or store_sync) it
 * survives power loss. Keys order as bytes. The seam is kept narrow enough for a second engine:
 * no snapshots across families, no merge operators, no transactions. Every call may block on the
 * disk and may come from any thread; never call from an HTTP loop. After a failed write the store
 * refuses writes until store_recover succeeds; reads go on. A write that has failed may yet turn
 * up after the recovery, whole: it was refused, not undone. Family numbers out of range are bugs
 * and asserted.
 */
#ifndef POLDER_PROTO_STORE_STORE_H
#define POLDER_PROTO_STORE_STORE_H

#include "proto/base/buf.h"
#include "proto/base/log.h"

struct store;
struct store_batch;
struct store_scan;

enum store_recovery {
    STORE_RECOVER_TORN_TAIL,   /* a torn last record is dropped, anything else refused */
    STORE_RECOVER_SKIP_CORRUPT /* corrupt log records are skipped: the caller finds the holes, but
                                  for what followed the last readable one: store_log_was_rotten */
};

struct store_family {
    const char *name;    /* not "default", which is the store's own; never renamed, never removed */
    size_t prefix_bytes; /* > 0: keys of at least this length get a prefix bloom filter */
    size_t run_bytes;    /* > 0: batches hold runs of keys, in order, with so many first bytes in
                            common; they are inserted faster. Ranges of the family that are deleted
                            or purged must begin with fewer bytes than that */
    bool point_reads;    /* whole-key bloom filter, in tables and in memory */
    bool short_lived;    /* values are deleted soon, most of them before they leave memory */
    bool compress;       /* zstd on tables; pointless for sealed values */
};

struct store_config {
    const char *path;                    /* created, mode 0700, when missing */
    const struct store_family *families; /* handles are indexes into this table */
    size_t family_count;
    enum store_recovery recovery;
    size_t cache_bytes;          /* blocks, indexes and filters of all families */
    size_t write_buffer_bytes;   /* >= 1 MiB: unflushed writes of all families; half as much again
                                    while a flush is under way */
    unsigned background_threads; /* for flushing and compacting; shared within the process */
    const struct pl_log *log;
};

/* PL_EEXISTS when another process, or this one, has it open; PL_ECORRUPT names the file and says
 * what can be done; PL_EUNSUPPORTED when it has families that are not in the table. The table and
 * its names may go after the call; the log may not. */
enum pl_err store_open(struct store **out, const struct store_config *config, struct pl_why *why);
void store_close(struct store *store); /* no scan may be open; NULL is fine */
/* After PL_ENOSPC, PL_EIO or (with STORE_RECOVER_SKIP_CORRUPT, where it turns compactions off: a
 * rotten table would stop the next one, too) PL_ECORRUPT from a write: reopens in place and proves
 * it with a synced write; PL_OK at once when nothing has failed. Waits for open scans to end, so
 * the caller must hold none. PL_ENOSPC while there is less room than the unflushed writes need (up
 * to write_buffer_bytes), and deletes are refused until then like any write: a node that wants to
 * free room by deleting stops writing before the disk is full. Should reopening itself fail, every
 * call returns PL_ECLOSED until a later store_recover succeeds. */
enum pl_err store_recover(struct store *store, struct pl_why *why);

/* Appends the value to out. PL_ENOTFOUND; PL_ECORRUPT for a block that fails its checksum. */
enum pl_err store_get(struct store *store, unsigned family, struct pl_span key, struct pl_buf *out);
/* Which of the keys exist (sorted keys are fastest): found[i]; the values, when values is not
 * NULL, are appended to *values at the offset and length that found[i] tells. The keys are not
 * read at one moment: a concurrent write may be seen in part. On failure found is unspecified and
 * *values as before. */
struct store_found {
    bool found;
    size_t value_offset, value_len;
};
enum pl_err store_get_many(struct store *store, unsigned family, const struct pl_span *keys,
                           size_t count, struct store_found *found, struct pl_buf *values);

#define STORE_BATCH_MAX_BYTES (64 * 1024 * 1024) /* keys and values together */
/* A batch is single-owner. The first operation that cannot be added spoils it: store_write says
 * why, store_batch_clear makes it good again. */
enum pl_err store_batch_new(struct store_batch **out);
void store_batch_free(struct store_batch *batch);
void store_batch_clear(struct store_batch *batch);
void store_batch_put(struct store_batch *batch, struct store *store, unsigned family,
                     struct pl_span key, struct pl_span value);
void store_batch_delete(struct store_batch *batch, struct store *store, unsigned family,
                        struct pl_span key);
/* [from, to); see run_bytes. */
void store_batch_delete_range(struct store_batch *batch, struct store *store, unsigned family,
                              struct pl_span from, struct pl_span to);
size_t store_batch_bytes(const struct store_batch *batch);
/* sync: on disk when this returns. Without: in order with other writes, on disk with the next
 * synced one. */
enum pl_err store_write(struct store *store, struct store_batch *batch, bool sync,
                        struct pl_why *why);
enum pl_err store_put(struct store *store, unsigned family, struct pl_span key,
                      struct pl_span value, bool sync, struct pl_why *why);
enum pl_err store_sync(struct store *store, struct pl_why *why);

/* Ordered reading of [from, to) (empty `to`: to the end of the family), seeing the store as of
 * the start. A range within one prefix of the family uses its filter. An open scan pins files:
 * keep it for seconds and resume by key. PL_EAGAIN while a recovery waits for other scans. */
enum pl_err store_scan_new(struct store_scan **out, struct store *store, unsigned family,
                           struct pl_span from, struct pl_span to);
/* Views, valid until the next call. PL_ENOTFOUND at the end. PL_ECORRUPT before a block that fails
 * its checksum, and again until store_scan_seek to a key behind it: what lies between is not
 * known to be absent, and point reads say which keys are lost. */
enum pl_err store_scan_next(struct store_scan *scan, struct pl_span *key, struct pl_span *value);
/* Jump to the first key >= key, within the range. */
void store_scan_seek(struct store_scan *scan, struct pl_span key);
void store_scan_free(struct store_scan *scan);

/* Smallest key greater than every key that starts with prefix; PL_ENOTFOUND when there is none
 * (all 0xff). For the upper end of a prefix range. */
enum pl_err store_prefix_end(struct pl_span prefix, struct pl_buf *out);

/* A piece of a family, [from, to), for store_purge. */
struct store_range {
    unsigned family;
    struct pl_span from, to;
    bool settle; /* what stands in it stays: only what was deleted from it before has to go */
};
/* Remove the ranges physically: they are dropped in one synced write, every family flushed, the
 * ranges compacted to the bottom, logs and tables that held them observed gone, the MANIFEST
 * rolled. Their room is freed piece by piece: syncs of others do not wait for it. Nobody may write
 * into a range meanwhile, except into one that is only settled. Open scans that pin one make it
 * fail with PL_EAGAIN after timeout_ms of waiting (work is not counted); the keys are logically
 * gone by then, and another call finishes the rest. Any older table that any scan keeps counts,
 * also one of another range: an outdated table does not tell what it held. PL_EIO when a range
 * could not be compacted, most likely for lack of room. Takes seconds. Blocks freed by the file
 * system are not overwritten. */
enum pl_err store_purge(struct store *store, const struct store_range *ranges, size_t count,
                        int64_t timeout_ms, struct pl_why *why);
/* One range of it. */
enum pl_err store_purge_range(struct store *store, unsigned family, struct pl_span from,
                              struct pl_span to, int64_t timeout_ms, struct pl_why *why);
/* What was deleted from the range, key by key, before the call is physically gone after it: as
 * store_purge_range, but what stands in the range stays, writes into it may go on, and it may
 * begin as it likes. */
enum pl_err store_settle_range(struct store *store, unsigned family, struct pl_span from,
                               struct pl_span to, int64_t timeout_ms, struct pl_why *why);
/* For tests and benchmarks: every family's unflushed writes into tables. */
enum pl_err store_flush(struct store *store, struct pl_why *why);
/* For tests and benchmarks: compacts a family whole; PL_EIO when it could not be done, PL_ECORRUPT
 * when compactions are off.
 */
enum pl_err store_compact(struct store *store, unsigned family);
/* For tests: a consistent copy (hard links on the same file system) in a new directory. PL_EEXISTS
 * when the path is there already. */
enum pl_err store_checkpoint(struct store *store, const char *path, struct pl_why *why);

/* Whether a log could only be read by skipping what is corrupt: since store_open, any recovery
 * included. Then what was written shortly before it was last closed may be missing, without a hole
 * that shows. Any thread. */
bool store_log_was_rotten(const struct store *store);

struct store_usage {
    uint64_t disk_bytes;   /* tables and logs on disk */
    uint64_t memory_bytes; /* memtables and cache */
    bool failed;           /* writes are refused until store_recover */
};
void store_usage(struct store *store, struct store_usage *out);

#endif
