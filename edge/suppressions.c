#include "edge/suppressions.h"

#include <stdlib.h>

struct suppressions {
    struct store *store;
    unsigned family;
    struct suppression_set *set;
};

static enum pl_err load(struct suppressions *s, size_t *damaged)
{
    struct store_scan *scan;
    struct pl_span key, value;
    struct suppression said;
    enum pl_err err =
        store_scan_new(&scan, s->store, s->family, pl_span(NULL, 0), pl_span(NULL, 0));
    while (err == PL_OK && (err = store_scan_next(scan, &key, &value)) == PL_OK) {
        if (suppression_read(key, value, &said) == PL_OK)
            err = suppression_set_put(s->set, &said, NULL);
        else
            ++*damaged;
    }
    store_scan_free(scan);
    if (err == PL_ENOTFOUND || err == PL_ENOMEM)
        return err == PL_ENOMEM ? err : PL_OK;
    ++*damaged;
    return PL_OK;
}

enum pl_err suppressions_open(struct suppressions **out, struct store *store, unsigned family,
                              const struct pl_log *log, struct pl_why *why)
{
    struct suppressions *s = calloc(1, sizeof(*s));
    size_t damaged = 0;
    if (s == NULL)
        return pl_fail(why, PL_ENOMEM, "no memory for the opt-outs");
    s->store = store;
    s->family = family;
    enum pl_err err = suppression_set_new(&s->set);
    if (err == PL_OK)
        err = load(s, &damaged);
    if (err != PL_OK) {
        suppressions_close(s);
        return pl_fail(why, err, "no memory for the opt-outs");
    }
    if (damaged > 0)
        pl_log(
            log, PL_LOG_WARN, "consent",
            "%zu damaged places among the opt-outs on disk: those of other edges come again with "
            "the feed, one heard here that the origin has not got yet may be lost",
            damaged);
    *out = s;
    return PL_OK;
}

void suppressions_close(struct suppressions *s)
{
    if (s == NULL)
        return;
    suppression_set_free(s->set);
    free(s);
}

enum pl_err suppressions_learn(struct suppressions *s, struct suppression said)
{
    said.since_ms = 0; /* at an edge no means from now on, and now is all it sees */
    return suppression_set_put(s->set, &said, NULL);
}

void suppressions_put(struct suppressions *s, struct store_batch *batch,
                      const struct suppression *said)
{
    uint8_t key[SUPPRESSION_KEY_BYTES], value[SUPPRESSION_VALUE_BYTES];
    struct suppression row = *said;
    row.since_ms = 0;
    suppression_key(&row, key);
    suppression_value(&row, value);
    store_batch_put(batch, s->store, s->family, pl_span(key, sizeof(key)),
                    pl_span(value, sizeof(value)));
}

enum pl_err suppressions_apply(struct suppressions *s, struct store_batch *batch,
                               const struct catalog_item *item)
{
    struct suppression said = {
        .account = item->account,
        .consent_id = item->consent_id,
        .active = item->suppressed,
    };
    memcpy(said.id_hash, item->suppressed_hash, ID_HASH_BYTES);
    enum pl_err err = suppression_set_put(s->set, &said, NULL);
    if (err == PL_OK)
        suppressions_put(s, batch, &said); /* as merged: what was taken back stays so */
    return err;
}

void suppressions_forget(struct suppressions *s, struct store_batch *batch, uint64_t account)
{
    uint8_t prefix[8];
    struct pl_buf end;
    pl_store_u64(prefix, account);
    pl_buf_init(&end, sizeof(prefix) + 1);
    /* The last account there can be has no end: its rows would go with the next restart only. */
    if (store_prefix_end(pl_span(prefix, sizeof(prefix)), &end) == PL_OK)
        store_batch_delete_range(batch, s->store, s->family, pl_span(prefix, sizeof(prefix)),
                                 pl_buf_span(&end));
    pl_buf_release(&end);
    suppression_set_forget(s->set, account);
}

bool suppressions_concern(const struct suppressions *s, const struct catalog_entry *entry,
                          const struct event *event)
{
    return suppression_set_concerns(s->set, entry->account, entry->id_key, event, INT64_MAX);
}

bool suppressions_know(const struct suppressions *s, const struct suppression *said)
{
    return suppression_set_knows(s->set, said);
}

bool suppressions_undone(const struct suppressions *s, const struct suppression *said)
{
    return suppression_set_undone(s->set, said);
}

bool suppressions_have_room(const struct suppressions *s, uint64_t account, size_t most)
{
    struct suppression_counts counts;
    suppression_set_count_of(s->set, account, &counts);
    return counts.active < most && counts.known / 4 < most;
}

void suppressions_fullest(const struct suppressions *s, struct suppression_counts *out)
{
    suppression_set_fullest(s->set, out);
}

size_t suppressions_count(const struct suppressions *s)
{
    return suppression_set_count(s->set);
}
