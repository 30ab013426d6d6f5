/*
 * JSON as clients send it. What parses must come out of both writers as the same text, the way
 * through msgpack included, and writing what was written must change nothing.
 */
#include "proto/wire/json.h"

#include "proto/wire/limits.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
    struct json_parser *parser;
    struct json_writer *writer;
} world;

static void require(bool truth)
{
    if (!truth)
        abort();
}

__attribute__((destructor)) static void end(void)
{
    json_parser_free(world.parser);
    json_writer_free(world.writer);
}

/* Into out, by way of msgpack and directly: both must agree. */
static void rewrite(struct json root, struct pl_buf *out)
{
    struct pl_buf pack, direct;
    pl_buf_init(&pack, 1 << 24);
    pl_buf_init(&direct, 1 << 24);
    require(json_to_msgpack(root, &pack) == PL_OK);
    json_writer_begin(world.writer, out);
    require(json_write_msgpack(world.writer, pl_buf_span(&pack)) == PL_OK);
    require(json_writer_end(world.writer) == PL_OK);
    json_writer_begin(world.writer, &direct);
    json_write_value(world.writer, root);
    require(json_writer_end(world.writer) == PL_OK);
    require(pl_span_eq(pl_buf_span(out), pl_buf_span(&direct)));
    pl_buf_release(&pack);
    pl_buf_release(&direct);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pl_buf text[3];
    struct pl_span in = pl_span(data, size);
    struct json root;
    struct pl_why why = {0};
    if (world.parser == NULL) {
        require(json_parser_new(&world.parser, 1 << 24, LIMIT_JSON_DEPTH) == PL_OK);
        require(json_writer_new(&world.writer, false) == PL_OK);
    }
    enum pl_err err = json_parse(world.parser, in, &root, &why);
    if (err != PL_OK) {
        require((err == PL_EINVAL || err == PL_ELIMIT) && why.text[0] != '\0');
        return 0;
    }
    for (int i = 0; i < 3; i++) {
        pl_buf_init(&text[i], 1 << 24);
        rewrite(root, &text[i]);
        require(json_parse(world.parser, pl_buf_span(&text[i]), &root, NULL) == PL_OK);
    }
    /* The first round may change a number's form (-0.0 is "-0", which reads as 0), no later one. */
    require(pl_span_eq(pl_buf_span(&text[1]), pl_buf_span(&text[2])));
    for (int i = 0; i < 3; i++)
        pl_buf_release(&text[i]);
    return 0;
}
