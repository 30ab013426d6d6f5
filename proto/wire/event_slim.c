#include "proto/wire/event_slim.h"

#include "proto/wire/event.h"
#include "proto/wire/msgpack_put.h"

#define UUID_BYTES 16
#define UUID_TEXT  36
/* What restoring may add: UUIDs as text behind longer heads, five numbers, a longer map head. */
#define RESTORED_MORE (3 * (UUID_TEXT + 2) + 5 * 10 + 2)

/* Both ways reserve first what they can come to at most, so that no append below can fail. */

/* ---- the little of msgpack that stands in front: a map, small keys, whole numbers, strings */

static bool take_map(struct pl_reader *r, size_t *count)
{
    uint8_t head = pl_get_u8(r);
    if (head == 0xde) {
        *count = pl_get_u16(r);
        return !r->failed && *count > 15;
    }
    *count = head & 0x0f;
    return !r->failed && (head & 0xf0) == 0x80;
}

/* In its shortest form, or not at all: another one could not be written again. */
static bool take_number(struct pl_reader *r, uint64_t *v)
{
    uint8_t head = pl_get_u8(r);
    switch (head) {
    case 0xcc:
        *v = pl_get_u8(r);
        return !r->failed && *v > 0x7f;
    case 0xcd:
        *v = pl_get_u16(r);
        return !r->failed && *v > UINT8_MAX;
    case 0xce:
        *v = pl_get_u32(r);
        return !r->failed && *v > UINT16_MAX;
    case 0xcf:
        *v = pl_get_u64(r);
        return !r->failed && *v > UINT32_MAX;
    default:
        *v = head;
        return !r->failed && head < 0x80;
    }
}

static bool take_string(struct pl_reader *r, struct pl_span *text)
{
    uint8_t head = pl_get_u8(r);
    size_t len, least = 0;
    if ((head & 0xe0) == 0xa0) {
        len = head & 0x1f;
    } else if (head == 0xd9) {
        len = pl_get_u8(r);
        least = 32;
    } else if (head == 0xda) {
        len = pl_get_u16(r);
        least = 256;
    } else {
        return false;
    }
    *text = pl_get_span(r, len);
    return !r->failed && len >= least;
}

/* ---- UUIDs in their canonical lowercase form (RFC 9562 section 4) */

static int nibble(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool uuid_at_end(struct pl_span text, uint8_t uuid[UUID_BYTES])
{
    if (text.len < UUID_TEXT)
        return false;
    const uint8_t *p = text.data + text.len - UUID_TEXT;
    if (p[8] != '-' || p[13] != '-' || p[18] != '-' || p[23] != '-')
        return false;
    for (size_t i = 0; i < UUID_BYTES; i++) {
        p += i == 4 || i == 6 || i == 8 || i == 10;
        int high = nibble(p[0]), low = nibble(p[1]);
        if (high < 0 || low < 0)
            return false;
        uuid[i] = (uint8_t)(high << 4 | low);
        p += 2;
    }
    return true;
}

static void uuid_text(const uint8_t uuid[UUID_BYTES], uint8_t out[UUID_TEXT])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < UUID_BYTES; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *out++ = '-';
        *out++ = (uint8_t)digits[uuid[i] >> 4];
        *out++ = (uint8_t)digits[uuid[i] & 15];
    }
}

static unsigned part_of(unsigned field)
{
    switch (field) {
    case EVENT_MESSAGE_ID:
        return EVENT_SLIM_MESSAGE;
    case EVENT_VISITOR_ID:
        return EVENT_SLIM_VISITOR;
    case EVENT_USER_ID:
        return EVENT_SLIM_USER;
    case EVENT_CLIENT_MS:
    case EVENT_SENT_MS:
    case EVENT_CORRECTED_MS:
        return EVENT_SLIM_TIMES;
    default:
        return 0;
    }
}

/* Distances either way take few bytes: 0, -1, 1, -2 … become 0, 1, 2, 3 … */
static uint64_t fold(int64_t v)
{
    return (uint64_t)v << 1 ^ (v < 0 ? UINT64_MAX : 0);
}

static int64_t unfold(uint64_t v)
{
    return (int64_t)(v >> 1 ^ (v & 1 ? UINT64_MAX : 0));
}

/* ---- slimming */

struct slimming {
    struct pl_reader in;
    struct pl_buf *head, *body;
    size_t parts_at; /* in head */
    unsigned parts;
    uint64_t account;
    int64_t accepted_ms;
};

static void copy_from(struct slimming *s, struct pl_span before)
{
    (void)pl_buf_append(s->body, before.data, before.len - s->in.rest.len);
}

static bool slim_id(struct slimming *s, unsigned field)
{
    struct pl_span before = s->in.rest, text;
    uint8_t uuid[UUID_BYTES];
    pl_get_u8(&s->in);
    if (!take_string(&s->in, &text))
        return false;
    if (!uuid_at_end(text, uuid)) {
        copy_from(s, before);
        return true;
    }
    s->parts |= part_of(field);
    (void)pl_buf_append(s->head, uuid, sizeof(uuid));
    (void)msgpack_put_uint8(s->body, (uint8_t)field);
    (void)msgpack_put_text(s->body, text.data, text.len - UUID_TEXT);
    return true;
}

