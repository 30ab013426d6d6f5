/*
 * bench_intake: what storing an event costs the origin, without the link: blocks that were sealed
 * beforehand go through intake (open, decode, encrypt, find duplicates, store, fsync) until every
 * verdict is there, and the database is compacted whole. The reference is the database alone:
 * the same keys and values, sealed beforehand, in batches of the same size and order, just as
 * synced and compacted. Processor time is the whole process's, background threads included.
 *
 *   bench_intake ENCODED-EVENTS DIR [EVENTS [ROUNDS]]
 *
 * ENCODED-EVENTS is what `bench_dialect --encode` writes; they are used again and again, each time
 * with message ids and visitors of their own. DIR must be new. Prints a JSON object a round.
 */
#include "tests/bench/bench_intake.h"

#include <dirent.h>
#include <pthread.h>
#include <sys/stat.h>

#define FRAME_BYTES     ((size_t)1 << 20)
#define IN_FLIGHT_BYTES ((size_t)32 << 20)

/* ---- the database ---------------------------------------------------------------------- */

struct store *open_store(const char *dir, const char *name, char path[4096])
{
    struct store *store;
    struct pl_why why = {0};
    bench_must(pl_path_join(path, 4096, dir, name), dir, NULL);
    struct store_config config = {
        .path = path,
        .families = origin_families,
        .family_count = FAMILY_COUNT,
        .recovery = STORE_RECOVER_TORN_TAIL,
        .cache_bytes = (size_t)128 << 20, /* the origin's defaults */
        .write_buffer_bytes = (size_t)128 << 20,
        .background_threads = 2,
        .log = &complaints,
    };
    bench_must(store_open(&store, &config, &why), path, &why);
    return store;
}

void compact(struct store *store)
{
    static const enum origin_family families[] = {FAMILY_VAULT, FAMILY_DEDUPE, FAMILY_LEDGER,
                                                  FAMILY_CHAINS};
    struct pl_why why = {0};
    bench_must(store_flush(store, &why), "flush", &why);
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); ++i)
        bench_must(store_compact(store, families[i]), "compact", NULL);
}

size_t weigh_and_remove(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    char file[4096];
    struct stat st;
    size_t bytes = 0;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        size_t len = strlen(entry->d_name);
        if (pl_path_join(file, sizeof(file), path, entry->d_name) != PL_OK ||
            stat(file, &st) != 0 || !S_ISREG(st.st_mode))
            continue;
        if (len > 4 && strcmp(entry->d_name + len - 4, ".sst") == 0)
            bytes += (size_t)st.st_size;
        remove(file);
    }
    if (dir != NULL)
        closedir(dir);
    remove(path);
    return bytes;
}

/* ---- the run ---------------------------------------------------------------------------- */

struct run {
    struct material *material;
    pthread_mutex_t lock;
    pthread_cond_t settled;
    size_t in_flight_bytes;
    size_t refused;
};

struct lot {
    struct run *run;
    size_t blocks[FRAME_ENTRIES_MAX];
    size_t count, bytes;
};

static bool lot_entry(void *ctx, size_t i, struct pl_span *block, struct block_loss *loss)
{
    struct lot *lot = ctx;
    const struct material *m = lot->run->material;
    const struct sealed_block *sealed = &m->block[lot->blocks[i]];
    (void)loss;
    *block = pl_span(m->blocks.data + sealed->at, sealed->len);
    return true;
}

static void lot_done(void *ctx, const enum block_verdict *verdicts)
{
    struct lot *lot = ctx;
    struct run *run = lot->run;
    pthread_mutex_lock(&run->lock);
    for (size_t i = 0; i < lot->count; ++i)
        run->refused += verdicts[i] != BLOCK_STORED;
    run->in_flight_bytes -= lot->bytes;
    pthread_cond_signal(&run->settled);
    pthread_mutex_unlock(&run->lock);
    free(lot);
}

static void wait_below(struct run *run, size_t bytes)
{
    pthread_mutex_lock(&run->lock);
    while (run->in_flight_bytes > bytes)
        pthread_cond_wait(&run->settled, &run->lock);
    pthread_mutex_unlock(&run->lock);
}

static void send_lot(struct intake *intake, struct lot *lot)
{
    struct run *run = lot->run;
    wait_below(run, IN_FLIGHT_BYTES);
    pthread_mutex_lock(&run->lock);
    run->in_flight_bytes += lot->bytes;
    pthread_mutex_unlock(&run->lock);
    struct intake_lot taken = {
        .edge = run->material->edges[run->material->block[lot->blocks[0]].edge].id,
        .count = lot->count,
        .entry = lot_entry,
        .done = lot_done,
        .ctx = lot,
    };
    intake_take(intake, &taken);
}

/* Each edge sends its blocks in order, frame by frame, as it would with a full window. */
static void send_all(struct run *run, struct intake *intake)
{
    const struct material *m = run->material;
    struct lot *open[EDGES] = {0};
    for (size_t i = 0; i < m->block_count; ++i) {
        struct lot **lot = &open[m->block[i].edge];
        if (*lot != NULL &&
            ((*lot)->bytes + m->block[i].len > FRAME_BYTES || (*lot)->count == FRAME_ENTRIES_MAX)) {
            send_lot(intake, *lot);
            *lot = NULL;
        }
        if (*lot == NULL) {
            *lot = room_for(1, sizeof(struct lot));
            (*lot)->run = run;
        }
        (*lot)->blocks[(*lot)->count++] = i;
        (*lot)->bytes += m->block[i].len;
    }
    for (size_t i = 0; i < EDGES; ++i)
        if (open[i] != NULL)
            send_lot(intake, open[i]);
    wait_below(run, 0);
}

