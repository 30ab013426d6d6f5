#include "origin/accounts/suppressions.h"
#include "origin/families.h"
#include "proto/base/text.h"

#include <pthread.h>
#include <stdlib.h>

struct suppressions {
    struct suppressions_config config;
    struct suppression_set *set;
    pthread_mutex_t recording; /* a row is as new as the set when it was written */
};

static enum pl_err load(struct suppressions *s, struct pl_why *why)
{
    struct store_scan *scan;
    struct pl_span key, value;
    struct suppression one;
    enum pl_err err = store_scan_new(&scan, s->config.store, FAMILY_SUPPRESSIONS, pl_span(NULL, 0),
                                     pl_span(NULL, 0));
    while (err == PL_OK && (err = store_scan_next(scan, &key, &value)) == PL_OK) {
        err = suppression_read(key, value, &one);
        if (err == PL_OK)
            err = suppression_set_put(s->set, &one, NULL);
        else
            pl_fail(why, err,
                    "an opt-out in the database is damaged: restore it from a backup (the log "
                    "beside the keyring has what came since)");
    }
    store_scan_free(scan);
    return err == PL_ENOTFOUND ? PL_OK : err;
}

enum pl_err suppressions_open(struct suppressions **out, const struct suppressions_config *config,
                              struct pl_why *why)
{
    struct suppressions *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return pl_fail(why, PL_ENOMEM, "no memory for the opt-outs");
    s->config = *config;
    pthread_mutex_init(&s->recording, NULL);
    enum pl_err err = suppression_set_new(&s->set);
    if (err == PL_OK)
        err = load(s, why);
    if (err != PL_OK) {
        suppressions_close(s);
        return why->err == PL_OK
                   ? pl_fail(why, err, "the opt-outs cannot be read: %s", pl_err_word(err))
                   : err;
    }
    *out = s;
    return PL_OK;
}

void suppressions_close(struct suppressions *s)
{
    if (s == NULL)
        return;
    suppression_set_free(s->set);
    pthread_mutex_destroy(&s->recording);
    free(s);
}

enum pl_err suppressions_parse(const struct event *event, struct suppression *out)
{
    const uint64_t type = event_u64(event, EVENT_TYPE);
    if (type != EVENT_OPT_OUT && type != EVENT_OPT_IN)
        return PL_ENOTFOUND;
    *out = (struct suppression){
        .account = event_u64(event, EVENT_ACCOUNT),
        .since_ms = event_i64(event, EVENT_ACCEPTED_MS),
        .active = type == EVENT_OPT_OUT,
    };
    if (out->account == 0 || !pl_id128_parse(event_str(event, EVENT_CONSENT_ID), &out->consent_id))
        return PL_EINVAL;
    if (out->active &&
        !pl_hex_decode(event_str(event, EVENT_CONSENT_ID_HASH), out->id_hash, ID_HASH_BYTES))
        return PL_EINVAL;
    return PL_OK;
}

/* A row and its item in the changelog are one write: a row that is there was told. */
static bool is_recorded(struct suppressions *s, struct pl_span key, struct pl_span value)
{
    struct pl_buf row;
    pl_buf_init(&row, 256);
    const bool same = store_get(s->config.store, FAMILY_SUPPRESSIONS, key, &row) == PL_OK &&
                      pl_span_eq(pl_buf_span(&row), value);
    pl_buf_release(&row);
    return same;
}

/* What it takes back, as it was said; what was never said is taken back all the same. */
static enum pl_err find_said(struct suppressions *s, struct suppression *taken_back,
                             struct pl_why *why)
{
    uint8_t key[SUPPRESSION_KEY_BYTES];
    const struct pl_span span = pl_span(key, sizeof(key));
    struct pl_buf row;
    pl_buf_init(&row, 256);
    suppression_key(taken_back, key);
    enum pl_err err = store_get(s->config.store, FAMILY_SUPPRESSIONS, span, &row);
    if (err == PL_OK)
        err = suppression_read(span, pl_buf_span(&row), taken_back);
    taken_back->active = false;
    pl_buf_release(&row);
    return err == PL_OK || err == PL_ENOTFOUND
               ? PL_OK
               : pl_fail(why, err, "an opt-out cannot be read: %s", pl_err_word(err));
}

