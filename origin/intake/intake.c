#include "origin/intake/intake_state.h"

#include "proto/wire/frame.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define OPENERS     2
#define QUEUE_BYTES ((size_t)192 << 20)
#define GROUP_BYTES ((size_t)8 << 20)

static void init_condition(pthread_cond_t *condition)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &attr);
    pthread_condattr_destroy(&attr);
}

enum pl_err intake_new(struct intake **out, const struct intake_config *config, struct pl_why *why)
{
    struct intake *intake = calloc(1, sizeof(*intake));
    if (intake == NULL)
        return pl_fail(why, PL_ENOMEM, "out of memory for the intake");
    intake->config = *config;
    struct intake_config *c = &intake->config;
    c->openers = c->openers == 0 ? OPENERS : c->openers;
    c->queue_bytes = c->queue_bytes == 0 ? QUEUE_BYTES : c->queue_bytes;
    c->group_bytes = c->group_bytes == 0 ? GROUP_BYTES : c->group_bytes;
    if (c->openers > INTAKE_OPENERS_MAX)
        c->openers = INTAKE_OPENERS_MAX;
    pthread_mutex_init(&intake->lock, NULL);
    init_condition(&intake->filled);
    init_condition(&intake->moved);
    intake->queue_tail = &intake->queue;
    intake->status.ready = true;
    intake->refusals = malloc(FRAME_ENTRIES_MAX * sizeof(*intake->refusals));
    enum pl_err err = intake->refusals == NULL ? PL_ENOMEM : intake_writer_init(intake);
    for (unsigned i = 0; err == PL_OK && i < c->openers; i++)
        err = intake_opener_init(&intake->openers[i], intake);
    if (err != PL_OK) {
        intake_free(intake);
        return pl_fail(why, err, "cannot make the intake: %s", pl_err_word(err));
    }
    for (size_t i = 0; i < FRAME_ENTRIES_MAX; i++)
        intake->refusals[i] = BLOCK_RETRY;
    *out = intake;
    return PL_OK;
}

void intake_free(struct intake *intake)
{
    if (intake == NULL)
        return;
    intake_writer_release(&intake->writer);
    for (unsigned i = 0; i < intake->config.openers; i++)
        intake_opener_release(&intake->openers[i]);
    free(intake->refusals);
    pthread_cond_destroy(&intake->filled);
    pthread_cond_destroy(&intake->moved);
    pthread_mutex_destroy(&intake->lock);
    free(intake);
}

enum pl_err intake_start(struct intake *intake, struct pl_why *why)
{
    int rc = pthread_create(&intake->writer.thread, NULL, intake_writer_run, intake);
    intake->writer.running = rc == 0;
    for (unsigned i = 0; rc == 0 && i < intake->config.openers; i++) {
        struct intake_opener *opener = &intake->openers[i];
        rc = pthread_create(&opener->thread, NULL, intake_opener_run, opener);
        opener->running = rc == 0;
    }
    if (rc != 0) {
        intake_stop(intake);
        return pl_fail(why, pl_err_from_errno(rc), "cannot start the intake's threads: %s",
                       strerror(rc));
    }
    pthread_mutex_lock(&intake->lock);
    intake->started = true;
    pthread_mutex_unlock(&intake->lock);
    return PL_OK;
}

void intake_stop(struct intake *intake)
{
    pthread_mutex_lock(&intake->lock);
    intake->stopping = true;
    pthread_cond_broadcast(&intake->filled);
    pthread_cond_broadcast(&intake->moved);
    pthread_mutex_unlock(&intake->lock);
    for (unsigned i = 0; i < intake->config.openers; i++) {
        if (intake->openers[i].running)
            pthread_join(intake->openers[i].thread, NULL);
        intake->openers[i].running = false;
    }
    pl_mailbox_close(&intake->writer.inbox);
    if (intake->writer.running)
        pthread_join(intake->writer.thread, NULL);
    intake->writer.running = false;
}

/* ---- taking */

