/*
 * Query strings, as pixels and links bring them: walking, finding and decoding parameters, and the
 * texts that stand in them.
 */
#include "proto/base/clock.h"
#include "proto/base/id.h"
#include "proto/base/text.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth)
{
    if (!truth)
        abort();
}

static void read_as_everything(struct pl_span text)
{
    struct pl_id128 id;
    uint64_t number;
    int64_t ms;
    char again[PL_ID128_TEXT];
    pl_time_parse(text, &ms);
    pl_span_to_u64(text, &number);
    pl_span_to_i64(text, &ms);
    pl_account_parse(text, &number);
    if (pl_id128_parse(text, &id)) {
        pl_id128_format(&id, again);
        require(pl_span_eq_nocase(text, pl_span_str(again)));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pl_span query = pl_span(data, size), rest = query, name, value, found;
    struct pl_buf decoded, binary, text;
    pl_buf_init(&decoded, 1 << 20);
    pl_buf_init(&binary, 1 << 20);
    pl_buf_init(&text, 1 << 20);
    while (pl_form_next(&rest, &name, &value)) {
        require(name.len + value.len <= size);
        pl_buf_reset(&decoded);
        pl_buf_reset(&binary);
        if (pl_form_decode(value, &decoded) != PL_OK)
            continue;
        require(decoded.len <= value.len);
        read_as_everything(pl_buf_span(&decoded));
        if (pl_base64_decode(pl_buf_span(&decoded), &binary) == PL_OK) {
            pl_buf_reset(&text);
            require(pl_base64_encode(pl_buf_span(&binary), &text) == PL_OK);
            require(text.len >= binary.len);
        }
    }
    if (pl_form_find(query, "data", &found) && found.len > 0)
        require(found.data >= data && found.data + found.len <= data + size);
    pl_buf_release(&decoded);
    pl_buf_release(&binary);
    pl_buf_release(&text);
    return 0;
}
