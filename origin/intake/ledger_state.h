/*
 * ledger_state: the ledger's memory and its rows. Private to the ledger.
 */
#ifndef POLDER_ORIGIN_INTAKE_LEDGER_STATE_H
#define POLDER_ORIGIN_INTAKE_LEDGER_STATE_H

#include "origin/intake/ledger.h"

#include <pthread.h>

#define LEDGER_ROW_BYTES_MAX   256u
#define LEDGER_CHAIN_KEY_BYTES 32u
#define LEDGER_BLOCK_KEY_BYTES 40u
#define LEDGER_KEPT_KEY_BYTES  48u
#define LEDGER_KEPT_MAX        256u /* alarms about blocks held in memory */
#define LEDGER_LOST_MAX        64u  /* claims that wait for the writer */

/* A recorded (or staged) block. */
struct ledger_row {
    uint64_t number;
    uint8_t hash[BLOCK_HASH_BYTES];
    uint8_t previous_hash[BLOCK_HASH_BYTES];
    bool lost;
    bool refused; /* its hash tells repeats, but is not held against its neighbours */
    int64_t received_ms;
    struct ledger_counts counts;
    const struct ledger_block *staged; /* counts are taken from it when it is written */
};

struct ledger_links {
    struct pl_id128 edge, incarnation;
    uint64_t contiguous, highest;
    uint8_t last_hash[BLOCK_HASH_BYTES]; /* of block contiguous - 1; zeros: not known */
    int64_t last_ms;
    struct ledger_counts counts; /* of the blocks below contiguous */
    uint64_t lost_from, lost_to; /* of these, those without a row are lost; since: */
    int64_t lost_ms;
    struct ledger_row *ahead; /* recorded above contiguous, ascending; staged ones, lost before */
    size_t ahead_count, ahead_room;
    size_t staged; /* of them, not yet written */
    struct ledger_links *next_dirty;
    bool dirty;                /* its row is to be written */
    struct chain_record shown; /* as of the last commit */
    struct ledger_loss shown_loss;
    bool let_go;              /* the edge names its chains, and this is none of them; under lock */
    struct chain_record told; /* to the edge: what its earlier identity brought counts as well */
    int64_t shown_ms;
};

struct ledger {
    struct store *store;
    int64_t hole_alarm_ms;
    size_t quarantine_bytes_max, ahead_max, chains_max;
    const struct pl_clock *clock;
    const struct pl_log *log;

    /* the writer's */
    struct ledger_counts staged;
    struct ledger_counts found; /* of what is staged, what was booked as lost */
    struct ledger_links *dirty;
    struct pl_buf row;

    /* everybody's, for a few instructions; only the writer changes them */
    pthread_mutex_t lock;
    struct ledger_links **chains; /* by edge, incarnation */
    size_t chain_count, chain_room;
    struct ledger_counts totals;
    struct ledger_alarm *kept; /* oldest first */
    size_t kept_count;
    struct ledger_kept stored_kept;
    struct ledger_lost {
        struct pl_id128 edge;
        struct chain_claim claim;
    } lost[LEDGER_LOST_MAX]; /* any thread adds to them */
    size_t lost_count;
    int64_t let_go_ms; /* what was kept aside before is to go; any thread raises it */
};

/* ---- rows (ledger_rows.c) */
void ledger_chain_key(const struct pl_id128 *edge, const struct pl_id128 *incarnation,
                      uint8_t key[LEDGER_CHAIN_KEY_BYTES]);
void ledger_block_key(const struct pl_id128 *edge, const struct pl_id128 *incarnation,
                      uint64_t number, uint8_t key[LEDGER_BLOCK_KEY_BYTES]);
enum pl_err ledger_row_encode(const struct ledger_row *row, struct pl_buf *out);
enum pl_err ledger_row_decode(struct pl_span key, struct pl_span value, struct ledger_row *row);
enum pl_err ledger_chain_encode(const struct ledger_links *chain, struct pl_buf *out);
enum pl_err ledger_chain_decode(struct pl_span key, struct pl_span value,
                                struct ledger_links *chain);
enum pl_err ledger_alarm_encode(const struct ledger_alarm *alarm, struct pl_span bytes,
                                struct pl_buf *out);
enum pl_err ledger_alarm_decode(struct pl_span key, struct pl_span value,
                                struct ledger_alarm *alarm);
void ledger_counts_add(struct ledger_counts *sum, const struct ledger_counts *more);

/* An edge's chains that were dropped, in one: sums under an incarnation that no process has. */
bool ledger_is_sum(const struct ledger_links *chain);

/* ---- memory (ledger_load.c) */
/* Where a chain is in the table, or belongs. */
size_t ledger_position(const struct ledger *l, const struct pl_id128 *edge,
                       const struct pl_id128 *incarnation);
/* Whether the edge has as many chains as are kept of one. */
bool ledger_is_full(const struct ledger *l, const struct pl_id128 *edge);
/* NULL when there is none. */
struct ledger_links *ledger_find(struct ledger *l, const struct pl_id128 *edge,
                                 const struct pl_id128 *incarnation);
enum pl_err ledger_find_or_add(struct ledger *l, const struct pl_id128 *edge,
                               const struct pl_id128 *incarnation, struct ledger_links **out);
/* Where number is in ahead, or belongs. */
size_t ledger_ahead_at(const struct ledger_links *chain, uint64_t number);
enum pl_err ledger_ahead_insert(struct ledger_links *chain, const struct ledger_row *row);
/* The next block becomes part of the contiguous run. */
void ledger_take_next(struct ledger_links *chain, const struct ledger_row *row);
/* Recorded blocks that follow without a hole become part of the contiguous run, and those that were
 * lost count anew: adds to *found what they had counted as. */
void ledger_advance(struct ledger_links *chain, struct ledger_counts *found);
/* So many rows are in the run by now. */
void ledger_ahead_shift(struct ledger_links *chain, size_t run);
/* Whether a number without a row is that of a lost block, which is new when it comes. */
bool ledger_is_lost(const struct ledger *l, const struct ledger_links *chain, uint64_t number);
/* Puts the chain's row into the batch. */
enum pl_err ledger_put_chain(struct ledger *l, struct store_batch *batch,
                             const struct ledger_links *chain);
/* As of a commit. */
void ledger_show(const struct ledger *l, struct ledger_links *chain);
/* What stands recorded of a chain whose edge had another identity when it began it; NULL: nothing.
 * An incarnation is random, so no two edges share one by chance. */
const struct ledger_links *ledger_earlier(const struct ledger *l, const struct pl_id128 *edge,
                                          const struct pl_id128 *incarnation);
void ledger_forget(struct ledger *l);
/* Takes it off the table and frees it. */
void ledger_remove(struct ledger *l, struct ledger_links *chain);
/* Reads everything from the store and puts it in the place of what was known. */
enum pl_err ledger_load(struct ledger *l, struct pl_why *why);
/* Adds an alarm to those in memory; one for the same block gives way. */
void ledger_keep_alarm(struct ledger *l, const struct ledger_alarm *alarm);
void ledger_kept_add(struct ledger_kept *sum, int64_t since_ms, size_t bytes);

#endif
