/*
 * internal: what the files of this room share. Nobody outside proto/store includes it.
 */
#ifndef POLDER_PROTO_STORE_INTERNAL_H
#define POLDER_PROTO_STORE_INTERNAL_H

#include "proto/store/store.h"

#include <pthread.h>
#include <rocksdb/c.h>
#include <stdatomic.h>

/* Everybody shares the database, except for the moment in which it is closed and opened anew. A
 * plain readers-writer lock won't do: a thread that holds a scan and then reads would wait for
 * the waiting recovery, which waits for the scan. So a waiting recovery holds newcomers back only
 * once no scan is open, and nobody may open another scan meanwhile. */
struct store_gate {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    unsigned calls;   /* inside the engine now */
    unsigned scans;   /* open */
    unsigned waiting; /* want the engine alone */
    bool alone;       /* somebody has it */
};

enum pl_err store_gate_init(struct store_gate *gate);
void store_gate_release(struct store_gate *gate);
void store_gate_enter(struct store_gate *gate);
void store_gate_leave(struct store_gate *gate);
enum pl_err store_gate_enter_scan(struct store_gate *gate);
void store_gate_leave_scan(struct store_gate *gate);
void store_gate_enter_alone(struct store_gate *gate);
void store_gate_leave_alone(struct store_gate *gate);
/* Returns when a scan has ended, or after timeout_ms, or for no reason. */
void store_gate_wait_scan(struct store_gate *gate, int64_t timeout_ms);

struct store_family_slot {
    char *name;
    size_t prefix_bytes, run_bytes;
    rocksdb_options_t *options;
};

struct store {
    struct store_gate gate;
    char *path;
    const struct pl_log *log;
    enum store_recovery recovery;

    /* Slot 0 is RocksDB's mandatory "default" family: ours, for probes and version edits. Family
     * i of the caller is slot i + 1. */
    struct store_family_slot *slots;
    size_t slot_count;
    rocksdb_options_t *options;
    rocksdb_cache_t *cache;
    rocksdb_readoptions_t *read_options;
    rocksdb_writeoptions_t *write_options, *sync_options;

    /* Change only while the gate is held alone. NULL after a recovery that could not reopen. */
    rocksdb_t *db;
    rocksdb_column_family_handle_t **handles;

    bool quarantine; /* a table is rotten: no compaction may meet it */

    atomic_bool failed, log_rotten;
    struct pl_why failure; /* the gate's mutex guards it */
    atomic_uint_fast64_t read_errors;
    atomic_uint purges; /* under way */
};

/* Enters the gate; PL_ECLOSED when there is no database behind it. */
enum pl_err store_enter(struct store *store, struct pl_why *why);
/* As store_enter, and refuses after a failed write. */
enum pl_err store_enter_to_write(struct store *store, struct pl_why *why);
/* As store_enter_to_write, and refuses in quarantine. */
enum pl_err store_enter_to_compact(struct store *store, struct pl_why *why);
static inline void store_leave(struct store *store)
{
    store_gate_leave(&store->gate);
}

static inline rocksdb_column_family_handle_t *store_handle(struct store *store, unsigned family)
{
    return store->handles[family + 1];
}
static inline bool store_has_family(const struct store *store, unsigned family)
{
    return (size_t)family + 1 < store->slot_count;
}

/* What store_family.run_bytes promises of the beginnings of deleted ranges. */
static inline bool store_may_begin(const struct store *store, unsigned family, struct pl_span from)
{
    size_t run_bytes = store->slots[family + 1].run_bytes;
    return run_bytes == 0 || from.len < run_bytes;
}

#define STORE_BAD_BEGINNING "a range of this family must begin with fewer bytes than its runs share"

/* RocksDB takes a NULL pointer for "no key". */
static inline const char *store_chars(struct pl_span span)
{
    return span.data == NULL ? "" : (const char *)span.data;
}

/* What RocksDB's text says in our vocabulary. */
enum pl_err store_error_class(const char *message);
/* Frees message, fills why; PL_OK for NULL. doing completes "cannot ...". */
enum pl_err store_error_take(struct store *store, char *message, const char *doing,
                             struct pl_why *why);
/* As above for a write: the store refuses further ones. */
enum pl_err store_error_take_write(struct store *store, char *message, const char *doing,
                                   struct pl_why *why);
/* As above for a read, which has no why: the log gets the sentence. */
enum pl_err store_error_take_read(struct store *store, char *message);

/* Fill options, slots[].options, cache and the read and write options from the config. */
void store_options_build(struct store *store, const struct store_config *config);
void store_options_drop(struct store *store);

/* Large files that the engine is about to remove (remains.c). A second name for one of them, for
 * store_remains_free to find. */
void store_remains_keep(const struct store *store, const char *name);
/* Frees those that the engine has removed; those that it still has only lose their second name,
 * once no purge is under way. */
enum pl_err store_remains_free(const struct store *store, struct pl_why *why);

/* The gate must be held. */
enum pl_err store_flush_all(struct store *store, struct pl_why *why);
/* Writes and syncs a key of our own. */
enum pl_err store_probe(struct store *store, struct pl_why *why);

#endif
