/*
 * Campaign configs as people upload them. What passes the check has a public form, which is JSON;
 * what does not pass gets at least one problem that can be shown to a person.
 */
#include "proto/wire/config.h"

#include "proto/wire/json.h"
#include "proto/wire/limits.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth)
{
    if (!truth)
        abort();
}

static void check_public(struct pl_span in)
{
    struct json_parser *parser;
    struct json root;
    struct pl_buf out;
    pl_buf_init(&out, 2 * LIMIT_CONFIG_PUBLIC_BYTES);
    require(config_public(in, 1, &out, NULL) == PL_OK);
    require(json_parser_new(&parser, LIMIT_CONFIG_PUBLIC_BYTES, LIMIT_JSON_DEPTH) == PL_OK);
    require(json_parse(parser, pl_buf_span(&out), &root, NULL) == PL_OK);
    require(json_type(root) == JSON_OBJECT && json_count(root) == 3);
    json_parser_free(parser);
    pl_buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config_problem problems[8];
    struct pl_span in = pl_span(data, size);
    size_t count = 0;
    enum pl_err err = config_check(in, problems, 8, &count);
    if (err == PL_OK) {
        require(count == 0);
        check_public(in);
        return 0;
    }
    require(err == PL_EINVAL && count > 0);
    for (size_t i = 0; i < count; i++) {
        require(problems[i].text[0] != '\0' && pl_span_is_utf8(pl_span_str(problems[i].text)));
        require(pl_span_is_utf8(pl_span_str(problems[i].path)));
        require((problems[i].line == 0) == (problems[i].column == 0));
    }
    return 0;
}