struct writing {
    struct suppressions *s;
    const struct suppression *said;
    struct pl_span key, row;
};

static enum pl_err write_row(void *ctx, struct pl_why *why)
{
    const struct writing *w = ctx;
    struct store_batch *batch;
    struct catalog_item item = {
        .kind = CATALOG_SUPPRESSION,
        .account = w->said->account,
        .consent_id = w->said->consent_id,
        .suppressed = w->said->active,
    };
    memcpy(item.suppressed_hash, w->said->id_hash, ID_HASH_BYTES);
    enum pl_err err = store_batch_new(&batch);
    if (err != PL_OK)
        return pl_fail(why, err, "no memory for an opt-out");
    store_batch_put(batch, w->s->config.store, FAMILY_SUPPRESSIONS, w->key, w->row);
    err = changelog_write(w->s->config.changelog, batch, &item, why);
    store_batch_free(batch);
    return err;
}

static enum pl_err learn(struct suppressions *s, struct suppression *said, struct pl_why *why)
{
    enum pl_err err = suppression_set_put(s->set, said, NULL);
    return err == PL_OK ? err : pl_fail(why, err, "no memory for an opt-out");
}

static enum pl_err write_down(struct suppressions *s, const struct suppression *merged,
                              struct pl_why *why)
{
    uint8_t key[SUPPRESSION_KEY_BYTES], value[SUPPRESSION_VALUE_BYTES];
    suppression_key(merged, key);
    suppression_value(merged, value);
    struct writing writing = {s, merged, pl_span(key, sizeof(key)), pl_span(value, sizeof(value))};
    if (is_recorded(s, writing.key, writing.row))
        return PL_OK;
    const struct redo_change change = {
        .record = {.kind = REDO_OPTOUT,
                   .account = merged->account,
                   .id = merged->consent_id,
                   .feed_position = changelog_position(s->config.changelog),
                   .row = writing.row},
        .family = FAMILY_SUPPRESSIONS,
        .key = writing.key,
        .row = writing.row,
        .write = write_row,
        .ctx = &writing,
    };
    return redo_make(s->config.redo, &change, why);
}

/* Under `recording`. A no counts before it is written, its taking back once it is: where that
 * fails, it can be taken back again. */
static enum pl_err record(struct suppressions *s, const struct suppression *said,
                          struct pl_why *why)
{
    struct suppression merged = *said;
    enum pl_err err = said->active ? learn(s, &merged, why) : find_said(s, &merged, why);
    if (err == PL_OK)
        err = write_down(s, &merged, why);
    return err == PL_OK && !said->active ? learn(s, &merged, why) : err;
}

enum pl_err suppressions_record(struct suppressions *s, const struct suppression *said,
                                struct pl_why *why)
{
    pthread_mutex_lock(&s->recording);
    const enum pl_err err = record(s, said, why);
    pthread_mutex_unlock(&s->recording);
    return err;
}

bool suppressions_any(const struct suppressions *s, uint64_t account)
{
    return suppression_set_any(s->set, account);
}

bool suppressions_hold(struct suppressions *s, uint64_t account, const uint8_t hash[ID_HASH_BYTES],
                       int64_t accepted_ms)
{
    return suppression_set_holds_hash(s->set, account, hash, accepted_ms);
}

size_t suppressions_standing(struct suppressions *s, uint64_t account,
                             const uint8_t hash[ID_HASH_BYTES], struct suppression *out, size_t max)
{
    return suppression_set_standing(s->set, account, hash, out, max);
}

bool suppressions_concern(struct suppressions *s, const struct event_ids *ids, int64_t accepted_ms)
{
    for (size_t i = 0; i < EVENT_IDS_COUNT; i++)
        if (ids->id[i].failed || (ids->id[i].present &&
                                  suppressions_hold(s, ids->account, ids->id[i].hash, accepted_ms)))
            return true;
    return false;
}

void suppressions_forget(struct suppressions *s, uint64_t account)
{
    suppression_set_forget(s->set, account);
}
