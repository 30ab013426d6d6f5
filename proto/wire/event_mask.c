#include "proto/wire/event_mask.h"

#include "proto/base/text.h"
#include "proto/wire/id_hash.h"
#include "proto/wire/limits.h"
#include "proto/wire/mask_pack.h"
#include "proto/wire/pii.h"

/* ---- the form in which an id is stored */

static const struct {
    enum pii_kind kind;
    bool (*find)(struct pl_span text, size_t from, struct pii_piece *piece);
    const char *word;   /* what stands for it in text */
    const char *prefix; /* and in an id, before the hash */
} kinds[] = {
    {PII_EMAIL, pii_find_email, "[email]", "email:"},
    {PII_CARD, pii_find_card, "[card]", "card:"},
    {PII_PHONE, pii_find_phone, "[phone]", "phone:"},
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static uint8_t hex_value(uint8_t c)
{
    return (uint8_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
}

/* An address in lower case, without escapes; of numbers the digits. PL_ELIMIT: longer than any. */
static enum pl_err normalise(enum pii_kind kind, struct pl_span text, struct pl_buf *out)
{
    enum pl_err err = PL_OK;
    for (size_t i = 0; i < text.len && err == PL_OK; i++) {
        uint8_t c = text.data[i];
        if (pii_is_escape(text, i)) {
            c = (uint8_t)(hex_value(text.data[i + 1]) << 4 | hex_value(text.data[i + 2]));
            i += 2;
        }
        if (c >= 'A' && c <= 'Z')
            c |= 0x20;
        if (kind == PII_EMAIL || pii_is_digit(c))
            err = pl_buf_put_u8(out, c);
    }
    return err;
}

/* "email:" and the hash's digits. */
static enum pl_err hash_piece(const struct event_mask_policy *policy, size_t kind,
                              struct pl_span text, char out[EVENT_MASK_ID_BYTES])
{
    uint8_t room[512], hash[ID_HASH_BYTES];
    struct pl_buf plain = {.data = room, .cap = sizeof(room), .max_bytes = sizeof(room)};
    const size_t prefix = strlen(kinds[kind].prefix);
    enum pl_err err = normalise(kinds[kind].kind, text, &plain);
    if (err == PL_OK)
        err = id_hash(policy->id_key, kinds[kind].kind == PII_EMAIL ? ID_HASH_EMAIL : ID_HASH_ID,
                      pl_buf_span(&plain), hash);
    if (err != PL_OK)
        return err;
    memcpy(out, kinds[kind].prefix, prefix);
    pl_hex_encode(pl_span(hash, sizeof(hash)), out + prefix);
    return PL_OK;
}

bool event_mask_id(const struct event_mask_policy *policy, struct pl_span id,
                   char out[EVENT_MASK_ID_BYTES])
{
    while (id.len > 0 && id.data[0] == ' ')
        id = pl_span_from(id, 1);
    while (id.len > 0 && id.data[id.len - 1] == ' ')
        id.len--;
    for (size_t k = 0; k < KINDS; k++) {
        struct pii_piece piece;
        if ((policy->kinds & kinds[k].kind) != 0 && kinds[k].find(id, 0, &piece) &&
            piece.start == 0 && piece.end == id.len)
            return hash_piece(policy, k, id, out) == PL_OK;
    }
    return false;
}

/* ---- text */

struct finder {
    struct pii_piece piece; /* the next one of its kind; start past the end: there is none */
};

static void find(struct finder *finder, size_t kind, struct pl_span text, size_t from)
{
    if (!kinds[kind].find(text, from, &finder->piece))
        finder->piece.start = SIZE_MAX;
}

static enum pl_err append_piece(struct mask *mask, enum mask_use use, size_t kind,
                                struct pl_span text)
{
    char id[EVENT_MASK_ID_BYTES];
    mask->masked++;
    if (use == MASK_TEXT || hash_piece(mask->policy, kind, text, id) != PL_OK)
        return pl_buf_append_str(mask->scratch, kinds[kind].word);
    return pl_buf_append_str(mask->scratch, id);
}

/* Appends the text with its pieces replaced; false: there were none, and nothing is appended. */
static bool replace_pieces(struct mask *mask, enum mask_use use, struct pl_span text)
{
    struct finder finders[KINDS];
    size_t done = 0;
    bool found = false;
    const unsigned wanted = mask->policy->kinds & (use == MASK_MESSAGE_ID ? PII_EMAIL : PII_ALL);
    for (size_t k = 0; k < KINDS; k++) {
        finders[k].piece.start = SIZE_MAX;
        if ((wanted & kinds[k].kind) != 0)
            find(&finders[k], k, text, 0);
    }
    for (;;) {
        size_t first = 0;
        for (size_t k = 1; k < KINDS; k++)
            if (finders[k].piece.start < finders[first].piece.start)
                first = k;
        const struct pii_piece piece = finders[first].piece;
        if (piece.start == SIZE_MAX)
            break;
        found = true;
        mask_took(mask, pl_buf_append(mask->scratch, text.data + done, piece.start - done));
        mask_took(mask, append_piece(mask, use, first,
                                     pl_span(text.data + piece.start, piece.end - piece.start)));
        done = piece.end;
        for (size_t k = 0; k < KINDS; k++)
            if (finders[k].piece.start < done)
                find(&finders[k], k, text, done);
    }
    if (found)
        mask_took(mask, pl_buf_append_span(mask->scratch, pl_span_from(text, done)));
    return found;
}

/* A replacement may set free what its neighbour hid: each pass leaves less, and few are needed. */
#define PASSES_MAX 8

bool mask_text(struct mask *mask, enum mask_use use, struct pl_span *text)
{
    const size_t start = mask->scratch->len;
    bool changed = false;
    for (unsigned pass = 0; pass < PASSES_MAX && mask->err == PL_OK; pass++) {
        const size_t from = mask->scratch->len;
        if (!replace_pieces(mask, use, *text))
            break;
        const size_t len = mask->scratch->len - from;
        memmove(mask->scratch->data + start, mask->scratch->data + from, len);
        mask->scratch->len = start + len;
        *text = pl_span(mask->scratch->data + start, len);
        changed = true;
    }
    return changed;
}

enum pl_err event_mask_stored_id(const struct event_mask_policy *policy, struct pl_span id,
                                 struct pl_buf *scratch, struct pl_span *stored)
{
    struct mask mask = {.policy = policy, .scratch = scratch};
    char form[EVENT_MASK_ID_BYTES];
    const size_t start = scratch->len;
    *stored = id;
    if (event_mask_id(policy, id, form)) {
        mask_took(&mask, pl_buf_append_str(scratch, form));
        *stored = pl_span(scratch->data + start, scratch->len - start);
    } else {
        (void)mask_text(&mask, MASK_ID, stored);
    }
    return mask.err;
}

/* ---- fields */

static enum mask_use use_of(unsigned field)
{
    switch (field) {
    case EVENT_MESSAGE_ID:
        return MASK_MESSAGE_ID;
    case EVENT_VISITOR_ID:
    case EVENT_USER_ID:
    case EVENT_SESSION_ID:
    case EVENT_PREVIOUS_ID:
    case EVENT_GROUP_ID:
    case EVENT_NETWORK_ID:
    case EVENT_VIEW_ID:
    case EVENT_CLICK_ID:
    case EVENT_ORDER_ID:
        return MASK_ID;
    case EVENT_REGION:
    case EVENT_EMAIL_HASH:
    case EVENT_CONSENT_ID:
    case EVENT_CONSENT_ID_HASH:
    case EVENT_WARNING:
        return MASK_NOT; /* the edge's own words */
    default:
        return MASK_TEXT;
    }
}

static struct pl_span keep(struct mask *mask, struct pl_span bytes)
{
    const size_t from = mask->scratch->len;
    mask_took(mask, pl_buf_append_span(mask->scratch, bytes));
    return pl_span(mask->scratch->data + from, mask->scratch->len - from);
}

static void mask_id_field(struct mask *mask, enum mask_use use, unsigned field)
{
    struct pl_span text = event_str(mask->event, field);
    char id[EVENT_MASK_ID_BYTES];
    if (use == MASK_ID && event_mask_id(mask->policy, text, id)) {
        mask->masked++;
        event_set_str(mask->event, field, keep(mask, pl_span_str(id)));
    } else if (mask_text(mask, use, &text)) {
        event_set_str(mask->event, field, text);
    } else {
        return;
    }
    text = event_str(mask->event, field);
    const struct pl_span prefix = PL_SPAN_LIT("email:");
    if ((field == EVENT_USER_ID || field == EVENT_VISITOR_ID) && pl_span_starts(text, prefix) &&
        text.len == prefix.len + 2 * ID_HASH_BYTES)
        mask->email[field == EVENT_USER_ID ? 0 : 1] = pl_span_from(text, prefix.len);
}

static void mask_field(struct mask *mask, unsigned field)
{
    const enum mask_use use = use_of(field);
    struct pl_span value = mask->event->value[field].str;
    if (use == MASK_NOT)
        return;
    if (event_fields[field].kind == EVENT_KIND_PACK) {
        if (mask_pack(mask, field == EVENT_TRAITS, &value))
            event_set_pack(mask->event, field, value);
    } else if (use == MASK_ID || use == MASK_MESSAGE_ID) {
        mask_id_field(mask, use, field);
    } else if (mask_text(mask, use, &value)) {
        event_set_str(mask->event, field, value);
    }
}

void mask_describes(struct mask *mask, struct pl_span address)
{
    char id[EVENT_MASK_ID_BYTES];
    struct pii_piece piece;
    if (mask->email[2].len > 0 || (mask->policy->kinds & PII_EMAIL) == 0 ||
        !pii_find_email(address, 0, &piece))
        return;
    const struct pl_span text = pl_span(address.data + piece.start, piece.end - piece.start);
    if (hash_piece(mask->policy, 0, text, id) == PL_OK) {
        memcpy(mask->described, id + strlen(kinds[0].prefix), sizeof(mask->described));
        mask->email[2] = pl_span(mask->described, sizeof(mask->described));
    }
}

static void set_email_hash(struct mask *mask)
{
    for (size_t i = 0; i < sizeof(mask->email) / sizeof(mask->email[0]); i++)
        if (mask->email[i].len > 0 && !event_has(mask->event, EVENT_EMAIL_HASH))
            event_set_str(mask->event, EVENT_EMAIL_HASH, keep(mask, mask->email[i]));
}

enum pl_err event_mask(struct event *event, const struct event_mask_policy *policy,
                       struct pl_buf *scratch, unsigned *masked)
{
    struct mask mask = {.event = event, .policy = policy, .scratch = scratch};
    pl_buf_reset(scratch);
    for (unsigned word = 0; word < 2; word++) {
        for (uint64_t left = event->present[word]; left != 0; left &= left - 1) {
            const unsigned field = word * 64 + (unsigned)__builtin_ctzll(left);
            const enum event_kind kind = event_fields[field].kind;
            if (mask.err == PL_OK && (kind == EVENT_KIND_STR || kind == EVENT_KIND_PACK))
                mask_field(&mask, field);
        }
    }
    set_email_hash(&mask);
    if (mask.masked > 0)
        event_set_u64(event, EVENT_MASKED, event_u64(event, EVENT_MASKED) + mask.masked);
    if (masked != NULL)
        *masked = mask.masked;
    return mask.err;
}
