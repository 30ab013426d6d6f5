/*
 * spool_internal: what the spool's files share. Nobody else includes it.
 *
 * Why two records a block: a flipped byte in the store's log costs the record it falls into, and
 * recovery skips that record without a word. Block and mark are two records in two families, so
 * one flip cannot take both: a mark without its block is a loss with number, hash and count, and
 * a block without its mark is sent all the same. Where a flip takes a whole run of log records,
 * the totals of the next surviving mark still say how many events went with it. Only the very
 * end of a killed process's log has no later witness: rot there looks like a write cut short.
 */
#ifndef POLDER_EDGE_SPOOL_INTERNAL_H
#define POLDER_EDGE_SPOOL_INTERNAL_H

#include "edge/ackset.h"
#include "edge/families.h"
#include "edge/spool.h"

#include <pthread.h>

#define SPOOL_KEY_BYTES  24 /* incarnation | number */
#define SPOOL_MARK_BYTES 65

struct spool_totals {
    uint64_t events, bytes;
};

/* A block's second record. */
struct spool_mark {
    uint8_t hash[BLOCK_HASH_BYTES];
    struct spool_totals own;
    struct spool_totals through; /* of the chain, this block included */
    int64_t sealed_ms;
};

struct spool_chain {
    struct pl_id128 incarnation;
    uint64_t serial; /* order of opening */
    bool closed;     /* an earlier process's, or ended by a failed write */
    bool ended;      /* its row on disk says where it ends */
    uint64_t acked;  /* below: acked and trimmed */
    struct spool_totals acked_totals;
    uint64_t next; /* below: durable */
    struct spool_totals totals;
    bool exact;             /* totals are counted, not pieced together from what a crash left */
    int64_t oldest_ms;      /* when block `acked` was sealed, as far as known; 0: nothing waits */
    int64_t newest_ms;      /* of the last commit */
    struct ackset acks;     /* verdicts at or above `acked` */
    struct ackset declared; /* lost and told so: counted once, though told after each reconnect */
    uint64_t unread;        /* the block that the disk does not give back just now, */
    unsigned failed_reads;  /* and how often in a row; 0: there is none */

    enum spool_books books;
    uint64_t acked_at_books; /* at the previous books: the origin must hold these by now */
    struct chain_record origin;
};

struct spool_chains {
    struct spool_chain **items; /* by serial; the live one last */
    size_t count, cap;
};

/* What was durable at a moment: all older chains, and this one below `number`. */
struct spool_cut {
    uint64_t serial, number;
    bool awaited; /* config.past_cut is to be called */
};

struct spool {
    struct spool_config config;

    /* Held over store calls; taken before `lock`. Serialises verdicts, trimming and recovery. */
    pthread_mutex_t settle;
    /* Never held over a store call. Guards everything below it. */
    pthread_mutex_t lock;
    struct spool_chains chains;
    uint64_t settled_events;    /* of chains whose rows are gone */
    struct spool_status counts; /* pending_* and chains are computed when asked */
    struct spool_cut cut;
    struct frame_settled settled;

    /* The committer's: the live chain including what is written but not committed. */
    struct pl_id128 incarnation;
    uint64_t staged_next;
    struct spool_totals staged;
    uint8_t last_hash[BLOCK_HASH_BYTES];
    struct store_batch *marks;
    int64_t staged_ms; /* when the first of them was sealed; 0: nothing is staged */
    struct pl_histogram sync_us, block_bytes; /* anybody may sum them */
    int64_t tidy_ms;                          /* when to look at the quarantine's age again */
    bool broken;

    /* The sender's. */
    int64_t losing_until_ms; /* the disk has lost a block a short while ago */

    /* Under `settle`. */
    struct store_batch *trims;
};

void spool_key(const struct pl_id128 *incarnation, uint64_t number, uint8_t out[SPOOL_KEY_BYTES]);

/* What cannot be read back is as good as never written, be it rotten or on a bad sector: other
 * records, and other chains, answer for themselves. */
static inline bool spool_not_there(enum pl_err err)
{
    return err == PL_ENOTFOUND || err == PL_ECORRUPT || err == PL_EIO;
}

/* ---- spool_mark.c */
void spool_mark_encode(const struct spool_mark *mark, uint8_t out[SPOOL_MARK_BYTES]);
/* PL_ENOTFOUND: no mark, or not a whole one. */
enum pl_err spool_mark_get(struct spool *spool, const struct pl_id128 *incarnation, uint64_t number,
                           struct spool_mark *mark);
/* What is known of a block, whichever of its records and neighbours are left. A snapshot of the
 * chain's numbers is enough; `settle` need not be held. */
struct spool_view {
    struct pl_id128 incarnation;
    uint64_t acked, next;
    struct spool_totals acked_totals, totals;
    bool exact;
};
struct spool_tally {
    struct spool_totals own, through;
    uint8_t hash[BLOCK_HASH_BYTES]; /* zeros when unknown */
    bool counted;                   /* false: how many events it held is beyond finding out */
};
enum pl_err spool_tally_of(struct spool *spool, const struct spool_view *view, uint64_t number,
                           struct spool_tally *out);
struct spool_view spool_view_of(const struct spool_chain *chain);

/* ---- spool_source.c */
/* The chain as of now: its `next` is the committer's to move. */
struct spool_chain spool_chain_copy(struct spool *spool, const struct spool_chain *chain);
/* Takes the acked prefix off; `settle` held. */
void spool_trim(struct spool *spool, struct spool_chain *chain);

/* ---- spool_quarantine.c; `settle` held */
/* Out of the way of trimming, for somebody to look at. */
enum pl_err spool_quarantine(struct spool *spool, const struct pl_id128 *incarnation,
                             uint64_t number, enum block_verdict verdict);
/* Whether the chain has had blocks in quarantine. */
bool spool_has_quarantined(struct spool *spool, const struct pl_id128 *incarnation);
/* Drops what is old, with cut_too what is from before the cut as well, and counts the rest. */
enum pl_err spool_quarantine_tidy(struct spool *spool, bool cut_too);

/* ---- spool_cut.c */
/* Of a chain that is not on the table (any more): yes. */
bool spool_is_before_cut(struct spool *spool, const struct pl_id128 *incarnation, uint64_t number);
/* Calls config.past_cut when it is time to. No lock held. */
void spool_look_at_cut(struct spool *spool);
enum pl_err spool_load_cut(struct spool *spool);

/* ---- spool_books.c */
void spool_books_heard(void *ctx, const struct chain_record *records, size_t count);

/* ---- spool_load.c */
/* Reads every chain that is on disk into *out, all closed. */
enum pl_err spool_load(struct spool *spool, struct spool_chains *out, struct pl_why *why);
enum pl_err spool_chain_write(struct spool *spool, const struct spool_chain *chain, bool sync,
                              struct pl_why *why);
void spool_chain_row_put(struct spool *spool, struct store_batch *batch,
                         const struct spool_chain *chain);
/* Removes its row, and notes settled_events beside; `settle` held. */
void spool_chain_delete(struct spool *spool, const struct spool_chain *chain);
enum pl_err spool_load_settled(struct spool *spool);
enum pl_err spool_chains_add(struct spool_chains *chains, struct spool_chain *chain);
struct spool_chain *spool_chains_find(const struct spool_chains *chains,
                                      const struct pl_id128 *incarnation);
void spool_chain_free(struct spool_chain *chain);
void spool_chains_release(struct spool_chains *chains);

#endif
