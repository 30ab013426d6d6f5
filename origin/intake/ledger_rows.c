/* The bytes of the ledger's rows; SPEC.md, "Ledger". */
#include "origin/intake/ledger_state.h"

#define ROW_VERSION  1
#define FLAG_LOST    1u
#define FLAG_REFUSED 2u

bool ledger_is_sum(const struct ledger_links *chain)
{
    static const struct pl_id128 none;
    return pl_id128_eq(&chain->incarnation, &none);
}

void ledger_chain_key(const struct pl_id128 *edge, const struct pl_id128 *incarnation,
                      uint8_t key[LEDGER_CHAIN_KEY_BYTES])
{
    memcpy(key, edge->bytes, 16);
    memcpy(key + 16, incarnation->bytes, 16);
}

void ledger_block_key(const struct pl_id128 *edge, const struct pl_id128 *incarnation,
                      uint64_t number, uint8_t key[LEDGER_BLOCK_KEY_BYTES])
{
    ledger_chain_key(edge, incarnation, key);
    pl_store_u64(key + LEDGER_CHAIN_KEY_BYTES, number);
}

void ledger_counts_add(struct ledger_counts *sum, const struct ledger_counts *more)
{
    sum->blocks += more->blocks;
    sum->events += more->events;
    sum->stored += more->stored;
    sum->duplicate += more->duplicate;
    for (int i = 0; i < DROP_COUNT; i++)
        sum->dropped[i] += more->dropped[i];
    sum->lost_blocks += more->lost_blocks;
}

uint64_t ledger_counts_dropped(const struct ledger_counts *counts)
{
    uint64_t sum = 0;
    for (int i = 0; i < DROP_COUNT; i++)
        sum += counts->dropped[i];
    return sum;
}

static void put_counts(struct pl_buf *out, const struct ledger_counts *c)
{
    pl_buf_put_varint(out, c->blocks);
    pl_buf_put_varint(out, c->events);
    pl_buf_put_varint(out, c->stored);
    pl_buf_put_varint(out, c->duplicate);
    pl_buf_put_varint(out, DROP_COUNT);
    for (int i = 0; i < DROP_COUNT; i++)
        pl_buf_put_varint(out, c->dropped[i]);
}

static void get_counts(struct pl_reader *r, struct ledger_counts *c)
{
    *c = (struct ledger_counts){.blocks = pl_get_varint(r)};
    c->events = pl_get_varint(r);
    c->stored = pl_get_varint(r);
    c->duplicate = pl_get_varint(r);
    uint64_t reasons = pl_get_varint(r);
    /* A store written by a newer build may know more reasons; this one cannot book them. */
    if (reasons > DROP_COUNT)
        r->failed = true;
    for (uint64_t i = 0; !r->failed && i < reasons; i++)
        c->dropped[i] = pl_get_varint(r);
}

/* Every row fits LEDGER_ROW_BYTES_MAX, which is reserved first: no append below can fail. */
static enum pl_err begin(struct pl_buf *out)
{
    enum pl_err err = pl_buf_reserve(out, LEDGER_ROW_BYTES_MAX);
    if (err == PL_OK)
        pl_buf_put_u8(out, ROW_VERSION);
    return err;
}

enum pl_err ledger_row_encode(const struct ledger_row *row, struct pl_buf *out)
{
    enum pl_err err = begin(out);
    if (err != PL_OK)
        return err;
    pl_buf_put_u8(out, (uint8_t)((row->lost ? FLAG_LOST : 0) | (row->refused ? FLAG_REFUSED : 0)));
    pl_buf_append(out, row->hash, BLOCK_HASH_BYTES);
    pl_buf_append(out, row->previous_hash, BLOCK_HASH_BYTES);
    pl_buf_put_u64(out, (uint64_t)row->received_ms);
    put_counts(out, &row->counts);
    return PL_OK;
}

enum pl_err ledger_row_decode(struct pl_span key, struct pl_span value, struct ledger_row *row)
{
    struct pl_reader r = pl_reader(value);
    *row = (struct ledger_row){.staged = NULL};
    if (key.len != LEDGER_BLOCK_KEY_BYTES || pl_get_u8(&r) != ROW_VERSION)
        return PL_ECORRUPT;
    row->number = pl_load_u64(key.data + LEDGER_CHAIN_KEY_BYTES);
    uint8_t flags = pl_get_u8(&r);
    row->lost = flags & FLAG_LOST;
    row->refused = flags & FLAG_REFUSED;
    pl_get_bytes(&r, row->hash, BLOCK_HASH_BYTES);
    pl_get_bytes(&r, row->previous_hash, BLOCK_HASH_BYTES);
    row->received_ms = (int64_t)pl_get_u64(&r);
    get_counts(&r, &row->counts);
    return r.failed || r.rest.len > 0 ? PL_ECORRUPT : PL_OK;
}

