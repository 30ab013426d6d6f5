/*
 * bench_dialect: what one event costs between a request's body and its bytes in a block: the
 * dialect's decoder and event_encode, on one thread; then the same with personal data masked. The
 * reference is parsing the same JSON and doing nothing with it.
 *
 *   bench_dialect EVENTS.ndjson              Segment's, on its own and in batches: one JSON object
 *   bench_dialect EVENTS.ndjson --encode OUT writes the encoded events, back to back
 *   bench_dialect --golden FOLDER            every dialect's golden requests: an object a dialect
 */
#include "tests/bench/bench_dialect.h"
#include "proto/wire/catalog.h"
#include "proto/wire/event_mask.h"
#include "proto/wire/event_scan.h"

#define BATCH_EVENTS 50

struct body {
    struct pl_span text;
    const char *path;
    const struct dialect_route *route;
};

struct bodies {
    struct body *items;
    size_t count, cap;
    struct pl_buf text;
};

struct segment {
    struct bench bench;
    struct bodies singles, batches;
};

/* ---- the edge's end of a dialect, without admission ------------------------------------ */

static enum pl_err take_claim(void *ctx, const struct dialect_claim *claim, struct pl_why *why)
{
    (void)ctx, (void)claim, (void)why;
    return PL_OK;
}

static bool is_claimed(void *ctx, const struct dialect_claim *claim)
{
    (void)ctx, (void)claim;
    return true;
}

static bool is_none(void *ctx, struct pl_span id)
{
    (void)ctx, (void)id;
    return false;
}

static struct pl_span config(void *ctx)
{
    (void)ctx;
    return PL_SPAN_LIT("{\"version\":1,\"campaigns\":[],\"settings\":{}}");
}

static enum pl_err mask(struct bench *bench, struct event *event)
{
    static const uint8_t id_key[CATALOG_ID_KEY_BYTES];
    const struct event_mask_policy policy = {PII_ALL, id_key};
    const enum pl_err err = event_mask(event, &policy, &bench->masked, NULL);
    return err == PL_OK ? event_encode(event, &bench->out) : err;
}

static enum pl_err take_event(void *ctx, struct event *event, struct pl_why *why)
{
    struct bench *bench = ctx;
    (void)why;
    event_set_u64(event, EVENT_ACCOUNT, UINT64_C(0x0123456789abcdef));
    event_set_u64(event, EVENT_DIALECT, bench->dialect);
    event_set_i64(event, EVENT_ACCEPTED_MS, BENCH_NOW_MS);
    bench->events++;
    event_set_str(event, EVENT_REGION, PL_SPAN_LIT("eu"));
    const size_t start = bench->out.len;
    enum pl_err err = event_encode(event, &bench->out);
    if (err == PL_OK && bench->masks && pl_buf_reserve(&bench->out, EVENT_SCAN_SLACK) == PL_OK &&
        event_scan(pl_span_from(pl_buf_span(&bench->out), start), PII_ALL)) {
        bench->out.len = start;
        err = mask(bench, event);
    }
    return err;
}

static const struct dialect_route *find_route(const char *path)
{
    for (size_t d = 0; d < dialect_count; ++d)
        for (size_t r = 0; r < dialects[d]->route_count; ++r)
            if (strcmp(dialects[d]->routes[r].path, path) == 0)
                return &dialects[d]->routes[r];
    fprintf(stderr, "no dialect has a route %s\n", path);
    exit(1);
}

struct dialect_input bench_input(struct bench *bench)
{
    return (struct dialect_input){
        .method = DIALECT_POST,
        .now_ms = BENCH_NOW_MS,
        .json = bench->json,
        .json_nested = bench->nested,
        .writer = bench->writer,
        .scratch = &bench->scratch,
        .event = &bench->event,
    };
}

enum pl_err bench_decode(struct bench *bench, const struct dialect_route *route,
                         const struct dialect_input *input, struct pl_why *why)
{
    const struct dialect_sink sink = {
        .ctx = bench,
        .claim = take_claim,
        .emit = take_event,
        .is_claimed = is_claimed,
        .seen = is_none,
        .has_campaign = is_none,
        .config = config,
    };
    struct dialect_outcome outcome = {.body = &bench->reply};
    pl_buf_reset(&bench->scratch);
    pl_buf_reset(&bench->reply);
    pl_buf_reset(&bench->out);
    return route->decode(input, &sink, &outcome, why);
}

