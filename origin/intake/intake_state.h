/*
 * intake_state: what the openers, the writer and the public calls of intake share. Private to
 * intake.
 */
#ifndef POLDER_ORIGIN_INTAKE_INTAKE_STATE_H
#define POLDER_ORIGIN_INTAKE_INTAKE_STATE_H

#include "origin/intake/dedupe.h"
#include "origin/intake/intake.h"
#include "proto/base/histogram.h"
#include "proto/base/mailbox.h"

#define INTAKE_OPENERS_MAX 16u
#define INTAKE_TICK_MS     1000
#define INTAKE_TIDY_MS     (10 * 60 * PL_SECOND_MS)

/* Blocks that get their verdicts together. */
struct intake_batch {
    struct intake_lot lot;
    enum block_verdict *verdicts;
    size_t left; /* without a verdict; the writer's */
    size_t bytes;
    unsigned epoch; /* see intake_settle */
    int64_t taken_us;
    struct intake_job *jobs;
};

/* One event of a block, ready to be written. */
struct intake_entry {
    struct dedupe_entry entry;
    size_t value_at, value_len; /* in the job's arena */
    size_t id_at, id_len;
    size_t links_len; /* in the job's links, behind those of the entry before */
};

/* One block on its way: a queue's, then an opener's, then the writer's. */
struct intake_job {
    struct pl_mail mail;
    struct intake_job *next;
    struct intake_batch *batch;
    size_t index;
    struct pl_span bytes; /* sealed; empty for a declared loss */
    struct ledger_block block;
    enum block_verdict verdict; /* 0: for the ledger to say */
    bool placed;                /* chain and number are known, if only from a header that lies */
    bool fresh;                 /* the ledger has it staged, and its events are to be written */
    uint64_t redated;           /* events whose date could not be right */
    char reason[160];           /* of a refusal */
    struct intake_entry *entries;
    size_t entry_count, entry_room;
    struct pl_buf arena;   /* sealed values and message ids */
    struct pl_buf said;    /* of struct suppression: opt-outs and their taking back */
    struct pl_buf links;   /* links_note's, entry by entry */
    struct pl_buf learned; /* of struct erasure_learned: from events of erased persons */
    size_t held_bytes;
};

struct intake_opener {
    struct intake *intake;
    pthread_t thread;
    bool running;
    struct vault_sealer *sealer;
    struct id_hashers *hashers;
    struct block_opener *blocks;
    uint64_t generation; /* of the keyring, that what `blocks` keeps is of */
    struct event_reader *reader;
    struct event *event;
    struct pl_buf plain;
    struct pl_buf redated; /* one event, when its date cannot be right */
};

struct intake_writer {
    pthread_t thread;
    bool running;
    struct pl_mailbox inbox;
    struct vault_sealer *sealer;
    struct dedupe *dedupe;
    struct store_batch *batch;
    struct intake_job *pending, **pending_tail;
    struct intake_job **group; /* the jobs of the write at hand */
    size_t group_count, group_room;
    struct dedupe_entry **entries;
    size_t entry_count, entry_room;
    struct pl_histogram block_us, sync_us; /* anybody may sum them */
    bool failed;
    int64_t tried_mono_ms;
    int64_t tidied_mono_ms;
};

struct intake {
    struct intake_config config;
    struct intake_opener openers[INTAKE_OPENERS_MAX];
    struct intake_writer writer;
    enum block_verdict *refusals; /* FRAME_ENTRIES_MAX times BLOCK_RETRY */

    pthread_mutex_t lock;
    pthread_cond_t filled; /* the queue, or stopping; on CLOCK_MONOTONIC */
    pthread_cond_t moved;  /* held_bytes fell, or a batch was finished */
    struct intake_job *queue, **queue_tail;
    size_t held_bytes; /* of opened blocks that wait for the writer */
    bool started, stopping;
    unsigned epoch;
    uint64_t in_flight[2]; /* batches, by epoch */
    bool settling;
    struct intake_status status;
};

void *intake_opener_run(void *opener);
enum pl_err intake_opener_init(struct intake_opener *opener, struct intake *intake);
void intake_opener_release(struct intake_opener *opener);

void *intake_writer_run(void *intake);
enum pl_err intake_writer_init(struct intake *intake);
void intake_writer_release(struct intake_writer *writer);

#endif
