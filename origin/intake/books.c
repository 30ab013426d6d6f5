#include "origin/intake/books.h"
#include "proto/base/text.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define BROKEN_MAX BOOKS_LOSSES_MAX /* chains out of balance that are kept apart, an edge */
/* Acks under way: an edge's mark trails the ledger by a window. Further back is left to a later
 * claim, because adding up takes a read of every block between. */
#define TRAIL_MAX 16384
/* Chains of an edge whose losses are noted at once, and how long one more takes: an edge that errs
 * must not fill the audit log. */
#define LOSSES_NOTED   8
#define LOSS_REFILL_MS (10 * 60 * PL_SECOND_MS)

struct broken_chain {
    struct pl_id128 incarnation;
    bool lost;                /* blocks of it: */
    struct books_loss loss;   /* which */
    struct chain_claim noted; /* in the audit log, so to be booked up to its mark */
    char reason[240];
};

struct entry {
    struct pl_id128 edge;
    int64_t heard_mono_ms;
    uint64_t pending_blocks;
    struct broken_chain broken[BROKEN_MAX]; /* oldest first */
    size_t broken_count;
    unsigned losses_noted;
    int64_t noted_mono_ms; /* since when fewer of these count */
};

struct books {
    struct ledger *ledger;
    struct audit *audit;
    const struct pl_clock *clock;
    const struct pl_log *log;
    pthread_mutex_t lock; /* for a few instructions */
    struct entry *entries;
    size_t count;
};

enum pl_err books_new(struct books **out, struct ledger *ledger, struct audit *audit,
                      const struct pl_clock *clock, const struct pl_log *log, struct pl_why *why)
{
    struct books *books = calloc(1, sizeof(*books));
    if (books == NULL) {
        return pl_fail(why, PL_ENOMEM, "no memory for the books");
    }
    books->ledger = ledger;
    books->audit = audit;
    books->clock = clock;
    books->log = log;
    pthread_mutex_init(&books->lock, NULL);
    *out = books;
    return PL_OK;
}

void books_free(struct books *books)
{
    if (books != NULL) {
        pthread_mutex_destroy(&books->lock);
        free(books->entries);
        free(books);
    }
}

/* Under lock. */
static struct entry *find(const struct books *books, const struct pl_id128 *edge)
{
    for (size_t i = 0; i < books->count; i++) {
        if (pl_id128_eq(&books->entries[i].edge, edge)) {
            return &books->entries[i];
        }
    }
    return NULL;
}

static struct entry *find_or_add(struct books *books, const struct pl_id128 *edge)
{
    struct entry *entry = find(books, edge);
    if (entry != NULL || books->count == LIMIT_EDGES) {
        return entry;
    }
    struct entry *grown = reallocarray(books->entries, books->count + 1, sizeof(*grown));
    if (grown == NULL) {
        return NULL;
    }
    books->entries = grown;
    entry = &grown[books->count++];
    *entry = (struct entry){.edge = *edge};
    return entry;
}

/* ---- one chain */

static void find_loss(struct books *books, const struct pl_id128 *edge,
                      const struct chain_claim *claim, const struct chain_record *record,
                      struct broken_chain *found)
{
    struct ledger_gap gap;
    ledger_gap(books->ledger, edge, &claim->incarnation, record->contiguous, claim->acked, &gap);
    const uint64_t here = record->events + gap.events;
    if (gap.blocks == 0) { /* the last of them came just now */
        return;
    }
    found->lost = true;
    found->loss = (struct books_loss){
        .incarnation = claim->incarnation,
        .first = gap.first,
        .last = gap.last,
        .blocks = gap.blocks,
        .events = claim->acked_events > here ? claim->acked_events - here : 0,
    };
    snprintf(found->reason, sizeof(found->reason),
             "it has acks for %" PRIu64 " %s of which %" PRIu64 " (%" PRIu64 " to %" PRIu64
             ") with %" PRIu64 " %s %s not recorded here: lost with the copy that the database was "
             "restored from",
             claim->acked, pl_plural(claim->acked, "block", "blocks"), gap.blocks, gap.first,
             gap.last, found->loss.events, pl_plural(found->loss.events, "event", "events"),
             pl_plural(gap.blocks, "is", "are"));
}

/* Sets found->reason when claim and record cannot both be right; *known is false when this claim
 * does not allow to tell. */
