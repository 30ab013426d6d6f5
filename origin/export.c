#include "origin/export.h"

#include "proto/base/secret.h"
#include "proto/base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define SLICE_MS 250
/* Keys walked between two looks at the clock. */
#define CLOCK_EVERY 64

struct exporter {
    struct store *store;
    struct keyring *keyring;
    struct vault_sealer *sealer;
    struct event_reader *reader;
    struct event *event;
    struct json_writer *json;
    struct pl_buf encoded;
};

enum pl_err export_begin(struct export_cursor *cursor, uint64_t account, int64_t first_day,
                         int64_t last_day, struct pl_why *why)
{
    if (first_day < 0 || last_day > VAULT_DAY_MAX || first_day > last_day)
        return pl_fail_field(why, PL_EINVAL, "from",
                             "the first day must not be after the last one, and both must be "
                             "between 1970 and 2149");
    *cursor = (struct export_cursor){.account = account, .last_day = last_day};
    vault_key_first(account, first_day, &cursor->at);
    return PL_OK;
}

/* ---- cursors as text: "1.DAY.KEY.AFTER.DONE.EVENTS.DAMAGED"; AFTER counts 2 more
 * with tallies */

void export_cursor_format(const struct export_cursor *cursor, char out[EXPORT_CURSOR_TEXT])
{
    char key[2 * VAULT_KEY_BYTES + 1];
    pl_hex_encode(vault_key_span(&cursor->at), key);
    snprintf(out, EXPORT_CURSOR_TEXT, "1.%" PRId64 ".%s.%d.%d.%" PRIu64 ".%" PRIu64,
             cursor->last_day, key, cursor->after + 2 * cursor->tallies, cursor->done,
             cursor->events, cursor->damaged);
}

/* The text up to the next point, or the end. */
static struct pl_span next_part(struct pl_span *rest)
{
    const uint8_t *point = rest->len == 0 ? NULL : memchr(rest->data, '.', rest->len);
    size_t len = point == NULL ? rest->len : (size_t)(point - rest->data);
    struct pl_span part = pl_span(rest->data, len);
    *rest = pl_span_from(*rest, len + 1);
    return part;
}

enum pl_err export_cursor_parse(struct pl_span text, struct export_cursor *cursor,
                                struct pl_why *why)
{
    struct export_cursor c = {.account = 0};
    uint64_t version, after, done;
    bool good = text.len < EXPORT_CURSOR_TEXT && pl_span_to_u64(next_part(&text), &version) &&
                version == 1 && pl_span_to_i64(next_part(&text), &c.last_day) && c.last_day >= 0 &&
                c.last_day <= VAULT_DAY_MAX &&
                pl_hex_decode(next_part(&text), c.at.bytes, VAULT_KEY_BYTES) &&
                pl_span_to_u64(next_part(&text), &after) && after <= 3 &&
                pl_span_to_u64(next_part(&text), &done) && done <= 1 &&
                pl_span_to_u64(next_part(&text), &c.events) &&
                pl_span_to_u64(next_part(&text), &c.damaged) && text.len == 0;
    if (!good || vault_key_account(&c.at) == 0)
        return pl_fail_field(why, PL_EINVAL, "cursor",
                             "this is not a cursor that an export gave out");
    c.account = vault_key_account(&c.at);
    c.after = (after & 1) != 0;
    c.tallies = (after & 2) != 0;
    c.done = done != 0;
    *cursor = c;
    return PL_OK;
}

/* ---- exporting */

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

static enum pl_err put_damage(struct exporter *x, const struct vault_key *key, enum pl_err reason,
                              struct pl_buf *out)
{
    char hex[2 * VAULT_KEY_BYTES + 1];
    pl_hex_encode(vault_key_span(key), hex);
    json_writer_begin(x->json, out);
    json_write_object(x->json);
    json_write_pair_text(x->json, "polder_error",
                         reason == PL_EUNSUPPORTED
                             ? "this event was stored by a newer version of polder-origin"
                             : "this event is damaged and cannot be read");
    json_write_pair_text(x->json, "key", hex);
    json_write_object_end(x->json);
    return json_writer_end(x->json);
}

