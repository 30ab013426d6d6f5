#include "proto/base/histogram.h"

#include <inttypes.h>

const struct pl_histogram_kind pl_histogram_times = {
    .bounds = {100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000,
               1000000, 2500000, 10000000},
    .per_unit = 1e6,
};

const struct pl_histogram_kind pl_histogram_sizes = {
    .bounds = {256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072, 262144, 524288,
               1048576, 2097152, 4194304},
    .per_unit = 1,
};

static void add(_Atomic uint64_t *counter, uint64_t n)
{
    const uint64_t now = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, now + n, memory_order_relaxed);
}

void pl_histogram_note(struct pl_histogram *h, const struct pl_histogram_kind *kind, int64_t value)
{
    const uint64_t v = value < 0 ? 0 : (uint64_t)value;
    size_t i = 0;
    while (i < PL_HISTOGRAM_BOUNDS && v > kind->bounds[i])
        i++;
    add(&h->counts[i], 1);
    add(&h->sum, v);
}

void pl_histogram_sum(const struct pl_histogram *h, struct pl_histogram_sums *sums)
{
    for (size_t i = 0; i <= PL_HISTOGRAM_BOUNDS; i++)
        sums->counts[i] += atomic_load_explicit(&h->counts[i], memory_order_relaxed);
    sums->sum += atomic_load_explicit(&h->sum, memory_order_relaxed);
}

/* The format's buckets hold all below them as well. */
enum pl_err pl_histogram_write(struct pl_buf *out, const char *name, const char *help,
                               const struct pl_histogram_kind *kind,
                               const struct pl_histogram_sums *sums)
{
    uint64_t count = 0;
    enum pl_err err = pl_buf_appendf(out, "# HELP %s %s\n# TYPE %s histogram\n", name, help, name);
    for (size_t i = 0; i < PL_HISTOGRAM_BOUNDS && err == PL_OK; i++) {
        count += sums->counts[i];
        err = pl_buf_appendf(out, "%s_bucket{le=\"%.15g\"} %" PRIu64 "\n", name,
                             (double)kind->bounds[i] / kind->per_unit, count);
    }
    count += sums->counts[PL_HISTOGRAM_BOUNDS];
    if (err != PL_OK)
        return err;
    return pl_buf_appendf(
        out, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n%s_sum %.15g\n%s_count %" PRIu64 "\n", name,
        count, name, (double)sums->sum / kind->per_unit, name, count);
}
