#include "proto/store/internal.h"

#include <stdio.h>
#include <sys/resource.h>

#define KIB UINT64_C(1024)
#define MIB (KIB * KIB)

#define LOG_NOTHING 6 /* past InfoLogLevel::HEADER_LEVEL */

/* 3 saves a hundredth of the bytes it works on and takes a fifth more of compacting. */
#define COMPRESSION_LEVEL 1

#define BLOOM_BITS_PER_KEY 10.0 /* 1 % of absent keys cost a block read */

static size_t clamp(size_t value, size_t low, size_t high)
{
    return value < low ? low : value > high ? high : value;
}

static int bounded_int(uint64_t value)
{
    return value > INT32_MAX ? INT32_MAX : (int)value;
}

/* An open table costs some KiB beside the cache, and a descriptor of which the node needs more
 * for its sockets. */
static int max_open_files(const struct store_config *config)
{
    size_t files = clamp(config->cache_bytes / (64 * KIB), 64, 4096);
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        files = clamp(files, 16, (size_t)limit.rlim_cur / 2 + 16);
    return bounded_int(files);
}

/* Options of which one has no setter in the C face. A library that has forgotten its name leaves
 * it as it was. */
static rocksdb_options_t *options_with(const char *setting)
{
    rocksdb_options_t *plain = rocksdb_options_create();
    rocksdb_options_t *o = rocksdb_options_create();
    char *error = NULL;
    rocksdb_get_options_from_string(plain, setting, o, &error);
    rocksdb_free(error);
    rocksdb_options_destroy(plain);
    return o;
}

static rocksdb_options_t *database_options(const struct store_config *config)
{
    /* A failed write stays failed until store_recover: no resuming behind our back. (A library
     * that does not know the setting resumes by itself, which is no harm.) */
    rocksdb_options_t *o = options_with("max_bgerror_resume_count=0");
    rocksdb_options_set_create_if_missing(o, 1);
    rocksdb_options_set_create_missing_column_families(o, 1);
    /* Without these checks a flush that fails is neither told nor tried again: writers hang. */
    rocksdb_options_set_paranoid_checks(o, 1);
    rocksdb_options_set_wal_recovery_mode(o, rocksdb_tolerate_corrupted_tail_records_recovery);
    rocksdb_options_set_skip_stats_update_on_db_open(o, 1);

    /* Logs: never reused, or a purged record would survive in a recycled file's tail. A family
     * that is seldom written must not pin the logs of the busy ones for long. */
    rocksdb_options_set_recycle_log_file_num(o, 0);
    rocksdb_options_set_max_total_wal_size(o, 4 * (uint64_t)config->write_buffer_bytes);
    /* The MANIFEST keeps the boundary keys of tables long gone. With this size every version
     * edit starts a new one from the state of the moment: four syncs where one would do, about
     * once per flushed write buffer, and no need to reopen for a purge. */
    rocksdb_options_set_max_manifest_file_size(o, 1);
    rocksdb_options_set_manifest_preallocation_size(o, 64 * KIB);
    /* The engine's own LOG stays empty. It would tell keys (the bounds of compactions), and
     * Debian's build, which has its assertions on, aborts at the second line that a full disk
     * refuses. What matters comes back as an error and goes to our log. */
    rocksdb_options_set_info_log_level(o, LOG_NOTHING);
    rocksdb_options_set_keep_log_file_num(o, 2);
    rocksdb_options_set_stats_dump_period_sec(o, 0);
    rocksdb_options_set_stats_persist_period_sec(o, 0);

    /* Memory and threads. */
    rocksdb_options_set_db_write_buffer_size(o, config->write_buffer_bytes);
    rocksdb_options_set_max_open_files(o, max_open_files(config));
    rocksdb_options_set_table_cache_numshardbits(o, 2);
    rocksdb_options_set_max_background_jobs(o, bounded_int(config->background_threads));
    rocksdb_options_set_max_file_opening_threads(o, bounded_int(config->background_threads));
    /* One writer thread groups commits already: nobody to spin for. */
    rocksdb_options_set_enable_write_thread_adaptive_yield(o, 0);
    rocksdb_options_set_allow_concurrent_memtable_write(o, 0);
    /* Tables reach the disk as they are written, not in one burst that a log's sync waits for. */
    rocksdb_options_set_bytes_per_sync(o, MIB);
    return o;
}

