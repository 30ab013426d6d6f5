/*
 * Events as a block may hold them. Whatever is read can be encoded and read again to the same
 * bytes, and is either exported as JSON or refused with nothing written.
 */
#include "proto/wire/event.h"

#include "proto/wire/limits.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth)
{
    if (!truth)
        abort();
}

static void check(struct event_reader *reader, struct json_writer *w, const struct event *event)
{
    struct pl_buf first, second, json;
    struct event again;
    pl_buf_init(&first, LIMIT_EVENT_WIRE_BYTES + 8);
    pl_buf_init(&second, LIMIT_EVENT_WIRE_BYTES + 8);
    pl_buf_init(&json, 16 * LIMIT_EVENT_WIRE_BYTES);
    require(event_encode(event, &first) == PL_OK);
    struct pl_span rest = pl_buf_span(&first);
    require(event_read(reader, &rest, &again, NULL, NULL) == PL_OK && rest.len == 0);
    require(event_encode(&again, &second) == PL_OK);
    require(pl_span_eq(pl_buf_span(&first), pl_buf_span(&second)));

    enum pl_err err = event_write_json(event, w, &json);
    require(err == PL_OK || (err == PL_ECORRUPT && json.len == 0));
    if (err == PL_OK) {
        struct json_parser *parser;
        struct json root;
        /* One level more than msgpack may nest. */
        require(json_parser_new(&parser, 16 * LIMIT_EVENT_WIRE_BYTES, 34) == PL_OK);
        require(json_parse(parser, pl_buf_span(&json), &root, NULL) == PL_OK);
        json_parser_free(parser);
    }
    pl_buf_release(&first);
    pl_buf_release(&second);
    pl_buf_release(&json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct event_reader *reader;
    struct json_writer *w;
    struct event event;
    struct pl_span rest = pl_span(data, size), encoded;
    struct pl_why why = {0};
    enum pl_err err;
    require(event_reader_new(&reader) == PL_OK);
    require(json_writer_new(&w, false) == PL_OK);
    while ((err = event_read(reader, &rest, &event, &encoded, &why)) == PL_OK) {
        require(encoded.len > 0 && (rest.len == 0 || encoded.data + encoded.len == rest.data));
        check(reader, w, &event);
    }
    require(err == PL_ENOTFOUND ? rest.len == 0 : err == PL_ECORRUPT && why.text[0] != '\0');
    json_writer_free(w);
    event_reader_free(reader);
    return 0;
}