/* One event as a line, or what is wrong with it. */
static enum pl_err put_line(struct exporter *x, struct export_cursor *cursor,
                            const struct vault_key *key, struct pl_span value, struct pl_buf *out)
{
    size_t before = out->len;
    pl_buf_reset(&x->encoded);
    enum pl_err err = vault_open_value(x->sealer, key, value, &x->encoded);
    if (err == PL_OK) {
        struct pl_span rest = pl_buf_span(&x->encoded);
        err = event_read(x->reader, &rest, x->event, NULL, NULL);
    }
    if (err == PL_OK && !cursor->tallies && event_u64(x->event, EVENT_TYPE) == EVENT_TALLY)
        return PL_OK;
    if (err == PL_OK)
        err = event_write_json(x->event, x->json, out);
    if (err == PL_EAUTH || err == PL_ECORRUPT || err == PL_EUNSUPPORTED || err == PL_EINVAL) {
        out->len = before;
        err = put_damage(x, key, err, out);
        cursor->damaged += err == PL_OK;
    }
    if (err == PL_OK)
        err = pl_buf_put_u8(out, '\n');
    if (err != PL_OK) {
        out->len = before;
        return err;
    }
    cursor->events++;
    return PL_OK;
}

/* Whether the account's key is there to read with. */
static enum pl_err check_key(struct exporter *x, const struct export_cursor *cursor,
                             struct pl_why *why)
{
    uint8_t key[KEYRING_DATA_KEY_BYTES];
    enum pl_err err = keyring_key(x->keyring, cursor->account, key);
    pl_wipe(key, sizeof(key));
    switch (err) {
    case PL_OK:
        return PL_OK;
    case PL_EEXPIRED:
        return pl_fail(why, err, "the account's data was deleted: its key is destroyed");
    case PL_ENOTFOUND:
        return pl_fail(why, err, "there is no such account");
    default:
        return pl_fail(why, err,
                       "the account's data key is not at hand (see the keyring's alarms)");
    }
}

/* ---- past a rotten block of the store */

typedef uint8_t key_bytes[VAULT_KEY_BYTES];

/* low + 2^bit, or high where that is less. */
static void step_up(const key_bytes low, unsigned bit, const key_bytes high, key_bytes out)
{
    unsigned carry = 1u << bit % 8;
    memcpy(out, low, VAULT_KEY_BYTES);
    for (size_t i = VAULT_KEY_BYTES - 1 - bit / 8; carry > 0; i--) {
        carry += out[i];
        out[i] = (uint8_t)carry;
        carry >>= 8;
        if (i == 0)
            break;
    }
    if (carry > 0 || memcmp(out, high, VAULT_KEY_BYTES) > 0)
        memcpy(out, high, VAULT_KEY_BYTES);
}

/* Half-way between the two; false when nothing is. */
static bool middle(const key_bytes low, const key_bytes high, key_bytes out)
{
    unsigned carry = 0;
    uint8_t sum[VAULT_KEY_BYTES + 1];
    for (size_t i = VAULT_KEY_BYTES; i-- > 0;) {
        carry += (unsigned)low[i] + high[i];
        sum[i + 1] = (uint8_t)carry;
        carry >>= 8;
    }
    sum[0] = (uint8_t)carry;
    for (size_t i = 0; i < VAULT_KEY_BYTES; i++)
        out[i] = (uint8_t)(sum[i] << 7 | sum[i + 1] >> 1);
    return memcmp(out, low, VAULT_KEY_BYTES) > 0;
}

/* PL_OK: reading from that key on works, be it that nothing is there. */
static enum pl_err can_read_from(struct exporter *x, const key_bytes from, const key_bytes end)
{
    struct store_scan *scan;
    struct pl_span key, value;
    enum pl_err err = store_scan_new(&scan, x->store, FAMILY_VAULT, pl_span(from, VAULT_KEY_BYTES),
                                     pl_span(end, VAULT_KEY_BYTES));
    if (err != PL_OK)
        return err;
    err = store_scan_next(scan, &key, &value);
    store_scan_free(scan);
    return err == PL_ENOTFOUND ? PL_OK : err;
}

/* The first key after `bad` from which reading works again. A block's keys lie close together:
 * look near first, then close in. */
static enum pl_err find_way_on(struct exporter *x, const key_bytes bad, const key_bytes end,
                               key_bytes good)
{
    key_bytes low, between;
    enum pl_err err = PL_ECORRUPT;
    memcpy(low, bad, sizeof(low));
    for (unsigned bit = 0; err == PL_ECORRUPT && bit < 8 * VAULT_KEY_BYTES; bit += 4) {
        step_up(bad, bit, end, good);
        if (memcmp(good, end, VAULT_KEY_BYTES) == 0)
            err = PL_OK;
        else if ((err = can_read_from(x, good, end)) == PL_ECORRUPT)
            memcpy(low, good, sizeof(low));
    }
    while (err == PL_OK && middle(low, good, between)) {
        err = can_read_from(x, between, end);
        memcpy(err == PL_OK ? good : low, between, sizeof(between));
        if (err == PL_ECORRUPT)
            err = PL_OK;
    }
    return err;
}

