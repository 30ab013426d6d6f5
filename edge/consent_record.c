/* From a choice to its events and rows, and to the answer when they are on disk. */
#include "edge/consent_parts.h"

#include "proto/base/crypto.h"
#include "proto/base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static struct pl_id128 with_low_bits(const struct pl_id128 *id, unsigned bits)
{
    struct pl_id128 copy = *id;
    copy.bytes[15] = (uint8_t)((copy.bytes[15] & ~CONSENT_LOW_BITS) | bits);
    return copy;
}

/* ---- what is said */

static void name_people(struct record *record, const struct pl_id128 *consent_id)
{
    for (unsigned i = 0; i < record->count; i++)
        record->said[i].consent_id = with_low_bits(consent_id, i);
}

static bool is_known(const struct wish *wish, const struct record *record)
{
    for (unsigned i = 0; i < record->count; i++)
        if (!suppressions_know(wish->loop->edge->suppressions, &record->said[i]))
            return false;
    return record->count > 0;
}

/* What is tried again, for its answer got lost, is the same opt-out, at whichever edge: a yes takes
 * back all of it. False: of no such request, or one that has been taken back. */
static bool name_by_request(const struct wish *wish, struct record *record,
                            struct pl_id128 *consent_id)
{
    static const struct pl_span purpose = PL_SPAN_INIT("polder consent v1");
    struct pl_span parts[CONSENT_PEOPLE_MAX + 2] = {purpose};
    uint8_t hash[PL_SHA256_BYTES];
    size_t count = 1;
    if (wish->request_id.len == 0 || record->count == 0)
        return false;
    for (unsigned i = 0; i < record->count; i++)
        parts[count++] = pl_span(record->said[i].id_hash, ID_HASH_BYTES);
    parts[count++] = wish->request_id;
    if (pl_hmac_sha256(pl_span(wish->entry->id_key, CATALOG_ID_KEY_BYTES), parts, count, hash) !=
        PL_OK)
        return false;
    memcpy(consent_id->bytes, hash, sizeof(consent_id->bytes));
    name_people(record, consent_id);
    for (unsigned i = 0; i < record->count; i++)
        if (suppressions_undone(wish->loop->edge->suppressions, &record->said[i]))
            return false;
    return true;
}

enum pl_err record_optout(const struct wish *wish, const struct pl_id128 *before, size_t count,
                          struct answer *answer)
{
    struct record *record = &answer->record;
    const bool said_before = count > 0;
    for (; wish->entry != NULL && record->count < wish->id_count; record->count++) {
        struct suppression *s = &record->said[record->count];
        *s = (struct suppression){.account = wish->entry->account, .active = true};
        enum pl_err err =
            suppression_hash(wish->entry->id_key, wish->ids[record->count], s->id_hash);
        if (err != PL_OK)
            return err;
    }
    if (said_before)
        name_people(record, &before[0]);
    /* What was said before is said again in the same words, for it may not have got to a disk. */
    if (said_before &&
        (record->count == 0 ||
         ((before[0].bytes[15] & CONSENT_LOW_BITS) == record->count && is_known(wish, record)))) {
        answer->consent_id = before[0];
        return PL_OK;
    }
    enum pl_err err = name_by_request(wish, record, &answer->consent_id)
                          ? PL_OK
                          : pl_id128_random(pl_random_system(), &answer->consent_id);
    answer->consent_id = with_low_bits(&answer->consent_id, record->count);
    name_people(record, &answer->consent_id);
    return err;
}

void record_optin(const struct wish *wish, const struct pl_id128 *ids, size_t count,
                  struct answer *answer)
{
    struct record *record = &answer->record;
    for (size_t i = 0; i < count; i++)
        for (unsigned j = 0; j < (ids[i].bytes[15] & CONSENT_LOW_BITS); j++)
            record->said[record->count++] =
                (struct suppression){.account = wish->entry->account,
                                     .consent_id = with_low_bits(&ids[i], j),
                                     .active = false};
}

/* ---- on its way */

static enum pl_err add_event(struct edge_loop *loop, const struct suppression *said, unsigned index)
{
    char consent[PL_ID128_TEXT], hash[2 * ID_HASH_BYTES + 1], message[PL_ID128_TEXT + 8];
    struct event *event = &loop->event;
    pl_id128_format(&said->consent_id, consent);
    pl_hex_encode(pl_span(said->id_hash, ID_HASH_BYTES), hash);
    /* However often it is said, it is one event. */
    snprintf(message, sizeof(message), "%s:%s", said->active ? "out" : "in", consent);
    event_clear(event);
    event_set_u64(event, EVENT_TYPE, said->active ? EVENT_OPT_OUT : EVENT_OPT_IN);
    event_set_u64(event, EVENT_ACCOUNT, said->account);
    event_set_i64(event, EVENT_ACCEPTED_MS, http_loop_wall_ms(loop->http));
    event_set_str(event, EVENT_REGION, pl_span_str(loop->edge->options->region));
    event_set_str(event, EVENT_MESSAGE_ID, pl_span_str(message));
    event_set_str(event, EVENT_CONSENT_ID, pl_span_str(consent));
    if (said->active)
        event_set_str(event, EVENT_CONSENT_ID_HASH, pl_span_str(hash));
    enum pl_err err = event_encode(event, &loop->events);
    loop->ends[index] = (uint32_t)loop->events.len;
    return err;
}

