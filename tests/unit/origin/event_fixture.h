/* Events as an edge would seal them, for the tests of the vault's path. */
#ifndef POLDER_TESTS_ORIGIN_EVENT_FIXTURE_H
#define POLDER_TESTS_ORIGIN_EVENT_FIXTURE_H

#include "proto/wire/event.h"

#include <stdio.h>
#include <stdlib.h>

#define NOON_MS (INT64_C(20000) * 86400000 + 12 * 3600000) /* a day in 2024 */

/* Appends one encoded event; NULL leaves a field out. */
static inline void put_event(struct pl_buf *out, uint64_t account, int64_t accepted_ms,
                             const char *visitor, const char *message, const char *name)
{
    struct event *e = calloc(1, sizeof(*e));
    event_set_u64(e, EVENT_ACCOUNT, account);
    event_set_u64(e, EVENT_TYPE, EVENT_CUSTOM);
    event_set_u64(e, EVENT_DIALECT, EVENT_DIALECT_SEGMENT);
    event_set_i64(e, EVENT_ACCEPTED_MS, accepted_ms);
    event_set_str(e, EVENT_REGION, PL_SPAN_LIT("eu"));
    if (message != NULL)
        event_set_str(e, EVENT_MESSAGE_ID, pl_span_str(message));
    if (visitor != NULL)
        event_set_str(e, EVENT_VISITOR_ID, pl_span_str(visitor));
    if (name != NULL)
        event_set_str(e, EVENT_NAME, pl_span_str(name));
    event_set_str(e, EVENT_PAGE_URL, PL_SPAN_LIT("https://shop.example/products/blue-chair"));
    if (event_encode(e, out) != PL_OK)
        abort();
    free(e);
}

#endif