/* A line that says between which keys events are lost; the cursor goes behind them. */
static enum pl_err pass_rot(struct exporter *x, struct export_cursor *cursor,
                            const struct vault_key *end, struct pl_buf *out)
{
    struct vault_key good;
    char hex[2 * VAULT_KEY_BYTES + 1];
    size_t before = out->len;
    enum pl_err err = find_way_on(x, cursor->at.bytes, end->bytes, good.bytes);
    if (err != PL_OK)
        return err;
    json_writer_begin(x->json, out);
    json_write_object(x->json);
    json_write_pair_text(x->json, "polder_error",
                         "events after this key are on a damaged part of the disk");
    pl_hex_encode(vault_key_span(&cursor->at), hex);
    json_write_pair_text(x->json, "key", hex);
    pl_hex_encode(vault_key_span(&good), hex);
    json_write_pair_text(x->json, "readable_from", hex);
    json_write_object_end(x->json);
    err = json_writer_end(x->json);
    if (err == PL_OK)
        err = pl_buf_put_u8(out, '\n');
    if (err != PL_OK) {
        out->len = before;
        return err;
    }
    cursor->events++;
    cursor->damaged++;
    cursor->at = good;
    cursor->after = false;
    return PL_OK;
}

/* ---- a slice */

static enum pl_err walk(struct exporter *x, struct export_cursor *cursor,
                        const struct pl_clock *clock, int64_t until_ms, size_t full,
                        struct store_scan *scan, struct pl_buf *out)
{
    struct pl_span key, value;
    for (unsigned i = 1; out->len < full; i++) {
        enum pl_err err = store_scan_next(scan, &key, &value);
        if (err == PL_ENOTFOUND)
            cursor->done = true;
        if (err != PL_OK)
            return err;
        struct vault_key at;
        if (key.len != VAULT_KEY_BYTES)
            return PL_EINVAL;
        memcpy(at.bytes, key.data, sizeof(at));
        if (cursor->after && memcmp(at.bytes, cursor->at.bytes, sizeof(at)) == 0)
            continue;
        err = put_line(x, cursor, &at, value, out);
        if (err != PL_OK)
            return err;
        cursor->at = at;
        cursor->after = true;
        if (i % CLOCK_EVERY == 0 && pl_mono_ms(clock) >= until_ms)
            return PL_OK;
    }
    return PL_OK;
}

enum pl_err export_next(struct exporter *x, struct export_cursor *cursor,
                        const struct pl_clock *clock, int64_t slice_ms, size_t max_bytes,
                        struct pl_buf *out, struct pl_why *why)
{
    enum pl_err err = check_key(x, cursor, why);
    if (err != PL_OK)
        return err;
    if (cursor->done)
        return PL_ENOTFOUND;
    struct vault_key end;
    struct store_scan *scan;
    size_t before = out->len;
    vault_key_first(cursor->account, cursor->last_day + 1, &end);
    /* The largest account's last day ends with the family. */
    if (vault_key_account(&end) < cursor->account)
        memset(&end, 0xff, sizeof(end));
    err = store_scan_new(&scan, x->store, FAMILY_VAULT, vault_key_span(&cursor->at),
                         vault_key_span(&end));
    if (err != PL_OK)
        return pl_fail(why, err, "cannot read the vault: %s", pl_err_word(err));
    int64_t until_ms = pl_mono_ms(clock) + (slice_ms == 0 ? SLICE_MS : slice_ms);
    err = walk(x, cursor, clock, until_ms, before + max_bytes, scan, out);
    store_scan_free(scan);
    if (err == PL_ECORRUPT)
        err = pass_rot(x, cursor, &end, out);
    if (err == PL_ENOTFOUND)
        return out->len > before ? PL_OK : PL_ENOTFOUND;
    if (err == PL_EEXPIRED)
        return check_key(x, cursor, why);
    if (err != PL_OK)
        return pl_fail(why, err, "cannot read the vault after %" PRIu64 " events: %s",
                       cursor->events, pl_err_word(err));
    return PL_OK;
}
