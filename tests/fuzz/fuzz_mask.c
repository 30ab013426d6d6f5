/*
 * Masking of personal data: JSON as an event's pack, or any text as its fields. A masked event must
 * be whole, hold nothing that a second pass finds, and be masked whenever the quick look says no.
 */
#include "proto/wire/catalog.h"
#include "proto/wire/event_mask.h"
#include "proto/wire/event_scan.h"
#include "proto/wire/limits.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
    struct json_parser *parser;
    struct event_reader *reader;
    struct pl_buf pack, scratch, second, wire;
    struct event event, back;
} world;

static void require(bool truth)
{
    if (!truth)
        abort();
}

__attribute__((destructor)) static void end(void)
{
    json_parser_free(world.parser);
    event_reader_free(world.reader);
    pl_buf_release(&world.pack);
    pl_buf_release(&world.scratch);
    pl_buf_release(&world.second);
    pl_buf_release(&world.wire);
}

static void begin(void)
{
    require(json_parser_new(&world.parser, LIMIT_DRAIN_BYTES, LIMIT_JSON_DEPTH) == PL_OK);
    require(event_reader_new(&world.reader) == PL_OK);
    pl_buf_init(&world.pack, LIMIT_EVENT_WIRE_BYTES);
    pl_buf_init(&world.wire, LIMIT_DRAIN_BYTES);
    pl_buf_init(&world.scratch, EVENT_MASK_SCRATCH_BYTES);
    pl_buf_init(&world.second, EVENT_MASK_SCRATCH_BYTES);
    require(pl_buf_reserve(&world.pack, LIMIT_EVENT_WIRE_BYTES) == PL_OK);
    require(pl_buf_reserve(&world.scratch, EVENT_MASK_SCRATCH_BYTES) == PL_OK);
    require(pl_buf_reserve(&world.second, EVENT_MASK_SCRATCH_BYTES) == PL_OK);
}

/* False: not an event. */
static bool make_event(struct pl_span text)
{
    struct json value;
    event_clear(&world.event);
    pl_buf_reset(&world.pack);
    event_set_u64(&world.event, EVENT_ACCOUNT, 1);
    if (text.len > 0 && (text.data[0] == '{' || text.data[0] == '[')) {
        if (json_parse(world.parser, text, &value, NULL) != PL_OK ||
            json_to_msgpack(value, &world.pack) != PL_OK)
            return false;
        event_set_pack(&world.event, EVENT_PROPS, pl_buf_span(&world.pack));
        return true;
    }
    event_set_str(&world.event, EVENT_MESSAGE_ID, text);
    event_set_str(&world.event, EVENT_USER_ID, text);
    event_set_str(&world.event, EVENT_PAGE_URL, text);
    event_set_str(&world.event, EVENT_AFFILIATION, text);
    event_set_u64(&world.event, EVENT_CHECKOUT_STEP_NUMBER, 52);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t key[CATALOG_ID_KEY_BYTES] = {1};
    if (world.parser == NULL)
        begin();
    if (size == 0)
        return 0;
    const struct event_mask_policy policy = {data[0] & PII_ALL, key};
    unsigned masked;
    pl_buf_reset(&world.wire);
    if (!make_event(pl_span(data + 1, size - 1)) ||
        event_encode(&world.event, &world.wire) != PL_OK)
        return 0;
    require(pl_buf_reserve(&world.wire, EVENT_SCAN_SLACK) == PL_OK);
    const bool found = event_scan(pl_buf_span(&world.wire), policy.kinds);
    const struct pl_span before = event_str(&world.event, EVENT_PROPS);
    if (event_mask(&world.event, &policy, &world.scratch, &masked) != PL_OK)
        return 0;
    require(found || (masked == 0 && event_str(&world.event, EVENT_PROPS).data == before.data));
    pl_buf_reset(&world.wire);
    if (event_encode(&world.event, &world.wire) != PL_OK)
        return 0;
    struct pl_span rest = pl_buf_span(&world.wire);
    require(event_read(world.reader, &rest, &world.back, NULL, NULL) == PL_OK && rest.len == 0);
    require(event_mask(&world.back, &policy, &world.second, &masked) == PL_OK && masked == 0);
    return 0;
}
