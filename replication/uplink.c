#include "replication/uplink_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define WINDOW_BYTES (32 * 1024 * 1024)

bool uplink_stopping(struct uplink *up)
{
    pthread_mutex_lock(&up->lock);
    bool stopping = up->stopping;
    pthread_mutex_unlock(&up->lock);
    return stopping;
}

static enum pl_err check_config(const struct uplink_config *config, struct pl_why *why)
{
    size_t region = strlen(config->region);
    if (strncmp(config->origin_url, "tls+tcp://", 10) != 0)
        return pl_fail_field(why, PL_EINVAL, "origin_url",
                             "origin_url \"%s\" must read tls+tcp://HOST:PORT", config->origin_url);
    if (region == 0 || region > FRAME_REGION_BYTES)
        return pl_fail_field(why, PL_EINVAL, "region",
                             "region \"%s\" must have 1 to %d characters, as in \"eu\"",
                             config->region, FRAME_REGION_BYTES);
    for (size_t i = 0; i < region; i++)
        if (config->region[i] < 0x21 || config->region[i] > 0x7e)
            return pl_fail_field(why, PL_EINVAL, "region",
                                 "region must be visible ASCII characters, as in \"eu\"");
    return PL_OK;
}

static enum pl_err build(struct uplink *up, struct pl_why *why)
{
    const struct uplink_config *config = &up->config;
    up->origin_url = strdup(config->origin_url);
    up->server_name = strdup(config->server_name);
    up->region = strdup(config->region);
    if (up->origin_url == NULL || up->server_name == NULL || up->region == NULL)
        return pl_fail(why, PL_ENOMEM, "out of memory for the link");
    struct link_identity identity = {.server_name = up->server_name,
                                     .ca_file = config->ca_file,
                                     .cert_file = config->cert_file,
                                     .key_file = config->key_file};
    enum pl_err err = link_tls_new(&up->tls, &up->signer, &up->ends_ms, &identity, why);
    if (err != PL_OK)
        return err;
    follower_init(&up->follower, up);
    return sender_init(&up->sender, up, why);
}

enum pl_err uplink_new(struct uplink **out, const struct uplink_config *config, struct pl_why *why)
{
    enum pl_err err = check_config(config, why);
    if (err != PL_OK)
        return err;
    struct uplink *up = calloc(1, sizeof(*up));
    if (up == NULL)
        return pl_fail(why, PL_ENOMEM, "out of memory for the link");
    up->config = *config;
    up->window_bytes = config->window_bytes == 0 ? WINDOW_BYTES : config->window_bytes;
    if (up->window_bytes < LIMIT_FRAME_BYTES) /* the largest block must fit */
        up->window_bytes = LIMIT_FRAME_BYTES;
    pthread_mutex_init(&up->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&up->settled_changed, &attr);
    pthread_condattr_destroy(&attr);

    err = build(up, why);
    if (err == PL_OK)
        *out = up;
    else
        uplink_free(up);
    return err;
}

enum pl_err uplink_start(struct uplink *up, struct pl_why *why)
{
    int rc = pthread_create(&up->sender.thread, NULL, sender_run, &up->sender);
    if (rc != 0)
        return pl_fail(why, pl_err_from_errno(rc), "cannot start the sender thread: %s",
                       strerror(rc));
    rc = pthread_create(&up->follower.thread, NULL, follower_run, &up->follower);
    if (rc != 0) {
        pthread_mutex_lock(&up->lock);
        up->stopping = true;
        pthread_mutex_unlock(&up->lock);
        pl_mailbox_wake(&up->sender.box);
        pthread_join(up->sender.thread, NULL);
        return pl_fail(why, pl_err_from_errno(rc), "cannot start the follower thread: %s",
                       strerror(rc));
    }
    up->started = true;
    return PL_OK;
}

void uplink_wake(struct uplink *up)
{
    if (!atomic_exchange(&up->sender.woken, true))
        pl_mailbox_wake(&up->sender.box);
}

/* Called with the lock held; gives it back held. */
static void wait_settled(struct uplink *up, int64_t drain_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(drain_ms / 1000);
    until.tv_nsec += (long)(drain_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    while (!up->settled)
        if (pthread_cond_timedwait(&up->settled_changed, &up->lock, &until) != 0)
            return;
}

void uplink_stop(struct uplink *up, int64_t drain_ms)
{
    if (!up->started)
        return;
    if (drain_ms > 0)
        uplink_wake(up); /* look once more at what there is */
    pthread_mutex_lock(&up->lock);
    if (drain_ms > 0) {
        up->settled = false;
        wait_settled(up, drain_ms);
    }
    up->stopping = true;
    pthread_mutex_unlock(&up->lock);
    pl_mailbox_wake(&up->sender.box);
    pl_mailbox_wake(&up->follower.box);
    pthread_join(up->sender.thread, NULL);
    pthread_join(up->follower.thread, NULL);
    pl_mailbox_close(&up->sender.box);
    pl_mailbox_close(&up->follower.box);
    dial_release(&up->sender); /* what was in flight is forgotten */
    up->started = false;
    pthread_mutex_lock(&up->lock);
    up->status.connected = false;
    up->status.in_flight_bytes = 0;
    snprintf(up->status.reason, sizeof(up->status.reason), "stopped");
    pthread_mutex_unlock(&up->lock);
}

void uplink_free(struct uplink *up)
{
    if (up == NULL)
        return;
    uplink_stop(up, 0);
    if (up->sender.up != NULL)
        sender_release(&up->sender);
    if (up->follower.up != NULL)
        follower_release(&up->follower);
    if (up->tls != NULL)
        nng_tls_config_free(up->tls);
    pl_signer_free(up->signer);
    pthread_cond_destroy(&up->settled_changed);
    pthread_mutex_destroy(&up->lock);
    free(up->origin_url);
    free(up->server_name);
    free(up->region);
    free(up);
}

void uplink_status(const struct uplink *uplink, struct uplink_status *out)
{
    struct uplink *up = (struct uplink *)uplink; /* locking does not change what is asked about */
    pthread_mutex_lock(&up->lock);
    *out = up->status;
    pthread_mutex_unlock(&up->lock);
    out->certificate_ends_ms = up->ends_ms;
    out->last_heard_mono_ms = atomic_load(&up->heard_ms);
    int64_t silent_ms = uplink_now_ms(up) - out->last_heard_mono_ms;
    if (out->connected && silent_ms >= 3000) {
        out->connected = false;
        snprintf(out->reason, sizeof(out->reason), "no answer for %lld s",
                 (long long)(silent_ms / 1000));
    }
}
