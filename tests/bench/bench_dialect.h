/*
 * bench_dialect: what its files share: the edge's end of a dialect, without admission.
 */
#ifndef POLDER_TESTS_BENCH_DIALECT_H
#define POLDER_TESTS_BENCH_DIALECT_H

#include "edge/dialect.h"
#include "tests/bench/bench.h"

#define ROUNDS       9
#define BENCH_NOW_MS INT64_C(1793440000000)

struct bench {
    struct json_parser *json, *nested;
    struct json_writer *writer;
    struct pl_buf scratch, masked, out, reply;
    struct event event;
    enum event_dialect dialect;
    size_t events; /* emitted */
    bool masks;
};

/* The input without a request: the loop's tools. */
struct dialect_input bench_input(struct bench *bench);
/* Resets out. PL errors are the decoder's. */
enum pl_err bench_decode(struct bench *bench, const struct dialect_route *route,
                         const struct dialect_input *input, struct pl_why *why);

/* Prints one JSON object a dialect: what its golden requests cost per event. */
void bench_golden(struct bench *bench, const char *folder);

#endif