static void send_back(struct intake *intake, const struct intake_lot *lot)
{
    pthread_mutex_lock(&intake->lock);
    intake->status.retries += lot->count;
    pthread_mutex_unlock(&intake->lock);
    lot->done(lot->ctx, intake->refusals);
}

static struct intake_batch *new_batch(const struct intake_lot *lot)
{
    struct intake_batch *batch = calloc(1, sizeof(*batch));
    if (batch == NULL)
        return NULL;
    batch->lot = *lot;
    batch->taken_us = pl_elapsed_us();
    batch->left = lot->count;
    batch->verdicts = calloc(lot->count, sizeof(*batch->verdicts));
    batch->jobs = calloc(lot->count, sizeof(*batch->jobs));
    if (batch->verdicts == NULL || batch->jobs == NULL) {
        free(batch->verdicts);
        free(batch->jobs);
        free(batch);
        return NULL;
    }
    for (size_t i = 0; i < lot->count; i++) {
        struct intake_job *job = &batch->jobs[i];
        struct block_loss loss = {.number = 0};
        job->batch = batch;
        job->index = i;
        if (!lot->entry(lot->ctx, i, &job->bytes, &loss)) {
            job->verdict = BLOCK_REFUSED;
            snprintf(job->reason, sizeof(job->reason), "an entry of a frame cannot be read");
        } else if (job->bytes.len == 0) {
            job->block.lost = job->placed = true;
            job->block.incarnation = loss.incarnation;
            job->block.number = loss.number;
            memcpy(job->block.hash, loss.hash, sizeof(loss.hash));
            job->block.counts.events = loss.events;
            job->block.counts.dropped[DROP_ROT] = loss.events;
            job->block.events_header = loss.events;
        }
        job->block.edge = lot->edge;
        job->next = i + 1 < lot->count ? job + 1 : NULL;
        batch->bytes += job->bytes.len;
    }
    return batch;
}

void intake_take(struct intake *intake, const struct intake_lot *lot)
{
    if (lot->count == 0 || lot->count > FRAME_ENTRIES_MAX) {
        lot->done(lot->ctx, intake->refusals); /* the receiver hands on neither */
        return;
    }
    struct intake_batch *batch = new_batch(lot);
    bool taken = false;
    pthread_mutex_lock(&intake->lock);
    if (batch != NULL && intake->started && !intake->stopping &&
        intake->status.queued_bytes + batch->bytes <= intake->config.queue_bytes) {
        taken = true;
        intake->status.queued_bytes += batch->bytes;
        batch->epoch = intake->epoch;
        intake->in_flight[batch->epoch]++;
        *intake->queue_tail = batch->jobs;
        intake->queue_tail = &batch->jobs[lot->count - 1].next;
        pthread_cond_broadcast(&intake->filled);
    }
    pthread_mutex_unlock(&intake->lock);
    if (taken)
        return;
    if (batch != NULL) {
        free(batch->verdicts);
        free(batch->jobs);
        free(batch);
    }
    send_back(intake, lot);
}

void intake_settle(struct intake *intake)
{
    pthread_mutex_lock(&intake->lock);
    while (intake->settling)
        pthread_cond_wait(&intake->moved, &intake->lock);
    intake->settling = true;
    unsigned before = intake->epoch;
    intake->epoch = 1 - before;
    while (intake->in_flight[before] > 0)
        pthread_cond_wait(&intake->moved, &intake->lock);
    intake->settling = false;
    pthread_cond_broadcast(&intake->moved);
    pthread_mutex_unlock(&intake->lock);
}

void intake_status(const struct intake *intake, struct intake_status *out)
{
    struct intake *i = (struct intake *)(uintptr_t)intake; /* for its lock */
    pthread_mutex_lock(&i->lock);
    *out = i->status;
    pthread_mutex_unlock(&i->lock);
}

void intake_measures(const struct intake *intake, struct intake_measures *out)
{
    *out = (struct intake_measures){.block_us = {.sum = 0}};
    pl_histogram_sum(&intake->writer.block_us, &out->block_us);
    pl_histogram_sum(&intake->writer.sync_us, &out->sync_us);
}
