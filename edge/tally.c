#include "edge/tally.h"
#include "edge/loop.h"

#include <stdio.h>

#define OTHER         "OTHER"
#define EVENT_MAX     512 /* encoded */
#define MESSAGE_BYTES 64

void tally_init(struct tally *tally)
{
    pl_buf_init(&tally->pending, (size_t)TALLY_ROWS * EVENT_MAX);
}

void tally_release(struct tally *tally)
{
    pl_buf_release(&tally->pending);
}

/* ---- counting */

/* The row, or where it would stand; the table is never full. */
static struct tally_row *find(struct tally *tally, const struct tally_who *who, const char *outcome)
{
    uint64_t hash = who->account ^ (uint64_t)who->dialect << 56 ^ (uint8_t)outcome[0];
    hash *= UINT64_C(0x9e3779b97f4a7c15);
    for (size_t at = (size_t)(hash >> 32);; at++) {
        struct tally_row *row = &tally->slots[at & (TALLY_SLOTS - 1)];
        if (row->who.account == 0 ||
            (row->who.account == who->account && row->who.dialect == who->dialect &&
             strcmp(row->outcome, outcome) == 0))
            return row;
    }
}

bool tally_note(struct tally *tally, const struct tally_who *who, const char *outcome, uint64_t n)
{
    struct tally_row *row = find(tally, who, outcome);
    if (row->who.account == 0 && tally->rows >= TALLY_NAMED) {
        outcome = OTHER;
        row = find(tally, who, outcome);
    }
    if (row->who.account == 0 && tally->rows == TALLY_ROWS)
        return false;
    if (row->who.account == 0) {
        *row = (struct tally_row){.who = *who, .outcome = outcome};
        tally->rows++;
    }
    row->count += n;
    return true;
}

/* ---- handing in */

static enum pl_err add_event(struct edge_loop *loop, const struct tally_row *row, const char *batch)
{
    struct tally *tally = &loop->tally;
    struct event *event = &loop->event;
    char message[MESSAGE_BYTES];
    snprintf(message, sizeof(message), "tally:%s:%u", batch, tally->pending_count);
    event_clear(event);
    event_set_u64(event, EVENT_ACCOUNT, row->who.account);
    event_set_u64(event, EVENT_TYPE, EVENT_TALLY);
    event_set_u64(event, EVENT_DIALECT, row->who.dialect);
    event_set_i64(event, EVENT_ACCEPTED_MS, http_loop_wall_ms(loop->http));
    event_set_str(event, EVENT_REGION, pl_span_str(loop->edge->options->region));
    event_set_str(event, EVENT_MESSAGE_ID, pl_span_str(message));
    event_set_str(event, EVENT_VISITOR_ID, PL_SPAN_LIT(TALLY_VISITOR));
    event_set_str(event, EVENT_NAME, pl_span_str(row->outcome));
    event_set_u64(event, EVENT_COUNT, row->count);
    const enum pl_err err = event_encode(event, &tally->pending);
    if (err == PL_OK)
        tally->ends[tally->pending_count++] = (uint32_t)tally->pending.len;
    return err;
}

/* An account that is gone or has expired takes no more events, these neither. */
static bool is_wanted(const struct edge_loop *loop, const struct tally_row *row)
{
    const struct catalog_entry *entry = catalog_find(loop->snapshot, &row->who.write_key);
    return entry != NULL && entry->account == row->who.account &&
           catalog_entry_state(entry, http_loop_wall_ms(loop->http)) == ACCOUNT_ACTIVE;
}

/* Makes events of the rows, which are empty afterwards; on an error all stays as it is. */
static enum pl_err encode(struct edge_loop *loop)
{
    struct tally *tally = &loop->tally;
    struct pl_id128 id;
    char batch[PL_ID128_TEXT];
    enum pl_err err = pl_id128_random(pl_random_system(), &id);
    if (err != PL_OK)
        return err;
    pl_id128_format(&id, batch);
    for (size_t i = 0; i < TALLY_SLOTS && err == PL_OK; i++)
        if (tally->slots[i].who.account != 0 && is_wanted(loop, &tally->slots[i]))
            err = add_event(loop, &tally->slots[i], batch);
    if (err != PL_OK) {
        pl_buf_reset(&tally->pending);
        tally->pending_count = 0;
        return err;
    }
    memset(tally->slots, 0, sizeof(tally->slots));
    tally->rows = 0;
    return PL_OK;
}

static void finish(struct edge_loop *loop, struct loop_ticket *ticket, struct http_request *request)
{
    struct tally *tally = &loop->tally;
    (void)request;
    tally->away = false;
    if (ticket->base.err != PL_OK)
        return; /* handed in again next time: the message ids keep it from counting twice */
    pl_buf_reset(&tally->pending);
    tally->pending_count = 0;
}

void tally_submit(struct edge_loop *loop)
{
    struct tally *tally = &loop->tally;
    struct loop_ticket *ticket;
    if (tally->away || (tally->pending_count == 0 && tally->rows == 0))
        return;
    if (tally->pending_count == 0 && encode(loop) != PL_OK)
        return;
    if (tally->pending_count == 0 || (ticket = edge_ticket_get(loop)) == NULL)
        return;
    ticket->finish = finish;
    const struct collector_events events = {
        .bytes = pl_buf_span(&tally->pending), .ends = tally->ends, .count = tally->pending_count};
    tally->away = true;
    if (collector_submit(loop->edge->collector, loop->index, &events, &ticket->base) != PL_OK) {
        tally->away = false;
        edge_ticket_put(loop, ticket);
    }
}
