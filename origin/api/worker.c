#include "origin/api/call.h"

#include "origin/journal/audit.h"
#include "proto/wire/limits.h"

#include <stdlib.h>

#define BODY_BYTES_MAX ((size_t)512 * 1024)
/* An idle worker keeps nothing of a destroyed key for longer, nor a denial off the disk. */
#define TIDY_MS 1000

/* The loop has its call back; from here on it may end. */
static void give_back(struct api_call *call)
{
    struct api *api = call->api;
    unsigned loop = http_loop_index(call->loop);
    http_loop_post(call->loop, &call->task);
    pthread_mutex_lock(&api->lock);
    if (--api->away[loop] == 0) {
        pthread_cond_broadcast(&api->came_back);
    }
    pthread_mutex_unlock(&api->lock);
}

static void *work_on(void *arg)
{
    struct api_worker *worker = arg;
    const struct origin_parts *parts = worker->api->parts;
    for (;;) {
        struct pl_mail *mail = pl_mailbox_take(&worker->box, TIDY_MS);
        exporter_tidy(worker->exporter);
        outcomes_tidy(worker->outcomes);
        visitors_tidy(worker->visitors);
        audit_write_denials(parts->audit, pl_mono_ms(parts->clock), NULL);
        if (mail == NULL && pl_mailbox_closed(&worker->box)) {
            return NULL;
        }
        while (mail != NULL) {
            struct api_call *call = (struct api_call *)mail; /* its first member */
            mail = mail->next;
            call->work(worker, call);
            worker->waiting--;
            worker->api->waiting--;
            api_leave(&call->room);
            give_back(call);
        }
    }
}

static void on_loop(struct http_task *task)
{
    struct api_call *call = (struct api_call *)((char *)task - offsetof(struct api_call, task));
    call->done(call);
}

void api_leave(struct api_room *room)
{
    if (room->places != NULL) {
        places_leave(room->places, room->key);
    }
    room->places = NULL;
}

/* The first worker, where it is not the only one, is for operators and probes: what owners ask for
 * may keep the others busy for long. */
void api_send(struct api_call *call)
{
    struct api *api = call->api;
    const bool guest = call->token.role == ROLE_OWNER || call->token.role == ROLE_AUDITOR;
    const size_t first = guest && api->worker_count > 1 ? 1 : 0;
    struct api_worker *idlest = &api->workers[first];
    for (size_t i = first + 1; i < api->worker_count; i++) {
        if (api->workers[i].waiting < idlest->waiting) {
            idlest = &api->workers[i];
        }
    }
    call->task.run = on_loop;
    pthread_mutex_lock(&api->lock);
    api->away[http_loop_index(call->loop)]++;
    pthread_mutex_unlock(&api->lock);
    api->waiting++;
    idlest->waiting++;
    pl_mailbox_post(&idlest->box, &call->mail);
}

static void release(struct api_worker *worker)
{
    pl_mailbox_release(&worker->box);
    json_parser_free(worker->parser);
    json_writer_free(worker->writer);
    exporter_free(worker->exporter);
    outcomes_free(worker->outcomes);
    visitors_free(worker->visitors);
}

static enum pl_err start(struct api *api, struct api_worker *worker)
{
    enum pl_err err;
    *worker = (struct api_worker){.api = api};
    pl_mailbox_init(&worker->box);
    if ((err = json_parser_new(&worker->parser, BODY_BYTES_MAX, LIMIT_JSON_DEPTH)) == PL_OK &&
        (err = json_writer_new(&worker->writer, false)) == PL_OK &&
        (err = exporter_new(&worker->exporter, api->parts->store, api->parts->keyring)) == PL_OK &&
        (err = outcomes_new(&worker->outcomes, api->parts->store, api->parts->keyring)) == PL_OK &&
        (err = visitors_new(&worker->visitors, api->parts->store, api->parts->keyring)) == PL_OK) {
        int failed = pthread_create(&worker->thread, NULL, work_on, worker);
        err = failed == 0 ? PL_OK : pl_err_from_errno(failed);
    }
    if (err != PL_OK) {
        release(worker);
    }
    return err;
}

enum pl_err api_workers_start(struct api *api, struct pl_why *why)
{
    while (api->started < api->worker_count) {
        enum pl_err err = start(api, &api->workers[api->started]);
        if (err != PL_OK) {
            return pl_fail(why, err, "cannot start an API worker: %s", pl_err_word(err));
        }
        api->started++;
    }
    return PL_OK;
}

void api_workers_stop(struct api *api)
{
    for (size_t i = 0; i < api->started; i++) {
        pl_mailbox_close(&api->workers[i].box);
    }
    while (api->started > 0) {
        struct api_worker *worker = &api->workers[--api->started];
        pthread_join(worker->thread, NULL);
        release(worker);
    }
}
