#include "proto/base/process.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#define FILES_MAX       65536
#define BACKGROUND_NICE 10

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#define SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define SANITIZED 0
#endif

void pl_process_no_dumps(void)
{
    const struct rlimit none = {.rlim_cur = 0, .rlim_max = 0};
    /* Neither can fail for one's own process. */
    (void)setrlimit(RLIMIT_CORE, &none);
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

void pl_process_open_files(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur >= FILES_MAX)
        return;
    files.rlim_cur = files.rlim_max < FILES_MAX ? files.rlim_max : FILES_MAX;
    (void)setrlimit(RLIMIT_NOFILE, &files);
}

void pl_process_lock_memory(const struct pl_log *log)
{
    struct rlimit memory;
    if (SANITIZED)
        return;
    if (getrlimit(RLIMIT_MEMLOCK, &memory) != 0 || memory.rlim_cur != RLIM_INFINITY)
        pl_log(log, PL_LOG_INFO, "process",
               "memory is not locked: keys may reach swap; to lock it, give the service "
               "LimitMEMLOCK=infinity, or have no swap");
    else if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0)
        pl_log(log, PL_LOG_INFO, "process", "memory is not locked: %s", strerror(errno));
    else
        pl_log(log, PL_LOG_INFO, "process", "memory is locked: keys do not reach swap");
}

void pl_process_background_thread(const char *name)
{
    pthread_setname_np(pthread_self(), name);
    /* On Linux a thread has a niceness of its own, and making it larger is always allowed. Added to
     * that of a process that is nice itself, which one of its own would put before the others. */
    const id_t self = (id_t)gettid();
    (void)setpriority(PRIO_PROCESS, self, getpriority(PRIO_PROCESS, self) + BACKGROUND_NICE);
}
