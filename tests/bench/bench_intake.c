/*
 * bench_intake: what storing an event costs the origin, without the link: blocks that were sealed
 * beforehand go through intake (open, decode, encrypt, find duplicates, store, fsync) until every
 * verdict is there, and the database is compacted whole. The reference is the database alone:
 * the same keys and values, sealed beforehand, in batches of the same size, just as synced and
 * compacted. Processor time is the whole process's, background threads included.
 *
 *   bench_intake ENCODED-EVENTS DIR [EVENTS [ROUNDS]]
 *
 * ENCODED-EVENTS is what `bench_dialect --encode` writes; they are used again and again, each time
 * with message ids and visitors of their own. DIR must be new. Prints a JSON object a round.
 */
#include "origin/dedupe.h"
#include "origin/intake.h"
#include "proto/base/pki.h"
#include "tests/bench/bench.h"

#include <dirent.h>
#include <pthread.h>
#include <sys/stat.h>

#define ACCOUNTS           8
#define EDGES              3
#define VISITORS           4000 /* at a time */
#define EVENTS_PER_VISITOR 12
#define BLOCK_EVENTS       256 /* what group commit gathers from 256 connections */
#define FRAME_BYTES        ((size_t)1 << 20)
#define IN_FLIGHT_BYTES    ((size_t)32 << 20)
#define EVENTS_PER_MS      100
#define ROW_BYTES_MAX      512

/* ---- what is sent, and what comes of it ------------------------------------------------ */

struct edge {
    struct pl_id128 id;
    uint8_t public_key[PL_X25519_BYTES];
    struct block_sealer *sealer;
    struct block_header header;
    struct pl_buf plain;
};

struct visitor {
    uint64_t account;
    char id[PL_UUID_TEXT];
};

struct sealed_block {
    size_t edge, at, len, events;
};

struct row {
    struct vault_key key;
    size_t at;
    size_t len;
};

struct material {
    struct keyring *keyring;
    struct vault_sealer *vault;
    struct edge edges[EDGES];
    uint64_t accounts[ACCOUNTS];
    struct visitor *visitors;
    struct pl_buf blocks; /* all of them */
    struct sealed_block *block;
    size_t block_count;
    struct pl_buf values; /* of the reference's rows */
    struct row *rows;
    size_t events;
    uint64_t dice;
};

static const struct pl_log complaints = {.fd = 2, .level = PL_LOG_WARN};

static uint64_t roll(struct material *m)
{
    m->dice ^= m->dice << 13; /* xorshift64 */
    m->dice ^= m->dice >> 7;
    m->dice ^= m->dice << 17;
    return m->dice;
}

static void uuid(struct material *m, char out[PL_UUID_TEXT])
{
    uint64_t a = roll(m), b = roll(m);
    snprintf(out, PL_UUID_TEXT, "%08x-%04x-4%03x-a%03x-%012llx", (unsigned)(a & 0xffffffff),
             (unsigned)(a >> 32 & 0xffff), (unsigned)(a >> 48 & 0xfff), (unsigned)(b & 0xfff),
             (unsigned long long)(b >> 16));
}

static void *room_for(size_t count, size_t size)
{
    void *room = calloc(count, size);
    if (room == NULL)
        bench_must(PL_ENOMEM, "the events", NULL);
    return room;
}

static void open_keyring(struct material *m, const char *dir)
{
    char first[4096], second[4096];
    const char *paths[2] = {first, second};
    struct pl_buf signer;
    struct pl_why why = {0};
    pl_buf_init(&signer, 4096);
    bench_must(pl_path_join(first, sizeof(first), dir, "keyring-1"), dir, NULL);
    bench_must(pl_path_join(second, sizeof(second), dir, "keyring-2"), dir, NULL);
    bench_must(pl_pki_new_key(pl_random_system(), &signer), "signing key", NULL);
    struct keyring_config config = {
        .paths = paths,
        .path_count = 2,
        .create = true,
        .kek_text = PL_SPAN_LIT("00112233445566778899aabbccddeeff"
                                "00112233445566778899aabbccddeeff\n"),
        .signer_pem = pl_buf_span(&signer),
        .clock = pl_clock_system(),
        .random = pl_random_system(),
        .log = &complaints,
    };
    bench_must(keyring_open(&m->keyring, &config, &why), "keyring", &why);
    bench_must(vault_sealer_new(&m->vault, m->keyring, pl_random_system(), 0), "vault", NULL);
    for (size_t i = 0; i < ACCOUNTS; ++i) {
        bench_must(pl_account_random(pl_random_system(), &m->accounts[i]), "account", NULL);
        bench_must(keyring_new_key(m->keyring, m->accounts[i], &why), "account", &why);
    }
    pl_buf_release(&signer);
}

