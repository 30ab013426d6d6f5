/*
 * hold: one statutory hold: why, on what, from when to when, and its JSON.
 *
 * Promise: plain data and pure functions; any thread may call.
 */
#ifndef POLDER_ORIGIN_ACCOUNTS_HOLD_H
#define POLDER_ORIGIN_ACCOUNTS_HOLD_H

#include "proto/base/id.h"
#include "proto/wire/json.h"

#define HOLD_REASON_BYTES 160 /* with the NUL */
#define HOLD_ACTOR_BYTES  64

/* Plain data. Times are wall-clock milliseconds, days those on which edges took events. */
struct hold {
    uint64_t account;
    struct pl_id128 id;
    bool whole;                  /* else of these days */
    int64_t first_day, last_day; /* inclusive */
    int64_t placed_ms;
    int64_t until_ms;    /* over from then on; 0: until it is released */
    int64_t released_ms; /* 0: it was not */
    bool was_so;         /* it was released before that was asked for; not kept */
    char reason[HOLD_REASON_BYTES], placed_by[HOLD_ACTOR_BYTES];
    char release_reason[HOLD_REASON_BYTES], released_by[HOLD_ACTOR_BYTES];
};
/* Whether it is in force. */
bool hold_stands(const struct hold *hold, int64_t now_ms);
/* When it ended; 0: it stands, or has no end. */
int64_t hold_ended_ms(const struct hold *hold, int64_t now_ms);
/* now_ms: says as well when it ended; 0: as it is recorded. */
void hold_write_json(const struct hold *hold, int64_t now_ms, struct json_writer *w);
/* What hold_write_json wrote. PL_EINVAL, PL_ELIMIT name the member; so does the next one. */
enum pl_err hold_read_json(struct json object, struct hold *hold, struct pl_why *why);
/* What a request for one says: reason, from and to (days, both or none), until; the rest of *hold
 * stays as it is. */
enum pl_err hold_read_request(struct json object, struct hold *hold, struct pl_why *why);

#endif
