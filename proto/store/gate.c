#include "proto/store/internal.h"

#include <assert.h>
#include <time.h>

enum pl_err store_gate_init(struct store_gate *gate)
{
    *gate = (struct store_gate){0};
    pthread_condattr_t attr;
    int rc = pthread_condattr_init(&attr);
    if (rc != 0)
        return pl_err_from_errno(rc);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    rc = pthread_cond_init(&gate->changed, &attr);
    pthread_condattr_destroy(&attr);
    if (rc != 0)
        return pl_err_from_errno(rc);
    rc = pthread_mutex_init(&gate->mutex, NULL);
    if (rc != 0) {
        pthread_cond_destroy(&gate->changed);
        return pl_err_from_errno(rc);
    }
    return PL_OK;
}

void store_gate_release(struct store_gate *gate)
{
    pthread_mutex_destroy(&gate->mutex);
    pthread_cond_destroy(&gate->changed);
}

/* With a scan open the newcomer may be the very thread that holds it: let it in. */
static void wait_for_turn(struct store_gate *gate)
{
    while (gate->alone || (gate->waiting > 0 && gate->scans == 0))
        pthread_cond_wait(&gate->changed, &gate->mutex);
}

void store_gate_enter(struct store_gate *gate)
{
    pthread_mutex_lock(&gate->mutex);
    wait_for_turn(gate);
    gate->calls++;
    pthread_mutex_unlock(&gate->mutex);
}

void store_gate_leave(struct store_gate *gate)
{
    pthread_mutex_lock(&gate->mutex);
    assert(gate->calls > 0);
    if (--gate->calls == 0 && gate->waiting > 0)
        pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->mutex);
}

enum pl_err store_gate_enter_scan(struct store_gate *gate)
{
    enum pl_err err = PL_OK;
    pthread_mutex_lock(&gate->mutex);
    wait_for_turn(gate);
    /* Waiting here could be waiting for ourselves; going on would starve the recovery. */
    if (gate->waiting > 0)
        err = PL_EAGAIN;
    else
        gate->scans++;
    pthread_mutex_unlock(&gate->mutex);
    return err;
}

void store_gate_leave_scan(struct store_gate *gate)
{
    pthread_mutex_lock(&gate->mutex);
    assert(gate->scans > 0);
    gate->scans--;
    pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->mutex);
}

void store_gate_enter_alone(struct store_gate *gate)
{
    pthread_mutex_lock(&gate->mutex);
    gate->waiting++;
    while (gate->alone || gate->calls > 0 || gate->scans > 0)
        pthread_cond_wait(&gate->changed, &gate->mutex);
    gate->waiting--;
    gate->alone = true;
    pthread_mutex_unlock(&gate->mutex);
}

void store_gate_leave_alone(struct store_gate *gate)
{
    pthread_mutex_lock(&gate->mutex);
    gate->alone = false;
    pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->mutex);
}

void store_gate_wait_scan(struct store_gate *gate, int64_t timeout_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(timeout_ms / 1000);
    until.tv_nsec += (long)(timeout_ms % 1000) * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    pthread_mutex_lock(&gate->mutex);
    pthread_cond_timedwait(&gate->changed, &gate->mutex, &until);
    pthread_mutex_unlock(&gate->mutex);
}
