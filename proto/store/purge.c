/*
 * purge: making sure that a range is gone from the disk.
 *
 * A deleted record lives on in four places: in the logs until *every* family that wrote to them
 * has been flushed, in tables until they are compacted, in tables that are dead but that a scan
 * still reads, and (its key, when it bounded a table) in the MANIFEST. Compaction reports no
 * errors through the C face, so nothing here trusts that a step has worked: the directory is
 * looked at until the old files are gone from it. File numbers only grow, which is how a file
 * from before the purge is told from a later one.
 */
#include "proto/store/internal.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define POLL_MS               50
#define FORCE_BOTTOMMOST      2  /* BottommostLevelCompaction::kForce */
#define FILLER_BYTES          16 /* see just_below */
#define RANGE_BOUND_MAX_BYTES (64 * 1024)

enum file_kind { FILE_OTHER, FILE_LOG, FILE_TABLE, FILE_MANIFEST };

struct purge {
    struct store *store;
    const struct store_range *ranges;
    size_t count;
    int64_t deadline_ms;
    uint64_t old_log;   /* logs up to this number may hold the range */
    uint64_t old_table; /* so may tables up to this one, while they are in use */
    uint64_t compacted; /* tables up to this one must be in use, or gone from the disk */
};

static enum file_kind parse_name(const char *name, uint64_t *number)
{
    int end = 0;
    if (sscanf(name, "%" SCNu64 ".log%n", number, &end) == 1 && end > 0 && name[end] == '\0')
        return FILE_LOG;
    if (sscanf(name, "%" SCNu64 ".sst%n", number, &end) == 1 && end > 0 && name[end] == '\0')
        return FILE_TABLE;
    if (sscanf(name, "MANIFEST-%" SCNu64 "%n", number, &end) == 1 && name[end] == '\0')
        return FILE_MANIFEST;
    return FILE_OTHER;
}

/* Calls visit for every file until it returns true; then *stopped is set. */
static enum pl_err each_file(struct store *store,
                             bool (*visit)(void *ctx, enum file_kind kind, uint64_t number),
                             void *ctx, bool *stopped, struct pl_why *why)
{
    *stopped = false;
    DIR *dir = opendir(store->path);
    if (dir == NULL)
        return pl_fail(why, pl_err_from_errno(errno), "cannot list the store's directory %s: %m",
                       store->path);
    const struct dirent *entry;
    while (!*stopped && (entry = readdir(dir)) != NULL) {
        uint64_t number;
        enum file_kind kind = parse_name(entry->d_name, &number);
        if (kind != FILE_OTHER)
            *stopped = visit(ctx, kind, number);
    }
    closedir(dir);
    return PL_OK;
}

static bool visit_newest(void *ctx, enum file_kind kind, uint64_t number)
{
    uint64_t *newest = ctx;
    (void)kind;
    if (number > *newest)
        *newest = number;
    return false;
}

static enum pl_err newest_file(struct store *store, uint64_t *newest, struct pl_why *why)
{
    bool stopped;
    *newest = 0;
    return each_file(store, visit_newest, newest, &stopped, why);
}

/* What the purge is about to outdate goes piece by piece. */
static bool visit_old_log(void *ctx, enum file_kind kind, uint64_t number)
{
    const struct purge *purge = ctx;
    char name[32];
    if (kind == FILE_LOG && number <= purge->old_log) {
        snprintf(name, sizeof(name), "%06" PRIu64 ".log", number);
        store_remains_keep(purge->store, name);
    }
    return false;
}

static enum pl_err keep_logs(struct purge *purge, struct pl_why *why)
{
    bool stopped;
    return each_file(purge->store, visit_old_log, purge, &stopped, why);
}

/* What is still in the way. */
struct blocker {
    const struct purge *purge;
    uint64_t *live; /* sorted numbers of the tables in use */
    size_t live_count;
    uint64_t holding; /* a table in use that overlaps the range and is too old; 0: none */
    enum file_kind kind;
    uint64_t number; /* a file that should have been removed */
};