static bool take_time(struct pl_reader *r, unsigned field, int64_t *ms)
{
    uint64_t v;
    if (pl_get_u8(r) != field || !take_number(r, &v) || v > INT64_MAX)
        return false;
    *ms = (int64_t)v;
    return true;
}

/* The three as one: false, and nothing taken, when they are not what the edge makes of them. */
static bool slim_times(struct slimming *s)
{
    struct pl_reader in = s->in;
    int64_t client_ms, sent_ms, corrected_ms;
    if (!take_time(&in, EVENT_CLIENT_MS, &client_ms) || !take_time(&in, EVENT_SENT_MS, &sent_ms) ||
        !take_time(&in, EVENT_CORRECTED_MS, &corrected_ms) ||
        corrected_ms != s->accepted_ms - (sent_ms - client_ms))
        return false;
    s->in = in;
    s->parts |= EVENT_SLIM_TIMES;
    (void)pl_buf_put_varint(s->head, fold(s->accepted_ms - client_ms));
    (void)pl_buf_put_varint(s->head, fold(sent_ms - client_ms));
    return true;
}

static bool skip_value(struct pl_reader *in)
{
    uint64_t number;
    struct pl_span text;
    struct pl_reader value = *in;
    if (take_number(in, &number))
        return true;
    *in = value;
    return take_string(in, &text);
}

static bool slim_field(struct slimming *s, unsigned field, unsigned *taken)
{
    struct pl_span before = s->in.rest;
    uint64_t number;
    *taken = 1;
    if (field == EVENT_CLIENT_MS && slim_times(s)) {
        *taken = 3;
        return true;
    }
    if (part_of(field) != 0 && part_of(field) != EVENT_SLIM_TIMES)
        return slim_id(s, field);
    pl_get_u8(&s->in);
    if (field == EVENT_ACCOUNT)
        return take_number(&s->in, &number) && number == s->account;
    if (field == EVENT_ACCEPTED_MS)
        return take_number(&s->in, &number) && number == (uint64_t)s->accepted_ms;
    if (!skip_value(&s->in))
        return false;
    copy_from(s, before);
    return true;
}

/* False when the event could not be put together again from what this makes of it. */
static bool slim_all(struct slimming *s)
{
    size_t count;
    unsigned last = 0, taken, seen = 0;
    if (s->accepted_ms < 0 || !take_map(&s->in, &count) || count < 2)
        return false;
    size_t head_at = s->body->len, left = count;
    /* The map's head says how many members are left, which is known at the end. */
    (void)msgpack_put_map(s->body, count - 2);
    size_t head_bytes = s->body->len - head_at;
    while (left > 0 && s->in.rest.len > 0 && s->in.rest.data[0] <= EVENT_CORRECTED_MS) {
        unsigned field = s->in.rest.data[0];
        if (field <= last || !slim_field(s, field, &taken) || taken > left)
            return false;
        seen += field == EVENT_ACCOUNT || field == EVENT_ACCEPTED_MS;
        last = field + taken - 1;
        left -= taken;
    }
    (void)pl_buf_append_span(s->body, s->in.rest);
    if (seen == 2 && (s->parts & EVENT_SLIM_TIMES) != 0) {
        /* three fewer, and perhaps a shorter head */
        uint8_t room[4];
        struct pl_buf again = {.data = room, .cap = sizeof(room), .max_bytes = sizeof(room)};
        (void)msgpack_put_map(&again, count - 5);
        uint8_t *at = s->body->data + head_at;
        memmove(at + again.len, at + head_bytes, s->body->len - head_at - head_bytes);
        memcpy(at, room, again.len);
        s->body->len -= head_bytes - again.len;
    }
    return seen == 2;
}

enum pl_err event_slim(struct pl_span encoded, uint64_t account, int64_t accepted_ms,
                       struct pl_buf *head, struct pl_buf *body)
{
    size_t body_at = body->len;
    enum pl_err err = pl_buf_reserve(body, encoded.len);
    if (err == PL_OK)
        err = pl_buf_reserve(head, EVENT_SLIM_HEAD_BYTES_MAX);
    if (err != PL_OK)
        return err;
    struct slimming s = {.in = pl_reader(encoded),
                         .head = head,
                         .body = body,
                         .parts_at = head->len,
                         .parts = EVENT_SLIM_KEY,
                         .account = account,
                         .accepted_ms = accepted_ms};
    (void)pl_buf_put_u8(head, 0);
    if (slim_all(&s)) {
        head->data[s.parts_at] = (uint8_t)s.parts;
        return PL_OK;
    }
    head->len = s.parts_at + 1;
    body->len = body_at;
    return pl_buf_append_span(body, encoded);
}

/* ---- restoring */