static void open_edges(struct material *m)
{
    uint8_t origin_public[PL_X25519_BYTES], secret[PL_X25519_BYTES];
    struct pl_why why = {0};
    bench_must(keyring_new_seal_key(m->keyring, origin_public, &why), "sealing key", &why);
    for (size_t i = 0; i < EDGES; ++i) {
        struct edge *edge = &m->edges[i];
        bench_must(pl_x25519_keypair(pl_random_system(), secret, edge->public_key), "key", NULL);
        bench_must(pl_id128_random(pl_random_system(), &edge->id), "edge", NULL);
        bench_must(pl_id128_random(pl_random_system(), &edge->header.incarnation), "edge", NULL);
        struct block_sealer_config config = {
            .edge = edge->id,
            .edge_secret = secret,
            .origin_public = origin_public,
            .random = pl_random_system(),
            .clock = pl_clock_system(),
        };
        bench_must(block_sealer_new(&edge->sealer, &config), "sealer", NULL);
        pl_buf_init(&edge->plain, LIMIT_BLOCK_PLAIN_BYTES);
    }
}

/* Makes the event number i of an old one: another visitor, another message. */
static void renew(struct material *m, struct event *event, size_t i, char message[64])
{
    struct visitor *visitor = &m->visitors[roll(m) % VISITORS];
    char id[PL_UUID_TEXT];
    if (visitor->account == 0 || roll(m) % EVENTS_PER_VISITOR == 0) {
        uint64_t skew = roll(m) % ACCOUNTS;
        visitor->account = m->accounts[roll(m) % (skew + 1)]; /* some shops are larger */
        uuid(m, visitor->id);
    }
    uuid(m, id);
    snprintf(message, 64, "ajs-next-%013llu-%s", 1793440000000ULL + i, id);
    event_set_u64(event, EVENT_ACCOUNT, visitor->account);
    event_set_str(event, EVENT_VISITOR_ID, pl_span_str(visitor->id));
    event_set_str(event, EVENT_MESSAGE_ID, pl_span_str(message));
    event_set_i64(event, EVENT_ACCEPTED_MS, 1793440000000LL + (int64_t)(i / EVENTS_PER_MS));
}

static void seal_block(struct material *m, size_t edge_index)
{
    struct edge *edge = &m->edges[edge_index];
    struct sealed_block *block = &m->block[m->block_count];
    uint8_t hash[BLOCK_HASH_BYTES];
    if (edge->header.events == 0)
        return;
    block->edge = edge_index;
    block->at = m->blocks.len;
    block->events = edge->header.events;
    bench_must(block_seal(edge->sealer, &edge->header, pl_buf_span(&edge->plain), &m->blocks, hash),
               "a block", NULL);
    block->len = m->blocks.len - block->at;
    m->block_count++;
    memcpy(edge->header.previous_hash, hash, sizeof(hash));
    edge->header.number++;
    edge->header.events = 0;
    pl_buf_reset(&edge->plain);
}

static void make_events(struct material *m, struct pl_span encoded)
{
    struct event_reader *reader;
    struct event *event = room_for(1, sizeof(*event));
    struct pl_span rest = encoded;
    struct pl_why why = {0};
    char message[64];
    bench_must(event_reader_new(&reader), "reader", NULL);
    for (size_t i = 0; i < m->events; ++i) {
        size_t at = i / BLOCK_EVENTS % EDGES;
        struct edge *edge = &m->edges[at];
        if (rest.len == 0)
            rest = encoded;
        bench_must(event_read(reader, &rest, event, NULL, &why), "encoded events", &why);
        renew(m, event, i, message);
        size_t before = edge->plain.len;
        bench_must(event_encode(event, &edge->plain), "an event", NULL);
        struct row *row = &m->rows[i];
        struct vault_place place = {.index = (uint32_t)i};
        bench_must(vault_key_of(m->vault, event, &place, &row->key), "a key", NULL);
        row->at = m->values.len;
        bench_must(vault_seal(m->vault, &row->key, pl_span_from(pl_buf_span(&edge->plain), before),
                              &m->values),
                   "a value", NULL);
        row->len = m->values.len - row->at;
        if (++edge->header.events == BLOCK_EVENTS)
            seal_block(m, at);
    }
    for (size_t i = 0; i < EDGES; ++i)
        seal_block(m, i);
    event_reader_free(reader);
    free(event);
}

/* ---- the database ---------------------------------------------------------------------- */

static struct store *open_store(const char *dir, const char *name, char path[4096])
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

static void compact(struct store *store)
{
    static const enum origin_family families[] = {FAMILY_VAULT, FAMILY_DEDUPE, FAMILY_LEDGER,
                                                  FAMILY_CHAINS};
    struct pl_why why = {0};
    bench_must(store_flush(store, &why), "flush", &why);
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); ++i)
        bench_must(store_compact(store, families[i]), "compact", NULL);
}

/* Of the tables, keys, values, indexes and filters; removes everything. */
static size_t weigh_and_remove(const char *path)
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

