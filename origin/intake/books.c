#include "origin/intake/books.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define BROKEN_MAX BOOKS_LOSSES_MAX /* chains out of balance that are kept apart, an edge */
/* Acks under way: an edge's mark trails the ledger by a window. Further back is left to a later
 * claim, because adding up takes a read of every block between. */
#define TRAIL_MAX 16384

struct broken_chain {
    struct pl_id128 incarnation;
    bool lost;              /* blocks of it: */
    struct books_loss loss; /* which */
    char reason[240];
};

struct entry {
    struct pl_id128 edge;
    int64_t heard_mono_ms;
    uint64_t pending_blocks;
    struct broken_chain broken[BROKEN_MAX]; /* oldest first */
    size_t broken_count;
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
             "it has acks for %" PRIu64 " blocks of which %" PRIu64 " (%" PRIu64 " to %" PRIu64
             ") with %" PRIu64 " events are not recorded here: they are lost with the copy that "
             "the database was restored from",
             claim->acked, gap.blocks, gap.first, gap.last, found->loss.events);
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
                 "it counted %" PRIu64 " events into its first %" PRIu64 " blocks, but %" PRIu64
                 " were found in them",
                 claim->acked_events, claim->acked, record->events - between);
    }
    return err;
}

/* Under lock. True: something is out of balance that was not. */
static bool set_broken(struct entry *entry, const struct broken_chain *found)
{
    size_t at = 0;
    while (at < entry->broken_count &&
           !pl_id128_eq(&entry->broken[at].incarnation, &found->incarnation)) {
        at++;
    }
    const bool known = at < entry->broken_count;
    if (found->reason[0] == '\0') {
        if (known) {
            entry->broken_count--;
            memmove(&entry->broken[at], &entry->broken[at + 1],
                    (entry->broken_count - at) * sizeof(entry->broken[0]));
        }
        return false;
    }
    if (at == BROKEN_MAX) {
        return false; /* as bad as it gets */
    }
    entry->broken_count += !known;
    entry->broken[at] = *found;
    return !known;
}

static void tell(struct books *books, const struct pl_id128 *edge, const struct broken_chain *found)
{
    struct pl_why why = {0};
    char text[PL_ID128_TEXT], chain[PL_ID128_TEXT], detail[160];
    pl_id128_format(edge, text);
    pl_id128_format(&found->incarnation, chain);
    pl_log(books->log, PL_LOG_ERROR, "books", "an edge's books do not balance: %s edge=%s chain=%s",
           found->reason, text, chain);
    snprintf(detail, sizeof(detail),
             "%" PRIu64 " blocks (%" PRIu64 " to %" PRIu64 ") of chain %s with %" PRIu64 " events",
             found->loss.blocks, found->loss.first, found->loss.last, chain, found->loss.events);
    const struct audit_entry entry = {
        .actor = "origin",
        .action = "edge.lost",
        .object = text,
        .detail = detail,
        .outcome = AUDIT_DONE,
    };
    if (found->lost && audit_note(books->audit, &entry, &why) != PL_OK) {
        pl_log(books->log, PL_LOG_ERROR, "books", "this is not in the audit log: %s", why.text);
    }
}

static void note(struct books *books, const struct pl_id128 *edge, const struct broken_chain *found)
{
    pthread_mutex_lock(&books->lock);
    struct entry *entry = find_or_add(books, edge);
    bool news = entry != NULL && set_broken(entry, found);
    pthread_mutex_unlock(&books->lock);
    if (news) {
        tell(books, edge, found);
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