static void decode(struct bench *bench, const struct body *body)
{
    struct dialect_input input = bench_input(bench);
    struct pl_why why = {0};
    input.path = pl_span_str(body->path);
    input.body = body->text;
    input.content_type = PL_SPAN_LIT("text/plain");
    bench_must(bench_decode(bench, body->route, &input, &why), body->path, &why);
}

/* ---- bodies ---------------------------------------------------------------------------- */

static void add_body(struct bodies *bodies, struct pl_span text, const char *path)
{
    if (bodies->count == bodies->cap) {
        bodies->cap = bodies->cap * 2 + 1024;
        bodies->items = realloc(bodies->items, bodies->cap * sizeof(*bodies->items));
        if (bodies->items == NULL)
            bench_must(PL_ENOMEM, "bodies", NULL);
    }
    bodies->items[bodies->count++] = (struct body){text, path, find_route(path)};
}

/* path NULL: what each event's type asks for. */
static void split(struct bodies *bodies, const char *path)
{
    struct pl_span rest = pl_buf_span(&bodies->text);
    const uint8_t *end;
    while (rest.len != 0 && (end = memchr(rest.data, '\n', rest.len)) != NULL) {
        struct pl_span line = pl_span(rest.data, (size_t)(end - rest.data));
        bool page = memmem(line.data, line.len, "\"type\":\"page\"", 13) != NULL;
        add_body(bodies, line, path != NULL ? path : page ? "/v1/page" : "/v1/track");
        rest = pl_span_from(rest, (size_t)(end - rest.data) + 1);
    }
}

/* The text of all batches is made before the spans into it, for growing moves it. */
static void make_batches(const struct bodies *singles, struct bodies *batches)
{
    size_t whole = singles->count / BATCH_EVENTS;
    pl_buf_init(&batches->text, BENCH_FILE_BYTES);
    for (size_t i = 0; i < whole * BATCH_EVENTS; ++i) {
        const char *before = i % BATCH_EVENTS == 0
                                 ? "{\"writeKey\":\"0123456789abcdef0123456789abcdef\",\"batch\":["
                                 : ",";
        bench_must(pl_buf_append_str(&batches->text, before), "batches", NULL);
        bench_must(pl_buf_append_span(&batches->text, singles->items[i].text), "batches", NULL);
        if (i % BATCH_EVENTS == BATCH_EVENTS - 1)
            bench_must(pl_buf_append_str(&batches->text, "]}\n"), "batches", NULL);
    }
    split(batches, "/v1/batch");
}

/* ---- runs: nanoseconds of processor time per event -------------------------------------- */

static double run_decode(struct bench *bench, const struct bodies *bodies, size_t events)
{
    double before = bench_clock_s(CLOCK_PROCESS_CPUTIME_ID);
    for (size_t i = 0; i < bodies->count; ++i)
        decode(bench, &bodies->items[i]);
    return (bench_clock_s(CLOCK_PROCESS_CPUTIME_ID) - before) * 1e9 / (double)events;
}

static double run_parse(struct bench *bench, const struct bodies *bodies, size_t events)
{
    struct json root;
    double before = bench_clock_s(CLOCK_PROCESS_CPUTIME_ID);
    for (size_t i = 0; i < bodies->count; ++i)
        bench_must(json_parse(bench->json, bodies->items[i].text, &root, NULL), "json_parse", NULL);
    return (bench_clock_s(CLOCK_PROCESS_CPUTIME_ID) - before) * 1e9 / (double)events;
}

