#include "origin/lifecycle/hold_ends.h"
#include "origin/families.h"

#include <stdlib.h>

static const struct pl_span TOLD_KEY = PL_SPAN_INIT("hold-ends-told");

static enum pl_err read_told(struct hold_ends *ends, struct store *store)
{
    struct pl_buf value;
    pl_buf_init(&value, 16);
    enum pl_err err = store_get(store, FAMILY_META, TOLD_KEY, &value);
    ends->told_ms = err == PL_OK && value.len == 8 ? (int64_t)pl_load_u64(value.data) : 0;
    ends->read = err == PL_OK || err == PL_ENOTFOUND;
    pl_buf_release(&value);
    return ends->read ? PL_OK : err;
}

static enum pl_err note(struct audit *audit, const struct hold *hold)
{
    char id[PL_ID128_TEXT];
    struct pl_why why;
    pl_id128_format(&hold->id, id);
    const struct audit_entry entry = {.actor = "lifecycle",
                                      .action = "hold.end",
                                      .account = hold->account,
                                      .object = id,
                                      .detail = "its date has come",
                                      .outcome = AUDIT_DONE};
    return audit_note(audit, &entry, &why);
}

static void keep_told(struct hold_ends *ends, struct store *store)
{
    uint8_t value[8];
    pl_store_u64(value, (uint64_t)ends->told_ms);
    ends->unkept =
        store_put(store, FAMILY_META, TOLD_KEY, pl_span(value, sizeof(value)), true, NULL) != PL_OK;
}

void hold_ends_tell(struct hold_ends *ends, struct store *store, struct holds *holds,
                    struct audit *audit, int64_t now_ms)
{
    struct hold *list;
    size_t count;
    if (!ends->read && read_told(ends, store) != PL_OK) {
        return;
    }
    enum pl_err err = holds_ended(holds, ends->told_ms, now_ms, &list, &count);
    for (size_t i = 0; i < count && err == PL_OK; i++) {
        err = note(audit, &list[i]);
    }
    if (err == PL_OK && count > 0) {
        ends->told_ms = now_ms;
        ends->unkept = true;
    }
    if (ends->unkept) {
        keep_told(ends, store);
    }
    free(list);
}
