/*
 * event: the one form every dialect is translated into, and its bytes.
 *
 * Promise: an event is a set of numbered fields, each described by one row of event_fields (id,
 * kind, name in exports). Ids are for ever: a reader skips ids it does not know, a writer never
 * re-uses one. Setting copies no bytes: spans must outlive the encode. Encoding is deterministic.
 * SPEC.md tables the fields and the bytes.
 */
#ifndef POLDER_PROTO_WIRE_EVENT_H
#define POLDER_PROTO_WIRE_EVENT_H

#include "proto/base/buf.h"
#include "proto/wire/json.h"

#include <assert.h>

enum event_type {
    EVENT_PAGE_VIEW = 1,
    EVENT_CLICK = 2,
    EVENT_PRODUCT_VIEW = 3,
    EVENT_IMPRESSIONS = 4,
    EVENT_CART_ADD = 5,
    EVENT_CART_REMOVE = 6,
    EVENT_SEARCH = 7,
    EVENT_CHECKOUT_STEP = 8,
    EVENT_ORDER = 9,
    EVENT_OFFER_SHOWN = 10,
    EVENT_OFFER_RESPONSE = 11,
    EVENT_IDENTIFY = 12,
    EVENT_UPDATE = 13,
    EVENT_ALIAS = 14,
    EVENT_GROUP = 15,
    EVENT_ERROR = 16,
    EVENT_CUSTOM = 17,
    EVENT_OPT_OUT = 18, /* a visitor said no: consent.id names the choice, consent.id_hash whom */
    EVENT_OPT_IN = 19,  /* takes back the opt-out that consent.id names */
    EVENT_TALLY = 20,   /* an edge's count of requests it answered with one outcome: name, count */
    EVENT_TYPE_COUNT
};
const char *event_type_name(enum event_type type); /* "page_view"; NULL when unknown */
bool event_type_parse(struct pl_span name, enum event_type *out);

enum event_dialect {
    EVENT_DIALECT_SEGMENT = 1,
    EVENT_DIALECT_SNOWPLOW = 2,
    EVENT_DIALECT_CROBOX = 3,
    EVENT_DIALECT_CROSSENGAGE = 4,
    EVENT_DIALECT_PIXEL = 5,
    EVENT_DIALECT_COUNT
};
const char *event_dialect_name(enum event_dialect dialect);

