#include "edge/sdk.h"

/* Made from edge/snippet by edge/snippet/build.mjs. */
static const uint8_t sdk_bytes[] = {
#include "sdk_text.inc"
};
static const uint8_t ce_bytes[] = {
#include "ce_text.inc"
};

struct pl_span sdk_text(void)
{
    return pl_span(sdk_bytes, sizeof(sdk_bytes));
}

struct pl_span sdk_ce_text(void)
{
    return pl_span(ce_bytes, sizeof(ce_bytes));
}

enum pl_err sdk_script_of(const struct pl_id128 *write_key, struct pl_span config_json,
                          struct pl_buf *out)
{
    char key[PL_ID128_TEXT];
    pl_id128_format(write_key, key);
    enum pl_err err = pl_buf_appendf(out, "self.polderBoot={\"key\":\"%s\",\"config\":", key);
    if (err == PL_OK) {
        err = config_json.len > 0 ? pl_buf_append_span(out, config_json)
                                  : pl_buf_append_str(out, "null");
    }
    if (err == PL_OK) {
        err = pl_buf_append_str(out, "};\n");
    }
    return err == PL_OK ? pl_buf_append_span(out, sdk_text()) : err;
}
