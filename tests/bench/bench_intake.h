/* What the files of bench_intake share: the material, the database, and a measurement. */
#ifndef POLDER_TESTS_BENCH_INTAKE_H
#define POLDER_TESTS_BENCH_INTAKE_H

#include "origin/intake/dedupe.h"
#include "origin/intake/intake.h"
#include "tests/bench/bench.h"

#define ACCOUNTS      8
#define EDGES         3
#define ROW_BYTES_MAX 512

#define MATERIAL_MS INT64_C(1793440000000) /* when its events begin */

static const struct pl_log complaints = {.fd = 2, .level = PL_LOG_WARN};

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
    char user[24]; /* one in five has logged in; "": not this one */
};

struct sealed_block {
    size_t edge, at, len, events;
};

/* One event as it is stored; at and len: its value in material.values. */
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

/* ---- bench_intake_material.c: events sealed into blocks, and the rows that come of them */

/* Stands still a minute after the material's beginning, whatever the day of the run: intake dates
 * anew what is older than a month. */
const struct pl_clock *material_clock(void);
/* Zeroed; ends the program when there is no memory. */
void *room_for(size_t count, size_t size);
void material_make(struct material *m, const char *dir, struct pl_span encoded, size_t events);

/* ---- bench_intake.c */
struct store *open_store(const char *dir, const char *name, char path[4096]);
void compact(struct store *store);
/* Of the tables: keys, values, indexes and filters. Removes everything. */
size_t weigh_and_remove(const char *path);

struct measure {
    double wall_s, cpu_s, whole_cpu_s; /* until the last verdict; with the compaction */
    size_t table_bytes, groups, row_bytes;
};

/* ---- bench_intake_bare.c: writes the rows in as many groups as intake did */
void measure_bare(struct material *m, const char *dir, const struct measure *as,
                  struct measure *out);

#endif