enum event_field {
    /* what the edge adds */
    EVENT_ACCOUNT = 1,
    EVENT_TYPE = 2,
    EVENT_DIALECT = 3,
    EVENT_ACCEPTED_MS = 4, /* the edge's clock when it took the event */
    EVENT_REGION = 5,
    /* who and when, as the client says */
    EVENT_MESSAGE_ID = 8,
    EVENT_VISITOR_ID = 9,
    EVENT_USER_ID = 10,
    EVENT_SESSION_ID = 11,
    EVENT_CLIENT_MS = 12,    /* the client's timestamp, untouched */
    EVENT_SENT_MS = 13,      /* the client's clock when it sent */
    EVENT_CORRECTED_MS = 14, /* client_ms on the edge's clock; never part of identity */
    EVENT_NAME = 15,
    EVENT_PREVIOUS_ID = 16, /* alias */
    EVENT_GROUP_ID = 17,
    EVENT_CHANNEL = 18,
    EVENT_NETWORK_ID = 19, /* a third party's id that came with the event */
    /* page */
    EVENT_PAGE_URL = 20,
    EVENT_PAGE_PATH = 21,
    EVENT_PAGE_REFERRER = 22,
    EVENT_PAGE_TITLE = 23,
    EVENT_PAGE_SEARCH = 24,
    EVENT_PAGE_CATEGORY = 25,
    EVENT_PAGE_TYPE = 26, /* index, overview, detail, cart, checkout, complete, search, other */
    EVENT_PAGE_BREADCRUMB = 27, /* array of text: where in the site's navigation */
    /* where the visit came from */
    EVENT_UTM_NAME = 28,
    EVENT_UTM_SOURCE = 29,
    EVENT_UTM_MEDIUM = 30,
    EVENT_UTM_TERM = 31,
    EVENT_UTM_CONTENT = 32,
    /* device */
    EVENT_VIEWPORT = 33, /* "1280x720" */
    EVENT_USER_AGENT = 34,
    EVENT_LOCALE = 35,
    EVENT_TIMEZONE = 36,
    EVENT_SCREEN_WIDTH = 37,
    EVENT_SCREEN_HEIGHT = 38,
    EVENT_COUNTRY = 39, /* as the client says; never looked up from an address */
    /* commerce */
    EVENT_ITEMS = 40, /* array of maps: sku, name, category, price, quantity, affiliation … */
    EVENT_ORDER_ID = 41,
    EVENT_TOTAL = 42,
    EVENT_TAX = 43,
    EVENT_SHIPPING = 44,
    EVENT_DISCOUNT = 45,
    EVENT_COUPON = 46,
    EVENT_CURRENCY = 47,
    EVENT_AFFILIATION = 48,
    EVENT_CHECKOUT_STEP_NUMBER = 49,
    EVENT_SEARCH_TERM = 50,
    EVENT_SEARCH_RESULTS = 51,
    EVENT_SEARCH_RESULTS_FIRST_PAGE = 52,
    /* offers */
    EVENT_OFFER_CAMPAIGN = 56,
    EVENT_OFFER_VARIANT = 57,
    EVENT_OFFER_PRINCIPLE = 58,
    EVENT_OFFER_CONFIG_VERSION = 59,
    EVENT_OFFER_RESPONSE_KIND = 60,
    EVENT_OFFER_ID = 61, /* of this one showing, so that a response finds it */
    /* the rest, whole */
    EVENT_PROPS = 64,   /* what has no field of its own */
    EVENT_TRAITS = 65,  /* what identify said of the visitor */
    EVENT_CONTEXT = 66, /* client context without a field of its own */
    /* the view that an event belongs to, and the session's number */
    EVENT_VIEW_ID = 67,
    EVENT_VIEW_COUNTER = 68,
    EVENT_SESSION_INDEX = 69,
    /* click */
    EVENT_CLICK_TARGET = 70, /* the element: selector or id */
    EVENT_CLICK_URL = 71,
    EVENT_CLICK_TEXT = 72,
    /* error in the page */
    EVENT_ERROR_MESSAGE = 73,
    EVENT_ERROR_FILE = 74,
    EVENT_ERROR_LINE = 75,
    /* advertising */
    EVENT_GOAL = 76,
    EVENT_CLICK_ID = 77,
    EVENT_EMAIL_HASH = 78, /* keyed, hex: the only form in which an address is kept */
    /* consent */
    EVENT_CONSENT_ID = 79,
    EVENT_CONSENT_ID_HASH = 80,
    /* what the edge noticed */
    EVENT_WARNING = 81, /* "checksum": the client's own did not match */
    EVENT_MASKED = 82,  /* pieces of personal data masked before storing */
    EVENT_COUNT = 83,   /* tally */
    EVENT_CHECKOUT_STEP_NAME = 84,
    EVENT_FIELD_LIMIT = 128
};

enum event_kind {
    EVENT_KIND_NONE = 0,
    EVENT_KIND_STR,
    EVENT_KIND_U64,
    EVENT_KIND_I64,
    EVENT_KIND_F64,
    EVENT_KIND_PACK, /* msgpack value, carried as bin */
};

struct event_field_info {
    enum event_kind kind;
    const char *name; /* dotted path in exports: "page.url" */
};
/* Indexed by field id; kind EVENT_KIND_NONE where there is no field. */
extern const struct event_field_info event_fields[EVENT_FIELD_LIMIT];

union event_value {
    struct pl_span str; /* also PACK */
    uint64_t u64;
    int64_t i64;
    double f64;
};

struct event {
    uint64_t present[EVENT_FIELD_LIMIT / 64];
    uint64_t parsed[EVENT_FIELD_LIMIT / 64]; /* text of a parsed document: known to be UTF-8 */
    union event_value value[EVENT_FIELD_LIMIT];
};

