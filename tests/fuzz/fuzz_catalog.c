/*
 * Catalog items as an origin may send them. Whatever decodes encodes again, and that decodes to
 * the same bytes.
 */
#include "proto/wire/catalog.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth)
{
    if (!truth)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct catalog_item item, again;
    struct pl_why why = {0};
    struct pl_buf first, second;
    enum pl_err err = catalog_decode(pl_span(data, size), &item, &why);
    if (err != PL_OK) {
        require((err == PL_ECORRUPT || err == PL_EUNSUPPORTED) && why.text[0] != '\0');
        return 0;
    }
    pl_buf_init(&first, 1 << 20);
    pl_buf_init(&second, 1 << 20);
    require(catalog_encode(&item, &first) == PL_OK);
    require(catalog_decode(pl_buf_span(&first), &again, NULL) == PL_OK);
    require(catalog_encode(&again, &second) == PL_OK);
    require(pl_span_eq(pl_buf_span(&first), pl_buf_span(&second)));
    pl_buf_release(&first);
    pl_buf_release(&second);
    return 0;
}
