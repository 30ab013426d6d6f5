/* Which exports are under way, and that cancelling them waits for what they are at. */
#include "records_fixture.h"

#include "origin/vault/exports.h"

#include <poll.h>
#include <pthread.h>

struct reader {
    struct exports *exports;
    struct exports_ticket *ticket;
    pthread_t thread;
};

/* A slice that ends as soon as it is told. */
static void *read_until_stopped(void *arg)
{
    struct reader *r = arg;
    while (!r->ticket->stop)
        poll(NULL, 0, 1);
    poll(NULL, 0, 20);
    exports_leave(r->exports, r->ticket);
    return NULL;
}

static void test_cancelling_waits_for_the_slice(void **state)
{
    struct exports *x;
    struct exports_ticket mine = {.account = 1}, other = {.account = 2}, idle = {.account = 1};
    struct pl_why why;
    (void)state;
    must(exports_new(&x), &why);
    exports_open(x, &mine);
    exports_open(x, &other);
    exports_open(x, &idle);
    must(exports_enter(x, &mine, &why), &why);
    must(exports_enter(x, &other, &why), &why);
    assert_int_equal(exports_cancel(x, 1, 10), PL_ETIMEDOUT);
    assert_true(mine.stop && idle.stop && !other.stop);
    struct reader r = {.exports = x, .ticket = &mine};
    assert_int_equal(pthread_create(&r.thread, NULL, read_until_stopped, &r), 0);
    assert_int_equal(exports_cancel(x, 1, 10000), PL_OK);
    assert_int_equal(exports_enter(x, &mine, &why), PL_EEXPIRED);
    assert_int_equal(exports_enter(x, &idle, &why), PL_EEXPIRED);
    pthread_join(r.thread, NULL);
    exports_leave(x, &other);
    assert_int_equal(exports_enter(x, &other, &why), PL_OK);
    exports_leave(x, &other);
    exports_close(x, &idle);
    exports_close(x, &other);
    exports_close(x, &mine);
    exports_close(x, &mine);
    exports_free(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cancelling_waits_for_the_slice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