static void report(struct segment *segment)
{
    struct bench *bench = &segment->bench;
    const struct bodies *singles = &segment->singles, *batches = &segment->batches;
    double single[ROUNDS], batch[ROUNDS], parse_single[ROUNDS], parse_batch[ROUNDS];
    double masked_single[ROUNDS], masked_batch[ROUNDS];
    size_t batched = batches->count * BATCH_EVENTS;
    for (size_t i = 0; i < ROUNDS; ++i) {
        single[i] = run_decode(bench, singles, singles->count);
        parse_single[i] = run_parse(bench, singles, singles->count);
        batch[i] = run_decode(bench, batches, batched);
        parse_batch[i] = run_parse(bench, batches, batched);
        bench->masks = true;
        masked_single[i] = run_decode(bench, singles, singles->count);
        masked_batch[i] = run_decode(bench, batches, batched);
        bench->masks = false;
    }
    printf("{\"dialect\":\"segment\",\"single_ns\":%.1f,\"single_parse_ns\":%.1f,"
           "\"single_masked_ns\":%.1f,\"batch_ns\":%.1f,\"batch_parse_ns\":%.1f,"
           "\"batch_masked_ns\":%.1f,\"json_bytes\":%.1f}\n",
           bench_median(single, ROUNDS), bench_median(parse_single, ROUNDS),
           bench_median(masked_single, ROUNDS), bench_median(batch, ROUNDS),
           bench_median(parse_batch, ROUNDS), bench_median(masked_batch, ROUNDS),
           (double)singles->text.len / (double)singles->count - 1);
}

/* decode starts out anew each time. */
static void write_encoded(struct segment *segment, const char *path)
{
    struct pl_why why = {0};
    struct pl_buf all;
    pl_buf_init(&all, BENCH_FILE_BYTES);
    for (size_t i = 0; i < segment->singles.count; ++i) {
        decode(&segment->bench, &segment->singles.items[i]);
        bench_must(pl_buf_append_span(&all, pl_buf_span(&segment->bench.out)), "events", NULL);
    }
    bench_must(pl_file_replace(path, "encoded events", 0600, pl_buf_span(&all), &why), path, &why);
    pl_buf_release(&all);
}

static void bench_init(struct bench *bench)
{
    pl_buf_init(&bench->scratch, DIALECT_SCRATCH_BYTES);
    pl_buf_init(&bench->masked, EVENT_MASK_SCRATCH_BYTES);
    pl_buf_init(&bench->out, BENCH_FILE_BYTES);
    pl_buf_init(&bench->reply, BENCH_FILE_BYTES);
    bench_must(pl_buf_reserve(&bench->masked, EVENT_MASK_SCRATCH_BYTES), "scratch", NULL);
    bench_must(pl_buf_reserve(&bench->scratch, DIALECT_SCRATCH_BYTES), "scratch", NULL);
    bench_must(json_parser_new(&bench->json, LIMIT_BATCH_BYTES, LIMIT_JSON_DEPTH), "json", NULL);
    bench_must(json_writer_new(&bench->writer, false), "json", NULL);
    bench_must(json_parser_new(&bench->nested, LIMIT_BATCH_BYTES, LIMIT_JSON_DEPTH), "json", NULL);
}

static void bench_release(struct bench *bench)
{
    json_writer_free(bench->writer);
    json_parser_free(bench->nested);
    json_parser_free(bench->json);
    pl_buf_release(&bench->reply);
    pl_buf_release(&bench->out);
    pl_buf_release(&bench->masked);
    pl_buf_release(&bench->scratch);
}

static void bench_segment(struct segment *segment, const char *events, const char *out)
{
    segment->bench.dialect = EVENT_DIALECT_SEGMENT;
    bench_read(events, &segment->singles.text);
    split(&segment->singles, NULL);
    make_batches(&segment->singles, &segment->batches);
    if (segment->batches.count == 0) {
        fprintf(stderr, "%s: needs at least %d events\n", events, BATCH_EVENTS);
        exit(1);
    }
    if (out != NULL)
        write_encoded(segment, out);
    else
        report(segment);
    pl_buf_release(&segment->batches.text);
    pl_buf_release(&segment->singles.text);
    free(segment->batches.items);
    free(segment->singles.items);
}

int main(int argc, char **argv)
{
    static struct segment segment;
    const bool golden = argc == 3 && strcmp(argv[1], "--golden") == 0;
    const bool encode = argc == 4 && strcmp(argv[2], "--encode") == 0;
    if (argc != 2 && !golden && !encode) {
        fprintf(stderr, "usage: bench_dialect EVENTS.ndjson [--encode OUT] | --golden FOLDER\n");
        return 2;
    }
    bench_init(&segment.bench);
    if (golden)
        bench_golden(&segment.bench, argv[2]);
    else
        bench_segment(&segment, argv[1], encode ? argv[3] : NULL);
    bench_release(&segment.bench);
    return 0;
}