static enum pl_err compare(struct books *books, const struct pl_id128 *edge,
                           const struct chain_claim *claim, const struct chain_record *record,
                           struct broken_chain *found, bool *known)
{
    uint64_t between = 0;
    *known = true;
    *found = (struct broken_chain){.incarnation = claim->incarnation};
    if (claim->acked > record->contiguous) {
        find_loss(books, edge, claim, record, found);
        return PL_OK;
    }
    if (record->contiguous - claim->acked > TRAIL_MAX) {
        *known = false;
        return PL_OK;
    }
    enum pl_err err = ledger_events_between(books->ledger, edge, &claim->incarnation, claim->acked,
                                            record->contiguous, &between);
    if (err == PL_ENOTFOUND) {
        *known = false;
        return PL_OK;
    }
    /* A fork has its own alarm, which lasts; its two blocks may well differ in number of events. */
    if (err == PL_OK && claim->acked_events != record->events - between &&
        !ledger_forked(books->ledger, edge, &claim->incarnation)) {
        snprintf(found->reason, sizeof(found->reason),
                 "it counted %" PRIu64 " %s into its first %" PRIu64 " %s, but found were %" PRIu64,
                 claim->acked_events, pl_plural(claim->acked_events, "event", "events"),
                 claim->acked, pl_plural(claim->acked, "block", "blocks"),
                 record->events - between);
    }
    return err;
}

/* Under lock. */
static struct broken_chain *find_broken(struct entry *entry, const struct pl_id128 *incarnation)
{
    for (size_t i = 0; i < entry->broken_count; i++) {
        if (pl_id128_eq(&entry->broken[i].incarnation, incarnation)) {
            return &entry->broken[i];
        }
    }
    return NULL;
}

/* Under lock. True: something is out of balance that was not. */
static bool set_broken(struct entry *entry, const struct broken_chain *found)
{
    struct broken_chain *known = find_broken(entry, &found->incarnation);
    if (found->reason[0] == '\0') {
        if (known != NULL) {
            const struct broken_chain *end = entry->broken + entry->broken_count--;
            memmove(known, known + 1, (size_t)(end - known - 1) * sizeof(*known));
        }
        return false;
    }
    if (known != NULL) {
        const struct chain_claim noted = known->noted;
        *known = *found;
        known->noted = noted;
        return false;
    }
    if (entry->broken_count == BROKEN_MAX) {
        return false; /* as bad as it gets */
    }
    entry->broken[entry->broken_count++] = *found;
    return true;
}

static void note(struct books *books, const struct pl_id128 *edge, const struct broken_chain *found)
{
    pthread_mutex_lock(&books->lock);
    struct entry *entry = find_or_add(books, edge);
    bool news = entry != NULL && set_broken(entry, found);
    pthread_mutex_unlock(&books->lock);
    if (news) {
        char text[PL_ID128_TEXT], chain[PL_ID128_TEXT];
        pl_id128_format(edge, text);
        pl_id128_format(&found->incarnation, chain);
        pl_log(books->log, PL_LOG_ERROR, "books",
               "an edge's books do not balance: %s edge=%s chain=%s", found->reason, text, chain);
    }
}

/* ---- what is lost */

static enum pl_err audit_loss(struct books *books, const struct pl_id128 *edge,
                              const struct books_loss *loss)
{
    struct pl_why why = {0};
    char text[PL_ID128_TEXT], chain[PL_ID128_TEXT], detail[160];
    pl_id128_format(edge, text);
    pl_id128_format(&loss->incarnation, chain);
    snprintf(detail, sizeof(detail),
             "%" PRIu64 " %s (%" PRIu64 " to %" PRIu64 ") of chain %s with %" PRIu64 " %s",
             loss->blocks, pl_plural(loss->blocks, "block", "blocks"), loss->first, loss->last,
             chain, loss->events, pl_plural(loss->events, "event", "events"));
    const struct audit_entry entry = {
        .actor = "origin",
        .action = "edge.lost",
        .object = text,
        .detail = detail,
        .outcome = AUDIT_DONE,
    };
    enum pl_err err = audit_note(books->audit, &entry, &why);
    if (err != PL_OK) {
        pl_log(books->log, PL_LOG_ERROR, "books",
               "lost blocks are not booked, for that is not in the audit log: %s", why.text);
    }
    return err;
}

