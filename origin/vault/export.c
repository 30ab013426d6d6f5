#include "origin/vault/export_state.h"

#include "origin/vault/vault_days.h"
#include "proto/base/secret.h"

#include <inttypes.h>
#include <stdlib.h>

#define SLICE_MS 250
/* Keys walked between two looks at the clock. */
#define CLOCK_EVERY 64

enum pl_err exporter_new(struct exporter **out, struct store *store, struct keyring *keyring)
{
    struct exporter *x = calloc(1, sizeof(*x));
    if (x == NULL)
        return PL_ENOMEM;
    x->store = store;
    x->keyring = keyring;
    pl_buf_init(&x->encoded, 2 * LIMIT_EVENT_WIRE_BYTES);
    x->event = calloc(1, sizeof(*x->event));
    enum pl_err err = x->event == NULL ? PL_ENOMEM : event_reader_new(&x->reader);
    if (err == PL_OK)
        err = json_writer_new(&x->json, false);
    if (err == PL_OK)
        err = vault_sealer_new(&x->sealer, keyring, 16);
    if (err != PL_OK) {
        exporter_free(x);
        return err;
    }
    *out = x;
    return PL_OK;
}

void exporter_tidy(struct exporter *x)
{
    vault_sealer_tidy(x->sealer);
}

void exporter_free(struct exporter *x)
{
    if (x == NULL)
        return;
    vault_sealer_free(x->sealer);
    event_reader_free(x->reader);
    json_writer_free(x->json);
    free(x->event);
    pl_buf_wipe(&x->encoded);
    free(x);
}

/* Whether the account's key is there to read with. */
static enum pl_err check_key(struct exporter *x, const struct export_cursor *cursor,
                             struct pl_why *why)
{
    uint8_t key[KEYRING_DATA_KEY_BYTES];
    enum pl_err err = keyring_key(x->keyring, cursor->request.account, key);
    pl_wipe(key, sizeof(key));
    switch (err) {
    case PL_OK:
        return PL_OK;
    case PL_EEXPIRED:
        return pl_fail(why, err, "the account's data was deleted: its key is destroyed");
    case PL_ENOTFOUND: /* that is the end of an export */
        return pl_fail(why, PL_ECORRUPT,
                       "the account's data key is not in the keyring, so nothing of it can be read "
                       "(see /ready)");
    default:
        return pl_fail(why, err,
                       "the account's data key is not at hand (see the keyring's alarms)");
    }
}

/* ---- what is to be read */

static void end_of(const struct export_request *request, struct vault_key *end)
{
    vault_key_first(request->account, request->last_day + 1, end);
    /* The largest account's last day ends with the family. */
    if (vault_key_account(end) < request->account)
        memset(end, 0xff, sizeof(*end));
}

/* Behind the last key that begins so; its day's last visitor hash is nobody's in practice, and
 * then the carry into the day does what is right. */
static void behind_prefix(const uint8_t prefix[VAULT_VISITOR_PREFIX], struct vault_key *end)
{
    memset(end, 0, sizeof(*end));
    memcpy(end->bytes, prefix, VAULT_VISITOR_PREFIX);
    for (size_t i = VAULT_VISITOR_PREFIX; i-- > 0 && ++end->bytes[i] == 0;)
        ;
}

/* Of the places where a day has a visitor's events, the first that does not lie before the cursor,
 * which moves there. PL_ENOTFOUND: the day has none left. */
static enum pl_err place_of_day(struct exporter *x, struct export_cursor *cursor, int64_t day,
                                struct vault_key *end)
{
    const struct export_request *r = &cursor->request;
    uint8_t places[2][VAULT_VISITOR_PREFIX], (*first)[VAULT_VISITOR_PREFIX] = NULL;
    for (int user = 0; user < 2; user++) {
        enum pl_err err =
            vault_visitor_prefix(x->sealer, r->account, day, pl_span(r->visitor, r->visitor_len),
                                 user != 0, places[user]);
        if (err != PL_OK)
            return err;
        if (memcmp(places[user], cursor->at.bytes, VAULT_VISITOR_PREFIX) >= 0 &&
            (first == NULL || memcmp(places[user], *first, VAULT_VISITOR_PREFIX) < 0))
            first = &places[user];
    }
    if (first == NULL)
        return PL_ENOTFOUND;
    if (memcmp(*first, cursor->at.bytes, VAULT_VISITOR_PREFIX) > 0) {
        memset(&cursor->at, 0, sizeof(cursor->at));
        memcpy(cursor->at.bytes, *first, VAULT_VISITOR_PREFIX);
        cursor->after = false;
    }
    behind_prefix(*first, end);
    return PL_OK;
}

/* The stretch of keys to read next: from the cursor, which may move on to it, to *end.
 * PL_ENOTFOUND: none is left. */