static int compare_numbers(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static bool overlaps(const struct purge *purge, const rocksdb_livefiles_t *files, int i)
{
    const char *family = rocksdb_livefiles_column_family_name(files, i);
    size_t smallest_len, largest_len;
    const char *smallest = rocksdb_livefiles_smallestkey(files, i, &smallest_len);
    const char *largest = rocksdb_livefiles_largestkey(files, i, &largest_len);
    for (size_t r = 0; r < purge->count; r++) {
        const struct store_range *range = &purge->ranges[r];
        if (strcmp(family, purge->store->slots[range->family + 1].name) == 0 &&
            pl_span_cmp(pl_span(smallest, smallest_len), range->to) < 0 &&
            pl_span_cmp(pl_span(largest, largest_len), range->from) >= 0)
            return true;
    }
    return false;
}

static void keep_tables(const struct purge *purge)
{
    const rocksdb_livefiles_t *files = rocksdb_livefiles(purge->store->db);
    const int count = rocksdb_livefiles_count(files);
    for (int i = 0; i < count; i++) {
        const char *name = rocksdb_livefiles_name(files, i); /* "/000012.sst" */
        if (overlaps(purge, files, i))
            store_remains_keep(purge->store, *name == '/' ? name + 1 : name);
    }
    rocksdb_livefiles_destroy(files);
}

static enum pl_err list_live(struct blocker *b)
{
    enum pl_err err = PL_OK;
    const rocksdb_livefiles_t *files = rocksdb_livefiles(b->purge->store->db);
    int count = rocksdb_livefiles_count(files);
    b->live = calloc((size_t)count + 1, sizeof(*b->live));
    if (b->live == NULL) {
        err = PL_ENOMEM;
        goto out;
    }
    for (int i = 0; i < count; i++) {
        uint64_t number;
        const char *name = rocksdb_livefiles_name(files, i); /* "/000012.sst" */
        if (parse_name(*name == '/' ? name + 1 : name, &number) != FILE_TABLE)
            continue;
        b->live[b->live_count++] = number;
        if (number <= b->purge->old_table && overlaps(b->purge, files, i))
            b->holding = number;
    }
    qsort(b->live, b->live_count, sizeof(*b->live), compare_numbers);
out:
    rocksdb_livefiles_destroy(files);
    return err;
}

static bool visit_leftover(void *ctx, enum file_kind kind, uint64_t number)
{
    struct blocker *b = ctx;
    bool stays = false;
    if (kind == FILE_LOG)
        stays = number <= b->purge->old_log;
    else if (kind == FILE_TABLE)
        stays = number <= b->purge->compacted &&
                bsearch(&number, b->live, b->live_count, sizeof(number), compare_numbers) == NULL;
    b->kind = kind;
    b->number = number;
    return stays;
}

/* The engine knows the files that its own jobs have outdated, but a log left by an earlier run
 * goes only when it lists the whole directory, every few hours or when deletions are enabled. */
static enum pl_err sweep(struct store *store, struct pl_why *why)
{
    char *message = NULL;
    rocksdb_disable_file_deletions(store->db, &message);
    enum pl_err err = store_error_take(store, message, "remove dead files of", why);
    if (err != PL_OK)
        return err;
    message = NULL;
    rocksdb_enable_file_deletions(store->db, 0, &message);
    return store_error_take(store, message, "remove dead files of", why);
}

/* PL_OK when nothing is; PL_EAGAIN when it may yet go away; PL_EIO when compaction failed. */
static enum pl_err look(const struct purge *purge, struct pl_why *why)
{
    struct blocker b = {.purge = purge};
    bool leftover = false;
    enum pl_err err = sweep(purge->store, why);
    if (err != PL_OK)
        return err;
    err = list_live(&b);
    if (err != PL_OK) {
        pl_fail(why, err, "no memory to list the tables of the store in %s", purge->store->path);
    } else if (b.holding != 0) {
        err = pl_fail(why, PL_EIO,
                      "table %06" PRIu64 ".sst in %s still holds the range: it could not be "
                      "compacted, most likely for lack of room; free some and purge again",
                      b.holding, purge->store->path);
    } else {
        err = each_file(purge->store, visit_leftover, &b, &leftover, why);
        if (err == PL_OK && leftover)
            err = pl_fail(why, PL_EAGAIN,
                          "%s %06" PRIu64 "%s in %s is from before the purge and still there: most "
                          "likely an open scan keeps it; end the scan and purge again",
                          b.kind == FILE_LOG ? "log" : "table", b.number,
                          b.kind == FILE_LOG ? ".log" : ".sst", purge->store->path);
    }
    free(b.live);
    return err;
}

/* A key below `to` with as little as possible between the two: DeleteFilesInRange takes its
 * upper bound as inclusive and would drop a table that ends in `to` itself. */
static enum pl_err just_below(struct pl_span to, struct pl_buf *out)
{
    static const uint8_t filler[FILLER_BYTES] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                                 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    uint8_t last = to.data[to.len - 1];
    enum pl_err err = pl_buf_append(out, to.data, to.len - 1);
    if (err != PL_OK || last == 0)
        return err;
    err = pl_buf_put_u8(out, (uint8_t)(last - 1));
    return err == PL_OK ? pl_buf_append(out, filler, sizeof(filler)) : err;
}

/* Whole tables inside the range go without being rewritten. */
static enum pl_err drop_tables(struct store *store, const struct store_range *range,
                               struct pl_why *why)
{
    struct pl_buf limit;
    char *message = NULL;
    pl_buf_init(&limit, RANGE_BOUND_MAX_BYTES + FILLER_BYTES);
    enum pl_err err = just_below(range->to, &limit);
    if (err != PL_OK) {
        pl_fail(why, err, "a purged range's bounds are keys of at most %d bytes",
                RANGE_BOUND_MAX_BYTES);
    } else if (pl_span_cmp(range->from, pl_buf_span(&limit)) < 0) {
        rocksdb_delete_file_in_range_cf(store->db, store_handle(store, range->family),
                                        store_chars(range->from), range->from.len,
                                        store_chars(pl_buf_span(&limit)), limit.len, &message);
        err = store_error_take(store, message, "drop tables of", why);
    }
    pl_buf_release(&limit);
    return err;
}

static void compact(const struct purge *purge)
{
    struct store *store = purge->store;
    rocksdb_compactoptions_t *options = rocksdb_compactoptions_create();
    /* Exclusive: a compaction already running might put old data into a new table. */
    rocksdb_compactoptions_set_exclusive_manual_compaction(options, 1);
    rocksdb_compactoptions_set_bottommost_level_compaction(options, FORCE_BOTTOMMOST);
    for (size_t i = 0; i < purge->count; i++) {
        const struct store_range *range = &purge->ranges[i];
        rocksdb_compact_range_cf_opt(store->db, store_handle(store, range->family), options,
                                     store_chars(range->from), range->from.len,
                                     store_chars(range->to), range->to.len);
    }
    rocksdb_compactoptions_destroy(options);
}

static bool wait_more(const struct purge *purge)
{
    int64_t left_ms = purge->deadline_ms - pl_mono_ms(pl_clock_system());
    if (left_ms <= 0)
        return false;
    /* The engine removes files in threads of its own and tells nobody, so look again soon. */
    store_gate_wait_scan(&purge->store->gate, left_ms < POLL_MS ? left_ms : POLL_MS);
    return true;
}

static enum pl_err compact_until_gone(struct purge *purge, struct pl_why *why)
{
    enum pl_err err, seen = PL_EIO;
    do {
        if (seen == PL_EIO) {
            compact(purge);
            err = newest_file(purge->store, &purge->compacted, why);
            if (err != PL_OK)
                return err;
        }
        seen = look(purge, why);
    } while (seen != PL_OK && wait_more(purge));
    return seen;
}

static bool visit_manifest(void *ctx, enum file_kind kind, uint64_t number)
{
    const uint64_t *newest = ctx;
    return kind == FILE_MANIFEST && number <= *newest;
}

/* An edit writes the state before it and itself to a new MANIFEST, so the compaction's own still
 * names the tables it has replaced. One more edit is free of them. */
static enum pl_err roll_manifest(const struct purge *purge, struct pl_why *why)
{
    struct store *store = purge->store;
    uint64_t newest;
    bool there = false;
    enum pl_err err = newest_file(store, &newest, why);
    if (err == PL_OK)
        err = store_probe(store, why);
    if (err == PL_OK)
        err = store_flush_all(store, why);
    while (err == PL_OK) {
        err = each_file(store, visit_manifest, &newest, &there, why);
        if (err != PL_OK || !there)
            break;
        if (!wait_more(purge))
            err = pl_fail(why, PL_EAGAIN,
                          "a MANIFEST from before the purge is still in %s: purge again",
                          store->path);
    }
    return err;
}

/* Every range at once, so that a crash leaves all of them or none. */
static enum pl_err delete_ranges(const struct purge *purge, struct pl_why *why)
{
    struct store *store = purge->store;
    char *message = NULL;
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    for (size_t i = 0; i < purge->count; i++) {
        const struct store_range *range = &purge->ranges[i];
        if (!range->settle)
            rocksdb_writebatch_delete_range_cf(batch, store_handle(store, range->family),
                                               store_chars(range->from), range->from.len,
                                               store_chars(range->to), range->to.len);
    }
    rocksdb_write(store->db, store->sync_options, batch, &message);
    rocksdb_writebatch_destroy(batch);
    return store_error_take_write(store, message, "delete a range of", why);
}

static enum pl_err check(const struct purge *purge, struct pl_why *why)
{
    for (size_t i = 0; i < purge->count; i++) {
        const struct store_range *range = &purge->ranges[i];
        assert(store_has_family(purge->store, range->family));
        if (pl_span_cmp(range->from, range->to) >= 0)
            return pl_fail(why, PL_EINVAL, "a purged range must end after its beginning");
        if (!range->settle && !store_may_begin(purge->store, range->family, range->from))
            return pl_fail(why, PL_EINVAL, "%s", STORE_BAD_BEGINNING);
    }
    return PL_OK;
}

enum pl_err store_purge(struct store *store, const struct store_range *ranges, size_t count,
                        int64_t timeout_ms, struct pl_why *why)
{
    struct purge purge = {.store = store, .ranges = ranges, .count = count};
    enum pl_err freed, err = check(&purge, why);
    if (err != PL_OK)
        return err;
    err = store_enter_to_compact(store, why);
    if (err != PL_OK)
        return err;
    atomic_fetch_add(&store->purges, 1);
    err = delete_ranges(&purge, why);
    /* Where nothing was written since the store was opened, a flush would not leave its log. */
    if (err == PL_OK)
        err = store_probe(store, why);
    if (err == PL_OK)
        err = newest_file(store, &purge.old_log, why);
    if (err == PL_OK)
        err = keep_logs(&purge, why);
    if (err == PL_OK)
        err = store_flush_all(store, why);
    if (err == PL_OK)
        err = newest_file(store, &purge.old_table, why);
    if (err == PL_OK)
        keep_tables(&purge);
    for (size_t i = 0; err == PL_OK && i < count; i++)
        if (!ranges[i].settle)
            err = drop_tables(store, &ranges[i], why);
    if (err != PL_OK)
        goto out;
    purge.deadline_ms = pl_mono_ms(pl_clock_system()) + timeout_ms;
    err = compact_until_gone(&purge, why);
    if (err == PL_OK)
        err = roll_manifest(&purge, why);
out:
    atomic_fetch_sub(&store->purges, 1);
    freed = store_remains_free(store, err == PL_OK ? why : NULL);
    err = err == PL_OK ? freed : err;
    store_leave(store);
    return err;
}

enum pl_err store_purge_range(struct store *store, unsigned family, struct pl_span from,
                              struct pl_span to, int64_t timeout_ms, struct pl_why *why)
{
    const struct store_range range = {.family = family, .from = from, .to = to};
    return store_purge(store, &range, 1, timeout_ms, why);
}

enum pl_err store_settle_range(struct store *store, unsigned family, struct pl_span from,
                               struct pl_span to, int64_t timeout_ms, struct pl_why *why)
{
    const struct store_range range = {.family = family, .from = from, .to = to, .settle = true};
    return store_purge(store, &range, 1, timeout_ms, why);
}
