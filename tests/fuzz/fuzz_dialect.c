/*
 * Requests in any dialect, from the bytes of query and body to encoded events: any answer but a
 * named error or events that can be read back is a defect. The first byte is the dialect's number,
 * the second picks its route; the query ends at the first newline, the body follows.
 */
#include "edge/dialect.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW_MS INT64_C(1767225600000)

static const char config[] =
    "{\"version\":3,\"campaigns\":[{\"id\":\"c\",\"traffic\":1,\"url\":[],\"variants\":[{\"id\":"
    "\"v\",\"weight\":1,\"control\":false,\"modifications\":[{\"type\":\"event\",\"name\":\"n\","
    "\"value\":\"x\"}]}]}],\"settings\":{}}";

static struct {
    struct json_parser *json, *nested;
    struct json_writer *writer, *exporter;
    struct event_reader *reader;
    struct pl_buf scratch, wire, body, json_text;
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
    json_writer_free(world.writer);
    json_writer_free(world.exporter);
    event_reader_free(world.reader);
    pl_buf_release(&world.scratch);
    pl_buf_release(&world.wire);
    pl_buf_release(&world.body);
    pl_buf_release(&world.json_text);
}

static void begin(void)
{
    require(json_parser_new(&world.json, LIMIT_DRAIN_BYTES, LIMIT_JSON_DEPTH) == PL_OK);
    require(json_parser_new(&world.nested, LIMIT_DRAIN_BYTES, LIMIT_JSON_DEPTH) == PL_OK);
    require(json_writer_new(&world.writer, false) == PL_OK);
    require(json_writer_new(&world.exporter, false) == PL_OK);
    require(event_reader_new(&world.reader) == PL_OK);
    pl_buf_init(&world.wire, 1 << 24);
    pl_buf_init(&world.body, 1 << 22);
    pl_buf_init(&world.json_text, 1 << 24);
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
    if (rest.len <= LIMIT_EVENT_WIRE_BYTES) {
        require(event_read(world.reader, &rest, &world.back, NULL, NULL) == PL_OK);
        pl_buf_reset(&world.json_text);
        require(event_write_json(&world.back, world.exporter, &world.json_text) == PL_OK);
    }
    return PL_OK;
}

static bool has_seen(void *ctx, struct pl_span id)
{
    (void)ctx;
    return id.len % 2 == 0;
}

static struct pl_span public_config(void *ctx)
{
    (void)ctx;
    return pl_span_str(config);
}

static bool is_claimed(void *ctx, const struct dialect_claim *claim)
{
    (void)ctx;
    return claim->key.len % 2 == 0;
}

static const struct dialect *find(unsigned id)
{
    for (size_t i = 0; i < dialect_count; i++)
        if (dialects[i]->id == id)
            return dialects[i];
    return NULL;
}

/* The only one that a dialect's key stands in. */
static bool token(const void *ctx, const char *name, struct pl_span *value)
{
    (void)ctx;
    *value = PL_SPAN_LIT("token");
    return strcmp(name, "x-xng-authtoken") == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (world.json == NULL)
        begin();
    if (size < 2)
        return 0;
    const struct dialect *dialect = find(data[0] % EVENT_DIALECT_COUNT);
    if (dialect == NULL)
        return 0;
    const struct dialect_route *route = &dialect->routes[data[1] % dialect->route_count];
    const struct pl_span text = pl_span(data + 2, size - 2);
    const uint8_t *newline = text.len == 0 ? NULL : memchr(text.data, '\n', text.len);
    const size_t query_len = newline == NULL ? text.len : (size_t)(newline - text.data);
    const bool post = (route->methods & DIALECT_POST) != 0;
    pl_buf_reset(&world.scratch);
    pl_buf_reset(&world.body);
    const struct dialect_input input = {
        .method = post ? DIALECT_POST : DIALECT_GET,
        .tail = PL_SPAN_LIT("track"),
        .query = pl_span(text.data, query_len),
        .body = post ? pl_span_from(text, query_len + 1) : pl_span(NULL, 0),
        .header = token,
        .now_ms = NOW_MS,
        .json = world.json,
        .json_nested = world.nested,
        .writer = world.writer,
        .scratch = &world.scratch,
        .event = &world.event,
    };
    const struct dialect_sink sink = {.claim = take_claim,
                                      .emit = take_event,
                                      .is_claimed = is_claimed,
                                      .seen = has_seen,
                                      .has_campaign = has_seen,
                                      .config = public_config};
    struct dialect_outcome outcome = {.body = &world.body};
    struct pl_why why = {0};
    enum pl_err err = route->decode(&input, &sink, &outcome, &why);
    if (err != PL_OK)
        require(why.text[0] != '\0' && why.err == err);
    return 0;
}