static enum pl_err next_stretch(struct exporter *x, struct export_cursor *cursor,
                                struct vault_key *end)
{
    const struct export_request *r = &cursor->request;
    if (r->visitor_len == 0) {
        end_of(r, end);
        return PL_OK;
    }
    int64_t day = vault_key_day(&cursor->at);
    for (;;) {
        enum pl_err err = place_of_day(x, cursor, day, end);
        if (err != PL_ENOTFOUND)
            return err;
        if (++day > r->last_day)
            return PL_ENOTFOUND;
        err = vault_next_day(x->store, r->account, r->last_day, &day);
        if (err != PL_OK)
            return err;
        vault_key_first(r->account, day, &cursor->at);
        cursor->after = false;
    }
}

/* Behind a stretch. */
static void pass_stretch(struct export_cursor *cursor, const struct vault_key *end)
{
    if (cursor->request.visitor_len == 0) {
        cursor->done = true;
        return;
    }
    cursor->at = *end;
    cursor->after = false;
}

/* ---- a slice */

struct slice {
    const struct pl_clock *clock;
    int64_t until_ms;
    size_t full;
    const _Atomic bool *stop;
    unsigned keys;
};

static bool is_over(struct slice *slice, const struct pl_buf *out)
{
    return out->len >= slice->full || (slice->stop != NULL && *slice->stop) ||
           (++slice->keys % CLOCK_EVERY == 0 && pl_mono_ms(slice->clock) >= slice->until_ms);
}

/* PL_ENOTFOUND: the stretch is read; PL_OK: the slice is over. */
static enum pl_err walk(struct exporter *x, struct export_cursor *cursor, struct slice *slice,
                        const struct vault_key *end, struct pl_buf *out)
{
    struct store_scan *scan;
    struct pl_span key, value;
    enum pl_err err = store_scan_new(&scan, x->store, FAMILY_VAULT, vault_key_span(&cursor->at),
                                     vault_key_span(end));
    if (err != PL_OK)
        return err;
    do {
        struct vault_key at;
        if ((err = store_scan_next(scan, &key, &value)) != PL_OK)
            break;
        if (key.len != VAULT_KEY_BYTES) {
            err = PL_EINVAL;
            break;
        }
        memcpy(at.bytes, key.data, sizeof(at));
        if (cursor->after && memcmp(at.bytes, cursor->at.bytes, sizeof(at)) == 0)
            continue;
        if ((err = export_put_event(x, cursor, &at, value, out)) != PL_OK)
            break;
        cursor->at = at;
        cursor->after = true;
    } while (!is_over(slice, out));
    store_scan_free(scan);
    return err;
}

/* A record that says between which keys events are lost; the cursor goes behind them. */
static enum pl_err pass_rot(struct exporter *x, struct export_cursor *cursor,
                            const struct vault_key *end, struct pl_buf *out)
{
    struct vault_key good;
    enum pl_err err = export_way_on(x->store, &cursor->at, end, &good);
    if (err == PL_OK)
        err = export_put_error(x, cursor, "events after this key are on a damaged part of the disk",
                               &cursor->at, &good, out);
    if (err == PL_OK && memcmp(good.bytes, end->bytes, sizeof(good)) == 0) {
        pass_stretch(cursor, end);
    } else if (err == PL_OK) {
        cursor->at = good;
        cursor->after = false;
    }
    return err;
}

static enum pl_err walk_all(struct exporter *x, struct export_cursor *cursor, struct slice *slice,
                            struct pl_buf *out)
{
    enum pl_err err = PL_OK;
    while (err == PL_OK && !cursor->done) {
        struct vault_key end;
        err = next_stretch(x, cursor, &end);
        if (err == PL_ENOTFOUND) {
            cursor->done = true;
            break;
        }
        if (err == PL_OK)
            err = walk(x, cursor, slice, &end, out);
        if (err == PL_OK)
            return PL_OK;
        if (err == PL_ECORRUPT) {
            err = pass_rot(x, cursor, &end, out);
        } else if (err == PL_ENOTFOUND) {
            pass_stretch(cursor, &end);
            err = PL_OK;
        }
        if (err == PL_OK && is_over(slice, out))
            return PL_OK;
    }
    return err == PL_ENOTFOUND ? PL_OK : err;
}

enum pl_err export_next(struct exporter *x, struct export_cursor *cursor,
                        const struct pl_clock *clock, int64_t slice_ms, size_t max_bytes,
                        const _Atomic bool *stop, struct pl_buf *out, struct pl_why *why)
{
    enum pl_err err = check_key(x, cursor, why);
    if (err != PL_OK)
        return err;
    if (cursor->done)
        return PL_ENOTFOUND;
    size_t before = out->len;
    struct slice slice = {.clock = clock,
                          .until_ms = pl_mono_ms(clock) + (slice_ms == 0 ? SLICE_MS : slice_ms),
                          .full = before + max_bytes,
                          .stop = stop};
    err = walk_all(x, cursor, &slice, out);
    if (err == PL_OK)
        return cursor->done && out->len == before ? PL_ENOTFOUND : PL_OK;
    if (err == PL_EEXPIRED)
        return check_key(x, cursor, why);
    return pl_fail(why, err, "cannot read the vault after %" PRIu64 " events: %s", cursor->events,
                   pl_err_word(err));
}
