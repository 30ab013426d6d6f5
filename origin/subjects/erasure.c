#include "origin/subjects/erasure.h"
#include "origin/request.h"

#define ROW_VERSION 2 /* 1 had no held, no unreadable, and fewer kinds of identities */

static const char *state_name(enum erasure_state state)
{
    static const char *const names[] = {
        [ERASURE_ERASING] = "erasing",
        [ERASURE_ERASED] = "erased",
        [ERASURE_GONE] = "gone",
        [ERASURE_CLOSED] = "closed",
    };
    return names[state];
}

void erasure_release(struct erasure *erasure)
{
    identities_release(&erasure->identities);
}

void erasure_count_ids(struct erasure *erasure)
{
    erasure->visitors = erasure->users = 0;
    for (size_t i = 0; i < erasure->identities.count; i++) {
        const uint8_t kind = erasure->identities.list[i].kind;
        if (kind == IDENTITY_USER)
            erasure->users++;
        else if (kind == IDENTITY_ASKED || kind == IDENTITY_VISITOR)
            erasure->visitors++;
    }
}

void erasure_key(uint64_t account, const struct pl_id128 *id, uint8_t key[ERASURE_KEY_BYTES])
{
    pl_store_u64(key, account);
    memcpy(key + 8, id->bytes, sizeof(id->bytes));
}

enum pl_err erasure_encode(const struct erasure *e, struct pl_buf *row)
{
    const uint64_t numbers[] = {e->position,    e->events,     e->bytes,     e->messages,
                                e->links,       e->dropped,    e->visitors,  e->users,
                                e->held_events, e->held_links, e->unreadable};
    const int64_t times[] = {e->at_ms, e->erased_ms, e->gone_ms, e->closed_ms};
    enum pl_err err = pl_buf_put_u8(row, ROW_VERSION);
    if (err == PL_OK)
        err = pl_buf_put_u8(row, (uint8_t)e->state);
    if (err == PL_OK)
        err = pl_buf_put_u8(row, e->alone);
    for (size_t i = 0; err == PL_OK && i < sizeof(times) / sizeof(times[0]); i++)
        err = pl_buf_put_u64(row, (uint64_t)times[i]);
    for (size_t i = 0; err == PL_OK && i < sizeof(numbers) / sizeof(numbers[0]); i++)
        err = pl_buf_put_varint(row, numbers[i]);
    return err == PL_OK ? identities_encode(&e->identities, row) : err;
}

enum pl_err erasure_decode(struct pl_span key, struct pl_span row, struct erasure *out)
{
    struct pl_reader r = pl_reader(row);
    struct erasure e = {.account = 0};
    if (key.len != ERASURE_KEY_BYTES)
        return PL_ECORRUPT;
    e.account = pl_load_u64(key.data);
    memcpy(e.id.bytes, key.data + 8, sizeof(e.id.bytes));
    const uint8_t version = pl_get_u8(&r);
    if (!r.failed && (version == 0 || version > ROW_VERSION))
        return PL_EUNSUPPORTED;
    e.state = pl_get_u8(&r);
    e.alone = pl_get_u8(&r) != 0;
    int64_t *const times[] = {&e.at_ms, &e.erased_ms, &e.gone_ms, &e.closed_ms};
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++)
        *times[i] = (int64_t)pl_get_u64(&r);
    uint64_t *const numbers[] = {&e.position, &e.events, &e.bytes,
                                 &e.messages, &e.links,  &e.dropped};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        *numbers[i] = pl_get_varint(&r);
    e.visitors = (uint16_t)pl_get_varint(&r);
    e.users = (uint16_t)pl_get_varint(&r);
    e.held_events = version < 2 ? 0 : pl_get_varint(&r);
    e.held_links = version < 2 ? 0 : pl_get_varint(&r);
    e.unreadable = version < 2 ? 0 : pl_get_varint(&r);
    if (r.failed || e.state < ERASURE_ERASING || e.state > ERASURE_CLOSED)
        return PL_ECORRUPT;
    enum pl_err err = identities_decode(r.rest, &e.identities);
    if (err != PL_OK) {
        erasure_release(&e);
        return err;
    }
    *out = e;
    return PL_OK;
}

void erasure_write_json(const struct erasure *e, int64_t horizon_ms, struct json_writer *w)
{
    json_write_pair_hex(w, "id", pl_span(e->id.bytes, sizeof(e->id.bytes)));
    json_write_pair_account(w, "account", e->account);
    const bool held = erasure_is_held(e);
    json_write_pair_text(w, "state",
                         held && e->state != ERASURE_ERASING ? "held" : state_name(e->state));
    json_write_pair_time(w, "at", e->at_ms);
    json_write_pair_time(w, "erased_at", e->erased_ms);
    json_write_pair_time(w, "physically_gone_at", e->gone_ms);
    json_write_pair_time(w, "guarded_until",
                         e->state == ERASURE_CLOSED ? e->closed_ms : horizon_ms);
    json_write_pair_time(w, "closed_at", e->closed_ms);
    json_write_key(w, "ids");
    json_write_object(w);
    json_write_pair_u64(w, "visitor", e->visitors);
    json_write_pair_u64(w, "user", e->users);
    json_write_object_end(w);
    json_write_key(w, "erased");
    json_write_object(w);
    json_write_pair_u64(w, "events", e->events);
    json_write_pair_u64(w, "bytes", e->bytes);
    json_write_pair_u64(w, "message_ids", e->messages);
    json_write_pair_u64(w, "links", e->links);
    json_write_pair_u64(w, "dropped_on_arrival", e->dropped);
    json_write_object_end(w);
    json_write_key(w, "held");
    json_write_object(w);
    json_write_pair_u64(w, "events", e->held_events);
    json_write_pair_u64(w, "links", e->held_links);
    json_write_object_end(w);
    json_write_pair_u64(w, "unreadable", e->unreadable);
}