enum pl_err ledger_chain_encode(const struct ledger_links *chain, struct pl_buf *out)
{
    enum pl_err err = begin(out);
    if (err != PL_OK)
        return err;
    pl_buf_put_u64(out, chain->contiguous);
    pl_buf_put_u64(out, chain->highest);
    pl_buf_append(out, chain->last_hash, BLOCK_HASH_BYTES);
    pl_buf_put_u64(out, (uint64_t)chain->last_ms);
    put_counts(out, &chain->counts);
    if (chain->counts.lost_blocks > 0 || chain->lost_to > 0) {
        pl_buf_put_varint(out, chain->counts.lost_blocks);
        pl_buf_put_u64(out, chain->lost_from);
        pl_buf_put_u64(out, chain->lost_to);
        pl_buf_put_u64(out, (uint64_t)chain->lost_ms);
    }
    return PL_OK;
}

enum pl_err ledger_put_chain(struct ledger *l, struct store_batch *batch,
                             const struct ledger_links *chain)
{
    uint8_t key[LEDGER_CHAIN_KEY_BYTES];
    ledger_chain_key(&chain->edge, &chain->incarnation, key);
    pl_buf_reset(&l->row);
    enum pl_err err = ledger_chain_encode(chain, &l->row);
    if (err == PL_OK)
        store_batch_put(batch, l->store, FAMILY_CHAINS, pl_span(key, sizeof(key)),
                        pl_buf_span(&l->row));
    return err;
}

enum pl_err ledger_chain_decode(struct pl_span key, struct pl_span value,
                                struct ledger_links *chain)
{
    struct pl_reader r = pl_reader(value);
    if (key.len != LEDGER_CHAIN_KEY_BYTES || pl_get_u8(&r) != ROW_VERSION)
        return PL_ECORRUPT;
    memcpy(chain->edge.bytes, key.data, 16);
    memcpy(chain->incarnation.bytes, key.data + 16, 16);
    chain->contiguous = pl_get_u64(&r);
    chain->highest = pl_get_u64(&r);
    pl_get_bytes(&r, chain->last_hash, BLOCK_HASH_BYTES);
    chain->last_ms = (int64_t)pl_get_u64(&r);
    get_counts(&r, &chain->counts);
    if (!r.failed && r.rest.len > 0) {
        chain->counts.lost_blocks = pl_get_varint(&r);
        chain->lost_from = pl_get_u64(&r);
        chain->lost_to = pl_get_u64(&r);
        chain->lost_ms = (int64_t)pl_get_u64(&r);
    }
    return r.failed || r.rest.len > 0 ? PL_ECORRUPT : PL_OK;
}

enum pl_err ledger_alarm_encode(const struct ledger_alarm *alarm, struct pl_span bytes,
                                struct pl_buf *out)
{
    size_t text = strlen(alarm->text);
    enum pl_err err = pl_buf_reserve(out, 11 + text + bytes.len);
    if (err != PL_OK)
        return err;
    pl_buf_put_u8(out, ROW_VERSION);
    pl_buf_put_u8(out, (uint8_t)alarm->kind);
    pl_buf_put_u64(out, (uint64_t)alarm->since_ms);
    pl_buf_put_u8(out, (uint8_t)text);
    pl_buf_append(out, alarm->text, text);
    pl_buf_append_span(out, bytes);
    return PL_OK;
}

enum pl_err ledger_alarm_decode(struct pl_span key, struct pl_span value,
                                struct ledger_alarm *alarm)
{
    struct pl_reader r = pl_reader(value);
    memset(alarm, 0, sizeof(*alarm));
    if (key.len != LEDGER_KEPT_KEY_BYTES || pl_get_u8(&r) != ROW_VERSION)
        return PL_ECORRUPT;
    memcpy(alarm->edge.bytes, key.data, 16);
    memcpy(alarm->incarnation.bytes, key.data + 16, 16);
    alarm->number = pl_load_u64(key.data + LEDGER_CHAIN_KEY_BYTES);
    alarm->count = 1;
    alarm->kind = (enum ledger_alarm_kind)pl_get_u8(&r);
    alarm->since_ms = (int64_t)pl_get_u64(&r);
    size_t text = pl_get_u8(&r);
    if (text >= sizeof(alarm->text))
        return PL_ECORRUPT;
    pl_get_bytes(&r, alarm->text, text);
    return r.failed ? PL_ECORRUPT : PL_OK;
}