static inline void event_clear(struct event *event)
{
    event->present[0] = event->present[1] = 0;
    event->parsed[0] = event->parsed[1] = 0;
}
static inline bool event_has(const struct event *event, enum event_field field)
{
    return (event->present[field / 64] >> (field % 64)) & 1;
}
static inline void event_unset(struct event *event, enum event_field field)
{
    event->present[field / 64] &= ~(UINT64_C(1) << (field % 64));
}
static inline void event_set(struct event *event, enum event_field field, enum event_kind kind,
                             union event_value value)
{
    const uint64_t bit = UINT64_C(1) << (field % 64);
    assert(field < EVENT_FIELD_LIMIT && event_fields[field].kind == kind);
    (void)kind;
    event->present[field / 64] |= bit;
    event->parsed[field / 64] &= ~bit;
    event->value[field] = value;
}
/* The setter must match the field's kind. */
static inline void event_set_str(struct event *event, enum event_field field, struct pl_span value)
{
    event_set(event, field, EVENT_KIND_STR, (union event_value){.str = value});
}
static inline void event_set_u64(struct event *event, enum event_field field, uint64_t value)
{
    event_set(event, field, EVENT_KIND_U64, (union event_value){.u64 = value});
}
static inline void event_set_i64(struct event *event, enum event_field field, int64_t value)
{
    event_set(event, field, EVENT_KIND_I64, (union event_value){.i64 = value});
}
static inline void event_set_f64(struct event *event, enum event_field field, double value)
{
    event_set(event, field, EVENT_KIND_F64, (union event_value){.f64 = value});
}
static inline void event_set_pack(struct event *event, enum event_field field,
                                  struct pl_span msgpack)
{
    event_set(event, field, EVENT_KIND_PACK, (union event_value){.str = msgpack});
}
/* The text of a JSON string, which is not looked at again before it is written; false: it is none.
 */
static inline bool event_set_json(struct event *event, enum event_field field, struct json value)
{
    struct pl_span text;
    if (!json_string(value, &text))
        return false;
    event_set_str(event, field, text);
    event->parsed[field / 64] |= UINT64_C(1) << (field % 64);
    return true;
}
/* The value, or an empty span / 0 when absent. */
struct pl_span event_str(const struct event *event, enum event_field field);
uint64_t event_u64(const struct event *event, enum event_field field);
int64_t event_i64(const struct event *event, enum event_field field);

/* Appends one event: a msgpack map from field id to value, ids ascending. PL_EINVAL: text that is
 * not UTF-8; PL_ELIMIT: over LIMIT_EVENT_WIRE_BYTES, or out is full. Packs are taken as they are.
 */
enum pl_err event_encode(const struct event *event, struct pl_buf *out);

/* Reads a sequence of encoded events. One reader per thread, re-used. */
struct event_reader;
enum pl_err event_reader_new(struct event_reader **out);
void event_reader_free(struct event_reader *reader);
/* Takes the next event off *rest; spans view the input; *encoded (may be NULL) is the run of
 * bytes it was read from. PL_ENOTFOUND at the end; PL_ECORRUPT names what is wrong (not a map,
 * wrong kind for a field, ids out of order, not UTF-8, limits), *rest stays and *event is empty.
 * Unknown ids are skipped. What a pack holds is not looked at here, which would double the cost:
 * event_write_json does. */
enum pl_err event_read(struct event_reader *reader, struct pl_span *rest, struct event *event,
                       struct pl_span *encoded, struct pl_why *why);

/* After PL_ECORRUPT: takes one msgpack value off *rest, whatever it holds, so that the events
 * behind a bad one can be read. PL_ECORRUPT: there is none to take, and nothing behind it. */
enum pl_err event_skip(struct event_reader *reader, struct pl_span *rest);

/* Appends the event as one JSON object without a newline: names from the table, dotted ones
 * nested, account in hex, enums by name, *_ms as RFC 3339 under the name without the suffix.
 * Field order is the table's. PL_ECORRUPT: a pack that is not one msgpack value. On any error out
 * is as it was. */
enum pl_err event_write_json(const struct event *event, struct json_writer *w, struct pl_buf *out);

/* Appends the event as a CSV record (RFC 4180) without its line end: a cell for each field of the
 * table, in order of ids, values as event_write_json has them, packs as JSON text. Text that a
 * spreadsheet would take for a formula, beginning with = + - @, a tab or a line end, has an
 * apostrophe before it. Errors as event_write_json. */
enum pl_err event_write_csv(const struct event *event, struct json_writer *w, struct pl_buf *out);
/* The record of the columns' names. */
enum pl_err event_write_csv_header(struct pl_buf *out);

/* ---- msgpack writing, for dialects that build props and items. Errors stick in *err. */
struct event_packer {
    struct pl_buf *out;
    enum pl_err err;
};
void event_pack_map(struct event_packer *p, size_t members);
void event_pack_array(struct event_packer *p, size_t elements);
void event_pack_str(struct event_packer *p, struct pl_span text);
void event_pack_i64(struct event_packer *p, int64_t v);
void event_pack_f64(struct event_packer *p, double v);
void event_pack_json(struct event_packer *p, struct json value);
/* A member that json_next_member gave: its name, then its value. */
void event_pack_json_member(struct event_packer *p, struct json value);

#endif
