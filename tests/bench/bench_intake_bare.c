/* The reference: the database alone, with the rows that intake writes. */
#include "tests/bench/bench_intake.h"

/* One group: [from, to) of the blocks, whose events begin at row `first`. */
struct group {
    size_t from, to, first, events;
};

static int by_vault_key(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    return memcmp(x->key.bytes, y->key.bytes, VAULT_KEY_BYTES);
}

static int by_dedupe_key(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    uint8_t left[DEDUPE_KEY_BYTES], right[DEDUPE_KEY_BYTES];
    dedupe_key_of(&x->key, left);
    dedupe_key_of(&y->key, right);
    return memcmp(left, right, DEDUPE_KEY_BYTES);
}

/* The groups' rows in the order in which intake writes them; sorting them is not the reference's
 * work. */
static struct row *sort_rows(const struct material *m, const struct group *groups, size_t count,
                             int (*order)(const void *, const void *))
{
    struct row *rows = room_for(m->events, sizeof(*rows));
    memcpy(rows, m->rows, m->events * sizeof(*rows));
    for (size_t i = 0; i < count; ++i)
        qsort(rows + groups[i].first, groups[i].events, sizeof(*rows), order);
    return rows;
}

static struct group *form_groups(const struct material *m, size_t wanted, size_t *count)
{
    struct group *groups = room_for(wanted + 1, sizeof(*groups));
    size_t blocks = (m->block_count + wanted - 1) / wanted, first = 0;
    *count = 0;
    for (size_t i = 0; i < m->block_count; i += blocks, ++*count) {
        struct group *group = &groups[*count];
        *group = (struct group){.from = i, .first = first};
        group->to = i + blocks < m->block_count ? i + blocks : m->block_count;
        for (size_t j = group->from; j < group->to; ++j)
            group->events += m->block[j].events;
        first += group->events;
    }
    return groups;
}

static void put_events(struct store *store, struct store_batch *batch, const struct material *m,
                       const struct row *vault, const struct row *dedupe, size_t events)
{
    uint8_t key[DEDUPE_KEY_BYTES], value[DEDUPE_VALUE_BYTES];
    for (size_t i = 0; i < events; ++i)
        store_batch_put(batch, store, FAMILY_VAULT, vault_key_span(&vault[i].key),
                        pl_span(m->values.data + vault[i].at, vault[i].len));
    for (size_t i = 0; i < events; ++i) {
        dedupe_key_of(&dedupe[i].key, key);
        dedupe_value_of(&dedupe[i].key, value);
        store_batch_put(batch, store, FAMILY_DEDUPE, pl_span(key, sizeof(key)),
                        pl_span(value, sizeof(value)));
    }
}

static void put_books(struct store *store, struct store_batch *batch, const struct material *m,
                      const struct group *group, size_t row_bytes)
{
    static const uint8_t filler[ROW_BYTES_MAX];
    uint8_t key[40];
    for (size_t i = group->from; i < group->to; ++i) {
        const struct edge *edge = &m->edges[m->block[i].edge];
        memcpy(key, edge->id.bytes, 16);
        memcpy(key + 16, edge->header.incarnation.bytes, 16);
        pl_store_u64(key + 32, i / EDGES);
        store_batch_put(batch, store, FAMILY_LEDGER, pl_span(key, 40), pl_span(filler, row_bytes));
    }
    for (size_t i = 0; i < EDGES; ++i)
        store_batch_put(batch, store, FAMILY_CHAINS, pl_span(m->edges[i].id.bytes, 16),
                        pl_span(filler, row_bytes));
}

void measure_bare(struct material *m, const char *dir, const struct measure *as,
                  struct measure *out)
{
    char path[4096];
    struct store *store = open_store(dir, "bare", path);
    struct store_batch *batch;
    struct pl_why why = {0};
    struct group *groups = form_groups(m, as->groups, &out->groups);
    struct row *vault = sort_rows(m, groups, out->groups, by_vault_key);
    struct row *dedupe = sort_rows(m, groups, out->groups, by_dedupe_key);
    bench_must(store_batch_new(&batch), "batch", NULL);

    double wall = bench_wall_s(), cpu = bench_cpu_s();
    for (size_t i = 0; i < out->groups; ++i) {
        const struct group *group = &groups[i];
        store_batch_clear(batch);
        put_events(store, batch, m, vault + group->first, dedupe + group->first, group->events);
        put_books(store, batch, m, group, as->row_bytes);
        bench_must(store_write(store, batch, true, &why), "write", &why);
    }
    out->wall_s = bench_wall_s() - wall;
    out->cpu_s = bench_cpu_s() - cpu;
    compact(store);
    out->whole_cpu_s = bench_cpu_s() - cpu;
    store_batch_free(batch);
    store_close(store);
    out->table_bytes = weigh_and_remove(path);
    free(dedupe);
    free(vault);
    free(groups);
}