static void set_table_format(rocksdb_options_t *o, rocksdb_cache_t *cache,
                             const struct store_family *family)
{
    rocksdb_block_based_table_options_t *t = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_format_version(t, 5);
    rocksdb_block_based_options_set_block_cache(t, cache);
    rocksdb_block_based_options_set_block_size(t, 8 * KIB);
    rocksdb_block_based_options_set_block_restart_interval(t, 32);
    /* Indexes and filters live in the cache, so that cache_bytes bounds them as well. */
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(t, 1);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks_with_high_priority(t, 1);
    rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(t, 1);
    if (family->point_reads || family->prefix_bytes > 0)
        rocksdb_block_based_options_set_filter_policy(
            t, rocksdb_filterpolicy_create_bloom_full(BLOOM_BITS_PER_KEY));
    rocksdb_block_based_options_set_whole_key_filtering(t, family->point_reads);
    rocksdb_options_set_block_based_table_factory(o, t);
    rocksdb_block_based_options_destroy(t);
}

/* An insert begins its search where the last one of its run ended and climbs only as far as need
 * be, which saves an eighth of writing. This engine keeps deleted ranges in a list of their own,
 * but would look for their places with the hints of the keys' list. What begins with fewer bytes
 * than a run has in common gets no hint: hence what store_family says of ranges. */
static rocksdb_options_t *options_for_runs(size_t run_bytes)
{
    char setting[80];
    snprintf(setting, sizeof(setting), "memtable_insert_with_hint_prefix_extractor=fixed:%zu",
             run_bytes);
    return options_with(setting);
}

static rocksdb_options_t *family_options(const struct store_config *config, rocksdb_cache_t *cache,
                                         const struct store_family *family)
{
    rocksdb_options_t *o =
        family->run_bytes > 0 ? options_for_runs(family->run_bytes) : rocksdb_options_create();
    /* The bound over all families flushes the one whose oldest unflushed write is oldest. A
     * short-lived family gets all there is: what is deleted before its flush never becomes a
     * table. */
    size_t buffer = family->short_lived ? config->write_buffer_bytes
                                        : clamp(config->write_buffer_bytes / 2, MIB, 64 * MIB);
    rocksdb_options_set_write_buffer_size(o, buffer);
    rocksdb_options_set_max_write_buffer_number(o, 4);
    rocksdb_options_set_arena_block_size(o, clamp(buffer / 64, 16 * KIB, MIB));

    rocksdb_options_set_compaction_style(o, rocksdb_level_compaction);
    rocksdb_options_set_level_compaction_dynamic_level_bytes(o, 1);
    rocksdb_options_set_target_file_size_base(o, 64 * MIB);
    rocksdb_options_set_max_bytes_for_level_base(o, 256 * MIB);
    rocksdb_options_set_level0_file_num_compaction_trigger(o, family->short_lived ? 8 : 4);
    rocksdb_options_set_level0_slowdown_writes_trigger(o, 40);
    rocksdb_options_set_level0_stop_writes_trigger(o, 64);
    /* Not at level 0, which is soon rewritten. */
    const int compression[] = {rocksdb_no_compression, family->compress ? rocksdb_zstd_compression
                                                                        : rocksdb_no_compression};
    rocksdb_options_set_compression_per_level(o, compression, 2);
    rocksdb_options_set_compression_options(o, -14, COMPRESSION_LEVEL, 0, 0);

    if (family->prefix_bytes > 0)
        rocksdb_options_set_prefix_extractor(
            o, rocksdb_slicetransform_create_fixed_prefix(family->prefix_bytes));
    if (family->prefix_bytes > 0 || family->point_reads)
        rocksdb_options_set_memtable_prefix_bloom_size_ratio(o, 0.05);
    rocksdb_options_set_memtable_whole_key_filtering(o, family->point_reads);
    set_table_format(o, cache, family);
    return o;
}

void store_options_build(struct store *store, const struct store_config *config)
{
    static const struct store_family own = {.name = "default"};
    store->cache = rocksdb_cache_create_lru(config->cache_bytes);
    store->options = database_options(config);
    store->slots[0].options = family_options(config, store->cache, &own);
    for (size_t i = 0; i < config->family_count; i++)
        store->slots[i + 1].options = family_options(config, store->cache, &config->families[i]);
    store->read_options = rocksdb_readoptions_create();
    store->write_options = rocksdb_writeoptions_create();
    store->sync_options = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(store->sync_options, 1);
}

void store_options_drop(struct store *store)
{
    for (size_t i = 0; i < store->slot_count; i++)
        if (store->slots[i].options != NULL)
            rocksdb_options_destroy(store->slots[i].options);
    if (store->options != NULL)
        rocksdb_options_destroy(store->options);
    if (store->cache != NULL)
        rocksdb_cache_destroy(store->cache);
    if (store->read_options != NULL)
        rocksdb_readoptions_destroy(store->read_options);
    if (store->write_options != NULL)
        rocksdb_writeoptions_destroy(store->write_options);
    if (store->sync_options != NULL)
        rocksdb_writeoptions_destroy(store->sync_options);
}