/* Under lock. */
static bool may_note(struct entry *entry, int64_t now_ms)
{
    if (entry->losses_noted == 0) {
        entry->noted_mono_ms = now_ms;
    }
    while (entry->losses_noted > 0 && now_ms - entry->noted_mono_ms >= LOSS_REFILL_MS) {
        entry->losses_noted--;
        entry->noted_mono_ms += LOSS_REFILL_MS;
    }
    if (entry->losses_noted == LOSSES_NOTED) {
        return false;
    }
    entry->losses_noted++;
    return true;
}

/* The writer may be long in booking what was noted, and is told again then. What a chain lost on
 * top of it is another loss. */
static void lose(struct books *books, const struct pl_id128 *edge, const struct chain_claim *claim,
                 const struct chain_record *record)
{
    struct chain_claim noted = {.acked = 0};
    struct books_loss loss;
    bool news = false;
    pthread_mutex_lock(&books->lock);
    struct entry *entry = find(books, edge);
    struct broken_chain *broken = entry == NULL ? NULL : find_broken(entry, &claim->incarnation);
    if (broken != NULL) {
        noted = broken->noted;
        loss = broken->loss;
        news = noted.acked <= record->contiguous && may_note(entry, pl_mono_ms(books->clock));
    }
    pthread_mutex_unlock(&books->lock);
    if (news && audit_loss(books, edge, &loss) == PL_OK) {
        noted = *claim;
        pthread_mutex_lock(&books->lock);
        entry = find(books, edge);
        broken = entry == NULL ? NULL : find_broken(entry, &claim->incarnation);
        if (broken != NULL) {
            broken->noted = noted;
        }
        pthread_mutex_unlock(&books->lock);
    }
    if (noted.acked > record->contiguous) {
        ledger_lose(books->ledger, edge, &noted);
    }
}

/* ---- what the receiver asks */

enum pl_err books_answer(struct books *books, const struct pl_id128 *edge,
                         const struct chain_claim *claims, size_t count,
                         struct chain_record *records)
{
    uint64_t pending_blocks = 0;
    ledger_books(books->ledger, edge, claims, count, records);
    for (size_t i = 0; i < count; i++) {
        struct broken_chain found;
        bool known;
        enum pl_err err = compare(books, edge, &claims[i], &records[i], &found, &known);
        if (err != PL_OK) {
            return err;
        }
        if (known) {
            note(books, edge, &found);
        }
        if (found.lost) {
            lose(books, edge, &claims[i], &records[i]);
        }
        const uint64_t here =
            claims[i].acked > records[i].contiguous ? claims[i].acked : records[i].contiguous;
        if (claims[i].next > here) { /* what is lost does not come any more */
            pending_blocks += claims[i].next - here;
        }
    }
    pthread_mutex_lock(&books->lock);
    struct entry *entry = find_or_add(books, edge);
    if (entry != NULL) {
        entry->heard_mono_ms = pl_mono_ms(books->clock);
        entry->pending_blocks = pending_blocks;
    }
    pthread_mutex_unlock(&books->lock);
    return PL_OK;
}

void books_session(struct books *books, const struct pl_id128 *edge, bool up)
{
    char text[PL_ID128_TEXT];
    pthread_mutex_lock(&books->lock);
    struct entry *entry = find_or_add(books, edge);
    if (entry != NULL) {
        entry->heard_mono_ms = pl_mono_ms(books->clock);
    }
    pthread_mutex_unlock(&books->lock);
    pl_id128_format(edge, text);
    pl_log(books->log, PL_LOG_INFO, "link", "edge %s edge=%s", up ? "connected" : "disconnected",
           text);
}

void books_edge(struct books *books, const struct pl_id128 *edge, struct books_edge *out)
{
    *out = (struct books_edge){.heard_mono_ms = -1, .balanced = true};
    pthread_mutex_lock(&books->lock);
    const struct entry *entry = find(books, edge);
    if (entry != NULL) {
        out->heard_mono_ms = entry->heard_mono_ms;
        out->pending_blocks = entry->pending_blocks;
        out->balanced = entry->broken_count == 0;
        if (!out->balanced) {
            memcpy(out->reason, entry->broken[0].reason, sizeof(out->reason));
        }
        for (size_t i = 0; i < entry->broken_count; i++) {
            if (entry->broken[i].lost) {
                out->losses[out->loss_count++] = entry->broken[i].loss;
            }
        }
    }
    pthread_mutex_unlock(&books->lock);
}