static enum pl_err edge_public(void *ctx, const struct pl_id128 *id,
                               uint8_t public_key[PL_X25519_BYTES])
{
    const struct material *m = ctx;
    for (size_t i = 0; i < EDGES; ++i) {
        if (pl_id128_eq(&m->edges[i].id, id)) {
            memcpy(public_key, m->edges[i].public_key, PL_X25519_BYTES);
            return PL_OK;
        }
    }
    return PL_ENOTFOUND;
}

static enum intake_fate fate(void *ctx, uint64_t account, int64_t now_ms, int64_t *expired_ms)
{
    (void)ctx;
    (void)account;
    (void)now_ms;
    (void)expired_ms;
    return INTAKE_ALIVE;
}

/* Mean size of what the intake wrote beside the events. */
static size_t row_bytes(struct store *store, enum origin_family family)
{
    struct store_scan *scan;
    struct pl_span key, value;
    size_t bytes = 0, count = 0;
    bench_must(store_scan_new(&scan, store, family, PL_SPAN_LIT(""), PL_SPAN_LIT("")), "scan",
               NULL);
    for (; store_scan_next(scan, &key, &value) == PL_OK; ++count)
        bytes += value.len;
    store_scan_free(scan);
    bytes = count == 0 ? 0 : bytes / count;
    return bytes < ROW_BYTES_MAX ? bytes : ROW_BYTES_MAX;
}

static void measure_intake(struct material *m, const char *dir, struct measure *out)
{
    char path[4096];
    struct store *store = open_store(dir, "intake", path);
    struct ledger *ledger;
    struct day_counts *day_counts;
    struct intake *intake;
    struct links *links;
    struct intake_status status;
    struct pl_why why = {0};
    struct run run = {
        .material = m, .lock = PTHREAD_MUTEX_INITIALIZER, .settled = PTHREAD_COND_INITIALIZER};
    struct ledger_config ledger_config = {
        .store = store, .clock = material_clock(), .log = &complaints};
    bench_must(ledger_new(&ledger, &ledger_config, &why), "ledger", &why);
    bench_must(day_counts_new(&day_counts, store), "day counts", NULL);
    bench_must(links_new(&links, store), "links", NULL);
    struct intake_config config = {
        .store = store,
        .links = links,
        .keyring = m->keyring,
        .ledger = ledger,
        .edge_public = edge_public,
        .edge_ctx = m,
        .account = fate,
        .day_counts = day_counts,
        .clock = material_clock(),
        .log = &complaints,
    };
    bench_must(intake_new(&intake, &config, &why), "intake", &why);
    bench_must(intake_start(intake, &why), "intake", &why);

    double wall = bench_wall_s(), cpu = bench_cpu_s();
    send_all(&run, intake);
    out->wall_s = bench_wall_s() - wall;
    out->cpu_s = bench_cpu_s() - cpu;
    compact(store);
    out->whole_cpu_s = bench_cpu_s() - cpu;

    intake_status(intake, &status);
    if (run.refused != 0 || status.stored != m->events) {
        fprintf(stderr, "%zu blocks were not taken, %llu of %zu events stored\n", run.refused,
                (unsigned long long)status.stored, m->events);
        exit(1);
    }
    out->groups = status.groups;
    out->row_bytes = row_bytes(store, FAMILY_LEDGER);
    intake_stop(intake);
    intake_free(intake);
    day_counts_free(day_counts);
    links_free(links);
    ledger_free(ledger);
    store_close(store);
    out->table_bytes = weigh_and_remove(path);
}

static void print_measure(const char *name, const struct measure *m)
{
    printf("\"%s\":{\"wall_s\":%.3f,\"cpu_s\":%.3f,\"whole_cpu_s\":%.3f,\"groups\":%zu,"
           "\"table_bytes\":%zu}",
           name, m->wall_s, m->cpu_s, m->whole_cpu_s, m->groups, m->table_bytes);
}

int main(int argc, char **argv)
{
    static struct material m;
    struct pl_buf encoded;
    struct pl_why why = {0};
    long events = argc > 3 ? atol(argv[3]) : 1000000, rounds = argc > 4 ? atol(argv[4]) : 3;
    if (argc < 3 || argc > 5 || events < 1 || rounds < 1) {
        fprintf(stderr, "usage: bench_intake ENCODED-EVENTS DIR [EVENTS [ROUNDS]]\n");
        return 2;
    }
    bench_must(pl_dir_make(argv[2], 0700, &why), argv[2], &why);
    bench_read(argv[1], &encoded);
    material_make(&m, argv[2], pl_buf_span(&encoded), (size_t)events);
    for (long i = 0; i < rounds; ++i) {
        struct measure intake = {0}, bare = {0};
        measure_intake(&m, argv[2], &intake);
        measure_bare(&m, argv[2], &intake, &bare);
        printf("{\"events\":%zu,\"block_bytes\":%zu,", m.events, m.blocks.len);
        print_measure("intake", &intake);
        printf(",");
        print_measure("bare", &bare);
        printf("}\n");
        fflush(stdout);
    }
    return 0;
}