enum pl_err event_slim_read(struct pl_span *rest, int64_t accepted_ms, struct event_slim_head *head)
{
    struct pl_reader r = pl_reader(*rest);
    *head = (struct event_slim_head){.parts = pl_get_u8(&r)};
    if (head->parts > EVENT_SLIM_ALL || (head->parts != 0 && (head->parts & EVENT_SLIM_KEY) == 0))
        return PL_ECORRUPT;
    for (unsigned i = 0; i < 3; i++)
        if (head->parts & (unsigned)EVENT_SLIM_MESSAGE << i)
            head->uuids[i] = pl_get_span(&r, UUID_BYTES).data;
    if (head->parts & EVENT_SLIM_TIMES) {
        int64_t since, under_way;
        since = unfold(pl_get_varint(&r));
        under_way = unfold(pl_get_varint(&r));
        if (__builtin_sub_overflow(accepted_ms, since, &head->client_ms) ||
            __builtin_add_overflow(head->client_ms, under_way, &head->sent_ms) ||
            __builtin_sub_overflow(accepted_ms, under_way, &head->corrected_ms) ||
            head->client_ms < 0 || head->sent_ms < 0 || head->corrected_ms < 0)
            return PL_ECORRUPT;
    }
    if (r.failed)
        return PL_ECORRUPT;
    *rest = r.rest;
    return PL_OK;
}

static void put_number(struct pl_buf *out, unsigned field, int64_t v)
{
    (void)msgpack_put_uint8(out, (uint8_t)field);
    (void)msgpack_put_uint64(out, (uint64_t)v);
}

static bool restore_id(struct pl_reader *in, unsigned field, const uint8_t *uuid,
                       struct pl_buf *out)
{
    struct pl_span text;
    uint8_t tail[UUID_TEXT];
    pl_get_u8(in);
    if (!take_string(in, &text))
        return false;
    uuid_text(uuid, tail);
    (void)msgpack_put_uint8(out, (uint8_t)field);
    (void)msgpack_put_str(out, text.len + UUID_TEXT);
    (void)pl_buf_append_span(out, text);
    (void)pl_buf_append(out, tail, sizeof(tail));
    return true;
}

/* What was taken out and stands before `field`, in its order. */
static void put_missing(const struct event_slim_head *head, unsigned field, int64_t accepted_ms,
                        unsigned *done, struct pl_buf *out)
{
    if (*done < EVENT_ACCEPTED_MS && field > EVENT_ACCEPTED_MS) {
        put_number(out, EVENT_ACCEPTED_MS, accepted_ms);
        *done = EVENT_ACCEPTED_MS;
    }
    if (*done < EVENT_CORRECTED_MS && field > EVENT_CLIENT_MS &&
        (head->parts & EVENT_SLIM_TIMES) != 0) {
        put_number(out, EVENT_CLIENT_MS, head->client_ms);
        put_number(out, EVENT_SENT_MS, head->sent_ms);
        put_number(out, EVENT_CORRECTED_MS, head->corrected_ms);
        *done = EVENT_CORRECTED_MS;
    }
}

static bool restore_all(struct pl_reader *in, const struct event_slim_head *head, uint64_t account,
                        int64_t accepted_ms, struct pl_buf *out)
{
    size_t count;
    unsigned done = 0, uuids = 0;
    if (!take_map(in, &count))
        return false;
    (void)msgpack_put_map(out, count + (head->parts & EVENT_SLIM_TIMES ? 5 : 2));
    (void)msgpack_put_uint8(out, EVENT_ACCOUNT);
    (void)msgpack_put_uint64(out, account);
    for (; count > 0 && in->rest.len > 0 && in->rest.data[0] <= EVENT_CORRECTED_MS; count--) {
        struct pl_span before = in->rest;
        unsigned field = in->rest.data[0], part = part_of(field) & head->parts & ~uuids;
        if (part == EVENT_SLIM_TIMES)
            return false;
        put_missing(head, field, accepted_ms, &done, out);
        if (part != 0) {
            if (!restore_id(in, field, head->uuids[__builtin_ctz(part) - 1], out))
                return false;
            uuids |= part;
            continue;
        }
        pl_get_u8(in);
        if (!skip_value(in))
            return false;
        (void)pl_buf_append(out, before.data, before.len - in->rest.len);
    }
    put_missing(head, EVENT_FIELD_LIMIT, accepted_ms, &done, out);
    (void)pl_buf_append_span(out, in->rest);
    return (uuids | EVENT_SLIM_KEY | (head->parts & EVENT_SLIM_TIMES)) == head->parts;
}

enum pl_err event_slim_restore(struct pl_span body, const struct event_slim_head *head,
                               uint64_t account, int64_t accepted_ms, struct pl_buf *out)
{
    size_t before = out->len;
    struct pl_reader in = pl_reader(body);
    enum pl_err err = pl_buf_reserve(out, body.len + RESTORED_MORE);
    if (err != PL_OK || head->parts == 0)
        return err != PL_OK ? err : pl_buf_append_span(out, body);
    if (restore_all(&in, head, account, accepted_ms, out))
        return PL_OK;
    out->len = before;
    return PL_ECORRUPT;
}