static enum pl_err learn(struct edge_loop *loop, const struct answer *answer)
{
    enum pl_err err = PL_OK;
    for (unsigned i = 0; i < answer->record.count && err == PL_OK; i++)
        err = suppressions_learn(loop->edge->suppressions, answer->record.said[i]);
    return err;
}

static const struct pl_why not_passed_on = {
    .err = PL_EIO,
    .text = "the choice holds in this browser, but this edge could not record it; try again",
};

static void finish(struct edge_loop *loop, struct loop_ticket *ticket, struct http_request *request)
{
    const struct answer *answer = (const struct answer *)(const void *)ticket->body;
    enum pl_err err = ticket->base.err;
    /* A yes counts once it is on disk; no memory for it: it comes back with the feed. */
    if (err == PL_OK && !answer->out)
        (void)learn(loop, answer);
    if (request == NULL)
        return;
    if (err == PL_OK)
        answer_send(request, answer);
    else
        answer_send_failure(request, answer, 503, CONSENT_RETRY_S, &not_passed_on);
}

/* Suspended until it is on disk. A no is known to this edge at once. */
static enum pl_err submit(const struct wish *wish, const struct answer *answer)
{
    struct edge_loop *loop = wish->loop;
    const struct record *record = &answer->record;
    enum pl_err err = answer->out ? learn(loop, answer) : PL_OK;
    pl_buf_reset(&loop->events);
    for (unsigned i = 0; i < record->count && err == PL_OK; i++)
        err = add_event(loop, &record->said[i], i);
    struct loop_ticket *ticket = err == PL_OK ? edge_ticket_get(loop) : NULL;
    if (ticket == NULL)
        return PL_ENOMEM;
    ticket->finish = finish;
    ticket->body = malloc(sizeof(*answer));
    if (ticket->body == NULL || (ticket->suspended = http_suspend(wish->request)) == NULL) {
        edge_ticket_put(loop, ticket);
        return PL_ENOMEM;
    }
    memcpy(ticket->body, answer, sizeof(*answer));
    const struct collector_events events = {
        .bytes = pl_buf_span(&loop->events),
        .ends = loop->ends,
        .count = record->count,
        .said = record->said,
        .said_count = record->count,
    };
    err = collector_submit(loop->edge->collector, loop->index, &events, &ticket->base);
    if (err == PL_OK) {
        rate_charge(&loop->choices, wish->entry->account, record->count);
    } else {
        (void)http_resume(ticket->suspended);
        edge_ticket_put(loop, ticket);
    }
    return err;
}

/* ---- whether it can be recorded */

/* PL_OK, or the error of a choice that holds in this browser only. */
static enum pl_err check(const struct wish *wish, bool out, int64_t *wait_s, struct pl_why *why)
{
    struct edge_loop *loop = wish->loop;
    const struct catalog_entry *entry = wish->entry;
    /* An expired account may be reinstated. */
    if (catalog_entry_state(entry, http_loop_wall_ms(loop->http)) >= ACCOUNT_DELETING)
        return pl_fail(why, PL_EEXPIRED,
                       "the account behind this write key is being deleted: nothing is collected "
                       "any more, and the ids were not recorded");
    if (!rate_admits(&loop->choices, entry->account, http_loop_mono_ms(loop->http), wait_s))
        return pl_fail(why, PL_EAGAIN, "too many choices of this account; wait %" PRId64 " s",
                       *wait_s);
    const int64_t most = loop->edge->options->optouts_per_account;
    /* A yes makes room. */
    if (out && !suppressions_have_room(loop->edge->suppressions, entry->account, (size_t)most))
        return pl_fail(why, PL_ELIMIT,
                       "the account has %" PRId64
                       " opt-outs by id, which is all that this edge keeps "
                       "in mind; the choice holds in this browser",
                       most);
    return PL_OK;
}

void record_and_answer(const struct wish *wish, const struct answer *answer)
{
    int64_t wait_s = 0;
    struct pl_why why = {0};
    if (wish->unsure) {
        wish_fail_unsure(&why, "the choice holds in this browser, but ");
        answer_send_failure(wish->request, answer, 503, CONSENT_RETRY_S, &why);
        return;
    }
    if (wish->entry == NULL && wish->named_count > 0) {
        pl_fail_field(&why, PL_ENOTFOUND, "writeKey",
                      "the choice holds in this browser; for ids it takes the write key of a known "
                      "account");
        answer_send_failure(wish->request, answer, 401, 0, &why);
        return;
    }
    if (answer->record.count == 0) {
        answer_send(wish->request, answer);
        return;
    }
    enum pl_err err = check(wish, answer->out, &wait_s, &why);
    if (err == PL_ELIMIT)
        answer_send_failure(wish->request, answer, 503, 3600, &why);
    else if (err != PL_OK)
        answer_send_failure(wish->request, answer, reply_status_of(err), wait_s, &why);
    else if (submit(wish, answer) != PL_OK)
        answer_send_failure(wish->request, answer, 503, CONSENT_RETRY_S, &not_passed_on);
}
