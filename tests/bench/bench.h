/* What the benchmark programs share: the end on an error, processor time, and files of events. */
#ifndef POLDER_TESTS_BENCH_H
#define POLDER_TESTS_BENCH_H

#include "proto/base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define BENCH_FILE_BYTES ((size_t)1 << 31)

static inline void bench_must(enum pl_err err, const char *what, const struct pl_why *why)
{
    if (err == PL_OK)
        return;
    fprintf(stderr, "%s: %s\n", what,
            why != NULL && why->text[0] != '\0' ? why->text : pl_err_word(err));
    exit(1);
}

static inline double bench_clock_s(clockid_t clock)
{
    struct timespec at;
    clock_gettime(clock, &at);
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static inline double bench_wall_s(void)
{
    return bench_clock_s(CLOCK_MONOTONIC);
}

/* User and system time of all threads, those that have ended included. */
static inline double bench_cpu_s(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static inline void bench_read(const char *path, struct pl_buf *out)
{
    struct pl_why why = {0};
    pl_buf_init(out, BENCH_FILE_BYTES);
    bench_must(pl_file_read(path, "events", false, out, &why), path, &why);
}

static inline int bench_compare(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static inline double bench_median(double *values, size_t count)
{
    qsort(values, count, sizeof(*values), bench_compare);
    return count % 2 == 1 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

#endif