struct measure {
    double wall_s, cpu_s, whole_cpu_s; /* until the last verdict; with the compaction */
    size_t table_bytes, groups, row_bytes;
};

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

static enum intake_fate fate(void *ctx, uint64_t account, int64_t now_ms)
{
    (void)ctx;
    (void)account;
    (void)now_ms;
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
    struct intake *intake;
    struct intake_status status;
    struct pl_why why = {0};
    struct run run = {
        .material = m, .lock = PTHREAD_MUTEX_INITIALIZER, .settled = PTHREAD_COND_INITIALIZER};
    struct ledger_config ledger_config = {
        .store = store, .clock = pl_clock_system(), .log = &complaints};
    bench_must(ledger_new(&ledger, &ledger_config, &why), "ledger", &why);
    struct intake_config config = {
        .store = store,
        .keyring = m->keyring,
        .ledger = ledger,
        .edge_public = edge_public,
        .edge_ctx = m,
        .account = fate,
        .clock = pl_clock_system(),
        .random = pl_random_system(),
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
    ledger_free(ledger);
    store_close(store);
    out->table_bytes = weigh_and_remove(path);
}

/* ---- the reference ---------------------------------------------------------------------- */

static void put_block(struct material *m, struct store *store, struct store_batch *batch,
                      size_t index, size_t *event, size_t ledger_bytes)
{
    static const uint8_t filler[ROW_BYTES_MAX];
    uint8_t dedupe_key[DEDUPE_KEY_BYTES], dedupe_value[DEDUPE_VALUE_BYTES], ledger_key[40];
    const struct sealed_block *block = &m->block[index];
    for (size_t i = 0; i < block->events; ++i, ++*event) {
        const struct row *row = &m->rows[*event];
        dedupe_key_of(&row->key, dedupe_key);
        dedupe_value_of(&row->key, dedupe_value);
        store_batch_put(batch, store, FAMILY_VAULT, vault_key_span(&row->key),
                        pl_span(m->values.data + row->at, row->len));
        store_batch_put(batch, store, FAMILY_DEDUPE, pl_span(dedupe_key, sizeof(dedupe_key)),
                        pl_span(dedupe_value, sizeof(dedupe_value)));
    }
    memcpy(ledger_key, m->edges[block->edge].id.bytes, 16);
    memcpy(ledger_key + 16, m->edges[block->edge].header.incarnation.bytes, 16);
    pl_store_u64(ledger_key + 32, index / EDGES);
    store_batch_put(batch, store, FAMILY_LEDGER, pl_span(ledger_key, 40),
                    pl_span(filler, ledger_bytes));
    store_batch_put(batch, store, FAMILY_CHAINS, pl_span(ledger_key, 32),
                    pl_span(filler, ledger_bytes));
}

static void measure_bare(struct material *m, const char *dir, const struct measure *as,
                         struct measure *out)
{
    char path[4096];
    struct store *store = open_store(dir, "bare", path);
    struct store_batch *batch;
    struct pl_why why = {0};
    size_t event = 0, per_group = (m->block_count + as->groups - 1) / as->groups;
    bench_must(store_batch_new(&batch), "batch", NULL);

    double wall = bench_wall_s(), cpu = bench_cpu_s();
    for (size_t i = 0; i < m->block_count; ++i) {
        put_block(m, store, batch, i, &event, as->row_bytes);
        if ((i + 1) % per_group == 0 || i + 1 == m->block_count) {
            bench_must(store_write(store, batch, true, &why), "write", &why);
            store_batch_clear(batch);
            out->groups++;
        }
    }
    out->wall_s = bench_wall_s() - wall;
    out->cpu_s = bench_cpu_s() - cpu;
    compact(store);
    out->whole_cpu_s = bench_cpu_s() - cpu;
    store_batch_free(batch);
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
    static struct material m = {.dice = 88172645463325252ULL};
    struct pl_buf encoded;
    struct pl_why why = {0};
    long events = argc > 3 ? atol(argv[3]) : 1000000, rounds = argc > 4 ? atol(argv[4]) : 3;
    if (argc < 3 || argc > 5 || events < BLOCK_EVENTS || rounds < 1) {
        fprintf(stderr, "usage: bench_intake ENCODED-EVENTS DIR [EVENTS [ROUNDS]]\n");
        return 2;
    }
    bench_must(pl_dir_make(argv[2], 0700, &why), argv[2], &why);
    bench_read(argv[1], &encoded);
    m.events = (size_t)events;
    m.visitors = room_for(VISITORS, sizeof(*m.visitors));
    m.rows = room_for(m.events, sizeof(*m.rows));
    m.block = room_for(m.events / BLOCK_EVENTS + EDGES + 1, sizeof(*m.block));
    pl_buf_init(&m.blocks, SIZE_MAX / 4);
    pl_buf_init(&m.values, SIZE_MAX / 4);
    open_keyring(&m, argv[2]);
    open_edges(&m);
    make_events(&m, pl_buf_span(&encoded));
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
