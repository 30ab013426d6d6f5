/* An origin that has more to do, or less room, than it can take. */
#include "intake_test.h"

#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static void settling_waits_for_what_was_taken(void **state)
{
    struct test *t = *state;
    struct rig_lot *lot = calloc(1, sizeof(*lot));
    pl_buf_reset(&t->other);
    size_t at[31] = {0};
    for (size_t i = 0; i < 30; i++) {
        char prefix[16];
        snprintf(prefix, sizeof(prefix), "s%zu-", i);
        events(t, 1, prefix, 200);
        seal(t, 0, 200);
        pl_buf_append_span(&t->other, pl_buf_span(&t->block));
        at[i + 1] = t->other.len;
    }
    lot->count = 30;
    for (size_t i = 0; i < 30; i++)
        lot->blocks[i] = pl_span(t->other.data + at[i], at[i + 1] - at[i]);
    rig_lot_send(&t->rig, 0, lot);
    intake_settle(t->rig.intake);
    pthread_mutex_lock(&lot->lock);
    assert_true(lot->done);
    pthread_mutex_unlock(&lot->lock);
    rig_lot_wait(lot);
    assert_true(totals(t).stored == 6000);
    intake_settle(t->rig.intake); /* with nothing under way */
    free(lot);
}

static void above_the_queue_s_limit_blocks_go_back(void **state)
{
    struct test *t = *state;
    rig_close(&t->rig);
    t->rig.config.queue_bytes = 100;
    rig_open(&t->rig);
    events(t, 1, "m", 1);
    seal(t, 0, 1);
    assert_int_equal(send(t, 0), BLOCK_RETRY);
    rig_close(&t->rig);
    t->rig.config.queue_bytes = 0;
    rig_open(&t->rig);
    assert_int_equal(send(t, 0), BLOCK_STORED);
    intake_stop(t->rig.intake);
    assert_int_equal(send(t, 0), BLOCK_RETRY); /* stopped */
}

static void limit_files(bool none)
{
    struct rlimit limit;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = none ? 0 : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static bool ready_within_10_s(struct intake *intake, bool ready)
{
    struct intake_status s = {.ready = !ready};
    for (int i = 0; i < 1000 && s.ready != ready; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
        intake_status(intake, &s);
    }
    return s.ready == ready;
}

/* The API's write fails, and no block comes: somebody has to put the store right all the same. */
static void an_idle_origin_recovers(void **state)
{
    struct test *t = *state;
    struct rig *r = &t->rig;
    limit_files(true);
    assert_int_not_equal(
        store_put(r->store, FAMILY_META, PL_SPAN_LIT("k"), PL_SPAN_LIT("v"), true, NULL), PL_OK);
    bool told = ready_within_10_s(r->intake, false);
    limit_files(false);
    assert_true(told);
    assert_true(ready_within_10_s(r->intake, true));
    assert_int_equal(
        store_put(r->store, FAMILY_META, PL_SPAN_LIT("k"), PL_SPAN_LIT("v"), true, NULL), PL_OK);
}

/* A store on a file system of 40 MiB. */
static void a_full_disk_sends_blocks_back(void **state)
{
    struct test *t = *state;
    struct rig *r = &t->rig;
    char command[160];
    rig_close(r);
    snprintf(command, sizeof(command), "%s/small", r->store_dir);
    assert_int_equal(pl_dir_make(command, 0700, NULL), PL_OK);
    char original[96];
    memcpy(original, r->store_path, sizeof(original));
    if (mount("none", command, "tmpfs", 0, "size=40m") != 0) {
        rig_open(r);
        skip(); /* needs the right to mount */
    }
    snprintf(r->store_path, sizeof(r->store_path), "%s/small/store", r->store_dir);
    rig_open(r);
    /* fill it up from outside, but for a little */
    snprintf(command, sizeof(command),
             "head -c 38m /dev/zero > '%s/small/filler' 2>/dev/null || true", r->store_dir);
    assert_int_equal(system(command), 0);
    enum block_verdict verdict = BLOCK_STORED;
    uint64_t stored = 0;
    for (int i = 0; i < 200 && verdict == BLOCK_STORED; i++) {
        char prefix[16];
        snprintf(prefix, sizeof(prefix), "f%d-", i);
        events(t, 1, prefix, 100);
        seal(t, 0, 100);
        verdict = send(t, 0);
        stored += verdict == BLOCK_STORED ? 100 : 0;
    }
    assert_int_equal(verdict, BLOCK_RETRY);
    struct intake_status s;
    intake_status(r->intake, &s);
    assert_false(s.ready);
    assert_true(strlen(s.reason) > 10);
    assert_int_equal(send(t, 0), BLOCK_RETRY);

    snprintf(command, sizeof(command), "%s/small/filler", r->store_dir);
    assert_int_equal(unlink(command), 0);
    /* it finds out by itself */
    for (int i = 0; i < 100 && verdict == BLOCK_RETRY; i++) {
        usleep(100000);
        verdict = send(t, 0);
    }
    intake_status(r->intake, &s);
    if (verdict != BLOCK_STORED)
        fail_msg("%s", s.reason);
    assert_true(s.ready);
    assert_true(totals(t).stored == stored + 100);
    struct day_counts_row days;
    assert_int_equal(day_counts_total(r->day_counts, 0, 0, VAULT_DAY_MAX, &days), PL_OK);
    assert_int_equal(days.stored.events, stored + 100);
    rig_close(r);
    snprintf(command, sizeof(command), "%s/small", r->store_dir);
    assert_int_equal(umount(command), 0);
    memcpy(r->store_path, original, sizeof(original));
    rig_open(r);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(settling_waits_for_what_was_taken),
        CASE(above_the_queue_s_limit_blocks_go_back),
        CASE(an_idle_origin_recovers),
        CASE(a_full_disk_sends_blocks_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
