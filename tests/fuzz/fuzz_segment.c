/*
 * Requests in Segment's dialect, from the bytes of the body to encoded events: any answer but a
 * named error or events that can be read back is a defect. The first byte picks the route.
 */
#include "edge/dialects/segment.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW_MS INT64_C(1767225600000)

static struct {
    struct json_parser *json, *nested;
    struct event_reader *reader;
    struct pl_buf scratch, wire;
    struct event event, back;
} world;

static void require(bool truth)
{
    if (!truth)
        abort();
}

__attribute__((destructor)) static void end(void)
{
    json_parser_free(world.json);
    json_parser_free(world.nested);
    event_reader_free(world.reader);
    pl_buf_release(&world.scratch);
    pl_buf_release(&world.wire);
}

static void begin(void)
{
    require(json_parser_new(&world.json, LIMIT_DRAIN_BYTES, LIMIT_JSON_DEPTH) == PL_OK);
    require(json_parser_new(&world.nested, LIMIT_DRAIN_BYTES, LIMIT_JSON_DEPTH) == PL_OK);
    require(event_reader_new(&world.reader) == PL_OK);
    pl_buf_init(&world.wire, 1 << 24);
    pl_buf_init(&world.scratch, DIALECT_SCRATCH_BYTES);
    require(pl_buf_reserve(&world.scratch, DIALECT_SCRATCH_BYTES) == PL_OK);
}

static enum pl_err take_claim(void *ctx, const struct dialect_claim *claim, struct pl_why *why)
{
    (void)ctx;
    return claim->key.len > 0 ? PL_OK : pl_fail(why, PL_ENOTFOUND, "no key");
}

static enum pl_err take_event(void *ctx, struct event *event, struct pl_why *why)
{
    (void)ctx;
    event_set_u64(event, EVENT_ACCOUNT, 1);
    event_set_i64(event, EVENT_ACCEPTED_MS, NOW_MS);
    pl_buf_reset(&world.wire);
    enum pl_err err = event_encode(event, &world.wire);
    if (err != PL_OK)
        return pl_fail(why, err, "the event is refused");
    struct pl_span rest = pl_buf_span(&world.wire);
    if (rest.len <= LIMIT_EVENT_WIRE_BYTES)
        require(event_read(world.reader, &rest, &world.back, NULL, NULL) == PL_OK);
    return PL_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (world.json == NULL)
        begin();
    if (size == 0)
        return 0;
    const struct dialect_route *route =
        &dialect_segment.routes[data[0] % dialect_segment.route_count];
    struct pl_span text = pl_span(data + 1, size - 1);
    bool get = (route->methods & DIALECT_GET) != 0;
    pl_buf_reset(&world.scratch);
    struct dialect_input input = {
        .method = get ? DIALECT_GET : DIALECT_POST,
        .tail = PL_SPAN_LIT("track"),
        .query = get ? text : pl_span(NULL, 0),
        .body = get ? pl_span(NULL, 0) : text,
        .now_ms = NOW_MS,
        .json = world.json,
        .json_nested = world.nested,
        .scratch = &world.scratch,
        .event = &world.event,
    };
    struct dialect_sink sink = {.claim = take_claim, .emit = take_event};
    struct dialect_outcome outcome = {0};
    struct pl_why why = {0};
    enum pl_err err = route->decode(&input, &sink, &outcome, &why);
    if (err != PL_OK)
        require(why.text[0] != '\0' && why.err == err);
    return 0;
}
