#include "proto/base/process.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* Each in a process of its own: there is no way back. */
static int in_child(void (*run)(void), bool (*holds)(void))
{
    pid_t pid = fork();
    int status = -1;
    assert_true(pid >= 0);
    if (pid == 0) {
        run();
        _exit(holds() ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static bool cannot_be_dumped(void)
{
    struct rlimit core;
    return prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0 && getrlimit(RLIMIT_CORE, &core) == 0 &&
           core.rlim_cur == 0 && core.rlim_max == 0;
}

static void test_no_dumps(void **state)
{
    (void)state;
    assert_int_equal(in_child(pl_process_no_dumps, cannot_be_dumped), 0);
}

static void few_then_many_files(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        abort();
    files.rlim_cur = 100;
    if (setrlimit(RLIMIT_NOFILE, &files) != 0)
        abort();
    pl_process_open_files();
}

static bool many_files(void)
{
    struct rlimit files;
    return getrlimit(RLIMIT_NOFILE, &files) == 0 &&
           (files.rlim_cur == files.rlim_max || files.rlim_cur == 65536);
}

static void test_open_files(void **state)
{
    (void)state;
    assert_int_equal(in_child(few_then_many_files, many_files), 0);
}

static bool in_background; /* of the child */

static void *background(void *arg)
{
    char name[16] = "";
    pl_process_background_thread("sweeper");
    in_background =
        pthread_getname_np(pthread_self(), name, sizeof(name)) == 0 &&
        strcmp(name, "sweeper") == 0 &&
        getpriority(PRIO_PROCESS, (id_t)gettid()) > getpriority(PRIO_PROCESS, (id_t)getpid());
    return arg;
}

static void start_background(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, background, NULL) != 0)
        abort();
    pthread_join(thread, NULL);
}

/* As under nice(1), or systemd's Nice=. */
static void start_background_of_a_nice_one(void)
{
    if (setpriority(PRIO_PROCESS, 0, 12) != 0)
        abort();
    start_background();
}

static bool only_it_gives_way(void)
{
    return in_background;
}

static void test_background_thread(void **state)
{
    (void)state;
    assert_int_equal(in_child(start_background, only_it_gives_way), 0);
    assert_int_equal(in_child(start_background_of_a_nice_one, only_it_gives_way), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_dumps),
        cmocka_unit_test(test_open_files),
        cmocka_unit_test(test_background_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
